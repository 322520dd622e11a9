//! The packets of one outgoing stream, from the queue to the last retransmission.

use std::sync::Arc;
use std::time::Duration;

use antiphon_rtp::extension::Carried;
use antiphon_rtp::payload::Layout;
use bytes::Bytes;

use crate::event::Contributors;

/// The number of a slot that holds no packet.
const VACANT: u64 = u64::MAX;

/// What the header of a packet says of it alone.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Head {
    pub(crate) timestamp: u32,
    pub(crate) payload_type: u8,
    pub(crate) marker: bool,
}

/// What a packet has besides [`Head`] and a payload that is the whole of its bytes. Most that are forwarded have nothing.
#[derive(Clone, Debug, Default)]
pub(crate) struct Detail {
    /// How its payload is made of slices of the frame and bytes of the payload format.
    pub(crate) layout: Layout,
    pub(crate) extensions: Carried,
    pub(crate) contributors: Option<Arc<Contributors>>,
    /// How many payloads before it it repeats, if it goes in RED (RFC 2198).
    pub(crate) red: Option<u8>,
}

/// Microseconds since the session began. They begin anew after 71 minutes, and only seconds are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ticks(pub(crate) u32);

impl Ticks {
    /// How much later `self` is than `earlier`.
    #[inline]
    pub(crate) fn since(self, earlier: Self) -> Duration {
        Duration::from_micros(u64::from(self.0.wrapping_sub(earlier.0)))
    }
}

/// One packet of an outgoing stream, before its header is written: one line of the processor's cache, for there are as many as
/// seconds ask for, and each is cold when its turn comes.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub(crate) struct Slot {
    /// Its number, to tell it from one that had the slot before.
    sequence: u64,
    /// The payload, or the frame that it is cut from.
    frame: Bytes,
    timestamp: u32,
    /// When it was queued, and once it was sent, when it left first.
    since: Ticks,
    /// When it was sent last, if it was.
    sent: Ticks,
    /// What its header said when it was sent first. A repeat on the same SSRC must be the same bytes: under AES-GCM the
    /// same nonce over other bytes would give the authentication key away.
    pub(crate) abs_send_time: u32,
    pub(crate) transport_sequence: u16,
    payload_type: u8,
    marker: bool,
    /// How often it was sent.
    sendings: u8,
    /// How many times it waits to be sent again.
    pub(crate) resending: u8,
    /// Has a [`Detail`].
    is_detailed: bool,
}

impl Slot {
    fn vacant() -> Self {
        Self {
            sequence: VACANT,
            frame: Bytes::new(),
            timestamp: 0,
            since: Ticks::default(),
            sent: Ticks::default(),
            abs_send_time: 0,
            transport_sequence: 0,
            payload_type: 0,
            marker: false,
            sendings: 0,
            resending: 0,
            is_detailed: false,
        }
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.sequence
    }

    #[inline]
    pub(crate) fn head(&self) -> Head {
        Head {
            timestamp: self.timestamp,
            payload_type: self.payload_type,
            marker: self.marker,
        }
    }

    /// The payload, if it is one piece and the header says nothing besides [`Head`].
    #[inline]
    pub(crate) fn plain(&self) -> Option<&Bytes> {
        (!self.is_detailed).then_some(&self.frame)
    }

    /// Its last sending was nobody's wish: it does not count against who asks for it.
    pub(crate) fn uncount(&mut self) {
        self.sendings = self.sendings.saturating_sub(1).max(1);
    }

    /// How often it was sent.
    #[inline]
    pub(crate) fn sendings(&self) -> u8 {
        self.sendings
    }

    /// When it was sent last.
    #[inline]
    pub(crate) fn sent(&self) -> Option<Ticks> {
        (self.sendings > 0).then_some(self.sent)
    }

    /// It leaves. Returns how long it has waited.
    #[inline]
    pub(crate) fn leaves(&mut self, now: Ticks) -> Duration {
        self.sent = now;
        self.sendings = self.sendings.saturating_add(1);
        let waited = now.since(self.since);
        if self.sendings == 1 {
            self.since = now;
        }
        waited
    }
}

/// Slots of a stream that has just begun to send.
const FIRST_SLOTS: usize = 64;
/// A packet that was sent so long ago makes room for another, ...
const KEPT: Duration = Duration::from_secs(1);
/// ... on long paths one that was sent so many round trips ago, ...
const KEPT_ROUNDS: u32 = 3;
/// ... and nobody gets one that is so many times older, though it be there.
const STALE: u32 = 3;

