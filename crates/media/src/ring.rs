//! The packets of one outgoing stream, from the queue to the last retransmission.

use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_rtp::extension::Carried;
use antiphon_rtp::payload::Layout;
use bytes::Bytes;

use crate::event::Contributors;

/// The number of a slot that holds no packet.
const VACANT: u64 = u64::MAX;

/// One packet of an outgoing stream, before its header is written.
#[derive(Clone, Debug)]
pub(crate) struct Slot {
    /// Its number, to tell it from one that had the slot before.
    pub(crate) sequence: u64,
    pub(crate) timestamp: u32,
    pub(crate) payload_type: u8,
    pub(crate) marker: bool,
    /// The frame that it is a part of, or the payload that is forwarded.
    pub(crate) frame: Bytes,
    /// How its payload is made of slices of the frame and bytes of the payload format.
    pub(crate) layout: Layout,
    pub(crate) extensions: Carried,
    pub(crate) contributors: Option<Arc<Contributors>>,
    pub(crate) queued: Instant,
    /// When it was sent last.
    pub(crate) sent: Option<Instant>,
    /// What its header said when it was sent first. A repeat on the same SSRC must be the same bytes: under AES-GCM the
    /// same nonce over other bytes would give the authentication key away.
    pub(crate) transport_sequence: u16,
    pub(crate) abs_send_time: u32,
    pub(crate) resends: u8,
    /// How many payloads before it it repeats, if it goes in RED (RFC 2198).
    pub(crate) red: Option<u8>,
    /// Waits to be sent again.
    pub(crate) resending: bool,
}

impl Slot {
    fn vacant(now: Instant) -> Self {
        Self {
            sequence: VACANT,
            timestamp: 0,
            payload_type: 0,
            marker: false,
            frame: Bytes::new(),
            layout: Layout::default(),
            extensions: Carried::default(),
            contributors: None,
            queued: now,
            sent: None,
            transport_sequence: 0,
            abs_send_time: 0,
            resends: 0,
            red: None,
            resending: false,
        }
    }

    /// Lets go of its packet.
    fn vacate(&mut self) {
        self.sequence = VACANT;
        self.frame = Bytes::new();
        self.extensions = Carried::default();
        self.contributors = None;
    }

    pub(crate) fn len(&self) -> usize {
        self.layout.len()
    }
}

/// Slots of a stream that has just begun to send.
const FIRST_SLOTS: usize = 64;
/// A packet that was queued this long ago makes room for another: nobody asks for it any more.
const KEPT: Duration = Duration::from_secs(2);

/// The packets of one outgoing stream: those that wait for the pacer, and behind them those that a NACK may ask for.
/// Slots are indexed by sequence number. There are as many as [`KEPT`] needs, up to a capacity; then the newest packet takes the
/// place of the oldest.
#[derive(Debug)]
pub(crate) struct Ring {
    /// A power of two.
    slots: Vec<Slot>,
    capacity: usize,
    /// The next number to give out.
    next: u64,
    /// The next number to send.
    unsent: u64,
    queued_bytes: usize,
    /// Packets that wait to be sent: numbers in between may be empty.
    waiting: usize,
}

