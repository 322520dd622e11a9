use antiphon_netsim::start;
use antiphon_sansio::Ecn;

use super::super::control::{PacketId, Sent};
use super::*;

/// A sender that follows the estimate through a bottleneck with a queue; feedback every 50 ms.
struct Link {
    estimator: Gcc,
    start: Instant,
    micros: i64,
    /// When the bottleneck is free again.
    free: f64,
    lcg: u64,
}

impl Link {
    fn new(start_bitrate: u64) -> Self {
        Self {
            estimator: Gcc::new(start_bitrate, 30_000, 20_000_000),
            start: start(),
            micros: 0,
            free: 0.0,
            lcg: 1,
        }
    }

    fn chance(&mut self) -> f64 {
        self.lcg = self
            .lcg
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.lcg >> 33) as f64 / (1u64 << 31) as f64
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_micros(self.micros as u64)
    }

    fn target(&self) -> f64 {
        self.estimator.target_rate(self.now()).unwrap_or(300_000) as f64
    }

    /// Runs for `seconds`; returns the mean estimate of the second half.
    fn run(&mut self, seconds: f64, capacity: f64, loss: f64, app_limit: f64) -> f64 {
        let end = self.micros + (seconds * 1e6) as i64;
        let middle = self.micros + (seconds * 0.5e6) as i64;
        let (mut sum, mut count) = (0.0, 0.0);
        while self.micros < end {
            let feedback_at = self.micros + 50_000;
            let mut results = Vec::new();
            while self.micros < feedback_at {
                let bytes = 1000usize;
                let serialise = bytes as f64 * 8.0 / capacity * 1e6;
                let queue = (self.free - self.micros as f64).max(0.0);
                let dropped = queue > 300_000.0 || self.chance() < loss;
                let arrival = (!dropped).then(|| {
                    self.free = self.free.max(self.micros as f64) + serialise;
                    (self.free + 25_000.0) as i64
                });
                results.push(PacketResult {
                    sent: Sent {
                        id: PacketId(0),
                        at: self.now(),
                        bytes,
                        ecn: Ecn::NotEct,
                        probe: None,
                    },
                    arrival: arrival.map(|micros: i64| self.start + Duration::from_micros(micros as u64)),
                    ecn: Ecn::NotEct,
                });
                self.micros += (bytes as f64 * 8.0 / self.target().min(app_limit) * 1e6) as i64;
            }
            let now = self.now();
            self.estimator.on_feedback(now, Duration::from_millis(50), &results);
            if self.micros > middle {
                sum += self.target();
                count += 1.0;
            }
        }
        sum / count
    }
}

#[test]
fn tracks_a_bottleneck_up_and_down() {
    let mut link = Link::new(300_000);
    let mean = link.run(30.0, 2_500_000.0, 0.0, f64::MAX);
    assert!((1_500_000.0..2_700_000.0).contains(&mean), "2.5 Mb/s: {mean}");
    let mean = link.run(20.0, 600_000.0, 0.0, f64::MAX);
    assert!((350_000.0..700_000.0).contains(&mean), "600 kb/s: {mean}");
    let mean = link.run(40.0, 1_500_000.0, 0.0, f64::MAX);
    assert!((750_000.0..1_650_000.0).contains(&mean), "1.5 Mb/s: {mean}");
}

#[test]
fn loss_that_the_link_has_anyway_does_not_starve_us() {
    for (loss, least) in [
        (0.01, 1_000_000.0),
        (0.05, 800_000.0),
        (0.10, 500_000.0),
        (0.20, 300_000.0),
    ] {
        let mut link = Link::new(300_000);
        let mean = link.run(40.0, 2_000_000.0, loss, f64::MAX);
        assert!(mean > least && mean < 2_200_000.0, "{loss}: {mean}");
    }
}

#[test]
fn an_idle_application_does_not_inflate_the_estimate() {
    let mut link = Link::new(300_000);
    let mean = link.run(30.0, 10_000_000.0, 0.0, 400_000.0);
    assert!(mean < 1_000_000.0, "{mean}");
}

#[test]
fn remb_caps_and_expires() {
    let now = start();
    let mut estimator = Gcc::new(600_000, 30_000, 5_000_000);
    assert_eq!(estimator.target_rate(now), None);
    estimator.on_remb(now, 200_000);
    assert_eq!(estimator.target_rate(now), Some(200_000));
    assert_eq!(estimator.target_rate(now + REMB_LIFE), None);
}
