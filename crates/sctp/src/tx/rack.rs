//! When a chunk counts as lost: by the time of its transmission beside that of what arrived (RFC 8985, for TSNs).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::tsn::Tsn;

/// A chunk counts as lost at once when a packet sent this many packets after it has arrived, as long as the path has
/// never reordered: the three reports of RFC 9260 §7.2.4, counted in order of transmission.
const DUP_THRESHOLD: u64 = 3;
/// What was learned of reordering is forgotten after this many recoveries without any (RFC 8985 §7.2).
const PERSISTENCE: u32 = 16;
/// Retransmitted TSNs that are remembered, to know them again in duplicate reports.
const MAX_REMEMBERED: usize = 512;

/// When a chunk counts as lost: by the time of its transmission beside that of what arrived (RFC 8985, for TSNs).
#[derive(Debug, Default)]
pub(crate) struct Rack {
    /// The newest packet that has arrived, and the time it took.
    newest: Option<(u64, Duration)>,
    reordering_seen: bool,
    /// By how much chunks came late.
    lateness: Duration,
    calm_recoveries: u32,
    /// The present or last recovery: how many chunks were found lost, how many of them had arrived after all.
    lost: u32,
    spurious: u32,
    timed_out: bool,
    remembered: VecDeque<Tsn>,
}

/// Whether a packet is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Nothing sent after it has arrived.
    Fine,
    /// Not yet; ask again then.
    Wait(Instant),
    Lost,
}

impl Rack {
    /// Gives back memory that a recovery took.
    pub(crate) fn give_back(&mut self) {
        self.remembered.shrink_to_fit();
    }

    pub(crate) fn newest_packet(&self) -> Option<u64> {
        self.newest.map(|(packet, _)| packet)
    }

    /// A packet has arrived.
    #[inline]
    pub(crate) fn arrived(&mut self, packet: u64, took: Duration) {
        if self.newest.is_none_or(|(newest, _)| packet >= newest) {
            self.newest = Some((packet, took));
        }
    }

    /// A chunk that was sent once arrived after one that was sent later, `took` after its transmission.
    pub(crate) fn came_late(&mut self, took: Duration) {
        self.reordering_seen = true;
        self.calm_recoveries = 0;
        let (_, usual) = self.newest.unwrap_or_default();
        let late = took.saturating_sub(usual);
        self.lateness = self.lateness.max(late + late / 4);
    }

    fn window(&self, min_rtt: Duration, srtt: Duration) -> Duration {
        // RFC 8985 §6.2.4: a quarter of the round trip, more where more was seen, never above a round trip.
        (min_rtt / 4).max(self.lateness).min(srtt.max(min_rtt))
    }

    #[inline]
    pub(crate) fn judge(
        &self,
        now: Instant,
        packet: u64,
        sent_at: Instant,
        min_rtt: Duration,
        srtt: Duration,
    ) -> Verdict {
        let Some((newest, took)) = self.newest else {
            return Verdict::Fine;
        };
        if packet >= newest {
            return Verdict::Fine;
        }
        if !self.reordering_seen && packet + DUP_THRESHOLD <= newest {
            return Verdict::Lost;
        }
        let until = sent_at + took + self.window(min_rtt, srtt);
        if until <= now {
            Verdict::Lost
        } else {
            Verdict::Wait(until)
        }
    }

    /// A recovery begins, after a loss or after T3-rtx.
    pub(crate) fn recovery_begins(&mut self, timed_out: bool) {
        (self.lost, self.spurious, self.timed_out) = (0, 0, timed_out);
        self.remembered.clear();
        self.calm_recoveries += 1;
        if self.calm_recoveries >= PERSISTENCE {
            self.reordering_seen = false;
            self.lateness = Duration::ZERO;
        }
    }

    pub(crate) fn found_lost(&mut self) {
        self.lost += 1;
    }

    pub(crate) fn retransmitted(&mut self, tsn: Tsn) {
        if self.remembered.len() < MAX_REMEMBERED {
            self.remembered.push_back(tsn);
        }
    }

    /// The peer reports a duplicate: what we sent again had arrived already (RFC 8985 §6.2.4, DSACK there).
    pub(crate) fn duplicate(&mut self, tsn: Tsn, min_rtt: Duration) {
        if let Some(at) = self.remembered.iter().position(|known| *known == tsn) {
            self.remembered.swap_remove_back(at);
            self.spurious += 1;
            self.reordering_seen = true;
            self.calm_recoveries = 0;
            // One more quarter, until it does not happen any more.
            self.lateness = self.lateness.max(min_rtt / 4) + min_rtt / 4;
        }
    }

    /// A chunk that was found lost arrived before it was sent again.
    pub(crate) fn was_not_lost(&mut self, tsn: Tsn) {
        self.remembered.retain(|known| *known != tsn);
        self.spurious += 1;
        self.reordering_seen = true;
        self.calm_recoveries = 0;
    }

    /// Whether the recovery was for nothing: asked once after it is found out.
    pub(crate) fn take_spurious(&mut self) -> bool {
        let all = self.lost > 0 && self.spurious >= self.lost;
        // One chunk that arrives without having been sent again is enough after a timeout: the path lives.
        let spurious = all || (self.timed_out && self.spurious > 0);
        if spurious {
            (self.lost, self.spurious, self.timed_out) = (0, 0, false);
        }
        spurious
    }
}
