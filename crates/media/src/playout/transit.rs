//! When media comes, against its own clock. The fastest of what came lately is the base on which the schedule stands; all else is
//! late against it. So a drift of the peer's clock, and a way through the network that has become longer or shorter, are followed by
//! themselves.

use std::time::{Duration, Instant};

/// The base is the fastest of so many spans.
const SPANS: usize = 8;
/// How long a span lasts at least, microseconds. Two seconds together: long enough for a fast packet among slow ones, and short enough
/// to follow a new way.
const SPAN: i64 = 250_000;
/// After so long without anything, microseconds, what comes stands for itself: the source may have stopped its clock meanwhile.
const QUIET: i64 = 1_000_000;
/// What is farther than this from where it is expected, microseconds, is of another clock.
const MAX_APART: i64 = 10_000_000;

/// Tells by how much media comes later than the fastest of late. Times are microseconds, of media and of ours, each from a beginning
/// of its own.
#[derive(Debug)]
pub(crate) struct Transit {
    origin: Instant,
    /// The newest timestamp, and its ticks without wraps.
    newest: Option<(u32, i64)>,
    arrived: i64,
    /// The least difference between arrival and media in each span.
    least: [i64; SPANS],
    span: usize,
    span_began: i64,
}

/// One arrival.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Arrived {
    /// The time of the media.
    pub(crate) media: i64,
    /// By how much it is later than the fastest.
    pub(crate) late: i64,
    /// By how much the fastest of late have become slower: what was thought late before is by so much less.
    pub(crate) slower: i64,
    /// Whether times begin anew with it: those of before have no meaning any more.
    pub(crate) anew: bool,
}

impl Transit {
    pub(crate) fn new(origin: Instant) -> Self {
        Self {
            origin,
            newest: None,
            arrived: 0,
            least: [i64::MAX; SPANS],
            span: 0,
            span_began: 0,
        }
    }

    /// Media of this timestamp has come.
    pub(crate) fn arrive(&mut self, now: Instant, timestamp: u32, clock_rate: u32) -> Arrived {
        let at = self.micros(now);
        let first = self.newest.is_none();
        let ticks = self.ticks(timestamp);
        let media = micros(ticks, clock_rate);
        let apart = (at - media).saturating_sub(self.base());
        if first || !(-MAX_APART..=MAX_APART).contains(&apart) {
            self.newest = Some((timestamp, 0));
            self.least = [i64::MAX; SPANS];
            self.take(at, at);
            return Arrived {
                media: 0,
                late: 0,
                slower: 0,
                anew: true,
            };
        }
        if self.newest.is_some_and(|(_, newest)| ticks > newest) {
            self.newest = Some((timestamp, ticks));
        }
        if at - self.arrived >= QUIET {
            self.least = [i64::MAX; SPANS];
        }
        let before = self.known_base().unwrap_or(i64::MAX);
        self.take(at, at - media);
        Arrived {
            media,
            late: at - media - self.base(),
            slower: self.base().saturating_sub(before).max(0),
            anew: false,
        }
    }

    fn take(&mut self, at: i64, difference: i64) {
        self.arrived = at;
        if at - self.span_began >= SPAN {
            // One span further, however long nothing came: only what came can replace what came before.
            self.span_began = at;
            self.span = (self.span + 1) % SPANS;
            self.least[self.span] = i64::MAX;
        }
        self.least[self.span] = self.least[self.span].min(difference);
    }

    fn ticks(&self, timestamp: u32) -> i64 {
        self.newest.map_or(0, |(newest, ticks)| {
            ticks + i64::from(timestamp.wrapping_sub(newest) as i32)
        })
    }

    /// The time of media of this timestamp, which is near to the newest.
    pub(crate) fn media(&self, timestamp: u32, clock_rate: u32) -> i64 {
        micros(self.ticks(timestamp), clock_rate)
    }

    /// The difference between arrival and media of the fastest; 0 before anything came.
    pub(crate) fn base(&self) -> i64 {
        self.known_base().unwrap_or(0)
    }

