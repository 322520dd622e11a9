//! When what came is played, and how evenly.

mod freezes;

use std::time::Instant;

use crate::stats::PlayoutFigures;
use freezes::Freezes;

/// The playout of one source.
#[derive(Debug, Default)]
pub(crate) struct Playout {
    freezes: Freezes,
    /// What is counted of it.
    pub(crate) figures: PlayoutFigures,
}

impl Playout {
    /// A frame of video is handed over, to be shown.
    pub(crate) fn shown(&mut self, now: Instant) {
        self.freezes.shown(now, &mut self.figures);
    }

    /// The source begins anew, or something else of it is handed over.
    pub(crate) fn restart(&mut self) {
        self.freezes.reset();
    }
}
