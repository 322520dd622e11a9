//! When somebody else fills the queue: a TCP goes on until packets are lost, so whoever gives way to a queue gives it everything.
//!
//! A queue that we made ourselves is empty soon after we send less than the path carries. One that stands although we have given
//! way is somebody else's. Giving way is in vain then, and we do as the others do: the rate grows as that of a TCP does, by a
//! packet in a round trip (RFC 5681 §3.1), and falls where packets are lost, once for all those that left before it fell. It falls
//! to three quarters: with less left a CUBIC (RFC 9438 §4.6), which comes back faster than it fell, would take all there is.
//! When the queue is empty the contest is over: the others have left, or it was our own fall that emptied it.

use std::time::{Duration, Instant};

use super::delay::View;

/// What is left of the rate when packets were lost.
const BETA: f64 = 0.75;
/// What a packet of a TCP has, bits.
const PACKET: f64 = 1500.0 * 8.0;
/// A round trip counts for no more than this, seconds: CUBIC grows by the clock, so in a deep queue we must not wait for ours.
const LONGEST: f64 = 0.37;
/// A wait that grows by this much, microseconds, while we send no more, is a queue that others fill ...
const MOVES: i64 = 4_000;
/// ... and one that does not, for this long, is none.
const STILL: Duration = Duration::from_millis(1500);
/// Who has raised the rate to so many times what it was, ...
const MORE: f64 = 1.15;
/// ... and of whom no more than so many times as much arrives, has filled the queue himself.
const SAME: f64 = 1.05;
/// What arrives is measured over this long.
const FELT: Duration = Duration::from_millis(500);
/// After this long it is asked anew whose queue it is.
const LIFE: Duration = Duration::from_secs(30);

/// A contest for a queue that is not ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Contest {
    since: Instant,
    /// When the rate was last lowered for a loss.
    lowered: Instant,
    /// The least wait since it began, microseconds.
    least: i64,
    /// The queue has grown, though we sent no more, or was full.
    shared: bool,
    /// The least and the most that arrived since the last fall could be felt, and the rate at the beginning of that, bits a second.
    from: f64,
    arrived: Option<(f64, f64)>,
    /// More was sent, and no more arrived.
    alone: bool,
}

impl Contest {
    pub(super) fn new(view: &View, rate: f64) -> Self {
        Self {
            since: view.now,
            lowered: view.now,
            least: view.standing,
            shared: false,
            from: rate,
            arrived: None,
            alone: false,
        }
    }

    /// The least wait since it began, microseconds.
    pub(super) fn least(&self) -> i64 {
        self.least
    }

    /// Whether it is time to give way again, to see whose queue it is.
    pub(super) fn is_old(&self, now: Instant) -> bool {
        now.saturating_duration_since(self.since) > LIFE
    }

    /// Whether nobody else is there, but the path has become longer: the wait has stayed what it was, or all that was sent more
    /// has only filled the queue.
    pub(super) fn is_alone(&self, view: &View) -> bool {
        self.alone || !self.shared && view.now.saturating_duration_since(self.since) > STILL + view.response
    }

    /// The rate after this feedback.
    pub(super) fn rate(&mut self, view: &View, rate: f64, elapsed: f64) -> f64 {
        self.least = self.least.min(view.standing);
        self.shared |= view.standing - self.least > MOVES;
        if let Some(acked) = view.acked
            && view.now.saturating_duration_since(self.lowered) > view.response + FELT
        {
            if self.arrived.is_none() {
                self.from = rate;
            }
            let (least, most) = self.arrived.unwrap_or((acked, acked));
            let (least, most) = (least.min(acked), most.max(acked));
            self.arrived = Some((least, most));
            self.alone = rate > MORE * self.from && most < SAME * least;
        }
        // What left in the first moments after a fall was still made by the rate before.
        if view.lost.is_some_and(|sent| sent > self.lowered + view.response / 2) {
            (self.lowered, self.arrived, self.from) = (view.now, None, BETA * rate);
            self.shared = true;
            return BETA * rate;
        }
        if view.limited || !self.shared {
            return rate;
        }
        let round = view.response.as_secs_f64().min(LONGEST);
        rate + PACKET / (round * round) * elapsed
    }
}

#[cfg(test)]
mod tests {
    use super::super::trendline::Usage;
    use super::*;

    fn view(now: Instant, standing: i64, lost: Option<Instant>) -> View {
        View {
            now,
            response: Duration::from_millis(300),
            usage: Usage::Normal,
            acked: None,
            recent: None,
            standing,
            jitter: 0,
            limited: false,
            lost,
        }
    }

    #[test]
    fn it_grows_beside_others_falls_once_for_a_loss_and_ends_where_nothing_moves() {
        let start = antiphon_netsim::start();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut contest = Contest::new(&view(start, 70_000, None), 500e3);
        assert_eq!(
            contest.rate(&view(at(100), 70_000, None), 500e3, 0.1),
            500e3,
            "nobody is seen yet"
        );
        assert!(!contest.is_alone(&view(at(1700), 70_000, None)));
        assert!(contest.is_alone(&view(at(1900), 70_000, None)), "a longer path");
        let grown = contest.rate(&view(at(200), 75_000, None), 500e3, 0.1);
        assert!(
            (513e3..514e3).contains(&grown),
            "a packet in 300 ms, each 300 ms: {grown}"
        );
        assert!(!contest.is_alone(&view(at(1900), 70_000, None)));
        let lost = |sent: u64| Some(at(sent));
        assert_eq!(contest.rate(&view(at(1000), 99_000, lost(900)), 500e3, 0.1), 375e3);
        let again = contest.rate(&view(at(1200), 99_000, lost(1100)), 375e3, 0.1);
        assert!(again > 375e3, "sent before the fall could be felt");
        assert_eq!(contest.rate(&view(at(1400), 99_000, lost(1200)), 400e3, 0.1), 300e3);
        assert!(contest.is_old(at(30_001)) && !contest.is_old(at(29_999)));
    }
}
