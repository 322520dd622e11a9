//! When media was captured, on our clock. A sender report ties the media clock of a source to the NTP time of its peer (RFC 3550
//! §6.4.1); that is tied to our clock once for all sources of the peer, so that they stay in step with each other, however late one of
//! the reports was.

use std::time::{Duration, Instant};

/// How far one report moves the peer's clock against ours at most: clocks drift by less from one report to the next, and what is more
/// is the report's own delay.
const MAX_STEP: Duration = Duration::from_millis(1);
/// A peer's clock that is farther than this from where it was expected has been set anew.
const MAX_APART: Duration = Duration::from_secs(1);
/// Media is captured at most so long before or after it comes; what says otherwise is not believed.
const MAX_AGE: Duration = Duration::from_secs(5);

/// How the peer's NTP time and our clock belong together.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PeerClock {
    /// One moment on both.
    anchor: Option<(u64, Instant)>,
}

impl PeerClock {
    /// The moment on our clock of which a report that has just come says that it is `ntp`.
    pub(crate) fn moment(&mut self, now: Instant, ntp: u64) -> Instant {
        let expected = self.anchor.and_then(|(before, at)| {
            // Units of 2^-32 s, either way.
            let step = ntp.wrapping_sub(before) as i64;
            let length = Duration::from_nanos(((u128::from(step.unsigned_abs()) * 1_000_000_000) >> 32) as u64);
            let moment = shifted(at, length, step < 0)?;
            (distance(now, moment) <= MAX_APART).then_some(moment)
        });
        let moment = match expected {
            None => now,
            Some(moment) => {
                let step = distance(now, moment).min(MAX_STEP);
                shifted(moment, step, now < moment).unwrap_or(moment)
            }
        };
        self.anchor = Some((ntp, moment));
        moment
    }
}

/// One moment on the media clock of a source and on ours.
#[derive(Clone, Copy, Debug)]
pub(crate) struct MediaClock {
    timestamp: u32,
    at: Instant,
}

impl MediaClock {
    pub(crate) fn new(timestamp: u32, at: Instant) -> Self {
        Self { timestamp, at }
    }

    /// When the media of this timestamp was captured, which comes `now`.
    #[inline]
    pub(crate) fn captured(&self, timestamp: u32, clock_rate: u32, now: Instant) -> Option<Instant> {
        let ticks = timestamp.wrapping_sub(self.timestamp) as i32;
        let nanoseconds = u64::from(ticks.unsigned_abs()) * 1_000_000_000 / u64::from(clock_rate.max(1));
        let moment = shifted(self.at, Duration::from_nanos(nanoseconds), ticks < 0)?;
        (distance(now, moment) <= MAX_AGE).then_some(moment)
    }
}

#[inline]
fn shifted(at: Instant, by: Duration, back: bool) -> Option<Instant> {
    if back { at.checked_sub(by) } else { at.checked_add(by) }
}

#[inline]
fn distance(a: Instant, b: Instant) -> Duration {
    a.saturating_duration_since(b) + b.saturating_duration_since(a)
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// NTP time so many milliseconds after some moment.
    fn ntp(milliseconds: u64) -> u64 {
        (3_900_000_000 << 32) + (milliseconds << 32) / 1000
    }

    #[test]
    fn a_late_report_moves_the_clock_by_little_and_a_clock_that_was_set_is_followed() {
        let begin = start();
        let mut clock = PeerClock::default();
        assert_eq!(clock.moment(begin, ntp(0)), begin);
        let near = |moment: Instant, wanted: Duration| distance(moment, begin + wanted) < MS / 10;
        // 80 ms late, then 200 ms early against that.
        assert!(near(clock.moment(begin + 1080 * MS, ntp(1000)), 1001 * MS));
        assert!(near(clock.moment(begin + 2000 * MS, ntp(2000)), 2000 * MS));
        // It goes back a little: an older report.
        assert!(near(clock.moment(begin + 1999 * MS, ntp(1990)), 1991 * MS));
        // The peer's clock was set, by an hour.
        let later = begin + 5000 * MS;
        assert_eq!(clock.moment(later, ntp(3_600_000)), later);
        assert_eq!(clock.moment(later, 7), later);
        assert_eq!(clock.moment(later, u64::MAX), later);
    }

    #[test]
    fn what_is_far_from_its_arrival_is_not_believed() {
        let begin = start() + 100_000 * MS;
        let clock = MediaClock::new(10, begin);
        let captured = |ticks: u32, now| clock.captured(ticks, 90_000, now);
        assert_eq!(captured(10 + 9000, begin + 120 * MS), Some(begin + 100 * MS));
        assert_eq!(captured(10u32.wrapping_sub(9000), begin), Some(begin - 100 * MS));
        assert_eq!(captured(10 + 9000, begin + 6000 * MS), None);
        assert_eq!(captured(10 + (1 << 31), begin), None);
        assert_eq!(clock.captured(11, 0, begin), Some(begin + 1000 * MS), "no rate");
    }
}
