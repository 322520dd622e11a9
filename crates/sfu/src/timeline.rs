//! Timestamps of several sources on one line: never back, never a jump.

use std::time::{Duration, Instant};

use antiphon_media::Packet;

/// Ticks of all video in RTP (RFC 3551 §5).
const CLOCK_RATE: u32 = 90_000;
/// How far before the last frame a new source may say that it captured its first: then that frame follows at once.
/// Further, its reports are not believed, and arrivals count. mediasoup takes the same bound, and waits for another key
/// frame beyond it.
const MAX_BEHIND: Duration = Duration::from_millis(75);
/// How far behind its arrival a frame may lie on the line: its path may have become that much shorter.
const MAX_AHEAD: Duration = Duration::from_millis(25);

/// What is known of the newest frame that went on.
#[derive(Clone, Copy, Debug)]
struct Newest {
    ours: u32,
    captured: Option<Instant>,
    received: Instant,
}

/// The line of one consumer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Timeline {
    newest: Option<Newest>,
}

fn ticks(duration: Duration) -> u32 {
    (duration.as_micros() as u64 * u64::from(CLOCK_RATE / 1000) / 1000) as u32
}

impl Timeline {
    /// What is to be added to the timestamps of a source that begins with this packet.
    pub(crate) fn begin(&self, packet: &Packet) -> u32 {
        let Some(newest) = self.newest else { return 0 };
        let arrived = packet.received.saturating_duration_since(newest.received);
        let by_capture = packet.captured.zip(newest.captured).and_then(|(captured, before)| {
            if captured + MAX_BEHIND < before {
                return None;
            }
            // Zero for what was captured before: one tick is added below.
            Some(captured.saturating_duration_since(before).min(arrived + MAX_AHEAD))
        });
        let passed = ticks(by_capture.unwrap_or(arrived)).max(1);
        newest.ours.wrapping_add(passed).wrapping_sub(packet.timestamp)
    }

    /// A packet went on under this timestamp.
    pub(crate) fn passed(&mut self, ours: u32, packet: &Packet) {
        let is_newer = |newest: Newest| (ours.wrapping_sub(newest.ours) as i32) > 0;
        if self.newest.is_none_or(is_newer) {
            self.newest = Some(Newest {
                ours,
                captured: packet.captured,
                received: packet.received,
            });
        }
    }
}
