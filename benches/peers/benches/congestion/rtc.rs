//! The estimator of rtc-interceptor (webrtc-rs), a port of Pion's, in a session of ours: it has no probes, no window and no padding.

use std::time::{Duration, Instant};

use antiphon_media::congestion::{CongestionControl, PacketResult};
use rtc_interceptor::{BandwidthEstimator, Gcc, PacketReport};

/// The estimator, and how it is paced.
struct Estimator {
    gcc: Gcc,
    /// Packets leave at so many times the estimate.
    pacing: f64,
    /// The peer's clock began then.
    epoch: Option<Instant>,
    reports: Vec<PacketReport>,
    told: bool,
}

impl std::fmt::Debug for Estimator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Estimator").finish_non_exhaustive()
    }
}

fn estimator(start: u64, min: u64, max: u64, pacing: f64) -> Box<dyn CongestionControl> {
    Box::new(Estimator {
        gcc: Gcc::new(start as f64, min as f64, max as f64),
        pacing,
        epoch: None,
        reports: Vec::new(),
        told: false,
    })
}

/// As the crate is used: its pacer sends at the estimate.
pub(crate) fn rtc(start: u64, min: u64, max: u64) -> Box<dyn CongestionControl> {
    estimator(start, min, max, 1.0)
}

/// As Pion paces by the same rules: one and a half times the estimate.
pub(crate) fn pion(start: u64, min: u64, max: u64) -> Box<dyn CongestionControl> {
    estimator(start, min, max, 1.5)
}

impl CongestionControl for Estimator {
    fn on_feedback(&mut self, now: Instant, _: Duration, results: &[PacketResult]) {
        self.reports.clear();
        for result in results {
            let id = result.sent.id.0;
            let arrival = result.arrival.map(|at| {
                // Only differences count; none is negative.
                let epoch = *self.epoch.get_or_insert_with(|| at - Duration::from_secs(1));
                at.saturating_duration_since(epoch)
            });
            self.reports.push(PacketReport {
                ssrc: 1,
                id,
                rtp_sequence_number: id as u16,
                is_twcc: true,
                twcc_sequence_number: id as u16,
                size: result.sent.bytes,
                arrived: arrival.is_some(),
                departure: result.sent.at,
                arrival,
                ecn: Default::default(),
            });
        }
        self.gcc.on_reports(now, &self.reports);
        self.told = true;
    }

    fn on_loss(&mut self, _: Instant, _: f64) {}

    fn on_remb(&mut self, _: Instant, _: u64) {}

    fn on_timeout(&mut self, now: Instant) {
        self.gcc.handle_timeout(now);
    }

    fn next_timeout(&self) -> Option<Instant> {
        self.gcc.poll_timeout()
    }

    fn target_rate(&self, _: Instant) -> Option<u64> {
        self.told.then(|| self.gcc.target_bitrate() as u64)
    }

    fn pacing_rate(&self, _: Instant) -> Option<u64> {
        self.told.then(|| (self.gcc.target_bitrate() * self.pacing) as u64)
    }
}
