//! H.266 (RFC 9328): single units, aggregations and fragments.
//!
//! ```text
//!  0                   1
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5
//! |F|Z|  layer id | type    | TID |  the header of a unit (§1.1.4): below 28 a unit alone (§4.3.1), 28 AP (§4.3.2), 29 FU (§4.3.3)
//!
//! AP:  |F|Z| layer |   28   | TID | size of unit 1, 16 bits | unit 1 | size of unit 2, 16 bits | unit 2 | ...
//! FU:  |F|Z| layer |   29   | TID |S|E|P|  type   | a part of the unit without its header
//! ```
//!
//! Units come in decoding order: with `sprop-max-don-diff` above 0 there would be decoding order numbers between them, which are
//! refused. §7.2: parameter sets may come by the description (`sprop-vps`, `sprop-sps`, `sprop-pps`) alone. P, the sign that a
//! fragment ends the last unit of a picture, is not written, which §4.3.3 allows, and not read: the marker says the same.

use super::facts::FrameFacts;
use super::layout::Start;
use super::parameter_sets::parameter;
use super::units::{Family, Role};
use crate::ParseError;
use crate::bitstream::{Bits, Resolution, cropped};

/// Where the parameter sets begin (ITU-T H.266 table 5): of the video, of a sequence, of a picture.
const VPS: u8 = 14;
/// The picture header.
const PH: u8 = 19;

#[derive(Clone, Copy, Debug)]
pub(super) struct H266;

impl Family for H266 {
    const HEADER: usize = 2;
    const AGGREGATION: u8 = 28;
    const FRAGMENT: u8 = 29;
    const SETS: u8 = 3;
    const DESCRIBED: &'static [&'static str] = &["sprop-vps", "sprop-sps", "sprop-pps"];

    fn kind([_, second]: [u8; 2]) -> u8 {
        second >> 3
    }

    fn with_kind([first, second]: [u8; 2], kind: u8) -> [u8; 2] {
        [first, kind << 3 | second & 7]
    }

    /// RFC 9328 §4.3.2: F is the "or" of all, layer and TID are the least.
    fn both([a, b]: [u8; 2], [c, d]: [u8; 2]) -> [u8; 2] {
        [(a | c) & 0x80 | (a & 0x3f).min(c & 0x3f), b & 0xf8 | (b & 7).min(d & 7)]
    }

    fn part_kind(byte: u8) -> u8 {
        byte & 0x1f
    }

    fn role(kind: u8, first: Option<u8>) -> Role {
        // A slice begins with the flag that the picture's header is in it, and then it is the only one (§7.4.8 of ITU-T H.266);
        // where there are several, the header comes before them.
        let only_slice = first.is_none_or(|byte| byte & 0x80 != 0);
        let (start, picture) = match kind {
            0..=11 if only_slice => (Start::Yes, true),
            0..=11 => (Start::No, true),
            // What comes before the picture (ITU-T H.266 §7.4.2.4.3): sets, its header, delimiter, SEI.
            12..=17 | PH | 20 | 23 => (Start::Yes, false),
            26 | 28..=31 => (Start::Maybe, false),
            _ => (Start::No, false),
        };
        Role {
            start,
            // Table 5: IDR and CRA pictures, the reserved type beside them; VPS and SPS. A gradual refresh (10) is not one: what
            // comes before its end shows garbage.
            key: matches!(kind, 7..=9 | 11 | 14 | 15),
            picture,
            set: matches!(kind, 14..=16).then(|| kind - VPS),
        }
    }

    fn refused(kind: u8) -> Option<ParseError> {
        (kind > Self::FRAGMENT).then_some(ParseError::Value)
    }

    fn plausible([first, second]: [u8; 2]) -> bool {
        // The base layer, and a TID above 0, as all units have.
        first == 0 && second & 7 != 0 && Self::kind([first, second]) < Self::AGGREGATION
    }

    fn tell([first, second]: [u8; 2], _: bool, facts: &mut FrameFacts) {
        facts.temporal = (second & 7).saturating_sub(1);
        // Table 5: 1 is STSA. What is no reference says the picture's header, not that of the unit.
        facts.switching_point = Self::kind([first, second]) == 1;
    }

    fn set_id(set: u8, unit: &[u8]) -> Option<u32> {
        // ITU-T H.266 §7.3.2.3 to §7.3.2.5: each begins with its identifier.
        Bits::escaped(unit.get(2..)?).bits(if set == 2 { 6 } else { 4 })
    }

    fn resolution(set: u8, unit: &[u8]) -> Option<Resolution> {
        if set == 1 { sps(unit) } else { None }
    }
}

/// Leaves out what a sequence parameter set says of its profile (ITU-T H.266 §7.3.3.1, §7.3.3.2).
fn profile_tier_level(bits: &mut Bits<'_>, layers: u32) -> Option<()> {
    bits.skip(7 + 1 + 8 + 2)?;
    if bits.flag()? {
        bits.skip(71)?;
        let more = bits.bits(8)?;
        bits.skip(more)?;
    }
    bits.align();
    let mut levels = 0;
    for _ in 0..layers {
        levels += u32::from(bits.flag()?);
    }
    bits.align();
    bits.skip(8 * levels)?;
    let profiles = bits.bits(8)?;
    bits.skip(32 * profiles)
}

