//! The sequence parameter set of H.265 (ITU-T H.265 §7.3.2.2).

use super::bits::Bits;
use super::resolution::{Resolution, cropped};

/// What a sequence parameter set says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sps {
    /// The identifier of the set, 0 to 15.
    pub id: u32,
    /// Profile, tier, compatibility, constraints and level, as they stand in the set and in `hvcC`.
    pub profile: [u8; 12],
    /// Temporal sub-layers, 1 to 8.
    pub sub_layers: u8,
    /// `sps_temporal_id_nesting_flag`: whether a receiver may go up to a higher sub-layer at any picture of it.
    pub nested: bool,
    /// The size of a picture.
    pub resolution: Resolution,
    /// `chroma_format_idc`: 0 without colours, 1 is 4:2:0, 2 is 4:2:2, 3 is 4:4:4.
    pub chroma_format: u8,
    /// Bits of a sample of brightness and of one of colour, 8 to 16.
    pub bit_depths: [u8; 2],
}

impl Sps {
    /// Reads the unit of a set, its header first. `None` if it is none, or is cut.
    pub fn parse(unit: &[u8]) -> Option<Self> {
        let mut bits = Bits::escaped(unit.get(2..)?);
        bits.skip(4)?;
        let higher = bits.bits(3)?;
        let nested = bits.flag()?;
        let mut profile = [0; 12];
        for byte in &mut profile {
            *byte = bits.bits(8)? as u8;
        }
        sub_layers(&mut bits, higher)?;
        let id = bits.ue().filter(|id| *id <= 15)?;
        let chroma_format = bits.ue().filter(|format| *format <= 3)?;
        if chroma_format == 3 {
            bits.skip(1)?;
        }
        let size = [bits.ue()?, bits.ue()?];
        let resolution = cropped(&mut bits, size, chroma_format, 1)?;
        let mut depth = || bits.ue().filter(|more| *more <= 8).map(|more| more as u8 + 8);
        Some(Self {
            id,
            profile,
            sub_layers: higher as u8 + 1,
            nested,
            resolution,
            chroma_format: chroma_format as u8,
            bit_depths: [depth()?, depth()?],
        })
    }
}

/// Leaves out what is said of the sub-layers below the highest (ITU-T H.265 §7.3.3).
fn sub_layers(bits: &mut Bits<'_>, count: u32) -> Option<()> {
    let mut present = [(false, false); 7];
    for place in present.iter_mut().take(count as usize) {
        *place = (bits.flag()?, bits.flag()?);
    }
    if count > 0 {
        bits.skip(2 * (8 - count))?;
    }
    for (profile, level) in present {
        bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 })?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sets_of_encoders_are_read() {
        // x265, Main, 640x360: without sub-layers.
        let unit = [
            0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x3f,
            0xa0, 0x05, 0x02, 0x01, 0x69, 0x65,
        ];
        let sps = Sps::parse(&unit).unwrap();
        assert_eq!((sps.resolution.width, sps.resolution.height), (640, 360));
        assert_eq!(
            (sps.id, sps.sub_layers, sps.profile[..2].to_vec()),
            (0, 1, vec![0x01, 0x60])
        );
        assert_eq!((sps.chroma_format, sps.bit_depths), (1, [8, 8]));
        for len in 0..unit.len() {
            let _ = Sps::parse(&unit[..len]);
        }
    }
}
