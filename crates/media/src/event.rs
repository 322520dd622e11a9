use std::time::Instant;

use antiphon_rtp::extension::AudioLevel;
use bytes::Bytes;

/// Names one sender of a [`Session`](crate::Session). Never used again after removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SenderId(pub(crate) u32);

/// Names one receiver of a [`Session`](crate::Session). Never used again after removal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReceiverId(pub(crate) u32);

/// One encoded frame: a picture, or one packet's worth of sound. The same type goes in and comes out.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Which codec: on sending one of the sender's payload types, on receiving one of the receiver's.
    pub payload_type: u8,
    /// Media clock, in units of the codec's clock rate. On sending any start will do; a random offset is added.
    pub timestamp: u32,
    /// The encoded frame. Sending keeps slices of it, without copying, until the retransmission ring has moved on.
    pub data: Bytes,
    /// Whether it can be decoded without another frame. Sound always can. On sending the codec's own bits decide.
    pub key_frame: bool,
    /// Loudness, if the extension is negotiated (RFC 6464).
    pub audio_level: Option<AudioLevel>,
}

/// One received RTP packet after SRTP and RTX were undone, for forwarding.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// The source, never that of retransmissions.
    pub ssrc: u32,
    /// The stream's RID, if it has one.
    pub rid: Option<Box<str>>,
    /// Which codec; on sending, one of the sender's payload types.
    pub payload_type: u8,
    /// The sequence number, extended across wraps.
    pub sequence: u64,
    /// Media clock as the source counts it.
    pub timestamp: u32,
    /// The marker bit.
    pub marker: bool,
    /// The payload, without padding. May be empty (padding of the source); forward those too, or leave a gap.
    pub payload: Bytes,
    /// Whether a frame that can be decoded alone starts here.
    pub key_frame: bool,
    /// Loudness (RFC 6464).
    pub audio_level: Option<AudioLevel>,
    /// When it came.
    pub received: Instant,
}

/// What [`Session::poll_event`](crate::Session::poll_event) hands over.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum Event {
    /// A whole frame, in decoding order.
    Frame {
        /// Whose.
        receiver: ReceiverId,
        /// The source.
        ssrc: u32,
        /// Whether frames before it are missing.
        discontinuity: bool,
        /// The frame.
        frame: Frame,
    },
    /// One packet, in order of arrival.
    Packet {
        /// Whose.
        receiver: ReceiverId,
        /// The packet.
        packet: Packet,
    },
    /// A source was routed to a receiver for the first time.
    NewSource {
        /// Whose.
        receiver: ReceiverId,
        /// The source.
        ssrc: u32,
        /// The stream's RID, if it sent one.
        rid: Option<Box<str>>,
    },
    /// The peer cannot decode without a new key frame (PLI or FIR), at most one per 200 ms and sender.
    KeyFrameRequested {
        /// Who must make one.
        sender: SenderId,
    },
    /// The bandwidth estimate for all senders together has changed noticeably.
    TargetBitrate {
        /// Bits a second, payload and RTP headers.
        bps: u64,
    },
    /// The source has left (RTCP BYE).
    Bye {
        /// Whose.
        receiver: ReceiverId,
        /// The source.
        ssrc: u32,
    },
}

/// What [`Session::poll_transmit`](crate::Session::poll_transmit) wrote: SRTP protects the two differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PacketKind {
    /// One RTP packet.
    Rtp,
    /// One RTCP packet, compound or reduced-size.
    Rtcp,
}
