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
    /// When it was captured, in seconds since the call began.
    pub(crate) captured: f64,
}

/// A call.
#[derive(Debug)]
pub(crate) struct Seen {
    pub(crate) start: Instant,
    pub(crate) end: Instant,
    /// How long packets take.
    pub(crate) way: Duration,
    pub(crate) pictures: Vec<Shown>,
    pub(crate) sounds: Vec<Shown>,
    /// Packets of sound that were sent, that came by themselves, and for how many something was made up.
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

    /// How much later each was shown or heard than what it takes on its way, in milliseconds, with the moment.
    fn delays(&self, shown: &[Shown]) -> Vec<(Instant, f64)> {
        let at = |shown: &Shown| (shown.at - self.start).saturating_sub(self.way).as_secs_f64();
        let delays = shown.iter().map(|shown| (shown.at, (at(shown) - shown.captured) * 1e3));
        delays.collect()
    }

    /// What `part` of the pictures were not later than, in milliseconds.
    pub(crate) fn added_delay(&self, part: f64) -> f64 {
        let delays = self.delays(&self.pictures);
        quantile(delays.into_iter().map(|(_, delay)| delay).collect(), part)
    }

    /// How far pictures were from the sound that was heard when they were shown, in milliseconds, from 10 s on. Of pictures that come out at
    /// the same moment, because the first of them was late, a screen shows the last.
    pub(crate) fn lip_sync(&self, part: f64) -> f64 {
        let sounds = self.delays(&self.sounds);
        let from = self.start + Duration::from_secs(10);
        let pictures = self.delays(&self.pictures);
        let moments = pictures.chunk_by(|one, next| one.0 == next.0);
        let seen = moments.filter_map(|moment| moment.last().copied());
        let apart = seen.filter(|(at, _)| *at >= from).map(|(at, delay)| {
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
        let [sent, came, concealed] = self.sound;
        100.0 * concealed as f64 / sent.saturating_sub(came).max(1) as f64
    }
}

fn quantile(mut values: Vec<f64>, part: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let place = (values.len() as f64 * part).ceil() as usize;
    values.get(place.saturating_sub(1)).copied().unwrap_or(f64::INFINITY)
}
