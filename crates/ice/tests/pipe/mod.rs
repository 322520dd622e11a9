//! Two agents, a network between them, and a clock that a test moves.
#![allow(dead_code, unreachable_pub)]

#[path = "../checked/mod.rs"]
mod checked;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_ice::{Candidate, Config, ConnectionState, Deframer, Event, Framing, IoEvent, IoRequest, Role};
use antiphon_netsim::{Checked, Machine};
use antiphon_sansio::{BytesMut, Datagram, Ecn, Local, Path, Rng, TransmitBuf};
use checked::AgentMachine;

pub const MS: Duration = Duration::from_millis(1);

/// One agent with its sockets. Socket numbers and addresses are the same thing here.
pub struct Peer {
    pub agent: Checked<AgentMachine>,
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
    /// Names that the agent published.
    pub published: Vec<(String, IpAddr)>,
    pub withdrawn: Vec<String>,
    /// UDP ports that are taken.
    pub taken: fn(u16) -> bool,
    pub listeners: Vec<(u32, SocketAddr)>,
    pub connections: Vec<Connection>,
    connects: Vec<Syn>,
}

/// One end of a TCP connection.
pub struct Connection {
    pub local: Local,
    pub addr: SocketAddr,
    pub remote: SocketAddr,
    pub open: bool,
    other: Local,
    deframer: Deframer,
}

/// A connection being opened.
struct Syn {
    request: u32,
    from: SocketAddr,
    to: SocketAddr,
}

impl Peer {
    pub fn new(config: Config, seed: u64, interfaces: &[&str]) -> Self {
        Self {
            agent: checked::agent(config, Rng::from_u64(seed)),
            interfaces: interfaces.iter().map(|ip| ip.parse().unwrap()).collect(),
            sockets: Vec::new(),
            mapped: Vec::new(),
            events: Vec::new(),
            trickle: Vec::new(),
            received: Vec::new(),
            sent: 0,
            names: Vec::new(),
            closed: Vec::new(),
            published: Vec::new(),
            withdrawn: Vec::new(),
            taken: |_| false,
            listeners: Vec::new(),
            connections: Vec::new(),
            connects: Vec::new(),
        }
    }

