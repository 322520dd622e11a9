//! Figures for W3C statistics and for whoever looks after a server.

use std::time::{Duration, Instant};

use antiphon_sansio::Path;

use crate::candidate::Candidate;
use crate::config::ServerTransport;

/// The state of a pair (RFC 8445 §6.1.2.6), as W3C `RTCStatsIceCandidatePairState` names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PairState {
    /// Waits for a pair of the same foundation.
    Frozen,
    /// Will be checked.
    Waiting,
    /// Is being checked.
    InProgress,
    /// A check succeeded.
    Succeeded,
    /// Its checks failed.
    Failed,
}

/// A local or remote candidate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CandidateStats {
    /// Stays the same for the agent's life; [`PairStats`] refers to it.
    pub id: u64,
    /// The candidate in its signalled form; a peer's that came with a name keeps the name.
    pub candidate: Candidate,
    /// The server that gave it, for reflexive and relayed candidates.
    pub url: Option<String>,
    /// How the TURN server is reached, for relayed candidates of ours.
    pub relay_protocol: Option<ServerTransport>,
}

/// The application's datagrams on one pair, without headers of TURN and TCP framing; ICE's own are counted apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many datagrams were sent.
    pub packets_sent: u64,
    /// How many bytes those datagrams had.
    pub bytes_sent: u64,
    /// How many datagrams were received.
    pub packets_received: u64,
    /// How many bytes those datagrams had.
    pub bytes_received: u64,
    /// When the last one was sent.
    pub last_sent: Option<Instant>,
    /// When the last one was received.
    pub last_received: Option<Instant>,
}

/// W3C `RTCIceCandidatePairStats`, as far as the agent knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PairStats {
    /// Stays the same for the agent's life.
    pub id: u64,
    /// Where the pair's datagrams go from and to.
    pub path: Path,
    /// The local candidate, by its [`CandidateStats::id`].
    pub local: u64,
    /// The remote candidate, by its [`CandidateStats::id`].
    pub remote: u64,
    /// How far its checks went.
    pub state: PairState,
    /// Whether it was nominated.
    pub nominated: bool,
    /// Whether it is in use.
    pub selected: bool,
    /// The pair's priority (RFC 8445 §6.1.2.3).
    pub priority: u64,
    /// How many valid checks the peer sent on it, consent checks among them.
    pub requests_received: u64,
    /// How many checks we sent on it, consent checks not among them.
    pub requests_sent: u64,
    /// How many valid answers to checks of ours came.
    pub responses_received: u64,
    /// How many checks of the peer's were answered.
    pub responses_sent: u64,
    /// How many consent checks we sent (RFC 7675).
    pub consent_requests_sent: u64,
    /// The application's datagrams on it.
    pub traffic: Traffic,
    /// The latest round trip of a check or a consent check; none before the first answer.
    pub current_round_trip_time: Option<Duration>,
    /// The sum of the round trips of all answers; divide by `responses_received` for the mean.
    pub total_round_trip_time: Duration,
}

/// What an agent refused, by reason. All of it was dropped without an answer unless said otherwise.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Counters {
    /// Looks like STUN and is not.
    pub malformed: u64,
    /// FINGERPRINT is there and wrong.
    pub bad_fingerprint: u64,
    /// A request without USERNAME or MESSAGE-INTEGRITY, or not for us.
    pub unauthenticated: u64,
    /// MESSAGE-INTEGRITY is wrong.
    pub bad_integrity: u64,
    /// An answer to nothing that we asked.
    pub unexpected_response: u64,
    /// A request with comprehension-required attributes that we do not know; answered with 420.
    pub unknown_attribute: u64,
    /// Role conflicts settled.
    pub role_conflicts: u64,
    /// Remote candidates refused: another ufrag, another component, an unusable address or port.
    pub ignored_candidates: u64,
    /// Remote candidates or pairs beyond the limits.
    pub over_limit: u64,
    /// Checks that waited because all agents together had sent enough to that address
    /// ([`ContactBudget`](crate::ContactBudget)).
    pub postponed_checks: u64,
    /// Outgoing messages beyond the limits of the queue.
    pub dropped_responses: u64,
}

/// Candidates, pairs and counters of an agent at one moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// All candidates of ours, signalled or not.
    pub local_candidates: Vec<CandidateStats>,
    /// All candidates of the peer, signalled or revealed by checks.
    pub remote_candidates: Vec<CandidateStats>,
    /// All pairs of the check list, in the order in which they were formed.
    pub pairs: Vec<PairStats>,
    /// What was refused since the agent began.
    pub counters: Counters,
}
