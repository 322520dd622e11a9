//! AV1 (RTP Payload Format For AV1, version 1.0): OBUs of one temporal unit, whole or in parts.
//!
//! ```text
//!  0 1 2 3 4 5 6 7
//! |Z|Y| W |N|-|-|-|  aggregation header (§4.4)
//! | [length] | OBU element | [length] | OBU element | ...
//! ```
//!
//! Z: the first element continues an OBU of the packet before; Y: the last is continued in the next; N: the first packet of a coded
//! video sequence, so of a key frame with its sequence header. W: how many elements there are, of which the last has no length;
//! W = 0: each has one. Lengths are LEB128. The marker stands at the end of a temporal unit (§4.2).
//!
//! §5: temporal delimiters and tile lists are left out, and OBUs travel without size fields. A frame, which is a temporal unit with
//! all its layers, is in the low-overhead format: every OBU has its size field (AV1 bitstream §5.2), and there is no temporal
//! delimiter. A file of OBUs or IVF needs one in front (12 00), Matroska and MP4 want none.

use std::ops::Range;

use super::facts::FrameFacts;
use super::layout::{Cut, Layout, Piece, Start};
use super::{FrameError, Joined, MAX_FRAME};
use crate::ParseError;
use crate::bitstream::av1::kind::{
    FRAME, FRAME_HEADER, REDUNDANT_FRAME_HEADER, SEQUENCE_HEADER, TEMPORAL_DELIMITER, TILE_GROUP, TILE_LIST,
};
use crate::bitstream::av1::{MAX_OBUS, ObuHeader, SequenceHeader, is_key_frame, leb128, obus, write_leb128};

/// Most elements in a packet that we make: W has two bits.
const MAX_ELEMENTS: usize = 3;
/// A part of an OBU smaller than this waits for the next packet.
const LEAST_PART: usize = 32;
/// Least bytes of a payload: aggregation header, OBU header with extension, and something besides.
const LEAST_PAYLOAD: usize = 8;

/// Whether an OBU goes into payloads (§5).
fn travels(header: ObuHeader) -> bool {
    !matches!(header.kind, TEMPORAL_DELIMITER | TILE_LIST)
}

/// An element of the packet that is being made.
#[derive(Clone, Debug, Default)]
struct Element {
    /// The header, if the OBU begins here.
    header: ([u8; 2], usize),
    range: Range<usize>,
}

impl Element {
    fn len(&self) -> usize {
        self.header.1 + self.range.len()
    }
}

/// The packet that is being made.
#[derive(Debug, Default)]
struct Packet {
    elements: [Element; MAX_ELEMENTS],
    count: usize,
    /// Its bytes so far, all lengths but that of the last element among them.
    size: usize,
    continues: bool,
}

impl Packet {
    /// Bytes of the length that the last element gets when another follows.
    fn length_of_last(&self) -> usize {
        let last = self.count.checked_sub(1).and_then(|last| self.elements.get(last));
        last.map_or(0, |last| write_leb128(last.len() as u32).1)
    }

    fn push(&mut self, element: Element) {
        self.size += self.length_of_last() + element.len();
        if let Some(place) = self.elements.get_mut(self.count) {
            *place = element;
            self.count += 1;
        }
    }

    /// Takes the packet as it is and begins the next.
    fn flush(&mut self, continued: bool, cuts: &mut Vec<Cut>, key_frame: bool) {
        if self.count == 0 {
            return;
        }
        let new_sequence = key_frame && cuts.is_empty();
        let head = u8::from(self.continues) << 7
            | u8::from(continued) << 6
            | (self.count as u8) << 4
            | u8::from(new_sequence) << 3;
        let mut layout = Layout::default();
        let mut own = [0; 1 + 5 + 2];
        for (index, element) in self.elements[..self.count].iter().enumerate() {
            let mut len = 0;
            let mut put = |bytes: &[u8]| {
                own[len..len + bytes.len()].copy_from_slice(bytes);
                len += bytes.len();
            };
            if index == 0 {
                put(&[head]);
            }
            if index + 1 < self.count {
                let (bytes, len) = write_leb128(element.len() as u32);
                put(&bytes[..len]);
            }
            put(&element.header.0[..element.header.1]);
            layout.push(&own[..len], element.range.clone());
        }
        cuts.push(Cut { layout, marker: false });
        *self = Self {
            continues: continued,
            size: 1,
            ..Self::default()
        };
    }
}

/// Cuts temporal units.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packetizer;

