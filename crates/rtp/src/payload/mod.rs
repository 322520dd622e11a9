//! Payload formats: how a frame becomes packets, and packets a frame.
//!
//! Packetising works on lengths and never copies: [`slices`] cuts a frame into nearly equal pieces (batched sending wants
//! packets of one size), and the format says which few bytes stand before each piece. Depacketising looks at one payload
//! ([`Format::inspect`]) and says which of its bytes belong to the frame; the caller joins the pieces of packets in
//! sequence from a start to a marker.

pub mod g711;
pub mod keyframe;
pub mod opus;
pub mod red;
pub mod vp8;

use std::ops::Range;

use crate::ParseError;

/// A payload format, as far as it is understood here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
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
    /// RFC 4733: keys pressed, beside the sound. Its timestamps say when an event began, not when a packet left.
    TelephoneEvent,
    /// Anything else: the payload is opaque.
    Raw,
}

impl Format {
    /// The format of an encoding name in `a=rtpmap`, compared without case.
    pub fn from_name(name: &str) -> Self {
        const NAMES: [(&str, Format); 9] = [
            ("VP8", Format::Vp8),
            ("opus", Format::Opus),
            ("PCMU", Format::Pcmu),
            ("PCMA", Format::Pcma),
            ("VP9", Format::Vp9),
            ("H264", Format::H264),
            ("H265", Format::H265),
            ("AV1", Format::Av1),
            ("telephone-event", Format::TelephoneEvent),
        ];
        let known = NAMES.into_iter().find(|(known, _)| known.eq_ignore_ascii_case(name));
        known.map_or(Self::Raw, |(_, format)| format)
    }

    /// Whether whole frames can be packetised and assembled here.
    pub fn has_frames(self) -> bool {
        matches!(self, Self::Vp8 | Self::Opus | Self::Pcmu | Self::Pcma)
    }

    /// Looks at one payload. Only a format that has frames can fail.
    #[inline]
    pub fn inspect(self, payload: &[u8]) -> Result<Piece, ParseError> {
        match self {
            Self::Vp8 => {
                let (descriptor, len) = vp8::Descriptor::parse(payload)?;
                let start = descriptor.starts_frame();
                Ok(Piece {
                    prefix: len,
                    start,
                    key_frame: start && payload.get(len).is_some_and(|byte| vp8::is_key_frame(*byte)),
                })
            }
            Self::Opus | Self::Pcmu | Self::Pcma => Ok(Piece {
                prefix: 0,
                start: true,
                key_frame: true,
            }),
            Self::Vp9 => Ok(Piece::opaque(keyframe::vp9(payload))),
            Self::H264 => Ok(Piece::opaque(keyframe::h264(payload))),
            Self::H265 => Ok(Piece::opaque(keyframe::h265(payload))),
            Self::Av1 => Ok(Piece::opaque(keyframe::av1(payload))),
            Self::TelephoneEvent | Self::Raw => Ok(Piece::opaque(false)),
        }
    }
}

/// What one payload is to its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Bytes before the frame's own.
    pub prefix: usize,
    /// Whether the frame starts here.
    pub start: bool,
    /// Whether a frame that can be decoded alone starts here.
    pub key_frame: bool,
}

impl Piece {
    fn opaque(key_frame: bool) -> Self {
        Self {
            prefix: 0,
            start: key_frame,
            key_frame,
        }
    }
}

/// Cuts `len` bytes into the fewest pieces of at most `max` bytes, whose sizes differ by at most one.
///
/// ```
/// let pieces: Vec<_> = antiphon_rtp::payload::slices(10, 4).collect();
/// assert_eq!(pieces, [0..4, 4..7, 7..10]);
/// ```
pub fn slices(len: usize, max: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    let count = len.div_ceil(max.max(1));
    let (size, larger) = (len.checked_div(count).unwrap_or(0), len.checked_rem(count).unwrap_or(0));
    (0..count).map(move |index| {
        let start = index * size + index.min(larger);
        start..start + size + usize::from(index < larger)
    })
}
