//! How fast the path delivers (draft-cheng-iccrg-delivery-rate-estimation).

use std::time::{Duration, Instant};

use super::congestion::RateSample;

/// What was known when a packet left.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Snapshot {
    pub(crate) sent_at: Instant,
    delivered: u64,
    delivered_at: Instant,
    /// When the first packet of the flight left whose acknowledgement came last.
    first_sent_at: Instant,
    in_flight: usize,
    lost: u64,
    app_limited: bool,
}

/// Measures how fast the path delivers (draft-cheng-iccrg-delivery-rate-estimation).
#[derive(Debug)]
pub(crate) struct Delivery {
    delivered: u64,
    delivered_at: Instant,
    first_sent_at: Instant,
    lost: u64,
    /// Samples of packets sent before this many bytes are delivered are app-limited.
    app_limited_until: u64,
    /// The round trip ends with the first packet sent after this many bytes were delivered.
    round_ends: u64,
}

impl Delivery {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            delivered: 0,
            delivered_at: now,
            first_sent_at: now,
            lost: 0,
            app_limited_until: 0,
            round_ends: 0,
        }
    }

    /// A packet leaves; `in_flight` is what was in flight before it.
    #[inline]
    pub(crate) fn snapshot(&mut self, now: Instant, in_flight: usize) -> Snapshot {
        if in_flight == 0 {
            self.first_sent_at = now;
            self.delivered_at = now;
        }
        Snapshot {
            sent_at: now,
            delivered: self.delivered,
            delivered_at: self.delivered_at,
            first_sent_at: self.first_sent_at,
            in_flight,
            lost: self.lost,
            app_limited: self.delivered < self.app_limited_until,
        }
    }

    /// Nothing waits and the window has room: what is in flight now measures the application, not the path.
    pub(crate) fn app_limited(&mut self, in_flight: usize) {
        self.app_limited_until = self.delivered + in_flight.max(1) as u64;
    }

    #[inline]
    pub(crate) fn acked(&mut self, bytes: usize) {
        self.delivered += bytes as u64;
    }

    #[inline]
    pub(crate) fn lost(&mut self, bytes: usize) {
        self.lost += bytes as u64;
    }

    /// After everything that a SACK acknowledges was counted: what its newest packet measured, and whether a round trip
    /// is over.
    #[inline]
    pub(crate) fn sample(
        &mut self,
        now: Instant,
        newest: &Snapshot,
        min_rtt: Option<Duration>,
    ) -> (Option<RateSample>, bool) {
        self.delivered_at = now;
        let send_time = newest.sent_at.saturating_duration_since(newest.first_sent_at);
        let ack_time = now.saturating_duration_since(newest.delivered_at);
        self.first_sent_at = newest.sent_at;
        let interval = send_time.max(ack_time);
        let delivered = self.delivered - newest.delivered;
        let round_start = newest.delivered >= self.round_ends;
        if round_start {
            self.round_ends = self.delivered;
        }
        // Shorter than the path: the acknowledgement was of something else.
        if interval.is_zero() || min_rtt.is_some_and(|min| interval < min) {
            return (None, round_start);
        }
        let sample = RateSample {
            bytes_per_second: (delivered as f64 / interval.as_secs_f64()) as u64,
            app_limited: newest.app_limited,
            in_flight: newest.in_flight,
            delivered: delivered as usize,
            lost: (self.lost - newest.lost) as usize,
        };
        (Some(sample), round_start)
    }
}
