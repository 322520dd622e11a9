//! Why an association ended, why a message was not taken, and why bytes could not be read.

use thiserror::Error;

/// Why an association ended other than by an orderly shutdown.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum Error {
    /// INIT or COOKIE ECHO stayed unanswered (RFC 9260 §5.1).
    #[error("the peer did not answer the association's handshake")]
    HandshakeTimeout,
    /// Too many consecutive retransmissions or heartbeats stayed unanswered (RFC 9260 §8.1).
    #[error("the peer stopped answering")]
    PeerUnreachable,
    /// The peer sent ABORT. Holds the first error cause's code, if there was one (RFC 9260 §3.3.10).
    #[error("the peer aborted the association (cause {cause:?})")]
    AbortedByPeer {
        /// The first error cause.
        cause: Option<u16>,
    },
    /// We aborted because the peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    ProtocolViolation(&'static str),
    /// The peer lost its state and began anew (RFC 9260 §5.2.4.1). What the streams carried is lost.
    #[error("the peer restarted the association")]
    Restarted,
    /// We called [`Association::abort`](crate::Association::abort).
    #[error("the association was aborted locally")]
    Aborted,
}

/// Why a message was not taken for sending. Nothing of it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The association is closing, closed or failed.
    #[error("the association is closed")]
    Closed,
    /// SCTP has no empty messages (RFC 9260 §3.3.1); data channels send one byte under an "empty" PPID.
    #[error("SCTP cannot carry an empty message")]
    Empty,
    /// The send buffer is full: wait for `BufferedAmountLow`, or for acknowledgements.
    #[error("the send buffer is full")]
    BufferFull,
    /// The stream is being reset, or the peer does not grant that many streams.
    #[error("the stream does not take messages")]
    StreamUnavailable,
}

/// Bytes are not an SCTP packet, chunk or parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ParseError {
    /// The input ends before the field does.
    #[error("input ends before the field does")]
    Short,
    /// A length field is smaller than what it counts, or larger than what is there.
    #[error("a length field is impossible")]
    Length,
}

impl From<antiphon_sansio::Short> for ParseError {
    fn from(_: antiphon_sansio::Short) -> Self {
        Self::Short
    }
}
