//! The reference window: how many bytes the path holds without a queue, by what it marks, delays and loses.

use std::time::{Duration, Instant};

/// A packet with its headers, bytes: what windows are counted in.
pub(super) const SEGMENT: f64 = 1280.0;
/// A window of so many segments is a large one. In a small one a packet more or less is much, and it moves with care; a large one must hold
/// its own beside others. The constants in pairs are for the smallest window and for large ones; between them they go over.
const LARGE: f64 = 40.0;
/// By so many segments the window grows in a round trip.
const STEP: [f64; 2] = [0.6, 2.2];
/// A mark takes so many segments at least.
const LEAST_CUT: f64 = 0.7;
/// The window is so many times what media shall fill: the rest is for frames that differ, so that they leave at the rate of the path and
/// wait here instead of there.
const ROOM: [f64; 2] = [1.15, 1.03];
/// With fewer marks than this the path is not one that marks.
const FEW_MARKS: f64 = 0.0005;
/// Who finds less than this many marks in a window is small beside others, whose marks these are; alone he would make a mark or two.
const OWN_MARKS: f64 = 0.5;
/// The least freedom near the window at which congestion began last, and the least with a queue, where the path does not mark.
const LEAST_FREEDOM: f64 = 0.25;
const LEAST_CALM: f64 = 0.1;
/// The window is never smaller, bytes.
const LEAST: f64 = 1000.0;
/// What is left of it after losses.
const LOSS_BETA: f64 = 0.7;
/// Besides that step the window grows by this part of itself ...
const GROWTH: f64 = 0.02;
/// ... once there was no congestion for so many round trips.
const AFTER: f64 = 100.0;
/// Round trips shorter than this count as this long, seconds: else who is near would take everything.
pub(super) const VIRTUAL_RTT: f64 = 0.025;
/// How much slower it moves near the window at which congestion began last: at half of it or less, or at one and a half, no slower.
const NEAR: f64 = 2.0;
/// The window is never larger than this many times what was on its way at most.
const HEAD_ROOM: f64 = 1.1;

/// What feedback says of congestion.
#[derive(Clone, Copy, Debug)]
pub(super) struct View {
    pub(super) now: Instant,
    /// The round trip, and the same with the time for which feedback is held back, seconds.
    pub(super) rtt: f64,
    pub(super) response: f64,
    /// Whether packets of this feedback are marked, and which part of all is, smoothed.
    pub(super) marked: bool,
    pub(super) alpha: f64,
    /// Whether a packet takes little time on the path, 0 (it makes a queue by itself) to 1.
    pub(super) quick: f64,
    /// By how much the queue is too long, 0 to 1.
    pub(super) excess: f64,
    /// How far growth is slowed down by the queue, 0 to 1.
    pub(super) calm: f64,
    /// Whether packets were lost that count, and whether none at all were.
    pub(super) lost: bool,
    pub(super) lossless: bool,
    /// Bytes that arrived without a mark.
    pub(super) unmarked: f64,
    /// The most that was on its way of late, bytes.
    pub(super) in_flight: f64,
}

/// The window, in bytes.
#[derive(Debug)]
pub(super) struct Window {
    bytes: f64,
    /// Where it was when congestion last ended its growth; zero: nowhere yet.
    top: f64,
    /// Whether it has grown since.
    grew: bool,
    /// When it was last reduced.
    reduced: Option<Instant>,
}

impl Window {
    pub(super) fn new(bytes: f64) -> Self {
        Self {
            bytes: bytes.max(LEAST),
            top: 0.0,
            grew: true,
            reduced: None,
        }
    }

    pub(super) fn bytes(&self) -> f64 {
        self.bytes
    }

    /// When it was last reduced.
    pub(super) fn reduced(&self) -> Option<Instant> {
        self.reduced
    }

    /// What a segment is of it.
    pub(super) fn segment(&self) -> f64 {
        SEGMENT / self.bytes
    }

    /// The path was seen to hold so much.
    pub(super) fn proved(&mut self, bytes: f64) {
        if bytes > self.bytes {
            self.bytes = bytes;
            self.grew = true;
        }
    }

