//! Why there is no allocation.

use std::time::Duration;

use thiserror::Error;

/// RFC 8656 §7.4: a server without room for us is asked again after a minute at least.
const FULL_PATIENCE: Duration = Duration::from_secs(60);

/// Why an allocation is not there, or is gone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AllocationError {
    /// The server refused with this STUN error code (401, 403, 437, 441, 442, 486, 508 ...).
    #[error("the TURN server refused: {code} {reason}")]
    Refused {
        /// The number of the error response (RFC 8489 §14.8), 300 to 699.
        code: u16,
        /// The server's words, for people; those of the RFC if it said none.
        reason: String,
    },
    /// No answer came.
    #[error("the TURN server did not answer")]
    TimedOut,
    /// The server's nonce announces password algorithms and its answer names none: somebody on the way wants us to use a
    /// weaker one (RFC 8489 §9.2.5).
    #[error("the TURN server's password algorithms were taken out of its answer")]
    BidDown,
    /// The answer lacks what it must have.
    #[error("the TURN server's answer is malformed")]
    Malformed,
}

impl AllocationError {
    /// The STUN error code, if the server sent one.
    pub fn code(&self) -> Option<u16> {
        match self {
            Self::Refused { code, .. } => Some(*code),
            _ => None,
        }
    }

    /// How long the server wants not to be asked by us: it has no room (508), or we have all that we may (486). Another server may
    /// be asked at once (RFC 8656 §7.4).
    pub fn retry_after(&self) -> Option<Duration> {
        matches!(self.code(), Some(486 | 508)).then_some(FULL_PATIENCE)
    }
}

/// What a code means, for servers that send no words (RFC 8489 §14.8, RFC 8656 §19).
pub(crate) fn reason_of(code: u16) -> &'static str {
    match code {
        300 => "Try Alternate",
        400 => "Bad Request",
        401 => "Unauthenticated",
        403 => "Forbidden",
        420 => "Unknown Attribute",
        437 => "Allocation Mismatch",
        438 => "Stale Nonce",
        440 => "Address Family not Supported",
        441 => "Wrong Credentials",
        442 => "Unsupported Transport Protocol",
        443 => "Peer Address Family Mismatch",
        486 => "Allocation Quota Reached",
        500 => "Server Error",
        508 => "Insufficient Capacity",
        _ => "",
    }
}
