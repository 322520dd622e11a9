//! The anchor that ties the monotonic clock to wall-clock time.

use std::time::{Duration, Instant};

/// Seconds from the NTP epoch (1900) to the Unix epoch (1970).
const NTP_UNIX_OFFSET: u64 = 2_208_988_800;

/// One pairing of the monotonic clock with the wall clock, given to a machine when it is made.
///
/// Protocol crates never read a clock; what needs wall-clock time (RTCP sender reports, absolute capture time) derives it
/// from the `now` that it was told and this anchor. The wall clock therefore never jumps within one connection.
#[derive(Clone, Copy, Debug)]
pub struct ClockAnchor {
    instant: Instant,
    unix: Duration,
}

impl ClockAnchor {
    /// Pairs `instant` with the wall-clock time `unix`, counted from the Unix epoch.
    pub fn new(instant: Instant, unix: Duration) -> Self {
        Self { instant, unix }
    }

    /// Wall-clock time at `now`, counted from the Unix epoch. `now` may lie before the anchor.
    pub fn unix(&self, now: Instant) -> Duration {
        match now.checked_duration_since(self.instant) {
            Some(later) => self.unix + later,
            None => self.unix.saturating_sub(self.instant.duration_since(now)),
        }
    }

    /// NTP timestamp at `now`: 32 bits of seconds since 1900, 32 bits of fraction (RFC 3550 §4).
    pub fn ntp(&self, now: Instant) -> u64 {
        let unix = self.unix(now);
        let seconds = unix.as_secs().wrapping_add(NTP_UNIX_OFFSET);
        let fraction = (u64::from(unix.subsec_nanos()) << 32) / 1_000_000_000;
        (seconds << 32) | fraction
    }

    /// The middle 32 bits of [`ClockAnchor::ntp`], in units of 1/65536 s, as LSR and DLSR count (RFC 3550 §6.4.1).
    pub fn ntp_middle(&self, now: Instant) -> u32 {
        (self.ntp(now) >> 16) as u32
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn ntp_of_a_known_moment() {
        let base = Instant::now();
        let anchor = ClockAnchor::new(base, Duration::from_millis(1_500));
        assert_eq!(anchor.ntp(base), ((NTP_UNIX_OFFSET + 1) << 32) | 0x8000_0000);
        let later = base + Duration::from_millis(500);
        assert_eq!(anchor.ntp(later), (NTP_UNIX_OFFSET + 2) << 32);
        assert_eq!(anchor.ntp_middle(later).wrapping_sub(anchor.ntp_middle(base)), 32_768);
    }
}
