//! What was recorded and what was left out, counted.

use std::sync::atomic::{AtomicU64, Ordering};

/// What was recorded, and what was left out.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecordStats {
    /// Frames and packets of sound that are in the file.
    pub written: u64,
    /// Pictures before the first key frame, or between a gap and the next one.
    pub before_key_frame: u64,
    /// Frames of tracks that came after the file had begun, or whose codec the format cannot hold.
    pub without_track: u64,
    /// Frames of another codec than their track began with.
    pub other_codec: u64,
    /// Frames that are in the file, but lie otherwise than they came: a file says for a whole track at most how it is turned, and
    /// the peer has turned its camera since, or the format cannot say it at all.
    pub turned: u64,
    /// Frames that were dropped because the recorder or the disk was too slow.
    pub dropped: u64,
}

/// The figures as they grow.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) written: AtomicU64,
    pub(super) before_key_frame: AtomicU64,
    pub(super) without_track: AtomicU64,
    pub(super) other_codec: AtomicU64,
    pub(super) turned: AtomicU64,
    pub(super) dropped: AtomicU64,
}

impl Counts {
    pub(super) fn count(counter: &AtomicU64) {
        counter.fetch_add(1, Ordering::Relaxed);
    }

    /// The figures now.
    pub(super) fn now(&self) -> RecordStats {
        let of = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        RecordStats {
            written: of(&self.written),
            before_key_frame: of(&self.before_key_frame),
            without_track: of(&self.without_track),
            other_codec: of(&self.other_codec),
            turned: of(&self.turned),
            dropped: of(&self.dropped),
        }
    }
}
