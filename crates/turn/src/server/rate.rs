//! Token buckets for each source, in a table of fixed size; and how much is relayed in a second.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::net::IpAddr;
use std::time::{Duration, Instant};

use antiphon_sansio::Rng;

/// Buckets of a table. Sources share them by a keyed hash: nobody outside can find out who shares one with whom.
const BUCKETS: usize = 4096;

/// How often something may happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// In the long run.
    pub per_second: u32,
    /// At once, after a pause.
    pub burst: u32,
}

/// What a source used up, in thousandths, as of a time.
#[derive(Clone, Copy, Default)]
struct Bucket {
    used: u64,
    at_ms: u64,
}

pub(super) struct RateLimit {
    rate: Rate,
    secret: u64,
    start: Instant,
    buckets: Box<[Bucket]>,
}

impl RateLimit {
    /// For addresses.
    pub(super) fn new(rate: Rate, start: Instant, rng: &mut Rng) -> Self {
        Self::with_buckets(BUCKETS, rate, start, rng)
    }

    /// For clients: more than addresses.
    pub(super) fn for_clients(rate: Rate, start: Instant, rng: &mut Rng) -> Self {
        Self::with_buckets(16 * BUCKETS, rate, start, rng)
    }

    fn with_buckets(buckets: usize, rate: Rate, start: Instant, rng: &mut Rng) -> Self {
        Self {
            rate,
            secret: rng.u64(),
            start,
            buckets: vec![Bucket::default(); buckets].into_boxed_slice(),
        }
    }

    /// The source's bucket, with what has drained since.
    fn bucket(&mut self, now: Instant, source: impl Hash) -> &mut Bucket {
        let index = keyed_hash(self.secret, source) as usize % self.buckets.len();
        let now_ms = now.saturating_duration_since(self.start).as_millis() as u64;
        let bucket = &mut self.buckets[index];
        let drained = now_ms
            .saturating_sub(bucket.at_ms)
            .saturating_mul(u64::from(self.rate.per_second));
        bucket.used = bucket.used.saturating_sub(drained);
        bucket.at_ms = bucket.at_ms.max(now_ms);
        bucket
    }

    /// Whether the source has something left.
    pub(super) fn has_room(&mut self, now: Instant, source: impl Hash) -> bool {
        let burst = u64::from(self.rate.burst) * 1000;
        self.bucket(now, source).used + 1000 <= burst
    }

    /// Takes one; `false` if nothing is left.
    pub(super) fn take(&mut self, now: Instant, source: impl Hash) -> bool {
        let burst = u64::from(self.rate.burst) * 1000;
        let bucket = self.bucket(now, source);
        let room = bucket.used + 1000 <= burst;
        if room {
            bucket.used += 1000;
        }
        room
    }
}

fn keyed_hash(secret: u64, what: impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    hasher.write_u64(secret);
    what.hash(&mut hasher);
    hasher.finish()
}

/// Which sources somebody was seen at, in a table of fixed size: what is older makes room for what is newer.
pub(super) struct Seen {
    secret: u64,
    entries: Box<[Option<(u64, Instant)>]>,
}

impl Seen {
    pub(super) fn new(rng: &mut Rng) -> Self {
        Self {
            secret: rng.u64(),
            entries: vec![None; BUCKETS].into_boxed_slice(),
        }
    }

    pub(super) fn note(&mut self, now: Instant, what: impl Hash) {
        let hash = keyed_hash(self.secret, what);
        self.entries[hash as usize % BUCKETS] = Some((hash, now));
    }

    /// Whether it was noted within that time.
    pub(super) fn within(&self, now: Instant, time: Duration, what: impl Hash) -> bool {
        let hash = keyed_hash(self.secret, what);
        self.entries[hash as usize % BUCKETS]
            .is_some_and(|(known, at)| known == hash && now.saturating_duration_since(at) <= time)
    }
}

/// How much may be under way at once above the rate: this long at that rate.
const BACKLOG: Duration = Duration::from_secs(1);

/// How far somebody who relays is ahead of a cap: when all that was let through would have passed at the capped rate.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter(Option<Instant>);

