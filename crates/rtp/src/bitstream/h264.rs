//! The sequence parameter set of H.264 (ITU-T H.264 §7.3.2.1).

use super::bits::Bits;
use super::resolution::{Resolution, cropped};

/// Profiles whose parameter sets tell of colours (ITU-T H.264 §7.3.2.1.1), and whose `avcC` does.
const HIGH: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

/// What a sequence parameter set says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// `profile_idc`, the constraint flags, and `level_idc`, as they stand in the set, in `profile-level-id` and in `avcC`.
    pub profile_level: [u8; 3],
    /// The size of a picture.
    pub resolution: Resolution,
    /// `chroma_format_idc`: 0 without colours, 1 is 4:2:0, 2 is 4:2:2, 3 is 4:4:4.
    pub chroma_format: u8,
    /// Bits of a sample of brightness and of one of colour, 8 to 14.
    pub bit_depths: [u8; 2],
    /// Pictures a second, as a fraction, if it says; at most 1000.
    pub rate: Option<(u32, u32)>,
}

impl Sps {
    /// Reads the unit of a set, its header first. `None` if it is none, or is cut.
    pub fn parse(unit: &[u8]) -> Option<Self> {
        let mut bits = Bits::escaped(unit.get(1..)?);
        let mut byte = || bits.bits(8).map(|byte| byte as u8);
        let profile_level = [byte()?, byte()?, byte()?];
        bits.ue()?;
        let (mut chroma_format, mut bit_depths) = (1, [8; 2]);
        if has_colours(profile_level[0]) {
            chroma_format = bits.ue().filter(|format| *format <= 3)?;
            if chroma_format == 3 {
                bits.skip(1)?;
            }
            for depth in &mut bit_depths {
                *depth += bits.ue().filter(|more| *more <= 6)? as u8;
            }
            bits.skip(1)?;
            if bits.flag()? {
                scaling_lists(&mut bits, chroma_format)?;
            }
        }
        bits.ue()?;
        order_count(&mut bits)?;
        bits.ue()?;
        bits.skip(1)?;
        let (columns, rows) = (bits.ue()?.checked_add(1)?, bits.ue()?.checked_add(1)?);
        let frames_only = bits.flag()?;
        if !frames_only {
            bits.skip(1)?;
        }
        bits.skip(1)?;
        let fields = if frames_only { 1 } else { 2 };
        let size = [columns.checked_mul(16)?, rows.checked_mul(16)?.checked_mul(fields)?];
        Some(Self {
            profile_level,
            resolution: cropped(&mut bits, size, chroma_format, fields)?,
            chroma_format: chroma_format as u8,
            bit_depths,
            rate: rate(&mut bits),
        })
    }
}

/// Whether the sets of a profile tell of colours and depths, and its `avcC` too (ITU-T H.264 §7.3.2.1.1, ISO/IEC 14496-15 §5.3.3.1).
pub fn has_colours(profile: u8) -> bool {
    HIGH.contains(&profile)
}

/// Leaves the scaling lists out (ITU-T H.264 §7.3.2.1.1.1).
fn scaling_lists(bits: &mut Bits<'_>, chroma_format: u32) -> Option<()> {
    for list in 0..if chroma_format == 3 { 12 } else { 8 } {
        if !bits.flag()? {
            continue;
        }
        let (mut last, mut next) = (8_i32, 8_i32);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = last.wrapping_add(bits.se()?) & 0xff;
            }
            last = if next == 0 { last } else { next };
        }
    }
    Some(())
}

/// Leaves out how the order of pictures is counted.
fn order_count(bits: &mut Bits<'_>) -> Option<()> {
    match bits.ue()? {
        0 => drop(bits.ue()?),
        1 => {
            bits.skip(1)?;
            bits.se()?;
            bits.se()?;
            for _ in 0..bits.ue().filter(|count| *count <= 255)? {
                bits.se()?;
            }
        }
        _ => {}
    }
    Some(())
}

/// Pictures a second, from what follows the picture's size (ITU-T H.264 §E.1.1).
fn rate(bits: &mut Bits<'_>) -> Option<(u32, u32)> {
    const EXTENDED_SAR: u32 = 255;
    if !bits.flag()? {
        return None;
    }
    if bits.flag()? && bits.bits(8)? == EXTENDED_SAR {
        bits.skip(32)?;
    }
    if bits.flag()? {
        bits.skip(1)?;
    }
    if bits.flag()? {
        bits.skip(4)?;
        if bits.flag()? {
            bits.skip(24)?;
        }
    }
    if bits.flag()? {
        bits.ue()?;
        bits.ue()?;
    }
    if !bits.flag()? {
        return None;
    }
    let (units, scale) = (bits.bits(32)?, bits.bits(32)?);
    // A tick is a field's.
    let fields = units.checked_mul(2)?;
    (units > 0 && scale > 0 && scale / fields <= 1_000).then_some((scale, fields))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_encoders_are_read() {
        // 640x360 of x264, High profile, with cropping (360 is no multiple of 16) and 30 pictures a second.
        let high = [
            0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00,
            0x00, 0x03, 0x00, 0x3c, 0x0f, 0x16, 0x2d,
        ];
        let size = |width, height| Resolution { width, height };
        let sps = Sps::parse(&high).unwrap();
        assert_eq!((sps.resolution, sps.profile_level), (size(640, 360), [0x64, 0, 0x1e]));
        assert_eq!(
            (sps.chroma_format, sps.bit_depths, sps.rate),
            (1, [8, 8], Some((60, 2)))
        );
        // Baseline 3.1, 1280x720, of a browser.
        let baseline = [0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40, 0x28, 0x02, 0xdd, 0x08];
        let sps = Sps::parse(&baseline).unwrap();
        assert_eq!((sps.resolution, sps.rate), (size(1280, 720), None));
        for len in 0..high.len() {
            let _ = Sps::parse(&high[..len]);
        }
    }
}
