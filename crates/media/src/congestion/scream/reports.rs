//! A rate by report blocks alone, where the peer gives no feedback on single packets.

use std::time::{Duration, Instant};

/// With less than the first part of the packets lost the rate grows by this much a second, ...
const LITTLE: f64 = 0.02;
const GROWTH: f64 = 1.08;
/// ... and with more than this lost it falls by half of what is lost, ...
const MUCH: f64 = 0.1;
/// ... no more often than this.
const FALL: Duration = Duration::from_millis(450);

/// The rate, once a report has come.
#[derive(Debug)]
pub(super) struct Reports {
    rate: f64,
    /// When the rate was last moved, or looked at first.
    moved: Option<Instant>,
}

impl Reports {
    pub(super) fn new(start: f64) -> Self {
        Self {
            rate: start,
            moved: None,
        }
    }

    /// A report block says which part was lost, 0 to 1.
    pub(super) fn heard(&mut self, now: Instant, lost: f64, min: f64, max: f64) {
        let elapsed = self.moved.map(|at| now.saturating_duration_since(at));
        if lost < LITTLE {
            self.moved = Some(now);
            let seconds = elapsed.map_or(0.0, |elapsed| elapsed.as_secs_f64().min(5.0));
            self.rate *= GROWTH.powf(seconds);
        } else if lost > MUCH && elapsed.is_none_or(|elapsed| elapsed > FALL) {
            self.moved = Some(now);
            self.rate *= 1.0 - 0.5 * lost.min(1.0);
        }
        self.moved.get_or_insert(now);
        self.rate = self.rate.clamp(min, max);
    }

    /// Bits a second; `None` before there was a report.
    pub(super) fn rate(&self) -> Option<f64> {
        self.moved.map(|_| self.rate)
    }
}
