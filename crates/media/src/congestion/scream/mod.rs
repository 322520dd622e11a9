//! SCReAMv2 (draft-johansson-ccwg-rfc8298bis-screamv2): a window of bytes that may be on their way, steered by marks of ECN (L4S), by the
//! wait in queues and by loss, and a rate that follows from the window. Each figure of it that feedback steers has a file of its own.

mod delay;
mod flight;
mod losses;
mod marks;
mod reports;
mod told;
mod window;

use std::time::{Duration, Instant};

use antiphon_sansio::Ecn;
use delay::Delay;
use flight::Flight;
use losses::Losses;
use marks::Marks;
use reports::Reports;
use told::Told;
use window::{SEGMENT, VIRTUAL_RTT, View, Window};

use super::acked::Acknowledged;
use super::control::{CongestionControl, Demand, Figures, PacketResult, Probe, Sent};
use super::limited::Limited;
use super::probe_result::{Known, Results, Shown};
use super::probes::{Probes, Situation};
use super::remb::Remb;
use super::sample::Clocks;

/// So many windows may be on their way while no queue stands, and while one does: frames differ, and feedback comes in lumps.
const CALM_OVERHEAD: f64 = 3.0;
const OVERHEAD: f64 = 1.5;
/// The least that may be on its way, bytes.
const MIN_IN_FLIGHT: f64 = 4.0 * SEGMENT;
/// Never an estimate beyond this part of what was proven.
const PROVEN: f64 = 1.5;
/// Packets that nobody speaks of for this long (and three round trips) were sent into nothing.
const SILENCE: Duration = Duration::from_millis(500);
/// After congestion the path is not asked for more for this long.
const PAUSE: Duration = Duration::from_secs(1);
/// A path that has carried the first rate only may be one where a packet makes a queue by itself; one that has carried the second is not.
/// Bits a second.
const QUICK: [f64; 2] = [1.1e6, 1.6e6];
/// Of the target, what is left while the queue is drained.
const DRAIN: f64 = 0.5;

/// The estimate for one transport.
#[derive(Debug)]
pub(crate) struct Scream {
    start: f64,
    min: f64,
    max: f64,
    clocks: Clocks,
    delay: Delay,
    marks: Marks,
    losses: Losses,
    flight: Flight,
    /// `None` before there was feedback.
    window: Option<Window>,
    acked: Acknowledged,
    limited: Limited,
    probes: Probes,
    results: Results,
    reports: Reports,
    remb: Remb,
    /// The largest rate that was seen to arrive, or that a probe showed.
    proven: f64,
    /// When the newest packet left that was reported on, by the terms of [`Clocks`].
    newest: i64,
    /// Since when packets are on their way and nobody speaks of any, and whether that is too long.
    waiting: Option<Instant>,
    silent: bool,
}

impl Scream {
    /// Its name, for people.
    pub(crate) const NAME: &'static str = "SCReAMv2";

    pub(crate) fn new(start: u64, min: u64, max: u64) -> Self {
        let start = start.clamp(min, max) as f64;
        let (min, max) = (min as f64, max as f64);
        let mut limited = Limited::default();
        limited.set_rate(start);
        Self {
            start,
            min,
            max,
            clocks: Clocks::default(),
            delay: Delay::default(),
            marks: Marks::default(),
            losses: Losses::default(),
            flight: Flight::default(),
            window: None,
            acked: Acknowledged::default(),
            limited,
            probes: Probes::new(start, max),
            results: Results::default(),
            reports: Reports::new(start),
            remb: Remb::default(),
            proven: start,
            newest: 0,
            waiting: None,
            silent: false,
        }
    }

    /// What the window and the round trip make of it, bits a second.
    fn estimate(&self) -> f64 {
        let Some(window) = &self.window else { return self.start };
        // Few packets in a window: the rate comes in steps, and errs on the side of less.
        let whole = 1.0 - (window.segment() - 0.1).clamp(0.0, 0.2);
        let rate = whole * window.bytes() * 8.0 / window.room() / self.delay.response();
        let left = if self.delay.drains() { DRAIN } else { 1.0 };
        left * rate.min(PROVEN * self.proven)
    }

