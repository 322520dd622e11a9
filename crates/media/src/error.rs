//! Why senders, receivers and media are refused.

/// Why a sender or receiver could not be set up, or media could not be taken for sending.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// No sender or receiver has this id, or it was removed.
    #[error("no such sender or receiver")]
    UnknownId,
    /// Another sender of this session has the SSRC already.
    #[error("the SSRC is in use")]
    SsrcInUse,
    /// The payload type is none of the sender's codecs.
    #[error("the payload type was not negotiated for sending")]
    UnknownPayloadType,
    /// The codec was negotiated, but with parameters by which its frames cannot be packetised here: send packets (`send_rtp`).
    #[error("frames of this codec cannot be packetised with these parameters; send its packets instead")]
    NotPacketised,
    /// The sender is inactive: the negotiated direction does not let it send.
    #[error("the sender is inactive")]
    Inactive,
    /// A circuit breaker has stopped the sender ([`Event::Ceased`](crate::Event::Ceased)); it is told when it may send again.
    #[error("the sender has ceased, because the path does not bear what it sends")]
    Ceased,
    /// The pacer still holds so much that the frame does not fit; it was dropped whole. The next frame sent should be a
    /// key frame, or the encoder should slow down.
    #[error("the send queue is full")]
    QueueFull,
    /// The frame is empty, needs more packets than a stream may keep, or has a part too large for a packet that must not be cut.
    #[error("the frame is empty or too large")]
    FrameSize,
    /// The frame is not built as frames of its codec are: units without start codes or lengths, OBUs of wrong sizes.
    #[error("the frame is not one of its codec")]
    FrameFormat,
    /// A packet that is forwarded is larger, with our headers, than the path carries. It was dropped, and counted in
    /// [`OutboundRtp::packets_too_large`](crate::OutboundRtp::packets_too_large).
    #[error("a packet of {bytes} bytes is larger than the {limit} that the path carries")]
    PacketTooLarge {
        /// Its size with our headers, before SRTP.
        bytes: usize,
        /// The most that is sent.
        limit: usize,
    },
    /// Keys cannot be played: no telephone events were negotiated for sending, or the stream is not of sound.
    #[error("no telephone events were negotiated for sending")]
    NoTelephoneEvents,
    /// This is no key of a telephone: `0` to `9`, `*`, `#`, `A` to `D` in either case, and `,` for a pause are.
    #[error("{0:?} is no key of a telephone")]
    NotATone(char),
    /// More than [`MAX_TONES`](crate::MAX_TONES) keys at once.
    #[error("too many keys at once")]
    TooManyTones,
    /// The wanted delay is more than [`MAX_JITTER_BUFFER_TARGET`](crate::MAX_JITTER_BUFFER_TARGET).
    #[error("the jitter buffer's target is more than four seconds")]
    JitterBufferTarget,
    /// The session was closed.
    #[error("the session is closed")]
    Closed,
}
