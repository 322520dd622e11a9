//! How evenly pictures are shown: freezes and pauses, by the measure that webrtc-stats defines.

use std::time::{Duration, Instant};

use crate::stats::PlayoutFigures;

/// webrtc-stats, `freezeCount`: the mean is that of so many frames.
const WINDOW: usize = 30;
/// Before so many frames there is no mean worth the name.
const LEAST: usize = 5;
/// webrtc-stats, `freezeCount`: a freeze is longer than the mean by so much, and three times as long.
const LONGER: Duration = Duration::from_millis(150);
/// webrtc-stats, `pauseCount`: what lasts longer than this is a pause.
const PAUSE: Duration = Duration::from_secs(5);
/// Of frames that are handed over within this time one is seen.
const AT_ONCE: Duration = Duration::from_millis(1);

/// Measures how evenly the frames of one source are shown.
#[derive(Debug, Default)]
pub(crate) struct Freezes {
    last: Option<Instant>,
    /// The last times between frames, in a ring.
    gaps: [Duration; WINDOW],
    count: usize,
    next: usize,
    sum: Duration,
}

impl Freezes {
    /// A frame is shown.
    pub(crate) fn shown(&mut self, now: Instant, figures: &mut PlayoutFigures) {
        let Some(last) = self.last else {
            self.last = Some(now);
            return;
        };
        let gap = now.saturating_duration_since(last);
        if gap < AT_ONCE {
            return;
        }
        self.last = Some(now);
        let seconds = gap.as_secs_f64();
        figures.total_inter_frame_delay += seconds;
        figures.total_squared_inter_frame_delay += seconds * seconds;
        if gap > PAUSE {
            figures.pause_count += 1;
            figures.total_pauses_duration += gap;
            // What was usual before it says nothing of what comes.
            self.count = 0;
            self.sum = Duration::ZERO;
            return;
        }
        if self.count >= LEAST {
            let mean = self.sum / self.count as u32;
            if gap >= (3 * mean).max(mean + LONGER) {
                figures.freeze_count += 1;
                figures.total_freezes_duration += gap;
            }
        }
        if self.count == WINDOW {
            self.sum = self.sum.saturating_sub(self.gaps[self.next]);
        } else {
            self.count += 1;
        }
        self.gaps[self.next] = gap;
        self.sum += gap;
        self.next = (self.next + 1) % WINDOW;
    }
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn shown(gaps: &[u32]) -> PlayoutFigures {
        let (mut now, mut freezes, mut figures) = (start(), Freezes::default(), PlayoutFigures::default());
        freezes.shown(now, &mut figures);
        for gap in gaps {
            now += *gap * MS;
            freezes.shown(now, &mut figures);
        }
        figures
    }

    fn steady(then: &[u32]) -> PlayoutFigures {
        let mut gaps = vec![33; 40];
        gaps.extend(then);
        shown(&gaps)
    }

    #[test]
    fn a_freeze_is_150_ms_and_three_times_longer_than_usual() {
        assert_eq!(steady(&[182]).freeze_count, 0);
        let figures = steady(&[184, 33]);
        assert_eq!((figures.freeze_count, figures.total_freezes_duration), (1, 184 * MS));
        // Of slow pictures three times the usual is longer.
        let mut slow = vec![100; 40];
        slow.push(299);
        assert_eq!(shown(&slow).freeze_count, 0);
        slow.push(330);
        assert_eq!(shown(&slow).freeze_count, 1);
    }

    #[test]
    fn a_pause_is_no_freeze_and_what_comes_at_once_is_one_picture() {
        let figures = steady(&[60_000, 33, 0, 0, 33]);
        assert_eq!(
            (figures.freeze_count, figures.pause_count, figures.total_pauses_duration),
            (0, 1, 60_000 * MS)
        );
        let total = 42.0 * 0.033 + 60.0;
        assert!((figures.total_inter_frame_delay - total).abs() < 1e-9);
        let squares = 42.0 * 0.033 * 0.033 + 3600.0;
        assert!((figures.total_squared_inter_frame_delay - squares).abs() < 1e-9);
    }

    #[test]
    fn too_few_frames_have_no_mean() {
        assert_eq!(shown(&[33, 33, 900]).freeze_count, 0);
    }
}
