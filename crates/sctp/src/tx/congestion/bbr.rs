//! A model of the path, in the manner of BBRv3.

use std::time::{Duration, Instant};

use super::base_loss::{BaseLoss, Round};
use super::control::{Ack, CongestionControl, Loss, MAX_WINDOW, rate};
use super::path_model::{Aggregation, Bounds, Probe, Startup, ThisRound};

/// 2 / ln 2, twice: doubles the rate each round trip.
const STARTUP_GAIN: f64 = 2.77;
const DRAIN_GAIN: f64 = 0.5;
const DOWN_GAIN: f64 = 0.9;
/// A probe for more bandwidth, while probes find some; and a gentler one once they do not, which hardly queues.
const UP_GAIN: f64 = 1.25;
const GENTLE_UP_GAIN: f64 = 1.07;
/// Paced a little below the estimate, so that no queue stays.
const PACING_MARGIN: f64 = 0.99;
const WINDOW_GAIN: f64 = 2.0;
const PROBE_RTT_GAIN: f64 = 0.5;
/// Half a flight evenly spread: if the window alone held packets back, they would leave in bursts, and a small message
/// would wait half a round trip for the next one.
const PROBE_RTT_PACE: f64 = 0.45;
/// More than this part of a flight lost, beside what the path loses in any case, is too much, if it is at least so many
/// packets: one packet of a small flight says nothing.
const LOSS_THRESHOLD: f64 = 0.02;
const MIN_LOST_PACKETS: f64 = 3.0;
/// Startup's first flights are small, and leaving it early costs much.
const MIN_LOST_IN_STARTUP: usize = 8;
/// What a loss that is too much leaves.
const BETA: f64 = 0.7;
/// Left free for others of the largest flight that went well.
const HEADROOM: f64 = 0.85;
/// Startup ends after this many rounds without a quarter more bandwidth.
const FULL_ROUNDS: u32 = 3;
const FULL_GROWTH: f64 = 1.25;
/// A probe goes on while a round brings this much more.
const UP_GROWTH: f64 = 1.05;
/// Losses of a probe are heard of for this long after it.
const AFTERMATH_ROUNDS: u32 = 3;
const MIN_RTT_WINDOW: Duration = Duration::from_secs(10);
const PROBE_RTT_INTERVAL: Duration = Duration::from_secs(5);
const PROBE_RTT_TIME: Duration = Duration::from_millis(200);
/// Probes for bandwidth come at least this often, or every so many rounds: as often as Reno's sawtooth would.
const PROBE_WAIT: Duration = Duration::from_secs(2);
const MAX_PROBE_ROUNDS: u32 = 63;
/// A flight may be larger by what leaves in this time: end hosts wake late, and acknowledge in batches.
const QUANTUM: Duration = Duration::from_millis(1);

/// So far below what arrived when too much began to be lost, for so many rounds, nothing that is lost is lost by our
/// doing.
const LOW_PART: f64 = 0.6;
const LOW_ROUNDS: u32 = 2;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Startup,
    Drain,
    /// Below the bandwidth, until the queue is gone.
    Down,
    /// At the bandwidth.
    Cruise,
    /// At the bandwidth, one round with a full pipe, before the probe.
    Refill,
    /// Above it.
    Up,
    /// Half a flight, to see the path without our own queue.
    ProbeRtt,
}

/// A controller that keeps a model of the path, in the manner of BBRv3 (draft-ietf-ccwg-bbr): the largest delivery rate
/// of the last probes, the smallest round-trip time, and bounds on the flight that losses taught. It sends at the rate
/// of the model and not by the count of losses, so that random loss does not slow it down: neither below two per cent,
/// nor above as far as the path loses as much at half the rate.
#[derive(Clone, Debug)]
pub struct Bbr {
    max_packet: usize,
    phase: Phase,
    phase_since: Option<Instant>,
    rounds_in_phase: u32,
    /// The largest delivery rate of this probing cycle, and of the one before.
    bandwidth: [u64; 2],
    bounds: Bounds,
    before_loss: Option<Bounds>,
    round: ThisRound,
    startup: Startup,
    probe: Probe,
    base_loss: BaseLoss,
    /// What arrived in a second when the short-term bounds first came down.
    lossy_bandwidth: u64,
    low_rounds: u32,
    min_rtt: Option<Duration>,
    min_rtt_at: Option<Instant>,
    probe_rtt_until: Option<Instant>,
    aggregation: Aggregation,
    window: usize,
    window_before_probe_rtt: usize,
    pacing: u64,
}

