//! What the peer's answers, and its silence, do to the sending half.

use std::time::{Duration, Instant};

use antiphon_sansio::Serial32;

use super::acknowledged::Acked;
use super::congestion::{Ack, Loss};
use super::sent::PathTime;
use super::{Tx, TxTimer};
use crate::chunk::Sack;

/// FORWARD TSN is not repeated sooner than this, however short the round trip.
const MIN_FORWARD_WAIT: Duration = Duration::from_millis(1);
/// A tail is not probed sooner than this: a peer may wake late, or acknowledge in batches.
const MIN_PROBE_WAIT: Duration = Duration::from_millis(10);

/// What became of a SACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// It is older than what we know.
    Stale,
    /// It speaks of what was never sent.
    Invalid,
    Taken {
        /// It shows that the peer is there: something new is acknowledged, or its window is closed (RFC 9260 §6.1 A).
        alive: bool,
        /// Blocks that cannot be true were left out.
        invalid_blocks: bool,
    },
}

impl Tx {
    fn path_time(&self) -> PathTime {
        PathTime {
            min_rtt: self.rto.min_rtt(),
            srtt: self.rto.srtt(),
        }
    }

    pub(crate) fn handle_sack(&mut self, now: Instant, sack: &Sack<'_>) -> Answer {
        let Ok(acked) = self.outstanding.handle_sack(now, sack, self.path_time()) else {
            return Answer::Invalid;
        };
        if acked.stale {
            return Answer::Stale;
        }
        self.drop_abandoned();
        if let Some(rtt) = acked.rtt {
            self.rto.measured(rtt);
        }
        let window = sack.a_rwnd as usize;
        self.peer_window = window.saturating_sub(self.outstanding.payload_in_flight());
        let was_in_recovery = self.recovery.is_some();
        self.recovery = self.recovery.filter(|end| self.outstanding.cumulative_ack() < *end);
        if acked.spurious {
            self.counts.spurious_recoveries += 1;
            self.congestion.on_spurious_loss(now);
            self.recovery = None;
            self.outstanding.revive();
        } else if acked.lost {
            self.respond_to_loss(now);
        }
        self.tell_congestion(now, &acked, was_in_recovery);
        self.suspect_black_hole(false);
        if acked.bytes > 0 {
            self.consider_search();
            self.rto.progress();
            self.probing = false;
            self.schedule_probe(now);
        }
        let progress = acked.cumulative_advanced || acked.bytes > 0;
        // Anything that arrives shows that the path lives, and finds what is lost by itself, lost retransmissions
        // included: T3 is for silence.
        if progress {
            self.restart_t3(now);
        }
        if self.outstanding.is_empty() {
            self.timers.stop(TxTimer::T3);
            self.timers.stop(TxTimer::Probe);
        }
        self.schedule_verdict();
        self.update_pace(now);
        self.schedule_forward(now);
        Answer::Taken {
            alive: progress || window == 0,
            invalid_blocks: acked.invalid_blocks,
        }
    }

    fn tell_congestion(&mut self, now: Instant, acked: &Acked, was_in_recovery: bool) {
        let lost = self.outstanding.take_lost_bytes();
        if acked.bytes == 0 && lost == 0 {
            return;
        }
        self.congestion.on_ack(&Ack {
            now,
            bytes: acked.bytes,
            lost,
            in_flight: self.outstanding.in_flight(),
            cumulative_advanced: acked.cumulative_advanced,
            window_limited: self.window_limited || self.pace_limited,
            in_recovery: was_in_recovery || self.recovery.is_some(),
            rtt: acked.rtt,
            srtt: self.rto.srtt(),
            round_start: acked.round_start,
            sample: acked.sample,
        });
    }

    /// SHUTDOWN acknowledges like a SACK without blocks.
    pub(crate) fn handle_cumulative_ack(&mut self, now: Instant, tsn: Serial32) -> Answer {
        let window = self.peer_window + self.outstanding.payload_in_flight();
        let sack = Sack::cumulative(tsn, u32::try_from(window).unwrap_or(u32::MAX));
        self.handle_sack(now, &sack)
    }

    /// The peer tells of a mark: the answer is that to a loss, once for each window. `false` if that was never sent.
    pub(crate) fn handle_ecne(&mut self, now: Instant, wire: Serial32) -> bool {
        let tsn = self.outstanding.cumulative_ack().nearest(wire);
        let next = self.outstanding.next_tsn();
        if tsn >= next {
            return false;
        }
        self.marks.to_answer = Some(wire);
        if tsn > self.marks.slowed_at {
            self.marks.slowed_at = next.previous();
            self.counts.marks_answered += 1;
            if self.recovery.is_none() {
                let in_flight = self.outstanding.in_flight();
                self.congestion.on_mark(&Loss { now, in_flight });
                self.update_pace(now);
            }
        }
        true
    }

