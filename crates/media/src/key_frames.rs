//! The key frames of one incoming source: whether one is wanted, when it was asked for, and which came last.

use std::time::{Duration, Instant};

/// Requests for a key frame of one source are no closer than this, and no closer than the answer takes.
const REQUEST_INTERVAL: Duration = Duration::from_millis(300);
/// A source that sends nothing is asked this long.
const REQUEST_LIFE: Duration = Duration::from_secs(3);

/// What is known of the key frames of a source.
#[derive(Debug, Default)]
pub(crate) struct KeyFrames {
    /// One is wanted, whoever asked.
    pub(crate) wanted: bool,
    /// It was asked for since the last one began to come.
    asked: bool,
    /// It was asked for, and may be again at this time.
    again: Option<Instant>,
    /// The number of the last FIR (RFC 5104 §4.3.1.1).
    pub(crate) fir_sequence: u8,
    /// The timestamp of the newest one: its packets may all say that they begin one.
    timestamp: Option<u32>,
}

impl KeyFrames {
    /// When a source may be asked whose last packet came at `last`; `None`: it is silent, and not asked for ever.
    pub(crate) fn next_request(&self, last: Instant) -> Option<Instant> {
        let due = self.again.unwrap_or(last);
        (due <= last + REQUEST_LIFE).then_some(due)
    }

    /// By when the answer should have come; `None`: nothing was asked for, or it has begun to come.
    pub(crate) fn answered(&self) -> Option<Instant> {
        self.again.filter(|_| self.asked)
    }

    /// A packet of one has come.
    pub(crate) fn begins(&mut self) {
        (self.wanted, self.asked) = (false, false);
    }

    /// The source was asked. What is asked for otherwise comes after `round`; a key frame is large, and the encoder makes it with its next
    /// picture.
    pub(crate) fn note_request(&mut self, now: Instant, round: Duration) {
        self.asked = true;
        self.again = Some(now + (round * 3 / 2).max(REQUEST_INTERVAL));
    }

    /// A packet of this time begins a key frame; whether it is another than the last one.
    pub(crate) fn begins_another(&mut self, timestamp: u32) -> bool {
        self.timestamp.replace(timestamp) != Some(timestamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_asked_again_when_the_answer_should_have_come() {
        let now = antiphon_netsim::start();
        let ms = Duration::from_millis(1);
        let mut key_frames = KeyFrames::default();
        assert_eq!(key_frames.next_request(now), Some(now));
        for (round, again) in [(50 * ms, 300 * ms), (400 * ms, 600 * ms)] {
            key_frames.note_request(now, round);
            assert_eq!(key_frames.answered(), Some(now + again));
            assert_eq!(key_frames.next_request(now), Some(now + again));
            key_frames.begins();
            assert_eq!(key_frames.answered(), None);
        }
    }
}
