//! The loss-based half of GCC (draft-ietf-rmcat-gcc-02 §6), taught to tell the loss that a link simply has from the loss that
//! our own rate causes: if cutting the rate again and again does not make the loss smaller, it is not ours.

use std::time::{Duration, Instant};

/// Above this excess the rate is cut ...
const CUT: f64 = 0.10;
/// ... and below this it grows.
const GROW: f64 = 0.02;
/// A window of loss has at least this many packets ...
const MIN_PACKETS: u32 = 50;
/// ... or, with at least this many, has lasted [`MAX_WINDOW`].
const FEW_PACKETS: u32 = 10;
const MIN_WINDOW: Duration = Duration::from_millis(250);
const MAX_WINDOW: Duration = Duration::from_secs(1);
/// So many cuts without effect show that the loss is the link's own.
const FUTILE: u8 = 3;
/// A cut that leaves more than this part of the loss had no effect.
const EFFECT: f64 = 0.75;

#[derive(Debug)]
pub(crate) struct LossBased {
    rate: f64,
    min: f64,
    max: f64,
    /// Loss that the link has whatever we send.
    inherent: f64,
    /// Loss when the rate was cut last.
    at_cut: Option<f64>,
    futile: u8,
    updated: Option<Instant>,
    reported: u32,
    lost: u32,
}

impl LossBased {
    pub(crate) fn new(min: f64, max: f64) -> Self {
        Self {
            rate: max,
            min,
            max,
            inherent: 0.0,
            at_cut: None,
            futile: 0,
            updated: None,
            reported: 0,
            lost: 0,
        }
    }

    /// What loss allows, bits a second.
    pub(crate) fn rate(&self) -> f64 {
        self.rate
    }

    /// One packet was reported.
    pub(crate) fn packet(&mut self, lost: bool) {
        self.reported += 1;
        self.lost += u32::from(lost);
    }

    /// Looks at the loss if enough was reported. `other` is what else limits the rate now. Returns whether it was cut.
    pub(crate) fn update(&mut self, now: Instant, other: f64) -> bool {
        let updated = *self.updated.get_or_insert(now);
        let age = now.saturating_duration_since(updated);
        let packets = if age >= MAX_WINDOW { FEW_PACKETS } else { MIN_PACKETS };
        if self.reported < packets || age < MIN_WINDOW {
            return false;
        }
        let loss = f64::from(self.lost) / f64::from(self.reported);
        (self.reported, self.lost) = (0, 0);
        self.loss(now, loss, other)
    }

    /// A loss ratio came from elsewhere (a report block), or from [`Self::update`].
    pub(crate) fn loss(&mut self, now: Instant, loss: f64, other: f64) -> bool {
        let elapsed = self
            .updated
            .replace(now)
            .map_or(MIN_WINDOW, |at| now.saturating_duration_since(at));
        let elapsed = elapsed.as_secs_f64().clamp(0.1, 1.0);
        // A link can get better: then its own loss is what is left.
        if loss < self.inherent {
            self.inherent += 0.3 * (loss - self.inherent);
        }
        let excess = loss - self.inherent;
        if excess > CUT {
            if self.at_cut.replace(loss).is_some_and(|before| loss > EFFECT * before) {
                self.futile += 1;
                if self.futile >= FUTILE {
                    self.inherent = loss;
                    self.at_cut = None;
                    self.futile = 0;
                    return false;
                }
            }
            self.rate = (self.rate.min(other) * (1.0 - 0.5 * excess)).max(self.min);
            return true;
        }
        if excess < GROW {
            self.at_cut = None;
            self.futile = 0;
            self.rate = (self.rate * 1.2f64.powf(elapsed)).min(self.max);
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the controller against a loss that is a function of the rate; returns the rates it went through.
    #[allow(clippy::disallowed_methods)]
    fn run(seconds: u32, loss: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut now = antiphon_netsim::start();
        let mut controller = LossBased::new(30_000.0, 10_000_000.0);
        let mut rates = Vec::new();
        for _ in 0..seconds * 4 {
            now += MIN_WINDOW;
            let rate = controller.rate().min(2_000_000.0);
            controller.loss(now, loss(rate), rate);
            rates.push(controller.rate().min(2_000_000.0));
        }
        rates
    }

    #[test]
    fn the_links_own_loss_is_borne() {
        for loss in [0.05, 0.10, 0.20, 0.30] {
            let rates = run(60, |_| loss);
            assert!(
                rates[rates.len() - 1] > 1_000_000.0,
                "{loss}: {}",
                rates[rates.len() - 1]
            );
            assert!(rates.iter().all(|rate| *rate > 600_000.0), "{loss}");
        }
    }

    #[test]
    fn loss_by_our_own_rate_is_heeded() {
        // A policer: what is above 500 kb/s is thrown away, and no queue shows it.
        let rates = run(60, |rate| (1.0 - 500_000.0 / rate).max(0.0));
        let late = &rates[rates.len() / 2..];
        assert!(
            late.iter().all(|rate| (300_000.0..750_000.0).contains(rate)),
            "{late:?}"
        );
        // The same on a link that loses 10 % besides.
        let rates = run(60, |rate| 1.0 - 0.9 * (500_000.0 / rate).min(1.0));
        let late = &rates[rates.len() / 2..];
        assert!(
            late.iter().all(|rate| (300_000.0..900_000.0).contains(rate)),
            "{late:?}"
        );
    }
}