    /// The congestion controller answers the first loss of a window.
    fn respond_to_loss(&mut self, now: Instant) {
        if self.recovery.is_none() {
            let in_flight = self.outstanding.in_flight();
            self.congestion.on_loss(&Loss { now, in_flight });
            self.recovery = Some(self.outstanding.next_tsn().previous());
            self.outstanding.recovery_begins(false);
            self.fast_retransmit = self.outstanding.has_lost();
        }
        self.timers.stop(TxTimer::Probe);
        self.update_pace(now);
    }

    fn schedule_verdict(&mut self) {
        match self.outstanding.verdict_due() {
            Some(at) => self.timers.set(TxTimer::Reorder, at),
            None => self.timers.stop(TxTimer::Reorder),
        }
    }

    /// RFC 8985 §7.2: the tail is probed two round trips after the last sign of life, if T3-rtx does not come first.
    pub(super) fn schedule_probe(&mut self, now: Instant) {
        let (Some(srtt), false) = (self.rto.srtt(), self.probing) else {
            return;
        };
        if self.recovery.is_some() || self.outstanding.has_lost() || self.outstanding.in_flight() == 0 {
            self.timers.stop(TxTimer::Probe);
            return;
        }
        self.timers.set(TxTimer::Probe, now + (srtt * 2).max(MIN_PROBE_WAIT));
    }

    /// FORWARD TSN is told when it has news, and again after a round trip without an answer (RFC 3758 §3.5 F).
    pub(super) fn schedule_forward(&mut self, now: Instant) {
        if !self.outstanding.wants_forward() {
            return;
        }
        let news = self.outstanding.advanced() > self.forward.told;
        // A round trip of nothing would make it due again within the same poll, for ever.
        let wait = self
            .rto
            .srtt()
            .unwrap_or_else(|| self.rto.current())
            .max(MIN_FORWARD_WAIT);
        if news || self.forward.sent.is_none_or(|sent| sent + wait <= now) {
            self.forward.due = true;
        }
    }

    /// T3-rtx has run out (RFC 9260 §6.3.3). `reneged`: it has so often that what gap blocks reported is not believed
    /// any longer.
    pub(crate) fn timed_out(&mut self, now: Instant, reneged: bool) {
        // An unanswered FORWARD TSN alone is no sign of congestion: its answer may just have been delayed.
        if self.outstanding.in_flight() > 0 || self.outstanding.has_lost() {
            self.congestion.on_timeout(now);
            self.recovery = None;
            self.outstanding.recovery_begins(true);
        }
        self.lose_all(now, reneged);
        self.suspect_black_hole(true);
        self.timers.stop(TxTimer::Probe);
        self.timers.stop(TxTimer::Reorder);
        self.update_pace(now);
        self.forward.due = self.outstanding.wants_forward();
        self.restart_t3(now);
    }

    /// What is in flight is lost, without a sign of congestion: with a cookie, for instance.
    pub(crate) fn lose_all(&mut self, now: Instant, reneged: bool) {
        self.outstanding.lose_all(now, reneged);
        self.drop_abandoned();
    }

    /// Nothing has come back for two round trips: the newest chunk, or a new one, asks for an acknowledgement, before
    /// T3-rtx would take everything for lost (RFC 8985 §7.3).
    pub(crate) fn handle_probe_timer(&mut self, now: Instant) {
        if self.probing || self.outstanding.in_flight() == 0 || self.outstanding.has_lost() {
            return;
        }
        self.probing = true;
        if self.queue.is_empty() || self.peer_window < self.path.base() {
            self.fast_retransmit = self.outstanding.probe_tail(now);
        } else {
            self.fast_retransmit = true;
        }
        self.counts.tail_probes += u64::from(self.fast_retransmit);
    }

    /// What might have been late is lost by now.
    pub(crate) fn handle_reorder_timer(&mut self, now: Instant) {
        let found = self.outstanding.look_for_losses(now, self.path_time());
        self.drop_abandoned();
        if found {
            self.respond_to_loss(now);
            self.suspect_black_hole(false);
        }
        self.schedule_forward(now);
        self.schedule_verdict();
    }
}
