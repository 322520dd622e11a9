//! V22: connections that end while something happens.

use std::time::Duration;

use antiphon::{Api, Event, PeerConnection, PeerHandle, RtcConfiguration, RtcDataChannelInit};
use tokio::sync::watch;

/// Keeps a broken run finite; nothing is measured with it.
const PATIENCE: Duration = Duration::from_secs(60);

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: nothing within {PATIENCE:?}"))
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    Close,
    Drop,
}

/// Hears events and passes candidates on, up to event number `last`; says how many there were. Candidates wait until both ends
/// have a remote description, for before that they would be refused.
async fn live(
    mut pc: PeerConnection,
    other: PeerHandle,
    mut described: watch::Receiver<bool>,
    last: usize,
    end: End,
) -> usize {
    let mut heard = 0;
    while heard < last {
        let Some(event) = pc.next_event().await else {
            return heard;
        };
        heard += 1;
        let is_open = matches!(event, Event::DataChannel(_));
        if let Event::IceCandidate(candidate) = event {
            // An error of either means that the other end has closed.
            _ = described.wait_for(|described| *described).await;
            _ = other.add_ice_candidate(candidate).await;
        }
        if is_open {
            // All has happened that will.
            break;
        }
    }
    if end == End::Close {
        pc.close().await;
        while pc.next_event().await.is_some() {}
    }
    heard
}

/// Two peers that connect, of which the one of `api` ends at its event number `last`; the other is of `home`, for on one port no two
/// peers can reach each other. How many events the first one had.
async fn meet(home: &Api, api: &Api, last: usize, end: End) -> usize {
    let a = home.peer_connection(RtcConfiguration::default()).await.unwrap();
    let b = api.peer_connection(RtcConfiguration::default()).await.unwrap();
    let (alice, bob) = (a.handle(), b.handle());
    let channel = alice
        .create_data_channel("end", RtcDataChannelInit::default())
        .await
        .unwrap();
    let (describe, described) = watch::channel(false);
    let alice_lives = tokio::spawn(live(a, bob.clone(), described.clone(), usize::MAX, End::Drop));
    let bob_lives = tokio::spawn(live(b, alice.clone(), described, last, end));
    // Bob may end before, between or after any of these.
    let signalled: Result<(), antiphon::Error> = async {
        alice.set_local_description(None).await?;
        let Some(offer) = alice.local_description().await? else {
            return Ok(());
        };
        bob.set_remote_description(offer).await?;
        bob.set_local_description(None).await?;
        let Some(answer) = bob.local_description().await? else {
            return Ok(());
        };
        alice.set_remote_description(answer).await
    }
    .await;
    describe.send_replace(true);
    drop(bob);
    let heard = within("the end of one", bob_lives).await.unwrap();
    // Whatever the other end heard of it, it can be closed, and everything of it ends.
    _ = signalled;
    alice.close().await;
    drop((alice, channel));
    within("the end of the other", alice_lives).await.unwrap();
    heard
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn v22_a_peer_ends_at_each_of_its_events() {
    let own = Api::builder().loopback(true).ipv6(false).build().unwrap();
    let shared = Api::builder().loopback(true).ipv6(false).one_port(0).build().unwrap();
    for api in [own.clone(), shared] {
        let home = &own;
        for end in [End::Close, End::Drop] {
            let whole = meet(home, &api, usize::MAX, end).await;
            assert!(whole > 5, "they come as far as a channel: {whole}");
            // All at once: a farewell that nobody answers takes its time.
            let early: Vec<_> = (0..whole)
                .map(|last| {
                    let (home, api) = (home.clone(), api.clone());
                    tokio::spawn(async move { meet(&home, &api, last, end).await })
                })
                .collect();
            for (last, met) in early.into_iter().enumerate() {
                assert!(met.await.unwrap() <= last);
            }
        }
        // Nobody has taken the driver along.
        assert!(meet(home, &api, usize::MAX, End::Close).await > 5);
    }
}
