//! Payload formats: how a frame becomes packets, and packets a frame. One room for each format; two enums choose between them by
//! the name of the encoding.
//!
//! A [`Packetizer`] cuts a frame into packets, each a [`Layout`]: a few bytes of the format's own and slices of the frame, copied
//! by nobody before the packet is written. A [`Depacketizer`] looks at one payload and says whether the frame starts, ends,
//! or can be decoded alone, and which of the bytes belong to it; the caller joins the pieces of packets in sequence from a start
//! to an end.

pub mod av1;
pub mod comfort_noise;
pub mod g711;
pub mod g722;
pub mod h264;
pub mod h265;
pub mod l16;
mod layout;
pub mod opus;
pub mod red;
pub mod telephone_event;
pub mod vp8;
pub mod vp9;
mod whole;

pub use layout::{Cut, Layout, MAX_OWN, MAX_SLICES, Piece, slices};

use crate::ParseError;
use telephone_event::TelephoneEvent;

/// Cuts frames of one encoding into packets.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Packetizer {
    /// RFC 7741
    Vp8(vp8::Packetizer),
    /// RFC 7587, RFC 3551 §4.5.14: a frame is a packet.
    Whole,
    /// An encoding that is not known here: what fits into one packet is sent as it is.
    Opaque,
}

/// The packets of one frame, in order.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Cuts {
    /// Of a VP8 frame.
    Vp8(vp8::Cuts),
    /// A frame in one packet.
    Whole(Option<Cut>),
}

impl Iterator for Cuts {
    type Item = Cut;

    #[inline]
    fn next(&mut self) -> Option<Cut> {
        match self {
            Self::Vp8(cuts) => cuts.next(),
            Self::Whole(cut) => cut.take(),
        }
    }
}

impl Cuts {
    /// How many packets are still to come.
    pub fn len(&self) -> usize {
        match self {
            Self::Vp8(cuts) => cuts.len(),
            Self::Whole(cut) => usize::from(cut.is_some()),
        }
    }

    /// Whether all have been taken.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Packetizer {
    /// The packetizer of an encoding name in `a=rtpmap`, compared without case. `None`: its frames cannot be cut here, only its
    /// packets be forwarded. `start` is where running numbers of the format begin; a random one is best.
    pub fn new(name: &str, start: u16) -> Option<Self> {
        match Depacketizer::new(name) {
            Depacketizer::Vp8 => Some(Self::Vp8(vp8::Packetizer::new(start))),
            Depacketizer::Opus | Depacketizer::Pcmu | Depacketizer::Pcma => Some(Self::Whole),
            Depacketizer::Vp9 | Depacketizer::H264 | Depacketizer::H265 | Depacketizer::Av1 => None,
            Depacketizer::TelephoneEvent | Depacketizer::Opaque => Some(Self::Opaque),
        }
    }

    /// The packets of `frame`, with payloads of at most `max` bytes; `None` if it cannot be cut so, or is empty.
    #[inline]
    pub fn packetize(&self, frame: &[u8], max: usize) -> Option<Cuts> {
        if frame.is_empty() {
            return None;
        }
        match self {
            Self::Vp8(vp8) => vp8.packetize(frame, max).map(Cuts::Vp8),
            Self::Whole | Self::Opaque => {
                whole::packetize(frame, max).map(|layout| Cuts::Whole(Some(Cut { layout, marker: false })))
            }
        }
    }

    /// The packets of a frame were taken: running numbers move on to the next frame.
    #[inline]
    pub fn advance(&mut self) {
        match self {
            Self::Vp8(vp8) => vp8.advance(),
            Self::Whole | Self::Opaque => {}
        }
    }

    /// Whether a frame can be decoded alone, by its own bits.
    pub fn is_key_frame(&self, frame: &[u8]) -> bool {
        match self {
            Self::Vp8(_) => frame.first().is_some_and(|byte| vp8::is_key_frame(*byte)),
            Self::Whole => true,
            Self::Opaque => false,
        }
    }
}

