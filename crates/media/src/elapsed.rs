//! The time since a session began, in microseconds.

use std::time::Instant;

/// Counts microseconds from a beginning. Packets come in runs of the same moment, so the last answer is kept: the
/// difference of two instants costs more than all else that is done with it.
#[derive(Debug)]
pub(crate) struct Elapsed {
    beginning: Instant,
    asked: Instant,
    micros: u64,
}

impl Elapsed {
    pub(crate) fn since(beginning: Instant) -> Self {
        Self {
            beginning,
            asked: beginning,
            micros: 0,
        }
    }

    /// The microseconds from the beginning to `now`; 0 before it.
    #[inline]
    pub(crate) fn micros(&mut self, now: Instant) -> u64 {
        if now != self.asked {
            let elapsed = now.saturating_duration_since(self.beginning);
            self.asked = now;
            self.micros = elapsed.as_secs() * 1_000_000 + u64::from(elapsed.subsec_micros());
        }
        self.micros
    }
}
