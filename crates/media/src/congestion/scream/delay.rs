//! The round trip, how long the peer holds feedback back, and how long packets wait in queues on their way.

use std::time::{Duration, Instant};

use super::told::Told;

/// How much a new round trip counts, and one that is measured while the application sends less than it may: then nothing waits, and
/// what is measured is not what the rate is later divided by.
const RTT_GAIN: f64 = 1.0 / 8.0;
const LIMITED_RTT_GAIN: f64 = 1.0 / 128.0;
/// No round trip counts as longer than this, seconds: feedback may come minutes late.
const MAX_RTT: f64 = 2.0;
/// How much a new wait counts that is longer than those before; a shorter one is believed at once.
const QUEUE_GAIN: f64 = 1.0 / 4.0;
/// The wait that is aimed for at most, seconds. From half of it on the window shrinks.
const TARGET: f64 = 0.06;
/// A queue that never falls below this is standing, seconds ...
const STANDING: f64 = 0.005;
/// ... and growth slows down until it ends at this.
const SLOW: f64 = 0.01;
const SLOW_GAIN: f64 = 1.0 / 32.0;
/// The least transit is remembered in parts of this long, microseconds ...
const PART: i64 = 60_000_000;
/// ... and so many of them.
const PARTS: usize = 10;
/// A queue that stands this long is drained: ...
const DRAIN_AFTER: Duration = Duration::from_secs(20);
/// ... for so many round trips, but at least this long. What stands after it is no queue of ours.
const DRAIN_ROUNDS: f64 = 5.0;
const DRAIN_LEAST: f64 = 0.1;

/// What a queue is known by.
#[derive(Debug, Default)]
pub(super) struct Delay {
    /// Seconds, smoothed; zero before there was feedback.
    rtt: f64,
    /// From the first arrival that feedback speaks of to the last, seconds, smoothed.
    hold: f64,
    /// The round trip of the newest feedback, seconds.
    newest: f64,
    /// The least transit of each part, newest last; microseconds on two clocks.
    least: [Option<i64>; PARTS],
    part: i64,
    /// The wait in queues, seconds: rises slowly, falls at once.
    queue: f64,
    /// The same, smoothed both ways.
    mean: f64,
    /// Since when the queue stands, and since when it is drained.
    standing: Option<Instant>,
    draining: Option<Instant>,
}

impl Delay {
    /// Feedback came. `limited`: the application sends less than it may.
    pub(super) fn update(&mut self, now: Instant, told: &Told, limited: bool) {
        let Some(arrived) = &told.arrived else { return };
        let rtt = now.saturating_duration_since(arrived.newest).as_secs_f64();
        self.newest = rtt.clamp(0.001, MAX_RTT);
        let hold = (arrived.last.saturating_sub(arrived.first) as f64 / 1e6).clamp(0.0, MAX_RTT);
        if self.rtt == 0.0 {
            (self.rtt, self.hold) = (self.newest, hold);
        }
        let gain = if limited { LIMITED_RTT_GAIN } else { RTT_GAIN };
        self.rtt += gain * (self.newest - self.rtt);
        if !limited {
            self.hold += RTT_GAIN * (hold - self.hold);
        }
        let wait = self.wait(arrived.sent, arrived.least);
        if wait < self.queue {
            self.queue = wait;
        } else {
            self.queue += QUEUE_GAIN * (wait - self.queue);
        }
        self.mean += SLOW_GAIN * (wait - self.mean);
        if wait > STANDING {
            self.standing.get_or_insert(now);
        } else {
            (self.standing, self.draining) = (None, None);
        }
        self.drain(now);
    }

    /// How long the quickest packet of the newest feedback waited, seconds.
    fn wait(&mut self, sent: i64, transit: i64) -> f64 {
        let part = sent.div_euclid(PART);
        if part > self.part {
            let steps = usize::try_from(part - self.part).unwrap_or(PARTS).min(PARTS);
            self.least.rotate_left(steps);
            self.least[PARTS - steps..].fill(None);
            self.part = part;
        }
        let newest = &mut self.least[PARTS - 1];
        *newest = Some(newest.map_or(transit, |least| least.min(transit)));
        let base = self.least.iter().flatten().min().copied().unwrap_or(transit);
        (transit.saturating_sub(base) as f64 / 1e6).min(MAX_RTT)
    }

    /// A path may have become longer for good, or a clock may run fast: then the queue seems to stand whatever is sent. For a moment
    /// little is sent, and what stands even then is the path.
    fn drain(&mut self, now: Instant) {
        let stands = |at: Instant| now.saturating_duration_since(at) >= DRAIN_AFTER;
        if self.draining.is_none() && self.standing.is_some_and(stands) {
            self.draining = Some(now);
        }
        let length = Duration::from_secs_f64((DRAIN_ROUNDS * self.rtt).max(DRAIN_LEAST));
        if self
            .draining
            .is_some_and(|at| now.saturating_duration_since(at) >= length)
        {
            self.least = [None; PARTS];
            (self.queue, self.mean) = (0.0, 0.0);
            (self.standing, self.draining) = (None, None);
        }
    }

    /// Whether the queue is being drained.
    pub(super) fn drains(&self) -> bool {
        self.draining.is_some()
    }

    /// The round trip, seconds.
    pub(super) fn rtt(&self) -> f64 {
        self.rtt
    }

    /// From the departure of a packet to feedback on it, seconds: as long as the window takes to leave once.
    pub(super) fn response(&self) -> f64 {
        self.rtt.max(self.newest) + self.hold
    }

    /// The wait in queues, seconds.
    pub(super) fn queue(&self) -> f64 {
        self.queue
    }

    /// The part of the window that is too much, as if packets bore marks: from none at half of the target to all of it.
    pub(super) fn excess(&self) -> f64 {
        ((self.queue - TARGET / 2.0) / (TARGET / 2.0)).clamp(0.0, 1.0)
    }

    /// How far growth is slowed down by a queue, 0 (not further) to 1 (not at all).
    pub(super) fn calm(&self) -> f64 {
        (0.1 + 1.2 * (SLOW - self.mean) / SLOW).clamp(0.0, 1.0)
    }
}
