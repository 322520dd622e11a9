//! The rate that delay allows (draft-ietf-rmcat-gcc-02 §5.5): it grows while the queue does not, and falls below what the path
//! carries until the queue is empty. What the path was seen to carry is remembered, so that the rate comes back to it at once.

use std::time::{Duration, Instant};

use super::contest::{Contest, View};
use super::trendline::Usage;

/// The decrease on over-use (draft-ietf-rmcat-gcc-02 §5.5) with a short queue ...
const BETA: f64 = 0.85;
/// ... and with a long one: it shall be empty within a second.
const MIN_BETA: f64 = 0.5;
/// What the path was seen to carry is used to this part once the queue is empty.
const BACK: f64 = 0.95;
/// Growth a second while nothing is known of the path, before the first over-use.
const STARTUP: f64 = 2.0;
/// Growth a second far from what is known of the path (draft-ietf-rmcat-gcc-02 §5.5).
const FAR: f64 = 1.08;
/// What is not tried out is not known to be there: the rate stays below this part of what arrives.
const UNTRIED: f64 = 1.5;
/// A wait that is no longer than usual by this much is no queue of ours, microseconds.
const USUAL: i64 = 10_000;
/// A wait that is longer than usual by this much is one, though its growth was too slow to be seen.
const STANDS: i64 = 45_000;
/// So many times the jitter are added to these limits: they compare the least of some waits with the least of very many.
const JITTERS: i64 = 2;
/// A wait of less than this is an empty queue.
const EMPTY: i64 = 10_000;
/// Of who gives way to somebody else, less than this part of what came through before still arrives.
const YIELDED: f64 = 0.95;
/// Where the waits of neighbours differ by more, microseconds, the path is narrow or unsteady, and nothing tells whose queue it is.
const CALM: i64 = 3_500;
/// Where it does not tell, this part of what arrives is used.
const UNSURE: f64 = 0.9;
/// Who sends less than so many times the least rate has nothing left to give way with.
const LEAST: f64 = 1.2;
/// Where this part of what is sent arrives, the path carries what is sent.
const SAME: f64 = 0.85;
/// With a queue of this length only the newest arrivals say what the path carries.
const LONG: i64 = 30_000;
/// After a wait longer than this ...
const DEEP: i64 = 80_000;
/// ... nothing is sent faster than the path carries it, for so long.
const RECOVERY: Duration = Duration::from_secs(2);
/// The wait that is usual follows by this part with each feedback.
const FOLLOW: f64 = 0.01;

/// A queue that is being emptied.
#[derive(Clone, Copy, Debug)]
struct Drain {
    since: Instant,
    /// What arrived when it began, and the least that the path carried since.
    first: f64,
    capacity: f64,
    /// The longest wait that was seen.
    deepest: i64,
}

/// The rate, and what is known of the path.
#[derive(Debug)]
pub(crate) struct DelayBased {
    rate: f64,
    min: f64,
    max: f64,
    startup: bool,
    drain: Option<Drain>,
    /// Somebody else's queue stands, and we fill it with him.
    contest: Option<Contest>,
    /// Until when a long queue counts as just emptied.
    recovers: Option<Instant>,
    /// The rate around which over-use happened, smoothed, and its deviation.
    capacity: Option<(f64, f64)>,
    updated: Option<Instant>,
    decreased: Option<Instant>,
    /// The wait that is usual on this path, microseconds.
    usual: Option<f64>,
}

impl DelayBased {
    pub(crate) fn new(start: f64, min: f64, max: f64) -> Self {
        Self {
            rate: start,
            min,
            max,
            startup: true,
            drain: None,
            contest: None,
            recovers: None,
            capacity: None,
            updated: None,
            decreased: None,
            usual: None,
        }
    }

    /// Bits a second.
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    /// Whether a queue is being emptied.
    pub(crate) fn drains(&self) -> bool {
        self.drain.is_some()
    }

