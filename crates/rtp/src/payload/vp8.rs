//! VP8 (RFC 7741): a descriptor, and a part of the frame.
//!
//! ```text
//!      0 1 2 3 4 5 6 7
//!     |X|R|N|S|R| PID |  §4.2: required; S and PID 0: the frame begins
//! X:  |I|L|T|K| RSV   |
//! I:  |M| PictureID   |  7 or 15 bits
//! L:  |   TL0PICIDX   |
//! T/K:|TID|Y| KEYIDX  |
//!     | payload header, first partition ...  §4.3: its first bit is 0 in a key frame
//! ```
//!
//! The marker stands at the end of a frame (§4.1).

use antiphon_sansio::Reader;

use super::facts::FrameFacts;
use super::layout::{Cut, Layout, Piece, Slices, Start};
use super::{FrameError, Joined, MAX_FRAME};
use crate::ParseError;
use crate::bitstream::vp8::{is_key_frame, resolution};

/// Longest descriptor: required byte, extension byte, two of picture id, TL0PICIDX, TID/KEYIDX.
pub const MAX_DESCRIPTOR: usize = 6;

/// The payload descriptor (RFC 7741 §4.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Descriptor {
    /// N: the frame can be dropped without harm to others.
    pub non_reference: bool,
    /// S: a partition starts here.
    pub partition_start: bool,
    /// The partition's index, 0 to 7.
    pub partition: u8,
    /// The picture id and its form.
    pub picture_id: Option<PictureId>,
    /// Running index of base layer frames.
    pub tl0_picture_index: Option<u8>,
    /// Temporal layer (0 to 3), and Y: depends on the base layer only.
    pub temporal_layer: Option<(u8, bool)>,
    /// Running index of key frames, 0 to 31.
    pub key_index: Option<u8>,
}

/// A picture id in one of its two forms (RFC 7741 §4.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PictureId {
    /// M = 0: 7 bits.
    Short(u8),
    /// M = 1: 15 bits.
    Long(u16),
}

impl Descriptor {
    /// Whether this payload begins a frame (RFC 7741 §4.2: S set and PID 0).
    #[inline]
    pub fn starts_frame(&self) -> bool {
        self.partition_start && self.partition == 0
    }

    /// Parses the descriptor at the front of `payload`; returns it and its length. A payload that ends with its descriptor
    /// is refused: it carries nothing.
    ///
    /// # Errors
    /// If it is cut off, or nothing follows it.
    #[inline]
    pub fn parse(payload: &[u8]) -> Result<(Self, usize), ParseError> {
        let mut reader = Reader::new(payload);
        let required = reader.u8()?;
        let mut descriptor = Self {
            non_reference: required & 0x20 != 0,
            partition_start: required & 0x10 != 0,
            partition: required & 0x07,
            ..Self::default()
        };
        if required & 0x80 != 0 {
            let present = reader.u8()?;
            if present & 0x80 != 0 {
                let first = reader.u8()?;
                descriptor.picture_id = Some(if first & 0x80 != 0 {
                    PictureId::Long(u16::from(first & 0x7f) << 8 | u16::from(reader.u8()?))
                } else {
                    PictureId::Short(first)
                });
            }
            if present & 0x40 != 0 {
                descriptor.tl0_picture_index = Some(reader.u8()?);
            }
            if present & 0x30 != 0 {
                let byte = reader.u8()?;
                descriptor.temporal_layer = (present & 0x20 != 0).then_some((byte >> 6, byte & 0x20 != 0));
                descriptor.key_index = (present & 0x10 != 0).then_some(byte & 0x1f);
            }
        }
        if reader.is_empty() {
            return Err(ParseError::Short);
        }
        Ok((descriptor, payload.len() - reader.remaining()))
    }