    fn situation(&mut self, now: Instant) -> Situation {
        let reduced = self.window.as_ref().and_then(Window::reduced);
        let recently = reduced.is_some_and(|at| now.saturating_duration_since(at) < PAUSE);
        Situation {
            now,
            rate: self.estimate(),
            acked: self.acked.rate().unwrap_or(0.0),
            limited: self.limited.since(now).is_some(),
            jitter: 0.0,
            congested: recently || self.delay.drains() || self.silent,
        }
    }

    /// Sums up what a feedback says.
    fn take(&mut self, results: &[PacketResult]) -> Told {
        let mut told = Told::default();
        let lost = self.losses.newest();
        for result in results {
            let sample = self.clocks.sample(result);
            self.newest = self.newest.max(sample.sent);
            self.flight.reported(result.sent.total);
            told.packet(result, &sample, lost);
            if let Some(id) = result.sent.probe {
                self.results.packet(id, &sample);
            }
            if let Some(arrival) = sample.arrival {
                self.acked.packet(arrival, sample.bytes);
            }
        }
        self.losses.remember(results);
        told
    }

    fn move_window(&mut self, now: Instant, told: &Told) {
        let in_flight = self.flight.most();
        let limited = self
            .window
            .as_ref()
            .is_some_and(|window| Window::most(in_flight) < window.bytes());
        self.delay.update(now, told, limited);
        let (rtt, response) = (self.delay.rtt(), self.delay.response());
        let start = self.start;
        let window = self.window.get_or_insert_with(|| Window::new(start / 8.0 * response));
        self.marks.update(told);
        let round = Duration::from_secs_f64(rtt.max(VIRTUAL_RTT));
        self.losses.update(now, round, told);
        let excess = self.delay.excess();
        let counts = self.losses.is_congestion() || excess > 0.0;
        window.update(&View {
            now,
            rtt,
            response,
            marked: told.marked > 0,
            alpha: self.marks.alpha(),
            quick: ((self.proven - QUICK[0]) / (QUICK[1] - QUICK[0])).clamp(0.0, 1.0),
            excess,
            calm: self.delay.calm(),
            lost: told.lost > 0 && counts,
            lossless: self.losses.is_clear(),
            unmarked: told.unmarked_bytes as f64,
            in_flight,
        });
        self.flight.look(now, round);
    }

    fn take_probes(&mut self, now: Instant) {
        let known = Known {
            reported: self.newest,
            jitter: 0,
            inherent: 0.0,
        };
        while let Some((probe, shown)) = self.results.take(now, &known) {
            let (asked, before, response) = (probe.rate as f64, self.estimate(), self.delay.response());
            let Some(window) = &mut self.window else { return };
            match shown {
                Shown::Carried(carried) => {
                    self.proven = self.proven.max(carried);
                    window.proved(carried / 8.0 * response);
                    let situation = self.situation(now);
                    self.probes.accepted(asked, carried, before, &situation);
                }
                // A queue grew, at what the path carries.
                Shown::Capacity(capacity) if capacity > before => {
                    self.proven = self.proven.max(capacity);
                    window.found(capacity / 8.0 * response);
                    self.probes.accepted += 1;
                }
                Shown::Capacity(_) | Shown::Nothing => {}
            }
        }
    }

    fn settle(&mut self, now: Instant) {
        let estimate = self.estimate();
        self.limited.set_rate(estimate);
        self.probes.rate_changed(now, estimate);
        let situation = self.situation(now);
        self.probes.look(&situation);
    }

    /// When nobody will have spoken for too long.
    fn silence_at(&self) -> Option<Instant> {
        let waiting = self.waiting.filter(|_| !self.silent)?;
        Some(waiting + SILENCE.max(Duration::from_secs_f64(3.0 * self.delay.response())))
    }
}

