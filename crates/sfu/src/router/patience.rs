//! How often a receiver is heard that asks for key frames.

use std::time::{Duration, Instant};

/// A receiver is heard at once when it asks for a key frame, but so often in a row ...
const KEY_FRAMES_AT_ONCE: u32 = 4;
/// ... and after that each time that so much has passed: a key frame costs everybody. A source is asked again without it
/// as long as none comes.
const KEY_FRAME_EVERY: Duration = Duration::from_secs(3);

/// How often one receiver has asked.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Patience {
    /// Until when its requests are spoken for.
    until: Option<Instant>,
}

impl Patience {
    /// It asks. Whether it is heard.
    pub(super) fn hear(&mut self, now: Instant) -> bool {
        let begins = self.until.map_or(now, |until| until.max(now));
        let is_heard = begins.saturating_duration_since(now) <= KEY_FRAME_EVERY * (KEY_FRAMES_AT_ONCE - 1);
        if is_heard {
            self.until = Some(begins + KEY_FRAME_EVERY);
        }
        is_heard
    }
}
