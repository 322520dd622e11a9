//! What a congestion controller is told, and what it decides: how much may be on its way, and how fast it may leave.

use std::fmt::Debug;
use std::time::{Duration, Instant};

/// No window grows past this: nothing keeps more than the peer's buffer in flight anyway.
pub(super) const MAX_WINDOW: usize = 64 * 1024 * 1024;

/// How fast the path delivered what one acknowledged packet measured: everything that was acknowledged between its
/// transmission and its acknowledgement (the estimator of draft-cheng-iccrg-delivery-rate-estimation).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateSample {
    /// Bytes a second.
    pub bytes_per_second: u64,
    /// The application had nothing to send for a part of the time: the path may be faster.
    pub app_limited: bool,
    /// Bytes in flight just after the packet was sent.
    pub in_flight: usize,
    /// Bytes acknowledged between the packet's transmission and its acknowledgement.
    pub delivered: usize,
    /// Bytes found lost in the same time.
    pub lost: usize,
}

/// An acknowledgement, as a congestion controller sees it. Bytes count as on the wire, chunk headers included.
#[derive(Clone, Copy, Debug)]
pub struct Ack {
    /// When it came.
    pub now: Instant,
    /// Bytes that it newly acknowledges.
    pub bytes: usize,
    /// Bytes found lost since the last acknowledgement.
    pub lost: usize,
    /// Bytes in flight after it.
    pub in_flight: usize,
    /// Whether the cumulative TSN moved.
    pub cumulative_advanced: bool,
    /// Whether the window, not the application, was what held the sender back.
    pub window_limited: bool,
    /// Whether the sender repairs a loss.
    pub in_recovery: bool,
    /// A round-trip time that it measured.
    pub rtt: Option<Duration>,
    /// The smoothed round-trip time.
    pub srtt: Option<Duration>,
    /// Whether a packet is acknowledged that was sent after the last such moment: a round trip is over.
    pub round_start: bool,
    /// How fast the path delivers.
    pub sample: Option<RateSample>,
}

/// A loss that calls for an answer: the first one of a window.
#[derive(Clone, Copy, Debug)]
pub struct Loss {
    /// When it was found.
    pub now: Instant,
    /// Bytes in flight after the loss was taken out.
    pub in_flight: usize,
}

/// Decides how many bytes may be in flight, and how fast they leave. Bytes count as on the wire, chunk headers
/// included.
pub trait CongestionControl: Debug + Send + Sync {
    /// The congestion window in bytes.
    fn window(&self) -> usize;
    /// Bytes a second at which packets leave, in small bursts; `None` for as fast as the window allows. `srtt` is the
    /// smoothed round-trip time, if there is one.
    fn pacing_rate(&self, srtt: Option<Duration>) -> Option<u64>;
    /// Bytes were acknowledged or found lost.
    fn on_ack(&mut self, ack: &Ack);
    /// A loss was detected, the first one of a window.
    fn on_loss(&mut self, loss: &Loss);
    /// The path has marked packets instead of dropping them: the answer, once for a window, is that to a loss.
    fn on_mark(&mut self, mark: &Loss) {
        self.on_loss(mark);
    }
    /// Everything that the last [`Self::on_loss`] or [`Self::on_timeout`] was called for has arrived after all.
    fn on_spurious_loss(&mut self, now: Instant);
    /// T3-rtx ran out.
    fn on_timeout(&mut self, now: Instant);
    /// Nothing was sent for `rtos` retransmission timeouts.
    fn on_idle(&mut self, rtos: u32);
    /// The largest packet changed.
    fn set_max_packet(&mut self, bytes: usize);
}

/// What leaves in a round trip at `gain` windows.
pub(super) fn rate(window: usize, srtt: Option<Duration>, gain: f64) -> Option<u64> {
    let srtt = srtt.filter(|srtt| !srtt.is_zero())?;
    Some((window as f64 * gain / srtt.as_secs_f64()) as u64)
}
