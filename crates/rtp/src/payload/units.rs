//! Units (NAL units) of H.264, H.265 and H.266: how frames are made of them, and how payloads carry them. The three payload formats
//! are one, but for the header of a unit: a unit alone, several in one payload, or a part of one. What differs is a [`Family`].
//!
//! ```text
//! alone:    | unit header | unit payload |
//! several:  | header, type "aggregation" | length 16 | unit | length 16 | unit | ...
//! a part:   | header, type "fragment" | S|E|type | a part of the unit's payload |
//! ```
//!
//! A frame comes as a byte stream with start codes (ITU-T H.264 annex B) or with a length of four bytes before each unit
//! (ISO/IEC 14496-15). It goes out of [`join`] with start codes.

use std::ops::Range;

use memchr::memmem;

use super::facts::FrameFacts;
use super::layout::{Cut, Layout, MAX_SLICES, Piece, Slices, Start};
use super::parameter_sets::{ParameterSets, parameter};
use super::{FrameError, Joined, MAX_FRAME};
use crate::ParseError;
use crate::bitstream::Resolution;

/// What stands before each unit of a joined frame.
const START_CODE: [u8; 4] = [0, 0, 0, 1];
/// Most units of one frame: a picture in slices for small packets has dozens.
const MAX_UNITS: usize = 4096;

/// What a unit is to its frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Role {
    /// Whether a frame begins with it.
    pub(super) start: Start,
    /// Whether it shows that the frame can be decoded alone: a picture without prediction, or the parameter sets of one.
    pub(super) key: bool,
    /// Whether it is coded picture, not a description of it.
    pub(super) picture: bool,
    /// Which of the parameter sets it is, 0 to 2 in the order in which they are needed.
    pub(super) set: Option<u8>,
}

/// What differs between the payload formats.
pub(super) trait Family {
    /// Bytes of a unit's header, 1 or 2. A header is kept in two bytes, of which the second may be unused.
    const HEADER: usize;
    /// The type of a payload with several units.
    const AGGREGATION: u8;
    /// The type of a payload with a part of a unit.
    const FRAGMENT: u8;
    /// How many kinds of parameter sets there are.
    const SETS: u8;
    /// The parameters of `a=fmtp` that bring parameter sets.
    const DESCRIBED: &'static [&'static str];

    /// The type of a unit.
    fn kind(header: [u8; 2]) -> u8;
    /// A header with another type.
    fn with_kind(header: [u8; 2], kind: u8) -> [u8; 2];
    /// The header of a payload with units of these two headers.
    fn both(a: [u8; 2], b: [u8; 2]) -> [u8; 2];
    /// The type in the byte before a part, which has S and E in its upper bits.
    fn part_kind(byte: u8) -> u8;
    /// What a unit of this type is, whose payload begins with this byte.
    fn role(kind: u8, first: Option<u8>) -> Role;
    /// Whether a type cannot be read here, and why.
    fn refused(kind: u8) -> Option<ParseError>;
    /// Whether a unit may be one: tells lengths from start codes.
    fn plausible(header: [u8; 2]) -> bool;
    /// Takes in what the header of a unit of a picture tells.
    fn tell(header: [u8; 2], first: bool, facts: &mut FrameFacts);
    /// The identifier of a parameter set.
    fn set_id(set: u8, unit: &[u8]) -> Option<u32>;
    /// The picture's size, if a parameter set tells it.
    fn resolution(set: u8, unit: &[u8]) -> Option<Resolution>;
}

/// The header of a unit, if it is all there.
fn header<F: Family>(unit: &[u8]) -> Option<[u8; 2]> {
    match *unit {
        [first] if F::HEADER == 1 => Some([first, 0]),
        [first, second, ..] => Some([first, if F::HEADER == 1 { 0 } else { second }]),
        _ => None,
    }
}

/// What a whole unit is.
fn role<F: Family>(unit: &[u8]) -> Option<Role> {
    Some(F::role(F::kind(header::<F>(unit)?), unit.get(F::HEADER).copied()))
}

/// The units of a frame, where they lie in it.
#[derive(Clone, Debug)]
struct Units<'a> {
    frame: &'a [u8],
    /// What finds start codes.
    finder: memmem::Finder<'static>,
    /// Whether there are lengths instead of start codes.
    lengths: bool,
    /// Where the next unit begins, or its length; `None` behind the last.
    next: Option<usize>,
}

