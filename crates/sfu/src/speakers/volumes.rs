//! Who is loud: a list at each interval, as applications show it beside names.

use std::time::{Duration, Instant};

use super::voice::{SLOT, Voice};

/// The most that one list may have.
pub const MAX_VOLUMES: usize = 1024;
/// The bounds of an interval.
const SHORTEST: Duration = Duration::from_millis(250);
const LONGEST: Duration = Duration::from_secs(5);
/// Who was heard for less than this part of an interval is not in its list.
const HEARD: u64 = 5;

/// How loud one producer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Volume {
    /// The producer, by its host's number.
    pub producer: u32,
    /// The mean over the interval in dBov, -127 (silence) to 0 (loudest).
    pub level: i8,
}

/// Which list is told, and how often. The default is that of mediasoup's `AudioLevelObserver`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct VolumeOptions {
    /// How many are in a list at most, 1 to [`MAX_VOLUMES`]; 1 by default.
    pub max_entries: usize,
    /// Who is quieter is not in it, in dBov, -127 to 0; -80 by default.
    pub threshold: i8,
    /// The time between two lists, 250 ms to 5 s; a second by default.
    pub interval: Duration,
}

impl Default for VolumeOptions {
    fn default() -> Self {
        Self {
            max_entries: 1,
            threshold: -80,
            interval: Duration::from_secs(1),
        }
    }
}

/// Makes the lists.
#[derive(Clone, Debug)]
pub(super) struct Volumes {
    options: VolumeOptions,
    /// The end of the interval that runs; `None` while nobody sends.
    due: Option<Instant>,
    /// Whether the last list had anybody.
    loud: bool,
}

impl Volumes {
    pub(super) fn new(options: VolumeOptions) -> Self {
        Self {
            options: VolumeOptions {
                max_entries: options.max_entries.clamp(1, MAX_VOLUMES),
                threshold: options.threshold.clamp(-127, 0),
                interval: options.interval.clamp(SHORTEST, LONGEST),
            },
            due: None,
            loud: false,
        }
    }

    /// Somebody sends.
    pub(super) fn begin(&mut self, now: Instant) {
        self.due.get_or_insert(now + self.options.interval);
    }

    pub(super) fn due(&self) -> Option<Instant> {
        self.due
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.due.is_some_and(|due| due <= now)
    }

    /// The interval is over: the list if there is one, and an empty one when it has become silent.
    pub(super) fn end<'a>(
        &mut self,
        now: Instant,
        voices: impl Iterator<Item = (u32, &'a mut Voice)>,
    ) -> Option<Vec<Volume>> {
        let slots = (self.options.interval.as_millis() / SLOT.as_millis()) as u64;
        let mut list = Vec::new();
        let mut anybody = false;
        for (producer, voice) in voices {
            let Some((below, count)) = voice.take_mean() else {
                continue;
            };
            anybody = true;
            let level = -(below.min(127) as i8);
            if count * HEARD >= slots && level >= self.options.threshold {
                list.push(Volume { producer, level });
            }
        }
        list.sort_by_key(|volume| (std::cmp::Reverse(volume.level), volume.producer));
        list.truncate(self.options.max_entries);
        // While nobody sends no time runs.
        self.due = anybody.then(|| now + self.options.interval);
        let was_loud = std::mem::replace(&mut self.loud, !list.is_empty());
        (self.loud || was_loud).then_some(list)
    }
}
