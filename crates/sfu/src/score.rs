//! How well a stream arrives, as a number from 0 to 10 as users of mediasoup know it.

/// The best score.
pub const BEST: u8 = 10;
/// Intervals that a score is the mean of; newer ones weigh more.
const KEPT: usize = 24;

/// What became of a stream's packets between two reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Interval {
    /// Packets that its numbers make one expect.
    pub expected: u64,
    /// Packets that did not come by themselves.
    pub lost: u64,
    /// Packets of those that came when they were sent again.
    pub repaired: u64,
    /// Packets that were sent again, those in vain among them.
    pub retransmitted: u64,
}

impl Interval {
    /// The score of this interval alone, 0 to [`BEST`].
    ///
    /// The share that is missing counts by the fourth power: 10 for nothing, 8 for a twentieth, 6 for a tenth, 0 from a
    /// half on. What was repaired counts less the more there was to repair, and the more often it was sent.
    pub fn score(&self) -> u8 {
        let expected = self.expected;
        let lost = self.lost.min(expected);
        let received = expected - lost;
        if expected == 0 {
            return BEST;
        }
        if lost >= received {
            return 0;
        }
        let repaired = self.repaired.min(lost);
        let share = |part: u64, whole: u64| part as f64 / whole as f64;
        let mut weight = (1.0 / (1.0 + share(repaired, received))).powi(4);
        if self.retransmitted > repaired {
            weight *= share(repaired, self.retransmitted);
        }
        let missing = lost as f64 - repaired as f64 * weight;
        let delivered = 1.0 - missing / received as f64;
        (delivered.clamp(0.0, 1.0).powi(4) * f64::from(BEST)).round() as u8
    }
}

/// The score of one stream over its last 24 reports. Of a producer each encoding has one, by what comes from it; of a
/// consumer what is sent to it has one, by what its reports say.
#[derive(Clone, Debug, Default)]
pub struct Score {
    /// The scores of intervals, the newest at the end of those in use.
    kept: [u8; KEPT],
    count: usize,
    score: Option<u8>,
}

impl Score {
    /// Nothing is known yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// The score, 0 to [`BEST`]; `None` before the first report.
    pub fn get(&self) -> Option<u8> {
        self.score
    }

    /// Takes what a report says. The score, if it is another than before.
    pub fn take(&mut self, interval: Interval) -> Option<u8> {
        if self.count == KEPT {
            self.kept.rotate_left(1);
        } else {
            self.count += 1;
        }
        if let Some(newest) = self.kept.get_mut(self.count - 1) {
            *newest = interval.score();
        }
        let weighed = (1u64..).zip(self.kept.iter().take(self.count));
        let (sum, weights) = weighed.fold((0, 0), |(sum, weights), (weight, score)| {
            (sum + weight * u64::from(*score), weights + weight)
        });
        let mean = (2 * sum + weights).checked_div(2 * weights).unwrap_or(0);
        self.set(mean as u8)
    }

    /// The stream has stopped: 0 until it goes on, and what was before is forgotten. The score, if it is another than
    /// before.
    pub fn stop(&mut self) -> Option<u8> {
        self.count = 0;
        self.set(0)
    }

    fn set(&mut self, score: u8) -> Option<u8> {
        (self.score.replace(score) != Some(score)).then_some(score)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{BEST, Interval, Score};

    fn interval(expected: u64, lost: u64, repaired: u64, retransmitted: u64) -> Interval {
        Interval {
            expected,
            lost,
            repaired,
            retransmitted,
        }
    }

    #[test]
    fn losses_and_repairs_have_the_scores_of_mediasoup() {
        for (interval, score) in [
            (interval(0, 0, 0, 0), 10),
            (interval(1000, 0, 0, 0), 10),
            (interval(1000, 10, 0, 0), 10),
            (interval(1000, 50, 0, 0), 8),
            (interval(1000, 100, 0, 0), 6),
            (interval(1000, 200, 0, 0), 3),
            (interval(1000, 300, 0, 0), 1),
            (interval(1000, 500, 0, 0), 0),
            (interval(1000, 2000, 0, 0), 0),
            // Repaired at once, and each three times.
            (interval(1000, 100, 100, 100), 9),
            (interval(1000, 100, 100, 300), 7),
        ] {
            assert_eq!(interval.score(), score, "{interval:?}");
        }
    }

    #[test]
    fn a_score_follows_within_reports_and_newer_ones_weigh_more() {
        let mut score = Score::new();
        assert_eq!(score.get(), None);
        assert_eq!(score.take(interval(100, 0, 0, 0)), Some(10));
        assert_eq!(score.take(interval(100, 0, 0, 0)), None);
        let bad = interval(100, 50, 0, 0);
        // Of weights 1, 2, 3 half are good.
        assert_eq!(score.take(bad), Some(5));
        assert!((0..100).map(|_| score.take(bad)).any(|score| score == Some(0)));
        // Half a minute of good reports, and all is forgotten.
        let good: Vec<_> = (0..24).filter_map(|_| score.take(interval(100, 0, 0, 0))).collect();
        assert_eq!(good.last(), Some(&10));
        assert!(good.is_sorted());
    }

    #[test]
    fn a_stream_that_stops_has_none_and_begins_anew() {
        let mut score = Score::new();
        let _ = score.take(interval(100, 30, 0, 0));
        assert_eq!(score.stop(), Some(0));
        assert_eq!(score.stop(), None);
        assert_eq!(score.take(interval(100, 0, 0, 0)), Some(10));
    }

    proptest! {
        #[test]
        fn any_counts_have_a_score_and_more_loss_never_a_better_one(
            expected in 0u64..10_000, lost: u64, more: u64, repaired: u64, retransmitted: u64,
        ) {
            let one = interval(expected, lost, repaired, retransmitted).score();
            prop_assert!(one <= BEST);
            let lost = lost % 10_000;
            let (less, worse) = (interval(expected, lost, 0, 0), interval(expected, lost + more % 1000, 0, 0));
            prop_assert!(worse.score() <= less.score());
            let repaired = interval(expected, lost, lost, lost).score();
            prop_assert!(repaired >= less.score());
        }
    }
}