impl Packetizer {
    /// Appends the packets of `frame` to `cuts`.
    ///
    /// # Errors
    /// If it is no row of OBUs, or `max` leaves no room.
    pub fn packetize(self, frame: &[u8], max: usize, cuts: &mut Vec<Cut>) -> Result<(), FrameError> {
        if max < LEAST_PAYLOAD {
            return Err(FrameError::Size);
        }
        let key_frame = is_key_frame(frame);
        let mut packet = Packet {
            size: 1,
            ..Packet::default()
        };
        for (index, obu) in obus(frame).enumerate() {
            let (header, mut range) = obu.filter(|_| index < MAX_OBUS).ok_or(FrameError::Malformed)?;
            if !travels(header) {
                continue;
            }
            let mut begin = (header.bytes, header.len);
            loop {
                let left = begin.1 + range.len();
                let room = max.saturating_sub(packet.size + packet.length_of_last());
                // A length may need one byte more than the element left room for: such a packet is full.
                if packet.count == MAX_ELEMENTS || left > room && packet.count > 0 && room < LEAST_PART {
                    packet.flush(false, cuts, key_frame);
                    continue;
                }
                let taken = left.min(room) - begin.1;
                let end = range.start + taken;
                packet.push(Element {
                    header: begin,
                    range: range.start..end,
                });
                if end == range.end {
                    break;
                }
                packet.flush(true, cuts, key_frame);
                (begin, range.start) = (([0; 2], 0), end);
            }
        }
        packet.flush(false, cuts, key_frame);
        cuts.last_mut().ok_or(FrameError::Malformed)?.marker = true;
        Ok(())
    }
}

/// The elements of a payload, behind the aggregation header.
#[derive(Clone, Debug)]
struct Elements<'a> {
    rest: &'a [u8],
    /// How many are still to come; `None` if each has a length.
    left: Option<u8>,
}

impl<'a> Elements<'a> {
    fn new(head: u8, rest: &'a [u8]) -> Self {
        let count = head >> 4 & 3;
        Self {
            rest,
            left: (count > 0).then_some(count),
        }
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = Result<&'a [u8], ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.left {
            Some(0) => return None,
            None if self.rest.is_empty() => return None,
            Some(1) => {
                self.left = Some(0);
                return Some(Ok(std::mem::take(&mut self.rest)));
            }
            Some(left) => *left -= 1,
            None => {}
        }
        let split = leb128(self.rest).and_then(|(len, behind)| behind.split_at_checked(len));
        let Some((element, behind)) = split else {
            (self.rest, self.left) = (&[], Some(0));
            return Some(Err(ParseError::Short));
        };
        self.rest = behind;
        Some(Ok(element))
    }
}

/// What a payload is to its frame. Only the first byte of the first OBU is looked at besides the aggregation header: a forwarder
/// asks for each packet.
///
/// # Errors
/// If there is no element.
#[inline]
pub fn depacketize(payload: &[u8], marker: bool) -> Result<Piece, ParseError> {
    let (&head, rest) = payload.split_first().ok_or(ParseError::Short)?;
    if rest.is_empty() {
        return Err(ParseError::Short);
    }
    let (continues, new_sequence) = (head & 0x80 != 0, head & 0x08 != 0);
    let header = || ObuHeader::parse(Elements::new(head, rest).next()?.ok()?);
    let start = match continues {
        true => Start::No,
        false if new_sequence => Start::Yes,
        false => match header() {
            Some(header) if matches!(header.kind, TILE_GROUP | REDUNDANT_FRAME_HEADER) => Start::No,
            Some(header) if header.spatial() == 0 => Start::Yes,
            // Another layer of the picture, or its lowest if others were left out.
            _ => Start::Maybe,
        },
    };
    Ok(Piece {
        start,
        end: marker,
        key_frame: new_sequence && !continues,
    })
}

/// An element of a frame's payloads.
#[derive(Clone, Copy, Debug)]
struct Part<'a> {
    bytes: &'a [u8],
    /// It continues the OBU of the part before.
    continues: bool,
    /// Its OBU is continued by the next part.
    continued: bool,
}

/// The elements of payloads, one after another.
#[derive(Clone, Debug)]
struct Parts<'a, I> {
    payloads: I,
    head: u8,
    first: bool,
    elements: Elements<'a>,
}

impl<'a, I: Iterator<Item = &'a [u8]>> Iterator for Parts<'a, I> {
    type Item = Result<Part<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(element) = self.elements.next() {
                let last = match self.elements.left {
                    Some(left) => left == 0,
                    None => self.elements.rest.is_empty(),
                };
                return Some(element.map(|bytes| Part {
                    bytes,
                    continues: std::mem::take(&mut self.first) && self.head & 0x80 != 0,
                    continued: last && self.head & 0x40 != 0,
                }));
            }
            let payload = self.payloads.next()?;
            let Some((&head, rest)) = payload.split_first() else {
                return Some(Err(ParseError::Short));
            };
            (self.head, self.first) = (head, true);
            self.elements = Elements::new(head, rest);
        }
    }
}

