//! The peer's clock, as moments that can be compared with each other.

use std::time::{Duration, Instant};

/// A reading this far from the one that the clock was set by sets it anew: an honest peer is never so far off.
const MAX_DISTANCE: u64 = 24 * 3600 * 1_000_000;

/// Makes moments of a peer's readings: equal steps of its clock are equal steps here. Where its clock begins says nothing.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PeerClock {
    /// A reading in microseconds, and the moment that stands for it.
    anchor: Option<(i64, Instant)>,
}

impl PeerClock {
    /// The moment of a reading, in microseconds.
    pub(crate) fn at(&mut self, now: Instant, micros: i64) -> Instant {
        let (anchor, at) = *self.anchor.get_or_insert((micros, now));
        let distance = micros.abs_diff(anchor);
        let moment = if distance > MAX_DISTANCE {
            None
        } else if micros >= anchor {
            at.checked_add(Duration::from_micros(distance))
        } else {
            at.checked_sub(Duration::from_micros(distance))
        };
        moment.unwrap_or_else(|| {
            self.anchor = Some((micros, now));
            now
        })
    }
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;

    use super::*;

    #[test]
    fn steps_are_kept_and_lies_are_bounded() {
        let now = start();
        let mut clock = PeerClock::default();
        let first = clock.at(now, 5_000_000);
        let later = clock.at(now, 5_030_000);
        let earlier = clock.at(now, 4_990_000);
        assert_eq!(
            (later - first, first - earlier),
            (Duration::from_millis(30), Duration::from_millis(10))
        );
        assert_eq!(clock.at(now, i64::MAX), now);
        assert_eq!(clock.at(now, i64::MIN), now);
        assert_eq!(clock.at(now, i64::MIN + 7) - now, Duration::from_micros(7));
    }
}