impl CongestionControl for Scream {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn on_sent(&mut self, packet: &Sent) {
        self.flight.sent(packet.total);
        if self.window.is_some() && self.flight.now() > 0 && self.waiting.is_none() {
            self.waiting = Some(packet.at);
        }
        if !packet.padding {
            self.limited.sent(packet.at, packet.bytes);
        }
        self.probes.sent(packet.at);
    }

    fn on_feedback(&mut self, now: Instant, _: Duration, results: &[PacketResult]) {
        let told = self.take(results);
        if told.arrived.is_none() {
            // It tells neither a round trip nor a wait.
            return;
        }
        self.silent = false;
        self.move_window(now, &told);
        self.waiting = (self.flight.now() > 0).then_some(now);
        if let Some(acked) = self.acked.rate() {
            self.proven = self.proven.max(acked);
        }
        self.take_probes(now);
        self.settle(now);
    }

    /// Of use only from a peer that gives no feedback on single packets.
    fn on_loss(&mut self, now: Instant, fraction: f64) {
        if self.window.is_none() {
            self.reports.heard(now, fraction, self.min, self.max);
        }
    }

    fn on_remb(&mut self, now: Instant, rate: u64) {
        self.remb.heard(now, rate);
    }

    fn on_demand(&mut self, now: Instant, demand: Demand) {
        let situation = self.situation(now);
        self.probes.on_demand(demand, &situation);
    }

    fn on_route_change(&mut self, _: Instant) {
        let start = self.start;
        (self.delay, self.marks, self.losses) = Default::default();
        (self.window, self.remb, self.waiting, self.silent) = (None, Remb::default(), None, false);
        self.reports = Reports::new(start);
        self.acked.clear();
        self.results.clear();
        self.limited.set_rate(start);
        self.probes.restart(start);
        self.proven = start;
    }

    fn on_timeout(&mut self, now: Instant) {
        if self.silence_at().is_some_and(|at| at <= now) {
            self.silent = true;
            self.acked.clear();
        }
        let situation = self.situation(now);
        self.probes.look(&situation);
    }

    fn next_timeout(&self) -> Option<Instant> {
        [self.silence_at(), self.probes.due()].into_iter().flatten().min()
    }

    fn target_rate(&self, now: Instant) -> Option<u64> {
        let remb = self.remb.rate(now);
        let own = match &self.window {
            Some(_) if self.silent => return Some(self.min as u64),
            Some(_) => Some(self.estimate()),
            None => self.reports.rate(),
        };
        let target = match (own, remb) {
            (Some(own), Some(remb)) => own.min(remb),
            (own, remb) => own.or(remb)?,
        };
        Some(target.clamp(self.min, self.max) as u64)
    }

    fn pacing_rate(&self, now: Instant) -> Option<u64> {
        // What media leaves free: a packet never leaves faster than the whole window does.
        let room = self.window.as_ref().map_or(1.0, Window::room);
        self.target_rate(now).map(|rate| (rate as f64 * room) as u64)
    }

    fn congestion_window(&self) -> Option<u64> {
        let window = self.window.as_ref()?;
        let overhead = OVERHEAD + (CALM_OVERHEAD - OVERHEAD) * self.delay.calm();
        Some((overhead * window.bytes()).max(MIN_IN_FLIGHT) as u64)
    }

    fn next_probe(&mut self, now: Instant) -> Option<Probe> {
        let probe = self.probes.next(now)?;
        self.results.asked(now, probe);
        Some(probe)
    }

    fn mark(&self) -> Ecn {
        Ecn::Ect1
    }

    fn figures(&self) -> Figures {
        let queue = Duration::from_secs_f64(self.delay.queue());
        Figures {
            queue_delay: self.window.is_some().then_some(queue),
            loss: self.losses.mean(),
            marked: self.marks.alpha(),
            probes: self.probes.asked,
            probes_accepted: self.probes.accepted,
            proven: self.proven as u64,
        }
    }
}

#[cfg(test)]
mod tests;