    /// The path was seen to hold no more than this.
    pub(super) fn found(&mut self, bytes: f64) {
        self.bytes = bytes.max(LEAST);
        self.top = self.bytes;
        self.grew = false;
    }

    /// The largest window that what is sent can speak for, bytes.
    pub(super) fn most(in_flight: f64) -> f64 {
        SEGMENT + HEAD_ROOM * in_flight
    }

    /// How large it is, 0 to 1.
    fn size(&self) -> f64 {
        (self.bytes / (LARGE * SEGMENT)).min(1.0)
    }

    fn between(&self, [small, large]: [f64; 2]) -> f64 {
        small + (large - small) * self.size()
    }

    /// So many times what media shall fill.
    pub(super) fn room(&self) -> f64 {
        self.between(ROOM)
    }

    /// The least of what slows it down: a large window on a path that marks has better signs than the wait and what was. So has one that
    /// is small only because others have the rest: else it would stay so.
    fn floor(&self, view: &View) -> f64 {
        if view.alpha < FEW_MARKS {
            return 0.0;
        }
        let marks = view.alpha / self.segment();
        let beside = (1.0 - marks / OWN_MARKS).max(0.0) * view.quick;
        self.size().max(beside)
    }

    fn freedom(&self, view: &View) -> f64 {
        self.distance().max(LEAST_FREEDOM).max(self.floor(view))
    }

    fn calm(&self, view: &View) -> f64 {
        view.calm.max(LEAST_CALM).max(self.floor(view))
    }

    /// How far it is from where congestion began last, 0.1 (there) to 1 (far).
    fn distance(&self) -> f64 {
        if self.top <= 0.0 {
            return 1.0;
        }
        let distance = NEAR * (self.bytes - self.top) / self.top;
        (distance * distance).clamp(0.1, 1.0)
    }

    /// Takes in what a feedback says.
    pub(super) fn update(&mut self, view: &View) {
        let before = self.bytes;
        let congested = view.lost || view.marked || view.excess > 0.0;
        let interval = Duration::from_secs_f64(view.rtt.min(VIRTUAL_RTT));
        let since = self.reduced.map(|at| view.now.saturating_duration_since(at));
        let reacts = congested && since.is_none_or(|since| since >= interval);
        if reacts {
            self.reduce(view, since);
        }
        if reacts || !congested && view.lossless {
            self.grow(view, since);
        }
        if self.bytes > before {
            self.grew = true;
        } else if self.bytes < before && std::mem::take(&mut self.grew) {
            self.top = before;
        }
    }

    fn reduce(&mut self, view: &View, since: Option<Duration>) {
        self.reduced = Some(view.now);
        let long = Duration::from_secs_f64(AFTER * view.rtt.max(VIRTUAL_RTT));
        if since.is_none_or(|since| since > long) {
            // It has grown for long while less was sent: what was sent is what the path holds.
            self.bytes = self.bytes.min(view.in_flight).max(LEAST);
        }
        // It is reduced several times in a long round trip.
        let times = (view.rtt / VIRTUAL_RTT).max(1.0);
        let mut part = view.excess / 2.0 / times;
        if view.marked {
            let mut by_marks = view.alpha / 2.0 / times;
            if view.excess == 0.0 {
                by_marks *= self.freedom(view) * self.calm(view);
            }
            part = part.max(by_marks).max(LEAST_CUT * self.segment());
        }
        if view.lost {
            part = part.max(1.0 - LOSS_BETA);
        }
        self.bytes = (self.bytes * (1.0 - part)).max(LEAST);
    }

    /// `since`: how long ago it was reduced, but for now.
    fn grow(&mut self, view: &View, since: Option<Duration>) {
        let most = Self::most(view.in_flight);
        if self.bytes >= most {
            return;
        }
        let near = (view.response / VIRTUAL_RTT).min(1.0);
        let long = AFTER * view.rtt.max(VIRTUAL_RTT);
        let calm = since.map_or(1.0, |since| (since.as_secs_f64() / long).min(1.0));
        let faster = 1.0 + GROWTH / self.segment() * calm * self.distance();
        let slower = near * near * self.freedom(view) * self.calm(view);
        let part = self.between(STEP) * self.segment() * slower * faster;
        self.bytes = (self.bytes + view.unmarked * part).min(most).max(LEAST);
    }
}
