//! Google's congestion control (draft-ietf-rmcat-gcc-02), as today's senders have it: the trend of the delay, loss, and probes; and
//! REMB or receiver reports where the peer gives no feedback on packets.

mod contest;
mod delay;
mod loss;
mod queue;
mod trendline;

use std::time::{Duration, Instant};

use contest::View;
use delay::DelayBased;
use loss::LossBased;
use queue::QueueDelay;
use trendline::{Trendline, Usage};

use super::acked::Acknowledged;
use super::control::{CongestionControl, Demand, Figures, PacketResult, Probe, Sent};
use super::limited::Limited;
use super::probe_result::{Known, Results, Shown};
use super::probes::{Probes, Situation};
use super::remb::Remb;
use super::sample::{Clocks, Sample};

/// Packets leave this much faster than the estimate: enough for what frames differ, little enough for shallow queues.
const PACING: f64 = 1.25;
/// What arrived in this time tells what the path carries now, microseconds.
const RECENT: i64 = 100_000;
/// Packets that nobody spoke of count as arrived if they left within this time, microseconds.
const MISSED: i64 = 250_000;
/// What a probe that made a queue shows is believed if it is this much more than what was known.
const FOUND: f64 = 1.2;
/// Never an estimate beyond this part of what was proven.
const PROVEN: f64 = 1.5;
/// Packets that nobody speaks of for this long (and three round trips) were sent into nothing.
const SILENCE: Duration = Duration::from_millis(500);
/// What may be on its way beyond a round trip, seconds of the estimate.
const WINDOW: f64 = 0.4;
/// The least that may be.
const MIN_WINDOW: f64 = 12_000.0;
/// A round trip longer than this lowers the rate ...
const LONG_RTT: Duration = Duration::from_secs(3);
/// ... to this part of it, once a second.
const LONG_RTT_BETA: f64 = 0.8;
/// By report blocks alone, the rate grows by this much a second with less than the first part of the packets lost, ...
const REPORTED_GROWTH: f64 = 1.08;
const LITTLE_LOSS: f64 = 0.02;
/// ... and with more than this lost it falls by half of what is lost, ...
const MUCH_LOSS: f64 = 0.1;
/// ... no more often than this, and a round trip besides.
const REPORTED_FALL: Duration = Duration::from_millis(300);

/// The estimate for one transport.
#[derive(Debug)]
pub(crate) struct Gcc {
    start: f64,
    min: f64,
    max: f64,
    clocks: Clocks,
    trend: Trendline,
    queue: QueueDelay,
    acked: Acknowledged,
    delay: DelayBased,
    loss: LossBased,
    limited: Limited,
    probes: Probes,
    results: Results,
    remb: Remb,
    /// The largest rate that was seen to arrive, or that a probe showed.
    proven: f64,
    feedback: Heard,
    /// When the rate was last lowered for the length of the round trip, or a report block came.
    stepped: Option<Instant>,
}

/// What feedback has spoken of.
#[derive(Debug, Default)]
struct Heard {
    /// Whether any came.
    any: bool,
    /// Bytes up to the newest packet that was reported on, and up to the newest that was sent.
    reported: u64,
    sent: u64,
    /// The newest packet's departure, by the terms of [`Clocks`].
    newest: i64,
    /// From a packet's departure to the feedback on it, smoothed: of the newest packets of each feedback.
    response: Option<Duration>,
    /// Since when packets are on their way and nobody speaks of any.
    waiting: Option<Instant>,
    /// Nobody has spoken for too long.
    silent: bool,
}

