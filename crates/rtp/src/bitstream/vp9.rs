//! The uncompressed header of a VP9 frame (VP9 bitstream §6.2).

use super::bits::Bits;
use super::resolution::Resolution;

/// What the uncompressed header of a frame tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// The profile, 0 to 3: whether there are more than 8 bits a sample, and other colours than 4:2:0.
    pub profile: u8,
    /// Whether it needs no other frame. One that is shown once more (`show_existing_frame`) does.
    pub key_frame: bool,
    /// Whether it is to be shown.
    pub shown: bool,
    /// What a key frame tells beside that; `None` of all others, and of one that is cut.
    pub key: Option<KeyHeader>,
}

/// What only the header of a key frame tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeyHeader {
    /// The size of the picture.
    pub resolution: Resolution,
    /// Bits of a sample: 8, 10 or 12.
    pub bit_depth: u8,
    /// Whether samples use the full range of their numbers.
    pub full_range: bool,
    /// Whether there is one sample of colour for two columns, and for two rows: both in 4:2:0.
    pub subsampling: [bool; 2],
}

impl FrameHeader {
    /// Reads the beginning of a frame; `None` if it is none.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let mut bits = Bits::new(frame);
        if bits.bits(2)? != 2 {
            return None;
        }
        let profile = u8::from(bits.flag()?) | u8::from(bits.flag()?) << 1;
        if profile == 3 {
            bits.skip(1)?;
        }
        if bits.flag()? {
            return Some(Self {
                profile,
                key_frame: false,
                shown: true,
                key: None,
            });
        }
        let key_frame = !bits.flag()?;
        let shown = bits.flag()?;
        bits.skip(1)?;
        Some(Self {
            profile,
            key_frame,
            shown,
            key: key_frame.then(|| KeyHeader::parse(&mut bits, profile)).flatten(),
        })
    }
}

impl KeyHeader {
    /// Colours and size (VP9 bitstream §6.2.2, §6.2.3).
    fn parse(bits: &mut Bits<'_>, profile: u8) -> Option<Self> {
        const SYNC_CODE: u32 = 0x0049_8342;
        const RGB: u32 = 7;
        if bits.bits(24)? != SYNC_CODE {
            return None;
        }
        let bit_depth = match profile >= 2 {
            true => 10 + 2 * u8::from(bits.flag()?),
            false => 8,
        };
        let odd = profile & 1 != 0;
        let (full_range, subsampling) = if bits.bits(3)? == RGB {
            bits.skip(u32::from(odd))?;
            (true, [false; 2])
        } else {
            let full_range = bits.flag()?;
            let mut subsampling = [true; 2];
            if odd {
                subsampling = [bits.flag()?, bits.flag()?];
                bits.skip(1)?;
            }
            (full_range, subsampling)
        };
        Some(Self {
            resolution: Resolution {
                width: bits.bits(16)? + 1,
                height: bits.bits(16)? + 1,
            },
            bit_depth,
            full_range,
            subsampling,
        })
    }
}

/// Whether a frame, or the first layer of one, can be decoded alone.
pub fn is_key_frame(frame: &[u8]) -> bool {
    FrameHeader::parse(frame).is_some_and(|header| header.key_frame)
}

/// The size of a key frame, or of its first layer; `None` if it is none.
pub fn resolution(frame: &[u8]) -> Option<Resolution> {
    Some(FrameHeader::parse(frame)?.key?.resolution)
}
