//! What an agent reports.

use std::net::SocketAddr;

use antiphon_sansio::Path;

use crate::candidate::Candidate;
use crate::config::Role;

/// W3C `RTCIceGatheringState`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GatheringState {
    /// `gather` was not called.
    New,
    /// Candidates may come.
    Gathering,
    /// No more candidates will come, unless ICE is restarted or an interface comes.
    Complete,
}

/// W3C `RTCIceTransportState`, which is also `RTCIceConnectionState` for one transport.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ConnectionState {
    /// Waiting for remote candidates.
    New,
    /// Checking, and no pair works yet.
    Checking,
    /// A pair works; better ones may be looked for.
    Connected,
    /// A pair is nominated, and there is nothing left to look for.
    Completed,
    /// The pair in use does not answer; it may come back.
    Disconnected,
    /// No pair works, or consent expired. Only a restart leads out.
    Failed,
    /// Closed.
    Closed,
}

impl ConnectionState {
    /// Whether datagrams of the application may flow.
    pub fn is_connected(self) -> bool {
        matches!(self, Self::Connected | Self::Completed)
    }
}

/// What an agent reports.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A local candidate, to be signalled. After [`GatheringState::Complete`] none comes until a restart, or, with
    /// continual gathering, until the state is [`GatheringState::Gathering`] again because an interface came.
    LocalCandidate(Candidate),
    /// A local candidate that was signalled is gone with its interface or its server. No signalling takes it back;
    /// later descriptions should not name it.
    LocalCandidateGone(Candidate),
    /// Gathering went on.
    GatheringState(GatheringState),
    /// The connection went on.
    State(ConnectionState),
    /// This pair is used from now on.
    SelectedPair {
        /// Our end and the peer's address: where datagrams go from and to.
        path: Path,
        /// Our candidate, as it was signalled.
        local: Candidate,
        /// The peer's candidate, as it was signalled or as a check revealed it.
        remote: Candidate,
    },
    /// A server gave no candidate (W3C `RTCPeerConnectionIceErrorEvent`).
    CandidateError {
        /// The URL of the server, in the form of RFC 7064 or RFC 7065.
        url: String,
        /// Our address that asked, if it came that far.
        address: Option<SocketAddr>,
        /// The STUN error code, or 701 if the server was not reached.
        code: u16,
        /// The server's reason phrase, or ours, for people to read.
        text: String,
    },
    /// The peer has not answered for so long that nothing more may be sent to it (RFC 7675 §5.1) until ICE is
    /// restarted.
    ConsentExpired {
        /// Whether it goes on sending: see [`Agent::heard`](crate::Agent::heard). If not, the state is
        /// [`ConnectionState::Failed`].
        still_heard: bool,
    },
    /// A role conflict was settled.
    RoleChanged(Role),
}