/// The largest size in a sequence parameter set (ITU-T H.266 §7.3.2.4).
fn sps(unit: &[u8]) -> Option<Resolution> {
    let mut bits = Bits::escaped(unit.get(2..)?);
    bits.skip(8)?;
    let layers = bits.bits(3)?;
    let chroma = bits.bits(2)?;
    bits.skip(2)?;
    if bits.flag()? {
        profile_tier_level(&mut bits, layers)?;
    }
    bits.skip(1)?;
    if bits.flag()? {
        bits.skip(1)?;
    }
    let size = [bits.ue()?, bits.ue()?];
    cropped(&mut bits, size, chroma, 1)
}

/// Whether the parameters of `a=fmtp` are those of a stream in decoding order.
pub(super) fn is_plain(fmtp: &str) -> bool {
    parameter(fmtp, "sprop-max-don-diff").is_none_or(|own| own == "0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::units::{depacketize, described, join};

    /// The header of a unit of this type in the lowest sub-layer.
    const fn unit(kind: u8) -> [u8; 2] {
        [0, kind << 3 | 1]
    }

    fn key(payload: &[u8]) -> bool {
        depacketize::<H266>(payload, false).is_ok_and(|piece| piece.key_frame)
    }

    #[test]
    fn key_frames_are_recognised() {
        let [_, idr] = unit(8);
        let [_, trail] = unit(0);
        let [_, sps] = unit(15);
        let [_, several] = unit(28);
        let [_, part] = unit(29);
        assert!(key(&[0, idr, 0xc0]) && key(&[0, sps, 0]) && !key(&[0, trail, 0xc0]));
        assert!(!key(&[0, 10 << 3 | 1, 0xc0]), "a gradual refresh");
        assert!(key(&[0, several, 0, 2, 0, trail, 0, 2, 0, idr]) && !key(&[0, several, 0, 2, 0, trail]));
        assert!(key(&[0, part, 0x80 | 8, 0]) && !key(&[0, part, 8, 0]) && !key(&[0, part]) && !key(&[]));
        assert_eq!(depacketize::<H266>(&[0, 30 << 3 | 1, 0], true), Err(ParseError::Value));
        // Several slices: the picture's header is where the frame begins.
        let start = |payload: &[u8]| depacketize::<H266>(payload, false).map(|piece| piece.start);
        assert_eq!(start(&[0, PH << 3 | 1, 0]), Ok(Start::Yes));
        assert_eq!(
            (start(&[0, trail, 0x80]), start(&[0, trail, 0])),
            (Ok(Start::Yes), Ok(Start::No))
        );
    }

    /// 640x360 in 4:2:0, cropped from 640x368: with a profile, constraints, a level for one of two sub-layers, and a sub-profile.
    fn sequence() -> Vec<u8> {
        let mut text = String::from("00000000 001 01 10 1");
        text += "0000001 0 00110011 0 0 1";
        text += &"10".repeat(35);
        text += "1 00000011 101";
        text = text.replace(' ', "");
        let align = |text: &mut String| text.push_str(&"0".repeat(text.len().next_multiple_of(8) - text.len()));
        align(&mut text);
        text.push('1');
        align(&mut text);
        text += &format!("{:08b}{:08b}{:032b}", 35, 1, 7);
        text += "011";
        let code = |number: u32| format!("{}{:b}", "0".repeat((number + 1).ilog2() as usize), number + 1);
        text += &[640, 368].map(code).concat();
        text += "1";
        text += &[0, 0, 0, 4].map(code).concat();
        text += "1";
        align(&mut text);
        let bits = text.as_bytes().chunks(8);
        let bytes = bits.map(|bits| bits.iter().fold(0, |byte, bit| byte << 1 | (bit - b'0')));
        unit(15).into_iter().chain(bytes).collect()
    }

    #[test]
    fn the_size_is_read() {
        let unit = sequence();
        let size = sps(&unit).unwrap();
        assert_eq!((size.width, size.height), (640, 360));
        assert_eq!(H266::set_id(1, &unit), Some(0));
        for len in 0..unit.len() {
            let _ = sps(&unit[..len]);
        }
    }

    #[test]
    fn headers_of_several_units_become_one() {
        assert_eq!(H266::both([0x02, 0x43], [0x81, 0x0a]), [0x81, 0x42]);
        assert!(!is_plain("sprop-max-don-diff=1") && is_plain("profile-id=1"));
    }

    #[test]
    fn parameter_sets_of_the_description_are_put_before_a_key_frame() {
        // A VPS, an SPS and a PPS of a few bytes.
        let mut sets = described::<H266>("profile-id=1;sprop-vps=AHEQ;sprop-sps=AHkQ;sprop-pps=AIEQ");
        let mut out = Vec::new();
        let idr = [0, 8 << 3 | 1, 0xc0];
        join::<H266>([&idr[..]].into_iter(), &mut sets, &mut out).unwrap();
        let code = [0, 0, 0, 1];
        let sets = [[0, 0x71, 0x10], [0, 0x79, 0x10], [0, 0x81, 0x10], idr];
        let expected: Vec<u8> = sets.iter().flat_map(|unit| code.into_iter().chain(*unit)).collect();
        assert_eq!(out, expected);
    }
}
