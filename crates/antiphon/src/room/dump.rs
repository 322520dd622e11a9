//! What there is in a server at one moment, for people who look for a fault.

use std::net::SocketAddr;

use antiphon_jsep::MediaKind;
use antiphon_peer_connection::{RtcSignalingState, RtcStatsReport};

use super::facts::RtpParameters;

/// A server: [`Server::dump`](super::Server::dump).
#[derive(Clone, Debug, Default)]
pub struct ServerDump {
    /// The workers, by their numbers.
    pub workers: Vec<WorkerDump>,
}

/// A worker of a server.
#[derive(Clone, Debug, Default)]
pub struct WorkerDump {
    /// The addresses on which its connections are reached.
    pub addresses: Vec<SocketAddr>,
    /// The rooms that were given to it.
    pub rooms: Vec<RoomDump>,
}

/// A room: [`Room::dump`](super::Room::dump).
#[derive(Clone, Debug, Default)]
pub struct RoomDump {
    /// The number of the room within its server.
    pub id: u64,
    /// The name of the room in the cluster, if it has one.
    pub name: Option<String>,
    /// The peers, in the order in which they came, those of other nodes too.
    pub peers: Vec<PeerDump>,
    /// The connections to other nodes.
    pub pipes: Vec<PipeDump>,
    /// The tracks that cross from one of its workers to another; empty where it lives on one.
    pub crossings: Vec<CrossingDump>,
}

/// A connection of a room to another node.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PipeDump {
    /// The name of the other node.
    pub node: String,
    /// Its number, which grows from one such connection to the next.
    pub number: u64,
    /// Whether it stands.
    pub connected: bool,
    /// The receivers of this node that it carries to the other, by their numbers.
    pub sends: Vec<u64>,
    /// The receivers of the other node that it carries to this one, by their numbers here.
    pub receives: Vec<u64>,
}

/// A track that crosses from the worker of its peer to another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CrossingDump {
    /// The number of the receiver.
    pub receiver: u64,
    /// The number of the worker that it crosses to.
    pub worker: usize,
    /// Whether it crosses now: not all who get it there have it switched off.
    pub active: bool,
}

/// A peer: [`Peer::dump`](super::Peer::dump).
#[derive(Clone, Debug, Default)]
pub struct PeerDump {
    /// The number of the peer within its server.
    pub id: u64,
    /// The name that the application gave it.
    pub name: String,
    /// The node that its client is connected to, if that is not this one.
    pub node: Option<String>,
    /// The number of the worker that its connection lives on.
    pub worker: usize,
    /// Whether it has told its capabilities.
    pub has_capabilities: bool,
    /// Where its exchanges stand; `None`: it has no connection.
    pub signaling_state: Option<RtcSignalingState>,
    /// Whether an offer is made, and neither answered nor given up.
    pub is_busy: bool,
    /// What it sends to the room.
    pub receivers: Vec<ReceiverDump>,
    /// What the room sends to it.
    pub senders: Vec<SenderDump>,
}

/// A receiver of a peer.
#[derive(Clone, Debug)]
pub struct ReceiverDump {
    /// The number of the receiver within its server.
    pub id: u64,
    /// Whether it is sound or pictures.
    pub kind: MediaKind,
    /// How it was negotiated.
    pub parameters: RtpParameters,
}

/// A sender of a peer.
#[derive(Clone, Debug)]
pub struct SenderDump {
    /// The number of the sender within its server.
    pub id: u64,
    /// The number of the receiver that it forwards.
    pub receiver: u64,
    /// How it was negotiated; empty before it is.
    pub parameters: RtpParameters,
    /// Whether it sends: it is negotiated, and not disabled.
    pub active: bool,
}

/// A transport: [`Transport::dump`](super::Transport::dump).
#[derive(Clone, Debug)]
pub struct TransportDump {
    /// The number of the transport within its server.
    pub id: u64,
    /// The most that the client may send of each track, in bits a second, if that is limited.
    pub max_bitrate: Option<u64>,
    /// Our candidates, as the values of candidate attributes (RFC 8839 §5.1); empty before the first offer is set.
    pub ice_local_candidates: Vec<String>,
    /// The states and figures of ICE, DTLS and SRTP: `transport()` has the roles, the states, our user name fragment, and the ids of
    /// the entries of both certificates and of the pair in use.
    pub stats: RtcStatsReport,
}
