//! Whose packets go on where only the loudest do: a decision for each packet.

use std::time::{Duration, Instant};

use super::voice::Energy;

/// The most producers that may be among the loudest.
pub const MAX_LOUDEST: usize = 16;
/// Packets of digital silence that go on before the others do not: an encoder ends a word with them.
const SILENT_PACKETS: u8 = 3;
/// Who is among the loudest gives the place to who is so much louder, in half decibels: two voices of one loudness do
/// not cut each other up.
const LOUDER: u16 = 6;
/// Digital silence.
const SILENCE: u8 = 127;

/// How many go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LoudestOptions {
    /// How many producers at once, 1 to [`MAX_LOUDEST`]; 3 by default. Who leads the talk goes on beside them.
    pub count: usize,
    /// Who has sent nothing for this long leaves the place, 20 ms to 10 s; 150 ms by default.
    pub expiry: Duration,
}

impl Default for LoudestOptions {
    fn default() -> Self {
        Self {
            count: 3,
            expiry: Duration::from_millis(150),
        }
    }
}

/// What is to become of a packet of sound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[must_use]
pub enum Verdict {
    /// It goes on to the others.
    GoesOn,
    /// It does not: three packets of silence came before it.
    Silent,
    /// It does not: others are louder.
    Quieter,
    /// It does not: its producer is not known.
    Unknown,
}

impl Verdict {
    /// Whether the packet goes on.
    pub fn goes_on(self) -> bool {
        self == Self::GoesOn
    }
}

/// One of the loudest.
#[derive(Clone, Copy, Debug)]
struct Entry {
    producer: u32,
    energy: u16,
    at: Instant,
}

/// The loudest of a room.
#[derive(Clone, Debug)]
pub(super) struct Loudest {
    options: LoudestOptions,
    /// Loudest first; those in use stand in front.
    entries: [Option<Entry>; MAX_LOUDEST],
}

impl Loudest {
    pub(super) fn new(options: LoudestOptions) -> Self {
        Self {
            options: LoudestOptions {
                count: options.count.clamp(1, MAX_LOUDEST),
                expiry: options.expiry.clamp(Duration::from_millis(20), Duration::from_secs(10)),
            },
            entries: [None; MAX_LOUDEST],
        }
    }

    pub(super) fn producers(&self) -> impl Iterator<Item = u32> + '_ {
        self.entries.iter().flatten().map(|entry| entry.producer)
    }

    pub(super) fn remove(&mut self, producer: u32) {
        self.keep(|entry| entry.producer != producer);
    }

    /// What is to become of a packet. Who leads the talk goes on in any case, but silence of nobody does for long.
    pub(super) fn judge(
        &mut self,
        now: Instant,
        producer: u32,
        energy: &mut Energy,
        level: Option<u8>,
        leads: bool,
    ) -> Verdict {
        let expiry = self.options.expiry;
        self.keep(|entry| now.saturating_duration_since(entry.at) <= expiry);
        if level == Some(SILENCE) {
            energy.silent = energy.silent.saturating_add(1);
            if energy.silent > SILENT_PACKETS {
                self.remove(producer);
                energy.smoothed = 0;
                return Verdict::Silent;
            }
        } else {
            energy.silent = 0;
        }
        let is_new = energy.at.is_none_or(|at| now.saturating_duration_since(at) > expiry);
        energy.at = Some(now);
        let loud = level.map_or(0, |level| u16::from(SILENCE - level.min(SILENCE)) * 2);
        // Half of what was before, half of what is: alpha 0.5. After a pause nothing was before.
        energy.smoothed = if is_new {
            loud
        } else {
            (energy.smoothed + loud).div_ceil(2)
        };
        let is_among = self.rank(now, producer, energy.smoothed);
        if is_among || leads {
            Verdict::GoesOn
        } else {
            Verdict::Quieter
        }
    }

    /// Puts a producer where it belongs. Whether it is among the loudest.
    fn rank(&mut self, now: Instant, producer: u32, energy: u16) -> bool {
        let was_among = self.producers().any(|other| other == producer);
        if was_among {
            self.remove(producer);
        }
        let count = self.options.count;
        let Some(places) = self.entries.get_mut(..count) else {
            return false;
        };
        let entry = Entry {
            producer,
            energy,
            at: now,
        };
        let full = places.last().is_some_and(Option::is_some);
        if full {
            let least = places.last().copied().flatten().map_or(0, |last| last.energy);
            if energy < least.saturating_add(LOUDER) {
                return false;
            }
        }
        let place = places.partition_point(|other| other.is_some_and(|other| other.energy >= energy));
        if let Some(behind) = places.get_mut(place..) {
            behind.rotate_right(1);
            if let Some(first) = behind.first_mut() {
                *first = Some(entry);
            }
        }
        true
    }

    fn keep(&mut self, mut stays: impl FnMut(&Entry) -> bool) {
        let mut kept = 0;
        for place in 0..self.options.count {
            let Some(Some(entry)) = self.entries.get(place).copied() else {
                break;
            };
            if stays(&entry) {
                self.entries.swap(kept, place);
                kept += 1;
            }
        }
        if let Some(rest) = self.entries.get_mut(kept..) {
            rest.fill(None);
        }
    }
}