impl Bbr {
    /// Starts with ten packets (RFC 6928).
    pub fn new(max_packet: usize) -> Self {
        Self {
            max_packet,
            phase: Phase::Startup,
            phase_since: None,
            rounds_in_phase: 0,
            bandwidth: [0; 2],
            bounds: Bounds::NONE,
            before_loss: None,
            round: ThisRound::default(),
            startup: Startup::default(),
            probe: Probe {
                ended_at: None,
                rounds_since: 0,
                wait: PROBE_WAIT,
                bandwidth_before: 0,
                found: 0,
                flat_rounds: 0,
                flat_bandwidth: 0,
                gain: UP_GAIN,
            },
            base_loss: BaseLoss::default(),
            lossy_bandwidth: 0,
            low_rounds: 0,
            min_rtt: None,
            min_rtt_at: None,
            probe_rtt_until: None,
            aggregation: Aggregation::default(),
            window: 10 * max_packet,
            window_before_probe_rtt: 0,
            pacing: 0,
        }
    }

    fn max_bandwidth(&self) -> u64 {
        self.bandwidth[0].max(self.bandwidth[1])
    }

    fn estimate(&self) -> u64 {
        self.max_bandwidth().min(self.bounds.bandwidth_lo)
    }

    /// Nothing is delivered faster than it was sent. A SACK has room for some hundred blocks only: behind many holes
    /// much is told late and at once, which looks like more.
    fn credible(&self) -> u64 {
        match self.phase {
            Phase::Startup | Phase::Up => u64::MAX,
            // The end of a gentle probe may still bring what it asked for.
            Phase::Down => (self.probe.found as f64 * (GENTLE_UP_GAIN + 0.01)) as u64,
            _ => self.probe.found.max(self.bandwidth[0]),
        }
    }

    /// Bytes in flight that fill the path, times `gain`.
    fn flight(&self, bandwidth: u64, gain: f64) -> usize {
        let rtt = self.min_rtt.unwrap_or_default().as_secs_f64();
        (bandwidth as f64 * rtt * gain * self.base_loss.carried()) as usize
    }

    fn quantum(&self) -> usize {
        ((self.estimate() as f64 * QUANTUM.as_secs_f64()) as usize).max(2 * self.max_packet)
    }

    fn floor(&self) -> usize {
        4 * self.max_packet
    }

    fn enter(&mut self, now: Instant, phase: Phase) {
        self.phase = phase;
        self.phase_since = Some(now);
        self.rounds_in_phase = 0;
    }

    fn begin_down(&mut self, now: Instant) {
        self.enter(now, Phase::Down);
        self.probe.ended_at = Some(now);
        self.probe.rounds_since = 0;
        // Flows that began together shall not probe together for ever: some time that differs from flow to flow.
        let spread = (self.round.delivered as u64 ^ self.pacing) % 1000;
        self.probe.wait = PROBE_WAIT + Duration::from_millis(spread);
        if self.bandwidth[0] > 0 {
            self.bandwidth = [0, self.bandwidth[0]];
        }
    }

    fn forget_short_term(&mut self) {
        self.lossy_bandwidth = 0;
        self.bounds.bandwidth_lo = u64::MAX;
        self.bounds.inflight_lo = usize::MAX;
    }

