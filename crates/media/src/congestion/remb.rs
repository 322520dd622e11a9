//! The receiver's own estimate (REMB), which every controller heeds as long as it is fresh.

use std::time::{Duration, Instant};

/// A REMB is forgotten after this long without another.
pub(crate) const LIFE: Duration = Duration::from_secs(10);

/// The newest one.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Remb(Option<(Instant, f64)>);

impl Remb {
    pub(crate) fn heard(&mut self, now: Instant, rate: u64) {
        self.0 = Some((now, rate as f64));
    }

    /// Bits a second, while it is fresh.
    pub(crate) fn rate(self, now: Instant) -> Option<f64> {
        let fresh = |(at, _): &(Instant, f64)| now.saturating_duration_since(*at) < LIFE;
        self.0.filter(fresh).map(|(_, rate)| rate)
    }
}
