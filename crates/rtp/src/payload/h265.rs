//! H.265 (RFC 7798): single units, aggregations and fragments.
//!
//! ```text
//!  0                   1
//!  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5
//! |F|   type    |  layer id | TID |  the header of a unit (§1.1.4): below 48 a unit alone (§4.4.1), 48 AP (§4.4.2), 49 FU (§4.4.3)
//!
//! AP:  |F|   48  | layer | TID | size of unit 1, 16 bits | unit 1 | size of unit 2, 16 bits | unit 2 | ...
//! FU:  |F|   49  | layer | TID |S|E|   type    | a part of the unit without its header
//! ```
//!
//! One RTP stream carries one bitstream (`tx-mode=SRST`, §4.4) whose units come in decoding order: with `sprop-max-don-diff` above 0
//! there would be decoding order numbers between them, which no browser has, and which are refused. So is PACI (type 50, §4.4.4).
//! §7.1: parameter sets may come by the description (`sprop-vps`, `sprop-sps`, `sprop-pps`) alone.

use super::facts::FrameFacts;
use super::layout::Start;
use super::parameter_sets::parameter;
use super::units::{Family, Role};
use crate::ParseError;
use crate::bitstream::h265::Sps;
use crate::bitstream::{Bits, Resolution};

#[derive(Clone, Copy, Debug)]
pub(super) struct H265;

impl Family for H265 {
    const HEADER: usize = 2;
    const AGGREGATION: u8 = 48;
    const FRAGMENT: u8 = 49;
    const SETS: u8 = 3;
    const DESCRIBED: &'static [&'static str] = &["sprop-vps", "sprop-sps", "sprop-pps"];

    fn kind([header, _]: [u8; 2]) -> u8 {
        header >> 1 & 0x3f
    }

    fn with_kind([first, second]: [u8; 2], kind: u8) -> [u8; 2] {
        [first & 0x81 | kind << 1, second]
    }

    /// RFC 7798 §4.4.2: F is the "or" of all, layer and TID are the least.
    fn both([a, b]: [u8; 2], [c, d]: [u8; 2]) -> [u8; 2] {
        let layer = |first: u8, second: u8| (first & 1) << 5 | second >> 3;
        let layer = layer(a, b).min(layer(c, d));
        [(a | c) & 0x80 | layer >> 5, layer << 3 | (b & 7).min(d & 7)]
    }

    fn part_kind(byte: u8) -> u8 {
        byte & 0x3f
    }

    fn role(kind: u8, first: Option<u8>) -> Role {
        // A slice begins with the flag that it is the first of its picture.
        let first_slice = first.is_none_or(|byte| byte & 0x80 != 0);
        let (start, picture) = match kind {
            0..=31 if first_slice => (Start::Yes, true),
            0..=31 => (Start::No, true),
            // VPS, SPS, PPS, delimiter, SEI: before the picture (ITU-T H.265 §7.4.2.4.4).
            32..=35 | 39 => (Start::Yes, false),
            41..=44 | 48..=55 => (Start::Maybe, false),
            _ => (Start::No, false),
        };
        Role {
            start,
            // ITU-T H.265 table 7-1: BLA, IDR and CRA pictures with the reserved types beside them; VPS and SPS.
            key: matches!(kind, 16..=23 | 32 | 33),
            picture,
            set: matches!(kind, 32..=34).then(|| kind - 32),
        }
    }

    fn refused(kind: u8) -> Option<ParseError> {
        (kind == 50).then_some(ParseError::Value)
    }

    fn plausible([first, second]: [u8; 2]) -> bool {
        // The base layer, and a TID above 0, as all units have.
        first & 0x81 == 0 && second & 7 != 0 && second >> 3 == 0
    }

    fn tell([first, second]: [u8; 2], is_first: bool, facts: &mut FrameFacts) {
        let kind = Self::kind([first, second]);
        facts.temporal = (second & 7).saturating_sub(1);
        // Table 7-1: below 16, even types are no reference for their sub-layer; 2 to 5 are TSA and STSA.
        facts.discardable = (is_first || facts.discardable) && kind < 16 && kind & 1 == 0;
        facts.switching_point = matches!(kind, 2..=5);
    }

    fn set_id(set: u8, unit: &[u8]) -> Option<u32> {
        let mut bits = Bits::escaped(unit.get(2..)?);
        match set {
            0 => bits.bits(4),
            1 => Some(Sps::parse(unit)?.id),
            _ => bits.ue(),
        }
    }

    fn resolution(set: u8, unit: &[u8]) -> Option<Resolution> {
        let sps = (set == 1).then(|| Sps::parse(unit)).flatten()?;
        Some(sps.resolution)
    }
}

/// Whether the parameters of `a=fmtp` are those of one stream in decoding order.
pub(super) fn is_plain(fmtp: &str) -> bool {
    let is = |name, value: &str| parameter(fmtp, name).is_none_or(|own| own.eq_ignore_ascii_case(value));
    is("tx-mode", "SRST") && is("sprop-max-don-diff", "0")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::units::depacketize;

    fn key(payload: &[u8]) -> bool {
        depacketize::<H265>(payload, false).is_ok_and(|piece| piece.key_frame)
    }

    #[test]
    fn key_frames_are_recognised() {
        // IDR_W_RADL alone; VPS; a trailing picture; an aggregation of VPS; the start and the rest of a fragmented IDR.
        assert!(key(&[19 << 1, 1, 0xaf]) && key(&[32 << 1, 1, 0x0c]) && !key(&[1 << 1, 1, 0xd0]));
        assert!(key(&[48 << 1, 1, 0, 2, 1 << 1, 1, 0, 2, 32 << 1, 1]) && !key(&[48 << 1, 1, 0, 2, 1 << 1, 1]));
        assert!(key(&[49 << 1, 1, 0x80 | 19, 0]) && !key(&[49 << 1, 1, 19, 0]) && !key(&[49 << 1, 1]));
        assert!(!key(&[]));
        assert_eq!(depacketize::<H265>(&[50 << 1, 1, 0], true), Err(ParseError::Value));
    }

    #[test]
    fn headers_of_several_units_become_one() {
        assert_eq!(H265::both([0x40, 0x0a], [0x83, 0x01]), [0x80, 0x09]);
        assert_eq!(H265::both([0x41, 0x0a], [0x03, 0x02]), [0x01, 0x02]);
        assert!(!is_plain("tx-mode=MRST") && !is_plain("sprop-max-don-diff=1"));
        assert!(is_plain("profile-id=1;tx-mode=srst"));
    }
}
