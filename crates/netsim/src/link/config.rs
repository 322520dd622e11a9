//! What one direction of a path does to packets.

use std::time::Duration;

use super::capacity::Capacity;

/// What one direction of a path does to packets. Probabilities are from 0 to 1.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// How long every packet takes from one end to the other, before jitter.
    pub delay: Duration,
    /// More delay, uniform from zero to this. It stretches gaps but does not reorder; `reorder` does.
    pub jitter: Duration,
    /// More or less delay, normally distributed with this deviation, but never less than none at all.
    pub jitter_sigma: Duration,
    /// Whether a packet may pass others by its jitter.
    pub jitter_reorders: bool,
    /// Packets lost at random, one by one.
    pub loss: f64,
    /// Bursts (Gilbert-Elliott): the chance to fall into the bad state per packet.
    pub burst_start: f64,
    /// The chance to leave the bad state per packet.
    pub burst_end: f64,
    /// Packets lost in the bad state.
    pub burst_loss: f64,
    /// Packets that arrive twice.
    pub duplicate: f64,
    /// Packets that are held back for `reorder_delay` while others pass.
    pub reorder: f64,
    /// How long such a packet is held back.
    pub reorder_delay: Duration,
    /// Packets of which some bits flip. A real network's UDP checksum would drop most of them.
    pub corrupt: f64,
    /// The largest IP packet, headers included; what is larger vanishes, as on a path without ICMP.
    pub mtu: usize,
    /// How much passes, in bits a second; unlimited, without a queue, if `None`.
    pub rate: Option<Capacity>,
    /// How much waits in front of a limited rate, at most.
    pub queue: Limit,
    /// What happens to those that wait, besides.
    pub aqm: Aqm,
    /// Whether it wipes off every ECN mark, as some routers do.
    pub bleaches: bool,
}

/// How much a queue holds, the packet that is just leaving included. What is one too many is dropped as it comes (drop-tail).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limit {
    /// Bytes, IP headers included. One packet is taken always.
    pub bytes: usize,
    /// Packets, from 1 up.
    pub packets: usize,
    /// How long what is there takes to leave at the rate of the moment; during a pause, at the rate before it.
    pub time: Duration,
}

impl Limit {
    /// So many bytes.
    pub fn bytes(bytes: usize) -> Self {
        Self {
            bytes,
            packets: usize::MAX,
            time: Duration::MAX,
        }
    }

    /// So many packets.
    pub fn packets(packets: usize) -> Self {
        Self {
            packets,
            ..Self::bytes(usize::MAX)
        }
    }

    /// As much as leaves in this time.
    pub fn time(time: Duration) -> Self {
        Self {
            time,
            ..Self::bytes(usize::MAX)
        }
    }
}

/// Active queue management: what a queue does before it is full.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Aqm {
    /// Nothing.
    #[default]
    DropTail,
    /// Marks what is capable of ECN and has waited longer than this.
    Threshold(Duration),
    /// CoDel (RFC 8289): marks or drops one, and then more and more often, while all wait too long.
    CoDel {
        /// The wait that is fine, 5 ms by the RFC.
        target: Duration,
        /// How long it may be longer, about the longest round trip: 100 ms by the RFC.
        interval: Duration,
    },
    /// The dual queue with PI2 (RFC 9332): ECT(1) and CE wait in a short queue that marks at once, all others in a classic one, and the
    /// two share the rate.
    DualPi2 {
        /// The wait that the classic queue is steered to, 15 ms by the RFC.
        target: Duration,
        /// What has waited longer than this in the short queue is marked, 1 ms by the RFC, unless it is the only one.
        step: Duration,
    },
}

impl Default for LinkConfig {
    /// 10 ms each way, an MTU of 1500, and nothing else happens.
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            jitter_sigma: Duration::ZERO,
            jitter_reorders: false,
            loss: 0.0,
            burst_start: 0.0,
            burst_end: 0.5,
            burst_loss: 1.0,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_delay: Duration::from_millis(20),
            corrupt: 0.0,
            mtu: 1500,
            rate: None,
            queue: Limit::bytes(250_000),
            aqm: Aqm::DropTail,
            bleaches: false,
        }
    }
}

impl LinkConfig {
    /// Delivers at once and always: a host to itself.
    pub fn loopback() -> Self {
        Self {
            delay: Duration::ZERO,
            mtu: 65_536,
            ..Self::default()
        }
    }

    /// A tired network: loss as given, jitter, and some duplication and reordering.
    pub fn lossy(delay: Duration, loss: f64) -> Self {
        Self {
            delay,
            jitter: delay / 4,
            loss,
            duplicate: 0.01,
            reorder: 0.02,
            reorder_delay: delay / 2 + Duration::from_millis(1),
            ..Self::default()
        }
    }
}
