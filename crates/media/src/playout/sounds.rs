//! Sound is played on a steady clock: at each moment one thing, which lasts as long as it says, and then the next. Decoding stays with
//! the application, which is told what to decode, what to make up, and how long each is to last.
//!
//! The delay is the one of which the price is least, like that of pictures; sound is squeezed or stretched a little until it has that
//! delay. In silence it takes it at once.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::lateness::{BIN, BINS, Lateness, cheapest};
use super::transit::Transit;
use super::wanted::{MAX_DELAY, Wanted};
use crate::event::{Frame, Play, Sound};
use crate::stats::PlayoutFigures;

/// Most frames that wait; the oldest go first.
const MAX_FRAMES: usize = 1000;
/// The delay of the beginning: five percent of packets are thought to be so late, until others have come. NetEQ begins so too.
const FIRST_DELAY: i64 = 75_000;
const FIRST_SHARE: f32 = 0.05;
/// Less than a packet is no delay to rely on, microseconds: whoever calls us is not on time to the millisecond.
const LEAST: i64 = 20_000;
/// How late packets are is remembered for about so many: ten seconds of them.
const RECENT: u16 = 500;
/// What is rare is remembered for about so many: a minute.
const LONG: u16 = 3000;
/// What a percent of late packets is worth, milliseconds of delay, where they are many.
const PERCENT_RECENT: f32 = 20.0;
/// The same, of all of a minute: one in thousand is worth so much as a packet more of delay.
const PERCENT_LONG: f32 = 200.0;
/// What is this near to what is aimed at is left as it is, microseconds.
const NEAR: i64 = 10_000;
/// A frame is squeezed or stretched by at most one part in so many: about 15 %, as far as speech bears it.
const STRETCH: i64 = 7;
/// The same where there is far too much delay, by more than this, microseconds.
const FAR: i64 = 200_000;
const FAR_STRETCH: i64 = 3;
/// With so much delay too much, microseconds, whole frames are left out.
const TOO_FAR: i64 = 500_000;
/// Of what is lost this much is made up at a time, microseconds.
const GRAIN: i64 = 20_000;
/// While nothing is there, what may come is looked for so often, microseconds.
const LOOK: i64 = 10_000;
/// What is made up becomes silent after so long, microseconds: no decoder has more to make it of.
const FADE: i64 = 200_000;
/// After so long, microseconds, the source is thought to be silent, and no more is made up.
const MAX_CONCEALED: i64 = 1_000_000;
/// After so long without anything, microseconds, playing ends until something comes.
const MAX_SILENCE: i64 = 10_000_000;
/// A handover that is later than this, microseconds, is not caught up with.
const MAX_BEHIND: i64 = 200_000;
/// Times that differ by less, microseconds, are the same: clock rates do not divide evenly.
const SAME: i64 = 1000;
/// A hole between frames of which none is missing, that is no longer than this, is none, microseconds.
const NO_HOLE: i64 = 5000;
/// How long a frame lasts that does not say so, microseconds.
const USUAL_LENGTH: i64 = 20_000;
/// RFC 7587 §4.2: nothing lasts longer, microseconds.
const MAX_LENGTH: i64 = 120_000;

/// A frame that has come.
#[derive(Debug)]
pub(crate) struct Came {
    pub(crate) frame: Frame,
    /// Its number.
    pub(crate) sequence: u64,
    /// How many ticks of the clock it lasts, if it says so.
    pub(crate) ticks: Option<u32>,
    /// Whether silence begins with it, in which nothing need come.
    pub(crate) begins_silence: bool,
}

#[derive(Debug)]
struct Waiting {
    came: Came,
    at: Instant,
    media: i64,
    length: Option<i64>,
}

/// Where playing has got to.
#[derive(Clone, Copy, Debug)]
struct Position {
    /// When the next is due, in our time.
    at: i64,
    /// The time of the media that is due.
    media: i64,
    /// How long it is due already: what was played instead of it.
    overdue: i64,
    /// How long nothing of the source was played.
    without: i64,
}

