//! When the path is asked whether it carries more: at the start, while success follows success, while the application uses too
//! little to learn anything, when it wants more, after a drop, and now and then while it uses all there is.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::control::{Demand, Probe, ProbeId};

/// The first probes, in terms of the first rate.
const INITIAL: [f64; 2] = [3.0, 6.0];
/// So long after the start the path is asked again and again.
const REPEATED: Duration = Duration::from_secs(5);
/// How often it is asked meanwhile.
const REPEATED_INTERVAL: Duration = Duration::from_millis(500);
/// After a success: this much more, ...
const FURTHER: f64 = 2.0;
/// ... if the success was this part of what was asked.
const FURTHER_PART: f64 = 0.7;
/// ... and this much better than what was known.
const FURTHER_GAIN: f64 = 1.08;
/// How often the path is asked while the application uses little, and for how much more.
const LIMITED_INTERVAL: Duration = Duration::from_secs(5);
const LIMITED: f64 = 2.0;
/// The same while it uses all there is: a small step, which a shallow queue bears.
const GROWTH_INTERVAL: Duration = Duration::from_millis(1800);
const GROWTH: f64 = 1.3;
/// A fall below this part of the rate is a drop; ...
const DROP: f64 = 0.66;
/// ... within this time ...
const DROP_LIFE: Duration = Duration::from_secs(8);
/// ... the path is asked for this part of the rate before, ...
const DROP_PART: f64 = 0.85;
/// ... first so long after the drop, or when the application uses little, and then after a second, two, four ...
const DROP_FIRST: Duration = Duration::from_secs(3);
const DROP_AGAIN: Duration = Duration::from_secs(1);
/// A probe lasts this long, ...
const LENGTH: f64 = 0.015;
/// ... and the small step of growth this long.
const GROWTH_LENGTH: f64 = 0.025;
/// With jitter it lasts so many times as long.
const JITTERS: f64 = 6.0;
/// A probe has at least this many bytes: four full packets.
const MIN_BYTES: usize = 4200;
/// And at most this many.
const MAX_BYTES: usize = 200_000;
/// Without a word of what is wanted, an application that uses little is not probed for more than this, bits a second.
const UNKNOWN_CAP: f64 = 5_000_000.0;
/// Nor is one that uses what it has, for more than this part of what it sends.
const UNKNOWN_PART: f64 = 6.0;
/// Who has sent nothing for this long is not probed for.
const IDLE: Duration = Duration::from_secs(2);
/// The plan is looked at this long after the first packet.
const SOON: Duration = Duration::from_millis(1);
/// Most probes that wait to be fetched.
const MAX_PENDING: usize = 4;

/// What decides about probes.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Situation {
    pub(crate) now: Instant,
    /// The estimate, bits a second.
    pub(crate) rate: f64,
    /// What arrives, bits a second.
    pub(crate) acked: f64,
    /// The application does not use what it has.
    pub(crate) limited: bool,
    /// By how much the waits of neighbours differ, seconds.
    pub(crate) jitter: f64,
    /// A queue stands or is being emptied, or loss limits the rate: not the time to ask for more.
    pub(crate) congested: bool,
}

/// The plan of probes.
#[derive(Debug)]
pub(crate) struct Probes {
    start: f64,
    max: f64,
    next_id: u32,
    pending: VecDeque<Probe>,
    began: Option<Instant>,
    /// When the plan is looked at again; `None` while nothing is sent.
    due: Option<Instant>,
    last_sent: Option<Instant>,
    last_probe: Option<Instant>,
    demand: Demand,
    /// What is known of a drop.
    dropped: Option<Dropped>,
    /// The newest estimate that was seen.
    seen: f64,
    pub(crate) asked: u64,
    pub(crate) accepted: u64,
}

/// A fall of the estimate that may not last.
#[derive(Clone, Copy, Debug)]
struct Dropped {
    /// The estimate before it.
    before: f64,
    at: Instant,
    /// When the path was last asked for that, and how long it is left in peace since.
    asked: Option<(Instant, Duration)>,
}

impl Dropped {
    /// Whether the path is to be asked now; it is taken as asked then.
    fn may_ask(&mut self, now: Instant, limited: bool) -> bool {
        let (since, pause) = self.asked.unwrap_or((self.at, DROP_FIRST));
        let first = self.asked.is_none();
        if now.saturating_duration_since(since) < pause && !(first && limited) {
            return false;
        }
        self.asked = Some((now, if first { DROP_AGAIN } else { 2 * pause }));
        true
    }
}

impl Probes {
    pub(crate) fn new(start: f64, max: f64) -> Self {
        Self {
            start,
            max,
            next_id: 0,
            pending: VecDeque::with_capacity(MAX_PENDING),
            began: None,
            due: None,
            last_sent: None,
            last_probe: None,
            demand: Demand::default(),
            dropped: None,
            seen: start,
            asked: 0,
            accepted: 0,
        }
    }

    /// A packet has left: the first one begins it all.
    #[inline]
    pub(crate) fn sent(&mut self, now: Instant) {
        self.last_sent = Some(now);
        if self.due.is_none() {
            self.due = Some(now + SOON);
        }
    }

    /// When the plan is to be looked at.
    pub(crate) fn due(&self) -> Option<Instant> {
        self.due
    }

