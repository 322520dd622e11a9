//! How much is on its way at most: a window that nobody fills says nothing.

use std::time::{Duration, Instant};

/// The most of this round trip and of the one before.
#[derive(Debug, Default)]
pub(super) struct Flight {
    this: u64,
    before: u64,
    since: Option<Instant>,
    /// Bytes up to the newest packet that was sent, and up to the newest that was reported on.
    sent: u64,
    reported: u64,
}

impl Flight {
    /// A packet left, which makes it so many bytes in all.
    #[inline]
    pub(super) fn sent(&mut self, total: u64) {
        self.sent = total;
        self.this = self.this.max(self.now());
    }

    /// Feedback speaks of packets up to so many bytes.
    pub(super) fn reported(&mut self, total: u64) {
        self.reported = self.reported.max(total);
    }

    /// Feedback was taken in; a round trip takes `round`.
    pub(super) fn look(&mut self, now: Instant, round: Duration) {
        if self
            .since
            .is_none_or(|since| now.saturating_duration_since(since) >= round)
        {
            self.since = Some(now);
            (self.before, self.this) = (self.this, self.now());
        }
    }

    /// Bytes on their way.
    pub(super) fn now(&self) -> u64 {
        self.sent.saturating_sub(self.reported)
    }

    /// The most of late, bytes.
    pub(super) fn most(&self) -> f64 {
        self.this.max(self.before) as f64
    }
}
