//! What may be sent: the estimate, and what of it is for media. What is sent a second time leaves less room.

use std::time::{Duration, Instant};

/// How often the rate is taken.
const PERIOD: Duration = Duration::from_millis(200);
/// How much of it is remembered, in seconds.
const MEMORY: f64 = 0.5;

/// What may be sent, bits a second; `None` as long as nothing is known.
#[derive(Debug)]
pub(super) struct Available {
    /// What all packets may take together.
    pub(super) total: Option<u64>,
    /// What of it is for media, as the application was told.
    pub(super) media: Option<u64>,
    pub(super) resending: Resending,
}

impl Available {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            total: None,
            media: None,
            resending: Resending::new(now),
        }
    }

    /// A new estimate, of which forward error correction adds so large a part to the media. What is for media, if it changes enough to
    /// be told.
    pub(super) fn set(&mut self, now: Instant, total: Option<u64>, repairs: f64) -> Option<u64> {
        self.total = total;
        let resent = self.resending.rate(now);
        // Media at the whole rate beside what is sent again would give a link that drops ever more to drop. Half is left to media:
        // that is what it is all for.
        let media = total.map(|bps| {
            let bps = bps as f64;
            ((bps - resent) / (1.0 + repairs)).max(bps / 2.0) as u64
        });
        let told = self.media.unwrap_or(0);
        if media.is_some_and(|bps| bps.abs_diff(told) * 20 < told) {
            return None;
        }
        self.media = media;
        media
    }
}

/// The rate of retransmissions, by the last half second or so.
#[derive(Debug)]
pub(super) struct Resending {
    /// Bytes that were sent again since then.
    bytes: u64,
    since: Instant,
    /// Bits a second.
    rate: f64,
}

impl Resending {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            bytes: 0,
            since: now,
            rate: 0.0,
        }
    }

    /// A packet was sent again.
    #[inline]
    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// The rate in bits a second.
    pub(super) fn rate(&mut self, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= PERIOD {
            let seconds = elapsed.as_secs_f64();
            let rate = self.bytes as f64 * 8.0 / seconds;
            self.rate += (rate - self.rate) * seconds / (seconds + MEMORY);
            (self.bytes, self.since) = (0, now);
        }
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;

    use super::*;

    #[test]
    fn it_follows_within_a_second_or_two() {
        let mut now = start();
        let mut resending = Resending::new(now);
        for _ in 0..40 {
            now += Duration::from_millis(50);
            resending.sent(625);
            resending.rate(now);
        }
        let rate = resending.rate(now);
        assert!((90_000.0..=100_000.0).contains(&rate), "{rate}");
        let rate = resending.rate(now + Duration::from_secs(4));
        assert!(rate < 15_000.0, "{rate}");
    }
}
