//! What a recorder holds until its file begins.

use std::collections::VecDeque;
use std::time::Duration;

use super::input::Heard;

/// A file begins with the tracks that have come by then.
pub(super) const PATIENCE: Duration = Duration::from_secs(3);
/// It begins at once when so many bytes or frames wait.
const MAX_BYTES: usize = 64 << 20;
const MAX_FRAMES: usize = 4_096;

/// Frames in the order of arrival.
#[derive(Default)]
pub(super) struct Waiting {
    frames: VecDeque<(usize, Heard)>,
    bytes: usize,
}

impl Waiting {
    pub(super) fn push(&mut self, track: usize, heard: Heard) {
        self.bytes += heard.frame.data.len();
        self.frames.push_back((track, heard));
    }

    pub(super) fn is_full(&self) -> bool {
        self.bytes >= MAX_BYTES || self.frames.len() >= MAX_FRAMES
    }

    pub(super) fn take(&mut self) -> VecDeque<(usize, Heard)> {
        self.bytes = 0;
        std::mem::take(&mut self.frames)
    }
}
