//! Two handles over real loopback UDP: data and media, with sockets of their own and many on one port.

use std::time::Duration;

use antiphon::{
    Api, DataChannel, Direction, Event, Frame, MediaKind, Message, PeerConnection, PeerHandle, RtcConfiguration,
    RtcDataChannelInit, RtcPeerConnectionState, RtcRtpTransceiverInit,
};
use bytes::Bytes;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

/// Keeps a broken run finite; nothing is measured with it.
const PATIENCE: Duration = Duration::from_secs(60);
const FRAMES: u8 = 20;

async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: nothing within {PATIENCE:?}"))
}

/// What one side reports to the test.
enum Report {
    Channel(DataChannel),
    Frame(Frame),
    Connected,
}

/// Passes candidates to the other side and everything of interest to the test.
fn run(mut pc: PeerConnection, other: PeerHandle) -> (mpsc::UnboundedReceiver<Report>, JoinHandle<()>) {
    let (reports, incoming) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        while let Some(event) = pc.next_event().await {
            match event {
                // An error means that the other side has closed already.
                Event::IceCandidate(candidate) => _ = other.add_ice_candidate(candidate).await,
                Event::DataChannel(channel) => _ = reports.send(Report::Channel(channel)),
                Event::Frame { frame, .. } => _ = reports.send(Report::Frame(frame)),
                Event::ConnectionStateChange(RtcPeerConnectionState::Connected) => _ = reports.send(Report::Connected),
                _ => {}
            }
        }
    });
    (incoming, task)
}

async fn negotiate(offerer: &PeerHandle, answerer: &PeerHandle) {
    offerer.set_local_description(None).await.unwrap();
    answerer
        .set_remote_description(offerer.local_description().await.unwrap().unwrap())
        .await
        .unwrap();
    answerer.set_local_description(None).await.unwrap();
    offerer
        .set_remote_description(answerer.local_description().await.unwrap().unwrap())
        .await
        .unwrap();
}

/// A VP8 key frame as far as its header goes (RFC 6386 §9.1): 640x360.
fn key_frame(n: u8) -> Bytes {
    let mut frame = vec![0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01];
    // Several packets each.
    frame.resize(4_000 + usize::from(n), n);
    frame.into()
}

