//! Two agents, a network between them, and a clock that a test moves.
#![allow(dead_code, clippy::disallowed_methods, unreachable_pub)]

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_ice::{Agent, Candidate, Config, ConnectionState, Event, IoEvent, IoRequest, Role};
use antiphon_sansio::{BytesMut, Datagram, Ecn, Local, Path, Rng, TransmitBuf};

pub const MS: Duration = Duration::from_millis(1);

/// One agent with its sockets. Socket numbers and addresses are the same thing here.
pub struct Peer {
    pub agent: Agent,
    pub interfaces: Vec<IpAddr>,
    pub sockets: Vec<(Local, SocketAddr)>,
    /// What the network calls a socket; differs from its own address behind a NAT.
    pub mapped: Vec<(SocketAddr, SocketAddr)>,
    pub events: Vec<Event>,
    /// Local candidates not yet signalled.
    pub trickle: Vec<Candidate>,
    pub received: Vec<(Path, Vec<u8>)>,
    pub sent: usize,
    /// `.local` names that resolve.
    pub names: Vec<(String, IpAddr)>,
    pub closed: Vec<Local>,
}

impl Peer {
    pub fn new(config: Config, seed: u64, now: Instant, interfaces: &[&str]) -> Self {
        Self {
            agent: Agent::new(config, now, Rng::from_u64(seed)),
            interfaces: interfaces.iter().map(|ip| ip.parse().unwrap()).collect(),
            sockets: Vec::new(),
            mapped: Vec::new(),
            events: Vec::new(),
            trickle: Vec::new(),
            received: Vec::new(),
            sent: 0,
            names: Vec::new(),
            closed: Vec::new(),
        }
    }

    fn serve_io(&mut self, now: Instant) {
        while let Some(request) = self.agent.poll_io() {
            match request {
                IoRequest::ListInterfaces { .. } => {
                    self.agent.handle_io(now, IoEvent::Interfaces(self.interfaces.clone()));
                }
                IoRequest::BindUdp { request, addr, .. } => {
                    let n = self.sockets.len() as u32;
                    let addr = SocketAddr::new(addr.ip(), 5000 + n as u16);
                    let local = Local::Socket(n);
                    self.sockets.push((local, addr));
                    self.agent.handle_io(now, IoEvent::UdpBound { request, local, addr });
                }
                IoRequest::ResolveMdns { request, name } => {
                    let addrs = self
                        .names
                        .iter()
                        .filter(|(n, _)| *n == name)
                        .map(|(_, ip)| *ip)
                        .collect();
                    self.agent.handle_io(now, IoEvent::Resolved { request, addrs });
                }
                IoRequest::Resolve { request, .. } => {
                    let reason = "no resolver here".to_owned();
                    self.agent.handle_io(now, IoEvent::Failed { request, reason });
                }
                IoRequest::Close(local) => self.closed.push(local),
                _ => unreachable!("a request that this network does not know"),
            }
        }
    }

    fn collect_events(&mut self) {
        while let Some(event) = self.agent.poll_event() {
            if let Event::LocalCandidate(candidate) = &event {
                self.trickle.push(candidate.clone());
            }
            self.events.push(event);
        }
    }

    pub fn states(&self) -> Vec<ConnectionState> {
        self.events
            .iter()
            .filter_map(|event| match event {
                Event::State(state) => Some(*state),
                _ => None,
            })
            .collect()
    }

    pub fn addr_of(&self, local: Local) -> SocketAddr {
        let own = self.sockets.iter().find(|(l, _)| *l == local).unwrap().1;
        self.mapped
            .iter()
            .find(|(inner, _)| *inner == own)
            .map_or(own, |(_, outer)| *outer)
    }

    fn socket_at(&self, addr: SocketAddr) -> Option<Local> {
        let own = self
            .mapped
            .iter()
            .find(|(_, outer)| *outer == addr)
            .map_or(addr, |(inner, _)| *inner);
        self.sockets.iter().find(|(_, a)| *a == own).map(|(l, _)| *l)
    }

    pub fn credentials(&self) -> antiphon_ice::Credentials {
        self.agent.local_credentials().clone()
    }
}

/// A datagram on its way.
struct Flight {
    at: Instant,
    to: usize,
    from: SocketAddr,
    target: SocketAddr,
    data: Vec<u8>,
}

pub struct Net {
    pub start: Instant,
    pub now: Instant,
    pub peers: [Peer; 2],
    pub delay: Duration,
    /// In thousandths.
    pub loss: u32,
    pub rng: Rng,
    /// Nothing passes.
    pub cut: bool,
    /// Whether a datagram from and to these addresses passes.
    pub filter: fn(SocketAddr, SocketAddr) -> bool,
    flights: Vec<Flight>,
    /// Signals candidates as they come.
    pub trickle: bool,
}

impl Net {
    pub fn new(seed: u64, a: Config, b: Config) -> Self {
        let now = Instant::now();
        Self {
            start: now,
            now,
            peers: [
                Peer::new(a, 2 * seed + 1, now, &["10.0.0.1"]),
                Peer::new(b, 2 * seed + 2, now, &["10.0.0.2"]),
            ],
            delay: 10 * MS,
            loss: 0,
            rng: Rng::from_u64(seed).fork("net"),
            cut: false,
            filter: |_, _| true,
            flights: Vec::new(),
            trickle: true,
        }
    }

