//! The packets of one outgoing stream, from the queue to the last retransmission.

use std::sync::Arc;
use std::time::Instant;

use antiphon_rtp::extension::Carried;
use antiphon_rtp::payload::Layout;
use bytes::Bytes;

use crate::event::Contributors;

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
    /// Waits to be sent again.
    pub(crate) resending: bool,
}

impl Slot {
    pub(crate) fn len(&self) -> usize {
        self.layout.len()
    }
}

/// The packets of one outgoing stream: those that wait for the pacer, and behind them those that a NACK may ask for.
/// A fixed number of slots, indexed by sequence number; the newest packet takes the place of the oldest.
#[derive(Debug)]
pub(crate) struct Ring {
    slots: Vec<Option<Slot>>,
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
    /// `capacity` is a power of two. Slots are allocated when the first packet comes.
    pub(crate) fn new(capacity: usize, first: u64) -> Self {
        assert!(capacity.is_power_of_two());
        Self {
            slots: Vec::new(),
            capacity,
            next: first,
            unsent: first,
            queued_bytes: 0,
            waiting: 0,
        }
    }

    fn index(&self, sequence: u64) -> usize {
        sequence as usize & (self.capacity - 1)
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

    /// Queues a packet under its number, which is `next` or greater; numbers in between stay empty. The caller saw to the room.
    pub(crate) fn push(&mut self, slot: Slot) {
        if self.slots.is_empty() {
            self.slots.resize_with(self.capacity, || None);
        }
        debug_assert!(slot.sequence >= self.next && slot.sequence - self.unsent < self.capacity as u64);
        for skipped in self.next..slot.sequence {
            let index = self.index(skipped);
            self.slots[index] = None;
        }
        self.next = slot.sequence + 1;
        self.queued_bytes += slot.len();
        self.waiting += 1;
        let index = self.index(slot.sequence);
        self.slots[index] = Some(slot);
    }

    /// Puts a late packet in its place, if that is still held and empty. Returns whether it was.
    pub(crate) fn fill(&mut self, slot: Slot) -> bool {
        let held = self.next.saturating_sub(self.capacity as u64)..self.next;
        if self.slots.is_empty() || !held.contains(&slot.sequence) || self.get(slot.sequence).is_some() {
            return false;
        }
        if slot.sequence >= self.unsent {
            self.queued_bytes += slot.len();
            self.waiting += 1;
        }
        let index = self.index(slot.sequence);
        self.slots[index] = Some(slot);
        true
    }

    /// The first packet that waits, if one does.
    pub(crate) fn peek(&self) -> Option<&Slot> {
        (self.unsent..self.next).find_map(|sequence| self.get(sequence))
    }

    /// Takes the first waiting packet as sent; it stays in the ring.
    pub(crate) fn advance(&mut self) {
        if let Some((sequence, len)) = self.peek().map(|slot| (slot.sequence, slot.len())) {
            self.unsent = sequence + 1;
            self.queued_bytes -= len;
            self.waiting -= 1;
        }
    }

    /// Whether the packet of this number has left the queue.
    pub(crate) fn is_sent(&self, sequence: u64) -> bool {
        sequence < self.unsent
    }

    /// The packet of this number.
    pub(crate) fn get(&self, sequence: u64) -> Option<&Slot> {
        let slot = self.slots.get(self.index(sequence))?.as_ref()?;
        (slot.sequence == sequence).then_some(slot)
    }

    /// The packet of this number, to be changed.
    pub(crate) fn get_mut(&mut self, sequence: u64) -> Option<&mut Slot> {
        let index = self.index(sequence);
        let slot = self.slots.get_mut(index)?.as_mut()?;
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
            if slot.as_ref().is_some_and(|slot| slot.sequence < unsent) {
                *slot = None;
            }
        }
    }

    /// Gives up everything that waits.
    pub(crate) fn drop_unsent(&mut self) {
        for sequence in self.unsent..self.next {
            let index = self.index(sequence);
            if let Some(slot) = self.slots.get_mut(index) {
                *slot = None;
            }
        }
        // The numbers were never on the wire: give them out again.
        self.next = self.unsent;
        self.queued_bytes = 0;
        self.waiting = 0;
    }
}