    /// Whether the queue is somebody else's, and we no longer give way to it.
    pub(crate) fn contends(&self) -> bool {
        self.contest.is_some()
    }

    /// Whether a long queue is being emptied, or was a moment ago.
    pub(crate) fn is_recovering(&self, now: Instant) -> bool {
        self.drain.is_some() || self.recovers.is_some_and(|until| now < until)
    }

    /// Whether no over-use was seen yet.
    pub(crate) fn is_startup(&self) -> bool {
        self.startup
    }

    /// When the rate was lowered last.
    pub(crate) fn decreased(&self) -> Option<Instant> {
        self.decreased
    }

    /// A probe has shown that the path carries this much.
    pub(crate) fn proved(&mut self, rate: f64) {
        if rate > self.rate {
            self.rate = rate.min(self.max);
            self.capacity = self.capacity.filter(|(capacity, _)| *capacity > 0.95 * rate);
        }
    }

    /// A probe has shown that the path carries no more than this.
    pub(crate) fn found(&mut self, capacity: f64) {
        self.rate = (BACK * capacity).clamp(self.min, self.max);
        self.startup = false;
    }

    /// Follows what other limits leave: what is not sent is not known to be there.
    pub(crate) fn limit(&mut self, rate: f64) {
        self.rate = self.rate.min(rate).max(self.min);
    }

    pub(crate) fn update(&mut self, view: &View) {
        let elapsed = self
            .updated
            .replace(view.now)
            .map_or(0.0, |at| view.now.saturating_duration_since(at).as_secs_f64().min(1.0));
        if let Some(contest) = self.contest {
            self.contend(contest, view, elapsed);
            return;
        }
        let usual = self.usual.get_or_insert(view.standing as f64);
        let above = view.standing - *usual as i64;
        let follow = if above < 0 { 0.2 } else { FOLLOW };
        *usual += follow * above as f64;
        let grows = view.usage == Usage::Over && above > USUAL + JITTERS * view.jitter;
        if grows || above > STANDS + JITTERS * view.jitter {
            // Who sends little does not make a queue; what is seen with little may be anything.
            if !view.limited || view.standing > STANDS {
                self.decrease(view);
            }
        }
        if self.drain.is_some() {
            self.drain(view);
        } else if view.usage == Usage::Normal && !view.limited {
            self.increase(view, elapsed);
        }
    }

    /// Somebody else fills the queue: takes a share of it, until it is empty or it is time to ask again.
    fn contend(&mut self, mut contest: Contest, view: &View, elapsed: f64) {
        let rate = contest.rate(view, self.rate, elapsed);
        let untried = view.acked.map_or(rate, |acked| UNTRIED * acked + 10_000.0);
        self.rate = rate.min(untried.max(self.rate)).clamp(self.min, self.max);
        self.contest = Some(contest);
        if view.standing < EMPTY + JITTERS * view.jitter || contest.is_old(view.now) {
            self.contest = None;
            self.usual = Some(0.0);
        } else if contest.is_alone(view) {
            self.contest = None;
            self.usual = Some(contest.least() as f64);
        }
    }

    fn decrease(&mut self, view: &View) {
        let measured = match (view.acked, view.recent) {
            (Some(acked), Some(recent)) if view.standing > LONG => acked.min(recent),
            (Some(acked), _) => acked,
            (None, recent) => recent.unwrap_or(self.rate),
        };
        let patience = view.response + Duration::from_millis(50);
        let waits = self
            .decreased
            .is_some_and(|at| view.now.saturating_duration_since(at) < patience);
        if waits && measured > 0.75 * self.rate {
            return;
        }
        // Who gives way to a queue that is not his finds that just what he sends arrives: that is no reason to send ever less.
        let same = measured > SAME * self.rate;
        let before = self.drain;
        let floor = before
            .filter(|_| same)
            .map_or(0.0, |drain| (MIN_BETA * drain.capacity).min(self.rate));
        self.startup = false;
        self.decreased = Some(view.now);
        self.sample(measured);
        let queue = view.standing as f64 / 1e6;
        let beta = (BETA + 0.05 - queue).clamp(MIN_BETA, BETA);
        self.rate = self.rate.min(beta * measured).max(floor).max(self.min);
        self.drain = Some(Drain {
            since: before.map_or(view.now, |drain| drain.since),
            first: before.map_or(measured, |drain| drain.first),
            capacity: match before {
                Some(drain) if same => drain.capacity,
                Some(drain) => drain.capacity.min(measured),
                None => measured,
            },
            deepest: before.map_or(view.standing, |drain| drain.deepest.max(view.standing)),
        });
    }

