use thiserror::Error;

/// Why an allocation is not there, or is gone.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AllocationError {
    /// The server refused with this STUN error code (401, 403, 437, 441, 442, 486, 508 ...).
    #[error("the TURN server refused: {code} {reason}")]
    Refused {
        /// The code.
        code: u16,
        /// The server's words, for people.
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
