//! How long packets wait in the path, by the least transit of the last half minute.

/// The least transit is remembered in parts of this long, microseconds ...
const PART: i64 = 5_000_000;
/// ... and so many of them. A clock that runs 100 ppm fast is 3 ms off by then.
const PARTS: usize = 6;
/// A least transit that the queue does not leave within this long is the path's own now, microseconds.
const MOVED: i64 = 4_000_000;

/// The wait in queues.
#[derive(Debug, Default)]
pub(crate) struct QueueDelay {
    /// The least transit of each part, newest last; microseconds on two clocks.
    least: [Option<i64>; PARTS],
    part: i64,
    filled: bool,
    /// The least wait among the packets of the newest feedback, microseconds.
    standing: Option<i64>,
    /// The wait of the newest packet.
    newest: i64,
    /// By how much the waits of neighbours differ, smoothed, microseconds.
    jitter: f64,
    /// Least transit since the wait was last near nothing, and when that was by our clock.
    since_empty: Option<(i64, i64)>,
}

impl QueueDelay {
    /// Feedback begins. Where somebody else keeps the queue `filled`, an empty one is not forgotten.
    pub(crate) fn begin(&mut self, filled: bool) {
        self.standing = None;
        self.filled = filled;
    }

    /// A packet that left at `sent` arrived at `arrival`.
    pub(crate) fn packet(&mut self, sent: i64, arrival: i64) {
        let transit = arrival.saturating_sub(sent);
        let part = sent.div_euclid(PART);
        if part > self.part && self.filled {
            self.part = part;
        } else if part > self.part {
            let steps = usize::try_from(part - self.part).unwrap_or(PARTS).min(PARTS);
            self.least.rotate_left(steps);
            self.least[PARTS - steps..].fill(None);
            self.part = part;
        }
        let newest = &mut self.least[PARTS - 1];
        *newest = Some(newest.map_or(transit, |least| least.min(transit)));
        let base = self.least.iter().flatten().min().copied().unwrap_or(transit);
        let wait = transit - base;
        let differs = (wait - self.newest).unsigned_abs().min(200_000) as f64;
        self.jitter += 0.02 * (differs - self.jitter);
        self.newest = wait;
        self.standing = Some(self.standing.map_or(wait, |standing| standing.min(wait)));
        self.moved(sent, transit, wait);
    }

    /// A path that has become longer shows a wait that never ends: it becomes the new base.
    fn moved(&mut self, sent: i64, transit: i64, wait: i64) {
        if wait < 8_000 || self.filled {
            self.since_empty = None;
            return;
        }
        let (least, since) = self.since_empty.get_or_insert((transit, sent));
        *least = (*least).min(transit);
        if sent - *since > MOVED {
            let least = *least;
            self.least = [None; PARTS];
            self.least[PARTS - 1] = Some(least);
            self.since_empty = None;
        }
    }

    /// The least wait among the packets of the newest feedback that told of any: what stands in the queue whatever a frame does.
    pub(crate) fn standing(&self) -> Option<i64> {
        self.standing
    }

    /// By how much the waits of neighbours differ, microseconds: they share a queue, and only the path's jitter tells them apart.
    pub(crate) fn jitter(&self) -> i64 {
        self.jitter as i64
    }

    /// The wait of the newest packet that was reported, microseconds.
    pub(crate) fn newest(&self) -> i64 {
        self.newest
    }
}
