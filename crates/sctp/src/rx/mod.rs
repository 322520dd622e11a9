//! The receiving half: which TSNs have arrived, how much more may come, and what a SACK tells of both.

mod interleaved;
mod partial;
mod pieces;
mod reassembly;
mod run;
mod spares;
mod stream;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use antiphon_sansio::Serial32;

use crate::chunk::{Data, ForwardTsn, Fragment, GapBlock, InterleavedForwardTsn, Put, Sack, put_ecne, write_sack};
use crate::config::{Config, INITIAL_WINDOW};
use crate::tsn::Tsn;
pub(crate) use reassembly::{Reassembly, TooLarge};

/// A SACK tells of a window that has opened once it has grown by this part of the buffer (RFC 9260 §6.2).
const WINDOW_UPDATE_PART: usize = 4;
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
    /// Everything up to here has arrived.
    cumulative: Tsn,
    /// What has arrived above a hole: first to last.
    ranges: BTreeMap<Tsn, Tsn>,
    duplicates: Vec<Serial32>,
    urgency: AckUrgency,
    packets_unacknowledged: u32,
}

impl DataTracker {
    pub(crate) fn new(initial_tsn: Serial32) -> Self {
        Self {
            cumulative: Tsn::initial(initial_tsn).previous(),
            ranges: BTreeMap::new(),
            duplicates: Vec::new(),
            urgency: AckUrgency::None,
            packets_unacknowledged: 0,
        }
    }

    /// Gives back memory, if there is no hole.
    fn give_back(&mut self) {
        if self.ranges.is_empty() {
            self.ranges = BTreeMap::new();
        }
        self.duplicates.shrink_to_fit();
    }

    #[inline]
    pub(crate) fn cumulative(&self) -> Tsn {
        self.cumulative
    }

    pub(crate) fn cumulative_tsn(&self) -> Serial32 {
        self.cumulative.wire()
    }

    #[inline]
    pub(crate) fn extend(&self, tsn: Serial32) -> Tsn {
        self.cumulative.nearest(tsn)
    }

    #[inline]
    pub(crate) fn classify(&self, tsn: Tsn) -> Arrival {
        if tsn == self.cumulative.next() {
            return Arrival::InOrder;
        }
        if tsn <= self.cumulative {
            return Arrival::Duplicate;
        }
        if tsn.above(self.cumulative) > MAX_TSN_SPAN {
            return Arrival::OutOfWindow;
        }
        match self.ranges.range(..=tsn).next_back() {
            Some((_, last)) if *last >= tsn => Arrival::Duplicate,
            Some((_, last)) if last.next() == tsn => Arrival::AboveHole,
            _ if self.ranges.len() < MAX_RANGES => Arrival::AboveHole,
            _ => Arrival::OutOfWindow,
        }
    }

