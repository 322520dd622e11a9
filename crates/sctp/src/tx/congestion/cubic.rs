//! CUBIC (RFC 9438).

use std::time::{Duration, Instant};

use super::control::{Ack, CongestionControl, Loss, MAX_WINDOW, rate};
use super::hystart::{Growth, HyStart};

/// C and beta of RFC 9438 §5 (§4.1.2, §4.6).
const C: f64 = 0.4;
const BETA: f64 = 0.7;

/// CUBIC (RFC 9438), with HyStart++ (RFC 9406) for its slow start.
#[derive(Clone, Debug)]
pub struct Cubic {
    max_packet: usize,
    /// Bytes. A fraction is kept, so that small steps add up.
    window: f64,
    threshold: f64,
    hystart: HyStart,
    /// W_max in packets, and cwnd before the last loss.
    w_max: f64,
    w_before: f64,
    epoch: Option<Epoch>,
    /// Since when the window is not in full use: that time does not count (RFC 9438 §5.8).
    idle_since: Option<Instant>,
    before_loss: Option<Box<Self>>,
}

/// One stage of congestion avoidance.
#[derive(Clone, Copy, Debug)]
struct Epoch {
    start: Instant,
    /// Seconds until the window is back at W_max.
    k: f64,
    /// What Reno would have, in packets.
    w_est: f64,
}

impl Cubic {
    /// Starts with ten packets (RFC 6928).
    pub fn new(max_packet: usize) -> Self {
        Self {
            max_packet,
            window: 10.0 * max_packet as f64,
            threshold: f64::INFINITY,
            hystart: HyStart::default(),
            w_max: 0.0,
            w_before: 0.0,
            epoch: None,
            idle_since: None,
            before_loss: None,
        }
    }

    fn save(&mut self) {
        self.before_loss = None;
        self.before_loss = Some(Box::new(self.clone()));
    }

    fn reduce(&mut self) {
        self.save();
        let packet = self.max_packet as f64;
        let w = self.window / packet;
        // RFC 9438 §4.7: a flow that did not get back to its last maximum leaves room for newcomers.
        self.w_max = if w < self.w_max { w * (1.0 + BETA) / 2.0 } else { w };
        self.w_before = w;
        self.threshold = (self.window * BETA).max(4.0 * packet);
        self.epoch = None;
        self.idle_since = None;
    }

    fn avoid_congestion(&mut self, ack: &Ack) {
        let packet = self.max_packet as f64;
        let cwnd = self.window / packet;
        // A window that is above its last maximum already (RFC 9438 §4.2) grows from where it is.
        let w_max = self.w_max.max(self.epoch.map_or(cwnd, |_| self.w_max));
        self.w_max = w_max;
        let epoch = self.epoch.get_or_insert_with(|| Epoch {
            start: ack.now,
            k: ((w_max - cwnd) / C).cbrt(),
            w_est: cwnd,
        });
        let elapsed = ack.now.saturating_duration_since(epoch.start).as_secs_f64();
        let cubic = |t: f64| C * (t - epoch.k).powi(3) + w_max;
        // RFC 9438 §4.3: as fast as Reno, with a beta that is not one half.
        let alpha = if epoch.w_est >= self.w_before {
            1.0
        } else {
            3.0 * (1.0 - BETA) / (1.0 + BETA)
        };
        let acked = ack.bytes as f64 / packet;
        let now = cubic(elapsed);
        let rtt = ack.srtt.unwrap_or_default().as_secs_f64();
        let target = cubic(elapsed + rtt).clamp(cwnd, 1.5 * cwnd);
        let w_est = epoch.w_est + alpha * acked / cwnd;
        epoch.w_est = w_est;
        let next = if now < w_est {
            cwnd.max(w_est)
        } else {
            // RFC 9438 §4.4.
            cwnd + (target - cwnd) / cwnd * acked
        };
        self.window = next * packet;
    }
}

impl CongestionControl for Cubic {
    fn window(&self) -> usize {
        self.window as usize
    }

    fn pacing_rate(&self, srtt: Option<Duration>) -> Option<u64> {
        let gain = if self.window < self.threshold { 2.0 } else { 1.25 };
        rate(self.window(), srtt, gain)
    }

    fn on_ack(&mut self, ack: &Ack) {
        if self.window < self.threshold {
            match self.hystart.on_ack(ack.round_start, ack.rtt) {
                Growth::Done => {
                    self.threshold = self.window;
                    self.w_max = self.window / self.max_packet as f64;
                    self.w_before = self.w_max;
                }
                Growth::Divided(by) if ack.window_limited && !ack.in_recovery => {
                    self.window += (ack.bytes / by) as f64;
                }
                Growth::Divided(_) => {}
            }
        } else if !ack.window_limited || ack.in_recovery {
            self.idle_since.get_or_insert(ack.now);
        } else {
            if let (Some(since), Some(epoch)) = (self.idle_since.take(), &mut self.epoch) {
                epoch.start += ack.now.saturating_duration_since(since);
            }
            self.avoid_congestion(ack);
        }
        self.window = self.window.min(MAX_WINDOW as f64);
    }

    fn on_loss(&mut self, _loss: &Loss) {
        self.reduce();
        self.window = self.threshold;
    }

    fn on_spurious_loss(&mut self, _now: Instant) {
        // RFC 9438 §4.9.
        if let Some(before) = self.before_loss.take()
            && before.window > self.window
        {
            let max_packet = self.max_packet;
            *self = *before;
            self.max_packet = max_packet;
        }
    }

    fn on_timeout(&mut self, _now: Instant) {
        self.reduce();
        self.window = self.max_packet as f64;
        self.hystart = HyStart::default();
    }

    fn on_idle(&mut self, rtos: u32) {
        let halved = self.window / f64::from(1u32 << rtos.min(31));
        self.window = self.window.min(halved.max(10.0 * self.max_packet as f64));
    }

    fn set_max_packet(&mut self, bytes: usize) {
        self.max_packet = bytes;
    }
}