/// An OBU that is being written.
#[derive(Clone, Copy, Debug)]
struct Open {
    /// Where it begins in the buffer.
    start: usize,
    header: ObuHeader,
    /// Bytes of it that were taken.
    taken: usize,
}

pub(super) fn join<'a>(
    payloads: impl Iterator<Item = &'a [u8]> + Clone,
    out: &mut Vec<u8>,
) -> Result<Joined, ParseError> {
    // Each OBU gets a size of at most five bytes; most frames have one or two.
    out.reserve(payloads.clone().map(<[u8]>::len).sum::<usize>() + 32);
    let mut parts = Parts {
        payloads,
        head: 0,
        first: false,
        elements: Elements::new(0, &[]),
    };
    let mut facts = FrameFacts::default();
    let mut picture = false;
    let mut open: Option<Open> = None;
    while let Some(part) = parts.next() {
        let part = part?;
        if part.continues != open.is_some() {
            return Err(ParseError::Value);
        }
        if out.len() + part.bytes.len() > MAX_FRAME {
            return Err(ParseError::Value);
        }
        let mut obu = match open.take() {
            Some(obu) => obu,
            None if part.bytes.is_empty() && !part.continued => continue,
            None => begin(part, &parts, out)?,
        };
        if travels(obu.header) {
            // What of the header lies in this part was written already.
            let header = obu.header.len.saturating_sub(obu.taken).min(part.bytes.len());
            out.extend_from_slice(part.bytes.get(header..).unwrap_or_default());
        }
        obu.taken += part.bytes.len();
        if part.continued {
            open = Some(obu);
            continue;
        }
        finish(obu, out, &mut facts, &mut picture)?;
    }
    if open.is_some() {
        return Err(ParseError::Short);
    }
    Ok(Joined::appended(facts))
}

/// Writes header and size of an OBU that begins with `part`; what is behind it in `parts` tells its length.
fn begin<'a, I: Iterator<Item = &'a [u8]> + Clone>(
    part: Part<'a>,
    parts: &Parts<'a, I>,
    out: &mut Vec<u8>,
) -> Result<Open, ParseError> {
    let mut len = part.bytes.len();
    let mut first = [0; 2];
    let mut known = 0;
    let mut ahead = parts.clone();
    let mut next = part;
    loop {
        for byte in next.bytes.iter().take(2 - known) {
            first[known] = *byte;
            known += 1;
        }
        if !next.continued {
            break;
        }
        next = ahead.next().ok_or(ParseError::Short)??;
        if !next.continues {
            return Err(ParseError::Value);
        }
        len += next.bytes.len();
    }
    let header = ObuHeader::parse(&first[..known]).ok_or(ParseError::Short)?;
    let start = out.len();
    if travels(header) {
        // §5: an OBU should come without its size, but may have one; then it is kept as it is.
        out.push(header.bytes[0] | 2);
        out.extend_from_slice(&header.bytes[1..header.len]);
        if !header.has_size {
            let size = len.checked_sub(header.len).and_then(|size| u32::try_from(size).ok());
            let (bytes, len) = write_leb128(size.ok_or(ParseError::Short)?);
            out.extend_from_slice(&bytes[..len]);
        }
    }
    Ok(Open {
        start,
        header,
        taken: 0,
    })
}

