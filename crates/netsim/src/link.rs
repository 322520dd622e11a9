//! One direction of a path: what it does to packets, and when they arrive.

use std::time::{Duration, Instant};

use antiphon_sansio::{Ecn, Rng};

use crate::packet::Packet;

/// What one direction of a path does to packets. Probabilities are from 0 to 1.
#[derive(Clone, Debug)]
pub struct LinkConfig {
    /// How long every packet takes from one end to the other, before jitter.
    pub delay: Duration,
    /// More delay, uniform from zero to this. It stretches gaps but does not reorder; `reorder` does.
    pub jitter: Duration,
    /// Packets lost at random, one by one.
    pub loss: f64,
    /// Bursts (Gilbert-Elliott): the chance to fall into the bad state per packet, in which everything is lost.
    pub burst_start: f64,
    /// The chance to leave the bad state per packet.
    pub burst_end: f64,
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
    /// Bits a second, IP headers included; unlimited if `None`.
    pub rate: Option<u64>,
    /// The drop-tail queue in front of a limited rate, in bytes.
    pub queue_bytes: usize,
    /// ECN-capable packets that wait longer than this are marked.
    pub ecn_threshold: Option<Duration>,
}

impl Default for LinkConfig {
    /// 10 ms each way, an MTU of 1500, and nothing else happens.
    fn default() -> Self {
        Self {
            delay: Duration::from_millis(10),
            jitter: Duration::ZERO,
            loss: 0.0,
            burst_start: 0.0,
            burst_end: 0.5,
            duplicate: 0.0,
            reorder: 0.0,
            reorder_delay: Duration::from_millis(20),
            corrupt: 0.0,
            mtu: 1500,
            rate: None,
            queue_bytes: 250_000,
            ecn_threshold: None,
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

/// Why a link did not carry a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    Loss,
    Queue,
    TooBig,
}

#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) config: LinkConfig,
    /// Set for these two ends, not taken from the network's default.
    pub(crate) explicit: bool,
    rng: Rng,
    /// When the last byte accepted will have left.
    busy_until: Instant,
    /// Nothing that is not reordered arrives before this.
    last_arrival: Instant,
    /// The same for TCP, which mends its losses.
    pub(crate) last_tcp: Instant,
    in_burst: bool,
}

/// One arrival that a link makes of a packet.
pub(crate) struct Arrival {
    pub(crate) at: Instant,
    pub(crate) packet: Packet,
    pub(crate) corrupted: bool,
    pub(crate) reordered: bool,
}

impl Link {
    pub(crate) fn new(config: LinkConfig, rng: Rng, now: Instant) -> Self {
        Self {
            config,
            explicit: false,
            rng,
            busy_until: now,
            last_arrival: now,
            last_tcp: now,
            in_burst: false,
        }
    }

    fn chance(&mut self, probability: f64) -> bool {
        // Draw in any case, so that the figures of one impairment do not shift the dice of another.
        self.rng.unit() < probability
    }

    fn lose(&mut self) -> bool {
        let (change, single) = (self.rng.unit(), self.rng.unit());
        let turns = if self.in_burst {
            change < self.config.burst_end
        } else {
            change < self.config.burst_start
        };
        self.in_burst ^= turns;
        self.in_burst || single < self.config.loss
    }

    /// When and how a packet that is sent at `now` arrives: not at all, once, or twice.
    pub(crate) fn carry(&mut self, now: Instant, mut packet: Packet) -> Result<Vec<Arrival>, Dropped> {
        let size = packet.ip_len();
        if size > self.config.mtu {
            return Err(Dropped::TooBig);
        }
        let mut sent = now;
        if let Some(rate) = self.config.rate {
            let waiting = self.busy_until.saturating_duration_since(now);
            let queued = waiting.as_secs_f64() * rate as f64 / 8.0;
            if queued as usize + size > self.config.queue_bytes.max(size) {
                return Err(Dropped::Queue);
            }
            if self.config.ecn_threshold.is_some_and(|limit| waiting > limit) && packet.ecn != Ecn::NotEct {
                packet.ecn = Ecn::Ce;
            }
            let serialised = Duration::from_secs_f64(size as f64 * 8.0 / rate as f64);
            self.busy_until = self.busy_until.max(now) + serialised;
            sent = self.busy_until;
        }
        if self.lose() {
            return Err(Dropped::Loss);
        }
        let copies = if self.chance(self.config.duplicate) { 2 } else { 1 };
        Ok((0..copies).map(|_| self.arrive(sent, packet.clone())).collect())
    }

    fn arrive(&mut self, sent: Instant, mut packet: Packet) -> Arrival {
        let mut at = sent + self.config.delay + self.config.jitter.mul_f64(self.rng.unit());
        let reordered = self.chance(self.config.reorder);
        if reordered {
            at += self.config.reorder_delay;
        } else {
            at = at.max(self.last_arrival);
            self.last_arrival = at;
        }
        let corrupted = self.chance(self.config.corrupt) && !packet.data.is_empty();
        if corrupted {
            for _ in 0..=self.rng.below(3) {
                let bit = self.rng.below(packet.data.len() as u32 * 8);
                packet.data[bit as usize / 8] ^= 1 << (bit % 8);
            }
        }
        Arrival {
            at,
            packet,
            corrupted,
            reordered,
        }
    }
}
