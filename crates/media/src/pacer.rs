use std::time::{Duration, Instant};

/// Pacing is this much faster than the estimate, so that a large frame does not take a frame's time.
const FACTOR: f64 = 2.5;
/// Pacing rate while there is no estimate: the peer gives no feedback to pace by.
const UNKNOWN: f64 = 50_000_000.0;
/// Packets go in bursts this long: few wake-ups, and batches for the driver.
const BURST: Duration = Duration::from_millis(5);
/// What waits leaves within this long, whatever the estimate says: an encoder that ignores it costs loss, not ever more delay.
const MAX_QUEUE: f64 = 0.5;

/// Spaces packets of video and retransmissions. Sound passes by, and is only counted.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// When what was sent so far has been paid for.
    paid: Instant,
    /// In the middle of a burst.
    open: bool,
}

impl Pacer {
    pub(crate) fn new(now: Instant) -> Self {
        Self { paid: now, open: false }
    }

    /// Whether a packet may leave now.
    pub(crate) fn ready(&mut self, now: Instant) -> bool {
        if self.paid <= now {
            self.open = true;
        } else if self.paid > now + BURST {
            self.open = false;
        }
        self.open
    }

    /// When a packet may leave, if one waits.
    pub(crate) fn next(&self) -> Instant {
        self.paid
    }

    /// The burst is over because nothing waits any more.
    pub(crate) fn idle(&mut self) {
        self.open = false;
    }

    /// A packet left.
    pub(crate) fn sent(&mut self, now: Instant, bytes: usize, queued: usize, target: Option<u64>) {
        let rate = target.map_or(UNKNOWN, |target| target as f64 * FACTOR);
        let rate = rate.max(queued as f64 * 8.0 / MAX_QUEUE);
        let cost = Duration::from_secs_f64(bytes as f64 * 8.0 / rate.max(10_000.0));
        // No credit for silence.
        self.paid = self.paid.max(now) + cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn paces_at_the_rate_in_bursts() {
        let mut now = Instant::now();
        let start = now;
        let mut pacer = Pacer::new(now);
        let (mut sent, mut wakes) = (0, 0);
        while sent < 1000 {
            while sent < 1000 && pacer.ready(now) {
                pacer.sent(now, 1000, 0, Some(3_200_000));
                sent += 1;
            }
            if sent < 1000 {
                assert!(pacer.next() > now, "law 2");
                now = pacer.next();
                wakes += 1;
            }
        }
        // 8 Mbit at 8 Mbit/s; a burst holds about six packets.
        let took = (now - start).as_secs_f64();
        assert!((0.97..1.01).contains(&took), "{took}");
        assert!((120..220).contains(&wakes), "{wakes}");
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_long_queue_speeds_it_up() {
        let now = Instant::now();
        let mut pacer = Pacer::new(now);
        pacer.sent(now, 1000, 1_000_000, Some(100_000));
        assert!(pacer.next() - now < Duration::from_millis(1));
    }
}
