//! What is counted of the frames of a stream: how many, how large, how often; and of sound how long and how loud.

use std::time::{Duration, Instant};

use antiphon_rtp::bitstream::Resolution;
use antiphon_rtp::extension::AudioLevel;

/// A frame that is so many times as large as the mean is a huge one (W3C `hugeFramesSent`).
const HUGE: f64 = 2.5;
/// Parts of a second in which frames are counted.
const PARTS: usize = 10;
const PART: Duration = Duration::from_millis(1000 / PARTS as u64);
/// Sound of one packet lasts no longer (Opus). A longer step of the timestamps is silence of which nothing was sent.
const LONGEST_SOUND_MS: u64 = 120;

/// How many frames a stream has had in its last second.
#[derive(Clone, Copy, Debug, Default)]
pub struct FrameRate {
    began: Option<Instant>,
    /// The part of which `counts[newest % (PARTS + 1)]` is the count.
    newest: u64,
    /// Of the newest part, which is not over, and of those before it.
    counts: [u16; PARTS + 1],
}

impl FrameRate {
    /// A frame more.
    #[inline]
    pub(crate) fn note(&mut self, now: Instant) {
        let began = *self.began.get_or_insert(now);
        let part = part(began, now);
        for gone in self.newest + 1..=part.min(self.newest + self.counts.len() as u64) {
            self.counts[gone as usize % (PARTS + 1)] = 0;
        }
        self.newest = self.newest.max(part);
        let count = &mut self.counts[self.newest as usize % (PARTS + 1)];
        *count = count.saturating_add(1);
    }

    /// Frames in the second before `now`, to a tenth of a second; `None` before the first frame.
    pub fn per_second(&self, now: Instant) -> Option<f64> {
        let part = part(self.began?, now);
        let from = part.saturating_sub(PARTS as u64);
        // What is not over does not count, unless nothing else is there yet.
        let until = if part == 0 { 1 } else { part };
        let known = self.newest.saturating_sub(PARTS as u64)..=self.newest;
        let parts = (from..until).filter(|part| known.contains(part));
        Some(
            parts
                .map(|part| f64::from(self.counts[part as usize % (PARTS + 1)]))
                .sum(),
        )
    }
}

fn part(began: Instant, now: Instant) -> u64 {
    (now.saturating_duration_since(began).as_nanos() / PART.as_nanos()) as u64
}

/// What is counted of frames that are sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct SentFrames {
    /// Taken, or forwarded whole.
    pub(crate) sent: u64,
    pub(crate) key: u64,
    pub(crate) refused: u64,
    pub(crate) huge: u64,
    /// Handed over as frames, taken or not, and those among them that can be decoded alone.
    pub(crate) encoded: u64,
    pub(crate) keys_encoded: u64,
    /// Bytes of those that were taken.
    bytes: u64,
    /// Of the newest key frame that told it.
    pub(crate) resolution: Option<Resolution>,
    pub(crate) rate: FrameRate,
    /// The timestamp of the newest one.
    newest: Option<u32>,
    /// Bytes that would have been as many as the stream may send.
    pub(crate) target_bytes: f64,
}

impl SentFrames {
    /// A frame was taken. Its stream may send `target` bits a second.
    pub(crate) fn take(&mut self, now: Instant, timestamp: u32, clock_rate: u32, bytes: usize, target: Option<u64>) {
        if self.sent > 0 && bytes as f64 >= HUGE * self.bytes as f64 / self.sent as f64 {
            self.huge += 1;
        }
        self.bytes += bytes as u64;
        self.sent += 1;
        self.rate.note(now);
        let step = self
            .newest
            .replace(timestamp)
            .map_or(0, |newest| timestamp.wrapping_sub(newest));
        // A picture that comes after a pause was not meant to have all of it.
        if let Some(target) = target
            && step <= clock_rate
        {
            self.target_bytes += target as f64 / 8.0 * f64::from(step) / f64::from(clock_rate.max(1));
        }
    }
}

/// What is counted of frames that have come.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReceivedFrames {
    pub(crate) received: u64,
    pub(crate) key: u64,
    /// Of the newest key frame that told it.
    pub(crate) resolution: Option<Resolution>,
    pub(crate) rate: FrameRate,
    /// Those of more than one packet, and how long these took from the first to the last.
    pub(crate) of_several: u64,
    pub(crate) assembly: Duration,
}

