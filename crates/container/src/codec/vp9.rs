//! VP9: the uncompressed header (VP9 bitstream specification §6.2) and its configuration (`vpcC`).

use super::inspected::Inspected;
use crate::bits::Bits;

/// `vpcC` of profile 0: level not told, 8 bits, 4:2:0, colours not told (VP Codec ISO Media File Format Binding).
pub(crate) const PLAIN: [u8; 8] = [0, 0, 8 << 4 | 1 << 1, 2, 2, 2, 0, 0];

/// The header up to the frame type: the profile, if this is a key frame.
fn key_profile(bits: &mut Bits<'_>) -> Option<u32> {
    if bits.bits(2)? != 2 {
        return None;
    }
    let profile = bits.bits(1)? | bits.bits(1)? << 1;
    if profile == 3 {
        bits.skip(1)?;
    }
    let shows_existing = bits.bit()?;
    let is_inter = bits.bit()?;
    (!shows_existing && !is_inter).then_some(profile)
}

pub(crate) fn is_key_frame(frame: &[u8]) -> bool {
    key_profile(&mut Bits::new(frame)).is_some()
}

/// Width, height and `vpcC`, if this is a key frame.
pub(crate) fn inspect(frame: &[u8]) -> Option<Inspected> {
    const SRGB: u32 = 7;
    let mut bits = Bits::new(frame);
    let profile = key_profile(&mut bits)?;
    bits.skip(2)?;
    if bits.bits(24)? != 0x49_8342 {
        return None;
    }
    let depth = match profile >= 2 {
        true => 10 + 2 * bits.bits(1)?,
        false => 8,
    };
    let odd = profile & 1 == 1;
    // Subsampling as `vpcC` counts it: 1 is 4:2:0, 2 is 4:2:2, 3 is 4:4:4.
    let (full_range, subsampling) = if bits.bits(3)? == SRGB {
        bits.skip(usize::from(odd))?;
        (1, 3)
    } else {
        let range = bits.bits(1)?;
        let (mut x, mut y) = (1, 1);
        if odd {
            (x, y) = (bits.bits(1)?, bits.bits(1)?);
            bits.skip(1)?;
        }
        (range, [[3, 3], [2, 1]][x as usize][y as usize])
    };
    let (width, height) = (bits.bits(16)? + 1, bits.bits(16)? + 1);
    let mut configuration = PLAIN.to_vec();
    configuration[0] = profile as u8;
    configuration[2] = (depth << 4 | subsampling << 1 | full_range) as u8;
    Some(Inspected {
        width,
        height,
        configuration,
    })
}