    fn update_model(&mut self, ack: &Ack) {
        if let Some(sample) = &ack.sample {
            self.round.bandwidth = self.round.bandwidth.max(sample.bytes_per_second);
            self.round.delivered = self.round.delivered.max(sample.delivered);
            if !sample.app_limited || sample.bytes_per_second >= self.max_bandwidth() {
                let rate = sample.bytes_per_second.min(self.credible());
                self.bandwidth[0] = self.bandwidth[0].max(rate);
            }
        }
        if let Some(rtt) = ack.rtt {
            let expired = self
                .min_rtt_at
                .is_some_and(|at| ack.now.saturating_duration_since(at) > MIN_RTT_WINDOW);
            if self.min_rtt.is_none_or(|min| rtt <= min) || expired {
                self.min_rtt = Some(rtt);
                self.min_rtt_at = Some(ack.now);
            }
        }
        self.round.lost += ack.lost;
        self.round.acked += ack.bytes;
        let estimate = self.estimate();
        self.aggregation.update(ack, estimate, self.window);
    }

    /// Whether the losses of `flight` bytes show a rate above the threshold, and not mere chance: two standard
    /// deviations above what the threshold lets expect.
    fn too_many(&self, lost: usize, flight: usize) -> bool {
        let packet = self.max_packet.max(1) as f64;
        let threshold = LOSS_THRESHOLD + self.base_loss.rate();
        let (lost, expected) = (lost as f64 / packet, flight as f64 * threshold / packet);
        lost >= MIN_LOST_PACKETS && lost > expected + 2.0 * expected.sqrt()
    }

    fn end_of_round(&mut self, ack: &Ack) {
        self.rounds_in_phase += 1;
        self.probe.rounds_since += 1;
        let flight = self.round.lost + self.round.acked;
        let lossy = self.too_many(self.round.lost, flight);
        self.learn_base_loss(lossy, flight);
        match self.phase {
            Phase::Startup => self.check_startup(ack, lossy),
            // What is lost while we probe for more is judged there.
            Phase::Up => {
                if self.max_bandwidth() as f64 >= self.probe.flat_bandwidth as f64 * UP_GROWTH {
                    (self.probe.flat_rounds, self.probe.flat_bandwidth) = (0, self.max_bandwidth());
                    // There is more: no need to be gentle.
                    self.probe.gain = UP_GAIN;
                } else {
                    self.probe.flat_rounds += 1;
                }
            }
            Phase::Refill | Phase::ProbeRtt => {}
            // And so is what a probe or Startup has lost and we hear of only now.
            Phase::Down | Phase::Cruise if lossy && self.probe.rounds_since >= AFTERMATH_ROUNDS => {
                self.slow_down();
            }
            _ => {}
        }
        self.round.bandwidth = ack.sample.map_or(0, |sample| sample.bytes_per_second);
        self.round.delivered = ack.sample.map_or(0, |sample| sample.delivered);
        self.round.lost = 0;
        self.round.acked = 0;
    }

    fn learn_base_loss(&mut self, lossy: bool, flight: usize) {
        let low = match self.phase {
            Phase::ProbeRtt => self.probe_rtt_until.is_some(),
            _ => self.bounds.bandwidth_lo as f64 <= self.lossy_bandwidth as f64 * LOW_PART,
        };
        self.low_rounds = if low { self.low_rounds + 1 } else { 0 };
        let round = match self.phase {
            Phase::Startup if lossy || !self.grows() => return,
            Phase::Startup => Round::Growing,
            _ if self.low_rounds >= LOW_ROUNDS => Round::Low,
            _ => Round::Normal,
        };
        let packet = self.max_packet.max(1);
        self.base_loss
            .end_of_round(round, self.round.lost.div_ceil(packet), flight.div_ceil(packet));
    }

    /// Startup's last round has brought a quarter more.
    fn grows(&self) -> bool {
        self.max_bandwidth() as f64 >= self.startup.full_bandwidth as f64 * FULL_GROWTH
    }