/// What is counted of sound: how long it is, by its timestamps, and how loud, where that is told.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Sound {
    newest: Option<u32>,
    /// Ticks of its clock, silence of which nothing is sent not counted.
    pub(crate) ticks: u64,
    pub(crate) seconds: f64,
    level: Option<AudioLevel>,
    energy: f64,
}

impl Sound {
    /// Sound of this time, as loud as `level`. Returns for how many ticks it adds.
    #[inline]
    pub(crate) fn note(&mut self, timestamp: u32, clock_rate: u32, level: Option<AudioLevel>) -> u64 {
        self.level = level.or(self.level);
        let step = match self.newest {
            Some(newest) => timestamp.wrapping_sub(newest),
            None => 0,
        };
        if (step as i32) < 0 {
            return 0;
        }
        self.newest = Some(timestamp);
        let step = u64::from(step);
        if step * 1000 > LONGEST_SOUND_MS * u64::from(clock_rate) {
            return 0;
        }
        let seconds = step as f64 / f64::from(clock_rate.max(1));
        self.ticks += step;
        self.seconds += seconds;
        if let Some(level) = level {
            self.energy += linear(level).powi(2) * seconds;
        }
        step
    }

    /// The newest level, 0 to 1.
    pub(crate) fn level(&self) -> Option<f64> {
        self.level.map(linear)
    }

    /// The sum of squared levels times seconds; `None` where no level is told.
    pub(crate) fn energy(&self) -> Option<f64> {
        self.level.map(|_| self.energy)
    }
}

/// From decibels below overload to 0 to 1 (W3C `audioLevel`).
pub(crate) fn linear(level: AudioLevel) -> f64 {
    10f64.powf(-f64::from(level.below_overload) / 20.0)
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;

    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_second() {
        let began = start();
        let mut rate = FrameRate::default();
        assert_eq!(rate.per_second(began), None);
        for n in 0..90u32 {
            rate.note(began + Duration::from_secs(n.into()) / 30);
        }
        let at = |ms: u64| began + Duration::from_millis(ms);
        assert_eq!(rate.per_second(at(3000)), Some(30.0));
        assert_eq!(rate.per_second(at(3500)), Some(15.0));
        assert_eq!(rate.per_second(at(4100)), Some(0.0));
        rate.note(at(60_000));
        assert_eq!(rate.per_second(at(60_100)), Some(1.0));
        // Time does not go back; and a frame in the part before the newest counts in the newest.
        rate.note(at(59_000));
        assert_eq!(rate.per_second(at(60_100)), Some(2.0));
    }

    #[test]
    fn huge_frames_and_the_bytes_that_were_meant() {
        let now = start();
        let mut frames = SentFrames::default();
        for (n, bytes) in [1000, 1000, 2499, 5000, 1000].into_iter().enumerate() {
            frames.take(now, 3000 * n as u32, 90_000, bytes, Some(240_000));
        }
        // 5000 against a mean of 1500.
        assert_eq!(frames.huge, 1);
        assert!((frames.target_bytes - 4000.0).abs() < 1e-6, "{}", frames.target_bytes);
        frames.take(now, 900_000, 90_000, 10, Some(240_000));
        assert!((frames.target_bytes - 4000.0).abs() < 1e-6, "a pause");
    }

    #[test]
    fn sound_lasts_as_long_as_its_timestamps_say() {
        let mut sound = Sound::default();
        assert_eq!((sound.level(), sound.energy()), (None, None));
        let level = |below_overload| {
            let voice = false;
            Some(AudioLevel { below_overload, voice })
        };
        let start = u32::MAX - 1000;
        assert_eq!(sound.note(start, 48_000, level(0)), 0);
        assert_eq!(sound.note(start.wrapping_add(960), 48_000, level(0)), 960);
        assert_eq!(sound.note(start.wrapping_add(1920), 48_000, level(20)), 960);
        assert_eq!(sound.note(start.wrapping_add(960), 48_000, None), 0, "late");
        assert_eq!(sound.note(start.wrapping_add(48_000), 48_000, None), 0, "after a pause");
        assert_eq!(sound.ticks, 1920);
        assert_eq!(sound.level(), Some(0.1));
        let energy = sound.energy().unwrap();
        assert!((energy - 0.02 * 1.01).abs() < 1e-9, "{energy}");
    }
}
