//! Times of a file that is played over and over: one line of nanoseconds for all tracks.

const NANOSECONDS: i128 = 1_000_000_000;

/// How far the file's beginning has moved, and where its end is.
#[derive(Debug, Default)]
pub(super) struct Rounds {
    /// Nanoseconds that all rounds before took.
    before: i128,
    /// Where the latest sample of this round ends, in nanoseconds from its beginning.
    end: i128,
    /// By track: when its last sample was, in ticks.
    last: Vec<Option<i64>>,
}

impl Rounds {
    pub(super) fn new(tracks: usize) -> Self {
        Self {
            last: vec![None; tracks],
            ..Self::default()
        }
    }

    /// When a sample of the file is due, in nanoseconds from the very beginning.
    pub(super) fn due(&mut self, track: usize, time: i64, duration: Option<u32>, rate: u32) -> i128 {
        let own = nanoseconds(time, rate);
        let before = self.last.get_mut(track).and_then(|last| last.replace(time));
        // What does not say how long it lasts, lasts as long as the one before it.
        let step = before.map_or(0, |before| time.saturating_sub(before).max(0));
        let length = duration.map_or(step, i64::from);
        self.end = self.end.max(own + nanoseconds(length, rate));
        self.before + own
    }

    /// The file begins again. `false` if it has no length, so that it would be played without end in no time.
    pub(super) fn again(&mut self) -> bool {
        let length = std::mem::take(&mut self.end);
        self.before += length.max(0);
        self.last.iter_mut().for_each(|last| *last = None);
        length > 0
    }
}

/// Ticks of a clock in nanoseconds.
pub(super) fn nanoseconds(ticks: i64, rate: u32) -> i128 {
    i128::from(ticks) * NANOSECONDS / i128::from(rate.max(1))
}

/// The RTP timestamp of a moment: ticks from the very beginning, modulo 2^32.
pub(super) fn timestamp(nanoseconds: i128, rate: u32) -> u32 {
    // To the nearest: what was cut off on the way here comes back.
    let ticks = (nanoseconds * i128::from(rate) + NANOSECONDS / 2).div_euclid(NANOSECONDS);
    ticks.rem_euclid(1 << 32) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_begins_again_goes_on_in_time_on_all_tracks() {
        let mut rounds = Rounds::new(2);
        let mut stamps = Vec::new();
        for _ in 0..3 {
            for frame in 0..3i64 {
                let due = rounds.due(0, frame * 3_000, None, 90_000);
                stamps.push(timestamp(due, 90_000));
                rounds.due(1, frame * 960, Some(960), 48_000);
            }
            assert!(rounds.again());
        }
        // Three frames of a thirtieth of a second are the longest track.
        assert_eq!(stamps, [0, 3_000, 6_000, 9_000, 12_000, 15_000, 18_000, 21_000, 24_000]);
        assert_eq!(timestamp(rounds.due(1, -312, Some(960), 48_000), 48_000), 14_400 - 312);
        assert!(!Rounds::new(1).again());
        assert_eq!(timestamp(-6_500_000, 48_000), 312u32.wrapping_neg());
    }
}
