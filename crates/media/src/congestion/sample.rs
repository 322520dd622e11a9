//! One packet in the terms of the controller: microseconds on two clocks of which only differences mean something.

use std::time::Instant;

use super::control::PacketResult;

/// When a packet left, and when it arrived.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sample {
    /// Microseconds by our clock.
    pub(crate) sent: i64,
    /// Microseconds by the peer's clock; `None`: lost.
    pub(crate) arrival: Option<i64>,
    pub(crate) bytes: usize,
}

/// The moments that both clocks count from: those of the first packet.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Clocks {
    sent: Option<Instant>,
    arrival: Option<Instant>,
}

impl Clocks {
    pub(crate) fn sample(&mut self, result: &PacketResult) -> Sample {
        let sent = since(*self.sent.get_or_insert(result.sent.at), result.sent.at);
        let arrival = result.arrival.map(|at| since(*self.arrival.get_or_insert(at), at));
        Sample {
            sent,
            arrival,
            bytes: result.sent.bytes,
        }
    }
}

/// Microseconds from `base` to `at`, which may be before it.
fn since(base: Instant, at: Instant) -> i64 {
    let micros = |later: Instant, earlier: Instant| {
        let between = later.saturating_duration_since(earlier).as_micros();
        i64::try_from(between).unwrap_or(i64::MAX / 4)
    };
    if at >= base {
        micros(at, base)
    } else {
        -micros(base, at)
    }
}
