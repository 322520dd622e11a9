//! What the application tells of where it plays sound.

use std::time::Duration;

/// What was played of all sound so far, as the application knows it (`RTCAudioPlayoutStats`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AudioPlayoutFigures {
    /// `synthesizedSamplesDuration`: how much was made up because there was nothing to play.
    pub synthesized: Duration,
    /// `synthesizedSamplesEvents`: how often that began.
    pub synthesized_events: u64,
    /// `totalSamplesDuration`: how much was played, with what was made up.
    pub played: Duration,
    /// `totalPlayoutDelay`: how long each sample waited before it was heard, all samples together.
    pub delay: Duration,
    /// `totalSamplesCount`: how many samples were played.
    pub samples: u64,
}
