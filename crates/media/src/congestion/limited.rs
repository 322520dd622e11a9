//! Whether the application uses what it has: the application-limited region, in which a controller learns nothing by waiting.

use std::time::Instant;

/// The part of the estimate that counts as used.
const USED: f64 = 0.65;
/// How much of the budget may be saved up, seconds.
const WINDOW: f64 = 0.5;
/// Who has saved up this part of it is limited by the application ...
const BEGIN: f64 = 0.8;
/// ... until this part is left.
const END: f64 = 0.5;

/// A budget that media uses up, or does not.
#[derive(Debug, Default)]
pub(crate) struct Limited {
    /// Bits a second.
    rate: f64,
    /// Bits; negative where more was sent.
    saved: f64,
    at: Option<Instant>,
    since: Option<Instant>,
}

impl Limited {
    /// The estimate has changed.
    pub(crate) fn set_rate(&mut self, rate: f64) {
        self.rate = USED * rate;
    }

    /// Media has left.
    #[inline]
    pub(crate) fn sent(&mut self, now: Instant, bytes: usize) {
        self.look(now, bytes);
    }

    /// Time has passed: since when the application sends too little to use what it has; `None` if it does use it.
    pub(crate) fn since(&mut self, now: Instant) -> Option<Instant> {
        self.look(now, 0);
        self.since
    }

    #[inline]
    fn look(&mut self, now: Instant, bytes: usize) {
        let most = (self.rate * WINDOW).max(1.0);
        let elapsed = self
            .at
            .replace(now)
            .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        self.saved = (self.saved + self.rate * elapsed - bytes as f64 * 8.0).clamp(-most, most);
        if self.saved > BEGIN * most {
            self.since.get_or_insert(now);
        } else if self.saved < END * most {
            self.since = None;
        }
    }
}
