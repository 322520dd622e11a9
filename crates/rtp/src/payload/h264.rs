//! H.264 (RFC 6184): single units, aggregations and fragments.
//!
//! ```text
//!  0 1 2 3 4 5 6 7
//! |F|NRI|  type   |  the header of a unit (§1.3): 1 to 23 a unit alone (§5.6), 24 STAP-A (§5.7.1), 28 FU-A (§5.8)
//!
//! STAP-A:  |F|NRI|   24    | size of unit 1, 16 bits | unit 1 | size of unit 2, 16 bits | unit 2 | ...
//! FU-A:    |F|NRI|   28    |S|E|R|  type   | a part of the unit without its header
//! ```
//!
//! §5.4 says which of them a packetization mode allows: in mode 0 units alone, in mode 1 all three. Mode 2, which interleaves units
//! (STAP-B, MTAP16, MTAP24, FU-B), is refused: no browser has it. §5.1: the marker is an early sign of the end of a picture, the
//! timestamp the certain one. §8.1: parameter sets may come by the description (`sprop-parameter-sets`) alone.

use super::FrameError;
use super::facts::FrameFacts;
use super::layout::{Cut, Start};
use super::parameter_sets::parameter;
use super::units::{self, Family, Role};
use crate::ParseError;
use crate::bitstream::h264::Sps;
use crate::bitstream::{Bits, Resolution};

/// A slice of a picture that begins anew (ITU-T H.264 table 7-1).
const IDR: u8 = 5;
/// The sequence parameter set.
const SPS: u8 = 7;
/// The picture parameter set.
const PPS: u8 = 8;

#[derive(Clone, Copy, Debug)]
pub(super) struct H264;

impl Family for H264 {
    const HEADER: usize = 1;
    const AGGREGATION: u8 = 24;
    const FRAGMENT: u8 = 28;
    const SETS: u8 = 2;
    const DESCRIBED: &'static [&'static str] = &["sprop-parameter-sets"];

    fn kind([header, _]: [u8; 2]) -> u8 {
        header & 0x1f
    }

    fn with_kind([header, _]: [u8; 2], kind: u8) -> [u8; 2] {
        [header & 0xe0 | kind, 0]
    }

    /// RFC 6184 §5.7: F is the "or" of all, NRI the greatest.
    fn both([a, _]: [u8; 2], [b, _]: [u8; 2]) -> [u8; 2] {
        [(a | b) & 0x80 | (a & 0x60).max(b & 0x60), 0]
    }

    fn part_kind(byte: u8) -> u8 {
        byte & 0x1f
    }

    fn role(kind: u8, first: Option<u8>) -> Role {
        // ue(v) of the first macroblock's number: a first bit of 1 is number 0.
        let first_slice = first.is_none_or(|byte| byte & 0x80 != 0);
        let (start, picture) = match kind {
            1 | 2 | IDR if first_slice => (Start::Yes, true),
            1..=IDR | 19..=21 => (Start::No, true),
            // §7.4.1.2.3 of ITU-T H.264: SEI, parameter sets, delimiters come before the picture.
            6..=9 | 13 | 15 => (Start::Yes, false),
            14 | 16..=18 => (Start::Maybe, false),
            _ => (Start::No, false),
        };
        Role {
            start,
            key: matches!(kind, IDR | SPS),
            picture,
            set: match kind {
                SPS => Some(0),
                PPS => Some(1),
                _ => None,
            },
        }
    }

    fn refused(kind: u8) -> Option<ParseError> {
        match kind {
            1..=24 | 28 => None,
            25..=27 | 29 => Some(ParseError::Interleaved),
            _ => Some(ParseError::Value),
        }
    }

    fn plausible([header, _]: [u8; 2]) -> bool {
        header & 0x80 == 0 && (1..24).contains(&(header & 0x1f))
    }

    fn tell([header, _]: [u8; 2], first: bool, facts: &mut FrameFacts) {
        facts.discardable = (first || facts.discardable) && header & 0x60 == 0;
    }

    fn set_id(set: u8, unit: &[u8]) -> Option<u32> {
        // A sequence's begins with profile, constraints and level.
        let behind = unit.get(if set == 0 { 4 } else { 1 }..)?;
        Bits::escaped(behind).ue()
    }

    fn resolution(set: u8, unit: &[u8]) -> Option<Resolution> {
        let sps = (set == 0).then(|| Sps::parse(unit)).flatten()?;
        Some(sps.resolution)
    }
}

