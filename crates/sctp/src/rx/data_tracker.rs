use std::collections::BTreeMap;

use antiphon_sansio::Serial32;

use crate::chunk::GapBlock;

/// TSNs further than this above the cumulative one are refused: a gap block could not report them (RFC 9260 §3.3.4).
const MAX_TSN_SPAN: u64 = 65_535;
/// Separate ranges above the cumulative TSN. A peer that leaves more holes than this is refused new ones.
const MAX_RANGES: usize = 4096;
/// Duplicates that one SACK reports.
const MAX_DUPLICATES: usize = 16;

/// What a TSN is to us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// The one after the cumulative TSN.
    InOrder,
    /// New, and above a hole.
    AboveHole,
    /// Seen before.
    Duplicate,
    /// Too far away to be genuine.
    OutOfWindow,
}

/// How soon a SACK is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum AckUrgency {
    None,
    Delayed,
    Now,
}

/// Which TSNs have arrived.
#[derive(Debug)]
pub(crate) struct DataTracker {
    /// Everything up to here has arrived. Extended to 64 bits; starts above 2^32, so it never wraps below zero.
    cumulative: u64,
    /// Received ranges above `cumulative + 1`: first to last.
    ranges: BTreeMap<u64, u64>,
    duplicates: Vec<Serial32>,
    urgency: AckUrgency,
    packets_unacknowledged: u32,
}

impl DataTracker {
    pub(crate) fn new(initial_tsn: Serial32) -> Self {
        Self {
            cumulative: (1 << 32) + u64::from(initial_tsn.get()) - 1,
            ranges: BTreeMap::new(),
            duplicates: Vec::new(),
            urgency: AckUrgency::None,
            packets_unacknowledged: 0,
        }
    }

    #[inline]
    pub(crate) fn cumulative(&self) -> u64 {
        self.cumulative
    }

    pub(crate) fn cumulative_tsn(&self) -> Serial32 {
        Serial32::new(self.cumulative as u32)
    }

    #[inline]
    pub(crate) fn extend(&self, tsn: Serial32) -> u64 {
        let distance = tsn.distance_from(Serial32::new(self.cumulative as u32));
        self.cumulative.wrapping_add_signed(i64::from(distance))
    }

    #[inline]
    pub(crate) fn classify(&self, tsn: u64) -> Arrival {
        if tsn == self.cumulative + 1 {
            return Arrival::InOrder;
        }
        if tsn <= self.cumulative {
            return Arrival::Duplicate;
        }
        if tsn - self.cumulative > MAX_TSN_SPAN {
            return Arrival::OutOfWindow;
        }
        match self.ranges.range(..=tsn).next_back() {
            Some((_, last)) if *last >= tsn => Arrival::Duplicate,
            Some((_, last)) if *last + 1 == tsn => Arrival::AboveHole,
            _ if self.ranges.len() < MAX_RANGES => Arrival::AboveHole,
            _ => Arrival::OutOfWindow,
        }
    }

    /// Records a TSN that [`Self::classify`] called new.
    #[inline]
    pub(crate) fn record(&mut self, tsn: u64) {
        if tsn == self.cumulative + 1 {
            self.cumulative = tsn;
            if !self.ranges.is_empty() {
                self.absorb();
                // RFC 9260 §6.7: a chunk that fills a gap is acknowledged at once.
                self.urgency = AckUrgency::Now;
            }
            return;
        }
        // RFC 9260 §6.7: so is one that shows a gap.
        self.urgency = AckUrgency::Now;
        let last = self.ranges.remove(&(tsn + 1)).unwrap_or(tsn);
        match self.ranges.range_mut(..tsn).next_back() {
            Some((_, end)) if *end + 1 == tsn => *end = last,
            _ => {
                self.ranges.insert(tsn, last);
            }
        }
    }

    pub(crate) fn note_duplicate(&mut self, tsn: Serial32) {
        if self.duplicates.len() < MAX_DUPLICATES {
            self.duplicates.push(tsn);
        }
        self.urgency = AckUrgency::Now;
    }

    /// Everything up to `tsn` counts as received (RFC 3758 §3.6).
    pub(crate) fn forward(&mut self, tsn: u64) {
        if tsn > self.cumulative {
            self.cumulative = tsn;
            self.absorb();
        }
        self.urgency = AckUrgency::Now;
    }