/// The frames of one source of sound that wait to be played.
#[derive(Debug)]
pub(crate) struct Sounds {
    transit: Transit,
    recent: Lateness,
    long: Lateness,
    /// In order of media.
    queue: VecDeque<Waiting>,
    position: Option<Position>,
    /// The number of the newest that was played.
    last: Option<u64>,
    last_length: i64,
    /// Silence began with the last, in which nothing need come.
    silent: bool,
    needed: i64,
    /// How far back packets repeat what was before them, microseconds: of the last ones and of those before.
    reach: [i64; 2],
    count: u16,
    clock_rate: u32,
    /// Packets that came too late to be heard.
    pub(crate) discarded: u64,
}

impl Sounds {
    pub(crate) fn new(now: Instant) -> Self {
        let mut sounds = Self {
            transit: Transit::new(now),
            recent: Lateness::of(RECENT).begin_with(FIRST_SHARE, FIRST_DELAY),
            long: Lateness::of(LONG),
            queue: VecDeque::new(),
            position: None,
            last: None,
            last_length: USUAL_LENGTH,
            silent: false,
            needed: 0,
            reach: [0; 2],
            count: 0,
            clock_rate: 48_000,
            discarded: 0,
        };
        sounds.needed = sounds.need();
        sounds
    }

    /// The source begins anew: nothing waits any more, and what was found of the network stays.
    pub(crate) fn restart(&mut self, now: Instant) {
        self.transit = Transit::new(now);
        self.queue.clear();
        self.last = None;
        self.silent = false;
        self.position = None;
    }

    /// The delay without that of lip sync: what the network and the application ask for.
    pub(crate) fn natural(&self, wanted: Wanted) -> i64 {
        self.needed.max(wanted.target).clamp(LEAST, MAX_DELAY)
    }

    /// The delay that is aimed at.
    pub(crate) fn aim(&self, wanted: Wanted) -> i64 {
        (self.natural(wanted) + wanted.in_step).min(MAX_DELAY)
    }

    /// When media of this timestamp came, or comes, if nothing holds it up.
    pub(crate) fn arrival(&self, timestamp: u32) -> Instant {
        self.transit.due(self.transit.media(timestamp, self.clock_rate), 0)
    }

    /// The number of the newest that was played.
    pub(crate) fn last(&self) -> Option<u64> {
        self.last
    }

    /// A packet repeats what was sent so many ticks before it (RED): what is lost comes back as late as that.
    pub(crate) fn repeats(&mut self, ticks: u32) {
        let reach = i64::from(ticks) * 1_000_000 / i64::from(self.clock_rate.max(1));
        self.reach[0] = self.reach[0].max(reach.min(MAX_LENGTH));
    }

    /// What the network asks for. What is repeated is waited for: it was paid for.
    fn need(&self) -> i64 {
        let reach = self.reach[0].max(self.reach[1]);
        let repeated = if reach > 0 { reach + BIN } else { 0 };
        price(&self.recent, &self.long).max(repeated)
    }

    /// Something else is heard of the source than frames, a key of a telephone for instance: that none follows is no loss.
    pub(crate) fn pause(&mut self) {
        self.silent = true;
    }

    /// A frame has come, in any order.
    pub(crate) fn insert(&mut self, now: Instant, came: Came, clock_rate: u32) {
        if clock_rate != self.clock_rate {
            // Another codec: its time is another.
            self.clock_rate = clock_rate;
            self.restart(now);
        }
        let arrived = self.transit.arrive(now, came.frame.timestamp, clock_rate);
        if arrived.anew {
            self.discarded += self.queue.len() as u64;
            self.queue.clear();
            self.position = None;
            self.last = None;
        } else {
            self.recent.rise(arrived.slower);
            self.long.rise(arrived.slower);
            self.recent.add(arrived.late);
            self.long.add(arrived.late);
            self.needed = self.need();
            self.count = self.count.wrapping_add(1);
            if self.count.is_multiple_of(RECENT) {
                self.reach = [0, self.reach[0]];
            }
        }
        let media = arrived.media;
        if self.position.is_some_and(|position| media + SAME < position.media) {
            self.discarded += 1;
            return;
        }
        let ticks = |ticks: u32| i64::from(ticks) * 1_000_000 / i64::from(clock_rate.max(1));
        let length = came.ticks.map(|length| ticks(length).min(MAX_LENGTH));
        let waiting = Waiting {
            came,
            at: now,
            media,
            length,
        };
        let behind = self.queue.iter().rev().take_while(|other| other.media > media).count();
        self.queue.insert(self.queue.len() - behind, waiting);
        if self.queue.len() > MAX_FRAMES {
            self.queue.pop_front();
            self.discarded += 1;
        }
    }