impl Gcc {
    /// Its name, for people.
    pub(crate) const NAME: &'static str = "GoogCC";

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
            trend: Trendline::default(),
            queue: QueueDelay::default(),
            acked: Acknowledged::default(),
            delay: DelayBased::new(start, min, max),
            loss: LossBased::new(min),
            limited,
            probes: Probes::new(start, max),
            results: Results::default(),
            remb: Remb::default(),
            proven: start,
            feedback: Heard::default(),
            stepped: None,
        }
    }

    fn response(&self) -> Duration {
        self.feedback.response.unwrap_or(Duration::from_millis(150))
    }

    /// What delay and loss allow.
    fn estimate(&self) -> f64 {
        let rate = self.delay.rate();
        self.loss.limit().map_or(rate, |limit| limit.min(rate))
    }

    fn situation(&mut self, now: Instant) -> Situation {
        let recently = self
            .delay
            .decreased()
            .is_some_and(|at| now.saturating_duration_since(at) < self.response() + Duration::from_millis(250));
        Situation {
            now,
            rate: self.estimate(),
            acked: self.acked.rate().unwrap_or(0.0),
            limited: self.limited.since(now).is_some(),
            jitter: self.queue.jitter() as f64 / 1e6,
            congested: self.delay.drains()
                || self.delay.contends()
                || recently
                || self.loss.limit().is_some()
                || self.feedback.silent,
        }
    }

    /// Bytes between the newest packet that was spoken of and this one, of which nobody spoke: feedback was lost, and they may well have
    /// arrived. After a pause nothing is known.
    fn between(&self, result: &PacketResult, sample: &Sample) -> usize {
        let before = self.feedback.reported;
        if before == 0 || sample.sent - self.feedback.newest > MISSED {
            return 0;
        }
        let bytes = result.sent.total.saturating_sub(before);
        usize::try_from(bytes).unwrap_or(0).saturating_sub(sample.bytes)
    }

    /// Takes in what each packet met; returns whether the queue was seen to grow.
    fn take(&mut self, results: &[PacketResult]) -> bool {
        let before = self.trend.usage();
        let mut over = false;
        self.queue.begin(self.delay.contends());
        for result in results {
            let sample = self.clocks.sample(result);
            let between = self.between(result, &sample);
            self.feedback.reported = self.feedback.reported.max(result.sent.total);
            self.feedback.newest = self.feedback.newest.max(sample.sent);
            self.loss.packet(sample.sent, sample.bytes, sample.arrival.is_none());
            if let Some(id) = result.sent.probe {
                self.results.packet(id, &sample);
            }
            if let Some(arrival) = sample.arrival {
                self.trend.packet(&sample, arrival);
                over |= self.trend.usage() == Usage::Over && before != Usage::Over;
                self.queue.packet(sample.sent, arrival);
                self.acked.packet(arrival, sample.bytes + between);
            }
        }
        over || self.trend.usage() == Usage::Over
    }

    fn next_result(&mut self, now: Instant) -> Option<(Probe, Shown)> {
        let known = Known {
            reported: self.feedback.newest,
            jitter: self.queue.jitter(),
            inherent: self.loss.inherent(),
        };
        self.results.take(now, &known)
    }

    fn take_probes(&mut self, now: Instant) {
        while let Some((probe, shown)) = self.next_result(now) {
            let (asked, rate) = (probe.rate as f64, self.delay.rate());
            match shown {
                Shown::Carried(carried) => {
                    self.proven = self.proven.max(carried);
                    if !self.delay.drains() {
                        self.delay.proved(carried);
                    }
                    let situation = self.situation(now);
                    self.probes.accepted(asked, carried, rate, &situation);
                }
                // A queue grew, at what the path carries.
                Shown::Capacity(capacity) if self.delay.is_startup() || capacity > FOUND * rate => {
                    self.proven = self.proven.max(capacity);
                    self.delay.found(capacity);
                    self.probes.accepted += 1;
                }
                Shown::Capacity(_) | Shown::Nothing => {}
            }
        }
    }

    /// The round trip of the newest packets, and whether it is so long that less must be sent.
    fn measure(&mut self, now: Instant, results: &[PacketResult]) {
        let newest = results.iter().rev().find(|result| result.arrival.is_some());
        let Some(newest) = newest else { return };
        let response = now.saturating_duration_since(newest.sent.at);
        let smoothed = self.feedback.response.map_or(response, |old| (old * 7 + response) / 8);
        self.feedback.response = Some(smoothed.min(Duration::from_secs(2)));
        if response > LONG_RTT
            && self
                .stepped
                .is_none_or(|at| now.saturating_duration_since(at) >= Duration::from_secs(1))
        {
            self.stepped = Some(now);
            self.delay.limit(LONG_RTT_BETA * self.delay.rate());
        }
    }

    fn settle(&mut self, now: Instant) {
        let estimate = self.estimate();
        self.limited.set_rate(estimate);
        self.probes.rate_changed(now, estimate);
    }
}

