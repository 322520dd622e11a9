//! Two peers in one process, over loopback sockets, and a channel between them.

use std::time::Duration;

use antiphon::{Api, DataChannel, Event, PeerConnection, PeerHandle, RtcConfiguration, RtcDataChannelInit, Wire};
use tokio::sync::mpsc;

/// Keeps a broken run finite; nothing is measured with it.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future)
        .await
        .unwrap_or_else(|_| panic!("{what}: nothing within {PATIENCE:?}"))
}

fn carry(mut pc: PeerConnection, other: PeerHandle) -> mpsc::UnboundedReceiver<DataChannel> {
    let (channels, incoming) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(event) = pc.next_event().await {
            match event {
                Event::IceCandidate(candidate) => _ = other.add_ice_candidate(candidate).await,
                Event::DataChannel(channel) => _ = channels.send(channel),
                _ => {}
            }
        }
    });
    incoming
}

/// Two ends of one channel, and the handles that keep their connections.
pub(crate) type Ends = (DataChannel, DataChannel, [PeerHandle; 2]);

/// Two peers with sockets of their own.
#[allow(dead_code, reason = "not every test file needs both")]
pub(crate) async fn connected(configuration: RtcConfiguration) -> Ends {
    let api = Api::builder().loopback(true).build().unwrap();
    let a = api.peer_connection(configuration.clone()).await.unwrap();
    let b = api.peer_connection(configuration).await.unwrap();
    connect(a, b).await
}

/// Two peers, each on a port that others might share, with a wire from the beginning.
#[allow(dead_code, reason = "not every test file needs both")]
pub(crate) async fn one_port(wire: &dyn Fn() -> Option<Box<dyn Wire>>) -> Ends {
    let mut peers = Vec::new();
    for _ in 0..2 {
        let api = Api::builder().loopback(true).one_port(0).build().unwrap();
        let peer = api.peer_connection(RtcConfiguration::default()).await.unwrap();
        peer.set_wire(wire()).await.unwrap();
        peers.push(peer);
    }
    let (b, a) = (peers.pop().unwrap(), peers.pop().unwrap());
    connect(a, b).await
}

async fn connect(a: PeerConnection, b: PeerConnection) -> Ends {
    let (alice, bob) = (a.handle(), b.handle());
    let init = RtcDataChannelInit::default();
    let mut near = alice.create_data_channel("pair", init).await.unwrap();
    let _none = carry(a, bob.clone());
    let mut channels = carry(b, alice.clone());
    alice.set_local_description(None).await.unwrap();
    let offer = alice.local_description().await.unwrap().unwrap();
    bob.set_remote_description(offer).await.unwrap();
    bob.set_local_description(None).await.unwrap();
    let answer = bob.local_description().await.unwrap().unwrap();
    alice.set_remote_description(answer).await.unwrap();
    within("open", near.opened()).await.unwrap();
    let far = within("the other end", channels.recv()).await.unwrap();
    (near, far, [alice, bob])
}
