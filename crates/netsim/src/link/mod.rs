//! One direction of a path: what waits in front of it, what it does to packets, and when they arrive.

mod capacity;
mod codel;
mod config;
mod crossing;
mod dual;
mod line;
mod queue;

use std::time::{Duration, Instant};

use antiphon_sansio::{Ecn, Rng};

pub use capacity::Capacity;
pub use config::{Aqm, Limit, LinkConfig};
pub use crossing::{Crossing, Fate};
use line::Held;
use queue::Queue;

use crate::packet::{Packet, Transport};

/// Why a link did not carry a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dropped {
    Loss,
    Queue,
    TooBig,
}

/// A packet that the link does not carry, and why.
#[derive(Debug)]
pub(crate) struct Refused<T> {
    pub(crate) packet: Packet,
    pub(crate) tag: T,
    pub(crate) reason: Dropped,
}

/// One arrival that a link makes of a packet.
#[derive(Debug)]
pub(crate) struct Arrival<T> {
    pub(crate) at: Instant,
    pub(crate) packet: Packet,
    pub(crate) tag: T,
    pub(crate) corrupted: bool,
    pub(crate) reordered: bool,
}

/// What has become of packets since the last time: to be taken by whoever owns the link.
#[derive(Debug)]
pub(crate) struct Outcome<T> {
    pub(crate) arrivals: Vec<Arrival<T>>,
    pub(crate) refused: Vec<Refused<T>>,
    /// Extra copies among the arrivals.
    pub(crate) duplicated: u64,
}

impl<T> Default for Outcome<T> {
    fn default() -> Self {
        Self {
            arrivals: Vec::new(),
            refused: Vec::new(),
            duplicated: 0,
        }
    }
}

/// The packet whose bits are leaving.
#[derive(Debug)]
struct Leaving<T> {
    held: Held<T>,
    /// When its first bit left.
    began: Instant,
    /// How many bits were left at `since`.
    bits: f64,
    since: Instant,
    /// When its last bit leaves; `None`: not as long as the link is as it is.
    until: Option<Instant>,
}

#[derive(Debug)]
pub(crate) struct Link<T> {
    config: LinkConfig,
    /// Set for these two ends, not taken from the network's default.
    pub(crate) explicit: bool,
    rng: Rng,
    /// Dice of their own for what most links do not have.
    normal: Rng,
    /// From which the capacity counts.
    epoch: Instant,
    queue: Queue<T>,
    leaving: Option<Leaving<T>>,
    /// Nothing that is not reordered arrives before this.
    last_arrival: Instant,
    /// The same for TCP, which mends its losses.
    pub(crate) last_tcp: Instant,
    in_burst: bool,
    /// What became of each packet, if somebody watches.
    crossings: Option<Vec<Crossing>>,
    out: Outcome<T>,
    dropped: Vec<Held<T>>,
}

impl<T: Copy> Link<T> {
    pub(crate) fn new(config: LinkConfig, rng: Rng, now: Instant) -> Self {
        Self {
            config,
            explicit: false,
            normal: rng.fork("normal"),
            rng,
            epoch: now,
            queue: Queue::new(now),
            leaving: None,
            last_arrival: now,
            last_tcp: now,
            in_burst: false,
            crossings: None,
            out: Outcome::default(),
            dropped: Vec::new(),
        }
    }

    pub(crate) fn config(&self) -> &LinkConfig {
        &self.config
    }

    /// The figures, to be changed; [`Self::changed`] must follow.
    pub(crate) fn config_mut(&mut self, now: Instant) -> &mut LinkConfig {
        let elapsed = |at: Instant| at.saturating_duration_since(self.epoch);
        if let (Some(leaving), Some(rate)) = (&mut self.leaving, &self.config.rate) {
            leaving.bits -= rate.bits(elapsed(leaving.since), elapsed(now));
            leaving.since = now;
        }
        &mut self.config
    }

