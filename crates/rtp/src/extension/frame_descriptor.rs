//! The generic frame descriptor, versions 00 and 01 ("generic-frame-descriptor" of libwebrtc's experiments): what a frame
//! depends on, as it was said before the dependency descriptor.

use antiphon_sansio::{Full, Reader, Writer};

use super::{Extension, Kind};

const BEGIN: u8 = 0x80;
const END: u8 = 0x40;
const DEPENDENCIES: u8 = 0x08;
const MORE: u8 = 1;
const EXTENDED: u8 = 2;

/// The descriptor of one packet.
///
/// ```text
/// |B|E|F|L|D|  T  |     version 00; in 01 F is "discardable" and L is not used
/// B:       |       S       |     spatial layers, one bit each
/// B:       |  FID, low byte first, 2 bytes |
/// B, no D: |    width      |    height     |     2 bytes each, may be absent
/// D:       |    FDIFF  |X|M|  ...          |     one byte, or two if X; more if M
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GenericFrameDescriptor {
    /// E: the last packet of a frame.
    pub end: bool,
    /// The two bits whose meaning depends on the version.
    pub flags: SubframeFlags,
    /// B: the first packet of a frame, which describes it.
    pub frame: Option<FrameDescription>,
}

/// The two bits that the versions differ in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubframeFlags {
    /// Version 00.
    Parts {
        /// F: the first part of a frame; always set in practice.
        first: bool,
        /// L: the last part of a frame; always set in practice.
        last: bool,
    },
    /// Version 01: whether no other frame needs this one.
    Discardable(bool),
}

/// What the first packet of a frame says of it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameDescription {
    /// The temporal layer, 0 to 7.
    pub temporal_layer: u8,
    /// One bit for each spatial layer that the frame is for.
    pub spatial_layers: u8,
    /// The number of the frame.
    pub frame_id: u16,
    /// Width and height in pixels, of a frame that depends on none.
    pub resolution: Option<(u16, u16)>,
    count: u8,
    differences: [u16; FrameDescription::MAX_DIFFERENCES],
}

impl FrameDescription {
    /// Most frames that one may depend on.
    pub const MAX_DIFFERENCES: usize = 8;

    /// How many frames before this one those are that it depends on, each 0 to 16383.
    pub fn differences(&self) -> &[u16] {
        self.differences.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// Adds a frame that this one depends on; `false` if there are [`Self::MAX_DIFFERENCES`], or it is too far away.
    pub fn add_difference(&mut self, difference: u16) -> bool {
        let place = self.differences.get_mut(usize::from(self.count));
        match place {
            Some(place) if difference < 1 << 14 => {
                *place = difference;
                self.count += 1;
                true
            }
            _ => false,
        }
    }

    fn parse(flags: u8, reader: &mut Reader<'_>) -> Option<Self> {
        let mut frame = Self {
            temporal_layer: flags & 7,
            spatial_layers: reader.u8().ok()?,
            frame_id: reader.u16().ok()?.swap_bytes(),
            ..Self::default()
        };
        let mut more = flags & DEPENDENCIES != 0;
        if !more && !reader.is_empty() {
            frame.resolution = Some((reader.u16().ok()?, reader.u16().ok()?));
        }
        while more {
            let bits = reader.u8().ok()?;
            let high = if bits & EXTENDED != 0 { reader.u8().ok()? } else { 0 };
            more = bits & MORE != 0;
            if !frame.add_difference(u16::from(high) << 6 | u16::from(bits >> 2)) {
                return None;
            }
        }
        Some(frame)
    }

    fn written_len(&self) -> usize {
        let long = |difference: &&u16| **difference >= 1 << 6;
        let differences = self.differences();
        let resolution = if self.writes_resolution().is_some() { 4 } else { 0 };
        3 + resolution + differences.len() + differences.iter().filter(long).count()
    }

    /// A frame that depends on others has no room for its size.
    fn writes_resolution(&self) -> Option<(u16, u16)> {
        self.resolution.filter(|_| self.count == 0)
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        out.put_u8(self.spatial_layers)?;
        out.put_u16(self.frame_id.swap_bytes())?;
        if let Some((width, height)) = self.writes_resolution() {
            out.put_u16(width)?;
            out.put_u16(height)?;
        }
        let mut rest = self.differences();
        while let Some((difference, behind)) = rest.split_first() {
            let extended = *difference >= 1 << 6;
            let more = if behind.is_empty() { 0 } else { MORE };
            let low = (difference & 0x3f) as u8;
            out.put_u8(low << 2 | if extended { EXTENDED } else { 0 } | more)?;
            if extended {
                out.put_u8((difference >> 6) as u8)?;
            }
            rest = behind;
        }
        Ok(())
    }
}

impl Extension for GenericFrameDescriptor {
    const KINDS: &'static [Kind] = &[Kind::GenericFrameDescriptor, Kind::GenericFrameDescriptor01];

    fn kind(&self) -> Kind {
        match self.flags {
            SubframeFlags::Parts { .. } => Kind::GenericFrameDescriptor,
            SubframeFlags::Discardable(_) => Kind::GenericFrameDescriptor01,
        }
    }

    fn parse(kind: Kind, data: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(data);
        let bits = reader.u8().ok()?;
        let frame = if bits & BEGIN != 0 {
            Some(FrameDescription::parse(bits, &mut reader)?)
        } else {
            None
        };
        reader.is_empty().then_some(Self {
            end: bits & END != 0,
            flags: match kind {
                Kind::GenericFrameDescriptor01 => SubframeFlags::Discardable(bits & 0x20 != 0),
                _ => SubframeFlags::Parts {
                    first: bits & 0x20 != 0,
                    last: bits & 0x10 != 0,
                },
            },
            frame,
        })
    }

    fn written_len(&self) -> usize {
        1 + self.frame.as_ref().map_or(0, FrameDescription::written_len)
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        let flags = match self.flags {
            SubframeFlags::Parts { first, last } => u8::from(first) << 5 | u8::from(last) << 4,
            SubframeFlags::Discardable(discardable) => u8::from(discardable) << 5,
        };
        let end = if self.end { END } else { 0 };
        let Some(frame) = &self.frame else {
            return out.put_u8(flags | end);
        };
        let depends = if frame.count > 0 { DEPENDENCIES } else { 0 };
        out.put_u8(BEGIN | flags | end | depends | frame.temporal_layer & 7)?;
        frame.write(out)
    }
}
