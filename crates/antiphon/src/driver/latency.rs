//! How long packets are on their way through a forwarder.

use std::ops::AddAssign;
use std::time::Duration;

/// The upper bounds of all classes of [`Latency`] but the last, which has none.
pub const LATENCY_BOUNDS: [Duration; 10] = [
    Duration::from_micros(50),
    Duration::from_micros(100),
    Duration::from_micros(250),
    Duration::from_micros(500),
    Duration::from_millis(1),
    Duration::from_micros(2500),
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(25),
    Duration::from_millis(100),
];

/// How long forwarded packets were in the program: from when the driver took a batch of datagrams from the system until it had handed the
/// system what came of them. All packets of one turn of the driver count with its whole length, so that no packet costs a look at the
/// clock. What the pacer of a connection holds back leaves in a later turn, and is not counted with it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Latency {
    counts: [u64; LATENCY_BOUNDS.len() + 1],
    sum: Duration,
}

impl Latency {
    pub(crate) fn record(&mut self, time: Duration, packets: u64) {
        let class = LATENCY_BOUNDS.partition_point(|bound| *bound < time);
        self.counts[class] += packets;
        // So many packets that the product is more than 2^32 do not fit into one turn.
        self.sum += time.saturating_mul(u32::try_from(packets).unwrap_or(u32::MAX));
    }

    /// Packets of each class, in the order of [`LATENCY_BOUNDS`]; the last class is of what took longer.
    pub fn counts(&self) -> &[u64] {
        &self.counts
    }

    /// All packets that were counted.
    pub fn packets(&self) -> u64 {
        self.counts.iter().sum()
    }

    /// What all packets took together.
    pub fn sum(&self) -> Duration {
        self.sum
    }
}

impl AddAssign for Latency {
    fn add_assign(&mut self, other: Self) {
        for (own, other) in self.counts.iter_mut().zip(other.counts) {
            *own += other;
        }
        self.sum += other.sum;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_time_has_one_class() {
        let mut latency = Latency::default();
        latency.record(Duration::ZERO, 1);
        latency.record(LATENCY_BOUNDS[0], 2);
        latency.record(LATENCY_BOUNDS[0] + Duration::from_nanos(1), 4);
        latency.record(Duration::from_secs(1), 8);
        assert_eq!(latency.counts(), [3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 8]);
        let mut sum = Latency::default();
        sum += latency;
        sum += latency;
        assert_eq!((sum.packets(), sum.sum()), (30, latency.sum() * 2));
        assert!(LATENCY_BOUNDS.is_sorted());
    }
}
