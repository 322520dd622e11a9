//! How much may be on its way.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// An acknowledgement, as a congestion controller sees it.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    /// When it came.
    pub now: Instant,
    /// Bytes that it newly acknowledges, chunk headers included.
    pub bytes: usize,
    /// Whether the cumulative TSN moved.
    pub cumulative_advanced: bool,
    /// Whether the window, not the application, was what held the sender back.
    pub window_limited: bool,
    /// Whether the sender repairs a loss.
    pub in_recovery: bool,
    /// A round-trip time that it measured.
    pub rtt: Option<Duration>,
}

/// Decides how many bytes may be in flight. Bytes count as on the wire, chunk headers included.
pub trait CongestionControl: Debug + Send + Sync {
    /// The congestion window in bytes.
    fn window(&self) -> usize;
    /// Bytes were acknowledged.
    fn on_ack(&mut self, ack: &Ack);
    /// A loss was detected, the first one of a window.
    fn on_loss(&mut self, now: Instant);
    /// T3-rtx ran out.
    fn on_timeout(&mut self, now: Instant);
    /// Nothing was sent for `rtos` retransmission timeouts.
    fn on_idle(&mut self, rtos: u32);
    /// The largest packet changed.
    fn set_max_packet(&mut self, bytes: usize);
}

/// Slow start, congestion avoidance and halving (RFC 9260 §7.2).
#[derive(Clone, Debug)]
pub struct NewReno {
    max_packet: usize,
    window: usize,
    threshold: usize,
    /// Bytes acknowledged towards the next increase in congestion avoidance.
    partial: usize,
}

/// No window grows past this: nothing keeps more than the peer's buffer in flight anyway.
const MAX_WINDOW: usize = 64 * 1024 * 1024;

impl NewReno {
    /// Starts with ten packets (RFC 6928), as the other WebRTC stacks do.
    pub fn new(max_packet: usize) -> Self {
        Self {
            max_packet,
            window: 10 * max_packet,
            threshold: usize::MAX,
            partial: 0,
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

    fn on_loss(&mut self, _now: Instant) {
        // RFC 9260 §7.2.3.
        self.threshold = (self.window / 2).max(self.floor());
        self.window = self.threshold;
        self.partial = 0;
    }

    fn on_timeout(&mut self, _now: Instant) {
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