impl CongestionControl for Gcc {
    fn name(&self) -> &'static str {
        Self::NAME
    }

    fn on_sent(&mut self, packet: &Sent) {
        self.feedback.sent = packet.total;
        if self.feedback.any && packet.total > self.feedback.reported && self.feedback.waiting.is_none() {
            self.feedback.waiting = Some(packet.at);
        }
        if !packet.padding {
            self.limited.sent(packet.at, packet.bytes);
        }
        self.probes.sent(packet.at);
    }

    fn on_feedback(&mut self, now: Instant, _: Duration, results: &[PacketResult]) {
        if results.is_empty() {
            return;
        }
        self.feedback.any = true;
        self.feedback.silent = false;
        let over = self.take(results);
        self.feedback.waiting = (self.feedback.sent > self.feedback.reported).then_some(now);
        self.measure(now, results);
        let usage = if over { Usage::Over } else { self.trend.usage() };
        let acked = self.acked.rate();
        // Of what was sent, the path loses a part wherever it is: what came out of the queue is more than what arrives.
        let arrives = 1.0 - self.loss.inherent();
        if let Some(standing) = self.queue.standing() {
            let view = View {
                now,
                response: self.response(),
                usage,
                acked: acked.map(|acked| acked / arrives),
                recent: self.acked.recent(RECENT).map(|recent| recent / arrives),
                standing,
                jitter: self.queue.jitter(),
                limited: self.limited.since(now).is_some(),
                loss: self.loss.average(),
                lost: results
                    .iter()
                    .rev()
                    .find(|result| result.arrival.is_none())
                    .map(|result| result.sent.at),
            };
            self.delay.update(&view);
        }
        if let Some(acked) = acked {
            self.proven = self.proven.max(acked);
        }
        self.take_probes(now);
        self.delay.limit(PROVEN * self.proven);
        self.loss.update(now, self.delay.rate(), acked);
        if self.delay.contends() {
            self.loss.release();
        }
        if let Some(limit) = self.loss.limit() {
            // The queue says nothing of a rate that is not sent.
            self.delay.limit(PROVEN * limit);
        }
        self.settle(now);
        let situation = self.situation(now);
        self.probes.look(&situation);
    }

    /// Of use only from a peer that gives no feedback on single packets.
    fn on_loss(&mut self, now: Instant, fraction: f64) {
        if self.feedback.any {
            return;
        }
        let rate = self.estimate();
        self.loss.heard(fraction);
        let elapsed = self.stepped.map(|at| now.saturating_duration_since(at));
        if fraction < LITTLE_LOSS {
            self.stepped = Some(now);
            let seconds = elapsed.map_or(0.0, |elapsed| elapsed.as_secs_f64().min(5.0));
            self.delay.proved(rate * REPORTED_GROWTH.powf(seconds));
        } else if fraction > MUCH_LOSS && elapsed.is_none_or(|elapsed| elapsed > REPORTED_FALL + self.response()) {
            // draft-ietf-rmcat-gcc-02 §6: whether it is the path's own cannot be told without the fate of each packet.
            self.stepped = Some(now);
            self.delay.limit(rate * (1.0 - 0.5 * fraction));
        }
        self.stepped.get_or_insert(now);
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
        self.trend = Trendline::default();
        self.queue = QueueDelay::default();
        self.acked.clear();
        self.delay = DelayBased::new(start, self.min, self.max);
        self.loss = LossBased::new(self.min);
        self.limited.set_rate(start);
        self.results.clear();
        self.probes.restart(start);
        self.proven = start;
        self.remb = Remb::default();
        (self.feedback.response, self.feedback.waiting, self.feedback.silent) = (None, None, false);
    }

    fn on_timeout(&mut self, now: Instant) {
        if self.silence_at().is_some_and(|at| at <= now) {
            self.feedback.silent = true;
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
        let known = self.feedback.any || remb.is_some() || self.loss.limit().is_some() || self.stepped.is_some();
        if !known {
            return None;
        }
        if self.feedback.silent {
            return Some(self.min as u64);
        }
        let own = if self.feedback.any || remb.is_none() {
            self.estimate()
        } else {
            self.loss.limit().unwrap_or(self.max)
        };
        let target = remb.map_or(own, |remb| own.min(remb));
        Some(target.clamp(self.min, self.max) as u64)
    }

    fn pacing_rate(&self, now: Instant) -> Option<u64> {
        // What waits since before a fall would fill the queue again.
        let factor = if self.delay.is_recovering(now) { 1.0 } else { PACING };
        self.target_rate(now).map(|rate| (rate as f64 * factor) as u64)
    }

    fn congestion_window(&self) -> Option<u64> {
        let rate = self.estimate();
        let window = (rate / 8.0 * (self.response().as_secs_f64() + WINDOW)).max(MIN_WINDOW);
        self.feedback.any.then_some(window as u64)
    }

    fn next_probe(&mut self, now: Instant) -> Option<Probe> {
        let probe = self.probes.next(now)?;
        self.results.asked(now, probe);
        Some(probe)
    }

    fn figures(&self) -> Figures {
        let queue = u64::try_from(self.queue.newest()).ok();
        Figures {
            queue_delay: queue.filter(|_| self.feedback.any).map(Duration::from_micros),
            loss: self.loss.average(),
            marked: 0.0,
            probes: self.probes.asked,
            probes_accepted: self.probes.accepted,
            proven: self.proven as u64,
        }
    }
}

impl Gcc {
    /// When nobody will have spoken for too long.
    fn silence_at(&self) -> Option<Instant> {
        let waiting = self.feedback.waiting.filter(|_| !self.feedback.silent)?;
        Some(waiting + SILENCE.max(3 * self.response()))
    }
}

#[cfg(test)]
mod tests;