impl<'a> Units<'a> {
    fn new<F: Family>(frame: &'a [u8]) -> Result<Self, FrameError> {
        // The first three bytes of a length from 256 to 511 are a start code: who writes lengths is looked at first.
        let lengths = has_lengths::<F>(frame);
        let zeros = frame.iter().take_while(|byte| **byte == 0).count();
        if !lengths && (zeros < 2 || frame.get(zeros) != Some(&1)) {
            return Err(FrameError::Malformed);
        }
        Ok(Self {
            frame,
            finder: memmem::Finder::new(&[0, 0, 1]),
            lengths,
            next: Some(if lengths { 0 } else { zeros + 1 }),
        })
    }
}

impl Iterator for Units<'_> {
    type Item = Range<usize>;

    fn next(&mut self) -> Option<Range<usize>> {
        while let Some(start) = self.next.take() {
            let rest = self.frame.get(start..)?;
            if self.lengths {
                let len = u32::from_be_bytes(*rest.first_chunk::<4>()?) as usize;
                self.next = Some(start + 4 + len);
                return Some(start + 4..start + 4 + len);
            }
            let found = self.finder.find(rest);
            self.next = found.map(|at| start + at + 3);
            let unit = &rest[..found.unwrap_or(rest.len())];
            // Zeros behind a unit belong to the byte stream (annex B.2); no unit ends with one.
            let len = unit.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1);
            if len > 0 {
                return Some(start..start + len);
            }
        }
        None
    }
}

/// Whether lengths lead from the beginning of a frame to its end, each to a unit.
fn has_lengths<F: Family>(frame: &[u8]) -> bool {
    let mut rest = frame;
    while let Some((len, behind)) = rest.split_first_chunk::<4>() {
        let Some((unit, behind)) = behind.split_at_checked(u32::from_be_bytes(*len) as usize) else {
            return false;
        };
        if !header::<F>(unit).is_some_and(F::plausible) {
            return false;
        }
        rest = behind;
    }
    rest.is_empty() && !frame.is_empty()
}

/// Units that wait to go into one payload.
#[derive(Debug, Default)]
struct Group {
    units: [Range<usize>; MAX_SLICES],
    count: usize,
    /// The size of the payload with all of them, as an aggregation.
    size: usize,
    header: [u8; 2],
}

impl Group {
    fn add<F: Family>(&mut self, unit: &Range<usize>, header: [u8; 2], max: usize) -> bool {
        let size = if self.count == 0 { F::HEADER } else { self.size } + 2 + unit.len();
        let fits = self.count == 0 || size <= max && unit.len() <= 0xffff && self.count < MAX_SLICES;
        if fits {
            self.header = if self.count == 0 {
                header
            } else {
                F::both(self.header, header)
            };
            self.units[self.count] = unit.clone();
            self.count += 1;
            self.size = size;
        }
        fits
    }

    fn flush<F: Family>(&mut self, cuts: &mut Vec<Cut>) {
        let group = std::mem::take(self);
        let layout = match &group.units[..group.count] {
            [] => return,
            [unit] => Layout::slice(unit.clone()),
            units => {
                let mut layout = Layout::default();
                let outer = F::with_kind(group.header, F::AGGREGATION);
                for (index, unit) in units.iter().enumerate() {
                    let [high, low] = (unit.len() as u16).to_be_bytes();
                    match (index, F::HEADER) {
                        (0, 1) => layout.push(&[outer[0], high, low], unit.clone()),
                        (0, _) => layout.push(&[outer[0], outer[1], high, low], unit.clone()),
                        _ => layout.push(&[high, low], unit.clone()),
                    };
                }
                layout
            }
        };
        cuts.push(Cut { layout, marker: false });
    }
}

