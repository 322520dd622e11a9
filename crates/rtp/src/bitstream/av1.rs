//! OBUs of AV1 and their sequence header (AV1 bitstream §5.3, §5.5).

use std::ops::Range;

use super::bits::Bits;
use super::resolution::Resolution;

/// Most OBUs of a temporal unit that are looked at.
pub(crate) const MAX_OBUS: usize = 4096;

/// What an OBU is (AV1 bitstream §6.2.2, `obu_type`).
pub mod kind {
    /// The header of a sequence.
    pub const SEQUENCE_HEADER: u8 = 1;
    /// What stands before each temporal unit in the low-overhead format.
    pub const TEMPORAL_DELIMITER: u8 = 2;
    /// The header of a frame, whose tiles follow.
    pub const FRAME_HEADER: u8 = 3;
    /// Tiles of a frame.
    pub const TILE_GROUP: u8 = 4;
    /// A frame: header and tiles.
    pub const FRAME: u8 = 6;
    /// The header of a frame once more.
    pub const REDUNDANT_FRAME_HEADER: u8 = 7;
    /// Tiles of a picture that is made of parts of others.
    pub const TILE_LIST: u8 = 8;
}

/// Reads a LEB128 number of at most 32 bits (AV1 bitstream §4.10.5): its value, and what is behind it.
pub fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let mut value = 0_u64;
    for (index, byte) in bytes.iter().take(8).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            let value = u32::try_from(value).ok()?;
            return Some((value as usize, &bytes[index + 1..]));
        }
    }
    None
}

/// A LEB128 number in the fewest bytes, and how many these are.
pub fn write_leb128(mut value: u32) -> ([u8; 5], usize) {
    let mut bytes = [0; 5];
    let mut len = 0;
    loop {
        bytes[len] = value as u8 & 0x7f;
        value >>= 7;
        if value == 0 {
            return (bytes, len + 1);
        }
        bytes[len] |= 0x80;
        len += 1;
    }
}

/// The header of an OBU (AV1 bitstream §5.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ObuHeader {
    /// What it is: one of [`kind`], or another number below 16.
    pub kind: u8,
    /// The first byte without the flag of the size field, and the extension, 0 where there is none.
    pub bytes: [u8; 2],
    /// Bytes of the header: 1, or 2 with the extension.
    pub len: usize,
    /// Whether a size in LEB128 stands between it and the payload.
    pub has_size: bool,
}

impl ObuHeader {
    /// Reads the beginning of an OBU; `None` if it is none, or cut in its header.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let &first = bytes.first()?;
        let extended = first & 4 != 0;
        let extension = if extended { *bytes.get(1)? } else { 0 };
        // The forbidden bit.
        (first & 0x80 == 0).then_some(Self {
            kind: first >> 3 & 0xf,
            bytes: [first & !2, extension],
            len: 1 + usize::from(extended),
            has_size: first & 2 != 0,
        })
    }

    /// The temporal layer, 0 to 7.
    pub fn temporal(self) -> u8 {
        self.bytes[1] >> 5
    }

    /// The spatial layer, 0 to 3.
    pub fn spatial(self) -> u8 {
        self.bytes[1] >> 3 & 3
    }
}

/// The OBUs of a temporal unit: the header of each, and where its payload lies; `None` for one that is cut, which is the last then.
#[derive(Clone, Debug)]
pub struct Obus<'a> {
    unit: &'a [u8],
    at: usize,
}

impl Iterator for Obus<'_> {
    type Item = Option<(ObuHeader, Range<usize>)>;

    fn next(&mut self) -> Option<Self::Item> {
        let rest = self.unit.get(self.at..).filter(|rest| !rest.is_empty())?;
        let obu = || {
            let header = ObuHeader::parse(rest)?;
            let behind = rest.get(header.len..)?;
            // The last may do without a size.
            let (len, body) = if header.has_size {
                leb128(behind)?
            } else {
                (behind.len(), behind)
            };
            let start = self.unit.len() - body.len();
            (len <= body.len()).then_some((header, start..start + len))
        };
        let obu = obu();
        self.at = obu.as_ref().map_or(self.unit.len(), |(_, range)| range.end);
        Some(obu)
    }
}

