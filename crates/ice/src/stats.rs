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
    /// The candidate.
    pub candidate: Candidate,
    /// The server that gave it, for reflexive and relayed candidates.
    pub url: Option<String>,
    /// How the TURN server is reached, for relayed candidates of ours.
    pub relay_protocol: Option<ServerTransport>,
}

/// The application's datagrams on one pair, without headers of TURN and TCP framing; ICE's own are counted apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Datagrams sent.
    pub packets_sent: u64,
    /// Their bytes.
    pub bytes_sent: u64,
    /// Datagrams received.
    pub packets_received: u64,
    /// Their bytes.
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
    /// The pair's path.
    pub path: Path,
    /// The local candidate's id.
    pub local: u64,
    /// The remote candidate's id.
    pub remote: u64,
    /// How far its checks went.
    pub state: PairState,
    /// Whether it was nominated.
    pub nominated: bool,
    /// Whether it is in use.
    pub selected: bool,
    /// The pair's priority (RFC 8445 §6.1.2.3).
    pub priority: u64,
    /// Checks received, consent checks too.
    pub requests_received: u64,
    /// Checks sent, consent checks not.
    pub requests_sent: u64,
    /// Answers received.
    pub responses_received: u64,
    /// Answers sent.
    pub responses_sent: u64,
    /// Consent checks sent (RFC 7675).
    pub consent_requests_sent: u64,
    /// The application's datagrams.
    pub traffic: Traffic,
    /// The latest round trip of a check.
    pub current_round_trip_time: Option<Duration>,
    /// The sum over all answers.
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
    /// Checks that waited because all agents together had sent enough to that address ([`ContactBudget`](crate::ContactBudget)).
    pub postponed_checks: u64,
    /// Outgoing messages beyond the limits of the queue.
    pub dropped_responses: u64,
}

/// Everything at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Our candidates.
    pub local_candidates: Vec<CandidateStats>,
    /// The peer's candidates.
    pub remote_candidates: Vec<CandidateStats>,
    /// The check list.
    pub pairs: Vec<PairStats>,
    /// What was refused.
    pub counters: Counters,
}