/// Cuts a frame into payloads of at most `max` bytes. `whole`: each payload is one unit, and none is cut.
pub(super) fn packetize<F: Family>(
    frame: &[u8],
    max: usize,
    whole: bool,
    cuts: &mut Vec<Cut>,
) -> Result<(), FrameError> {
    let room = max.checked_sub(F::HEADER + 1).filter(|room| *room > 0);
    let room = room.ok_or(FrameError::Size)?;
    let mut group = Group::default();
    for (index, unit) in Units::new::<F>(frame)?.enumerate() {
        let bytes = frame.get(unit.clone()).ok_or(FrameError::Malformed)?;
        let header = header::<F>(bytes).ok_or(FrameError::Malformed)?;
        if index == MAX_UNITS {
            return Err(FrameError::Malformed);
        }
        // The types by which payloads are told are no unit's, and decoders leave them out (ITU-T H.264 §7.4.1); a receiver would take
        // the unit for a part of another one.
        let kind = F::kind(header);
        if kind == F::AGGREGATION || kind == F::FRAGMENT || F::refused(kind).is_some() {
            continue;
        }
        if unit.len() <= max {
            if whole || !group.add::<F>(&unit, header, max) {
                group.flush::<F>(cuts);
                group.add::<F>(&unit, header, max);
            }
            continue;
        }
        if whole {
            return Err(FrameError::Size);
        }
        group.flush::<F>(cuts);
        let outer = F::with_kind(header, F::FRAGMENT);
        let start = unit.start + F::HEADER;
        let parts = Slices::new(unit.len() - F::HEADER, room);
        let count = parts.len();
        for (index, part) in parts.enumerate() {
            let bits = u8::from(index == 0) << 7 | u8::from(index + 1 == count) << 6;
            let range = start + part.start..start + part.end;
            let mut layout = Layout::default();
            match F::HEADER {
                1 => layout.push(&[outer[0], bits | kind], range),
                _ => layout.push(&[outer[0], outer[1], bits | kind], range),
            };
            cuts.push(Cut { layout, marker: false });
        }
    }
    group.flush::<F>(cuts);
    let last = cuts.last_mut().ok_or(FrameError::Malformed)?;
    last.marker = true;
    Ok(())
}

/// Whether a frame can be decoded alone.
pub(super) fn is_key_frame<F: Family>(frame: &[u8]) -> bool {
    let Ok(mut units) = Units::new::<F>(frame) else {
        return false;
    };
    units.any(|unit| frame.get(unit).and_then(role::<F>).is_some_and(|role| role.key))
}

/// How large the pictures are, by the parameter sets of a frame: the last that tells it.
pub(super) fn resolution<F: Family>(frame: &[u8]) -> Option<Resolution> {
    let units = Units::new::<F>(frame).ok()?;
    let told = units.filter_map(|unit| {
        let unit = frame.get(unit)?;
        F::resolution(role::<F>(unit)?.set?, unit)
    });
    told.last()
}

/// The units in an aggregation, behind its header.
#[derive(Clone, Debug)]
struct Aggregated<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Aggregated<'a> {
    type Item = Result<&'a [u8], ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let rest = std::mem::take(&mut self.rest);
        let split = rest.split_first_chunk::<2>().and_then(|(len, behind)| {
            let len = usize::from(u16::from_be_bytes(*len));
            behind.split_at_checked(len).filter(|_| len > 0)
        });
        let Some((unit, behind)) = split else {
            return Some(Err(ParseError::Short));
        };
        self.rest = behind;
        Some(Ok(unit))
    }
}

/// The parameter sets that a description brings by its `a=fmtp`.
pub(super) fn described<F: Family>(fmtp: &str) -> ParameterSets {
    let mut sets = ParameterSets::default();
    for list in F::DESCRIBED.iter().filter_map(|name| parameter(fmtp, name)) {
        sets.describe(list, |unit| {
            let set = role::<F>(unit)?.set?;
            Some((set, F::set_id(set, unit)?))
        });
    }
    sets
}

/// What a payload is to its frame.
pub(super) fn depacketize<F: Family>(payload: &[u8], marker: bool) -> Result<Piece, ParseError> {
    let outer = header::<F>(payload).ok_or(ParseError::Short)?;
    let kind = F::kind(outer);
    if let Some(error) = F::refused(kind) {
        return Err(error);
    }
    let body = payload.get(F::HEADER..).unwrap_or_default();
    let (start, key_frame) = if kind == F::AGGREGATION {
        let mut start = None;
        let mut key = false;
        for unit in (Aggregated { rest: body }) {
            let role = role::<F>(unit?).ok_or(ParseError::Short)?;
            start.get_or_insert(role.start);
            key |= role.key;
        }
        (start.ok_or(ParseError::Short)?, key)
    } else if kind == F::FRAGMENT {
        let (&bits, part) = body.split_first().ok_or(ParseError::Short)?;
        if bits & 0x80 == 0 {
            (Start::No, false)
        } else {
            let role = F::role(F::part_kind(bits), part.first().copied());
            (role.start, role.key)
        }
    } else {
        let role = F::role(kind, body.first().copied());
        (role.start, role.key)
    };
    Ok(Piece {
        start,
        end: marker,
        key_frame,
    })
}