    fn known_base(&self) -> Option<i64> {
        self.least.iter().copied().min().filter(|least| *least < i64::MAX)
    }

    /// Our time of an instant.
    pub(crate) fn micros(&self, at: Instant) -> i64 {
        i64::try_from(at.saturating_duration_since(self.origin).as_micros()).unwrap_or(i64::MAX / 4)
    }

    /// When media is due that is held back so long.
    pub(crate) fn due(&self, media: i64, delay: i64) -> Instant {
        let micros = media.saturating_add(self.base()).saturating_add(delay);
        self.instant(micros)
    }

    /// The instant of our time.
    pub(crate) fn instant(&self, micros: i64) -> Instant {
        let since = Duration::from_micros(u64::try_from(micros).unwrap_or(0));
        self.origin.checked_add(since).unwrap_or(self.origin)
    }
}

fn micros(ticks: i64, clock_rate: u32) -> i64 {
    let rate = i64::from(clock_rate.max(1));
    let part = ticks.rem_euclid(rate) * 1_000_000 / rate;
    ticks.div_euclid(rate).saturating_mul(1_000_000).saturating_add(part)
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;
    use proptest::prelude::*;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A clock of 1 kHz: a tick is a millisecond.
    fn arrive(transit: &mut Transit, at: u64, timestamp: u32) -> i64 {
        let now = start() + at as u32 * MS;
        transit.arrive(now, timestamp, 1000).late / 1000
    }

    #[test]
    fn lateness_is_against_the_fastest_of_late() {
        let mut transit = Transit::new(start());
        let begin = u32::MAX - 50; // wraps
        let at = |n: u32| begin.wrapping_add(n * 20);
        assert_eq!(arrive(&mut transit, 100, at(0)), 0);
        assert_eq!(arrive(&mut transit, 150, at(1)), 30);
        assert_eq!(arrive(&mut transit, 130, at(2)), 0, "faster than the first");
        assert_eq!(arrive(&mut transit, 160, at(3)), 10);
        assert_eq!(arrive(&mut transit, 170, at(1)), 60, "an old one");
        // The way becomes 200 ms longer: after two seconds that is how long it is.
        let mut last = 0;
        for n in 4..150 {
            last = arrive(&mut transit, 90 + u64::from(n) * 20 + 200, at(n));
            assert!(last == 200 || (n > 90 && last == 0), "{n}: {last}");
        }
        assert_eq!(last, 0);
    }

    #[test]
    fn a_pause_with_or_without_a_running_clock_makes_nothing_late() {
        let mut transit = Transit::new(start());
        for n in 0..100 {
            assert_eq!(arrive(&mut transit, n * 20, n as u32 * 20), 0);
        }
        // The clock stood still for five seconds, then ran for a minute without anything sent.
        assert_eq!(arrive(&mut transit, 7000, 2000), 0);
        assert_eq!(arrive(&mut transit, 7030, 2020), 10);
        assert_eq!(arrive(&mut transit, 67_000, 62_000), 0);
    }

    #[test]
    fn a_clock_that_jumps_begins_anew() {
        let mut transit = Transit::new(start());
        let now = start() + 100 * MS;
        assert!(transit.arrive(now, 5, 90_000).anew);
        assert!(!transit.arrive(now, 6, 90_000).anew);
        assert!(transit.arrive(now, 6 + (1 << 31), 90_000).anew);
        assert!(transit.arrive(now, 7, 0).anew, "a jump of seconds at no rate");
    }

    proptest! {
        #[test]
        fn no_timestamps_overflow(steps in prop::collection::vec((any::<u32>(), 0u64..1000), 0..200), rate: u32) {
            let mut transit = Transit::new(start());
            let mut now = start();
            for (timestamp, wait) in steps {
                now += Duration::from_millis(wait);
                let arrived = transit.arrive(now, timestamp, rate);
                prop_assert!((0..=2 * MAX_APART).contains(&arrived.late), "{arrived:?}");
                prop_assert!(transit.due(arrived.media, 0) <= now + Duration::from_secs(1));
            }
        }
    }
}
