//! Files begin at zero: what begins before is moved, all tracks by the same time.

use crate::track::rescale;

/// How far the samples of a file are moved.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Shift {
    /// Ticks and their clock; `None` before the first sample.
    by: Option<(i64, u32)>,
}

impl Shift {
    /// The time in the file of a sample at `time`: not negative. The first sample decides how far all are moved; one that is earlier
    /// still begins at zero.
    pub(crate) fn apply(&mut self, time: i64, clock_rate: u32) -> u64 {
        let (ticks, rate) = *self.by.get_or_insert((time.min(0).saturating_neg(), clock_rate));
        let moved = time.saturating_add(rescale(ticks, rate.into(), clock_rate.into()));
        u64::try_from(moved).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_tracks_move_by_the_same_time() {
        let mut shift = Shift::default();
        assert_eq!(shift.apply(-4_800, 48_000), 0);
        assert_eq!(shift.apply(0, 90_000), 9_000);
        assert_eq!(shift.apply(-90_000, 90_000), 0);
        assert_eq!(Shift::default().apply(7, 90_000), 7);
    }
}
