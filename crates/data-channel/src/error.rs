//! Why a channel was not opened, and why a message was not taken.

use thiserror::Error;

/// Why a channel was not opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum OpenError {
    /// The label or the protocol is longer than 65535 bytes (W3C: `TypeError`).
    #[error("the label or the protocol is longer than 65535 bytes")]
    TooLong,
    /// Both `max_packet_life_time` and `max_retransmits` are set (W3C: `TypeError`).
    #[error("lifetime and retransmissions cannot both be limited")]
    TwoLimits,
    /// The negotiated id is 65535, or more than the association carries (W3C: `TypeError` and `OperationError`).
    #[error("the stream id is not usable")]
    InvalidId,
    /// The negotiated id is in use, or its last channel is not fully reset yet (W3C: `OperationError`).
    #[error("the stream id is in use")]
    IdInUse,
    /// No id of our parity is free, or there are too many channels (W3C: `OperationError`).
    #[error("no stream id is free")]
    NoFreeId,
    /// The association has ended.
    #[error("the association is closed")]
    Closed,
}

/// Why a message was not taken. Nothing of it is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum SendError {
    /// The channel is connecting (W3C: `InvalidStateError`).
    #[error("the channel is not open yet")]
    NotOpen,
    /// The channel is closing or closed, or there is no such channel (W3C: `InvalidStateError`).
    #[error("the channel is closed")]
    Closed,
    /// The message is larger than the peer takes (W3C: `TypeError`).
    #[error("the message has {size} bytes, the peer takes {limit}")]
    TooLarge {
        /// How many bytes the message has.
        size: usize,
        /// How many it may have: see [`max_message_size`](crate::DataChannels::max_message_size).
        limit: usize,
    },
    /// The send buffer is full (W3C: `OperationError`). Wait for `BufferedAmountLow`.
    #[error("the send buffer is full")]
    BufferFull,
    /// A text message is not UTF-8.
    #[error("the text is not UTF-8")]
    NotUtf8,
}
