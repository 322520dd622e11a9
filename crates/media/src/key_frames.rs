//! The key frames of one incoming source: whether one is wanted, when it was asked for, and which came last.

use std::time::{Duration, Instant};

/// Requests for a key frame of one source are no closer than this.
const REQUEST_INTERVAL: Duration = Duration::from_millis(300);
/// A source that sends nothing is asked this long.
const REQUEST_LIFE: Duration = Duration::from_secs(3);

/// What is known of the key frames of a source.
#[derive(Debug, Default)]
pub(crate) struct KeyFrames {
    /// One is wanted, whoever asked.
    pub(crate) wanted: bool,
    /// When it was asked for last.
    requested: Option<Instant>,
    /// The number of the last FIR (RFC 5104 §4.3.1.1).
    pub(crate) fir_sequence: u8,
    /// The timestamp of the newest one: its packets may all say that they begin one.
    timestamp: Option<u32>,
}

impl KeyFrames {
    /// When a source may be asked whose last packet came at `last`; `None`: it is silent, and not asked for ever.
    pub(crate) fn next_request(&self, last: Instant) -> Option<Instant> {
        let due = self.requested.map_or(last, |at| at + REQUEST_INTERVAL);
        (due <= last + REQUEST_LIFE).then_some(due)
    }

    /// The source was asked.
    pub(crate) fn note_request(&mut self, now: Instant) {
        self.requested = Some(now);
    }

    /// A packet of this time begins a key frame; whether it is another than the last one.
    pub(crate) fn begins_another(&mut self, timestamp: u32) -> bool {
        self.timestamp.replace(timestamp) != Some(timestamp)
    }
}
