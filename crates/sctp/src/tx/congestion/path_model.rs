//! The parts of the model that BBR keeps of the path.

use std::time::{Duration, Instant};

use super::control::Ack;

/// What losses taught.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    /// For the short term, until the next probe.
    pub(super) bandwidth_lo: u64,
    pub(super) inflight_lo: usize,
    /// The largest flight that went well, once one did not.
    pub(super) inflight_hi: usize,
}

impl Bounds {
    pub(super) const NONE: Self = Self {
        bandwidth_lo: u64::MAX,
        inflight_lo: usize::MAX,
        inflight_hi: usize::MAX,
    };
}

/// What this round trip has brought so far.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ThisRound {
    pub(super) bandwidth: u64,
    pub(super) delivered: usize,
    pub(super) lost: usize,
    pub(super) acked: usize,
}

/// The search for the first estimate, and its plateau.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Startup {
    pub(super) full_bandwidth: u64,
    pub(super) full_rounds: u32,
    pub(super) full: bool,
    /// It ended because of losses, which may turn out to be none.
    pub(super) lossy: bool,
}

/// The last probe for bandwidth, or the present one.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    /// When it ended, how many rounds ago, and how long until the next.
    pub(super) ended_at: Option<Instant>,
    pub(super) rounds_since: u32,
    pub(super) wait: Duration,
    /// What was known before it, and what Startup or it has found.
    pub(super) bandwidth_before: u64,
    pub(super) found: u64,
    /// Its rounds without more bandwidth, and the bandwidth that they are measured by.
    pub(super) flat_rounds: u32,
    pub(super) flat_bandwidth: u64,
    pub(super) gain: f64,
}

/// How far acknowledgements run ahead of the bandwidth: what comes in bunches needs a larger flight.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Aggregation {
    since: Option<Instant>,
    acked: u64,
    /// The most of the last rounds, and of those before.
    extra: [usize; 2],
    rounds: u32,
}

impl Aggregation {
    pub(super) fn update(&mut self, ack: &Ack, bandwidth: u64, window: usize) {
        if ack.round_start {
            self.rounds += 1;
            if self.rounds >= 5 {
                self.rounds = 0;
                self.extra = [0, self.extra[0]];
            }
        }
        let since = *self.since.get_or_insert(ack.now);
        let elapsed = ack.now.saturating_duration_since(since);
        let expected = (bandwidth as f64 * elapsed.as_secs_f64()) as u64;
        if self.acked <= expected {
            self.acked = 0;
            self.since = Some(ack.now);
        }
        self.acked += ack.bytes as u64;
        let extra = self
            .acked
            .saturating_sub(if self.since == Some(ack.now) { 0 } else { expected });
        self.extra[0] = self.extra[0].max((extra as usize).min(window));
    }

    pub(super) fn extra(&self) -> usize {
        self.extra[0].max(self.extra[1])
    }
}
