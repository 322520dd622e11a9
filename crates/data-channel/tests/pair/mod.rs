//! Two sets of channels over a virtual network.
#![allow(dead_code, unreachable_pub)]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use antiphon_data_channel::{ChannelId, ChannelInit, Config, DataChannels, Event, Message, Start};
use antiphon_sansio::{self as sansio, BytesMut, Ecn, Rng, TransmitBuf};
use antiphon_sctp::chunk::{Chunk, Reset};
use antiphon_sctp::packet::Packet;

pub struct Pair {
    pub now: Instant,
    pub ends: [DataChannels; 2],
    pub events: [Vec<Event>; 2],
    pub loss: f64,
    /// Who asked for the reset of which streams, in order of arrival.
    pub resets: Vec<(usize, Vec<u16>)>,
    rng: Rng,
    wire: VecDeque<(Instant, usize, Vec<u8>)>,
    out: TransmitBuf,
}

pub fn start(dtls_client: bool, remote_max_message_size: usize) -> Start {
    Start {
        dtls_client,
        remote_max_message_size,
        remote_port: 5000,
    }
}

pub fn packet(bytes: &[u8]) -> sansio::Packet {
    let (ecn, data) = (Ecn::NotEct, BytesMut::from(bytes));
    sansio::Packet { ecn, data }
}

const DELAY: Duration = Duration::from_millis(5);

impl Pair {
    pub fn new(seed: u64, config: Config) -> Self {
        #[allow(clippy::disallowed_methods)]
        let now = Instant::now();
        let rng = Rng::from_u64(seed);
        Self {
            now,
            ends: ["a", "b"].map(|label| DataChannels::new(config.clone(), now, rng.fork(label))),
            events: [Vec::new(), Vec::new()],
            loss: 0.0,
            resets: Vec::new(),
            rng: rng.fork("network"),
            wire: VecDeque::new(),
            out: TransmitBuf::new(2000, 1500),
        }
    }

    pub fn connected(seed: u64) -> Self {
        let mut pair = Self::new(seed, Config::default());
        pair.start();
        pair.run(Duration::from_secs(1));
        assert!(pair.events.iter().all(|events| events.contains(&Event::Connected)));
        pair
    }

    pub fn start(&mut self) {
        self.ends[0].start(self.now, start(true, 262_144));
        self.ends[1].start(self.now, start(false, 262_144));
    }

    pub fn drain(&mut self) {
        for end in 0..2 {
            loop {
                self.out.clear();
                if self.ends[end].poll_transmit(self.now, &mut self.out).is_none() {
                    break;
                }
                let range = self.out.finish();
                if self.rng.unit() >= self.loss {
                    let bytes = self.out.bytes(range).to_vec();
                    self.wire.push_back((self.now + DELAY, 1 - end, bytes));
                }
            }
            self.events[end].extend(std::iter::from_fn(|| self.ends[end].poll_event()));
        }
    }

    /// Runs for `time`, or until nothing is left to happen.
    pub fn run(&mut self, time: Duration) {
        let end = self.now + time;
        loop {
            self.drain();
            let arrival = self.wire.front().map(|(at, ..)| *at);
            let timeout = self.ends.iter().filter_map(DataChannels::poll_timeout).min();
            let Some(next) = arrival.into_iter().chain(timeout).min().filter(|at| *at <= end) else {
                self.now = end;
                return;
            };
            self.now = self.now.max(next);
            while self.wire.front().is_some_and(|(at, ..)| *at <= self.now) {
                let (_, to, bytes) = self.wire.pop_front().unwrap();
                self.note_resets(1 - to, &bytes);
                self.ends[to].handle_packet(self.now, packet(&bytes));
            }
            self.ends.iter_mut().for_each(|end| end.handle_timeout(self.now));
        }
    }

    fn note_resets(&mut self, from: usize, packet: &[u8]) {
        for chunk in Packet::parse(packet).unwrap().chunks() {
            let Ok(Chunk::ReConfig(re_config)) = chunk else {
                continue;
            };
            for reset in re_config.resets() {
                if let Ok(Reset::Outgoing { streams, .. }) = reset {
                    self.resets.push((from, streams.iter().collect()));
                }
            }
        }
    }

    pub fn open(&mut self, end: usize, init: ChannelInit) -> ChannelId {
        self.ends[end].open(self.now, init).unwrap()
    }

    pub fn send(&mut self, end: usize, id: ChannelId, message: Message) {
        self.ends[end].send(self.now, id, message).unwrap();
    }

    pub fn incoming(&self, end: usize) -> Vec<ChannelId> {
        let ids = self.events[end].iter().filter_map(|event| match event {
            Event::Incoming(id) => Some(*id),
            _ => None,
        });
        ids.collect()
    }

    pub fn clear(&mut self) {
        self.events.iter_mut().for_each(Vec::clear);
    }
}
