//! Finds the packets of one stream that were lost, as soon as a repair packet and all others that it protects are there.

use std::collections::VecDeque;

use super::hop;
use super::parity::Parity;
use super::repair::{Protected, Repair};
use crate::extension::Map;
use crate::packet::{HEADER_LEN, Packet};

/// How many sequence numbers of a stream are held: twice what any mask spans, and more than two seconds of a slow stream.
pub const WINDOW: u64 = 256;
/// Most repair packets that wait for packets. The oldest makes room.
pub const MAX_REPAIRS: usize = 64;
/// The largest packet that is held, in bytes: more than a path carries.
pub const MAX_PACKET: usize = 2048;

/// What a [`Recoverer`] has counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets that were recovered.
    pub recovered: u64,
    /// Repair packets that came.
    pub repairs: u64,
    /// Repair packets of no use: all packets that they protect had come, or been recovered by another.
    pub unneeded: u64,
    /// Repair packets given up: what they protect lies too far behind or ahead, or others took their place.
    pub expired: u64,
    /// Repair packets that protect another stream.
    pub foreign: u64,
    /// Repair packets that made no valid packet, or were too large to be held.
    pub malformed: u64,
}

/// A packet that came or was recovered. Its memory is used again.
#[derive(Clone, Debug, Default)]
struct Slot {
    /// Its number in full; `None` before the first packet.
    sequence: Option<u64>,
    bytes: Vec<u8>,
}

/// A repair packet that waits.
#[derive(Clone, Debug, Default)]
struct Waiting {
    /// The number in full from which the offsets count.
    base: u64,
    protected: Option<Protected>,
    parity: Parity,
    /// How many of the protected packets are not there. Those that were there and left the window are not counted.
    missing: u32,
}

impl Waiting {
    fn sequences(&self) -> impl Iterator<Item = u64> + use<> {
        let base = self.base;
        let offsets = self.protected.into_iter().flat_map(|protected| protected.offsets());
        offsets.map(move |offset| base + u64::from(offset))
    }

    fn covers(&self, sequence: u64) -> bool {
        let offset = sequence.checked_sub(self.base);
        offset
            .zip(self.protected)
            .is_some_and(|(offset, protected)| protected.covers(offset))
    }

    fn last(&self) -> u64 {
        self.base + self.protected.map_or(0, |protected| u64::from(protected.span()))
    }
}

/// The packets of one stream, and the repair packets that wait for some of them. Its memory is bounded by [`WINDOW`],
/// [`MAX_REPAIRS`] and [`MAX_PACKET`], and is not allocated before the first packet.
///
/// ```
/// use antiphon_rtp::extension::Map;
/// use antiphon_rtp::fec::{Encoder, Format, Plan, Recoverer};
/// use antiphon_sansio::Writer;
///
/// let map = Map::default();
/// let packet = |sequence: u8| [0x80, 96, 0, sequence, 0, 0, 0, 9, 0, 0, 0, 7, b'a', sequence];
/// let mut encoder = Encoder::new(Format::FlexFec03, 7, Plan::new(3, 1));
/// let mut recoverer = Recoverer::new(7);
/// for sequence in 0..3 {
///     encoder.protect(&packet(sequence), &map);
///     if sequence != 1 {
///         recoverer.insert(&[&packet(sequence)], &map);
///     }
/// }
/// let mut buffer = [0; 100];
/// let mut out = Writer::new(&mut buffer);
/// assert!(encoder.write(&mut out));
/// recoverer.insert_repair(&Format::FlexFec03.parse(out.finish())?);
/// assert_eq!(recoverer.poll(), Some(&packet(1)[..]));
/// # Ok::<(), antiphon_rtp::ParseError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Recoverer {
    ssrc: u32,
    /// By number modulo [`WINDOW`]; empty before the first packet.
    slots: Vec<Slot>,
    /// The largest packet so far, in bytes: each slot gets room for it when its turn comes, and none grows after that.
    largest: usize,
    newest: Option<u64>,
    waiting: VecDeque<Waiting>,
    /// Used again by the next repair packet.
    spare: Vec<Waiting>,
    stats: Stats,
}

impl Recoverer {
    /// The recovery of the stream `ssrc`.
    pub fn new(ssrc: u32) -> Self {
        Self {
            ssrc,
            slots: Vec::new(),
            largest: 0,
            newest: None,
            waiting: VecDeque::new(),
            spare: Vec::new(),
            stats: Stats::default(),
        }
    }

    /// What was counted so far.
    pub fn stats(&self) -> Stats {
        self.stats
    }

    /// Forgets all packets: the stream begins anew with other numbers.
    pub fn restart(&mut self) {
        self.newest = None;
        for slot in &mut self.slots {
            slot.sequence = None;
        }
        while let Some(waiting) = self.waiting.pop_front() {
            self.spare.push(waiting);
            self.stats.expired += 1;
        }
    }

    /// Holds a packet of the stream, which is given in parts: as it was protected. One that is too large, is no RTP packet, or
    /// is further behind than [`WINDOW`] is not held. `map` says which of its extensions are counted as zeros.
    pub fn insert(&mut self, parts: &[&[u8]], map: &Map) {
        let len: usize = parts.iter().map(|part| part.len()).sum();
        let mut bytes = parts.iter().flat_map(|part| part.iter());
        let number = (bytes.nth(2).copied(), bytes.next().copied());
        let (Some(high), Some(low)) = number else { return };
        if !(HEADER_LEN..=MAX_PACKET).contains(&len) {
            return;
        }
        let sequence = self.extend(u16::from_be_bytes([high, low]));
        if self.newest.is_some_and(|newest| sequence + WINDOW <= newest) || self.holds(sequence) {
            return;
        }
        self.largest = self.largest.max(len);
        let slot = self.take_slot(sequence);
        for part in parts {
            slot.extend_from_slice(part);
        }
        zero_hop(slot, map);
        self.note(sequence);
    }