/// Finds frames in the payloads of one encoding. It keeps nothing from one payload to the next: they may come in any order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Depacketizer {
    /// RFC 7741
    Vp8,
    /// RFC 7587
    Opus,
    /// RFC 3551 §4.5.14
    Pcmu,
    /// RFC 3551 §4.5.14
    Pcma,
    /// RFC 9628: key frames are recognised, frames are not assembled.
    Vp9,
    /// RFC 6184: key frames are recognised, frames are not assembled.
    H264,
    /// RFC 7798: key frames are recognised, frames are not assembled.
    H265,
    /// AV1: key frames are recognised, frames are not assembled.
    Av1,
    /// RFC 4733: keys pressed, beside the sound.
    TelephoneEvent,
    /// Anything else: nothing is known of the payload.
    Opaque,
}

impl Depacketizer {
    /// The depacketizer of an encoding name in `a=rtpmap`, compared without case.
    pub fn new(name: &str) -> Self {
        const NAMES: [(&str, Depacketizer); 9] = [
            ("VP8", Depacketizer::Vp8),
            ("opus", Depacketizer::Opus),
            ("PCMU", Depacketizer::Pcmu),
            ("PCMA", Depacketizer::Pcma),
            ("VP9", Depacketizer::Vp9),
            ("H264", Depacketizer::H264),
            ("H265", Depacketizer::H265),
            ("AV1", Depacketizer::Av1),
            ("telephone-event", Depacketizer::TelephoneEvent),
        ];
        let known = NAMES.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map_or(Self::Opaque, |(_, depacketizer)| depacketizer)
    }

    /// Whether whole frames can be put together from its pieces.
    #[inline]
    pub fn has_frames(self) -> bool {
        matches!(self, Self::Vp8 | Self::Opus | Self::Pcmu | Self::Pcma)
    }

    /// Whether timestamps follow the sending of packets, so that jitter can be told from them. Those of RFC 4733 §2.2.1 say when
    /// a key was pressed, in every packet that speaks of it.
    #[inline]
    pub fn is_clocked(self) -> bool {
        self != Self::TelephoneEvent
    }

    /// What a payload says of a key of a telephone, if it is of such an encoding.
    #[inline]
    pub fn telephone_event(self, payload: &[u8]) -> Option<TelephoneEvent> {
        (self == Self::TelephoneEvent)
            .then(|| TelephoneEvent::parse(payload).ok())
            .flatten()
    }

    /// Looks at one payload that is not empty; `marker` is the marker bit of its packet.
    ///
    /// # Errors
    /// If the payload cannot be of this encoding. Only one that has frames, or keys, is looked at so closely.
    #[inline]
    pub fn depacketize(self, payload: &[u8], marker: bool) -> Result<Piece, ParseError> {
        let key_frame = match self {
            Self::Vp8 => return vp8::depacketize(payload, marker),
            Self::Opus | Self::Pcmu | Self::Pcma => {
                return Ok(Piece {
                    start: true,
                    end: true,
                    key_frame: true,
                });
            }
            Self::Vp9 => vp9::starts_key_frame(payload),
            Self::H264 => h264::starts_key_frame(payload),
            Self::H265 => h265::starts_key_frame(payload),
            Self::Av1 => av1::starts_key_frame(payload),
            Self::TelephoneEvent => {
                TelephoneEvent::parse(payload)?;
                false
            }
            Self::Opaque => false,
        };
        Ok(Piece {
            start: key_frame,
            end: marker,
            key_frame,
        })
    }

    /// Which bytes of a payload that [`Self::depacketize`] has taken belong to the frame, and what stands before each slice of them.
    #[inline]
    pub fn layout(self, payload: &[u8]) -> Layout {
        match self {
            Self::Vp8 => vp8::layout(payload),
            _ => Layout::slice(0..payload.len()),
        }
    }
}
