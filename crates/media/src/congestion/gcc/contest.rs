//! When somebody else fills the queue: a TCP goes on until packets are lost, so whoever gives way to a queue gives it everything.
//!
//! A queue that we made ourselves is empty soon after we send less than the path carries. One that stands although we have given
//! way is somebody else's. Giving way is in vain then, and we do as the others do: the rate grows as that of a TCP does, by a
//! packet in a round trip (RFC 5681 §3.1), and falls where packets are lost, once for all those that left before it fell. It falls
//! to three quarters: with less left a CUBIC (RFC 9438 §4.6), which comes back faster than it fell, would take all there is.
//! When the queue is empty the contest is over: the others have left, or it was our own fall that emptied it.

use std::time::{Duration, Instant};

use super::trendline::Usage;

/// What is left of the rate when packets were lost.
const BETA: f64 = 0.75;
/// Above so many times what a TCP would send with the same losses and round trip it does not grow: that is half of what RFC 8083 §4.3
/// allows, whose breaker must not trip. (A TCP loses many packets at once and falls once, so that it has more than this rate in truth.)
const FAIR: f64 = 5.0;
/// Losses are looked at over so many seconds, about as the breaker does.
const MEMORY: f64 = 8.0;
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

/// What the rate is decided by, with or without a contest.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View {
    pub(crate) now: Instant,
    /// From a packet's departure to the feedback on it.
    pub(crate) response: Duration,
    pub(crate) usage: Usage,
    /// What arrives, bits a second: over half a second ...
    pub(crate) acked: Option<f64>,
    /// ... and over the last moments.
    pub(crate) recent: Option<f64>,
    /// What every packet waited at least, microseconds.
    pub(crate) standing: i64,
    /// By how much the waits of neighbours differ, microseconds.
    pub(crate) jitter: i64,
    /// The application does not use what it has.
    pub(crate) limited: bool,
    /// The part of the packets that is lost, smoothed, 0 to 1.
    pub(crate) loss: f64,
    /// When the newest packet left that this feedback calls lost.
    pub(crate) lost: Option<Instant>,
}

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
    /// The part of the packets that was lost in the last [`MEMORY`] seconds or so.
    loss: f64,
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
            loss: view.loss,
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
        self.loss += (view.loss - self.loss) * (elapsed / MEMORY).min(1.0);
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
        if view.limited || !self.shared || rate > FAIR * self.tcp(view) {
            return rate;
        }
        let round = view.response.as_secs_f64().min(LONGEST);
        rate + PACKET / (round * round) * elapsed
    }

    /// What a TCP would send with these losses, bits a second (RFC 8083 §4.3, the simplified equation).
    fn tcp(&self, view: &View) -> f64 {
        PACKET / (view.response.as_secs_f64().max(0.001) * (2.0 * self.loss.max(1e-6) / 3.0).sqrt())
    }
}

#[cfg(test)]
mod tests {
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
            loss: 0.0,
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