impl Ring {
    /// `capacity` is a power of two, of at least 64. The first slots are allocated when the first packet comes.
    pub(crate) fn new(capacity: usize, first: u64) -> Self {
        assert!(capacity.is_power_of_two() && capacity >= FIRST_SLOTS);
        Self {
            slots: Vec::new(),
            capacity,
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
    fn make_room(&mut self, now: Instant, sequence: u64) {
        while self.slots.len() < self.capacity {
            let taken = |slot: &Slot| slot.sequence >= self.unsent || now.saturating_duration_since(slot.queued) < KEPT;
            let fits = sequence - self.unsent < self.slots.len() as u64;
            let place = self.slots.get(self.index(sequence));
            if fits && place.is_some_and(|slot| slot.sequence == VACANT || !taken(slot)) {
                return;
            }
            self.grow(now);
        }
    }

    #[cold]
    fn grow(&mut self, now: Instant) {
        let len = (2 * self.slots.len()).max(FIRST_SLOTS);
        let slots = std::mem::replace(&mut self.slots, vec![Slot::vacant(now); len]);
        for slot in slots.into_iter().filter(|slot| slot.sequence != VACANT) {
            let index = self.index(slot.sequence);
            self.slots[index] = slot;
        }
    }

    /// The number that the next packet gets.
    pub(crate) fn next(&self) -> u64 {
        self.next
    }

    /// How many more packets may be queued before the pacer sends some.
    pub(crate) fn room(&self) -> usize {
        self.capacity - (self.next - self.unsent) as usize
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
    /// room, and fills in the rest of the slot.
    #[inline]
    pub(crate) fn push(&mut self, now: Instant, sequence: u64, frame: Bytes, layout: &Layout) -> &mut Slot {
        debug_assert!(sequence >= self.next && sequence - self.unsent < self.capacity as u64);
        self.make_room(now, sequence);
        for skipped in self.next..sequence {
            let index = self.index(skipped);
            self.slots[index].vacate();
        }
        self.next = sequence + 1;
        self.queued_bytes += layout.len();
        self.waiting += 1;
        self.put(now, sequence, frame, layout)
    }

    /// Puts a late packet in its place, if that is still held and empty. The caller fills in the rest of the slot.
    pub(crate) fn fill(&mut self, now: Instant, sequence: u64, frame: Bytes, layout: &Layout) -> Option<&mut Slot> {
        let held = self.next.saturating_sub(self.slots.len() as u64)..self.next;
        if !held.contains(&sequence) || self.get(sequence).is_some() {
            return None;
        }
        if sequence >= self.unsent {
            self.queued_bytes += layout.len();
            self.waiting += 1;
        }
        Some(self.put(now, sequence, frame, layout))
    }

    /// The slot is written where it lies: it is larger than all else that is done for a packet.
    #[inline]
    fn put(&mut self, now: Instant, sequence: u64, frame: Bytes, layout: &Layout) -> &mut Slot {
        let index = self.index(sequence);
        let slot = &mut self.slots[index];
        slot.sequence = sequence;
        slot.frame = frame;
        slot.layout = *layout;
        slot.queued = now;
        slot.sent = None;
        slot.resends = 0;
        slot.red = None;
        slot.resending = false;
        slot
    }

    /// Takes the first waiting packet as sent, and tells its number; it stays in the ring.
    #[inline]
    pub(crate) fn advance(&mut self) -> Option<u64> {
        let slot = (self.unsent..self.next).find_map(|sequence| self.get(sequence))?;
        let (sequence, len) = (slot.sequence, slot.len());
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

    /// Whether the packet of this number has left the queue.
    pub(crate) fn is_sent(&self, sequence: u64) -> bool {
        sequence < self.unsent
    }

    /// The packet of this number.
    pub(crate) fn get(&self, sequence: u64) -> Option<&Slot> {
        let slot = self.slots.get(self.index(sequence))?;
        (slot.sequence == sequence).then_some(slot)
    }

    /// The packet of this number, to be changed.
    pub(crate) fn get_mut(&mut self, sequence: u64) -> Option<&mut Slot> {
        let index = self.index(sequence);
        let slot = self.slots.get_mut(index)?;
        (slot.sequence == sequence).then_some(slot)
    }

    /// The number in full of a 16-bit one that the peer names: the newest that was sent and ends in these bits.
    pub(crate) fn extend(&self, sequence: u16) -> Option<u64> {
        let newest = self.unsent.checked_sub(1)?;
        newest.checked_sub(u64::from((newest as u16).wrapping_sub(sequence)))
    }

    /// Forgets everything that was sent.
    pub(crate) fn forget_sent(&mut self) {
        let unsent = self.unsent;
        for slot in &mut self.slots {
            if slot.sequence < unsent {
                slot.vacate();
            }
        }
    }

    /// Gives up everything that waits.
    pub(crate) fn drop_unsent(&mut self) {
        for sequence in self.unsent..self.next {
            let index = self.index(sequence);
            if let Some(slot) = self.slots.get_mut(index) {
                slot.vacate();
            }
        }
        // The numbers were never on the wire: give them out again.
        self.next = self.unsent;
        self.queued_bytes = 0;
        self.waiting = 0;
    }
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;

    use super::*;

    fn push(ring: &mut Ring, now: Instant) -> u64 {
        let sequence = ring.next();
        let frame = Bytes::from_static(b"frame");
        ring.push(now, sequence, frame, &Layout::slice(0..5));
        sequence
    }

    #[test]
    fn a_slow_stream_needs_few_slots_and_a_fast_one_keeps_as_much_as_there_is_room_for() {
        let now = start();
        for (every, slots, kept) in [(100, 64, 64), (10, 256, 256), (1, 1024, 1024)] {
            let mut ring = Ring::new(1024, 7);
            let mut last = 0;
            for n in 0..5000 {
                last = push(&mut ring, now + Duration::from_millis(n * every));
                assert_eq!(ring.advance(), Some(last));
            }
            assert_eq!(ring.slots.len(), slots);
            let held = (0..=last).filter(|sequence| ring.get(*sequence).is_some());
            assert_eq!(held.count(), kept);
        }
    }

    #[test]
    fn what_waits_is_never_overwritten() {
        let now = start();
        let mut ring = Ring::new(1024, 0);
        for n in 0..1024 {
            assert_eq!(ring.room(), 1024 - n);
            // As if each had waited for hours.
            push(&mut ring, now + Duration::from_secs(n as u64 * 3600));
        }
        assert_eq!(ring.room(), 0);
        for n in 0..1024 {
            assert_eq!(ring.advance(), Some(n));
        }
        assert_eq!((ring.advance(), ring.queued_bytes()), (None, 0));
    }
}