/// A frame that is put together.
struct Frame<'a, F> {
    out: &'a mut Vec<u8>,
    sets: &'a mut ParameterSets,
    facts: FrameFacts,
    /// Where the unit that is written begins in `out`, and what it is.
    open: Option<(usize, Role)>,
    /// Whether units of a picture came.
    picture: bool,
    /// Which parameter sets the frame has, a bit each.
    seen: u8,
    family: std::marker::PhantomData<F>,
}

impl<F: Family> Frame<'_, F> {
    /// A unit begins.
    fn begin(&mut self, header: [u8; 2], first: Option<u8>) {
        self.finish();
        let role = F::role(F::kind(header), first);
        if role.picture {
            if role.key && !self.picture {
                // A picture that begins anew without its parameter sets: they came before, or by another way.
                for set in (0..F::SETS).filter(|set| self.seen >> set & 1 == 0) {
                    for unit in self.sets.of(set) {
                        self.facts.resolution = F::resolution(set, unit).or(self.facts.resolution);
                        self.out.extend_from_slice(&START_CODE);
                        self.out.extend_from_slice(unit);
                    }
                }
            }
            F::tell(header, !self.picture, &mut self.facts);
            self.picture = true;
        }
        self.out.extend_from_slice(&START_CODE);
        self.open = Some((self.out.len(), role));
        self.out.extend_from_slice(&header[..F::HEADER]);
    }

    /// More of the unit.
    fn put(&mut self, bytes: &[u8]) -> Result<(), ParseError> {
        if self.out.len() + bytes.len() > MAX_FRAME {
            return Err(ParseError::Value);
        }
        self.out.extend_from_slice(bytes);
        Ok(())
    }

    /// The unit is whole.
    fn finish(&mut self) {
        if let Some((start, Role { set: Some(set), .. })) = self.open.take()
            && let Some(unit) = self.out.get(start..)
        {
            self.seen |= 1 << set;
            self.facts.resolution = F::resolution(set, unit).or(self.facts.resolution);
            if let Some(id) = F::set_id(set, unit) {
                self.sets.remember(set, id, unit);
            }
        }
    }

    fn unit(&mut self, unit: &[u8]) -> Result<(), ParseError> {
        let header = header::<F>(unit).ok_or(ParseError::Short)?;
        let body = unit.get(F::HEADER..).unwrap_or_default();
        self.begin(header, body.first().copied());
        self.put(body)
    }

    fn payload(&mut self, payload: &[u8], inside: &mut bool) -> Result<(), ParseError> {
        let outer = header::<F>(payload).ok_or(ParseError::Short)?;
        let body = payload.get(F::HEADER..).unwrap_or_default();
        let kind = F::kind(outer);
        if let Some(error) = F::refused(kind) {
            return Err(error);
        }
        if kind == F::FRAGMENT {
            let (&bits, part) = body.split_first().ok_or(ParseError::Short)?;
            if bits & 0x80 != 0 {
                self.begin(F::with_kind(outer, F::part_kind(bits)), part.first().copied());
            } else if !*inside {
                return Err(ParseError::Value);
            }
            // The end of a unit is where E says, or, as some forget it, where the next one begins.
            *inside = bits & 0x40 == 0;
            return self.put(part);
        }
        *inside = false;
        if kind == F::AGGREGATION {
            return (Aggregated { rest: body }).try_for_each(|unit| self.unit(unit?));
        }
        self.unit(payload)
    }
}

/// Appends the units of a frame's payloads to `out`, with start codes, and before a key frame the parameter sets that it lacks.
pub(super) fn join<'a, F: Family>(
    payloads: impl Iterator<Item = &'a [u8]> + Clone,
    sets: &mut ParameterSets,
    out: &mut Vec<u8>,
) -> Result<Joined, ParseError> {
    // A start code is two bytes longer than a length; few frames have more than a dozen units.
    out.reserve(payloads.clone().map(|payload| payload.len() + 2).sum::<usize>() + 32);
    let mut frame = Frame::<F> {
        out,
        sets,
        facts: FrameFacts::default(),
        open: None,
        picture: false,
        seen: 0,
        family: std::marker::PhantomData,
    };
    let mut inside = false;
    for payload in payloads {
        frame.payload(payload, &mut inside)?;
    }
    frame.finish();
    Ok(Joined::appended(frame.facts))
}