/// Takes in what a whole OBU tells, and checks the size that it came with.
fn finish(obu: Open, out: &[u8], facts: &mut FrameFacts, picture: &mut bool) -> Result<(), ParseError> {
    let Open { start, header, .. } = obu;
    if !travels(header) {
        return Ok(());
    }
    let behind = out.get(start + header.len..).ok_or(ParseError::Short)?;
    let (size, payload) = leb128(behind).ok_or(ParseError::Short)?;
    if size != payload.len() {
        return Err(ParseError::Value);
    }
    match header.kind {
        SEQUENCE_HEADER => facts.resolution = SequenceHeader::parse(payload).map(|sequence| sequence.resolution),
        FRAME | FRAME_HEADER => {
            if !std::mem::replace(picture, true) {
                facts.temporal = header.temporal();
            }
            facts.spatial = facts.spatial.max(header.spatial());
        }
        _ => {}
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    /// The sequence header of Chromium's fake camera, 320x240.
    const SEQUENCE: [u8; 11] = [0x08, 0x00, 0x00, 0x00, 0x04, 0x3c, 0xff, 0xbc, 0x01, 0xa0, 0x08];

    fn join_all(payloads: &[Vec<u8>]) -> Result<(Vec<u8>, FrameFacts), ParseError> {
        let mut out = Vec::new();
        let joined = join(payloads.iter().map(|payload| &payload[..]), &mut out)?;
        Ok((out, joined.facts))
    }

    fn payloads(frame: &[u8], max: usize) -> Vec<Vec<u8>> {
        let mut cuts = Vec::new();
        Packetizer.packetize(frame, max, &mut cuts).unwrap();
        assert!(
            cuts.iter()
                .enumerate()
                .all(|(index, cut)| cut.marker == (index + 1 == cuts.len()))
        );
        let payload = |cut: &Cut| {
            let mut payload = Vec::new();
            cut.layout.write(frame, |part| payload.extend_from_slice(part));
            assert!(
                payload.len() == cut.layout.len() && payload.len() <= max,
                "{} {max}",
                payload.len()
            );
            payload
        };
        cuts.iter().map(payload).collect()
    }

    #[test]
    fn key_frames_are_recognised() {
        let key = |payload: &[u8]| depacketize(payload, false).is_ok_and(|piece| piece.key_frame);
        assert!(key(&[0x18, 0x0a]) && !key(&[0x10, 0x0a]) && !key(&[0x98, 0x0a]) && !key(&[]) && !key(&[0x18]));
        let sequence = [&[0x0a, 10][..], &SEQUENCE[1..]].concat();
        let picture = [&[0x12, 0][..], &sequence, &[0x32, 2, 0x10, 9]].concat();
        assert!(depacketize(&payloads(&picture, 1200)[0], true).unwrap().key_frame);
    }

    #[test]
    fn elements_with_and_without_their_count() {
        // W = 2 and W = 0: the same two OBUs; a temporal delimiter and an empty element between them are left out.
        let two = vec![0x20, 2, 0x20, 7, 0x30, 1, 2, 3];
        let all = vec![0x00, 2, 0x20, 7, 1, 0x10, 0, 4, 0x30, 1, 2, 3];
        let expected = [0x22, 1, 7, 0x32, 3, 1, 2, 3];
        assert_eq!(join_all(&[two]).unwrap().0, expected);
        assert_eq!(join_all(&[all]).unwrap().0, expected);
        // An OBU that comes with its size; and with one that is not its own.
        assert_eq!(join_all(&[vec![0x10, 0x32, 3, 1, 2, 3]]).unwrap().0, expected[3..]);
        assert_eq!(join_all(&[vec![0x10, 0x32, 4, 1, 2, 3]]), Err(ParseError::Value));
        // One cut between header and extension, in three.
        let cut = [vec![0x50, 0x34], vec![0xd0, 0x28, 1], vec![0x90, 2, 3]];
        let (bytes, facts) = join_all(&cut).unwrap();
        assert_eq!(bytes, [0x36, 0x28, 3, 1, 2, 3]);
        assert_eq!((facts.temporal, facts.spatial), (1, 1));
        assert_eq!(join_all(&cut[..2]), Err(ParseError::Short), "no end");
        assert_eq!(join_all(&cut[1..]), Err(ParseError::Value), "no beginning");
        assert_eq!(
            join_all(&[cut[0].clone(), vec![0x10, 0x30, 1]]),
            Err(ParseError::Value),
            "another begins"
        );
        assert_eq!(join_all(&[vec![0x20, 9, 1]]), Err(ParseError::Short));
    }

    fn frame(obus: &[(u8, Option<u8>, Vec<u8>)]) -> Vec<u8> {
        let mut frame = Vec::new();
        for (kind, extension, payload) in obus {
            frame.push(kind << 3 | u8::from(extension.is_some()) << 2 | 2);
            frame.extend(extension);
            let (bytes, len) = write_leb128(payload.len() as u32);
            frame.extend_from_slice(&bytes[..len]);
            frame.extend_from_slice(payload);
        }
        frame
    }

    proptest! {
        #[test]
        fn temporal_units_come_back(
            obus in vec((0u8..16, any::<Option<u8>>(), vec(any::<u8>(), 0..700)), 1..12),
            max in LEAST_PAYLOAD..1400,
        ) {
            let travels: Vec<_> = obus.iter().filter(|(kind, ..)| ![TEMPORAL_DELIMITER, TILE_LIST].contains(kind)).cloned().collect();
            prop_assume!(!travels.is_empty());
            let (bytes, _) = join_all(&payloads(&frame(&obus), max)).unwrap();
            prop_assert!(bytes == frame(&travels));
        }

        #[test]
        fn no_bytes_panic(a in vec(any::<u8>(), 0..60), b in vec(any::<u8>(), 0..60), marker: bool) {
            let _ = depacketize(&a, marker);
            let _ = Packetizer.packetize(&a, 20, &mut Vec::new());
            if let Ok((bytes, _)) = join_all(&[a, b]) {
                prop_assert!(obus(&bytes).all(|obu| obu.is_some_and(|(header, _)| header.has_size)));
            }
        }
    }
}