/// The packets of one outgoing stream: those that wait for the pacer, and behind them those that a NACK may ask for.
/// Slots are indexed by sequence number. There are as many as are needed to keep each packet for a second or three round trips, up to a
/// capacity; then the newest packet takes the place of the oldest.
#[derive(Debug)]
pub(crate) struct Ring {
    /// A power of two.
    slots: Box<[Slot]>,
    /// Of the packets that have them, at the same places. Empty until one does.
    details: Box<[Detail]>,
    capacity: u32,
    /// How long what was sent is kept at least.
    kept: Duration,
    /// The next number to give out.
    next: u64,
    /// The next number to send.
    unsent: u64,
    queued_bytes: usize,
    /// Packets that wait to be sent: numbers in between may be empty.
    waiting: u32,
}

impl Ring {
    /// `capacity` is a power of two, of at least 64. The first slots are allocated when the first packet comes.
    pub(crate) fn new(capacity: usize, first: u64) -> Self {
        assert!(capacity.is_power_of_two() && capacity >= FIRST_SLOTS);
        Self {
            slots: Box::default(),
            details: Box::default(),
            capacity: capacity as u32,
            kept: KEPT,
            next: first,
            unsent: first,
            queued_bytes: 0,
            waiting: 0,
        }
    }

    #[inline]
    fn index(&self, sequence: u64) -> usize {
        sequence as usize & self.slots.len().wrapping_sub(1)
    }

    /// Makes room for a packet of this number. What waits, or may still be asked for, is not overwritten while there may be more
    /// slots.
    #[inline]
    fn make_room(&mut self, now: Ticks, sequence: u64) {
        while self.slots.len() < self.capacity as usize {
            let taken = |slot: &Slot| slot.sequence >= self.unsent || now.since(slot.since) < self.kept;
            let fits = sequence - self.unsent < self.slots.len() as u64;
            let place = self.slots.get(self.index(sequence));
            if fits && place.is_some_and(|slot| slot.sequence == VACANT || !taken(slot)) {
                return;
            }
            self.grow();
        }
    }

    #[cold]
    fn grow(&mut self) {
        let before = self.slots.len();
        let len = (2 * before).max(FIRST_SLOTS);
        self.slots = widened(std::mem::take(&mut self.slots), len, Slot::vacant);
        if !self.details.is_empty() {
            self.details = widened(std::mem::take(&mut self.details), len, Detail::default);
        }
        // Each stays where it was, or goes as far behind the middle.
        for place in 0..before {
            let Slot {
                sequence, is_detailed, ..
            } = self.slots[place];
            let index = self.index(sequence);
            if sequence == VACANT || index == place {
                continue;
            }
            self.slots.swap(place, index);
            if is_detailed {
                self.details.swap(place, index);
            }
        }
    }

    /// The number that the next packet gets.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// How many more packets may be queued before the pacer sends some.
    pub(crate) fn room(&self) -> usize {
        self.capacity as usize - (self.next - self.unsent) as usize
    }

    /// Bytes that wait to be sent.
    pub(crate) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    /// Whether packets wait to be sent.
    #[inline]
    pub(crate) fn is_waiting(&self) -> bool {
        self.waiting > 0
    }

    /// Queues a packet under its number, which is `next` or greater; numbers in between stay empty. The caller saw to the
    /// room.
    #[inline]
    pub(crate) fn push(&mut self, now: Ticks, sequence: u64, head: Head, frame: Bytes, detail: Option<Detail>) {
        debug_assert!(sequence >= self.next && sequence - self.unsent < u64::from(self.capacity));
        self.make_room(now, sequence);
        for skipped in self.next..sequence {
            self.vacate(skipped);
        }
        self.next = sequence + 1;
        self.put(now, sequence, head, frame, detail);
    }

    /// Puts a late packet in its place, if that is still held and empty. Returns whether it is.
    pub(crate) fn fill(&mut self, now: Ticks, sequence: u64, head: Head, frame: Bytes, detail: Option<Detail>) -> bool {
        let held = self.next.saturating_sub(self.slots.len() as u64)..self.next;
        let free = held.contains(&sequence) && self.get(sequence).is_none();
        if free {
            self.put(now, sequence, head, frame, detail);
        }
        free
    }

