//! What is known of one voice: how loud it was in each slot of the last second, over the noise of its room.

use std::time::{Duration, Instant};

/// Time goes in slots of this length, the usual length of a packet of sound.
pub(super) const SLOT: Duration = Duration::from_millis(20);
/// A packet stands for at most so many slots: packets of 60 ms are seen, and after that there was silence.
const MAX_FILL: u64 = 3;
/// Slots that are remembered: a second.
pub(super) const SLOTS: usize = 50;
/// Digital silence.
const SILENCE: u8 = 127;
/// A level has one of ten steps of 5 dB, from -80 dBov up: what is quieter is no sound in a call.
const QUIETEST: u8 = 80;
const STEP: u8 = 5;
pub(super) const MAX_STEP: u8 = 9;
/// What is within this above the noise of the room is noise.
const ABOVE_NOISE: u8 = 10;
/// The noise is believed to grow by 1 dB in so many slots, so that a room is learned within seconds while every pause
/// of a word corrects it.
const NOISE_GROWS: u8 = 25;
/// The loudest noise of a room: what is louder than -35 dBov is speech or music in any room.
const LOUDEST_NOISE: u8 = 45;

/// The number of a moment's slot.
pub(super) fn slot(start: Instant, now: Instant) -> u64 {
    (now.saturating_duration_since(start).as_millis() / SLOT.as_millis()) as u64
}

/// How loud a voice is for the choice of the loudest.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Energy {
    /// Smoothed, in half decibels above -127 dBov.
    pub(super) smoothed: u16,
    /// When its last packet came.
    pub(super) at: Option<Instant>,
    /// Packets of silence one after the other.
    pub(super) silent: u8,
}

/// One voice.
#[derive(Clone, Debug)]
pub(super) struct Voice {
    /// The steps of the last slots, that of slot `n` at `n % SLOTS`.
    steps: [u8; SLOTS],
    /// The slot that follows the newest one that is known.
    next: u64,
    /// The noise of its room, in decibels below overload, and slots since it grew.
    noise: u8,
    since_growth: u8,
    /// The sum of the levels, in decibels below overload, and how many slots it is of, since the last interval of
    /// volumes began.
    sum: u64,
    count: u64,
    pub(super) energy: Energy,
}

impl Default for Voice {
    fn default() -> Self {
        Self {
            steps: [0; SLOTS],
            next: 0,
            noise: QUIETEST,
            since_growth: 0,
            sum: 0,
            count: 0,
            energy: Energy::default(),
        }
    }
}

impl Voice {
    /// A packet with this level has come.
    pub(super) fn take(&mut self, slot: u64, level: u8) {
        let step = self.step(level);
        // Another packet of a slot that is known already: the louder counts.
        let known = self.next > slot;
        if known {
            let (newest, before) = (self.next.saturating_sub(1), self.at(self.next.saturating_sub(1)));
            self.put(newest, step.max(before));
            return;
        }
        let from = self.next.max(slot.saturating_sub(MAX_FILL - 1));
        let fresh = if self.next == 0 { slot } else { from };
        // What lies further back than the ring is long would be written more than once.
        for silent in self.next.max(slot.saturating_sub(SLOTS as u64))..fresh {
            self.put(silent, 0);
        }
        for filled in fresh..=slot {
            self.put(filled, step);
            self.sum += u64::from(level);
            self.count += 1;
            self.hear_noise(level);
        }
        self.next = slot + 1;
    }

    /// The newest slot that something is known of, where a packet may still be on its way; else the one before that
    /// which runs.
    pub(super) fn newest(&self, running: u64) -> u64 {
        if self.next + MAX_FILL > running {
            self.next.saturating_sub(1)
        } else {
            running.saturating_sub(1)
        }
    }

    /// Whether it sent anything in the last second.
    pub(super) fn is_heard(&self, running: u64) -> bool {
        self.next > 0 && self.next + SLOTS as u64 > running
    }

    /// How loud it was in a slot, 0 to [`MAX_STEP`]; 0 for what is not known.
    pub(super) fn at(&self, slot: u64) -> u8 {
        if slot >= self.next || slot + (SLOTS as u64) < self.next {
            return 0;
        }
        let step = self.steps.get((slot % SLOTS as u64) as usize);
        step.copied().unwrap_or(0)
    }

    /// The mean level since the last call, in decibels below overload, and how many slots it is of.
    pub(super) fn take_mean(&mut self) -> Option<(u8, u64)> {
        let (sum, count) = (std::mem::take(&mut self.sum), std::mem::take(&mut self.count));
        let mean = sum.checked_div(count)?;
        Some((mean as u8, count))
    }

    fn put(&mut self, slot: u64, step: u8) {
        if let Some(place) = self.steps.get_mut((slot % SLOTS as u64) as usize) {
            *place = step;
        }
    }

    fn step(&self, level: u8) -> u8 {
        if level.saturating_add(ABOVE_NOISE) > self.noise {
            return 0;
        }
        (QUIETEST.saturating_sub(level) / STEP).min(MAX_STEP)
    }

    fn hear_noise(&mut self, level: u8) {
        // A microphone that is muted says nothing of the room.
        if level == SILENCE {
            return;
        }
        if level >= self.noise {
            self.noise = level.min(QUIETEST);
            self.since_growth = 0;
            return;
        }
        self.since_growth += 1;
        if self.since_growth >= NOISE_GROWS {
            self.since_growth = 0;
            self.noise = self.noise.saturating_sub(1).max(LOUDEST_NOISE);
        }
    }
}
