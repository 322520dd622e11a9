//! H.264: parameter sets (ITU-T H.264 §7.3.2.1) and the configuration that MP4 and Matroska keep (`avcC`, ISO/IEC 14496-15 §5.3.3.1).

use super::inspected::Inspected;
use super::nal;
use crate::bits::Bits;

const IDR: u8 = 5;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
/// Profiles whose parameter sets tell of colours (ITU-T H.264 §7.3.2.1.1).
const HIGH: [u8; 13] = [100, 110, 122, 244, 44, 83, 86, 118, 128, 138, 139, 134, 135];

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

/// What a sequence parameter set says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Sps {
    pub(crate) width: u32,
    pub(crate) height: u32,
    chroma_format: u32,
    depths: [u32; 2],
    /// Pictures a second, as a fraction, if it says.
    pub(crate) rate: Option<(u32, u32)>,
}

pub(crate) fn parse_sps(unit: &[u8]) -> Option<Sps> {
    let data = nal::unescape(unit);
    let profile = *data.get(1)?;
    let mut bits = Bits::new(data.get(4..)?);
    bits.ue()?;
    let (mut chroma_format, mut separate, mut depths) = (1, false, [8, 8]);
    if HIGH.contains(&profile) {
        chroma_format = bits.ue().filter(|format| *format <= 3)?;
        separate = chroma_format == 3 && bits.bit()?;
        depths = [
            8 + bits.ue().filter(|depth| *depth <= 6)?,
            8 + bits.ue().filter(|depth| *depth <= 6)?,
        ];
        bits.skip(1)?;
        if bits.bit()? {
            skip_scaling(&mut bits, if chroma_format == 3 { 12 } else { 8 })?;
        }
    }
    bits.ue()?;
    match bits.ue()? {
        0 => {
            bits.ue()?;
        }
        1 => {
            bits.skip(1)?;
            bits.se()?;
            bits.se()?;
            let count = bits.ue().filter(|count| *count <= 255)?;
            for _ in 0..count {
                bits.se()?;
            }
        }
        _ => {}
    }
    bits.ue()?;
    bits.skip(1)?;
    let (columns, rows) = (u64::from(bits.ue()?) + 1, u64::from(bits.ue()?) + 1);
    let frames_only = bits.bit()?;
    if !frames_only {
        bits.skip(1)?;
    }
    bits.skip(1)?;
    let fields = if frames_only { 1 } else { 2 };
    let mut crop = [0u64; 4];
    if bits.bit()? {
        for edge in &mut crop {
            *edge = u64::from(bits.ue()?);
        }
    }
    let (unit_x, unit_y) = match (chroma_format, separate) {
        (1, _) => (2, 2),
        (2, _) => (2, 1),
        _ => (1, 1),
    };
    let width = (columns * 16).checked_sub(unit_x * (crop[0] + crop[1]))?;
    let height = (rows * 16 * fields).checked_sub(unit_y * fields * (crop[2] + crop[3]))?;
    Some(Sps {
        width: u32::try_from(width).ok()?,
        height: u32::try_from(height).ok()?,
        chroma_format,
        depths,
        rate: rate(&mut bits),
    })
}

/// ITU-T H.264 §7.3.2.1.1.1
fn skip_scaling(bits: &mut Bits<'_>, lists: usize) -> Option<()> {
    for list in 0..lists {
        if !bits.bit()? {
            continue;
        }
        let (mut last, mut next) = (8i64, 8i64);
        for _ in 0..if list < 6 { 16 } else { 64 } {
            if next != 0 {
                next = (last + bits.se()?).rem_euclid(256);
            }
            if next != 0 {
                last = next;
            }
        }
    }
    Some(())
}

/// Pictures a second, from what follows the picture's size (ITU-T H.264 §E.1.1).
fn rate(bits: &mut Bits<'_>) -> Option<(u32, u32)> {
    const EXTENDED_SAR: u32 = 255;
    if !bits.bit()? {
        return None;
    }
    if bits.bit()? && bits.bits(8)? == EXTENDED_SAR {
        bits.skip(32)?;
    }
    if bits.bit()? {
        bits.skip(1)?;
    }
    if bits.bit()? {
        bits.skip(4)?;
        if bits.bit()? {
            bits.skip(24)?;
        }
    }
    if bits.bit()? {
        bits.ue()?;
        bits.ue()?;
    }
    if !bits.bit()? {
        return None;
    }
    let (units, scale) = (bits.bits(32)?, bits.bits(32)?);
    // A tick is a field's.
    let fields = units.checked_mul(2)?;
    (units > 0 && scale > 0 && scale / fields <= 1_000).then_some((scale, fields))
}

/// `avcC` from the parameter sets of an access unit.
fn configuration(sps: &[&[u8]], pps: &[&[u8]], parsed: &Sps) -> Option<Vec<u8>> {
    let first = *sps.first()?;
    let mut out = vec![1, *first.get(1)?, *first.get(2)?, *first.get(3)?, 0xfc | 3];
    out.push(0xe0 | u8::try_from(sps.len()).ok().filter(|count| *count < 32)?);
    for set in sps {
        put(set, &mut out)?;
    }
    out.push(u8::try_from(pps.len()).ok()?);
    for set in pps {
        put(set, &mut out)?;
    }
    if HIGH.contains(&out[1]) {
        let [luma, chroma] = parsed.depths.map(|depth| 0xf8 | (depth - 8) as u8);
        out.extend_from_slice(&[0xfc | parsed.chroma_format as u8, luma, chroma, 0]);
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
    let parsed = parse_sps(sps.first()?)?;
    (!pps.is_empty()).then_some(())?;
    Some(Inspected {
        width: parsed.width,
        height: parsed.height,
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
        assert_eq!((found.width, found.height), (640, 360));
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