    /// The short-term bounds take note of a loss, or of a mark.
    fn slow_down(&mut self) {
        if self.bounds.bandwidth_lo == u64::MAX {
            self.lossy_bandwidth = self.round.bandwidth;
        }
        let reduced = |value: f64| value * BETA;
        let bandwidth = self.bounds.bandwidth_lo.min(self.max_bandwidth());
        self.bounds.bandwidth_lo = self.round.bandwidth.max(reduced(bandwidth as f64) as u64);
        let inflight = self.bounds.inflight_lo.min(self.window);
        self.bounds.inflight_lo = self.round.delivered.max(reduced(inflight as f64) as usize);
    }

    fn check_startup(&mut self, ack: &Ack, lossy: bool) {
        let lossy = lossy && self.round.lost >= MIN_LOST_IN_STARTUP * self.max_packet;
        if self.grows() {
            self.startup.full_bandwidth = self.max_bandwidth();
            self.startup.full_rounds = 0;
        } else if ack.sample.is_some_and(|sample| !sample.app_limited) {
            self.startup.full_rounds += 1;
        }
        if lossy {
            self.bounds.inflight_hi = self.flight(self.max_bandwidth(), 1.0).max(self.round.delivered);
        }
        if self.startup.full_rounds >= FULL_ROUNDS || lossy {
            self.startup.full = true;
            self.startup.lossy = lossy && self.startup.full_rounds < FULL_ROUNDS;
            self.probe.found = self.max_bandwidth();
            self.enter(ack.now, Phase::Drain);
        }
    }

    /// Goes on to the next phase when it is time.
    fn step(&mut self, ack: &Ack) {
        let since = *self.phase_since.get_or_insert(ack.now);
        let in_phase = ack.now.saturating_duration_since(since);
        let min_rtt = self.min_rtt.unwrap_or_default();
        let estimate = self.estimate();
        match self.phase {
            Phase::Startup => {}
            Phase::Drain => {
                if ack.in_flight <= self.flight(estimate, 1.0) || self.rounds_in_phase > 3 {
                    self.begin_down(ack.now);
                }
            }
            Phase::Down => {
                let headroom = (self.bounds.inflight_hi as f64 * HEADROOM) as usize;
                let low = self.flight(self.max_bandwidth(), 1.0).min(headroom).max(self.floor());
                if self.is_time_to_probe(ack.now) {
                    self.begin_refill(ack.now);
                } else if ack.in_flight <= low {
                    self.enter(ack.now, Phase::Cruise);
                }
            }
            Phase::Cruise => {
                if self.is_time_to_probe(ack.now) {
                    self.begin_refill(ack.now);
                }
            }
            Phase::Refill => {
                if self.rounds_in_phase >= 1 {
                    self.probe.bandwidth_before = self.max_bandwidth();
                    (self.probe.flat_rounds, self.probe.flat_bandwidth) = (0, self.max_bandwidth());
                    self.enter(ack.now, Phase::Up);
                }
            }
            Phase::Up => self.step_up(ack, in_phase, min_rtt),
            Phase::ProbeRtt => self.step_probe_rtt(ack),
        }
        self.check_probe_rtt(ack);
    }

    fn is_time_to_probe(&self, now: Instant) -> bool {
        if self.probe.bandwidth_before > 0 && self.found_more() {
            return true;
        }
        let rounds = (self.flight(self.max_bandwidth(), 1.0) / self.max_packet.max(1)) as u32;
        self.probe.rounds_since >= rounds.clamp(4, MAX_PROBE_ROUNDS)
            || self
                .probe
                .ended_at
                .is_none_or(|at| now.saturating_duration_since(at) >= self.probe.wait)
    }

    fn begin_refill(&mut self, now: Instant) {
        if self.found_more() {
            self.probe.gain = UP_GAIN;
        }
        self.forget_short_term();
        self.enter(now, Phase::Refill);
    }