    fn serve_io(&mut self, now: Instant) {
        while let Some(request) = self.agent.poll_io() {
            match request {
                IoRequest::ListInterfaces { .. } => {
                    self.agent.handle_io(now, IoEvent::Interfaces(self.interfaces.clone()));
                }
                IoRequest::BindUdp { request, addr, .. } => {
                    if (self.taken)(addr.port()) {
                        let reason = "the port is taken".to_owned();
                        self.agent.handle_io(now, IoEvent::Failed { request, reason });
                        continue;
                    }
                    let n = self.sockets.len() as u32;
                    let port = if addr.port() == 0 { 5000 + n as u16 } else { addr.port() };
                    let addr = SocketAddr::new(addr.ip(), port);
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
                IoRequest::ListenTcp { request, addr } => {
                    let addr = SocketAddr::new(addr.ip(), 7000 + self.listeners.len() as u16);
                    self.listeners.push((request, addr));
                    self.agent.handle_io(now, IoEvent::TcpListening { request, addr });
                }
                IoRequest::CloseListener { request } => self.listeners.retain(|(known, _)| *known != request),
                IoRequest::ConnectTcp {
                    request,
                    from,
                    from_port,
                    to,
                    framing,
                    tls,
                } => {
                    assert_eq!((framing, tls), (Framing::Rfc4571, None));
                    let port = if from_port == 0 {
                        30_000 + request as u16
                    } else {
                        from_port
                    };
                    let from = SocketAddr::new(from, port);
                    self.connects.push(Syn { request, from, to });
                }
                IoRequest::PublishMdns { request, name, addr } => {
                    self.published.push((name, addr));
                    self.agent.handle_io(now, IoEvent::MdnsPublished { request });
                }
                IoRequest::WithdrawMdns { name } => self.withdrawn.push(name),
                IoRequest::Close(local) => {
                    if let Some(connection) = self.connections.iter_mut().find(|c| c.local == local) {
                        connection.open = false;
                    }
                    self.closed.push(local);
                }
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
        if let Some(connection) = self.connections.iter().find(|connection| connection.local == local) {
            return connection.addr;
        }
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
    /// The connection, if it is one's bytes.
    tcp: Option<Local>,
    data: Vec<u8>,
}

/// A connection on its way to being one.
struct Handshake {
    at: Instant,
    from: usize,
    syn: Syn,
    /// What the other end said: its own end of the connection, or that it refuses.
    answer: Option<Result<Local, ()>>,
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
    handshakes: Vec<Handshake>,
    connections: u32,
    /// Signals candidates as they come.
    pub trickle: bool,
}

impl Net {
    pub fn new(seed: u64, a: Config, b: Config) -> Self {
        let now = antiphon_netsim::start();
        Self {
            start: now,
            now,
            peers: [
                Peer::new(a, 2 * seed + 1, &["10.0.0.1"]),
                Peer::new(b, 2 * seed + 2, &["10.0.0.2"]),
            ],
            delay: 10 * MS,
            loss: 0,
            rng: Rng::from_u64(seed).fork("net"),
            cut: false,
            filter: |_, _| true,
            flights: Vec::new(),
            handshakes: Vec::new(),
            connections: 0,
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
                for syn in std::mem::take(&mut self.peers[index].connects) {
                    self.handshakes.push(Handshake {
                        at: now + self.delay,
                        from: index,
                        syn,
                        answer: None,
                    });
                }
                busy |= self.transmit(index);
            }
            if !busy {
                for peer in &mut self.peers {
                    peer.agent.drained();
                }
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
        if let Local::Tcp(_) = path.local {
            self.send_tcp(index, path, data);
            return;
        }
        if !self.peers[index].sockets.iter().any(|(local, _)| *local == path.local) {
            return;
        }
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
            tcp: None,
            data,
        });
    }

    /// TCP loses nothing; where nothing passes the bytes wait, here for ever.
    fn send_tcp(&mut self, index: usize, path: Path, data: Vec<u8>) {
        let connection = self.peers[index]
            .connections
            .iter()
            .find(|c| c.local == path.local)
            .expect("a connection of ours");
        assert_eq!(connection.remote, path.remote);
        if self.cut || !connection.open || !(self.filter)(connection.addr, connection.remote) {
            return;
        }
        self.flights.push(Flight {
            at: self.now + self.delay,
            to: 1 - index,
            from: connection.addr,
            target: connection.remote,
            tcp: Some(connection.other),
            data,
        });
    }

    /// The other end, or the interface, is gone: tells one agent.
    pub fn break_connection(&mut self, index: usize, local: Local) {
        for peer in &mut self.peers {
            for connection in &mut peer.connections {
                if connection.local == local || connection.other == local {
                    connection.open = false;
                }
            }
        }
        let now = self.now;
        self.peers[index].agent.handle_io(now, IoEvent::Closed { local });
        self.settle();
    }

    /// Interfaces came or went; sockets on those that went are dead.
    pub fn set_interfaces(&mut self, index: usize, interfaces: &[&str]) {
        let peer = &mut self.peers[index];
        peer.interfaces = interfaces.iter().map(|ip| ip.parse().unwrap()).collect();
        let listed = peer.interfaces.clone();
        peer.sockets.retain(|(_, addr)| listed.contains(&addr.ip()));
        for connection in &mut peer.connections {
            connection.open &= listed.contains(&connection.addr.ip());
        }
        peer.agent.handle_io(self.now, IoEvent::Interfaces(listed));
        self.settle();
    }

    fn shake_hands(&mut self, now: Instant) {
        let due: Vec<Handshake> = {
            let (due, later) = std::mem::take(&mut self.handshakes)
                .into_iter()
                .partition(|h| h.at <= now);
            self.handshakes = later;
            due
        };
        for mut handshake in due {
            let (from, to) = (handshake.from, 1 - handshake.from);
            let (ours, theirs) = (handshake.syn.from, handshake.syn.to);
            match handshake.answer {
                None if self.cut || !(self.filter)(ours, theirs) => {}
                None => {
                    let taken = self.peers[from]
                        .connections
                        .iter()
                        .any(|c| c.addr == ours && c.remote == theirs);
                    let listener = self.peers[to]
                        .listeners
                        .iter()
                        .find(|(_, addr)| *addr == theirs)
                        .copied();
                    handshake.answer = Some(match listener {
                        Some((request, addr)) if !taken => {
                            let numbers = [self.connections, self.connections + 1].map(Local::Tcp);
                            self.connections += 2;
                            for (peer, local, other, addr, remote) in [
                                (from, numbers[0], numbers[1], ours, theirs),
                                (to, numbers[1], numbers[0], theirs, ours),
                            ] {
                                self.peers[peer].connections.push(Connection {
                                    local,
                                    addr,
                                    remote,
                                    open: true,
                                    other,
                                    deframer: Deframer::default(),
                                });
                            }
                            let (local, remote) = (numbers[1], ours);
                            self.peers[to].agent.handle_io(
                                now,
                                IoEvent::TcpAccepted {
                                    request,
                                    local,
                                    addr,
                                    remote,
                                },
                            );
                            Ok(numbers[0])
                        }
                        _ => Err(()),
                    });
                    handshake.at = now + self.delay;
                    self.handshakes.push(handshake);
                }
                Some(answer) => {
                    let request = handshake.syn.request;
                    let event = match answer {
                        Ok(local) => IoEvent::TcpConnected {
                            request,
                            local,
                            addr: ours,
                        },
                        Err(()) => IoEvent::Failed {
                            request,
                            reason: "refused".into(),
                        },
                    };
                    self.peers[from].agent.handle_io(now, event);
                }
            }
        }
    }

    pub fn deliver(&mut self, to: usize, local: Local, from: SocketAddr, data: &[u8]) {
        let path = Path { local, remote: from };
        let datagram = Datagram {
            path,
            ecn: Ecn::NotEct,
            data: BytesMut::from(data),
        };
        let peer = &mut self.peers[to];
        peer.agent.handle_datagram(self.now, datagram);
        let received = peer.agent.received.drain(..);
        peer.received
            .extend(received.map(|datagram| (datagram.path, datagram.data.to_vec())));
    }

    /// Moves to the next thing that happens, at most to `limit`. Checks law 2 on the way.
    pub fn step(&mut self, limit: Instant) {
        let timeouts = self.peers.iter().filter_map(|peer| peer.agent.poll_timeout());
        let next = timeouts
            .chain(self.flights.iter().map(|flight| flight.at))
            .chain(self.handshakes.iter().map(|handshake| handshake.at))
            .min();
        self.now = next.map_or(limit, |at| at.min(limit)).max(self.now);
        let now = self.now;
        let mut due = Vec::new();
        self.flights.retain_mut(|flight| {
            let is_due = flight.at <= now;
            if is_due {
                let data = std::mem::take(&mut flight.data);
                due.push((flight.to, flight.from, flight.target, flight.tcp, data));
            }
            !is_due
        });
        self.shake_hands(now);
        for (to, from, target, tcp, data) in due {
            if let Some(local) = tcp {
                let mut connections = self.peers[to].connections.iter_mut();
                let connection = connections.find(|c| c.local == local && c.open);
                let Some(connection) = connection else { continue };
                assert!(connection.deframer.push(&data));
                let mut messages = Vec::new();
                while let Some(message) = connection.deframer.next_message() {
                    messages.push(message);
                }
                for message in messages {
                    self.deliver(to, local, from, &message);
                }
            } else if let Some(local) = self.peers[to].socket_at(target) {
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
        let mut out = TransmitBuf::new(2048, 1200);
        let (front, back) = self.peers[from].agent.path_room(&path);
        out.set_path_room(front, back);
        assert!(out.begin(0, 0));
        out.put_slice(b"\x80data");
        let path = self.peers[from].agent.wrap(self.now, path, &mut out);
        let range = out.finish();
        self.send(from, path, out.bytes(range).to_vec());
        self.run_for(self.delay + MS);
        let (path, data) = self.peers[1 - from].received.pop().expect("the data arrived");
        assert_eq!(data, b"\x80data");
        assert!(self.peers[1 - from].agent.is_authenticated(&path));
    }
}
