//! Associations side by side over one simulated bottleneck, on a virtual clock.
#![allow(dead_code, unreachable_pub)]

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antiphon_netsim::{Aqm, HostId, Limit, LinkConfig, Network, SocketId};
use antiphon_sansio::{Datagram, Packet, Rng, TransmitBuf};
use antiphon_sctp::chunk::kind::HEARTBEAT;
use antiphon_sctp::packet::HEADER_LEN;
use antiphon_sctp::{Association, Config, Congestion, Event, SendOptions};
use bytes::Bytes;

/// What the network adds to an SCTP packet here: IPv4 and UDP. A packet has 1200 bytes on the wire in all.
pub const HEADERS: usize = 28;
pub const PACKET: usize = 1200 - HEADERS;
/// What Ethernet carries.
pub const ETHERNET: usize = 1500 - HEADERS;

/// A bottleneck.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    pub bits_per_second: u64,
    pub rtt: Duration,
    pub queue: usize,
    pub loss: f64,
    pub reorder: f64,
    /// By how much what is reordered comes late.
    pub late: Duration,
    /// What waits longer in the queue is marked, if it may be.
    pub mark: Option<Duration>,
    /// The largest IP packet.
    pub mtu: usize,
    /// What goes back is lost and late as what goes there.
    pub both_ways: bool,
}

impl Path {
    /// 100 Mbit/s, 20 ms, 250 kB: the first table of the issue.
    pub fn first(loss: f64) -> Self {
        Self {
            bits_per_second: 100_000_000,
            rtt: Duration::from_millis(20),
            queue: 250_000,
            loss,
            reorder: 0.0,
            late: Duration::ZERO,
            mtu: 1500,
            mark: None,
            both_ways: false,
        }
    }

    /// 20 % lost and 20 % late by up to 10 ms, both ways, on a path of 10 ms.
    pub fn awful(megabits: u64) -> Self {
        Self {
            reorder: 0.2,
            late: Duration::from_millis(10),
            both_ways: true,
            ..Self::with(megabits, 10, 0.2)
        }
    }

    /// A queue of one bandwidth-delay product.
    pub fn with(megabits: u64, rtt_ms: u64, loss: f64) -> Self {
        Self {
            bits_per_second: megabits * 1_000_000,
            rtt: Duration::from_millis(rtt_ms),
            queue: (megabits * 1_000_000 / 8 * rtt_ms / 1000) as usize,
            ..Self::first(loss)
        }
    }

    fn links(&self) -> (LinkConfig, LinkConfig) {
        let mut back = LinkConfig {
            delay: self.rtt / 2,
            ..LinkConfig::default()
        };
        let there = LinkConfig {
            rate: Some(self.bits_per_second.into()),
            queue: Limit::bytes(self.queue),
            loss: self.loss,
            reorder: self.reorder,
            reorder_delay: self.late,
            mtu: self.mtu,
            aqm: self.mark.map_or(Aqm::DropTail, Aqm::Threshold),
            ..back.clone()
        };
        if self.both_ways {
            (back.loss, back.reorder, back.reorder_delay) = (self.loss, self.reorder, self.late);
        }
        (there, back)
    }
}

/// One association from the left host to the right one.
pub struct Flow {
    pub ends: [Association; 2],
    sockets: [SocketId; 2],
    addresses: [SocketAddr; 2],
    /// What the left end keeps sending.
    message: Option<Bytes>,
    pub connected: bool,
    /// User data that the right end has read.
    pub received: u64,
}

pub struct World {
    pub network: Network,
    hosts: [HostId; 2],
    pub flows: Vec<Flow>,
    out: TransmitBuf,
    rate: u64,
    base: Duration,
    /// The largest packet that was sent.
    pub largest: usize,
    /// Round trips above the path's own, once a millisecond or so: what waits in the queue.
    pub queue_delays: Vec<Duration>,
}

impl World {
    pub fn new(seed: u64, path: Path) -> Self {
        let mut network = Network::new(seed);
        let hosts = [network.add_host(), network.add_host()];
        let mut world = Self {
            network,
            hosts,
            flows: Vec::new(),
            out: TransmitBuf::new(64 * ETHERNET, ETHERNET),
            largest: 0,
            rate: path.bits_per_second,
            base: path.rtt,
            queue_delays: Vec::new(),
        };
        world.set_path(path);
        world
    }

    /// Another path from now on. What is on its way arrives.
    pub fn set_path(&mut self, path: Path) {
        let (there, back) = path.links();
        self.network.set_link(self.hosts[0], self.hosts[1], there);
        self.network.set_link(self.hosts[1], self.hosts[0], back);
    }

    pub fn add(&mut self, congestion: Congestion, message: Option<usize>) -> usize {
        self.add_with(
            Config {
                max_packet: PACKET,
                congestion,
                ..Config::default()
            },
            message,
        )
    }

    pub fn add_with(&mut self, config: Config, message: Option<usize>) -> usize {
        self.add_each([config.clone(), config], message)
    }

    /// The left end first.
    pub fn add_each(&mut self, configs: [Config; 2], message: Option<usize>) -> usize {
        let number = self.flows.len();
        let now = self.network.now();
        let rng = Rng::from_u64(number as u64);
        let addresses: [SocketAddr; 2] = [1, 2].map(|host| format!("10.0.0.{host}:{}", 5000 + number).parse().unwrap());
        let bound = [0, 1].map(|end| self.network.bind(self.hosts[end], addresses[end]).unwrap());
        let [left, right] = configs;
        let mut ends =
            [("left", left), ("right", right)].map(|(name, config)| Association::new(config, now, rng.fork(name)));
        ends[0].connect(now);
        self.flows.push(Flow {
            ends,
            sockets: bound,
            addresses,
            message: message.map(|len| vec![7; len].into()),
            connected: false,
            received: 0,
        });
        number
    }

