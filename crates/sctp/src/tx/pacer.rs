use std::time::{Duration, Instant};

/// What may leave at once: as much as the rate brings in this time. Timers wake late by a millisecond; twice that keeps the
/// rate all the same.
const BURST: Duration = Duration::from_millis(2);
/// Paths shorter than this are not paced: their windows are no larger than a burst.
const SHORTEST_RTT: Duration = Duration::from_millis(1);

/// Spreads packets over the round trip: a bucket of bytes that fills at the controller's rate.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// Bytes a second; `None` while packets leave as they come.
    rate: Option<u64>,
    /// What may leave now; below zero after a packet larger than what was left.
    budget: f64,
    filled_at: Instant,
    max_packet: usize,
}

impl Pacer {
    pub(crate) fn new(now: Instant, max_packet: usize) -> Self {
        Self {
            rate: None,
            budget: 0.0,
            filled_at: now,
            max_packet,
        }
    }

    pub(crate) fn set_max_packet(&mut self, bytes: usize) {
        self.max_packet = bytes;
    }

    pub(crate) fn set_rate(&mut self, now: Instant, rate: Option<u64>, min_rtt: Option<Duration>) {
        let rate = rate.filter(|rate| *rate > 0 && min_rtt.is_some_and(|rtt| rtt >= SHORTEST_RTT));
        if self.rate != rate {
            self.fill(now);
            if self.rate.is_none() {
                self.budget = 0.0;
            }
            self.rate = rate;
        }
    }

    fn capacity(&self, rate: u64) -> f64 {
        (rate as f64 * BURST.as_secs_f64()).max(2.0 * self.max_packet as f64)
    }

    fn fill(&mut self, now: Instant) {
        if let Some(rate) = self.rate {
            let elapsed = now.saturating_duration_since(self.filled_at).as_secs_f64();
            self.budget = (self.budget + rate as f64 * elapsed).min(self.capacity(rate));
        }
        self.filled_at = self.filled_at.max(now);
    }

    /// Whether a packet may leave; if not, when to ask again.
    #[inline]
    pub(crate) fn check(&mut self, now: Instant) -> Result<(), Instant> {
        let Some(rate) = self.rate else { return Ok(()) };
        if self.budget > 0.0 {
            return Ok(());
        }
        self.fill(now);
        if self.budget > 0.0 {
            return Ok(());
        }
        // Half a bucket at a time: neither a timer per packet nor a whole burst.
        let missing = self.capacity(rate) / 2.0 - self.budget;
        let wait = Duration::from_secs_f64(missing / rate as f64);
        Err(now + wait.max(Duration::from_micros(10)))
    }

    #[inline]
    pub(crate) fn sent(&mut self, bytes: usize) {
        if self.rate.is_some() {
            self.budget -= bytes as f64;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn keeps_the_rate_and_bounds_the_burst() {
        let start = Instant::now();
        let mut now = start;
        let mut pacer = Pacer::new(now, 1000);
        assert!(pacer.check(now).is_ok(), "no rate, no pace");
        pacer.set_rate(now, Some(10_000_000), Some(Duration::from_micros(500)));
        pacer.sent(1_000_000);
        assert!(pacer.check(now).is_ok(), "too short a path to pace");
        pacer.set_rate(now, Some(10_000_000), Some(Duration::from_millis(20)));
        let (mut sent, mut burst, mut longest) = (0, 0, 0);
        while now < start + Duration::from_secs(1) {
            match pacer.check(now) {
                Ok(()) => {
                    pacer.sent(1000);
                    sent += 1000;
                    burst += 1000;
                    longest = longest.max(burst);
                }
                Err(at) => {
                    assert!(at > now);
                    // Woken late by up to a millisecond.
                    now = at + Duration::from_millis(1);
                    burst = 0;
                }
            }
        }
        assert!((9_800_000..=10_100_000).contains(&sent), "{sent}");
        assert!(longest <= 22_000, "{longest}");
    }
}