/// Walks the OBUs of a temporal unit in the low-overhead format (AV1 bitstream §5.2).
pub fn obus(unit: &[u8]) -> Obus<'_> {
    Obus { unit, at: 0 }
}

/// What a sequence header says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SequenceHeader {
    /// The largest picture of the sequence.
    pub resolution: Resolution,
    /// `reduced_still_picture_header`: the sequence is one picture, whose header does not say what kind it is.
    pub reduced: bool,
    /// `seq_profile`, 0 to 7.
    pub profile: u8,
    /// `seq_level_idx` of the first operating point, 0 to 31.
    pub level: u8,
    /// `seq_tier` of the first operating point, 0 or 1.
    pub tier: u8,
    /// Depth, subsampling and place of the samples, in the bits that `av1C` has for them: from `high_bitdepth` (0x40) to
    /// `chroma_sample_position` (0x03).
    pub colours: u8,
}

impl SequenceHeader {
    /// Reads the payload of the OBU; `None` if it is cut.
    pub fn parse(payload: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(payload);
        let profile = bits.bits(3)?;
        bits.skip(1)?;
        let reduced = bits.flag()?;
        let (level, tier) = match reduced {
            true => (bits.bits(5)?, 0),
            false => operating_points(&mut bits)?,
        };
        let (width, height) = (bits.bits(4)? + 1, bits.bits(4)? + 1);
        let resolution = Resolution {
            width: bits.bits(width)? + 1,
            height: bits.bits(height)? + 1,
        };
        skip_tools(&mut bits, reduced)?;
        Some(Self {
            resolution,
            reduced,
            profile: profile as u8,
            level: level as u8,
            tier: tier as u8,
            colours: colours(&mut bits, profile)?,
        })
    }
}

/// Level and tier of the first operating point (AV1 bitstream §5.5.1, §5.5.3, §5.5.4).
fn operating_points(bits: &mut Bits<'_>) -> Option<(u32, u32)> {
    let (mut first, mut delay_len) = (None, None);
    if bits.flag()? {
        bits.skip(64)?;
        if bits.flag()? {
            // uvlc(): as ue(v), which it is up to 32 bits.
            bits.ue()?;
        }
        if bits.flag()? {
            delay_len = Some(bits.bits(5)? + 1);
            bits.skip(32 + 5 + 5)?;
        }
    }
    let display_delay = bits.flag()?;
    for _ in 0..=bits.bits(5)? {
        bits.skip(12)?;
        let level = bits.bits(5)?;
        let tier = if level > 7 { bits.bits(1)? } else { 0 };
        first = first.or(Some((level, tier)));
        if let Some(len) = delay_len
            && bits.flag()?
        {
            bits.skip(2 * len + 1)?;
        }
        if display_delay && bits.flag()? {
            bits.skip(4)?;
        }
    }
    first
}

/// What stands between the size and the colours.
fn skip_tools(bits: &mut Bits<'_>, reduced: bool) -> Option<()> {
    if !reduced && bits.flag()? {
        bits.skip(4 + 3)?;
    }
    bits.skip(3)?;
    if !reduced {
        bits.skip(4)?;
        let order_hint = bits.flag()?;
        if order_hint {
            bits.skip(2)?;
        }
        let forces = match bits.flag()? {
            true => true,
            false => bits.flag()?,
        };
        if forces && !bits.flag()? {
            bits.skip(1)?;
        }
        if order_hint {
            bits.skip(3)?;
        }
    }
    bits.skip(3)
}

