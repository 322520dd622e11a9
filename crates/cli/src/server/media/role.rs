//! What a session is for, why there is none, and what comes of it.

use std::sync::Arc;

use antiphon::{Error, RtcIceCandidateInit};

use super::forward::Publisher;

/// Why a session without a candidate of ours ends.
pub(in crate::server) const NO_WAY: &str =
    "nothing can reach this server: it could open no socket (ulimit -n, --ports), or no relay answers (--relay-only)";

/// What a peer's media is for.
#[derive(Clone, Debug)]
pub(in crate::server) enum Role {
    /// It sees our pattern.
    Pattern,
    /// It gets its own media back.
    Echo,
    /// It has data channels and no media.
    Data,
    /// It sends to everybody (WHIP).
    Publish,
    /// It sees a publisher (WHEP).
    Watch(Arc<Publisher>),
}

impl Role {
    /// Whether we send; only then are tracks added.
    pub(in crate::server) fn sends(&self) -> bool {
        matches!(self, Self::Pattern | Self::Echo | Self::Watch(_))
    }
}

/// Why there is no session.
#[derive(Debug, thiserror::Error)]
pub(in crate::server) enum Refused {
    /// The offer cannot be served, and this is why.
    #[error("{0}")]
    Offer(String),
    /// It is our fault.
    #[error(transparent)]
    Broken(#[from] Error),
}

/// What the signalling has to pass on.
#[derive(Debug)]
pub(in crate::server) enum Outcome {
    /// A candidate of ours; `None`: no more.
    Candidate(Option<RtcIceCandidateInit>),
    /// An offer should be made.
    Negotiate,
    /// All candidates are gathered.
    Gathered,
    /// It is over.
    Closed,
}