/// Cuts frames, which come with start codes or with lengths of four bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packetizer {
    /// Mode 0: each payload is one unit.
    single: bool,
}

impl Packetizer {
    /// For the parameters of `a=fmtp`; `None` if they want interleaving.
    pub fn new(fmtp: &str) -> Option<Self> {
        // RFC 6184 §8.1: without the parameter the mode is 0.
        match parameter(fmtp, "packetization-mode").unwrap_or("0") {
            "0" => Some(Self { single: true }),
            "1" => Some(Self { single: false }),
            _ => None,
        }
    }

    /// Appends the packets of `frame` to `cuts`.
    ///
    /// # Errors
    /// If it is no H.264, or in mode 0 a unit is larger than `max`.
    pub fn packetize(&self, frame: &[u8], max: usize, cuts: &mut Vec<Cut>) -> Result<(), FrameError> {
        units::packetize::<H264>(frame, max, self.single, cuts)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::payload::parameter_sets::ParameterSets;
    use crate::payload::units::{depacketize, described, join};

    /// 640x360 of x264, High profile, with cropping (360 is no multiple of 16).
    const SPS_640X360: [u8; 25] = [
        0x67, 0x64, 0x00, 0x1e, 0xac, 0xd9, 0x40, 0xa0, 0x2f, 0xf9, 0x70, 0x11, 0x00, 0x00, 0x03, 0x00, 0x01, 0x00,
        0x00, 0x03, 0x00, 0x3c, 0x0f, 0x16, 0x2d,
    ];

    fn key(payload: &[u8]) -> bool {
        depacketize::<H264>(payload, false).is_ok_and(|piece| piece.key_frame)
    }

    #[test]
    fn key_frames_are_recognised() {
        assert!(key(&[0x65]) && key(&[0x67]) && !key(&[0x61]));
        assert!(key(&[0x7c, 0x85]) && !key(&[0x7c, 0x05]) && !key(&[0x7c]));
        assert!(key(&[0x78, 0, 1, 0x61, 0, 1, 0x65]));
        assert!(!key(&[0x78, 0, 9, 0x61, 0, 1, 0x65]), "length past the end");
        assert!(!key(&[]));
        for (kind, error) in [
            (25, ParseError::Interleaved),
            (26, ParseError::Interleaved),
            (27, ParseError::Interleaved),
            (29, ParseError::Interleaved),
            (0, ParseError::Value),
            (30, ParseError::Value),
        ] {
            assert_eq!(depacketize::<H264>(&[kind, 0, 1, 2], false), Err(error), "{kind}");
        }
    }

    #[test]
    fn parameter_sets_are_put_before_a_key_frame_that_lacks_them() {
        let mut out = Vec::new();
        let mut sets = described::<H264>(
            "packetization-mode=1;sprop-parameter-sets=Z2QAHqzZQKAv+XARAAADAAEAAAMAPA8WLQ==,aOvjyyLA",
        );
        let idr = [0x65, 0x88, 0x84];
        let joined = join::<H264>([&idr[..]].into_iter(), &mut sets, &mut out).unwrap();
        let expected = [
            &[0, 0, 0, 1][..],
            &SPS_640X360,
            &[0, 0, 0, 1, 0x68, 0xeb, 0xe3, 0xcb, 0x22, 0xc0, 0, 0, 0, 1],
            &idr,
        ];
        assert_eq!(out, expected.concat());
        assert_eq!(
            joined.facts.resolution.map(|size| (size.width, size.height)),
            Some((640, 360))
        );
        // In band: the newest of each identifier is used, and only where it lacks.
        out.clear();
        join::<H264>([&[0x68, 0xce, 0x3c, 0x80][..], &idr].into_iter(), &mut sets, &mut out).unwrap();
        let expected = [
            &[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80, 0, 0, 0, 1][..],
            &SPS_640X360,
            &[0, 0, 0, 1],
            &idr,
        ];
        assert_eq!(out, expected.concat());
        out.clear();
        join::<H264>([&[0x61, 0x9a][..]].into_iter(), &mut sets, &mut out).unwrap();
        assert_eq!(out, [0, 0, 0, 1, 0x61, 0x9a]);
    }

    #[test]
    fn a_part_without_its_beginning_is_refused() {
        let join = |payloads: &[&[u8]]| {
            let mut out = Vec::new();
            let result = join::<H264>(payloads.iter().copied(), &mut ParameterSets::default(), &mut out);
            result.map(|_| out)
        };
        assert_eq!(join(&[&[0x7c, 0x05, 1]]), Err(ParseError::Value));
        assert_eq!(
            join(&[&[0x7c, 0xc5, 1], &[0x7c, 0x05, 1]]),
            Err(ParseError::Value),
            "after its end"
        );
        assert_eq!(
            join(&[&[0x7c, 0x85, 1], &[0x61, 2], &[0x7c, 0x45, 1]]),
            Err(ParseError::Value)
        );
        // Some senders forget to mark the end.
        let whole = [0, 0, 0, 1, 0x65, 1, 2, 0, 0, 0, 1, 0x61, 3];
        assert_eq!(
            join(&[&[0x7c, 0x85, 1], &[0x7c, 0x05, 2], &[0x61, 3]]),
            Ok(whole.to_vec())
        );
    }

    #[test]
    fn lengths_are_told_from_start_codes() {
        let packetizer = Packetizer::new("packetization-mode=0").unwrap();
        let units = |frame: &[u8]| {
            let mut cuts = Vec::new();
            packetizer.packetize(frame, 1200, &mut cuts).map(|()| {
                let payload = |cut: &Cut| {
                    let mut payload = Vec::new();
                    cut.layout.write(frame, |part| payload.extend_from_slice(part));
                    payload
                };
                cuts.iter().map(payload).collect::<Vec<_>>()
            })
        };
        let expected = Ok(vec![vec![0x67, 1], vec![0x65, 0x88]]);
        assert_eq!(units(&[0, 0, 0, 1, 0x67, 1, 0, 0, 1, 0x65, 0x88, 0, 0]), expected);
        assert_eq!(units(&[0, 0, 0, 2, 0x67, 1, 0, 0, 0, 2, 0x65, 0x88]), expected);
        // A length whose first three bytes are a start code; and a start code that would be a length.
        let unit = [&[0x65; 1][..], &[0x88; 300]].concat();
        assert_eq!(units(&[&[0, 0, 1, 45][..], &unit].concat()), Ok(vec![unit]));
        let unit = [&[0x41; 1][..], &[0x9a; 0x141]].concat();
        assert_eq!(units(&[&[0, 0, 1][..], &unit].concat()), Ok(vec![unit]));
        assert_eq!(units(&[1, 2, 3]), Err(FrameError::Malformed));
        assert_eq!(units(&[0, 0, 1]), Err(FrameError::Malformed));
        // A type by which payloads are told is left out.
        assert_eq!(
            units(&[0, 0, 1, 0x67, 1, 0, 0, 1, 0x7c, 0xdc, 1, 0, 0, 1, 0x65, 0x88]),
            expected
        );
        assert_eq!(units(&[0, 0, 1, 0x7c, 0xdc, 1]), Err(FrameError::Malformed));
        assert_eq!(Packetizer::new("packetization-mode=2"), None);
        assert_eq!(
            units(&[&[0, 0, 1][..], &[0x41; 1300]].concat()),
            Err(FrameError::Size),
            "mode 0"
        );
    }
}
