//! A delay-based and a loss-based controller, capped by REMB (draft-ietf-rmcat-gcc-02). No probing yet: the estimate grows with
//! what is sent.

mod loss;
mod sample;
mod trendline;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use loss::LossBased;
use sample::Clocks;
use trendline::{Trendline, Usage};

use super::control::{CongestionControl, PacketResult};

/// The multiplicative decrease on over-use (draft-ietf-rmcat-gcc-02 §5.5).
const BETA: f64 = 0.85;
/// Window of the acknowledged bitrate.
const ACKED_WINDOW: i64 = 500_000;
/// A REMB is forgotten after this long without another.
const REMB_LIFE: Duration = Duration::from_secs(10);
/// Pacing is this much faster than the estimate, so that a large frame does not take a frame's time.
const PACING: f64 = 2.5;
/// Most entries in the acknowledged window.
const MAX_ACKED: usize = 4096;

/// The estimate for one transport.
#[derive(Debug)]
pub(crate) struct Gcc {
    clocks: Clocks,
    min: f64,
    max: f64,
    trend: Trendline,
    delay_based: f64,
    loss_based: LossBased,
    /// Bitrate around which over-use happened, smoothed, and its deviation.
    link_capacity: Option<(f64, f64)>,
    updated: Option<Instant>,
    decreased: Option<Instant>,
    /// Before the first over-use the estimate may double every second.
    startup: bool,
    /// Arrival and size of what was acknowledged.
    acked: VecDeque<(i64, usize)>,
    acked_bytes: usize,
    remb: Option<(Instant, f64)>,
    feedback_seen: bool,
}

impl Gcc {
    pub(crate) fn new(start: u64, min: u64, max: u64) -> Self {
        let start = start.clamp(min, max) as f64;
        Self {
            clocks: Clocks::default(),
            min: min as f64,
            max: max as f64,
            trend: Trendline::default(),
            delay_based: start,
            loss_based: LossBased::new(min as f64, max as f64),
            link_capacity: None,
            updated: None,
            decreased: None,
            startup: true,
            acked: VecDeque::new(),
            acked_bytes: 0,
            remb: None,
            feedback_seen: false,
        }
    }

    fn acknowledge(&mut self, arrival: i64, bytes: usize) {
        self.acked.push_back((arrival, bytes));
        self.acked_bytes += bytes;
        while let Some(&(at, bytes)) = self.acked.front()
            && (at < arrival - ACKED_WINDOW || self.acked.len() > MAX_ACKED)
        {
            self.acked.pop_front();
            self.acked_bytes -= bytes;
        }
    }

    /// What arrives, bits a second; `None` until a good part of the window is covered.
    fn acked_bitrate(&self) -> Option<f64> {
        let span = self.acked.back()?.0 - self.acked.front()?.0;
        (span >= ACKED_WINDOW / 4).then(|| self.acked_bytes as f64 * 8.0 * 1e6 / span as f64)
    }

    /// draft-ietf-rmcat-gcc-02 §5.5: additive increase near the known capacity, multiplicative far from it, decrease to
    /// 0.85 of what arrives on over-use, hold while the queue drains.
    fn control(&mut self, now: Instant, rtt: Duration, usage: Usage) {
        let elapsed = self
            .updated
            .replace(now)
            .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64().min(1.0));
        let acked = self.acked_bitrate();
        match usage {
            Usage::Under => {}
            Usage::Over => {
                let patience = rtt.max(Duration::from_millis(10)) + Duration::from_millis(100);
                if self
                    .decreased
                    .is_some_and(|at| now.saturating_duration_since(at) < patience)
                {
                    return;
                }
                self.startup = false;
                self.decreased = Some(now);
                let measured = acked.unwrap_or(self.delay_based);
                self.capacity_sample(measured);
                self.delay_based = self.delay_based.min(BETA * measured).max(self.min);
            }
            Usage::Normal => {
                let near = match (self.link_capacity, acked) {
                    (Some((capacity, deviation)), Some(acked)) => {
                        if acked > capacity + 3.0 * deviation {
                            self.link_capacity = None;
                            false
                        } else {
                            true
                        }
                    }
                    _ => false,
                };
                let increased = if near {
                    // About one packet a response time.
                    let response = rtt.as_secs_f64() + 0.1;
                    let packet = (self.delay_based / 30.0 / (1200.0 * 8.0)).ceil().max(1.0);
                    let bits = self.delay_based / 30.0 / packet;
                    self.delay_based + (bits / response).max(4000.0) * elapsed
                } else if self.startup {
                    self.delay_based * 2f64.powf(elapsed)
                } else {
                    self.delay_based * 1.08f64.powf(elapsed)
                };
                // What is not tried out is not known to be there.
                let tried = acked.map_or(
                    self.delay_based,
                    |acked| if self.startup { 2.0 } else { 1.5 } * acked + 10_000.0,
                );
                self.delay_based = increased.min(tried.max(self.delay_based)).min(self.max);
            }
        }
    }

    fn capacity_sample(&mut self, measured: f64) {
        self.link_capacity = Some(match self.link_capacity {
            None => (measured, 0.1 * measured),
            Some((capacity, deviation)) => {
                let capacity = 0.95 * capacity + 0.05 * measured;
                let deviation = 0.95 * deviation + 0.05 * (measured - capacity).abs();
                (capacity, deviation.clamp(0.02 * capacity, 0.2 * capacity))
            }
        });
    }
}

impl CongestionControl for Gcc {
    fn on_feedback(&mut self, now: Instant, rtt: Duration, results: &[PacketResult]) {
        if results.is_empty() {
            return;
        }
        let before = self.trend.usage();
        let mut over = false;
        for result in results {
            let sample = self.clocks.sample(result);
            self.loss_based.packet(sample.arrival.is_none());
            if let Some(arrival) = sample.arrival {
                self.trend.packet(&sample, arrival);
                over |= self.trend.usage() == Usage::Over && before != Usage::Over;
                self.acknowledge(arrival, sample.bytes);
            }
        }
        self.feedback_seen = true;
        let usage = if over { Usage::Over } else { self.trend.usage() };
        self.control(now, rtt, usage);
        if self.loss_based.update(now, self.delay_based) {
            self.startup = false;
        }
    }

    /// Of use only from a peer that gives no feedback on single packets.
    fn on_loss(&mut self, now: Instant, fraction: f64) {
        if !self.feedback_seen {
            self.loss_based.loss(now, fraction, self.max);
        }
    }

    fn on_remb(&mut self, now: Instant, rate: u64) {
        self.remb = Some((now, rate as f64));
    }

    fn target_rate(&self, now: Instant) -> Option<u64> {
        let remb = self
            .remb
            .filter(|(at, _)| now.saturating_duration_since(*at) < REMB_LIFE)
            .map(|(_, bps)| bps);
        let own = self.feedback_seen.then(|| self.delay_based.min(self.loss_based.rate()));
        let target = match (own, remb) {
            (Some(own), Some(remb)) => own.min(remb),
            (Some(one), None) | (None, Some(one)) => one.min(self.loss_based.rate()),
            (None, None) => return None,
        };
        Some(target.clamp(self.min, self.max) as u64)
    }

    fn pacing_rate(&self, now: Instant) -> Option<u64> {
        self.target_rate(now).map(|rate| (rate as f64 * PACING) as u64)
    }
}

#[cfg(test)]
mod tests;