    fn step_up(&mut self, ack: &Ack, in_phase: Duration, min_rtt: Duration) {
        let bandwidth = self.max_bandwidth();
        if let Some(sample) = &ack.sample
            // A late packet measures more than its own flight.
            && self.too_many(sample.lost, sample.in_flight.max(sample.delivered + sample.lost))
        {
            let target = (self.flight(bandwidth, 1.0) as f64 * BETA) as usize;
            self.bounds.inflight_hi = sample.in_flight.max(target).max(self.floor());
            self.end_probe(ack.now);
            return;
        }
        // A flight that reaches the known bound and loses nothing moves the bound, faster from round to round.
        if self.bounds.inflight_hi != usize::MAX && ack.window_limited {
            let step = (self.max_packet << self.rounds_in_phase.min(10)) * ack.bytes / self.window.max(1);
            self.bounds.inflight_hi = self.bounds.inflight_hi.saturating_add(step.min(ack.bytes));
            // As long as the bound holds the flight back, a rate that does not grow shows nothing. Where nothing is
            // lost at random the bound was taught by a full queue, and a longer probe would take it from others.
            if self.base_loss.rate() > LOSS_THRESHOLD
                && ack.in_flight + ack.bytes + self.max_packet >= self.bounds.inflight_hi
            {
                (self.probe.flat_rounds, self.probe.flat_bandwidth) = (0, bandwidth);
            }
        }
        let full = ack.in_flight >= self.flight(bandwidth, self.probe.gain);
        // As long as the bandwidth grows the probe goes on, and when it does not, until the queue or two rounds show
        // it. A gentle one ends after a round: what it brings is seen in the next, and calls for another.
        let gentle = self.probe.gain < UP_GAIN;
        let flat = self.probe.flat_rounds >= 2 || ((full || gentle) && self.probe.flat_rounds >= 1);
        if in_phase >= min_rtt && flat {
            self.end_probe(ack.now);
        }
    }

    fn end_probe(&mut self, now: Instant) {
        self.probe.gain = GENTLE_UP_GAIN;
        self.probe.found = self.max_bandwidth();
        self.begin_down(now);
    }

    /// Whether the last probe has found more bandwidth, which shows up to a round trip after it.
    fn found_more(&self) -> bool {
        self.max_bandwidth() as f64 > self.probe.bandwidth_before as f64 * UP_GROWTH
    }

    fn check_probe_rtt(&mut self, ack: &Ack) {
        let due = self
            .min_rtt_at
            .is_some_and(|at| ack.now.saturating_duration_since(at) >= PROBE_RTT_INTERVAL);
        if due && !matches!(self.phase, Phase::ProbeRtt | Phase::Startup) {
            self.window_before_probe_rtt = self.window;
            self.probe_rtt_until = None;
            self.enter(ack.now, Phase::ProbeRtt);
            // The delay without our queue replaces the old minimum, whatever it is.
            self.min_rtt_at = Some(ack.now);
        }
    }

    fn step_probe_rtt(&mut self, ack: &Ack) {
        match self.probe_rtt_until {
            None if ack.in_flight <= self.probe_rtt_window() => {
                self.probe_rtt_until = Some(ack.now + PROBE_RTT_TIME);
                self.rounds_in_phase = 0;
                self.min_rtt = ack.rtt.or(self.min_rtt);
            }
            Some(until) if ack.now >= until && self.rounds_in_phase >= 1 => {
                self.min_rtt_at = Some(ack.now);
                self.window = self.window.max(self.window_before_probe_rtt);
                self.forget_short_term();
                self.enter(ack.now, Phase::Cruise);
            }
            _ => {}
        }
    }

    fn probe_rtt_window(&self) -> usize {
        self.flight(self.estimate(), PROBE_RTT_GAIN).max(self.floor())
    }

    fn pacing_gain(&self) -> f64 {
        match self.phase {
            Phase::Startup => STARTUP_GAIN,
            Phase::Drain => DRAIN_GAIN,
            Phase::Down => DOWN_GAIN,
            Phase::Up => self.probe.gain,
            Phase::ProbeRtt => PROBE_RTT_PACE,
            Phase::Cruise | Phase::Refill => 1.0,
        }
    }

