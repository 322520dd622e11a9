//! The rate that loss allows: the second version of the loss-based half of GCC. Which bandwidth, and which loss that the path has
//! whatever we send, explain best what was lost at the rates of the last seconds?
//!
//! Loss that our own rate causes is the part of the rate that the bandwidth cannot carry; loss that is the path's own is the same at
//! every rate. As long as the rate does not vary the two look alike: then the rate is believed to be the cause, and lowered to what
//! arrives. If the loss stays, that was wrong, and the next look says so.

use std::time::{Duration, Instant};

/// Observations that are remembered.
const WINDOW: usize = 15;
/// An observation lasts at least this long ...
const MIN_LENGTH: Duration = Duration::from_millis(250);
/// ... and has at least this many packets.
const MIN_PACKETS: u32 = 12;
/// An old observation counts for less with each that follows.
const WEIGHT: f64 = 0.9;
/// The loss of the path itself is at least this, and at most that.
const MIN_INHERENT: f64 = 1e-3;
const MAX_INHERENT: f64 = 0.5;
/// So much of it is believed at once.
const FREE_INHERENT: f64 = 0.02;
/// This part more of it than was known is no news.
const NO_NEWS: f64 = 0.25;
/// What more of it costs in likelihood: so much for each part of a hundred that was not known before, and at most that.
const DOUBT: f64 = 60.0;
const MAX_DOUBT: f64 = 4.0;
/// With each observation after a decrease this part of the doubt is left: loss that stays at a lower rate was not ours.
const FADES: f64 = 0.75;
/// A bandwidth twice as large is worth this much likelihood.
const HIGHER: f64 = 0.15;
/// With less than this of the packets lost nothing is limited.
const HARMLESS: f64 = 0.015;
/// How much more is tried when loss limits the rate.
const RAMP_UP: f64 = 1.08;
/// So long after a decrease nothing is tried; twice as long each time, up to the other.
const HOLD: Duration = Duration::from_millis(700);
const MAX_HOLD: Duration = Duration::from_secs(6);

#[derive(Clone, Copy, Debug, Default)]
struct Observation {
    packets: f64,
    lost: f64,
    /// Bits a second that were sent.
    rate: f64,
}

/// The rate that loss allows.
#[derive(Debug)]
pub(crate) struct LossBased {
    min: f64,
    /// `None`: loss limits nothing.
    limit: Option<f64>,
    observations: [Observation; WINDOW],
    count: usize,
    /// The loss that the path has been found to have.
    inherent: f64,
    /// Smoothed loss.
    average: f64,
    held: Option<Instant>,
    hold: Duration,
    /// Observations since the last decrease.
    firm: i32,
    /// The observation that is being made.
    packets: u32,
    lost: u32,
    bytes: usize,
    first: Option<i64>,
    last: i64,
    since: Option<Instant>,
}

impl LossBased {
    pub(crate) fn new(min: f64) -> Self {
        Self {
            min,
            limit: None,
            observations: [Observation::default(); WINDOW],
            count: 0,
            inherent: MIN_INHERENT,
            average: 0.0,
            held: None,
            hold: HOLD,
            firm: 0,
            packets: 0,
            lost: 0,
            bytes: 0,
            first: None,
            last: 0,
            since: None,
        }
    }

    /// What loss allows, bits a second; `None`: it limits nothing.
    pub(crate) fn limit(&self) -> Option<f64> {
        self.limit
    }

    /// The part of the packets that the path loses whatever we send, as far as it is known.
    pub(crate) fn inherent(&self) -> f64 {
        self.inherent
    }

    /// The part of the packets that is lost, smoothed.
    pub(crate) fn average(&self) -> f64 {
        self.average
    }

    /// One packet was reported: when it was sent, microseconds, and whether it is lost.
    pub(crate) fn packet(&mut self, sent: i64, bytes: usize, lost: bool) {
        self.packets += 1;
        self.lost += u32::from(lost);
        self.bytes += bytes;
        self.first.get_or_insert(sent);
        self.last = self.last.max(sent);
    }