async fn exchange(api_a: &Api, api_b: &Api) {
    let a = api_a.peer_connection(RtcConfiguration::default()).await.unwrap();
    let b = api_b.peer_connection(RtcConfiguration::default()).await.unwrap();
    let (alice, bob) = (a.handle(), b.handle());
    let mut channel = alice
        .create_data_channel("test", RtcDataChannelInit::default())
        .await
        .unwrap();
    let (_from_alice, alice_task) = run(a, bob.clone());
    let (mut at_bob, bob_task) = run(b, alice.clone());
    negotiate(&alice, &bob).await;

    // Data, both ways: more than the high-water mark, so that senders wait and the window closes.
    within("open", channel.opened()).await.unwrap();
    let mut theirs = within("a channel", async {
        loop {
            if let Report::Channel(channel) = at_bob.recv().await.expect("bob lives") {
                return channel;
            }
        }
    })
    .await;
    assert_eq!(theirs.label(), "test");
    let sender = channel.sender();
    let sending = tokio::spawn(async move {
        for n in 0..64u8 {
            sender.send(Message::binary(vec![n; 60_000])).await.unwrap();
        }
    });
    for n in 0..64u8 {
        let message = within("a message", theirs.recv()).await.expect("the channel lives");
        assert_eq!(message, Message::binary(vec![n; 60_000]));
    }
    sending.await.unwrap();
    theirs.send_text("back").await.unwrap();
    assert_eq!(
        within("an answer", channel.recv()).await.unwrap(),
        Message::text("back")
    );

    // Media, added to the running session.
    let init = RtcRtpTransceiverInit::new(Direction::SendOnly);
    let transceiver = alice.add_transceiver(MediaKind::Video, init).await.unwrap();
    negotiate(&alice, &bob).await;
    let payload_type = alice.payload_type(transceiver, "VP8").await.unwrap().unwrap();
    for n in 0..FRAMES {
        let frame = Frame::new(payload_type, u32::from(n) * 3_000, key_frame(n));
        alice.send_frame(transceiver, frame).await.unwrap();
        let seen = within("a frame", async {
            loop {
                if let Report::Frame(frame) = at_bob.recv().await.expect("bob lives") {
                    return frame;
                }
            }
        })
        .await;
        assert!(seen.key_frame);
        assert_eq!(seen.data, key_frame(n));
    }

    channel.close();
    assert_eq!(within("the end of the channel", theirs.recv()).await, None);
    alice.close().await;
    bob.close().await;
    within("the end", async {
        alice_task.await.unwrap();
        bob_task.await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_sockets_of_their_own() {
    let api = Api::builder().loopback(true).build().unwrap();
    exchange(&api, &api).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_peers_on_one_port() {
    let server = Api::builder().loopback(true).one_port(0).build().unwrap();
    let ports: Vec<u16> = server.addresses().iter().map(|addr| addr.port()).collect();
    assert!(
        !ports.is_empty() && ports.iter().all(|port| *port == ports[0]),
        "{ports:?}"
    );
    let client = Api::builder().loopback(true).build().unwrap();
    let sessions: Vec<_> = (0..5)
        .map(|n| {
            let (server, client) = (server.clone(), client.clone());
            // The one port answers, and offers.
            tokio::spawn(async move {
                if n % 2 == 0 {
                    exchange(&client, &server).await
                } else {
                    exchange(&server, &client).await
                }
            })
        })
        .collect();
    for session in sessions {
        session.await.unwrap();
    }
}

/// Together they have more to say than the driver takes at once.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_peer_of_a_busy_port_has_its_turn() {
    const MESSAGES: usize = 64;
    let server = Api::builder().loopback(true).one_port(0).build().unwrap();
    let clients = Api::builder().loopback(true).build().unwrap();
    let mut ends = Vec::new();
    for _ in 0..24 {
        let a = server.peer_connection(RtcConfiguration::default()).await.unwrap();
        let b = clients.peer_connection(RtcConfiguration::default()).await.unwrap();
        let (alice, bob) = (a.handle(), b.handle());
        let init = RtcDataChannelInit::default();
        let mut ours = alice.create_data_channel("bulk", init).await.unwrap();
        let _unheard = run(a, bob.clone());
        let (mut at_bob, _) = run(b, alice.clone());
        negotiate(&alice, &bob).await;
        within("open", ours.opened()).await.unwrap();
        let theirs = within("a channel", async {
            loop {
                if let Some(Report::Channel(channel)) = at_bob.recv().await {
                    return channel;
                }
            }
        })
        .await;
        ends.push((ours, theirs, [alice, bob]));
    }
    let transfers = ends.into_iter().map(|(ours, mut theirs, peers)| {
        tokio::spawn(async move {
            let sending = async {
                for n in 0..MESSAGES {
                    ours.send_binary(vec![n as u8; 64 * 1024]).await.unwrap();
                }
            };
            let receiving = async {
                for n in 0..MESSAGES {
                    let message = theirs.recv().await.expect("the channel lives");
                    assert_eq!(message.data[..], [n as u8; 64 * 1024]);
                }
            };
            tokio::join!(sending, receiving);
            drop(peers);
        })
    });
    for transfer in transfers.collect::<Vec<_>>() {
        within("all of it", transfer).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_the_last_handle_says_goodbye() {
    let api = Api::builder().loopback(true).build().unwrap();
    let a = api.peer_connection(RtcConfiguration::default()).await.unwrap();
    let b = api.peer_connection(RtcConfiguration::default()).await.unwrap();
    let (alice, bob) = (a.handle(), b.handle());
    let channel = alice
        .create_data_channel("test", RtcDataChannelInit::default())
        .await
        .unwrap();
    let (mut at_alice, alice_task) = run(a, bob.clone());
    let (mut at_bob, bob_task) = run(b, alice.clone());
    negotiate(&alice, &bob).await;
    while !matches!(within("connected", at_alice.recv()).await, Some(Report::Connected)) {}
    let mut theirs = within("a channel", async {
        loop {
            if let Some(Report::Channel(channel)) = at_bob.recv().await {
                return channel;
            }
        }
    })
    .await;
    // Bob's task holds a handle of Alice, and Alice's holds her events: end both, then let go of the rest.
    alice_task.abort();
    bob_task.abort();
    let _ = tokio::join!(alice_task, bob_task);
    drop((alice, channel, at_alice));
    assert_eq!(within("the end of the channel", theirs.recv()).await, None);
    drop(bob);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn mend19_a_lite_server_on_one_port_only_answers() {
    let server = Api::builder()
        .loopback(true)
        .one_port(0)
        .ice_lite(true)
        .build()
        .unwrap();
    let client = Api::builder().loopback(true).build().unwrap();
    exchange(&client, &server).await;
    exchange(&server, &client).await;
    let offerer = server.peer_connection(RtcConfiguration::default()).await.unwrap();
    offerer
        .create_data_channel("test", RtcDataChannelInit::default())
        .await
        .unwrap();
    offerer.set_local_description(None).await.unwrap();
    let offer = offerer.local_description().await.unwrap().unwrap();
    assert!(offer.sdp.contains("\r\na=ice-lite\r\n"), "{}", offer.sdp);
    let other = server.peer_connection(RtcConfiguration::default()).await.unwrap();
    let refused = other.set_remote_description(offer).await.unwrap_err();
    assert!(refused.to_string().contains("ICE-lite"), "{refused}");
}
