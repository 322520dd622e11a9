//! Two associations, a virtual clock and a network that loses, delays, reorders and duplicates.
#![allow(dead_code, unreachable_pub)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use antiphon_sansio::{BytesMut, Ecn, Packet, Rng, TransmitBuf};
use antiphon_sctp::{Association, Config, Event, Message, SendOptions};
use bytes::Bytes;

#[derive(Clone, Copy)]
pub struct Network {
    pub loss: f64,
    pub duplicate: f64,
    pub delay: Duration,
    pub jitter: Duration,
}

impl Network {
    pub fn perfect() -> Self {
        Self {
            loss: 0.0,
            duplicate: 0.0,
            delay: Duration::from_millis(5),
            jitter: Duration::ZERO,
        }
    }

    pub fn bad(loss: f64) -> Self {
        Self {
            loss,
            duplicate: 0.05,
            delay: Duration::from_millis(10),
            jitter: Duration::from_millis(20),
        }
    }
}

pub struct Pair {
    pub now: Instant,
    pub start: Instant,
    pub ends: [Association; 2],
    pub events: [Vec<Event>; 2],
    pub network: Network,
    pub rng: Rng,
    in_flight: BTreeMap<(Instant, u64), (usize, Vec<u8>)>,
    count: u64,
    out: TransmitBuf,
    pub packets: u64,
    /// Looks at each packet before the network does; `false` drops it.
    #[allow(clippy::type_complexity)]
    pub filter: Option<Box<dyn FnMut(usize, &[u8]) -> bool>>,
    pub largest: usize,
}

impl Pair {
    pub fn new(seed: u64, network: Network, a: Config, b: Config) -> Self {
        #[allow(clippy::disallowed_methods)]
        let now = Instant::now();
        let rng = Rng::from_u64(seed);
        Self {
            now,
            start: now,
            ends: [
                Association::new(a, now, rng.fork("a")),
                Association::new(b, now, rng.fork("b")),
            ],
            events: [Vec::new(), Vec::new()],
            network,
            rng: rng.fork("network"),
            in_flight: BTreeMap::new(),
            count: 0,
            out: TransmitBuf::new(2000, 1500),
            packets: 0,
            filter: None,
            largest: 0,
        }
    }

    /// Even seeds interleave messages (I-DATA), odd ones do not.
    pub fn connected(seed: u64, network: Network) -> Self {
        let config = Config {
            interleaving: seed.is_multiple_of(2),
            zero_checksum: seed.is_multiple_of(3),
            ..Config::default()
        };
        let mut pair = Self::new(seed, network, config.clone(), config);
        pair.connect();
        pair
    }

    pub fn connect(&mut self) {
        self.ends[0].connect(self.now);
        self.ends[1].connect(self.now);
        let seen = self.run_until(Duration::from_secs(120), |pair| {
            (0..2).all(|end| pair.events[end].contains(&Event::Connected))
        });
        assert!(seen, "no connection: {:?}", self.ends);
    }

    pub fn send(&mut self, end: usize, stream: u16, data: impl Into<Bytes>, options: SendOptions) {
        self.ends[end].send(self.now, stream, 53, data.into(), options).unwrap();
    }

    pub fn read_all(&mut self, end: usize, stream: u16) -> Vec<Message> {
        std::iter::from_fn(|| self.ends[end].read(self.now, stream)).collect()
    }

    fn drain(&mut self) {
        for end in 0..2 {
            loop {
                self.out.clear();
                if self.ends[end].poll_transmit(self.now, &mut self.out).is_none() {
                    break;
                }
                let range = self.out.finish();
                let bytes = self.out.bytes(range).to_vec();
                assert!(bytes.len().is_multiple_of(4));
                self.largest = self.largest.max(bytes.len());
                self.packets += 1;
                if let Some(filter) = &mut self.filter
                    && !filter(end, &bytes)
                {
                    continue;
                }
                self.put(1 - end, bytes);
            }
            while let Some(event) = self.ends[end].poll_event() {
                self.events[end].push(event);
            }
        }
    }

    fn put(&mut self, to: usize, bytes: Vec<u8>) {
        if self.rng.unit() < self.network.loss {
            return;
        }
        let copies = if self.rng.unit() < self.network.duplicate { 2 } else { 1 };
        for _ in 0..copies {
            let at = self.now + self.network.delay + self.network.jitter.mul_f64(self.rng.unit());
            self.count += 1;
            self.in_flight.insert((at, self.count), (to, bytes.clone()));
        }
    }

    pub fn arrive(&mut self, to: usize, bytes: &[u8]) {
        let (ecn, data) = (Ecn::NotEct, BytesMut::from(bytes));
        self.ends[to].handle_packet(self.now, Packet { ecn, data });
    }

    /// Lets one thing happen; `false` if nothing will happen any more.
    pub fn step(&mut self) -> bool {
        self.drain();
        let arrival = self.in_flight.keys().next().map(|(at, _)| *at);
        let timeout = self.ends.iter().filter_map(Association::poll_timeout).min();
        let Some(next) = arrival.into_iter().chain(timeout).min() else {
            return false;
        };
        assert!(next >= self.now || timeout != Some(next), "a deadline lies in the past");
        self.now = self.now.max(next);
        while let Some(entry) = self.in_flight.first_entry()
            && entry.key().0 <= self.now
        {
            let (to, bytes) = entry.remove();
            self.arrive(to, &bytes);
            if self.in_flight.len().is_multiple_of(3) {
                self.drain();
            }
        }
        for end in 0..2 {
            if self.ends[end].poll_timeout().is_some_and(|at| at <= self.now) {
                self.ends[end].handle_timeout(self.now);
                self.drain();
                let again = self.ends[end].poll_timeout();
                assert!(again.is_none_or(|at| at > self.now), "law 2: a deadline stays due");
            }
        }
        self.drain();
        true
    }

    /// Runs until `done`, or for at most `time`; says whether it was done.
    pub fn run_until(&mut self, time: Duration, mut done: impl FnMut(&mut Self) -> bool) -> bool {
        let end = self.now + time;
        loop {
            self.drain();
            if done(self) {
                return true;
            }
            if self.now >= end || !self.step() {
                return false;
            }
        }
    }

    pub fn run_for(&mut self, time: Duration) {
        self.run_until(time, |_| false);
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