    /// Takes a repair packet in. What it recovers is told by [`Self::poll`].
    pub fn insert_repair(&mut self, repair: &Repair<'_>) {
        self.stats.repairs += 1;
        if repair.ssrc.is_some_and(|ssrc| ssrc != self.ssrc) {
            self.stats.foreign += 1;
            return;
        }
        if repair.body.len() > MAX_PACKET || repair.protected.is_empty() {
            self.stats.malformed += 1;
            return;
        }
        let base = self.extend(repair.protected.base());
        self.expire();
        let last = base + u64::from(repair.protected.span());
        let near = |newest: u64| base + WINDOW > newest && last < newest + WINDOW;
        if !self.newest.is_none_or(near) || last - base >= WINDOW {
            self.stats.expired += 1;
            return;
        }
        let mut waiting = self.spare.pop().unwrap_or_default();
        waiting.base = base;
        waiting.protected = Some(repair.protected);
        waiting.missing = waiting.sequences().filter(|sequence| !self.holds(*sequence)).count() as u32;
        if waiting.missing == 0 {
            self.stats.unneeded += 1;
            self.spare.push(waiting);
            return;
        }
        waiting.parity.set(repair.sums, repair.body);
        if self.waiting.len() >= MAX_REPAIRS
            && let Some(oldest) = self.waiting.pop_front()
        {
            self.stats.expired += 1;
            self.spare.push(oldest);
        }
        self.waiting.push_back(waiting);
    }

    /// The next packet that can be recovered, whole, with extensions of the hop as zeros. It counts as held: ask again until
    /// there is none, since one may help to recover another.
    pub fn poll(&mut self) -> Option<&[u8]> {
        let sequence = loop {
            let ready = self.waiting.iter().position(|waiting| waiting.missing <= 1)?;
            let mut waiting = self.waiting.remove(ready)?;
            let recovered = self.recover(&mut waiting);
            self.spare.push(waiting);
            if let Some(sequence) = recovered {
                break sequence;
            }
        };
        let slot = &self.slots[index(sequence)];
        Some(&slot.bytes)
    }

    /// Recovers the one packet that a repair packet misses, and holds it.
    fn recover(&mut self, waiting: &mut Waiting) -> Option<u64> {
        let mut missing = None;
        for sequence in waiting.sequences() {
            if self.holds(sequence) {
                let slot = self.slots.get(index(sequence))?;
                waiting.parity.cancel(&slot.bytes);
            } else if missing.replace(sequence).is_some() {
                // Another was there once, and has left the window.
                self.stats.expired += 1;
                return None;
            }
        }
        let Some(sequence) = missing else {
            self.stats.unneeded += 1;
            return None;
        };
        if self.newest.is_some_and(|newest| sequence + WINDOW <= newest) {
            self.stats.expired += 1;
            return None;
        }
        let ssrc = self.ssrc;
        let slot = self.take_slot(sequence);
        let fits = waiting.parity.write_packet(sequence as u16, ssrc, slot);
        if !fits || Packet::parse(slot).is_err() {
            self.slots[index(sequence)].sequence = None;
            self.stats.malformed += 1;
            return None;
        }
        self.stats.recovered += 1;
        self.note(sequence);
        Some(sequence)
    }

    /// A packet is held: repair packets that waited for it miss one less.
    fn note(&mut self, sequence: u64) {
        self.newest = self.newest.max(Some(sequence));
        for waiting in &mut self.waiting {
            if waiting.covers(sequence) {
                waiting.missing = waiting.missing.saturating_sub(1);
            }
        }
    }

    /// Gives up repair packets of which nothing lies in the window.
    fn expire(&mut self) {
        let Some(newest) = self.newest else { return };
        while let Some(first) = self.waiting.front()
            && first.last() + WINDOW <= newest
            && let Some(first) = self.waiting.pop_front()
        {
            self.stats.expired += 1;
            self.spare.push(first);
        }
    }

    fn holds(&self, sequence: u64) -> bool {
        let slot = self.slots.get(index(sequence));
        slot.is_some_and(|slot| slot.sequence == Some(sequence))
    }

    /// The memory of a packet of this number, empty, and from now on its own.
    fn take_slot(&mut self, sequence: u64) -> &mut Vec<u8> {
        if self.slots.is_empty() {
            self.slots = vec![Slot::default(); WINDOW as usize];
        }
        let slot = &mut self.slots[index(sequence)];
        slot.sequence = Some(sequence);
        slot.bytes.clear();
        slot.bytes.reserve_exact(self.largest);
        &mut slot.bytes
    }

    /// The number in full that is nearest to the newest one. The first begins a cycle up, to leave room behind it.
    fn extend(&self, sequence: u16) -> u64 {
        let Some(newest) = self.newest else {
            return 0x1_0000 + u64::from(sequence);
        };
        let ahead = sequence.wrapping_sub(newest as u16) as i16;
        newest
            .checked_add_signed(i64::from(ahead))
            .unwrap_or(u64::from(sequence))
    }
}

fn index(sequence: u64) -> usize {
    (sequence % WINDOW) as usize
}

fn zero_hop(packet: &mut [u8], map: &Map) {
    // At most four such extensions stand in a packet that we or a browser wrote; of more, the rest stays as it is.
    let mut parts = [const { 0..0 }; 4];
    for (place, part) in parts.iter_mut().zip(hop::parts(packet, map)) {
        *place = part;
    }
    for part in parts {
        if let Some(bytes) = packet.get_mut(part) {
            bytes.fill(0);
        }
    }
}
