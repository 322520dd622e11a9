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

/// Carries candidates over, and hands on the other events.
pub(crate) fn carry(mut pc: PeerConnection, other: PeerHandle) -> mpsc::UnboundedReceiver<Event> {
    let (events, told) = mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Some(event) = pc.next_event().await {
            match event {
                Event::IceCandidate(candidate) => _ = other.add_ice_candidate(candidate).await,
                // Not everybody listens.
                other => _ = events.send(other),
            }
        }
    });
    told
}

/// An offer and its answer.
pub(crate) async fn exchange(offerer: &PeerHandle, answerer: &PeerHandle) {
    let described = async |peer: &PeerHandle| {
        peer.set_local_description(None).await.unwrap();
        peer.local_description().await.unwrap().expect("just set")
    };
    answerer.set_remote_description(described(offerer).await).await.unwrap();
    offerer.set_remote_description(described(answerer).await).await.unwrap();
}

/// Two peers that are to be connected, and what the application of each is told.
#[allow(dead_code, reason = "for routers")]
pub(crate) struct Joined {
    pub(crate) a: PeerHandle,
    pub(crate) b: PeerHandle,
    pub(crate) told_a: mpsc::UnboundedReceiver<Event>,
    pub(crate) told_b: mpsc::UnboundedReceiver<Event>,
}

#[allow(dead_code, reason = "for routers")]
impl Joined {
    pub(crate) async fn new(a: &Api, b: &Api) -> Self {
        let a = a.peer_connection(RtcConfiguration::default()).await.unwrap();
        let b = b.peer_connection(RtcConfiguration::default()).await.unwrap();
        let (first, second) = (a.handle(), b.handle());
        let (told_a, told_b) = (carry(a, second.clone()), carry(b, first.clone()));
        Self {
            a: first,
            b: second,
            told_a,
            told_b,
        }
    }
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
    let mut told = carry(b, alice.clone());
    exchange(&alice, &bob).await;
    within("open", near.opened()).await.unwrap();
    let opened = async {
        loop {
            if let Event::DataChannel(channel) = told.recv().await.expect("it lives") {
                return channel;
            }
        }
    };
    let far = within("the other end", opened).await;
    (near, far, [alice, bob])
}