    /// Somebody else fills the queue, and what is lost there is answered elsewhere.
    pub(crate) fn release(&mut self) {
        (self.limit, self.held, self.hold) = (None, None, HOLD);
    }

    /// Looks at the loss if enough was reported. `other` is what else limits the rate, `acked` what arrives.
    pub(crate) fn update(&mut self, now: Instant, other: f64, acked: Option<f64>) {
        let since = *self.since.get_or_insert(now);
        let age = now.saturating_duration_since(since);
        if age < MIN_LENGTH || (self.packets < MIN_PACKETS && age < 4 * MIN_LENGTH) || self.packets == 0 {
            return;
        }
        let span = self.first.map_or(0, |first| self.last - first).max(50_000);
        let rate = self.bytes as f64 * 8e6 / span as f64;
        self.observe(f64::from(self.packets), f64::from(self.lost), rate);
        (self.packets, self.lost, self.bytes, self.first, self.since) = (0, 0, 0, None, Some(now));
        self.decide(now, other, acked);
    }

    /// A loss ratio came from elsewhere: a report block.
    pub(crate) fn heard(&mut self, loss: f64) {
        self.average += 0.3 * (loss - self.average);
    }

    fn observe(&mut self, packets: f64, lost: f64, rate: f64) {
        self.observations.rotate_right(1);
        self.observations[0] = Observation { packets, lost, rate };
        self.count = (self.count + 1).min(WINDOW);
        self.heard(lost / packets.max(1.0));
    }

    fn decide(&mut self, now: Instant, other: f64, acked: Option<f64>) {
        let seen = &self.observations[..self.count];
        let newest = seen[0].lost / seen[0].packets.max(1.0);
        // A path can get better: then its own loss is what is left.
        if self.average < self.inherent {
            self.inherent += 0.15 * (self.average.max(MIN_INHERENT) - self.inherent);
        }
        if self.limit.is_none() && (self.count < 2 || (self.average < HARMLESS && newest < 3.0 * HARMLESS)) {
            return;
        }
        self.firm = if self.limit.is_some() { self.firm + 1 } else { 0 };
        let current = self.limit.unwrap_or(other).min(other);
        let acked = acked.unwrap_or(current).max(self.min);
        let held = self.held.is_some_and(|until| now < until);
        let mut best: Option<(f64, f64, f64)> = None;
        for bandwidth in [other, RAMP_UP * current, current, 0.95 * current, acked] {
            let bandwidth = bandwidth.clamp(self.min, other.max(self.min));
            if held && bandwidth > current {
                // Only what explains the loss without us may undo a decrease so soon.
                if bandwidth < other {
                    continue;
                }
            }
            let (likelihood, inherent) = self.likelihood(bandwidth);
            if best.is_none_or(|(most, ..)| likelihood > most) {
                best = Some((likelihood, bandwidth, inherent));
            }
        }
        let Some((_, bandwidth, inherent)) = best else { return };
        if bandwidth >= other {
            // The path's own loss explains it all.
            self.inherent = self.inherent.max(inherent);
            if self.limit.is_some() && !held && self.average < HARMLESS {
                self.hold = HOLD;
            }
            // Loss that was ours is not forgotten at once.
            self.limit = match self.limit {
                Some(limit) if self.average < HARMLESS && RAMP_UP * limit < other => Some(RAMP_UP * limit),
                _ => None,
            };
            return;
        }
        if bandwidth < current {
            self.firm = 0;
            self.held = Some(now + self.hold);
            self.hold = (2 * self.hold).min(MAX_HOLD);
        }
        // Not below what arrives: less does not lose less.
        self.limit = Some(bandwidth.max(acked.min(current)).max(self.min));
    }

