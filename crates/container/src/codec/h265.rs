//! H.265: what units are, and the configuration that MP4 and Matroska keep (`hvcC`, ISO/IEC 14496-15 §8.3.3.1).

use antiphon_rtp::bitstream::h265::Sps;

use super::inspected::Inspected;
use super::{h264, nal};

const VPS: u8 = 32;
const SPS: u8 = 33;
const PPS: u8 = 34;
const DELIMITER: u8 = 35;

pub(crate) fn kind(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |byte| byte >> 1 & 0x3f)
}

/// A picture at which decoding can start (ITU-T H.265 §7.4.2.2).
pub(crate) fn is_irap(unit: &[u8]) -> bool {
    matches!(kind(unit), 16..=23) && !unit.is_empty()
}

pub(crate) fn is_parameter_set(unit: &[u8]) -> bool {
    kind(unit) == SPS
}

pub(crate) fn is_delimiter(unit: &[u8]) -> bool {
    kind(unit) == DELIMITER
}

/// Whether a new picture begins with this unit, if one with slices came before (ITU-T H.265 §7.4.2.4.4).
pub(crate) fn begins_picture(unit: &[u8]) -> bool {
    match kind(unit) {
        // `first_slice_segment_in_pic_flag`.
        0..=31 => unit.get(2).is_some_and(|byte| byte & 0x80 != 0),
        VPS..=DELIMITER | 39 | 41..=44 | 48..=55 => true,
        _ => false,
    }
}

/// Whether it has a part of the picture.
pub(crate) fn is_slice(unit: &[u8]) -> bool {
    kind(unit) < 32 && !unit.is_empty()
}

/// Size and `hvcC`, if this is a key frame with its parameter sets.
pub(crate) fn inspect(frame: &[u8]) -> Option<Inspected> {
    if !nal::units(frame).any(is_irap) {
        return None;
    }
    let of = |wanted: u8| -> Vec<&[u8]> { nal::units(frame).filter(|unit| kind(unit) == wanted).collect() };
    let sets = [VPS, SPS, PPS].map(|wanted| (wanted, of(wanted)));
    if sets.iter().any(|(_, sets)| sets.is_empty()) {
        return None;
    }
    let sps = Sps::parse(sets[1].1.first()?)?;
    let mut out = vec![1];
    out.extend_from_slice(&sps.profile);
    let [luma, chroma] = sps.bit_depths.map(|depth| 0xf8 | (depth - 8));
    out.extend_from_slice(&[0xf0, 0, 0xfc, 0xfc | sps.chroma_format, luma, chroma, 0, 0]);
    // Lengths of four bytes.
    out.push(sps.sub_layers << 3 | u8::from(sps.nested) << 2 | 3);
    out.push(sets.len() as u8);
    for (kind, sets) in sets {
        out.push(kind);
        out.extend_from_slice(&u16::try_from(sets.len()).ok()?.to_be_bytes());
        for set in sets {
            h264::put(set, &mut out)?;
        }
    }
    Some(Inspected {
        size: sps.resolution,
        configuration: out,
    })
}

/// From `hvcC`: how many bytes the lengths before units have, and its parameter sets behind start codes.
pub(crate) fn parse_configuration(hvcc: &[u8]) -> Option<(usize, Vec<u8>)> {
    let lengths = usize::from(hvcc.get(21)? & 3) + 1;
    let (arrays, mut rest) = hvcc.get(22..)?.split_first()?;
    let mut sets = Vec::new();
    for _ in 0..*arrays {
        let ([_, a, b], mut after) = rest.split_first_chunk::<3>()?;
        for _ in 0..u16::from_be_bytes([*a, *b]) {
            let (length, tail) = after.split_first_chunk::<2>()?;
            let (set, tail) = tail.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
            sets.push(set);
            after = tail;
        }
        rest = after;
    }
    Some((lengths, nal::to_annex_b(sets.into_iter())))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Main profile, 1280x720, as x265 writes it.
    const VPS_720: [u8; 24] = [
        0x40, 0x01, 0x0c, 0x01, 0xff, 0xff, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00,
        0x03, 0x00, 0x5d, 0x95, 0x98, 0x09,
    ];
    const SPS_720: [u8; 30] = [
        0x42, 0x01, 0x01, 0x01, 0x60, 0x00, 0x00, 0x03, 0x00, 0x90, 0x00, 0x00, 0x03, 0x00, 0x00, 0x03, 0x00, 0x5d,
        0xa0, 0x02, 0x80, 0x80, 0x2d, 0x16, 0x59, 0x59, 0xa4, 0x93, 0x2b, 0xc0,
    ];

    #[test]
    fn a_key_frame_tells_size_and_configuration() {
        let units = [&VPS_720[..], &SPS_720, &[0x44, 0x01, 0xc1, 0x72], &[0x26, 0x01, 0xaf]];
        let frame = nal::to_annex_b(units.into_iter());
        let found = inspect(&frame).unwrap();
        assert_eq!((found.size.width, found.size.height), (1280, 720));
        assert_eq!(found.configuration[1..5], [0x01, 0x60, 0, 0]);
        let (size, sets) = parse_configuration(&found.configuration).unwrap();
        assert_eq!(size, 4);
        assert_eq!(nal::units(&sets).map(kind).collect::<Vec<_>>(), [VPS, SPS, PPS]);
        assert_eq!(inspect(&nal::to_annex_b([&[0x02u8, 0x01, 0xd0][..]].into_iter())), None);
    }
}
