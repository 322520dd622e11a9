//! What a node hears of the cluster.

use crate::names::{NodeName, RoomName};
use crate::peer::{Peer, PeerId, Track, TrackId};
use crate::section::Section;
use crate::subject::Subject;

/// A connection between two nodes that carries the tracks of one room.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PipeId {
    /// The room whose tracks it carries.
    pub room: RoomName,
    /// The node at the other end.
    pub node: NodeName,
    /// Its number: a pipe that takes the place of another has a higher one, if the same run of a node offers both.
    pub number: u64,
}

/// What a node hears of the cluster, and what it is asked to do.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// Take messages of this subject from the bus from now on, before anything else is published.
    Listen(Subject),
    /// Take no more messages of this subject.
    Ignore(Subject),
    /// The bus works: what is said is heard. Peers may join.
    BusBack,
    /// The bus is away. Pipes go on, nothing new is heard of, and joining is refused.
    BusAway,
    /// Another node is there.
    NodeUp(NodeName),
    /// A node is gone: it said so, it was silent, or it was started anew. The ends of its peers and pipes were told before.
    NodeGone(NodeName),
    /// A node with our name was started after us: this one has left the cluster, and the machine is closed.
    Displaced,
    /// A peer of another node is in a room. Its tracks are told next.
    PeerJoined {
        /// The room that it is in.
        room: RoomName,
        /// Who it is.
        peer: PeerId,
        /// What is known of it.
        known: Peer,
    },
    /// The name or the details of a peer of another node are others now.
    PeerChanged {
        /// The room that it is in.
        room: RoomName,
        /// Who it is.
        peer: PeerId,
        /// What is known of it now.
        known: Peer,
    },
    /// A peer of another node has said something.
    PeerSaid {
        /// The room that it is in.
        room: RoomName,
        /// Who it is.
        peer: PeerId,
        /// What it has said, at most 8192 bytes.
        text: String,
    },
    /// A peer of another node is gone. The ends of its tracks were told before.
    PeerLeft {
        /// The room that it was in.
        room: RoomName,
        /// Who it was.
        peer: PeerId,
    },
    /// A peer of another node sends a track.
    TrackAdded {
        /// The room that it is in.
        room: RoomName,
        /// Which track it is.
        id: TrackId,
        /// What is known of it.
        track: Track,
    },
    /// A peer of another node does not send a track any more. Who watched it need not call `unwatch`.
    TrackRemoved {
        /// The room that it was in.
        room: RoomName,
        /// Which track it was.
        id: TrackId,
    },
    /// Open a connection to the other node.
    PipeOpened {
        /// The pipe that the connection is for.
        pipe: PipeId,
    },
    /// Make an offer with a section for each of these tracks, of the others' and of our own, and hand it to `offer`.
    OfferWanted {
        /// The pipe that it is for.
        pipe: PipeId,
        /// The exchange, to be given back with the offer.
        exchange: u64,
        /// Every track that the pipe is to carry, both ways. A track of this node is sent, one of the other is received.
        tracks: Vec<TrackId>,
    },
    /// The other node offers: take it, and hand the answer to `answer`.
    Offered {
        /// The pipe that it is for.
        pipe: PipeId,
        /// The exchange, to be given back with the answer.
        exchange: u64,
        /// The offer as the other node's connection made it.
        sdp: String,
        /// The sections that carry tracks. Other sections of the offer carry nothing.
        sections: Vec<Section>,
    },
    /// The other node's answer to our last offer.
    Answered {
        /// The pipe that it is for.
        pipe: PipeId,
        /// The answer as the other node's connection made it.
        sdp: String,
    },
    /// Close the connection: nobody watches, the other node or the room is gone, or another pipe takes its place.
    PipeClosed {
        /// The pipe whose connection it is.
        pipe: PipeId,
    },
}

/// What came from the bus and was dropped, by reason, and what was sent again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that were taken.
    pub taken: u64,
    /// Messages longer than `MAX_MESSAGE`.
    pub too_large: u64,
    /// Messages of another version of the protocol.
    pub other_version: u64,
    /// Messages that are not what this version writes, or beyond its limits.
    pub malformed: u64,
    /// Messages of a run of a node that has ended.
    pub stale: u64,
    /// Messages of more nodes than `MAX_NODES`.
    pub too_many_nodes: u64,
    /// Messages about rooms in which nobody is here.
    pub elsewhere: u64,
    /// Messages about peers, pipes or exchanges that are over or known already.
    pub late: u64,
    /// Messages that came while too many events waited for the application.
    pub unread: u64,
    /// Offers that were sent again because no answer came.
    pub resent: u64,
    /// Pipes that were given up because no answer came at all, or the other end lost them.
    pub renewed: u64,
}