    /// When the next thing is due.
    pub(crate) fn next(&self, wanted: Wanted) -> Option<Instant> {
        match self.position {
            Some(position) => Some(self.transit.instant(position.at)),
            None => self
                .queue
                .front()
                .map(|front| self.transit.due(front.media, self.aim(wanted))),
        }
    }

    /// What is played by now, if anything new is. `is_lost` says whether a number between two others has not come.
    pub(crate) fn poll(
        &mut self,
        now: Instant,
        wanted: Wanted,
        is_lost: impl FnOnce(u64, u64) -> bool,
        figures: &mut PlayoutFigures,
    ) -> Option<Sound> {
        let at = self.transit.micros(now);
        let aim = self.aim(wanted);
        let mut position = match self.position {
            Some(position) => position,
            None => {
                let front = self.queue.front()?;
                let due = front.media.saturating_add(self.transit.base()).saturating_add(aim);
                if due > at {
                    return None;
                }
                Position {
                    at: due.max(at - MAX_BEHIND),
                    media: front.media,
                    overdue: 0,
                    without: 0,
                }
            }
        };
        if position.at > at {
            return None;
        }
        position.at = position.at.max(at - MAX_BEHIND);
        self.position = Some(position);
        let sound = match self.what(position, aim, is_lost) {
            What::Frame => self.frame(position, aim, figures)?,
            What::Concealed(length) => self.conceal(position, length),
            What::Silence(length) => self.silence(position, length)?,
        };
        let samples = self.samples(sound.duration);
        figures.total_samples_received += samples;
        if let Play::Conceal { so_far, .. } = &sound.play {
            figures.concealment_events += u64::from(so_far.is_zero());
            figures.concealed_samples += samples;
            if so_far.as_micros() >= FADE as u128 {
                figures.silent_concealed_samples += samples;
            }
        }
        Some(sound)
    }

    /// What is to be played at a position.
    fn what(&self, position: Position, aim: i64, is_lost: impl FnOnce(u64, u64) -> bool) -> What {
        let Some(front) = self.queue.front() else {
            return match position.without {
                _ if self.silent => What::Silence(GRAIN),
                without if without >= MAX_CONCEALED => What::Silence(GRAIN),
                _ => What::Concealed(LOOK),
            };
        };
        let hole = front.media - position.media;
        if hole <= SAME {
            return What::Frame;
        }
        if self.last.is_some_and(|last| is_lost(last, front.came.sequence)) && !self.silent {
            let rest = hole - position.overdue;
            return match rest {
                ..=SAME => What::Frame,
                _ if position.without >= MAX_CONCEALED => What::Silence(rest.min(GRAIN)),
                _ => What::Concealed(rest.min(GRAIN)),
            };
        }
        // The source was silent: what follows is played when it is due.
        let wait = front.media + self.transit.base() + aim - position.at;
        if hole <= NO_HOLE || wait <= SAME {
            return What::Frame;
        }
        What::Silence(wait.min(GRAIN))
    }