    /// The most that is worth asking for.
    fn cap(&self, situation: &Situation) -> f64 {
        let wanted = match self.demand.wanted {
            Some(wanted) => 1.1 * wanted as f64,
            None if situation.limited => UNKNOWN_CAP,
            None => UNKNOWN_CAP.max(UNKNOWN_PART * situation.acked),
        };
        wanted.min(self.max)
    }

    fn ask(&mut self, rate: f64, length: f64, jitter: f64) {
        let length = length.max(JITTERS * jitter);
        if self.pending.len() < MAX_PENDING {
            let bytes = ((rate * length / 8.0) as usize).clamp(MIN_BYTES, MAX_BYTES);
            let id = ProbeId(self.next_id);
            self.next_id = self.next_id.wrapping_add(1);
            self.pending.push_back(Probe {
                id,
                rate: rate as u64,
                bytes,
            });
        }
    }

    /// The next probe to send.
    pub(crate) fn next(&mut self, now: Instant) -> Option<Probe> {
        let probe = self.pending.pop_front()?;
        self.last_probe = Some(now);
        self.asked += 1;
        Some(probe)
    }

    /// Media wants another rate, or was given one. Who uses little has not learned what the path carries.
    pub(crate) fn on_demand(&mut self, demand: Demand, situation: &Situation) {
        let before = std::mem::replace(&mut self.demand, demand);
        let more = match (before.wanted, demand.wanted) {
            (Some(before), Some(after)) => after > before,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let worth = demand.wanted.is_none_or(|wanted| wanted as f64 > situation.rate);
        if self.began.is_some() && more && worth && situation.limited && !situation.congested {
            let wanted = demand.wanted.map_or(f64::MAX, |wanted| wanted as f64);
            self.ask(
                wanted.min(LIMITED * situation.rate).min(self.max),
                LENGTH,
                situation.jitter,
            );
        }
    }

    /// The route is another: everything begins anew.
    pub(crate) fn restart(&mut self, start: f64) {
        self.start = start;
        self.seen = start;
        self.pending.clear();
        self.began = None;
        // The next packet wakes it.
        self.due = None;
        self.dropped = None;
    }

    /// The path carried a probe of `asked`, and showed `rate`, where the estimate was `before`.
    pub(crate) fn accepted(&mut self, asked: f64, rate: f64, before: f64, situation: &Situation) {
        self.accepted += 1;
        let cap = self.cap(situation);
        // Success follows success as long as there is much to gain.
        let gains = rate > FURTHER_GAIN * before && cap > FURTHER_GAIN * rate;
        if rate >= FURTHER_PART * asked && gains && !situation.congested {
            self.ask((FURTHER * rate).min(cap), LENGTH, situation.jitter);
        }
    }

    /// The estimate is another: remembers what was before a drop.
    pub(crate) fn rate_changed(&mut self, now: Instant, rate: f64) {
        if rate < DROP * self.seen {
            self.dropped = Some(Dropped {
                before: self.seen,
                at: now,
                asked: None,
            });
            self.seen = rate;
        } else if rate > self.seen {
            self.seen = rate;
        } else {
            // Slow falls are no drops.
            self.seen += 0.05 * (rate - self.seen);
        }
    }

    /// The time has come to look at the plan.
    pub(crate) fn look(&mut self, situation: &Situation) {
        let now = situation.now;
        if self.due.is_none_or(|due| due > now) {
            return;
        }
        let Some(began) = self.began else {
            self.began = Some(now);
            self.due = Some(now + REPEATED_INTERVAL);
            if self.demand.wanted.is_some_and(|wanted| (wanted as f64) < self.start) {
                return;
            }
            let cap = self.cap(situation);
            let start = self.start;
            for factor in INITIAL.into_iter().filter(|_| cap > FURTHER_GAIN * start) {
                self.ask((factor * start).min(cap), LENGTH, situation.jitter);
            }
            return;
        };
        if self.last_sent.is_none_or(|at| now.saturating_duration_since(at) > IDLE) {
            // The next packet wakes it.
            self.due = None;
            return;
        }
        self.due = Some(now + REPEATED_INTERVAL);
        let since = |at: Option<Instant>| at.map(|at| now.saturating_duration_since(at));
        let quiet = since(self.last_probe);
        if situation.congested || !self.pending.is_empty() {
            return;
        }
        if let Some(dropped) = &mut self.dropped {
            let age = now.saturating_duration_since(dropped.at);
            let rate = DROP_PART * dropped.before;
            if age > DROP_LIFE || rate <= situation.rate {
                self.dropped = None;
            } else if dropped.may_ask(now, situation.limited) {
                self.ask(rate, LENGTH, situation.jitter);
                return;
            }
        }
        let cap = self.cap(situation);
        if situation.rate >= 0.95 * cap {
            return;
        }
        let young = now.saturating_duration_since(began) < REPEATED;
        let (factor, length, interval) = match (situation.limited, young) {
            (true, true) => (LIMITED, LENGTH, 2 * REPEATED_INTERVAL),
            (true, false) => (LIMITED, LENGTH, LIMITED_INTERVAL),
            (false, true) => (GROWTH, GROWTH_LENGTH, 2 * REPEATED_INTERVAL),
            (false, false) => (GROWTH, GROWTH_LENGTH, GROWTH_INTERVAL),
        };
        if quiet.is_none_or(|quiet| quiet >= interval) {
            self.ask((factor * situation.rate).min(cap), length, situation.jitter);
        }
    }
}