    #[inline]
    fn put(&mut self, now: Ticks, sequence: u64, head: Head, frame: Bytes, detail: Option<Detail>) {
        let index = self.index(sequence);
        let slot = &mut self.slots[index];
        let had_detail = std::mem::replace(&mut slot.is_detailed, detail.is_some());
        let len = detail.as_ref().map_or(frame.len(), |detail| detail.layout.len());
        slot.sequence = sequence;
        slot.frame = frame;
        slot.timestamp = head.timestamp;
        slot.payload_type = head.payload_type;
        slot.marker = head.marker;
        slot.since = now;
        slot.sendings = 0;
        slot.resending = 0;
        if sequence >= self.unsent {
            self.queued_bytes += len;
            self.waiting += 1;
        }
        if had_detail || detail.is_some() {
            self.set_detail(index, detail);
        }
    }

    /// What is behind a place that has a detail, or had one.
    fn set_detail(&mut self, index: usize, detail: Option<Detail>) {
        if self.details.is_empty() {
            self.details = vec![Detail::default(); self.slots.len()].into();
        }
        if let Some(place) = self.details.get_mut(index) {
            *place = detail.unwrap_or_default();
        }
    }

    /// Lets go of a packet.
    fn vacate(&mut self, sequence: u64) {
        let index = self.index(sequence);
        if let Some(slot) = self.slots.get_mut(index) {
            slot.sequence = VACANT;
            slot.frame = Bytes::new();
            if std::mem::take(&mut slot.is_detailed) {
                self.set_detail(index, None);
            }
        }
    }

    /// Takes the first waiting packet as sent, and tells its number; it stays in the ring.
    #[inline]
    pub(crate) fn advance(&mut self) -> Option<u64> {
        if self.waiting == 0 {
            return None;
        }
        let slot = (self.unsent..self.next).find_map(|sequence| self.get(sequence))?;
        let (sequence, len) = (slot.sequence, self.len_of(slot));
        self.unsent = sequence + 1;
        self.queued_bytes -= len;
        self.waiting -= 1;
        Some(sequence)
    }

    /// Gives out a number for a packet that is kept elsewhere. The caller saw to the room.
    pub(crate) fn skip(&mut self) -> u64 {
        self.next += 1;
        self.next - 1
    }

    /// A packet that is kept elsewhere has left, as [`Self::has_left`] allowed.
    pub(crate) fn pass(&mut self, sequence: u64) {
        self.unsent = self.unsent.max(sequence + 1).min(self.next);
    }

    /// Whether nothing waits whose number is below this one.
    pub(crate) fn has_left(&self, sequence: u64) -> bool {
        (self.unsent..sequence.min(self.next)).all(|sequence| self.get(sequence).is_none())
    }

    /// Whether every number that was given out has left.
    pub(crate) fn is_empty(&self) -> bool {
        self.unsent == self.next
    }

    /// The number of the packet that was sent last.
    pub(crate) fn newest_sent(&self) -> Option<u64> {
        self.unsent.checked_sub(1)
    }

    /// Whether the packet of this number has left the queue.
    pub(crate) fn is_sent(&self, sequence: u64) -> bool {
        sequence < self.unsent
    }

    /// The round trip is known better.
    pub(crate) fn set_rtt(&mut self, rtt: Duration) {
        self.kept = (rtt * KEPT_ROUNDS).max(KEPT);
    }

    /// Whether a packet left so long ago that who asks for it now cannot use it.
    pub(crate) fn is_stale(&self, now: Ticks, slot: &Slot) -> bool {
        now.since(slot.since) > self.kept * STALE
    }

    /// The packet of this number.
    #[inline]
    pub(crate) fn get(&self, sequence: u64) -> Option<&Slot> {
        let slot = self.slots.get(self.index(sequence))?;
        (slot.sequence == sequence).then_some(slot)
    }

    /// The packet of this number, to be changed.
    #[inline]
    pub(crate) fn get_mut(&mut self, sequence: u64) -> Option<&mut Slot> {
        let index = self.index(sequence);
        let slot = self.slots.get_mut(index)?;
        (slot.sequence == sequence).then_some(slot)
    }

    fn detail(&self, slot: &Slot) -> Option<&Detail> {
        let detail = self.details.get(self.index(slot.sequence));
        detail.filter(|_| slot.is_detailed)
    }

    /// Bytes of a packet's payload.
    #[inline]
    pub(crate) fn len_of(&self, slot: &Slot) -> usize {
        match slot.plain() {
            Some(payload) => payload.len(),
            None => self.detail(slot).map_or(0, |detail| detail.layout.len()),
        }
    }

    /// What the header of a packet says besides [`Head`].
    pub(crate) fn extras(&self, slot: &Slot) -> Option<(&Carried, Option<&Contributors>)> {
        let detail = self.detail(slot)?;
        Some((&detail.extensions, detail.contributors.as_deref()))
    }