    /// Ends when the queue is empty, or when it should long have been.
    fn drain(&mut self, view: &View) {
        let Some(drain) = &mut self.drain else { return };
        drain.deepest = drain.deepest.max(view.standing);
        let usual = self.usual.unwrap_or(0.0) as i64;
        let elapsed = view.now.saturating_duration_since(drain.since);
        let answered = elapsed > view.response;
        let empty = view.standing
            < (EMPTY + JITTERS * view.jitter)
                .max(drain.deepest / 8)
                .max(usual.min(drain.deepest / 2));
        let drain = *drain;
        if answered && empty {
            self.drain = None;
            if drain.deepest > DEEP {
                self.recovers = Some(view.now + RECOVERY);
            }
            self.rate = self.rate.max(BACK * drain.capacity).min(self.max);
        } else {
            let due = Duration::from_micros(4 * drain.deepest.unsigned_abs()) + 2 * view.response;
            if elapsed > due.max(Duration::from_millis(500)) {
                self.give_up(view, &drain);
            }
        }
    }

    /// The queue stands though we have given way to it for long enough. If what arrives of us has become less, somebody else has
    /// taken what we left: a queue of our own would have let through what the path carries.
    fn give_up(&mut self, view: &View, drain: &Drain) {
        self.drain = None;
        self.usual = Some(view.standing as f64);
        let acked = view.acked.unwrap_or(drain.capacity);
        let gave_way = acked < YIELDED * drain.first || self.rate < LEAST * self.min;
        let back = if gave_way && view.jitter < CALM {
            self.contest = Some(Contest::new(view, BACK * drain.capacity));
            BACK * drain.capacity
        } else {
            UNSURE * acked.min(drain.capacity)
        };
        self.rate = self.rate.max(back).min(self.max);
    }

    /// draft-ietf-rmcat-gcc-02 §5.5: additive near what the path is known to carry, multiplicative far from it.
    fn increase(&mut self, view: &View, elapsed: f64) {
        if let (Some((capacity, deviation)), Some(acked)) = (self.capacity, view.acked)
            && acked > capacity + 3.0 * deviation
        {
            self.capacity = None;
        }
        let increased = if self.capacity.is_some() {
            // About one packet a response time.
            let packet = (self.rate / 30.0 / (1200.0 * 8.0)).ceil().max(1.0);
            let bits = self.rate / 30.0 / packet;
            let response = view.response.as_secs_f64() + 0.1;
            self.rate + (bits / response).max(4000.0) * elapsed
        } else if self.startup {
            self.rate * STARTUP.powf(elapsed)
        } else {
            self.rate * FAR.powf(elapsed)
        };
        let untried = view
            .acked
            .map_or(self.rate, |acked| (UNTRIED * acked + 10_000.0).max(self.rate));
        self.rate = increased.min(untried).clamp(self.min, self.max);
    }

    fn sample(&mut self, measured: f64) {
        self.capacity = Some(match self.capacity {
            Some((capacity, deviation)) if (measured - capacity).abs() <= 3.0 * deviation => {
                let deviation = 0.95 * deviation + 0.05 * (measured - capacity).abs();
                let capacity = 0.95 * capacity + 0.05 * measured;
                (capacity, deviation.clamp(0.02 * capacity, 0.2 * capacity))
            }
            _ => (measured, 0.05 * measured),
        });
    }
}
