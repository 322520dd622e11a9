//! Pictures wait until they are to be shown: each as long after its capture as the one before, as far as they are there by then. The
//! delay is the one of which the price is least: a percent of pictures that are late is worth some milliseconds, and a percent of the
//! time that the picture stands still is worth many. At the beginning it is what one repair asks for, by the round trip.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use antiphon_rtp::extension::PlayoutDelay;

use super::lateness::{BIN, BINS, Lateness, cheapest};
use super::transit::Transit;
use super::wanted::{MAX_DELAY, Wanted};
use crate::event::Frame;

/// Most frames that wait. One that comes when there are so many lets the oldest go before its time.
const MAX_FRAMES: usize = 800;
/// Most bytes that these have together: four seconds at 50 Mbit/s, and some key frames.
const MAX_BYTES: usize = 32 << 20;
/// How late pictures are is remembered for about so many: half a minute of them.
const RECENT: u16 = 800;
/// What makes the picture stand still is rare, and is remembered for about so many: a minute.
const LONG: u16 = 2000;
/// What a percent of late pictures is worth, milliseconds of delay. This and the next were chosen by `tests/calls`.
const PERCENT_LATE: f32 = 12.0;
/// What a percent of the time that the picture stands still is worth, milliseconds of delay.
const PERCENT_FROZEN: f32 = 50.0;
/// What a percent of pictures is worth that are later than the next constant says, milliseconds of delay: who watches hears it.
const PERCENT_APART: f32 = 50.0;
/// So many bins away from its sound a picture is seen to be late (ITU-R BT.1359: 45 ms at the earliest).
const APART: usize = 5;
/// Before any came, this share of pictures is thought to have waited for a repair: where that takes long, the first loss is no freeze. Without
/// losses it has faded after ten seconds.
const FIRST_SHARE: f32 = 0.01;
/// A picture that is later than this against its time is a freeze (webrtc-stats, `freezeCount`), in bins.
const FREEZE: usize = 15;
/// The delay follows what is aimed at by so much of the time that passes: a tenth slower or faster is not seen.
const SLEW: i64 = 10;
/// Sound is held back for late pictures by no more than this, microseconds: most pictures are not late.
const MAX_LAG: i64 = 15_000;
/// The usual time between pictures, microseconds, until it is known.
const USUAL_GAP: i64 = 33_333;

/// When a frame came.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    /// It is whole.
    pub(crate) now: Instant,
    /// Its first packet came.
    pub(crate) began: Instant,
    /// After so long what is lost and asked for comes, if it can be asked for.
    pub(crate) round: Option<Duration>,
}

/// A frame on its way out.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) frame: Frame,
    pub(crate) discontinuity: bool,
    /// How long it waited, from its first packet on.
    pub(crate) waited: Duration,
}

#[derive(Debug)]
struct Waiting {
    frame: Frame,
    discontinuity: bool,
    media: i64,
    /// When its first packet came.
    began: Instant,
}

/// The frames of one source that wait until they are to be shown.
#[derive(Debug)]
pub(crate) struct Pictures {
    transit: Transit,
    recent: Lateness,
    long: Lateness,
    queue: VecDeque<Waiting>,
    bytes: usize,
    /// The usual time between pictures, by their timestamps.
    gap: i64,
    newest: i64,
    /// When the newest was whole: what is whole at the same moment waited for it.
    whole: Option<Instant>,
    /// What the network asks for.
    needed: i64,
    /// The delay in force; `None` before the first picture.
    delay: Option<i64>,
    moved: i64,
    /// What the sender wishes.
    wish: Option<PlayoutDelay>,
    /// Frames that were left out, because a key frame behind them was due as well.
    pub(crate) dropped: u64,
}

impl Pictures {
    /// `round`: after so long what is asked for comes, if anything can be asked for. Nothing has shown yet whether anything is lost.
    pub(crate) fn new(now: Instant, round: Option<Duration>) -> Self {
        let long = match round.and_then(|round| i64::try_from(round.as_micros()).ok()) {
            Some(round) => Lateness::of(LONG).begin_with(FIRST_SHARE, round),
            None => Lateness::of(LONG),
        };
        let recent = Lateness::of(RECENT);
        let needed = price(&recent, &long, USUAL_GAP);
        Self {
            transit: Transit::new(now),
            recent,
            long,
            queue: VecDeque::new(),
            bytes: 0,
            gap: USUAL_GAP,
            newest: 0,
            whole: None,
            needed,
            delay: None,
            moved: 0,
            wish: None,
            dropped: 0,
        }
    }