    fn absorb(&mut self) {
        while let Some(entry) = self.ranges.first_entry() {
            if *entry.key() > self.cumulative + 1 {
                break;
            }
            self.cumulative = self.cumulative.max(entry.remove());
        }
    }

    /// A packet with DATA is over: every second one is acknowledged at once, others wait (RFC 9260 §6.2).
    #[inline]
    pub(crate) fn end_of_packet(&mut self) {
        self.packets_unacknowledged += 1;
        let urgency = if self.packets_unacknowledged >= 2 || !self.ranges.is_empty() {
            AckUrgency::Now
        } else {
            AckUrgency::Delayed
        };
        self.urgency = self.urgency.max(urgency);
    }

    pub(crate) fn acknowledge_now(&mut self) {
        self.urgency = AckUrgency::Now;
    }

    #[inline]
    pub(crate) fn urgency(&self) -> AckUrgency {
        self.urgency
    }

    /// The lowest gap blocks, at most `max` of them.
    pub(crate) fn gap_blocks(&self, max: usize) -> impl ExactSizeIterator<Item = GapBlock> + '_ {
        let count = self.ranges.len().min(max);
        let mut ranges = self.ranges.iter();
        (0..count).map(move |_| {
            let (first, last) = ranges.next().expect("counted above");
            GapBlock {
                start: (first - self.cumulative) as u16,
                end: (last - self.cumulative) as u16,
            }
        })
    }

    pub(crate) fn duplicates(&self) -> &[Serial32] {
        &self.duplicates
    }

    /// A SACK has been written.
    #[inline]
    pub(crate) fn acknowledged(&mut self) {
        self.urgency = AckUrgency::None;
        self.packets_unacknowledged = 0;
        self.duplicates.clear();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use proptest::prelude::*;

    #[test]
    fn gaps_close_in_any_order() {
        let mut tracker = DataTracker::new(Serial32::new(u32::MAX - 1));
        let base = tracker.cumulative();
        for offset in [3, 5, 4, 8, 2] {
            assert_eq!(tracker.classify(base + offset), Arrival::AboveHole);
            tracker.record(base + offset);
        }
        let blocks: Vec<_> = tracker.gap_blocks(9).collect();
        assert_eq!(blocks, [GapBlock { start: 2, end: 5 }, GapBlock { start: 8, end: 8 }]);
        assert_eq!(tracker.classify(base + 4), Arrival::Duplicate);
        tracker.record(base + 1);
        assert_eq!(tracker.cumulative(), base + 5);
        assert_eq!(tracker.cumulative_tsn(), Serial32::new(2), "the TSN has wrapped");
        tracker.forward(base + 7);
        assert_eq!(tracker.cumulative(), base + 8);
        assert!(tracker.ranges.is_empty());
    }

    #[test]
    fn far_tsns_and_endless_holes_are_refused() {
        let mut tracker = DataTracker::new(Serial32::new(0));
        let base = tracker.cumulative();
        assert_eq!(tracker.classify(base + 65_536), Arrival::OutOfWindow);
        let mut refused = 0;
        for offset in (2..60_000).step_by(2) {
            match tracker.classify(base + offset) {
                Arrival::OutOfWindow => refused += 1,
                _ => tracker.record(base + offset),
            }
        }
        assert_eq!(tracker.ranges.len(), MAX_RANGES);
        assert!(refused > 0);
        assert_eq!(tracker.classify(base + 1), Arrival::InOrder, "the way out stays open");
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(initial: u32, offsets in prop::collection::vec(1u64..60, 0..80)) {
            let mut tracker = DataTracker::new(Serial32::new(initial));
            let base = tracker.cumulative();
            let mut model = BTreeSet::new();
            for offset in offsets {
                let seen = !model.insert(offset);
                let arrival = tracker.classify(base + offset);
                prop_assert_eq!(arrival == Arrival::Duplicate, seen);
                if !seen {
                    tracker.record(base + offset);
                }
                let cumulative = (1..).find(|n| !model.contains(n)).unwrap() - 1;
                prop_assert_eq!(tracker.cumulative(), base + cumulative);
                let reported: BTreeSet<u64> = tracker
                    .gap_blocks(100)
                    .flat_map(|b| u64::from(b.start)..=u64::from(b.end))
                    .map(|n| n + cumulative)
                    .collect();
                let above: BTreeSet<u64> = model.iter().copied().filter(|n| *n > cumulative).collect();
                prop_assert_eq!(reported, above);
            }
        }
    }
}