    /// The next frame, for as long as it is to last.
    fn frame(&mut self, position: Position, aim: i64, figures: &mut PlayoutFigures) -> Option<Sound> {
        let base = self.transit.base();
        let excess = |waiting: &Waiting| position.at - waiting.media - base - aim;
        if self.queue.front().is_some_and(|front| excess(front) > TOO_FAR) {
            while self.queue.len() > 1 && self.queue.front().is_some_and(|front| excess(front) > NEAR) {
                let left_out = self.queue.pop_front();
                let length = left_out
                    .and_then(|left_out| left_out.length)
                    .unwrap_or(self.last_length);
                figures.removed_samples_for_acceleration += self.samples(micros(length));
            }
        }
        let front = self.queue.pop_front()?;
        let excess = excess(&front);
        let next = self
            .queue
            .front()
            .filter(|next| next.came.sequence == front.came.sequence + 1);
        let length = front.length.or_else(|| {
            let length = next.map(|next| next.media - front.media);
            length.filter(|length| (1..=MAX_LENGTH).contains(length))
        });
        let length = length.unwrap_or(self.last_length);
        if length > 0 {
            self.last_length = length;
        }
        let most = if excess > FAR {
            length / FAR_STRETCH
        } else {
            length / STRETCH
        };
        let change = match excess {
            _ if self.last.is_none() => 0,
            NEAR.. => excess.min(most),
            _ if excess < -NEAR => excess.max(-most),
            _ => 0,
        };
        // What says only how silence sounds has no length.
        let duration = if length == 0 { GRAIN } else { length - change };
        self.position = Some(Position {
            at: position.at + duration,
            media: front.media + length,
            overdue: 0,
            without: 0,
        });
        self.last = Some(
            self.last
                .map_or(front.came.sequence, |last| last.max(front.came.sequence)),
        );
        self.silent = front.came.begins_silence;
        self.count(&front, length, change, aim, position.at, figures);
        Some(Sound {
            duration: micros(duration),
            play: Play::Frame {
                frame: front.came.frame,
                length: micros(length),
            },
        })
    }

    fn count(&self, front: &Waiting, length: i64, change: i64, aim: i64, at: i64, figures: &mut PlayoutFigures) {
        let samples = self.samples(micros(length));
        let each = u32::try_from(samples).unwrap_or(u32::MAX);
        let waited = self.transit.instant(at).saturating_duration_since(front.at);
        figures.jitter_buffer_delay += waited * each;
        figures.jitter_buffer_target_delay += micros(aim) * each;
        figures.jitter_buffer_minimum_delay += micros(self.needed) * each;
        figures.jitter_buffer_emitted_count += samples;
        if change > 0 {
            figures.removed_samples_for_acceleration += self.samples(micros(change));
        } else {
            figures.inserted_samples_for_deceleration += self.samples(micros(-change));
        }
    }

    fn conceal(&mut self, position: Position, length: i64) -> Sound {
        // The frame that follows may hold what is missing once more (in-band FEC of Opus).
        let end = position.media + position.overdue + length;
        let next = self.queue.front().filter(|next| (next.media - end).abs() <= SAME);
        let next = next.map(|next| next.came.frame.data.clone());
        let so_far = micros(position.without);
        self.pass(position, length);
        Sound {
            duration: micros(length),
            play: Play::Conceal { next, so_far },
        }
    }

    fn silence(&mut self, position: Position, length: i64) -> Option<Sound> {
        if self.queue.is_empty() && position.without >= MAX_SILENCE {
            self.position = None;
            return None;
        }
        self.pass(position, length);
        Some(Sound {
            duration: micros(length),
            play: Play::Silence,
        })
    }

    /// Something else is played than what is due.
    fn pass(&mut self, position: Position, length: i64) {
        self.position = Some(Position {
            at: position.at + length,
            overdue: position.overdue + length,
            without: position.without + length,
            ..position
        });
    }

    fn samples(&self, duration: Duration) -> u64 {
        (duration.as_micros() as u64).saturating_mul(u64::from(self.clock_rate)) / 1_000_000
    }
}

/// What is played at a moment, for so many microseconds.
enum What {
    Frame,
    Concealed(i64),
    Silence(i64),
}

fn micros(micros: i64) -> Duration {
    Duration::from_micros(u64::try_from(micros).unwrap_or(0))
}

/// The delay of which the price is least.
fn price(recent: &Lateness, long: &Lateness) -> i64 {
    let (recent, long) = (recent.shares(), long.shares());
    let (mut few, mut all) = (0.0, 0.0);
    let mut after = BINS;
    cheapest(|bins| {
        while after > bins {
            after -= 1;
            few += recent[after];
            all += long[after];
        }
        100.0 * (few * PERCENT_RECENT + all * PERCENT_LONG)
    })
}

#[cfg(test)]
mod tests;