    /// Writes the descriptor into `out` and returns its length.
    #[inline]
    pub fn write(&self, out: &mut [u8; MAX_DESCRIPTOR]) -> usize {
        let required = u8::from(self.non_reference) << 5 | u8::from(self.partition_start) << 4 | self.partition & 7;
        let third = self.temporal_layer.is_some() || self.key_index.is_some();
        out[0] = required;
        if self.picture_id.is_none() && self.tl0_picture_index.is_none() && !third {
            return 1;
        }
        out[0] |= 0x80;
        out[1] = 0;
        let mut len = 2;
        let mut put = |out: &mut [u8; MAX_DESCRIPTOR], byte| {
            out[len] = byte;
            len += 1;
        };
        match self.picture_id {
            None => {}
            Some(PictureId::Short(id)) => {
                out[1] |= 0x80;
                put(out, id & 0x7f);
            }
            Some(PictureId::Long(id)) => {
                out[1] |= 0x80;
                put(out, 0x80 | (id >> 8) as u8);
                put(out, id as u8);
            }
        }
        if let Some(index) = self.tl0_picture_index {
            out[1] |= 0x40;
            put(out, index);
        }
        if third {
            let (layer, sync) = self.temporal_layer.unwrap_or_default();
            out[1] |= u8::from(self.temporal_layer.is_some()) << 5 | u8::from(self.key_index.is_some()) << 4;
            put(
                out,
                layer << 6 | u8::from(sync) << 5 | self.key_index.unwrap_or_default() & 0x1f,
            );
        }
        len
    }
}

/// Cuts frames: a descriptor with a picture id of 15 bits, and a slice of the frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packetizer {
    picture_id: u16,
}

impl Packetizer {
    /// Picture ids begin with the low 15 bits of `start`.
    pub fn new(start: u16) -> Self {
        Self {
            picture_id: start & 0x7fff,
        }
    }

    /// Appends the packets of `frame` to `cuts`.
    ///
    /// # Errors
    /// [`FrameError::Size`] if `max` leaves no room beside the descriptor.
    #[inline]
    pub fn packetize(&self, frame: &[u8], max: usize, cuts: &mut Vec<Cut>) -> Result<(), FrameError> {
        let room = max.checked_sub(MAX_DESCRIPTOR).filter(|room| *room > 0);
        let slices = Slices::new(frame.len(), room.ok_or(FrameError::Size)?);
        let count = slices.len();
        let mut descriptor = Descriptor {
            partition_start: true,
            picture_id: Some(PictureId::Long(self.picture_id)),
            ..Descriptor::default()
        };
        for (index, slice) in slices.enumerate() {
            let mut own = [0; MAX_DESCRIPTOR];
            let len = descriptor.write(&mut own);
            let mut layout = Layout::default();
            layout.push(&own[..len], slice);
            let marker = index + 1 == count;
            cuts.push(Cut { layout, marker });
            descriptor.partition_start = false;
        }
        Ok(())
    }

    /// The next frame has the next picture id.
    pub fn advance(&mut self) {
        self.picture_id = self.picture_id.wrapping_add(1) & 0x7fff;
    }
}

/// What a payload is to its frame.
///
/// # Errors
/// If the descriptor is cut off, or nothing follows it.
#[inline]
pub fn depacketize(payload: &[u8], marker: bool) -> Result<Piece, ParseError> {
    let (descriptor, len) = Descriptor::parse(payload)?;
    let start = descriptor.starts_frame();
    Ok(Piece {
        start: if start { Start::Yes } else { Start::No },
        end: marker,
        key_frame: start && payload.get(len).is_some_and(|byte| is_key_frame(*byte)),
    })
}

pub(super) fn join<'a>(
    mut payloads: impl Iterator<Item = &'a [u8]> + Clone,
    out: &mut Vec<u8>,
) -> Result<Joined, ParseError> {
    let first = payloads.next().ok_or(ParseError::Short)?;
    let (descriptor, len) = Descriptor::parse(first)?;
    if !descriptor.starts_frame() {
        return Err(ParseError::Value);
    }
    let (temporal, switching_point) = descriptor.temporal_layer.unwrap_or_default();
    let facts = FrameFacts {
        temporal,
        switching_point,
        discardable: descriptor.non_reference,
        picture_id: descriptor.picture_id.map(|id| match id {
            PictureId::Short(id) => id.into(),
            PictureId::Long(id) => id,
        }),
        base_picture_index: descriptor.tl0_picture_index,
        resolution: first.get(len..).and_then(resolution),
        ..FrameFacts::default()
    };
    if payloads.clone().next().is_none() {
        return Ok(Joined::part(len..first.len(), facts));
    }
    out.reserve(first.len() + payloads.clone().map(<[u8]>::len).sum::<usize>());
    out.extend_from_slice(first.get(len..).unwrap_or_default());
    for payload in payloads {
        let (descriptor, len) = Descriptor::parse(payload)?;
        // Two frames of one timestamp, or more than a frame is large: nothing that a decoder would take.
        if descriptor.starts_frame() || out.len() + payload.len() > MAX_FRAME {
            return Err(ParseError::Value);
        }
        out.extend_from_slice(payload.get(len..).unwrap_or_default());
    }
    Ok(Joined::appended(facts))
}
