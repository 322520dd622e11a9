//! The dual queue that is coupled by PI2 (RFC 9332, appendix A).

use std::time::{Duration, Instant};

use antiphon_sansio::Ecn;

use super::line::{Held, Line, mark};

/// How often the probability is steered (RFC 9332 §A.1).
const UPDATE: Duration = Duration::from_millis(16);
/// The longest round trip that it is steered for.
const RTT_MAX: f64 = 0.1;
/// How much stronger the short queue is marked by the state of the classic one.
const COUPLING: f64 = 2.0;
/// A packet is marked for its wait only if this much waits behind it: a slow link holds one packet for long.
const LONE: usize = 1500;
/// Weights of the two lines while both wait, in tenths of a hundred: the classic one is sure of a tenth.
const WEIGHTS: (i64, i64) = (90, 10);
/// Most updates that are made up for at once.
const MAX_UPDATES: u32 = 64;

#[derive(Debug)]
pub(super) struct DualPi2 {
    updated: Instant,
    /// `p'`: the probability before it is squared or coupled.
    base: f64,
    delay: f64,
    /// Adds up what probabilities are, so that marks come evenly (RFC 9332 §A.1, `recur`).
    classic_sum: f64,
    low_sum: f64,
    /// Below zero or at it: the short queue is next.
    credit: i64,
}

impl DualPi2 {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            updated: now,
            base: 0.0,
            delay: 0.0,
            classic_sum: 0.0,
            low_sum: 0.0,
            credit: 0,
        }
    }

    /// RFC 9332 §A.1, `dualpi2_update`: for all moments at which it was due.
    fn update<T>(&mut self, now: Instant, target: Duration, lines: [&Line<T>; 2]) {
        let (alpha, beta) = (0.1 * UPDATE.as_secs_f64() / (RTT_MAX * RTT_MAX), 0.3 / RTT_MAX);
        let mut updates = 0;
        while now.saturating_duration_since(self.updated) >= UPDATE {
            self.updated += UPDATE;
            updates += 1;
            if updates > MAX_UPDATES {
                self.updated = now;
            }
            let waits = |line: &Line<T>| {
                let oldest = line.oldest()?;
                Some(self.updated.saturating_duration_since(oldest).as_secs_f64())
            };
            let delay = lines.into_iter().filter_map(waits).fold(0.0, f64::max);
            let error = alpha * (delay - target.as_secs_f64()) + beta * (delay - self.delay);
            self.base = (self.base + error).clamp(0.0, 1.0);
            self.delay = delay;
        }
    }

    /// RFC 9332 §A.1, `dualpi2_dequeue`.
    pub(super) fn pop<T>(
        &mut self,
        now: Instant,
        (target, step): (Duration, Duration),
        low: &mut Line<T>,
        classic: &mut Line<T>,
        dropped: &mut Vec<Held<T>>,
    ) -> Option<Held<T>> {
        self.update(now, target, [&*low, &*classic]);
        let square = self.base * self.base;
        let coupled = COUPLING * self.base;
        loop {
            let low_next = low.len() > 0 && (classic.len() == 0 || self.credit <= 0);
            if low_next {
                let both = classic.len() > 0;
                let mut held = low.pop()?;
                let size = held.packet.ip_len() as i64;
                self.credit = if both { self.credit + WEIGHTS.1 * size } else { 0 };
                let waited = now.saturating_duration_since(held.since);
                let native = if waited > step && low.bytes() >= LONE { 1.0 } else { 0.0 };
                // Overload: where marks do not help, packets are dropped as in the classic queue.
                if coupled >= 1.0 && recur(&mut self.classic_sum, square) {
                    dropped.push(held);
                    continue;
                }
                if recur(&mut self.low_sum, coupled.max(native).min(1.0)) {
                    mark(&mut held.packet);
                }
                return Some(held);
            }
            let both = low.len() > 0;
            let mut held = classic.pop()?;
            let size = held.packet.ip_len() as i64;
            self.credit = if both { self.credit - WEIGHTS.0 * size } else { 0 };
            if recur(&mut self.classic_sum, square) {
                let overload = coupled >= 1.0;
                if overload || held.packet.ecn == Ecn::NotEct {
                    dropped.push(held);
                    continue;
                }
                mark(&mut held.packet);
            }
            return Some(held);
        }
    }
}

/// Adds a probability to its sum; true each time that this passes one.
fn recur(sum: &mut f64, probability: f64) -> bool {
    *sum += probability;
    let passed = *sum >= 1.0;
    if passed {
        *sum -= 1.0;
    }
    passed
}
