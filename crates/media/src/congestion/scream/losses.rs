//! Which losses are congestion: those that go on. A radio link loses a packet now and then, and an overfull queue in every round trip.

use std::time::{Duration, Instant};

use super::told::Told;
use crate::congestion::control::{PacketId, PacketResult};

/// After losses in so many round trips they count as congestion ...
const ROUNDS: f64 = 3.0;
/// ... and so many without any clear that.
const CLEAR: f64 = 2.0;
/// How much the losses of one feedback count in the mean that is shown.
const GAIN: f64 = 1.0 / 32.0;

/// The losses of late.
#[derive(Debug, Default)]
pub(super) struct Losses {
    /// The newest packet that was told lost.
    newest: Option<PacketId>,
    /// Packets that were told lost and have not come after all, of the last round trips.
    open: u32,
    /// When any was told lost, or came after all.
    changed: Option<Instant>,
    /// Whether any was lost in this round trip, and when it began.
    this_round: bool,
    round: Option<Instant>,
    /// 0: none; 1: congestion.
    level: f64,
    mean: f64,
}

impl Losses {
    pub(super) fn newest(&self) -> Option<PacketId> {
        self.newest
    }

    /// Takes in the packets of a feedback, after it was summed up.
    pub(super) fn remember(&mut self, results: &[PacketResult]) {
        let lost = results.iter().rev().find(|result| result.arrival.is_none());
        self.newest = self.newest.max(lost.map(|result| result.sent.id));
    }

    /// Feedback came; a round trip takes `round`.
    pub(super) fn update(&mut self, now: Instant, round: Duration, told: &Told) {
        let all = f64::from(told.packets + told.lost).max(1.0);
        self.mean += GAIN * (f64::from(told.lost) / all - self.mean);
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        if since(self.changed).is_some_and(|since| since > round) {
            self.open = 0;
        }
        if told.lost + told.recovered > 0 {
            self.changed = Some(now);
        }
        if told.recovered > 0 {
            self.open = self.open.saturating_sub(told.recovered);
            if self.open == 0 {
                // They were late, not lost.
                (self.level, self.this_round) = (0.0, false);
            }
        }
        self.open = self.open.saturating_add(told.lost);
        self.this_round |= told.lost > 0;
        if since(self.round).is_none_or(|since| since >= round) {
            self.round = Some(now);
            let change = if self.this_round { 1.0 / ROUNDS } else { -1.0 / CLEAR };
            self.level = (self.level + change).clamp(0.0, 1.0);
            self.this_round = false;
        }
    }

    /// Whether what is lost is congestion.
    pub(super) fn is_congestion(&self) -> bool {
        self.level > 0.99
    }

    /// Whether nothing was lost of late.
    pub(super) fn is_clear(&self) -> bool {
        self.level < 0.01
    }

    /// The part of the packets that is lost, smoothed.
    pub(super) fn mean(&self) -> f64 {
        self.mean
    }
}
