//! The controller of RFC 9260 §7.2.

use std::time::{Duration, Instant};

use super::control::{Ack, CongestionControl, Loss, MAX_WINDOW, rate};

/// Slow start, congestion avoidance and halving (RFC 9260 §7.2).
#[derive(Clone, Debug)]
pub struct NewReno {
    max_packet: usize,
    window: usize,
    threshold: usize,
    /// Bytes acknowledged towards the next increase in congestion avoidance.
    partial: usize,
    /// Window and threshold before the last loss.
    before_loss: Option<(usize, usize)>,
}

impl NewReno {
    /// Starts with ten packets (RFC 6928), as the other WebRTC stacks do.
    pub fn new(max_packet: usize) -> Self {
        Self {
            max_packet,
            window: 10 * max_packet,
            threshold: usize::MAX,
            partial: 0,
            before_loss: None,
        }
    }

    fn floor(&self) -> usize {
        4 * self.max_packet
    }
}

impl CongestionControl for NewReno {
    fn window(&self) -> usize {
        self.window
    }

    fn pacing_rate(&self, srtt: Option<Duration>) -> Option<u64> {
        // Fast enough that the window alone decides how much a round trip carries; the bursts only get a length.
        rate(self.window, srtt, if self.window < self.threshold { 2.0 } else { 1.25 })
    }

    fn on_ack(&mut self, ack: &Ack) {
        // RFC 9260 §7.2.1: only when the window is in full use, and not while a loss is repaired.
        if !ack.window_limited || ack.in_recovery {
            return;
        }
        if self.window < self.threshold {
            // One SACK may cover a whole batch of packets, so the growth counts bytes and not SACKs (RFC 3465).
            self.window = (self.window + ack.bytes).min(MAX_WINDOW);
        } else {
            // RFC 9260 §7.2.2: one packet per window acknowledged.
            self.partial += ack.bytes;
            if self.partial >= self.window {
                self.partial -= self.window;
                self.window = (self.window + self.max_packet).min(MAX_WINDOW);
            }
        }
    }

    fn on_loss(&mut self, _loss: &Loss) {
        self.before_loss = Some((self.window, self.threshold));
        // RFC 9260 §7.2.3.
        self.threshold = (self.window / 2).max(self.floor());
        self.window = self.threshold;
        self.partial = 0;
    }

    fn on_spurious_loss(&mut self, _now: Instant) {
        if let Some((window, threshold)) = self.before_loss.take() {
            self.window = self.window.max(window);
            self.threshold = self.threshold.max(threshold);
        }
    }

    fn on_timeout(&mut self, _now: Instant) {
        self.before_loss = Some((self.window, self.threshold));
        self.threshold = (self.window / 2).max(self.floor());
        self.window = self.max_packet;
        self.partial = 0;
    }

    fn on_idle(&mut self, rtos: u32) {
        // RFC 9260 §7.2.1: an unused window is halved for each RTO that passes.
        let halved = self.window >> rtos.min(31);
        self.window = self.window.min(halved.max(10 * self.max_packet));
    }

    fn set_max_packet(&mut self, bytes: usize) {
        self.max_packet = bytes;
    }
}