impl Meter {
    /// Whether one more datagram is let through. Slow caps let one through at a time, however long it is.
    pub(super) fn has_room(&self, now: Instant) -> bool {
        self.0
            .is_none_or(|clear| clear.saturating_duration_since(now) < BACKLOG)
    }

    /// Counts a datagram that was let through. `cap` is in bits a second.
    pub(super) fn add(&mut self, now: Instant, bytes: usize, cap: u64) {
        let nanoseconds = (bytes as u64).saturating_mul(8_000_000_000) / cap.max(1);
        let from = self.0.map_or(now, |clear| clear.max(now));
        // A datagram of 1500 bytes at one bit a second: 12 000 seconds.
        self.0 = Some(from + Duration::from_nanos(nanoseconds));
    }

    /// Whether nothing is left to remember.
    pub(super) fn is_clear(&self, now: Instant) -> bool {
        self.0.is_none_or(|clear| clear <= now)
    }
}

/// Who counts as one source: an IPv4 address, or an IPv6 network of 64 bits, which one customer commonly has.
pub(super) fn source_key(ip: IpAddr) -> u128 {
    match ip {
        IpAddr::V4(ip) => u128::from(u32::from(ip)),
        IpAddr::V6(ip) => u128::from(ip) | u128::from(u64::MAX),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_burst_and_then_the_rate() {
        let start = Instant::now();
        let rate = Rate {
            per_second: 10,
            burst: 5,
        };
        let mut limit = RateLimit::new(rate, start, &mut Rng::from_u64(1));
        let source: IpAddr = "203.0.113.1".parse().unwrap();
        let taken = (0..100).filter(|_| limit.take(start, source)).count();
        assert_eq!(taken, 5);
        let taken = (0..1000u64)
            .filter(|ms| limit.take(start + Duration::from_millis(*ms), source))
            .count();
        assert_eq!(taken, 9);
        // A long pause gives the burst back, no more.
        let later = start + Duration::from_secs(3600);
        assert_eq!((0..100).filter(|_| limit.take(later, source)).count(), 5);
        assert!(
            limit.take(later, "2001:db8::1".parse::<IpAddr>().unwrap()),
            "another source has its own"
        );
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn what_was_seen_is_forgotten_in_time_and_never_confused() {
        let start = Instant::now();
        let mut seen = Seen::new(&mut Rng::from_u64(1));
        let hour = Duration::from_secs(3600);
        for n in 0..10_000u32 {
            seen.note(start, n);
            assert!(seen.within(start + hour, hour, n));
            assert!(!seen.within(start + hour * 2, hour, n));
        }
        let kept = (0..10_000u32).filter(|n| seen.within(start, hour, n)).count();
        assert!((1..=BUCKETS).contains(&kept), "{kept} in a table of {BUCKETS}");
        assert!((10_000..20_000u32).all(|n| !seen.within(start, hour, n)));
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn a_meter_lets_the_capped_rate_through() {
        let start = Instant::now();
        for (cap, bytes) in [(80_000u64, 1000usize), (8_000_000, 1200), (100, 1500), (1, 1)] {
            let mut meter = Meter::default();
            let mut passed = 0u64;
            // An hour of a datagram every 10 ms; what is offered is more than the cap, or all of it passes.
            for n in 0..360_000u64 {
                let now = start + Duration::from_millis(10 * n);
                if meter.has_room(now) {
                    meter.add(now, bytes, cap);
                    passed += bytes as u64 * 8;
                }
            }
            let most = cap * 3601 + bytes as u64 * 8;
            let least = (cap * 3600).min(360_000 * bytes as u64 * 8);
            assert!((least..=most).contains(&passed), "{cap}: {passed} of {least} to {most}");
            assert!(meter.is_clear(start + Duration::from_secs(20_000)));
        }
    }

    #[test]
    fn one_customer_is_one_source() {
        let key = |ip: &str| source_key(ip.parse().unwrap());
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_ne!(key("203.0.113.1"), key("203.0.113.2"));
    }
}
