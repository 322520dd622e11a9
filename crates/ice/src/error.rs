//! Why a text or a value that the application gives is refused.

use thiserror::Error;

/// Why a text is not a candidate.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CandidateError {
    /// It is longer than [`MAX_CANDIDATE_LEN`](crate::MAX_CANDIDATE_LEN).
    #[error("candidate is too long")]
    TooLong,
    /// It ends before this field.
    #[error("candidate lacks its {0}")]
    Missing(&'static str),
    /// This field is not what the grammar allows.
    #[error("candidate has a malformed {0}")]
    Invalid(&'static str),
    /// This field names something that the grammar leaves room for and nobody here knows: another transport, type or
    /// `tcptype`. RFC 8839 §5.1 says to ignore such a candidate.
    #[error("candidate has an unknown {0}")]
    Unknown(&'static str),
}

/// Why a text is not the URL of a STUN or TURN server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UrlError {
    /// The scheme is none of `stun`, `stuns`, `turn`, `turns`.
    #[error("the scheme is not stun, stuns, turn or turns")]
    Scheme,
    /// There is no host, or it has characters that no host has, slashes for instance.
    #[error("the host is missing or malformed; it is written turn:host:port, without slashes or blanks")]
    Host,
    /// The port is not a number from 1 to 65535.
    #[error("the port is not a number from 1 to 65535")]
    Port,
    /// There is a query, and it is not `transport=udp` or `transport=tcp` (of a turn URL).
    #[error("the query is not transport=udp or transport=tcp")]
    Query,
}

/// Why credentials are refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum CredentialsError {
    /// The user fragment is not 4 to 256 characters (RFC 8839 §5.4).
    #[error("the user fragment is not 4 to 256 characters long")]
    Ufrag,
    /// The password is not 22 to 256 characters (RFC 8839 §5.4).
    #[error("the password is not 22 to 256 characters long")]
    Password,
}

/// Why a text is not a range of addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum AddressRangeError {
    /// What stands before the slash is no address.
    #[error("the address is malformed")]
    Address,
    /// What stands behind the slash is no number, or more than the address has bits.
    #[error("the prefix length is malformed or too long")]
    Length,
}
