//! What a call was like for who received it.

use std::time::{Duration, Instant};

/// Gaps between pictures that the mean is taken of.
const GAPS: usize = 30;
/// A gap is no freeze that is not longer than the mean by this.
const NOTICED: f64 = 0.150;

/// A frame that was shown or heard.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shown {
    pub(crate) at: Instant,
    /// When it was captured by the timestamps, in seconds since some moment that all frames of the call share.
    pub(crate) captured: f64,
}

/// A call.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) start: Instant,
    pub(crate) end: Instant,
    pub(crate) pictures: Vec<Shown>,
    pub(crate) sounds: Vec<Shown>,
    /// Packets of sound that were sent, that came by themselves, and frames that were heard.
    pub(crate) sound: [u64; 3],
    /// How often a key frame was asked for.
    pub(crate) requests: u64,
}

impl Seen {
    /// The part of the time in which the picture stood, in percent: a gap is a freeze that is at least thrice as long as the mean of the 30
    /// before, and longer by 150 ms.
    pub(crate) fn freeze_share(&self) -> f64 {
        let mut gaps: Vec<f64> = Vec::new();
        let mut frozen = 0.0;
        let at = self.pictures.iter().map(|shown| shown.at);
        for (before, after) in at.clone().zip(at.skip(1).chain([self.end])) {
            let gap = after.saturating_duration_since(before).as_secs_f64();
            let last = &gaps[gaps.len().saturating_sub(GAPS)..];
            let mean = last.iter().sum::<f64>() / last.len().max(1) as f64;
            if last.len() == GAPS && gap >= (3.0 * mean).max(mean + NOTICED) {
                frozen += gap;
            }
            gaps.push(gap);
        }
        100.0 * frozen / (self.end - self.start).as_secs_f64()
    }

    /// How much later than at best each picture was shown, in milliseconds, with the moment.
    fn delays(shown: &[Shown], start: Instant) -> Vec<(Instant, f64)> {
        let transit = |shown: &Shown| (shown.at - start).as_secs_f64() - shown.captured;
        let least = shown.iter().map(transit).fold(f64::INFINITY, f64::min);
        shown
            .iter()
            .map(|shown| (shown.at, (transit(shown) - least) * 1e3))
            .collect()
    }

    /// What `part` of the pictures were not later than, in milliseconds.
    pub(crate) fn added_delay(&self, part: f64) -> f64 {
        let delays = Self::delays(&self.pictures, self.start);
        quantile(delays.into_iter().map(|(_, delay)| delay).collect(), part)
    }

    /// How far pictures were from the sound that was heard when they were shown, in milliseconds, from 10 s on.
    pub(crate) fn lip_sync(&self, part: f64) -> f64 {
        let sounds = Self::delays(&self.sounds, self.start);
        let from = self.start + Duration::from_secs(10);
        let pictures = Self::delays(&self.pictures, self.start);
        let apart = pictures.into_iter().filter(|(at, _)| *at >= from).map(|(at, delay)| {
            let heard = sounds.partition_point(|sound| sound.0 <= at);
            let sound = sounds.get(heard.saturating_sub(1)).map_or(0.0, |sound| sound.1);
            (delay - sound).abs()
        });
        quantile(apart.collect(), part)
    }

    pub(crate) fn requests(&self) -> f64 {
        self.requests as f64
    }

    /// Of the packets of sound that did not come, how many nothing brought back, in percent.
    pub(crate) fn concealed(&self) -> f64 {
        let [sent, came, heard] = self.sound;
        100.0 * sent.saturating_sub(heard) as f64 / sent.saturating_sub(came).max(1) as f64
    }
}

fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * part).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or(f64::INFINITY)
}