    /// The source begins anew: what waits is due, and what was found of the network stays.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.transit = Transit::new(now);
        self.begin();
        self.whole = None;
    }

    /// Times mean something else from now on: those of before are over, whatever they were.
    fn begin(&mut self) {
        for waiting in &mut self.queue {
            waiting.media = i64::MIN / 4;
        }
        self.delay = None;
    }

    /// A frame is whole.
    pub(crate) fn insert(&mut self, times: Times, frame: Frame, discontinuity: bool, clock_rate: u32) {
        let Times { now, began, .. } = times;
        // What waits for repairs says nothing of how long the way is.
        let arrived = self.transit.arrive(began, frame.timestamp, clock_rate);
        let late = arrived.late + self.transit.micros(now) - self.transit.micros(began);
        if let Some(wish) = frame.extensions.playout_delay {
            self.wish = Some(wish);
        }
        if arrived.anew {
            self.begin();
        } else {
            // Pictures go on where they were: what the way takes longer need not be waited for here as well.
            self.delay = self.delay.map(|delay| (delay - arrived.slower).max(0));
            self.recent.rise(arrived.slower);
            self.long.rise(arrived.slower);
            self.measure(now, arrived.media, late);
        }
        self.newest = arrived.media;
        self.bytes += frame.data.len();
        self.queue.push_back(Waiting {
            frame,
            discontinuity,
            media: arrived.media,
            began,
        });
    }

    fn measure(&mut self, now: Instant, media: i64, late: i64) {
        let gap = media - self.newest;
        // A pause of the source is no usual time.
        if (1..=1_000_000).contains(&gap) {
            self.gap += (gap - self.gap) / 16;
        }
        // What is whole at the same moment as the one before only waited for that, which made the picture stand still.
        let first = self.whole.replace(now) != Some(now);
        self.recent.add(late);
        self.long.add(if first { late } else { 0 });
        self.needed = price(&self.recent, &self.long, self.gap);
    }

    /// What the network asks for, microseconds.
    pub(crate) fn needed(&self) -> i64 {
        self.needed
    }

    /// The delay without that of lip sync: what the network, the application and the sender ask for.
    pub(crate) fn natural(&self, wanted: Wanted) -> i64 {
        self.bounded(self.needed.max(wanted.target))
    }

    /// By how much later than that pictures are in the middle, between those that are on time and the latest but one in a hundred: sound that
    /// is heard then is near to both. People notice sound that is early sooner than sound that is late.
    pub(crate) fn lag(&self) -> i64 {
        let mut late = 0.0;
        let latest = self.recent.shares().iter().rposition(|share| {
            late += share;
            late > 0.01
        });
        let latest = latest.map_or(0, |bin| (bin as i64 + 1) * BIN);
        ((latest - self.needed) / 2).clamp(0, MAX_LAG)
    }

    /// The delay that is aimed at.
    pub(crate) fn aim(&self, wanted: Wanted) -> i64 {
        self.bounded(self.natural(wanted) + wanted.in_step)
    }

    fn bounded(&self, delay: i64) -> i64 {
        let (least, most) = self.wish.map_or((0, MAX_DELAY), |wish| {
            (i64::from(wish.min) * 10_000, i64::from(wish.max) * 10_000)
        });
        delay.max(least).min(most.max(least)).min(MAX_DELAY)
    }

    /// When media of this timestamp came, or comes, if nothing holds it up.
    pub(crate) fn arrival(&self, timestamp: u32, clock_rate: u32) -> Instant {
        self.transit.due(self.transit.media(timestamp, clock_rate), 0)
    }

    /// When the next frame is to be shown.
    pub(crate) fn next(&self) -> Option<Instant> {
        let front = self.queue.front()?;
        Some(self.transit.due(front.media, self.delay.unwrap_or_default()))
    }

    /// The next frame that is to be shown by now.
    pub(crate) fn poll(&mut self, now: Instant, wanted: Wanted) -> Option<Shown> {
        self.move_delay(now, self.aim(wanted));
        let crowded = self.queue.len() > MAX_FRAMES || self.bytes > MAX_BYTES;
        if !crowded && self.next().is_none_or(|at| at > now) {
            return None;
        }
        self.leave_out(now);
        let waiting = self.queue.pop_front()?;
        self.bytes -= waiting.frame.data.len();
        Some(Shown {
            frame: waiting.frame,
            discontinuity: waiting.discontinuity,
            waited: now.saturating_duration_since(waiting.began),
        })
    }

    /// Where a key frame is due as well, what comes before it need not be shown any more.
    fn leave_out(&mut self, now: Instant) {
        let delay = self.delay.unwrap_or_default();
        let (transit, queue) = (&self.transit, &self.queue);
        let due = queue
            .iter()
            .take_while(|waiting| transit.due(waiting.media, delay) <= now);
        let key = due.enumerate().filter(|(_, waiting)| waiting.frame.key_frame).last();
        let Some(count) = key.map(|(index, _)| index).filter(|count| *count > 0) else {
            return;
        };
        self.bytes -= self
            .queue
            .drain(..count)
            .map(|waiting| waiting.frame.data.len())
            .sum::<usize>();
        self.dropped += count as u64;
        if let Some(front) = self.queue.front_mut() {
            front.discontinuity = true;
        }
    }

    /// Lets the delay follow what is aimed at.
    fn move_delay(&mut self, now: Instant, aim: i64) {
        let at = self.transit.micros(now);
        let step = (at - self.moved).max(0) / SLEW;
        let Some(delay) = self.delay else {
            if !self.queue.is_empty() {
                self.delay = Some(aim);
                self.moved = at;
            }
            return;
        };
        if step == 0 {
            return;
        }
        self.moved = at;
        self.delay = Some(delay + (aim - delay).clamp(-step, step));
    }
}

/// The delay of which the price is least, for shares of late pictures and for pictures that make the one before stand still.
fn price(recent: &Lateness, long: &Lateness, gap: i64) -> i64 {
    let (recent, long) = (recent.shares(), long.shares());
    // From the most bins to the fewest: what is late, what freezes, and for how many bins together beyond the time of the delay.
    let (mut late, mut freezing, mut frozen, mut apart) = (0.0, 0.0, 0.0, 0.0);
    let mut after = BINS;
    cheapest(|bins| {
        while after > bins {
            after -= 1;
            late += recent[after];
        }
        // All of these stand still for a bin more.
        frozen += freezing;
        if let Some(more) = long.get(bins + FREEZE) {
            freezing += more;
            frozen += more * FREEZE as f32;
        }
        if let Some(more) = recent.get(bins + APART) {
            apart += more;
        }
        let share = frozen * BIN as f32 / gap.max(1) as f32;
        100.0 * (late * PERCENT_LATE + apart * PERCENT_APART + share * PERCENT_FROZEN)
    })
}

#[cfg(test)]
mod tests;
