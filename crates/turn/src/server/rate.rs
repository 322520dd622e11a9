//! Token buckets for each source, in a table of fixed size.

use std::hash::{DefaultHasher, Hasher as _};
use std::net::IpAddr;
use std::time::Instant;

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
    pub(super) fn new(rate: Rate, start: Instant, rng: &mut Rng) -> Self {
        Self {
            rate,
            secret: rng.u64(),
            start,
            buckets: vec![Bucket::default(); BUCKETS].into_boxed_slice(),
        }
    }

    /// The source's bucket, with what has drained since.
    fn bucket(&mut self, now: Instant, source: IpAddr) -> &mut Bucket {
        let mut hasher = DefaultHasher::new();
        hasher.write_u64(self.secret);
        hasher.write_u128(source_key(source));
        let index = hasher.finish() as usize % BUCKETS;
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
    pub(super) fn has_room(&mut self, now: Instant, source: IpAddr) -> bool {
        let burst = u64::from(self.rate.burst) * 1000;
        self.bucket(now, source).used + 1000 <= burst
    }

    /// Takes one; `false` if nothing is left.
    pub(super) fn take(&mut self, now: Instant, source: IpAddr) -> bool {
        let room = self.has_room(now, source);
        if room {
            self.bucket(now, source).used += 1000;
        }
        room
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
        let source = "203.0.113.1".parse().unwrap();
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
            limit.take(later, "2001:db8::1".parse().unwrap()),
            "another source has its own"
        );
    }

    #[test]
    fn one_customer_is_one_source() {
        let key = |ip: &str| source_key(ip.parse().unwrap());
        assert_eq!(key("2001:db8:0:1::1"), key("2001:db8:0:1:ffff::2"));
        assert_ne!(key("2001:db8:0:1::1"), key("2001:db8:0:2::1"));
        assert_ne!(key("203.0.113.1"), key("203.0.113.2"));
    }
}
