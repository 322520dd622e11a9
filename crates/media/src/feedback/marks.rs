//! What becomes of the ECN marks that we send. A path may take them away, or lose what bears them, and a queue that marks may be of the
//! old kind (RFC 3168), which marks only when it is long: a controller that expects the low delay of L4S (RFC 9331 §4.3) must not trust it.

use std::time::{Duration, Instant};

use antiphon_sansio::Ecn;

use crate::congestion::PacketResult;
use crate::stats::{EcnStats, MarkingEnd};

/// So many marked packets in a row that arrive without a mark: somebody takes marks away, or the peer cannot read them.
const BARE: u32 = 40;
/// So many marked packets, the first of all, that are lost: a path that drops what is marked.
const SWALLOWED: u32 = 40;
/// A packet with a congestion mark that has waited longer than this, and than `FRAMES` packets take, has stood in a long queue.
const DEEP: Duration = Duration::from_millis(40);
/// Packets of full size; a low rate makes a queue of a few of them long in time.
const FRAMES: u64 = 2 * 1200 * 8;
/// How fast the share of deep waits among congestion marks is forgotten. Above a half the queue is a long one ...
const GAIN: f64 = 1.0 / 16.0;
/// ... and an old one if it stays so for this long: a queue of L4S is long too while flows begin and probes are sent.
const STAYS: Duration = Duration::from_secs(3);
/// The least transit is that of this long, and of as long before.
const PART: Duration = Duration::from_secs(10);

/// Watches the marks of one route.
#[derive(Debug, Default)]
pub(crate) struct Marks {
    /// Why no mark is sent on this route any more.
    ended: Option<MarkingEnd>,
    /// Whether a mark has ever come through.
    carried: bool,
    /// Marked packets in a row that came without one, and those that were lost before any came.
    bare: u32,
    swallowed: u32,
    /// The share of deep waits among congestion marks, 0 to 1.
    deep: f64,
    /// Since when it has been above a half.
    long_since: Option<Instant>,
    /// The least transit of this part of the time and of the one before, microseconds between two clocks.
    least: [Option<i64>; 2],
    /// When this part began.
    since: Option<Instant>,
    count: EcnStats,
}

impl Marks {
    /// Whether marks may be sent.
    #[inline]
    pub(crate) fn may_be_sent(&self) -> bool {
        self.ended.is_none()
    }

    /// A packet left that bears a mark.
    #[inline]
    pub(crate) fn sent(&mut self) {
        self.count.packets_sent_with_ect += 1;
    }

    /// What was counted.
    pub(crate) fn stats(&self) -> EcnStats {
        EcnStats {
            marking_ended: self.ended,
            ..self.count
        }
    }

    /// Another route: nothing is known of it.
    pub(crate) fn route_changed(&mut self) {
        *self = Self {
            count: self.count,
            ..Self::default()
        };
    }

    /// Feedback came. `rate`: what is sent, in bits a second, as far as it is known.
    pub(crate) fn take(&mut self, results: &[PacketResult], rate: Option<u64>) {
        let packets = rate.map_or(Duration::ZERO, |rate| {
            Duration::from_micros(FRAMES * 1_000_000 / rate.max(10_000))
        });
        let deep = (DEEP + packets).as_micros() as i64;
        for result in results {
            let waited = result.arrival.map(|arrival| self.waited(result.sent.at, arrival));
            if result.sent.ecn != Ecn::NotEct {
                self.judge(result.sent.at, result.ecn, waited, deep);
            }
        }
    }

    /// How long a packet has waited beyond the least transit, microseconds.
    fn waited(&mut self, sent: Instant, arrival: Instant) -> i64 {
        let apart = |late: Instant, early: Instant| late.saturating_duration_since(early).as_micros() as i64;
        let transit = apart(arrival, sent) - apart(sent, arrival);
        let since = *self.since.get_or_insert(sent);
        if sent.saturating_duration_since(since) > PART {
            self.least = [None, self.least[0]];
            self.since = Some(sent);
        }
        self.least[0] = Some(self.least[0].map_or(transit, |least| least.min(transit)));
        let base = self.least.iter().flatten().min().copied().unwrap_or(transit);
        transit - base
    }

    /// What came of a packet that bore a mark: the mark that it arrived with, and how long it has waited, if it arrived.
    fn judge(&mut self, sent: Instant, arrived_with: Ecn, waited: Option<i64>, deep: i64) {
        let Some(waited) = waited else {
            // A packet told lost may be told so again; while nothing has come at all that makes no difference.
            self.swallowed += u32::from(!self.carried);
            if self.swallowed >= SWALLOWED {
                self.end(MarkingEnd::Swallowed);
            }
            return;
        };
        self.swallowed = 0;
        if arrived_with == Ecn::NotEct {
            self.count.packets_with_bleached_marking += 1;
            self.bare += 1;
            if self.bare >= BARE {
                self.end(MarkingEnd::Bleached);
            }
            return;
        }
        (self.carried, self.bare) = (true, 0);
        if arrived_with == Ecn::Ce {
            self.count.packets_reported_with_ce += 1;
            self.deep += GAIN * (f64::from(u8::from(waited > deep)) - self.deep);
            if self.deep <= 0.5 {
                self.long_since = None;
            } else if sent.saturating_duration_since(*self.long_since.get_or_insert(sent)) > STAYS {
                self.end(MarkingEnd::ClassicQueue);
            }
        }
    }

