//! A room's part in the cluster of its server: what it tells the node and hears of it.

use std::collections::BTreeMap;
use std::time::Instant;

use antiphon_cluster::{Cluster, Error as ClusterError, Event, NodeName, PeerId, PipeId, RoomName, TrackId};
use antiphon_jsep::TransceiverId;
use antiphon_peer_connection::{Packet, RtcDtlsTransportState, RtcIceConnectionState, RtcIceGatheringState};
use futures_util::FutureExt;
use tokio::sync::mpsc;

use crate::event::Event as PeerEvent;
use crate::handle::{PeerConnection, PeerHandle};
use crate::room::cluster::Node;
use crate::room::error::Error;
use crate::room::link::Link;
use crate::router::Consumer;

/// What connections to other nodes tell and a room has not taken yet; each connection waits beyond that.
const MAX_NOTICES: usize = 256;

/// A room that is one with those of its name on other nodes.
pub(in crate::room) struct Span {
    pub(super) name: RoomName,
    pub(super) node: NodeName,
    link: Link<Node>,
    events: mpsc::Receiver<Event>,
    notices: mpsc::Sender<(PipeId, PipeNotice)>,
    noticed: mpsc::Receiver<(PipeId, PipeNotice)>,
    /// The peers of other nodes, by our numbers.
    pub(super) peers: BTreeMap<PeerId, u64>,
    /// What they send.
    pub(super) tracks: BTreeMap<TrackId, RemoteTrack>,
    /// The connections to other nodes.
    pub(super) pipes: BTreeMap<PipeId, Pipe>,
}

/// A track of another node.
pub(super) struct RemoteTrack {
    /// Its peer and its receiver, by our numbers.
    pub(super) peer: u64,
    pub(super) receiver: u64,
    /// Whether the cluster knows that somebody here gets it.
    pub(super) watched: bool,
}

/// A connection to another node.
pub(super) struct Pipe {
    pub(super) handle: PeerHandle,
    pub(super) connected: bool,
    /// A description of ours that waits for its candidates.
    pub(super) waiting: Option<Waiting>,
    pub(super) lanes: BTreeMap<TrackId, Lane>,
}

/// A description of ours, with its exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Waiting {
    Offer(u64),
    Answer(u64),
}

/// The section of a pipe that carries a track.
pub(super) struct Lane {
    pub(super) transceiver: TransceiverId,
    /// What sends it to the other node, if it is one of ours.
    pub(super) consumer: Option<Consumer>,
}

/// What a connection to another node tells.
#[derive(Debug)]
pub(super) enum PipeNotice {
    Gathered,
    Connected,
    Failed(String),
    Packet(TransceiverId, Packet),
}

impl PipeNotice {
    fn of(event: PeerEvent) -> Option<Self> {
        match event {
            PeerEvent::IceGatheringStateChange(RtcIceGatheringState::Complete) => Some(Self::Gathered),
            PeerEvent::DtlsStateChange(RtcDtlsTransportState::Connected) => Some(Self::Connected),
            PeerEvent::DtlsStateChange(RtcDtlsTransportState::Failed) => Some(Self::Failed("DTLS failed".to_owned())),
            PeerEvent::IceConnectionStateChange(RtcIceConnectionState::Failed) => {
                Some(Self::Failed("ICE found no way".to_owned()))
            }
            PeerEvent::PeerEnded(end) => Some(Self::Failed(format!("it ended by {end}"))),
            PeerEvent::Packet { transceiver, packet } => Some(Self::Packet(transceiver, packet)),
            _ => None,
        }
    }
}

/// What a room hears of other nodes.
pub(super) enum Turn {
    Event(Event),
    Notice(PipeId, PipeNotice),
}

impl Span {
    /// The room of this server that has this name.
    pub(in crate::room) async fn open(link: &Link<Node>, name: &str) -> Result<Self, Error> {
        let name = RoomName::new(name)?;
        let own = name.clone();
        let opened = link.call(move |node| async move { node.open_room(&own) }.boxed());
        let (node, events) = opened.await.unwrap_or(Err(ClusterError::Closed.into()))?;
        let (notices, noticed) = mpsc::channel(MAX_NOTICES);
        Ok(Self {
            name,
            node,
            link: link.clone(),
            events,
            notices,
            noticed,
            peers: BTreeMap::new(),
            tracks: BTreeMap::new(),
            pipes: BTreeMap::new(),
        })
    }

    /// The room is over.
    pub(super) async fn close(&self) {
        let name = self.name.clone();
        let close = self
            .link
            .call(move |node| async move { node.close_room(&name) }.boxed());
        // A node that is over has no rooms.
        _ = close.await;
    }

    /// What is asked of the node's machine.
    pub(super) async fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Cluster, Instant) -> Result<T, ClusterError> + Send + 'static,
    ) -> Result<T, ClusterError> {
        let call = self
            .link
            .call(move |node| async move { ask(node.machine(), Instant::now()) }.boxed());
        call.await.unwrap_or(Err(ClusterError::Closed))
    }

    /// What is told to the node's machine. It refuses only what is over there, of which it tells or has told us.
    pub(super) async fn tell(
        &self,
        tell: impl FnOnce(&mut Cluster, Instant) -> Result<(), ClusterError> + Send + 'static,
    ) {
        _ = self.ask(tell).await;
    }

    /// Takes what a connection tells to the room's task.
    pub(super) fn follow(&self, pipe: PipeId, mut connection: PeerConnection) {
        let notices = self.notices.clone();
        tokio::spawn(async move {
            while let Some(event) = connection.next_event().await {
                if let Some(notice) = PipeNotice::of(event)
                    && notices.send((pipe.clone(), notice)).await.is_err()
                {
                    break;
                }
            }
        });
    }

    async fn next(&mut self) -> Option<Turn> {
        tokio::select! {
            Some(event) = self.events.recv() => Some(Turn::Event(event)),
            Some((pipe, notice)) = self.noticed.recv() => Some(Turn::Notice(pipe, notice)),
            else => None,
        }
    }
}

/// What comes next of other nodes; nothing ever comes to a room that is on this server alone. Cancel safe.
pub(super) async fn next(span: &mut Option<Box<Span>>) -> Turn {
    if let Some(span) = span
        && let Some(turn) = span.next().await
    {
        return turn;
    }
    std::future::pending().await
}
