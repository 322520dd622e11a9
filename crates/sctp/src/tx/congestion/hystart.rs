//! HyStart++: the end of slow start before the queue is full (RFC 9406).

use std::time::Duration;

/// Delay has grown by this part of the last round's minimum, within the two limits below (RFC 9406 §4.3).
const MIN_RTT_DIVISOR: u32 = 8;
const MIN_RTT_THRESH: Duration = Duration::from_millis(4);
const MAX_RTT_THRESH: Duration = Duration::from_millis(16);
/// Samples of a round before it says anything.
const N_RTT_SAMPLE: u32 = 8;
/// Conservative slow start grows slower by this.
const CSS_GROWTH_DIVISOR: usize = 4;
/// And lasts this many rounds.
const CSS_ROUNDS: u32 = 5;

/// How slow start goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// By the acknowledged bytes divided by this.
    Divided(usize),
    /// Slow start is over.
    Done,
}

/// HyStart++ (RFC 9406): ends slow start when the delay grows, before the queue overflows.
#[derive(Clone, Debug, Default)]
pub(super) struct HyStart {
    last_round: Option<Duration>,
    this_round: Option<Duration>,
    samples: u32,
    /// In conservative slow start: the delay that it began with.
    baseline: Option<Duration>,
    rounds: u32,
}

impl HyStart {
    pub(super) fn on_ack(&mut self, round_start: bool, rtt: Option<Duration>) -> Growth {
        if round_start {
            self.last_round = self.this_round.take();
            self.samples = 0;
            if self.baseline.is_some() {
                self.rounds += 1;
                if self.rounds >= CSS_ROUNDS {
                    return Growth::Done;
                }
            }
        }
        if let Some(rtt) = rtt {
            self.samples += 1;
            self.this_round = Some(self.this_round.map_or(rtt, |min| min.min(rtt)));
        }
        if self.samples >= N_RTT_SAMPLE
            && let Some(now) = self.this_round
        {
            match (self.baseline, self.last_round) {
                // RFC 9406 §4.2: the delay was a passing one, slow start goes on.
                (Some(baseline), _) if now < baseline => self.baseline = None,
                (Some(_), _) => {}
                (None, Some(last)) => {
                    let threshold = (last / MIN_RTT_DIVISOR).clamp(MIN_RTT_THRESH, MAX_RTT_THRESH);
                    if now >= last + threshold {
                        self.baseline = Some(now);
                        self.rounds = 0;
                    }
                }
                (None, None) => {}
            }
        }
        Growth::Divided(if self.baseline.is_some() { CSS_GROWTH_DIVISOR } else { 1 })
    }
}
