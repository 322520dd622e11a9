//! V22: connections that end while something happens.

use std::time::Duration;

use antiphon::{Api, Event, PeerConnection, PeerHandle, RtcConfiguration, RtcDataChannelInit};

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

/// Hears events and passes candidates on, up to event number `last`; says how many there were.
async fn live(mut pc: PeerConnection, other: PeerHandle, last: usize, end: End) -> usize {
    let mut heard = 0;
    while heard < last {
        let Some(event) = pc.next_event().await else {
            return heard;
        };
        heard += 1;
        let is_open = matches!(event, Event::DataChannel(_));
        if let Event::IceCandidate(candidate) = event {
            // An error means that the other end has closed.
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

/// Two peers that connect, of which one ends at its event number `last`. How many events that one had.
async fn meet(api: &Api, last: usize, end: End) -> usize {
    let a = api.peer_connection(RtcConfiguration::default()).await.unwrap();
    let b = api.peer_connection(RtcConfiguration::default()).await.unwrap();
    let (alice, bob) = (a.handle(), b.handle());
    let channel = alice
        .create_data_channel("end", RtcDataChannelInit::default())
        .await
        .unwrap();
    let alice_lives = tokio::spawn(live(a, bob.clone(), usize::MAX, End::Drop));
    let bob_lives = tokio::spawn(live(b, alice.clone(), last, end));
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
    for api in [own, shared] {
        for end in [End::Close, End::Drop] {
            let whole = meet(&api, usize::MAX, end).await;
            assert!(whole > 5, "they come as far as a channel: {whole}");
            // All at once: a farewell that nobody answers takes its time.
            let early: Vec<_> = (0..whole)
                .map(|last| {
                    let api = api.clone();
                    tokio::spawn(async move { meet(&api, last, end).await })
                })
                .collect();
            for (last, met) in early.into_iter().enumerate() {
                assert!(met.await.unwrap() <= last);
            }
        }
        // Nobody has taken the driver along.
        assert!(meet(&api, usize::MAX, End::Close).await > 5);
    }
}
