//! Why a call on a room, or on what lives in it, was refused.

use antiphon_jsep::JsepError;
use antiphon_jsep::plan_b::PlanBError;
use antiphon_peer_connection::{RtcSignalingState, SdpType};

/// Why a call on a server, a room, a peer or its connection was refused. Nothing has changed then, unless the variant says so.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// What was called is closed: the server, the room, the peer, ...
    #[error("the {0} is closed")]
    Closed(&'static str),
    /// The name of a peer is empty.
    #[error("a peer needs a name")]
    EmptyName,
    /// The name of a peer is longer than [`MAX_NAME`](super::MAX_NAME) bytes.
    #[error("the name has {0} bytes; at most {max} are taken", max = super::MAX_NAME)]
    NameTooLong(usize),
    /// Another peer of the room has this name, on this node or on another.
    #[error("the room has a peer called {0:?} already")]
    DuplicateName(String),
    /// A room of this server has this name in the cluster.
    #[error("the server has a room called {0:?} already")]
    RoomNameTaken(String),
    /// The peer is of another node: its client is not connected to this one.
    #[error("the peer is connected to node {0}")]
    Elsewhere(String),
    /// The cluster does not take it; while its bus is away, that is [`ClusterError::BusAway`](super::ClusterError::BusAway).
    #[error(transparent)]
    Cluster(#[from] antiphon_cluster::Error),
    /// The room or the server is full.
    #[error("too many {what}: at most {max}")]
    TooMany {
        /// What there would be too many of.
        what: &'static str,
        /// How many there may be.
        max: usize,
    },
    /// An option cannot be used.
    #[error("{option}: {reason}")]
    Option {
        /// The name of the option.
        option: String,
        /// What is wrong with its value.
        reason: String,
    },
    /// No port of a worker's part of the range could be bound.
    #[error("no free port from {first} to {last}: {source}")]
    NoPort {
        /// The first port of the part.
        first: u16,
        /// The last port of the part.
        last: u16,
        /// Why the last one that was tried could not be bound.
        source: Box<crate::Error>,
    },
    /// No address of this machine fits `rtc_ipv4` and `rtc_ipv6`.
    #[error("no address of this machine fits rtc_ipv4 and rtc_ipv6")]
    NoAddress,
    /// A thread for a worker could not be started.
    #[error("cannot start a worker: {0}")]
    Worker(#[from] std::io::Error),
    /// `set_capabilities` was called twice.
    #[error("the capabilities of the peer are set already")]
    CapabilitiesSet,
    /// `set_capabilities` comes before the first offer.
    #[error("set_capabilities comes before the first offer")]
    NoCapabilities,
    /// What the peer says of its capabilities is not SDP, or larger than is handled.
    #[error("invalid capabilities SDP: {0}")]
    Capabilities(JsepError),
    /// The peer has a connection already: each has one.
    #[error("the peer has a connection already")]
    SecondConnection,
    /// An offer is made or under way: its answer comes first, or [`reset`](super::RtcPeerConnection::reset).
    #[error("cannot {operation}: an exchange is under way; it ends with the answer, or with reset()")]
    Busy {
        /// What was asked.
        operation: &'static str,
    },
    /// The call does not fit the signalling state.
    #[error("cannot {operation} in signalling state {state}")]
    InvalidState {
        /// What was asked, with the type of the description: `set a remote answer`, ...
        operation: String,
        /// The state in which it was asked.
        state: RtcSignalingState,
    },
    /// The client sent an offer, as its first description or later.
    #[error(
        "cannot set a remote offer in signalling state {state}: the server makes the offers and the client answers"
    )]
    OfferFromClient {
        /// The state in which it came.
        state: RtcSignalingState,
    },
    /// Nothing that the client offers can be taken by the room.
    #[error("no section of the offer has one of the codecs of the room")]
    NothingInCommon,
    /// The description is not the offer that `create_offer` made last.
    #[error("the description is not the offer that create_offer made last")]
    Modified,
    /// There is no such receiver, sender or transport any more.
    #[error("no such {0}")]
    Gone(&'static str),
    /// A description of a client that speaks Plan B, or ours for it, cannot be translated.
    #[error("Plan B: {0}")]
    PlanB(#[from] PlanBError),
    /// The connection below refused the call. After a wrong answer the exchange is still under way: `reset` ends it.
    #[error(transparent)]
    Connection(#[from] crate::Error),
}

impl Error {
    /// The name that the W3C, or mediasoup, gives to this error.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Closed(_)
            | Self::CapabilitiesSet
            | Self::NoCapabilities
            | Self::SecondConnection
            | Self::Busy { .. }
            | Self::InvalidState { .. }
            | Self::OfferFromClient { .. }
            | Self::Elsewhere(_) => "InvalidStateError",
            Self::EmptyName | Self::NameTooLong(_) | Self::Option { .. } => "TypeError",
            Self::Modified => "InvalidModificationError",
            Self::Connection(crate::Error::Peer(error)) => error.name(),
            Self::Connection(crate::Error::Closed) => "InvalidStateError",
            Self::DuplicateName(_)
            | Self::RoomNameTaken(_)
            | Self::Cluster(_)
            | Self::TooMany { .. }
            | Self::NoPort { .. }
            | Self::NoAddress
            | Self::Worker(_)
            | Self::Capabilities(_)
            | Self::Gone(_)
            | Self::NothingInCommon
            | Self::PlanB(_)
            | Self::Connection(_) => "Error",
        }
    }

    /// A call that does not fit the state, with the words of the W3C: `set a remote answer`.
    pub(super) fn state(end: &'static str, sdp_type: SdpType, state: RtcSignalingState) -> Self {
        Self::InvalidState {
            operation: format!("set a {end} {sdp_type}"),
            state,
        }
    }
}
