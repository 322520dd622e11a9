//! Why a message is not read or not written.

use thiserror::Error;

/// Why bytes are not a STUN message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// Fewer bytes than the header or its length field says, or more.
    #[error("the length of the message is wrong")]
    Length,
    /// The two top bits are not zero, or the length is not a multiple of four.
    #[error("the header is not that of a STUN message")]
    Header,
    /// The magic cookie is missing (RFC 3489 messages are not taken).
    #[error("the magic cookie is missing")]
    Cookie,
    /// An attribute runs past the end of the message.
    #[error("an attribute runs past the end")]
    Attribute,
    /// FINGERPRINT is followed by something (RFC 8489 §14.7).
    #[error("FINGERPRINT is not the last attribute")]
    AfterFingerprint,
}

/// Why a message was not written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The buffer is too small.
    #[error("the buffer is too small for the message")]
    Full,
    /// An attribute's value has more than 65 535 bytes, or the whole message has.
    #[error("an attribute or the message is too long for its length field")]
    TooLong,
}

/// Why a name or password has no OpaqueString form. Never says which character: it may be a secret's.
#[cfg(feature = "opaque-string")]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpaqueStringError {
    /// There is nothing.
    #[error("it is empty")]
    Empty,
    /// A control character, one that cannot be seen, or one that Unicode does not have.
    #[error("it has a character that names and passwords must not have")]
    Disallowed,
}