    /// The figures may have changed: says anew when the packet leaves that is leaving.
    pub(crate) fn changed(&mut self) {
        let epoch = self.epoch;
        if let Some(leaving) = &mut self.leaving {
            leaving.until = finish(self.config.rate.as_ref(), epoch, leaving.since, leaving.bits);
        }
    }

    /// Takes other figures, whose capacity begins now.
    pub(crate) fn set(&mut self, now: Instant, config: LinkConfig) {
        *self.config_mut(now) = config;
        self.epoch = now;
        self.changed();
    }

    /// Begins to remember what becomes of each packet.
    pub(crate) fn watch(&mut self) {
        self.crossings.get_or_insert_default();
    }

    /// What became of each packet since the last time.
    pub(crate) fn take_crossings(&mut self) -> Vec<Crossing> {
        self.crossings.as_mut().map(std::mem::take).unwrap_or_default()
    }

    fn note(&mut self, at: Instant, waited: Duration, packet: &Packet, fate: Fate) {
        if let Some(crossings) = &mut self.crossings {
            crossings.push(Crossing {
                at,
                waited,
                bytes: packet.ip_len(),
                source: packet.source,
                ecn: packet.ecn,
                fate,
            });
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
        let bad = if self.in_burst { self.config.burst_loss } else { 0.0 };
        single < bad.max(self.config.loss)
    }

    /// Takes a packet that is sent at `now`, after all that has left before was taken. What becomes of it, now or later, is told by
    /// [`Self::outcome`].
    pub(crate) fn offer(&mut self, now: Instant, mut packet: Packet, tag: T) {
        if self.config.bleaches {
            packet.ecn = Ecn::NotEct;
        }
        let size = packet.ip_len();
        if size > self.config.mtu {
            let reason = Dropped::TooBig;
            self.out.refused.push(Refused { packet, tag, reason });
            return;
        }
        let Some(rate) = &self.config.rate else {
            if self.leaving.is_none() {
                self.cross(now, Duration::ZERO, packet, tag);
                return;
            }
            // Behind those that waited for a rate there once was.
            let held = Held {
                packet,
                tag,
                since: now,
            };
            if let Err(held) = self
                .queue
                .push(held, self.config.queue, self.config.aqm, (0, 0), u64::MAX)
            {
                self.drop_held(now, held);
            }
            return;
        };
        let nominal = rate.nominal(now.saturating_duration_since(self.epoch));
        let leaving = self.leaving.as_ref().map_or((0, 0), |leaving| {
            let gone = rate.bits(
                leaving.since.saturating_duration_since(self.epoch),
                now.saturating_duration_since(self.epoch),
            );
            (1, ((leaving.bits - gone).max(0.0) / 8.0) as usize)
        });
        let held = Held {
            packet,
            tag,
            since: now,
        };
        match self
            .queue
            .push(held, self.config.queue, self.config.aqm, leaving, nominal)
        {
            Ok(()) => self.begin(now),
            Err(held) => self.drop_held(now, held),
        }
    }

    fn drop_held(&mut self, now: Instant, held: Held<T>) {
        let waited = now.saturating_duration_since(held.since);
        self.note(now, waited, &held.packet, Fate::Dropped);
        let Held { packet, tag, .. } = held;
        let reason = Dropped::Queue;
        self.out.refused.push(Refused { packet, tag, reason });
    }

    /// Lets the next packet begin to leave, if none is leaving.
    fn begin(&mut self, now: Instant) {
        if self.leaving.is_some() {
            return;
        }
        let mut dropped = std::mem::take(&mut self.dropped);
        let next = self.queue.pop(now, self.config.aqm, &mut dropped);
        for held in dropped.drain(..) {
            self.drop_held(now, held);
        }
        self.dropped = dropped;
        self.leaving = next.map(|held| {
            let bits = held.packet.ip_len() as f64 * 8.0;
            Leaving {
                held,
                began: now,
                bits,
                since: now,
                until: finish(self.config.rate.as_ref(), self.epoch, now, bits),
            }
        });
    }

    /// When the next packet has left.
    pub(crate) fn next_departure(&self) -> Option<Instant> {
        self.leaving.as_ref()?.until
    }

    /// The least time from leaving the queue to arriving.
    pub(crate) fn floor(&self) -> Duration {
        if self.config.jitter_sigma.is_zero() {
            self.config.delay
        } else {
            Duration::ZERO
        }
    }

    /// Lets packets leave until `now`.
    pub(crate) fn depart(&mut self, now: Instant) {
        while let Some(leaving) = self
            .leaving
            .take_if(|leaving| leaving.until.is_some_and(|at| at <= now))
        {
            let at = leaving.until.unwrap_or(now);
            let Leaving { held, began, .. } = leaving;
            let waited = began.saturating_duration_since(held.since);
            self.cross(at, waited, held.packet, held.tag);
            self.begin(at);
        }
    }

    /// What has become of packets since the last time.
    pub(crate) fn outcome(&mut self) -> &mut Outcome<T> {
        &mut self.out
    }

    /// Whether nothing waits.
    pub(crate) fn is_idle(&self) -> bool {
        self.leaving.is_none() && self.queue.is_empty()
    }

    /// A packet has left the queue at `sent`: it arrives not at all, once, or twice.
    fn cross(&mut self, sent: Instant, waited: Duration, packet: Packet, tag: T) {
        if self.lose() {
            self.note(sent, waited, &packet, Fate::Lost);
            let reason = Dropped::Loss;
            self.out.refused.push(Refused { packet, tag, reason });
            return;
        }
        self.note(sent, waited, &packet, Fate::Carried);
        // What TCP sends it puts in order again and checks.
        if self.chance(self.config.duplicate) && packet.transport == Transport::Udp {
            self.out.duplicated += 1;
            self.arrive(sent, packet.clone(), tag);
        }
        self.arrive(sent, packet, tag);
    }

    fn arrive(&mut self, sent: Instant, mut packet: Packet, tag: T) {
        let mut at = sent + self.config.delay + self.config.jitter.mul_f64(self.rng.unit());
        let more = self.normal_jitter();
        at = if more < 0.0 {
            (at - Duration::from_secs_f64(-more).min(at - sent)).max(sent)
        } else {
            at + Duration::from_secs_f64(more)
        };
        let reordered = self.chance(self.config.reorder);
        if reordered {
            at += self.config.reorder_delay;
        } else if !self.config.jitter_reorders {
            at = at.max(self.last_arrival);
            self.last_arrival = at;
        }
        let has_bits = packet.transport == Transport::Udp && !packet.data.is_empty();
        let corrupted = self.chance(self.config.corrupt) && has_bits;
        if corrupted {
            for _ in 0..=self.rng.below(3) {
                let bit = self.rng.below(packet.data.len() as u32 * 8);
                packet.data[bit as usize / 8] ^= 1 << (bit % 8);
            }
        }
        self.out.arrivals.push(Arrival {
            at,
            packet,
            tag,
            corrupted,
            reordered,
        });
    }

    /// Seconds, normally distributed (Box and Muller).
    fn normal_jitter(&mut self) -> f64 {
        if self.config.jitter_sigma.is_zero() {
            return 0.0;
        }
        let (radius, angle) = (1.0 - self.normal.unit(), self.normal.unit());
        let standard = (-2.0 * radius.ln()).sqrt() * (std::f64::consts::TAU * angle).cos();
        standard * self.config.jitter_sigma.as_secs_f64()
    }
}

/// When so many bits have left that begin to at `from`.
fn finish(rate: Option<&Capacity>, epoch: Instant, from: Instant, bits: f64) -> Option<Instant> {
    match rate {
        Some(rate) => rate
            .time_for(from.saturating_duration_since(epoch), bits)
            .map(|takes| from + takes),
        None => Some(from),
    }
}
