//! Two associations and the link between them, held to the laws.
#![allow(dead_code, unreachable_pub)]

use std::time::{Duration, Instant};

use antiphon_netsim::{LinkConfig, Machine, Pipe, to_the_other_end};
use antiphon_sansio::{Datagram, Packet, Rng, Transmit, TransmitBuf};
use antiphon_sctp::{Association, Config, Event, Message, SendOptions};
use bytes::Bytes;

/// One end. An association that has ended still answers a peer that asks again, so that it is never silent for good.
#[derive(Debug)]
pub struct End {
    association: Association,
    largest: usize,
}

impl Machine for End {
    type Event = Event;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        let Datagram { ecn, data, .. } = datagram;
        self.association.handle_packet(now, Packet { ecn, data });
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.association.handle_timeout(now);
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        let outgoing = self.association.poll_transmit(now, out)?;
        let range = out.finish();
        assert!(range.len().is_multiple_of(4));
        self.largest = self.largest.max(range.len());
        Some(to_the_other_end(range, outgoing.ecn))
    }

    fn poll_event(&mut self) -> Option<Event> {
        self.association.poll_event()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.association.poll_timeout()
    }

    fn close(&mut self, now: Instant) {
        self.association.close(now);
    }
}

pub type Pair = Pipe<End>;

/// 5 ms each way, and nothing happens to a packet.
pub fn perfect() -> LinkConfig {
    LinkConfig {
        delay: Duration::from_millis(5),
        ..LinkConfig::default()
    }
}

/// Loses so much, duplicates, and a third comes late.
pub fn bad(loss: f64) -> LinkConfig {
    LinkConfig {
        loss,
        duplicate: 0.05,
        delay: Duration::from_millis(10),
        jitter: Duration::from_millis(10),
        reorder: 0.3,
        reorder_delay: Duration::from_millis(10),
        ..LinkConfig::default()
    }
}

/// What the tests do with a pair.
pub trait Associations: Sized {
    fn of(seed: u64, link: LinkConfig, a: Config, b: Config) -> Self;
    /// Even seeds interleave messages (I-DATA), odd ones do not.
    fn connected(seed: u64, link: LinkConfig) -> Self;
    fn connect(&mut self);
    fn end(&mut self, end: usize) -> &mut Association;
    /// The largest packet that either end has sent, in bytes.
    fn largest(&self) -> usize;
    fn send_from(&mut self, end: usize, stream: u16, data: impl Into<Bytes>, options: SendOptions);
    fn read_all(&mut self, end: usize, stream: u16) -> Vec<Message>;
}

impl Associations for Pair {
    fn of(seed: u64, link: LinkConfig, a: Config, b: Config) -> Self {
        let (now, rng) = (antiphon_netsim::start(), Rng::from_u64(seed));
        let end = |config, label| End {
            association: Association::new(config, now, rng.fork(label)),
            largest: 0,
        };
        let mut pair = Self::new(seed, link, [end(a, "a"), end(b, "b")]);
        pair.out = TransmitBuf::new(2000, 1500);
        pair
    }

    fn connected(seed: u64, link: LinkConfig) -> Self {
        let config = Config {
            interleaving: seed.is_multiple_of(2),
            zero_checksum: seed.is_multiple_of(3),
            ..Config::default()
        };
        let mut pair = Self::of(seed, link, config.clone(), config);
        pair.connect();
        pair
    }

    fn connect(&mut self) {
        let now = self.now;
        self.end(0).connect(now);
        self.end(1).connect(now);
        let seen = self.run_until(Duration::from_secs(120), |pair| {
            (0..2).all(|end| pair.events[end].contains(&Event::Connected))
        });
        assert!(seen, "no connection: {self:?}");
    }

    fn end(&mut self, end: usize) -> &mut Association {
        &mut self.ends[end].association
    }

    fn largest(&self) -> usize {
        self.ends.iter().map(|end| end.largest).max().unwrap_or(0)
    }

    fn send_from(&mut self, end: usize, stream: u16, data: impl Into<Bytes>, options: SendOptions) {
        let now = self.now;
        self.end(end).send(now, stream, 53, data.into(), options).unwrap();
    }

    fn read_all(&mut self, end: usize, stream: u16) -> Vec<Message> {
        let now = self.now;
        std::iter::from_fn(|| self.end(end).read(now, stream)).collect()
    }
}

/// Bytes that tell where they belong.
pub fn pattern(len: usize, seed: u8) -> Bytes {
    (0..len)
        .map(|n| {
            (n as u8)
                .wrapping_mul(31)
                .wrapping_add((n >> 8) as u8)
                .wrapping_add(seed)
        })
        .collect::<Vec<u8>>()
        .into()
}