    /// Records a TSN that [`Self::classify`] called new.
    #[inline]
    pub(crate) fn record(&mut self, tsn: Tsn) {
        if tsn == self.cumulative.next() {
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
        let last = self.ranges.remove(&tsn.next()).unwrap_or(tsn);
        match self.ranges.range_mut(..tsn).next_back() {
            Some((_, end)) if end.next() == tsn => *end = last,
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
    pub(crate) fn forward(&mut self, tsn: Tsn) {
        if tsn > self.cumulative {
            self.cumulative = tsn;
            self.absorb();
        }
        self.urgency = AckUrgency::Now;
    }

    fn absorb(&mut self) {
        while let Some(entry) = self.ranges.first_entry() {
            if *entry.key() > self.cumulative.next() {
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
        self.ranges.iter().take(max).map(|(first, last)| GapBlock {
            start: first.above(self.cumulative) as u16,
            end: last.above(self.cumulative) as u16,
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

/// The receive window's size, which follows the bandwidth-delay product: it doubles when the application reads a
/// quarter of it within a round trip, up to a cap. A slow reader keeps it small.
#[derive(Debug)]
struct ReceiveWindow {
    size: usize,
    cap: usize,
    consumed: usize,
    since: Instant,
}

impl ReceiveWindow {
    fn new(now: Instant, cap: usize) -> Self {
        Self {
            size: cap.min(INITIAL_WINDOW),
            cap,
            consumed: 0,
            since: now,
        }
    }

    #[inline]
    fn size(&self) -> usize {
        self.size
    }

    /// The application has read `bytes`. Returns whether the window is wider now.
    #[inline]
    fn consumed(&mut self, now: Instant, bytes: usize, rtt: Duration) -> bool {
        if self.size == self.cap {
            return false;
        }
        if now.saturating_duration_since(self.since) > rtt {
            self.since = now;
            self.consumed = 0;
        }
        self.consumed += bytes;
        if self.consumed < self.size / 4 {
            return false;
        }
        self.consumed = 0;
        self.since = now;
        self.widen();
        true
    }

    fn widen(&mut self) {
        self.size = (self.size * 2).min(self.cap);
    }
}

/// What the peer sends, until the application reads it.
pub(crate) struct Rx {
    pub(crate) tracker: DataTracker,
    pub(crate) reassembly: Reassembly,
    window: ReceiveWindow,
    /// The most that may be on its way, in bytes, whatever the buffer has room for.
    share: usize,
    /// The window in the last SACK, in bytes.
    advertised: usize,
    /// The newest TSN that came in a packet with a congestion mark: told until CWR answers it.
    mark: Option<Serial32>,
    /// The most that is held, in bytes.
    most: usize,
    /// The largest message, in bytes: so much more is held where it helps to finish one.
    max_message: usize,
    pub(crate) counts: Counts,
}

/// Chunks with user data, counted by what became of them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) duplicate: u64,
    pub(crate) refused: u64,
    /// In packets with a congestion mark.
    pub(crate) marked: u64,
}

/// What became of a chunk with user data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Taken {
    Kept,
    /// It is here already, or has no room; counted.
    Dropped,
    /// It is acknowledged and no more: its stream does not exist.
    UnknownStream,
    /// The peer breaks a rule that cannot be mended.
    Breach(&'static str),
}

impl Rx {
    pub(crate) fn new(config: &Config, now: Instant) -> Self {
        // From how many bytes on what has come of a message is handed out.
        let point = config.max_receive_message.min(config.receive_buffer / 4).max(1);
        Self {
            tracker: DataTracker::new(Serial32::new(0)),
            reassembly: Reassembly::new(config.max_receive_message, config.partial_delivery.then_some(point)),
            window: ReceiveWindow::new(now, config.receive_buffer),
            share: usize::MAX,
            advertised: config.receive_buffer.min(INITIAL_WINDOW),
            mark: None,
            most: config.receive_buffer,
            max_message: config.max_receive_message,
            counts: Counts::default(),
        }
    }

    /// Gives back memory that nothing needs now.
    pub(crate) fn give_back(&mut self) {
        self.reassembly.give_back();
        self.tracker.give_back();
    }

    /// The window in the last SACK, or in our INIT.
    pub(crate) fn advertised(&self) -> usize {
        self.advertised
    }

    /// Bytes that may come.
    pub(crate) fn window(&self) -> usize {
        self.window
            .size()
            .saturating_sub(self.reassembly.held())
            .min(self.share)
    }

    /// No more than this may be on its way from now on.
    pub(crate) fn set_share(&mut self, bytes: usize) {
        self.share = bytes;
    }

    /// Takes the chunk, which came in a packet with a congestion mark, or not, if its stream is below `streams`.
    #[inline]
    pub(crate) fn take(&mut self, mut fragment: Fragment<'_>, marked: bool, streams: u16) -> Taken {
        fragment.tsn = self.tracker.extend(fragment.wire_tsn);
        let arrival = self.tracker.classify(fragment.tsn);
        let held = self.reassembly.held() + fragment.payload.len();
        let limit = match arrival {
            Arrival::Duplicate => {
                self.counts.duplicate += 1;
                self.tracker.note_duplicate(fragment.wire_tsn);
                return Taken::Dropped;
            }
            Arrival::OutOfWindow => 0,
            // What brings the cumulative TSN forward is taken as long as a whole message fits beyond the window: only
            // so can a buffer full of fragments become messages that can be read. If all of it can be read, the peer
            // has to wait.
            Arrival::InOrder if self.reassembly.has_incomplete() => self.most + self.max_message,
            Arrival::InOrder | Arrival::AboveHole => self.most,
        };
        if held > limit {
            if arrival == Arrival::InOrder && self.reassembly.unfinished() > self.most {
                // Nothing of it can be read, and nothing more can be taken: that never ends by itself.
                return Taken::Breach("unfinished messages fill the receive buffer");
            }
            self.counts.refused += 1;
            self.tracker.acknowledge_now();
            return Taken::Dropped;
        }
        if marked {
            self.note_mark(fragment.wire_tsn);
        }
        self.tracker.record(fragment.tsn);
        if fragment.has(Data::IMMEDIATE) {
            self.tracker.acknowledge_now();
        }
        if fragment.stream >= streams {
            return Taken::UnknownStream;
        }
        match self.reassembly.insert(&fragment) {
            Ok(()) => Taken::Kept,
            Err(TooLarge) => Taken::Breach("a message exceeds the announced size"),
        }
    }

    fn note_mark(&mut self, tsn: Serial32) {
        self.counts.marked += 1;
        if self.mark.is_none_or(|told| tsn.distance_from(told) > 0) {
            self.mark = Some(tsn);
        }
    }

    /// The peer has slowed down because of this mark.
    pub(crate) fn handle_cwr(&mut self, tsn: Serial32) {
        self.mark = self.mark.filter(|told| told.distance_from(tsn) > 0);
    }

    /// A packet with DATA is over.
    #[inline]
    pub(crate) fn end_of_packet(&mut self) {
        self.tracker.end_of_packet();
        self.reassembly.sweep(self.tracker.cumulative());
    }

    /// What waits behind a hole, or for the rest of its message, may fill the window before any of it can be read: then
    /// reading cannot widen it, and it is not the application that is slow.
    #[inline]
    pub(crate) fn grow_for_unfinished(&mut self) {
        if self.reassembly.unfinished() > self.window.size() / 4 {
            self.window.widen();
        }
    }

    /// The peer has given up what is up to this TSN, in streams below `streams` (RFC 3758 §3.6).
    pub(crate) fn forward(&mut self, forward: &ForwardTsn<'_>, streams: u16) {
        let tsn = self.tracker.extend(forward.new_cumulative_tsn);
        if tsn > self.tracker.cumulative() {
            let skipped = forward.skipped().filter(|skipped| skipped.stream < streams);
            self.reassembly.forward(tsn, skipped);
        }
        // An old one is acknowledged, so that the peer learns where we are.
        self.tracker.forward(tsn);
    }

    /// The same of messages that were interleaved (RFC 8260 §2.3.1).
    pub(crate) fn forward_interleaved(&mut self, forward: &InterleavedForwardTsn<'_>, streams: u16) {
        let tsn = self.tracker.extend(forward.new_cumulative_tsn);
        if tsn > self.tracker.cumulative() {
            let skipped = forward.skipped().filter(|skipped| skipped.stream < streams);
            self.reassembly.forward_interleaved(skipped);
        }
        self.tracker.forward(tsn);
    }

    /// A message of so many bytes was read.
    pub(crate) fn release(&mut self, now: Instant, bytes: usize, rtt: Duration) {
        self.reassembly.release(bytes);
        let widened = self.window.consumed(now, bytes, rtt);
        let grown = self.window().saturating_sub(self.advertised);
        let most = self.window.size().min(self.share);
        let small = self.advertised < most / 2;
        if (small || widened) && grown >= (most / WINDOW_UPDATE_PART).max(1) {
            self.tracker.acknowledge_now();
        }
    }

    /// Writes a SACK, if so many bytes have room for one; says whether they had.
    pub(crate) fn write_sack(&mut self, out: &mut impl Put, room: usize) -> bool {
        // RFC 9260 Appendix B: the mark is told beside every SACK until CWR answers.
        let mark = self.mark.filter(|_| room >= Sack::FIXED_LEN + 16);
        let room = room - if mark.is_some() { 8 } else { 0 };
        let Some(blocks) = room.checked_sub(Sack::FIXED_LEN).map(|bytes| bytes / 4) else {
            return false;
        };
        if let Some(tsn) = mark {
            put_ecne(out, tsn);
        }
        let window = self.window();
        let gaps = self.tracker.gap_blocks(blocks);
        let duplicates = self.tracker.duplicates();
        let duplicates = &duplicates[..duplicates.len().min(blocks - gaps.len())];
        let a_rwnd = u32::try_from(window).unwrap_or(u32::MAX);
        write_sack(out, self.tracker.cumulative_tsn(), a_rwnd, gaps, duplicates);
        self.advertised = window;
        self.tracker.acknowledged();
        true
    }
}