/// AV1 bitstream §5.5.2.
fn colours(bits: &mut Bits<'_>, profile: u32) -> Option<u8> {
    const SRGB: [u32; 3] = [1, 13, 0];
    let high = bits.bits(1)?;
    let twelve = if profile == 2 && high == 1 { bits.bits(1)? } else { 0 };
    let monochrome = if profile == 1 { 0 } else { bits.bits(1)? };
    let description = match bits.flag()? {
        true => [bits.bits(8)?, bits.bits(8)?, bits.bits(8)?],
        false => [2, 2, 2],
    };
    let (x, y, position) = if monochrome == 1 {
        bits.skip(1)?;
        (1, 1, 0)
    } else if description == SRGB {
        (0, 0, 0)
    } else {
        bits.skip(1)?;
        let (x, y) = match (profile, twelve) {
            (0, _) => (1, 1),
            (1, _) => (0, 0),
            (_, 0) => (1, 0),
            _ => match bits.bits(1)? {
                0 => (0, 0),
                x => (x, bits.bits(1)?),
            },
        };
        (x, y, if x == 1 && y == 1 { bits.bits(2)? } else { 0 })
    };
    Some((high << 6 | twelve << 5 | monochrome << 4 | x << 3 | y << 2 | position) as u8)
}

/// The sequence header of a temporal unit, if there is one before its first frame: what it says, where its payload lies, its own header.
pub fn sequence_header(unit: &[u8]) -> Option<(SequenceHeader, ObuHeader, Range<usize>)> {
    for obu in obus(unit).take(MAX_OBUS) {
        let (header, range) = obu?;
        match header.kind {
            kind::SEQUENCE_HEADER => {
                let sequence = SequenceHeader::parse(unit.get(range.clone())?)?;
                return Some((sequence, header, range));
            }
            kind::FRAME | kind::FRAME_HEADER => return None,
            _ => {}
        }
    }
    None
}

/// Whether a temporal unit can be decoded alone: it has a sequence header, and its first picture is a key frame that is not merely shown
/// again (AV1 bitstream §5.9.2).
pub fn is_key_frame(unit: &[u8]) -> bool {
    let Some((sequence, ..)) = sequence_header(unit) else {
        return false;
    };
    for obu in obus(unit).take(MAX_OBUS) {
        let Some((header, range)) = obu else { return false };
        if matches!(header.kind, kind::FRAME | kind::FRAME_HEADER) {
            // show_existing_frame, frame_type: 0 is KEY_FRAME.
            let first = unit.get(range).and_then(<[u8]>::first);
            return sequence.reduced || first.is_some_and(|byte| byte & 0xe0 == 0);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The sequence header of Chromium's fake camera, 320x240.
    const SEQUENCE: [u8; 10] = [0x00, 0x00, 0x00, 0x04, 0x3c, 0xff, 0xbc, 0x01, 0xa0, 0x08];

    #[test]
    fn key_frames_tell_their_size() {
        let found = SequenceHeader::parse(&SEQUENCE).unwrap();
        let size = Resolution {
            width: 320,
            height: 240,
        };
        assert_eq!((found.resolution, found.reduced, found.profile), (size, false, 0));
        assert_eq!(found.colours & 0x0c, 0x0c, "4:2:0");
        let sequence = [&[0x0a, 10][..], &SEQUENCE].concat();
        let picture = |first: u8| [&[0x12, 0][..], &sequence, &[0x32, 2, first, 9]].concat();
        assert!(is_key_frame(&picture(0x10)) && !is_key_frame(&picture(0x30)) && !is_key_frame(&picture(0x80)));
        assert_eq!(sequence_header(&picture(0x10)).unwrap().0, found);
        assert!(!is_key_frame(&[0x32, 2, 0x10, 9]), "without a sequence header");
        assert!(!is_key_frame(&sequence), "without a frame");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in vec(any::<u8>(), 0..60)) {
            let _ = (is_key_frame(&bytes), sequence_header(&bytes), SequenceHeader::parse(&bytes));
        }

        #[test]
        fn numbers_are_read_as_written(value: u32) {
            let (bytes, len) = write_leb128(value);
            prop_assert_eq!(leb128(&bytes[..len]), Some((value as usize, &[][..])));
            prop_assert_eq!(leb128(&bytes[..len - 1]), None);
        }
    }
}