    pub fn pair(seed: u64) -> Self {
        let controlling = Config {
            role: Role::Controlling,
            ..Config::default()
        };
        Self::new(seed, controlling, Config::default())
    }

    pub fn exchange_credentials(&mut self) {
        let (a, b) = (self.peers[0].credentials(), self.peers[1].credentials());
        self.peers[0].agent.set_remote_credentials(self.now, b);
        self.peers[1].agent.set_remote_credentials(self.now, a);
    }

    pub fn start(&mut self) {
        for peer in &mut self.peers {
            peer.agent.gather(self.now);
        }
        self.settle();
        self.exchange_credentials();
        self.settle();
    }

    /// Drains every output at this instant.
    pub fn settle(&mut self) {
        for _ in 0..64 {
            let mut busy = false;
            for index in 0..2 {
                let now = self.now;
                self.peers[index].serve_io(now);
                self.peers[index].collect_events();
                if self.trickle && self.peers[1 - index].agent.remote_credentials().is_some() {
                    for candidate in std::mem::take(&mut self.peers[index].trickle) {
                        let text = candidate.to_string();
                        self.peers[1 - index]
                            .agent
                            .add_remote_candidate(now, text.parse().unwrap());
                        busy = true;
                    }
                }
                busy |= self.transmit(index);
            }
            if !busy {
                return;
            }
        }
        panic!("the agents never come to rest");
    }

    fn transmit(&mut self, index: usize) -> bool {
        let mut out = TransmitBuf::new(16 * 1024, 1200);
        let mut busy = false;
        while let Some(transmit) = self.peers[index].agent.poll_transmit(self.now, &mut out) {
            busy = true;
            let data = out.bytes(transmit.range.clone()).to_vec();
            self.send(index, transmit.path, data);
            out.clear();
        }
        busy
    }

    pub fn send(&mut self, index: usize, path: Path, data: Vec<u8>) {
        self.peers[index].sent += 1;
        let from = self.peers[index].addr_of(path.local);
        let lost = self.rng.below(1000) < self.loss;
        if self.cut || lost || !(self.filter)(from, path.remote) {
            return;
        }
        self.flights.push(Flight {
            at: self.now + self.delay,
            to: 1 - index,
            from,
            target: path.remote,
            data,
        });
    }

    pub fn deliver(&mut self, to: usize, local: Local, from: SocketAddr, data: &[u8]) {
        let path = Path { local, remote: from };
        let datagram = Datagram {
            path,
            ecn: Ecn::NotEct,
            data: BytesMut::from(data),
        };
        if let Some(datagram) = self.peers[to].agent.handle_datagram(self.now, datagram) {
            self.peers[to].received.push((datagram.path, datagram.data.to_vec()));
        }
    }

    /// Moves to the next thing that happens, at most to `limit`. Checks law 2 on the way.
    pub fn step(&mut self, limit: Instant) {
        let timeouts = self.peers.iter().filter_map(|peer| peer.agent.poll_timeout());
        let next = timeouts.chain(self.flights.iter().map(|flight| flight.at)).min();
        self.now = next.map_or(limit, |at| at.min(limit)).max(self.now);
        let now = self.now;
        let mut due = Vec::new();
        self.flights.retain_mut(|flight| {
            let is_due = flight.at <= now;
            if is_due {
                due.push((flight.to, flight.from, flight.target, std::mem::take(&mut flight.data)));
            }
            !is_due
        });
        for (to, from, target, data) in due {
            if let Some(local) = self.peers[to].socket_at(target) {
                self.deliver(to, local, from, &data);
            }
        }
        for index in 0..2 {
            if self.peers[index].agent.poll_timeout().is_some_and(|at| at <= now) {
                self.peers[index].agent.handle_timeout(now);
            }
        }
        self.settle();
        for peer in &self.peers {
            let timeout = peer.agent.poll_timeout();
            assert!(timeout.is_none_or(|at| at > now), "law 2: a time-out that has passed");
        }
    }

    pub fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        let mut steps = 0;
        while self.now < end {
            self.step(end);
            steps += 1;
            assert!(steps < 200_000, "a hot loop");
        }
    }

    /// Runs until both ends have nominated the same pair; the time that it took.
    pub fn connect(&mut self, limit: Duration) -> Duration {
        let end = self.now + limit;
        while !self.is_connected() {
            assert!(
                self.now < end,
                "no connection: {:?} {:?}",
                self.peers[0].states(),
                self.peers[1].states()
            );
            self.step(end);
        }
        self.now - self.start
    }

    pub fn is_connected(&self) -> bool {
        let [a, b] = &self.peers;
        let (Some(from_a), Some(from_b)) = (a.agent.selected_path(), b.agent.selected_path()) else {
            return false;
        };
        let current = |peer: &Peer| peer.agent.stats().pairs.iter().any(|pair| pair.selected);
        current(a) && current(b) && a.addr_of(from_a.local) == from_b.remote && b.addr_of(from_b.local) == from_a.remote
    }

    /// Sends application data from one end and asserts that it arrives, from an authenticated path.
    pub fn assert_data(&mut self, from: usize) {
        let path = self.peers[from].agent.send_path().expect("a path to send on");
        self.peers[1 - from].received.clear();
        self.send(from, path, b"\x80data".to_vec());
        self.run_for(self.delay + MS);
        let (path, data) = self.peers[1 - from].received.pop().expect("the data arrived");
        assert_eq!(data, b"\x80data");
        assert!(self.peers[1 - from].agent.is_authenticated(&path));
    }
}