    fn set_outputs(&mut self, ack: &Ack) {
        let estimate = self.estimate();
        let pacing = (estimate as f64 * self.pacing_gain() * PACING_MARGIN * self.base_loss.surplus()) as u64;
        if self.startup.full || pacing > self.pacing {
            self.pacing = pacing;
        }
        if estimate == 0 {
            // Nothing measured yet: as slow start.
            self.window = (self.window + ack.bytes).min(MAX_WINDOW);
            return;
        }
        let gain = if self.phase == Phase::Up {
            WINDOW_GAIN + 0.25
        } else {
            WINDOW_GAIN
        };
        let most = self.flight(estimate, gain) + self.aggregation.extra() + 3 * self.quantum();
        if self.startup.full {
            self.window = (self.window + ack.bytes).min(most);
        } else if self.window < most {
            self.window += ack.bytes;
        }
        let bound = match self.phase {
            Phase::Startup | Phase::Drain => usize::MAX,
            Phase::Down | Phase::Cruise => (self.bounds.inflight_hi as f64 * HEADROOM) as usize,
            Phase::Refill | Phase::Up => self.bounds.inflight_hi,
            // For a round the pace brings the flight down, without a pause.
            Phase::ProbeRtt if self.probe_rtt_until.is_none() && self.rounds_in_phase == 0 => usize::MAX,
            Phase::ProbeRtt => self.probe_rtt_window(),
        };
        self.window = self.window.min(bound).min(self.bounds.inflight_lo);
        self.window = self.window.clamp(self.floor(), MAX_WINDOW);
    }
}

impl CongestionControl for Bbr {
    fn window(&self) -> usize {
        self.window
    }

    fn pacing_rate(&self, srtt: Option<Duration>) -> Option<u64> {
        if self.pacing == 0 {
            return rate(self.window, srtt, STARTUP_GAIN);
        }
        Some(self.pacing)
    }

    fn on_ack(&mut self, ack: &Ack) {
        self.update_model(ack);
        if ack.round_start {
            self.end_of_round(ack);
        }
        self.step(ack);
        self.set_outputs(ack);
    }

    fn on_loss(&mut self, _loss: &Loss) {
        self.startup.lossy = false;
        self.before_loss = Some(self.bounds);
    }

    fn on_mark(&mut self, mark: &Loss) {
        self.before_loss = None;
        let target = (self.flight(self.max_bandwidth(), 1.0) as f64 * BETA) as usize;
        match self.phase {
            Phase::Startup => {
                self.startup.full = true;
                self.startup.lossy = false;
                self.probe.found = self.max_bandwidth();
                self.bounds.inflight_hi = mark.in_flight.max(self.flight(self.max_bandwidth(), 1.0));
                self.enter(mark.now, Phase::Drain);
            }
            Phase::Up => {
                self.bounds.inflight_hi = mark.in_flight.max(target).max(self.floor());
                self.end_probe(mark.now);
            }
            Phase::Down | Phase::Cruise if self.probe.rounds_since >= AFTERMATH_ROUNDS => self.slow_down(),
            _ => {}
        }
    }

    fn on_spurious_loss(&mut self, now: Instant) {
        if std::mem::take(&mut self.startup.lossy) {
            self.startup.full = false;
            self.startup.full_rounds = 0;
            self.bounds.inflight_hi = usize::MAX;
            self.enter(now, Phase::Startup);
        }
        if let Some(before) = self.before_loss.take() {
            self.bounds.bandwidth_lo = self.bounds.bandwidth_lo.max(before.bandwidth_lo);
            self.bounds.inflight_lo = self.bounds.inflight_lo.max(before.inflight_lo);
            self.bounds.inflight_hi = self.bounds.inflight_hi.max(before.inflight_hi);
        }
    }

    fn on_timeout(&mut self, _now: Instant) {
        self.before_loss = Some(self.bounds);
        // Nothing comes back: one packet asks; what it brings opens the window again as fast as slow start does.
        self.window = self.max_packet;
    }

    fn on_idle(&mut self, _rtos: u32) {
        // The model is paced, so that a full window after a pause is no burst.
    }

    fn set_max_packet(&mut self, bytes: usize) {
        self.max_packet = bytes;
    }
}