    /// How many payloads before it a packet repeats, if it goes in RED.
    pub(crate) fn red(&self, slot: &Slot) -> Option<u8> {
        self.detail(slot)?.red
    }

    /// Notes how many it has repeated.
    pub(crate) fn set_red(&mut self, sequence: u64, blocks: Option<u8>) {
        let index = self.index(sequence);
        let held = self.get(sequence).is_some_and(|slot| slot.is_detailed);
        if held && let Some(detail) = self.details.get_mut(index) {
            detail.red = blocks;
        }
    }

    /// Calls `put` with the payload of a packet, piece by piece and in order.
    pub(crate) fn write_payload(&self, slot: &Slot, mut put: impl FnMut(&[u8])) {
        match self.detail(slot) {
            Some(detail) => detail.layout.write(&slot.frame, put),
            None => put(&slot.frame),
        }
    }

    /// The number in full of a 16-bit one that the peer names: the newest that was sent and ends in these bits.
    pub(crate) fn extend(&self, sequence: u16) -> Option<u64> {
        let newest = self.unsent.checked_sub(1)?;
        newest.checked_sub(u64::from((newest as u16).wrapping_sub(sequence)))
    }

    /// Forgets everything that was sent.
    pub(crate) fn forget_sent(&mut self) {
        for index in 0..self.slots.len() {
            let sequence = self.slots[index].sequence;
            if sequence < self.unsent {
                self.vacate(sequence);
            }
        }
    }

    /// Gives up everything that waits.
    pub(crate) fn drop_unsent(&mut self) {
        for sequence in self.unsent..self.next {
            self.vacate(sequence);
        }
        // The numbers were never on the wire: give them out again.
        self.next = self.unsent;
        self.queued_bytes = 0;
        self.waiting = 0;
    }
}

/// The same list with room for `len`.
fn widened<T>(list: Box<[T]>, len: usize, vacant: fn() -> T) -> Box<[T]> {
    let mut list = list.into_vec();
    list.reserve_exact(len - list.len());
    list.resize_with(len, vacant);
    list.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(ring: &mut Ring, millis: u64) -> u64 {
        let sequence = ring.next();
        let frame = Bytes::from_static(b"frame");
        // Every third has a detail.
        let detail = sequence.is_multiple_of(3).then(|| Detail {
            layout: Layout::slice(1..4),
            ..Detail::default()
        });
        let now = Ticks((millis * 1000) as u32);
        ring.push(now, sequence, Head::default(), frame, detail);
        sequence
    }

    #[test]
    fn a_slow_stream_needs_few_slots_and_a_fast_one_keeps_as_much_as_there_is_room_for() {
        for (every, slots, kept) in [(100, 64, 64), (10, 128, 128), (1, 1024, 1024)] {
            let mut ring = Ring::new(1024, 7);
            let mut last = 0;
            for n in 0..5000 {
                last = push(&mut ring, n * every);
                assert_eq!(ring.advance(), Some(last));
            }
            assert_eq!(ring.slots.len(), slots);
            let held = (0..=last).filter(|sequence| ring.get(*sequence).is_some());
            assert_eq!(held.count(), kept);
        }
    }

    #[test]
    fn what_waits_is_never_overwritten() {
        let mut ring = Ring::new(1024, 0);
        for n in 0..1024 {
            assert_eq!(ring.room(), 1024 - n);
            // As if each had waited for hours.
            push(&mut ring, n as u64 * 3_600_000);
        }
        assert_eq!(ring.room(), 0);
        for n in 0..1024 {
            assert_eq!(ring.advance(), Some(n));
        }
        assert_eq!((ring.advance(), ring.queued_bytes()), (None, 0));
    }

    #[test]
    fn each_packet_keeps_its_own_payload_whatever_had_its_place() {
        let mut ring = Ring::new(64, 0);
        for _ in 0..500 {
            let sequence = push(&mut ring, 0);
            assert_eq!(ring.advance(), Some(sequence));
            let oldest = sequence.saturating_sub(63);
            for held in oldest..=sequence {
                let slot = ring.get(held).unwrap();
                let mut payload = Vec::new();
                ring.write_payload(slot, |piece| payload.extend_from_slice(piece));
                let expected: &[u8] = if held.is_multiple_of(3) { b"ram" } else { b"frame" };
                assert_eq!((payload.as_slice(), ring.len_of(slot)), (expected, expected.len()));
            }
        }
    }

    #[test]
    fn a_slot_is_one_line_of_the_cache() {
        assert_eq!(size_of::<Slot>(), 64);
    }
}
