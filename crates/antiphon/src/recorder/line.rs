//! The times of one source on the line of the file: from RTP timestamps, by arrival or by sender reports.

/// Sender reports that move a source farther than this are not believed, in nanoseconds: half a second.
const MAX_STEP: i64 = 500_000_000;

/// How far a later report moves a source at most, in nanoseconds. Many senders pair a timestamp with the time at which its frame was handed
/// over, which is late where a machine is busy; clocks drift by far less than this from one report to the next.
const MAX_CORRECTION: i64 = 5_000_000;

/// What a sender report says: one moment on two clocks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Report {
    /// NTP, in units of 2^-32 seconds.
    pub(super) ntp: u64,
    pub(super) rtp_timestamp: u32,
}

impl Report {
    /// Nanoseconds from the start of NTP's era.
    pub(super) fn nanoseconds(self) -> i64 {
        let nanoseconds = (u128::from(self.ntp) * 1_000_000_000) >> 32;
        i64::try_from(nanoseconds).unwrap_or(i64::MAX)
    }
}

/// Where the timestamps of a source are on the line of the file.
#[derive(Clone, Copy, Debug)]
pub(super) struct Line {
    clock_rate: u32,
    /// A timestamp, extended across wraps, and when that is, in nanoseconds.
    anchor: (i64, i64),
    /// The newest timestamp, extended.
    newest: i64,
}

impl Line {
    /// The first frame of a source, with its time by arrival in nanoseconds.
    pub(super) fn new(timestamp: u32, at: i64, clock_rate: u32) -> Self {
        let first = i64::from(timestamp);
        Self {
            clock_rate: clock_rate.max(1),
            anchor: (first, at),
            newest: first,
        }
    }

    /// A timestamp extended across wraps: the one that is next to the newest.
    fn extend(&self, timestamp: u32) -> i64 {
        let step = timestamp.wrapping_sub(self.newest as u32) as i32;
        self.newest + i64::from(step)
    }

    fn at(&self, extended: i64) -> i64 {
        let ticks = i128::from(extended - self.anchor.0);
        let nanoseconds = (ticks * 1_000_000_000).div_euclid(i128::from(self.clock_rate));
        self.anchor.1.saturating_add(i64::try_from(nanoseconds).unwrap_or(0))
    }

    /// When a frame is, in nanoseconds.
    pub(super) fn time(&mut self, timestamp: u32) -> i64 {
        let extended = self.extend(timestamp);
        self.newest = self.newest.max(extended);
        self.at(extended)
    }

    /// By how much NTP time is ahead of the file's, as this source's report and its place tell.
    pub(super) fn offset(&self, report: Report) -> i64 {
        report
            .nanoseconds()
            .saturating_sub(self.at(self.extend(report.rtp_timestamp)))
    }

    /// Sets the source where its report says, `offset` being that of the file. `first`: whatever that is; later only if it is near, and by
    /// small steps.
    pub(super) fn correct(&mut self, report: Report, offset: i64, first: bool) {
        let moment = self.extend(report.rtp_timestamp);
        let at = report.nanoseconds().saturating_sub(offset);
        let now = self.at(moment);
        if first {
            self.anchor = (moment, at);
        } else if at.abs_diff(now) <= MAX_STEP.unsigned_abs() {
            self.anchor = (moment, now + (at - now).clamp(-MAX_CORRECTION, MAX_CORRECTION));
        }
    }

    /// Moves the whole line.
    pub(super) fn shift(&mut self, by: i64) {
        self.anchor.1 = self.anchor.1.saturating_sub(by);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000_000_000;

    #[test]
    fn timestamps_wrap_and_go_back() {
        let mut line = Line::new(u32::MAX - 89_999, 5 * SECOND, 90_000);
        assert_eq!(line.time(u32::MAX - 89_999), 5 * SECOND);
        assert_eq!(line.time(0), 6 * SECOND);
        assert_eq!(line.time(90_000), 7 * SECOND);
        assert_eq!(line.time(u32::MAX - 44_999), 5 * SECOND + SECOND / 2);
    }

    #[test]
    fn reports_set_two_sources_against_each_other() {
        // The sound came 200 ms late; their reports say that they were made together.
        let mut video = Line::new(1_000, 0, 90_000);
        let mut sound = Line::new(7_000, SECOND / 5, 48_000);
        let ntp = |seconds: u64| Report {
            ntp: seconds << 32,
            rtp_timestamp: 0,
        };
        let of_video = Report {
            rtp_timestamp: 1_000 + 90_000,
            ..ntp(3_900_000_001)
        };
        let of_sound = Report {
            rtp_timestamp: 7_000 + 2 * 48_000,
            ..ntp(3_900_000_002)
        };
        let offset = video.offset(of_video);
        video.correct(of_video, offset, true);
        sound.correct(of_sound, offset, true);
        assert_eq!(video.time(1_000), 0);
        assert_eq!(sound.time(7_000), 0);
        // A clock that drifts is followed, one that jumps is not.
        sound.correct(
            Report {
                rtp_timestamp: 7_000 + 10 * 48_000 + 48,
                ..ntp(3_900_000_010)
            },
            offset,
            false,
        );
        assert_eq!(sound.time(7_000 + 10 * 48_000 + 48), 10 * SECOND);
        sound.correct(
            Report {
                rtp_timestamp: 7_000,
                ..ntp(3_900_000_100)
            },
            offset,
            false,
        );
        assert_eq!(sound.time(7_000 + 10 * 48_000 + 48), 10 * SECOND);
        // One that was late by a tenth of a second moves it by a little.
        sound.correct(
            Report {
                rtp_timestamp: 7_000 + 11 * 48_000 + 48,
                ntp: (3_900_000_011 << 32) + (1 << 32) / 10,
            },
            offset,
            false,
        );
        assert_eq!(sound.time(7_000 + 11 * 48_000 + 48), 11 * SECOND + MAX_CORRECTION);
    }
}