    pub fn now(&self) -> Instant {
        self.network.now()
    }

    fn serve(&mut self, number: usize, end: usize) {
        let now = self.network.now();
        let flow = &mut self.flows[number];
        while let Some(event) = flow.ends[end].poll_event() {
            match event {
                Event::Connected => flow.connected = true,
                Event::Failed(error) => panic!("flow {number}: {error}"),
                _ => {}
            }
        }
        if end == 1 {
            while let Some(message) = flow.ends[1].read(now, 1) {
                flow.received += message.data.len() as u64;
            }
        }
        if end == 0
            && flow.connected
            && let Some(message) = &flow.message
        {
            while flow.ends[0].buffered_total() < 4 * message.len().max(65_536) {
                flow.ends[0]
                    .send(now, 1, 53, message.clone(), SendOptions::default())
                    .unwrap();
            }
        }
        loop {
            self.out.clear();
            let mut any = false;
            while let Some(outgoing) = flow.ends[end].poll_transmit(now, &mut self.out) {
                any = true;
                let range = self.out.finish();
                let bytes = self.out.bytes(range);
                let ecn = outgoing.ecn;
                // As DTLS would pad it.
                let padded = [bytes, &vec![0; outgoing.padding]].concat();
                self.largest = self.largest.max(padded.len());
                self.network
                    .send(flow.sockets[end], flow.addresses[1 - end], ecn, &padded);
            }
            if !any {
                break;
            }
        }
    }

    /// Lets the next thing happen, if it happens before `end`.
    pub fn step(&mut self, end: Instant) -> bool {
        for number in 0..self.flows.len() {
            for side in 0..2 {
                self.serve(number, side);
            }
        }
        let timers = self
            .flows
            .iter()
            .flat_map(|flow| flow.ends.iter().filter_map(Association::poll_timeout));
        let Some(next) = timers
            .chain(self.network.next_event())
            .min()
            .filter(|next| *next <= end)
        else {
            self.network.advance_to(end);
            return false;
        };
        self.network.advance_to(next);
        let now = self.network.now();
        while let Some(delivery) = self.network.receive() {
            let number = self
                .flows
                .iter()
                .position(|flow| flow.sockets.iter().any(|s| s.local() == delivery.datagram.path.local))
                .expect("a socket of ours");
            let flow = &mut self.flows[number];
            let side = usize::from(flow.sockets[1].local() == delivery.datagram.path.local);
            let mut datagram = delivery.datagram;
            // Only a HEARTBEAT is ever padded, and it is alone in its packet.
            if let Some([HEARTBEAT, _, high, low]) = datagram.data.get(HEADER_LEN..HEADER_LEN + 4) {
                let len = usize::from(u16::from_be_bytes([*high, *low]));
                datagram.data.truncate(HEADER_LEN + len);
            }
            let Datagram { ecn, data, .. } = datagram;
            flow.ends[side].handle_packet(now, Packet { ecn, data });
            if self.flows.len() > 1 || side == 1 {
                self.serve(number, side);
            }
        }
        for flow in &mut self.flows {
            for end in &mut flow.ends {
                if end.poll_timeout().is_some_and(|at| at <= now) {
                    end.handle_timeout(now);
                }
            }
        }
        true
    }

    pub fn run_for(&mut self, time: Duration) {
        let end = self.now() + time;
        let mut sampled = self.now();
        while self.step(end) {
            if self.now() >= sampled {
                sampled = self.now() + Duration::from_millis(5);
                if let Some(rtt) = self.flows[0].ends[0].stats().latest_rtt {
                    self.queue_delays.push(rtt.saturating_sub(self.base));
                }
            }
        }
    }

    pub fn connect(&mut self) {
        let end = self.now() + Duration::from_secs(60);
        while !self.flows.iter().all(|flow| flow.connected) {
            assert!(self.step(end), "no connection");
        }
    }

    /// The delay in the queue that `part` of the samples do not exceed.
    pub fn queue_delay(&mut self, part: f64) -> Duration {
        self.queue_delays.sort_unstable();
        let at = (self.queue_delays.len() as f64 * part) as usize;
        self.queue_delays.get(at).copied().unwrap_or_default()
    }
}

/// Goodput of user data in Mbit/s over `seconds` after the handshake, and the queue's median and 95th percentile.
pub fn alone(seed: u64, path: Path, congestion: Congestion, seconds: u64) -> (f64, Duration, Duration) {
    let mut world = World::new(seed, path);
    world.add(congestion, Some(16_384));
    world.connect();
    world.run_for(Duration::from_secs(seconds));
    if std::env::var_os("THROUGHPUT_DEBUG").is_some() {
        eprintln!("{:?}\n{:?}", world.flows[0].ends[0].stats(), world.flows[0].ends[0]);
    }
    assert_eq!(world.largest, PACKET, "1200 bytes on the wire");
    let goodput = world.flows[0].received as f64 * 8.0 / seconds as f64 / 1e6;
    (goodput, world.queue_delay(0.5), world.queue_delay(0.95))
}

/// Mbit/s of each of two flows beside one another.
pub fn beside(seed: u64, path: Path, pair: [Congestion; 2], seconds: u64) -> [f64; 2] {
    let mut world = World::new(seed, path);
    for congestion in pair {
        world.add(congestion, Some(16_384));
    }
    world.connect();
    world.run_for(Duration::from_secs(seconds));
    [0, 1].map(|flow| world.flows[flow].received as f64 * 8.0 / seconds as f64 / 1e6)
}
