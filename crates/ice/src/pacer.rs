//! How fast new transactions begin (RFC 8445 §14.2).

use std::time::{Duration, Instant};

/// The slots of RFC 8445 §14.2: on average one new transaction per Ta, with a few in reserve after a pause, so that the
/// first checks of a session do not wait for each other.
#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    interval: Duration,
    reserve: Duration,
    /// The time at which the reserve will be full again.
    full_at: Option<Instant>,
}

impl Pacer {
    pub(crate) fn new(interval: Duration, burst: u32) -> Self {
        // RFC 8445 §14.2: Ta is 5 ms at least.
        let interval = interval.max(Duration::from_millis(5));
        Self {
            interval,
            reserve: interval * burst.saturating_sub(1),
            full_at: None,
        }
    }

    /// When the next transaction may start, if not at once.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.full_at.and_then(|at| at.checked_sub(self.reserve))
    }

    pub(crate) fn is_ready(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| at <= now + self.reserve)
    }

    pub(crate) fn take(&mut self, now: Instant) {
        let from = self.full_at.map_or(now, |at| at.max(now));
        self.full_at = Some(from + self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pacing_holds_on_average() {
        let start = antiphon_netsim::start();
        let ta = Duration::from_millis(50);
        let mut pacer = Pacer::new(ta, 3);
        let mut sent = 0;
        let mut now = start;
        while now <= start + Duration::from_secs(1) {
            while pacer.is_ready(now) {
                pacer.take(now);
                sent += 1;
            }
            assert!(pacer.earliest().unwrap() > now);
            now += Duration::from_millis(1);
        }
        assert_eq!(sent, 3 + 20);
    }
}