    /// How likely what was seen is with this bandwidth, and the loss of the path itself that goes with it.
    fn likelihood(&self, bandwidth: f64) -> (f64, f64) {
        let seen = &self.observations[..self.count];
        let excess = |rate: f64| ((rate - bandwidth) / rate.max(1.0)).max(0.0);
        let (mut unexplained, mut through) = (0.0, 0.0);
        let mut weight = 1.0;
        for one in seen {
            unexplained += weight * (one.lost - one.packets * excess(one.rate));
            through += weight * one.packets * (1.0 - excess(one.rate));
            weight *= WEIGHT;
        }
        let inherent = (unexplained / f64::max(through, 1.0)).clamp(MIN_INHERENT, MAX_INHERENT);
        let mut sum = HIGHER * bandwidth.max(1.0).log2();
        weight = 1.0;
        for one in seen {
            let loss = (inherent + (1.0 - inherent) * excess(one.rate)).min(0.999);
            sum += weight * (one.lost * loss.ln() + (one.packets - one.lost) * (1.0 - loss).ln());
            weight *= WEIGHT;
        }
        let doubt = DOUBT * (inherent - (1.0 + NO_NEWS) * self.inherent.max(FREE_INHERENT) - 0.01).max(0.0);
        (sum - doubt.min(MAX_DOUBT) * FADES.powi(self.firm), inherent)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Runs the controller against a loss that is a function of the rate; returns the rates it went through.
    fn run(seconds: u32, loss: impl Fn(f64) -> f64) -> Vec<f64> {
        let mut now = antiphon_netsim::start();
        let mut controller = LossBased::new(30_000.0);
        let (mut rates, mut lcg, mut sent) = (Vec::new(), 1u64, 0);
        for n in 0..seconds * 4 {
            now += MIN_LENGTH;
            // Pictures vary, and so does the rate.
            let varies = 1.0 + 0.1 * f64::from(n % 5) - 0.2;
            let rate = controller.limit().unwrap_or(2_000_000.0).min(2_000_000.0);
            let sending = rate * varies;
            let packets = (sending / 4.0 / 8000.0) as u32;
            let (chance, mut lost) = (loss(sending), 0);
            for _ in 0..packets {
                lcg = lcg.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                let is_lost = ((lcg >> 33) as f64) < chance * (1u64 << 31) as f64;
                lost += u32::from(is_lost);
                controller.packet(sent, 1000, is_lost);
                sent += 250_000 / i64::from(packets);
            }
            let acked = sending * (1.0 - f64::from(lost) / f64::from(packets));
            controller.update(now, 2_000_000.0, Some(acked));
            rates.push(controller.limit().unwrap_or(2_000_000.0).min(2_000_000.0));
        }
        rates
    }

    #[test]
    fn the_paths_own_loss_is_borne() {
        for loss in [0.01, 0.05, 0.10, 0.20, 0.30] {
            let rates = run(60, |_| loss);
            let late = &rates[40..];
            let mean = late.iter().sum::<f64>() / late.len() as f64;
            assert!(mean > 1_900_000.0, "{loss}: {mean} {rates:?}");
            assert!(rates.iter().all(|rate| *rate > 1_200_000.0), "{loss} {rates:?}");
        }
    }

    #[test]
    fn loss_by_our_own_rate_is_heeded() {
        // A policer: what is above 500 kb/s is thrown away, and no queue shows it.
        let rates = run(60, |rate| (1.0 - 500_000.0 / rate).max(0.0));
        let late = &rates[rates.len() / 2..];
        let mean = late.iter().sum::<f64>() / late.len() as f64;
        assert!((430_000.0..580_000.0).contains(&mean), "{mean} {late:?}");
        // The same on a path that loses 10 % besides.
        let rates = run(60, |rate| 1.0 - 0.9 * (500_000.0 / rate).min(1.0));
        let late = &rates[rates.len() / 2..];
        let mean = late.iter().sum::<f64>() / late.len() as f64;
        assert!((350_000.0..750_000.0).contains(&mean), "{mean} {late:?}");
    }
}