    /// No mark is sent on this route from now on.
    pub(crate) fn end(&mut self, why: MarkingEnd) {
        self.ended.get_or_insert(why);
    }
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;

    use super::*;
    use crate::congestion::{PacketId, Sent};

    /// Packets that left at so many a second with ECT(1), and what came of each: the mark and the wait, or nothing.
    struct Path {
        marks: Marks,
        now: Instant,
        rate: u64,
    }

    impl Path {
        fn new(rate: u64) -> Self {
            Self {
                marks: Marks::default(),
                now: start(),
                rate,
            }
        }

        fn packet(&mut self, fate: Option<(Ecn, u64)>) {
            self.now += Duration::from_micros(9_600_000_000 / self.rate);
            self.marks.sent();
            let sent = Sent {
                id: PacketId(0),
                at: self.now,
                bytes: 1200,
                total: 0,
                ecn: Ecn::Ect1,
                probe: None,
                padding: false,
            };
            // The peer's clock is an hour ahead.
            let far = Duration::from_secs(3600) + Duration::from_millis(25);
            let result = PacketResult {
                sent,
                arrival: fate.map(|(_, wait)| self.now + far + Duration::from_millis(wait)),
                ecn: fate.map_or(Ecn::NotEct, |(ecn, _)| ecn),
            };
            self.marks.take(&[result], Some(self.rate));
        }
    }

    #[test]
    fn marks_that_are_taken_away_are_sent_no_more_until_another_route() {
        let mut path = Path::new(1_000_000);
        (0..BARE - 1).for_each(|_| path.packet(Some((Ecn::NotEct, 0))));
        // One that comes through shows that the path carries them.
        path.packet(Some((Ecn::Ect1, 0)));
        (0..BARE - 1).for_each(|_| path.packet(Some((Ecn::NotEct, 0))));
        assert!(path.marks.may_be_sent());
        path.packet(Some((Ecn::NotEct, 0)));
        assert!(!path.marks.may_be_sent());
        let stats = path.marks.stats();
        assert_eq!(stats.marking_ended, Some(MarkingEnd::Bleached));
        assert_eq!(
            (stats.packets_sent_with_ect, stats.packets_with_bleached_marking),
            (u64::from(2 * BARE), u64::from(2 * BARE - 1))
        );
        path.marks.route_changed();
        assert!(path.marks.may_be_sent() && path.marks.stats().packets_sent_with_ect > 0);
    }

    #[test]
    fn a_path_that_swallows_what_is_marked_is_found_at_once_alone() {
        let mut path = Path::new(1_000_000);
        (0..SWALLOWED).for_each(|_| path.packet(None));
        assert_eq!(path.marks.stats().marking_ended, Some(MarkingEnd::Swallowed));
        // Where marks have come through, what is lost later is an outage.
        let mut path = Path::new(1_000_000);
        path.packet(Some((Ecn::Ect1, 0)));
        (0..1000).for_each(|_| path.packet(None));
        assert!(path.marks.may_be_sent());
    }

    #[test]
    fn a_long_queue_that_marks_is_an_old_one() {
        for (rate, wait, classic) in [
            (2_000_000, 10, false),
            (2_000_000, 90, true),
            (600_000, 60, false),
            (600_000, 120, true),
            (100_000_000, 5, false),
        ] {
            let mut path = Path::new(rate);
            (0..50).for_each(|_| path.packet(Some((Ecn::Ect1, 0))));
            let second = rate / 9600;
            for n in 0..4 * second {
                path.packet(Some((if n % 4 == 0 { Ecn::Ce } else { Ecn::Ect1 }, wait)));
            }
            let ended = path.marks.stats().marking_ended;
            assert_eq!(ended, classic.then_some(MarkingEnd::ClassicQueue), "{rate} {wait}");
            assert_eq!(path.marks.stats().packets_reported_with_ce, second);
        }
        // A queue that is long for a second or two, or a burst now and then, is no such queue.
        let mut path = Path::new(2_000_000);
        path.packet(Some((Ecn::Ect1, 0)));
        (0..400).for_each(|_| path.packet(Some((Ecn::Ce, 90))));
        for n in 0..2000 {
            path.packet(Some((Ecn::Ce, if n % 100 < 8 { 90 } else { 3 })));
        }
        assert!(path.marks.may_be_sent());
    }
}
