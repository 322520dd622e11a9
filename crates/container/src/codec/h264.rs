//! H.264: what units are, and the configuration that MP4 and Matroska keep (`avcC`, ISO/IEC 14496-15 §5.3.3.1).

use antiphon_rtp::bitstream::h264::{Sps, has_colours};

use super::inspected::Inspected;
use super::nal;

const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;

pub(crate) fn kind(unit: &[u8]) -> u8 {
    unit.first().map_or(0, |byte| byte & 0x1f)
}

pub(crate) fn is_idr(unit: &[u8]) -> bool {
    kind(unit) == IDR
}

pub(crate) fn is_parameter_set(unit: &[u8]) -> bool {
    kind(unit) == SPS
}

pub(crate) fn is_delimiter(unit: &[u8]) -> bool {
    kind(unit) == DELIMITER
}

/// Whether a new picture begins with this unit, if one with slices came before (ITU-T H.264 §7.4.1.2.3).
pub(crate) fn begins_picture(unit: &[u8]) -> bool {
    match kind(unit) {
        // `first_mb_in_slice` is zero.
        1 | 2 | IDR => unit.get(1).is_some_and(|byte| byte & 0x80 != 0),
        6..=9 | 14..=18 => true,
        _ => false,
    }
}

/// Whether it has a part of the picture.
pub(crate) fn is_slice(unit: &[u8]) -> bool {
    matches!(kind(unit), 1..=5)
}

/// `avcC` from the parameter sets of an access unit.
fn configuration(sps: &[&[u8]], pps: &[&[u8]], parsed: &Sps) -> Option<Vec<u8>> {
    let [profile, constraints, level] = parsed.profile_level;
    let mut out = vec![1, profile, constraints, level, 0xfc | 3];
    out.push(0xe0 | u8::try_from(sps.len()).ok().filter(|count| *count < 32)?);
    for set in sps {
        put(set, &mut out)?;
    }
    out.push(u8::try_from(pps.len()).ok()?);
    for set in pps {
        put(set, &mut out)?;
    }
    if has_colours(profile) {
        let [luma, chroma] = parsed.bit_depths.map(|depth| 0xf8 | (depth - 8));
        out.extend_from_slice(&[0xfc | parsed.chroma_format, luma, chroma, 0]);
    }
    Some(out)
}

/// A parameter set behind its length of two bytes.
pub(super) fn put(set: &[u8], out: &mut Vec<u8>) -> Option<()> {
    out.extend_from_slice(&u16::try_from(set.len()).ok()?.to_be_bytes());
    out.extend_from_slice(set);
    Some(())
}

/// Size and `avcC`, if this is a key frame with its parameter sets.
pub(crate) fn inspect(frame: &[u8]) -> Option<Inspected> {
    if !nal::units(frame).any(is_idr) {
        return None;
    }
    let of = |wanted: u8| -> Vec<&[u8]> { nal::units(frame).filter(|unit| kind(unit) == wanted).collect() };
    let (sps, pps) = (of(SPS), of(PPS));
    let parsed = Sps::parse(sps.first()?)?;
    (!pps.is_empty()).then_some(())?;
    Some(Inspected {
        size: parsed.resolution,
        configuration: configuration(&sps, &pps, &parsed)?,
    })
}

/// From `avcC`: how many bytes the lengths before units have, and its parameter sets behind start codes.
pub(crate) fn parse_configuration(avcc: &[u8]) -> Option<(usize, Vec<u8>)> {
    let [1, _, _, _, lengths, count, rest @ ..] = avcc else {
        return None;
    };
    let mut sets = Vec::new();
    let mut rest = take_sets(rest, count & 0x1f, &mut sets)?;
    if let Some((count, more)) = rest.split_first() {
        rest = more;
        take_sets(rest, *count, &mut sets)?;
    }
    Some((usize::from(lengths & 3) + 1, nal::to_annex_b(sets.into_iter())))
}

fn take_sets<'a>(mut rest: &'a [u8], count: u8, sets: &mut Vec<&'a [u8]>) -> Option<&'a [u8]> {
    for _ in 0..count {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let (set, after) = after.split_at_checked(usize::from(u16::from_be_bytes(*length)))?;
        sets.push(set);
        rest = after;
    }
    Some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Baseline, 640x360 (cropped from 368), and its picture parameter set, as libopenh264 writes them.
    const SPS_640: [u8; 13] = [
        0x67, 0x42, 0xc0, 0x1e, 0x8c, 0x8d, 0x40, 0x50, 0x17, 0xfc, 0xb0, 0x0f, 0x08,
    ];

    #[test]
    fn a_key_frame_tells_size_and_configuration() {
        let frame = nal::to_annex_b([&SPS_640[..], &[0x68, 0xce, 0x3c, 0x80], &[0x65, 0x88]].into_iter());
        let found = inspect(&frame).unwrap();
        assert_eq!((found.size.width, found.size.height), (640, 360));
        let (size, sets) = parse_configuration(&found.configuration).unwrap();
        assert_eq!(size, 4);
        assert_eq!(nal::units(&sets).map(kind).collect::<Vec<_>>(), [7, 8]);
        assert_eq!(
            inspect(&nal::to_annex_b([&SPS_640[..], &[0x65, 0x88]].into_iter())),
            None,
            "no PPS"
        );
        assert_eq!(inspect(&nal::to_annex_b([&[0x61u8, 0x88][..]].into_iter())), None);
    }
}
