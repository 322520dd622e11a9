//! The packets that were sent, until feedback has spoken of them.

use std::time::Instant;

use antiphon_sansio::Ecn;

use crate::congestion::{PacketId, PacketResult, ProbeId, Sent};

/// Packets remembered until feedback speaks of them: at 50 Mbit/s almost a second.
pub(crate) const CAPACITY: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Entry {
    sent: Sent,
    /// Its transport-wide number, if it bears one.
    number: Option<u16>,
    reported: bool,
}

/// What was sent, by [`PacketId`]. Each form of feedback has names of its own for packets; an index leads from them to the id.
#[derive(Debug, Default)]
pub(crate) struct History {
    /// By the low bits of the id.
    entries: Vec<Entry>,
    next: u64,
    /// By the low bits of the transport-wide number: whose it was last.
    numbers: Vec<u64>,
    next_number: u16,
}

impl History {
    /// The transport-wide number of the next packet that bears one.
    #[inline]
    pub(crate) fn next_number(&self) -> u16 {
        self.next_number
    }

    /// A packet left; `numbered` if it bears the number that [`Self::next_number`] gave.
    #[inline]
    pub(crate) fn sent(
        &mut self,
        now: Instant,
        bytes: usize,
        ecn: Ecn,
        numbered: bool,
        probe: Option<ProbeId>,
    ) -> Sent {
        let sent = Sent {
            id: PacketId(self.next),
            at: now,
            bytes,
            ecn,
            probe,
        };
        let number = numbered.then_some(self.next_number);
        if let Some(number) = number {
            put(&mut self.numbers, usize::from(number), self.next);
            self.next_number = number.wrapping_add(1);
        }
        let entry = Entry {
            sent,
            number,
            reported: false,
        };
        put(&mut self.entries, self.next as usize, entry);
        self.next += 1;
        sent
    }

    /// Feedback speaks of a transport-wide number. `None` if that packet is not remembered, or has been told to have arrived.
    pub(crate) fn report_number(&mut self, number: u16, arrival: Option<Instant>) -> Option<PacketResult> {
        let id = *self.numbers.get(usize::from(number) % CAPACITY)?;
        let entry = self.entries.get_mut(id as usize % CAPACITY)?;
        if entry.sent.id.0 != id || entry.number != Some(number) || entry.reported {
            return None;
        }
        // A packet told lost may still be told to have come: only an arrival is final.
        entry.reported = arrival.is_some();
        Some(PacketResult {
            sent: entry.sent,
            arrival,
            ecn: Ecn::NotEct,
        })
    }
}

/// Puts `value` where the low bits of `index` say. The first round fills the list from the front.
fn put<T: Copy>(list: &mut Vec<T>, index: usize, value: T) {
    match list.get_mut(index % CAPACITY) {
        Some(place) => *place = value,
        None => list.push(value),
    }
}
