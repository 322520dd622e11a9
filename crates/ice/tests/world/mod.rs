//! Whole agents, and a STUN and TURN server of ours, on the simulated network: sockets, connections, NATs.
#![allow(dead_code, unreachable_pub)]

use std::collections::{BTreeMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_ice::{
    Agent, Candidate, CandidateKind, Config, ConnectionState, Deframer, Event, Framing, GatheringState, IceServer,
    IoEvent, IoRequest, Role,
};
use antiphon_netsim::{HostId, LinkConfig, Machine, Network, NodeId, PeerId, Simulation, SocketId, TcpEvent, nat64};
use antiphon_sansio::{BytesMut, Datagram, Ecn, Local, Path, Rng, Transmit, TransmitBuf};
use antiphon_stun::{Class, Message, MessageBuilder, Method};
use antiphon_turn::{Server, ServerAnswer, ServerConfig, ServerRequest, StreamFramer};

/// UDP and TCP on 3478, TLS (a plain connection here: bytes are bytes) on 443.
pub const SERVER: &str = "20.0.0.1";

/// What takes a stream apart.
enum Splitter {
    Rfc4571(Deframer),
    Turn(StreamFramer),
}

impl Splitter {
    fn new(framing: Framing) -> Self {
        match framing {
            Framing::Turn => Self::Turn(StreamFramer::default()),
            _ => Self::Rfc4571(Deframer::default()),
        }
    }

    fn messages(&mut self, bytes: &[u8]) -> Vec<BytesMut> {
        match self {
            Self::Rfc4571(deframer) => {
                assert!(deframer.push(bytes));
                std::iter::from_fn(|| deframer.next_message()).collect()
            }
            Self::Turn(framer) => {
                assert!(framer.push(bytes));
                std::iter::from_fn(|| framer.next_message()).collect()
            }
        }
    }
}

fn datagram(local: Local, remote: SocketAddr, data: BytesMut) -> Datagram {
    Datagram {
        path: Path { local, remote },
        ecn: Ecn::NotEct,
        data,
    }
}

/// An agent on its host.
pub struct AgentHost {
    pub agent: Agent,
    pub interfaces: Vec<IpAddr>,
    /// What the resolver of this host's network answers for every name.
    pub resolved: Vec<IpAddr>,
    /// Application datagrams that came.
    pub received: Vec<Vec<u8>>,
    listeners: Vec<(u32, SocketAddr)>,
    connecting: BTreeMap<Local, (u32, SocketAddr, Framing)>,
    streams: BTreeMap<Local, Splitter>,
    outbox: VecDeque<(Path, Vec<u8>)>,
}

/// The server on its host.
pub struct ServerHost {
    pub server: Server,
    streams: BTreeMap<Local, (SocketAddr, StreamFramer)>,
}

/// A machine that is not the peer but sits at an address that the peer has too. It answers every Binding request, as
/// any STUN server would: with success, and without the key that only the peer knows.
#[derive(Default)]
pub struct Impostor {
    pub heard: Vec<Vec<u8>>,
    answers: VecDeque<(Path, Vec<u8>)>,
}

impl Impostor {
    fn take(&mut self, datagram: &Datagram) {
        self.heard.push(datagram.data.to_vec());
        let Ok(request) = Message::parse(&datagram.data) else {
            return;
        };
        if request.class() != Class::Request {
            return;
        }
        let mut buffer = [0; 100];
        let mut builder = MessageBuilder::new(&mut buffer, Class::Success, Method::BINDING, request.transaction_id());
        builder.xor_mapped_address(datagram.path.remote).fingerprint();
        let len = builder.finish().unwrap();
        self.answers.push_back((datagram.path, buffer[..len].to_vec()));
    }
}

/// Whatever a host runs.
pub enum HostMachine {
    Agent(Box<AgentHost>),
    Server(Box<ServerHost>),
    Impostor(Impostor),
}

/// One datagram of a queue.
fn send_next(queue: &mut VecDeque<(Path, Vec<u8>)>, out: &mut TransmitBuf) -> Option<Transmit> {
    let (path, data) = queue.pop_front()?;
    out.set_path_room(0, 0);
    assert!(out.begin(0, 0));
    out.put_slice(&data);
    Some(Transmit {
        path,
        range: out.finish(),
        segment_size: None,
        ecn: Ecn::NotEct,
    })
}

impl AgentHost {
    fn take(&mut self, now: Instant, datagram: Datagram) {
        if let Some(datagram) = self.agent.handle_datagram(now, datagram) {
            self.received.push(datagram.data.to_vec());
        }
    }

    fn serve(&mut self, now: Instant, network: &mut Network, host: HostId) {
        while let Some(request) = self.agent.poll_io() {
            let answer = match request {
                IoRequest::ListInterfaces { .. } => IoEvent::Interfaces(self.interfaces.clone()),
                IoRequest::BindUdp { request, addr, .. } => match network.bind(host, addr) {
                    Some(socket) => {
                        let addr = network.address(socket);
                        IoEvent::UdpBound {
                            request,
                            local: socket.local(),
                            addr,
                        }
                    }
                    None => IoEvent::Failed {
                        request,
                        reason: "taken".into(),
                    },
                },
                IoRequest::ListenTcp { request, addr } => match network.listen_tcp(host, addr) {
                    Some(addr) => {
                        self.listeners.push((request, addr));
                        IoEvent::TcpListening { request, addr }
                    }
                    None => IoEvent::Failed {
                        request,
                        reason: "taken".into(),
                    },
                },
                IoRequest::CloseListener { request } => {
                    self.listeners.retain(|(known, addr)| {
                        if *known == request {
                            network.close_listener(host, *addr);
                        }
                        *known != request
                    });
                    continue;
                }
                IoRequest::ConnectTcp {
                    request,
                    from,
                    from_port,
                    to,
                    framing,
                    ..
                } => {
                    let (local, addr) = network.connect_tcp(host, SocketAddr::new(from, from_port), to);
                    self.connecting.insert(local, (request, addr, framing));
                    continue;
                }
                IoRequest::Close(Local::Socket(id)) => {
                    network.close(SocketId(id));
                    continue;
                }
                IoRequest::Close(local) => {
                    network.close_tcp(local);
                    self.connecting.remove(&local);
                    self.streams.remove(&local);
                    continue;
                }
                IoRequest::Resolve { request, .. } => IoEvent::Resolved {
                    request,
                    addrs: self.resolved.clone(),
                },
                other => match other.awaits() {
                    Some(request) => IoEvent::Failed {
                        request,
                        reason: "not in this network".into(),
                    },
                    None => continue,
                },
            };
            self.agent.handle_io(now, answer);
        }
    }

    fn handle_tcp(&mut self, now: Instant, event: TcpEvent) {
        let told = match event {
            TcpEvent::Connected { connection: local } => {
                let Some((request, addr, framing)) = self.connecting.remove(&local) else {
                    return;
                };
                self.streams.insert(local, Splitter::new(framing));
                IoEvent::TcpConnected { request, local, addr }
            }
            TcpEvent::Refused { connection } => {
                let Some((request, ..)) = self.connecting.remove(&connection) else {
                    return;
                };
                IoEvent::Failed {
                    request,
                    reason: "connection refused".into(),
                }
            }
            TcpEvent::Accepted {
                connection: local,
                addr,
                remote,
            } => {
                let Some((request, _)) = self.listeners.iter().find(|(_, listener)| *listener == addr) else {
                    return;
                };
                self.streams.insert(local, Splitter::new(Framing::Rfc4571));
                IoEvent::TcpAccepted {
                    request: *request,
                    local,
                    addr,
                    remote,
                }
            }
            TcpEvent::Data {
                connection,
                remote,
                bytes,
            } => {
                let Some(stream) = self.streams.get_mut(&connection) else {
                    return;
                };
                for message in stream.messages(&bytes) {
                    self.take(now, datagram(connection, remote, message));
                }
                return;
            }
            TcpEvent::Closed { connection } => {
                self.streams.remove(&connection);
                IoEvent::Closed { local: connection }
            }
        };
        self.agent.handle_io(now, told);
    }
}

impl ServerHost {
    fn serve(&mut self, now: Instant, network: &mut Network, host: HostId) {
        while let Some(request) = self.server.poll_io() {
            match request {
                ServerRequest::BindRelay { request, ip, .. } => {
                    let answer = match network.bind(host, SocketAddr::new(ip, 0)) {
                        Some(socket) => ServerAnswer::Bound {
                            request,
                            local: socket.local(),
                            addr: network.address(socket),
                        },
                        None => ServerAnswer::Failed { request },
                    };
                    self.server.handle_io(now, answer);
                }
                ServerRequest::Close(Local::Socket(id)) => network.close(SocketId(id)),
                ServerRequest::Close(local) => network.close_tcp(local),
                _ => {}
            }
        }
    }

    fn handle_tcp(&mut self, now: Instant, event: TcpEvent) {
        match event {
            TcpEvent::Accepted { connection, remote, .. } => {
                self.streams.insert(connection, (remote, StreamFramer::default()));
            }
            TcpEvent::Data { connection, bytes, .. } => {
                let Some((remote, framer)) = self.streams.get_mut(&connection) else {
                    return;
                };
                assert!(framer.push(&bytes));
                while let Some(message) = framer.next_message() {
                    self.server.handle_datagram(now, datagram(connection, *remote, message));
                }
            }
            TcpEvent::Closed { connection } => {
                self.streams.remove(&connection);
                self.server.handle_closed(connection);
            }
            _ => {}
        }
    }
}

impl Machine for HostMachine {
    type Event = Event;

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        match self {
            Self::Agent(host) => host.take(now, datagram),
            Self::Server(host) => host.server.handle_datagram(now, datagram),
            Self::Impostor(host) => host.take(&datagram),
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Agent(host) => host.agent.handle_timeout(now),
            Self::Server(host) => host.server.handle_timeout(now),
            Self::Impostor(_) => {}
        }
    }

    fn handle_tcp(&mut self, now: Instant, event: TcpEvent) {
        match self {
            Self::Agent(host) => host.handle_tcp(now, event),
            Self::Server(host) => host.handle_tcp(now, event),
            Self::Impostor(_) => {}
        }
    }

    fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        match self {
            Self::Agent(host) => {
                if let Some(transmit) = host.agent.poll_transmit(now, out) {
                    return Some(transmit);
                }
                send_next(&mut host.outbox, out)
            }
            Self::Server(host) => host.server.poll_transmit(out),
            Self::Impostor(host) => send_next(&mut host.answers, out),
        }
    }

    fn poll_event(&mut self) -> Option<Event> {
        match self {
            Self::Agent(host) => host.agent.poll_event(),
            Self::Server(_) | Self::Impostor(_) => None,
        }
    }

    fn poll_timeout(&self) -> Option<Instant> {
        match self {
            Self::Agent(host) => host.agent.poll_timeout(),
            Self::Server(host) => host.server.poll_timeout(),
            Self::Impostor(_) => None,
        }
    }

    fn close(&mut self, now: Instant) {
        match self {
            Self::Agent(host) => host.agent.close(now),
            Self::Server(host) => host.server.close(),
            Self::Impostor(_) => {}
        }
    }

    fn serve_io(&mut self, now: Instant, network: &mut Network, host: HostId) {
        match self {
            Self::Agent(machine) => machine.serve(now, network, host),
            Self::Server(machine) => machine.serve(now, network, host),
            Self::Impostor(_) => {}
        }
    }
}

/// Two agents, each where the test puts it, and the server.
pub struct World {
    pub simulation: Simulation<HostMachine>,
    pub peers: [PeerId; 2],
    pub server: PeerId,
    /// The agents' hosts, and what each was behind at the start.
    pub hosts: [HostId; 2],
    pub homes: [Option<NodeId>; 2],
    pub start: Instant,
    /// What both agents have reported.
    pub states: Vec<ConnectionState>,
}

/// One end's place: its address, and what it is behind.
pub struct Place {
    pub address: IpAddr,
    pub behind: Option<NodeId>,
}

impl World {
    /// `change` has the last word on each agent's configuration.
    pub fn new(
        seed: u64,
        link: LinkConfig,
        place: impl Fn(&mut Network, usize) -> Place,
        change: impl Fn(&mut Config),
    ) -> Self {
        let mut network = Network::new(seed);
        network.set_default_link(link);
        let now = network.now();
        let server_host = network.add_host();
        let ip: IpAddr = SERVER.parse().unwrap();
        network.bind(server_host, SocketAddr::new(ip, 3478)).unwrap();
        for port in [3478, 443] {
            network.listen_tcp(server_host, SocketAddr::new(ip, port)).unwrap();
        }
        network.add_address(server_host, ip);
        let places = [0, 1].map(|at| {
            let host = network.add_host();
            let place = place(&mut network, at);
            network.place(host, place.behind);
            network.add_address(host, place.address);
            (host, place)
        });
        let hosts = [0, 1].map(|at| places[at].0);
        let homes = [0, 1].map(|at| places[at].1.behind);
        let mut simulation = Simulation::with_max_datagram(network, 1300);
        let config = ServerConfig::new("example.org", vec![ip]).user("alice", "secret");
        let server = Server::new(config, now, Rng::from_u64(seed).fork("server"));
        let server = simulation.add(
            server_host,
            HostMachine::Server(Box::new(ServerHost {
                server,
                streams: BTreeMap::new(),
            })),
        );
        let servers = vec![IceServer {
            urls: [
                "stun:turn.example.org:3478",
                "turn:turn.example.org:3478?transport=udp",
                "turns:turn.example.org:443?transport=tcp",
            ]
            .map(|url| url.parse().unwrap())
            .to_vec(),
            username: "alice".into(),
            credential: "secret".into(),
        }];
        let mut at = 0;
        let peers = places.map(|(host, Place { address, .. })| {
            let role = if at == 0 { Role::Controlling } else { Role::Controlled };
            let mut config = Config {
                role,
                servers: servers.clone(),
                ..Config::default()
            };
            change(&mut config);
            let agent = Agent::new(config, Rng::from_u64(seed).fork_numbered("agent", at));
            at += 1;
            let host_machine = AgentHost {
                agent,
                interfaces: vec![address],
                resolved: match address {
                    IpAddr::V4(_) => vec![ip],
                    // DNS64.
                    IpAddr::V6(_) => vec![nat64("20.0.0.1".parse().unwrap()).into()],
                },
                received: Vec::new(),
                listeners: Vec::new(),
                connecting: BTreeMap::new(),
                streams: BTreeMap::new(),
                outbox: VecDeque::new(),
            };
            simulation.add(host, HostMachine::Agent(Box::new(host_machine)))
        });
        Self {
            simulation,
            peers,
            server,
            hosts,
            homes,
            start: now,
            states: Vec::new(),
        }
    }

    pub fn agent(&self, at: usize) -> &Agent {
        match self.simulation.peer(self.peers[at]) {
            HostMachine::Agent(host) => &host.agent,
            _ => unreachable!("an agent"),
        }
    }

    /// How many TCP connections the server has.
    pub fn server_connections(&self) -> usize {
        match self.simulation.peer(self.server) {
            HostMachine::Server(host) => host.streams.len(),
            _ => unreachable!("the server"),
        }
    }

    pub fn call<T>(&mut self, at: usize, call: impl FnOnce(&mut AgentHost, Instant) -> T) -> T {
        self.simulation.call(self.peers[at], |machine, now| match machine {
            HostMachine::Agent(host) => call(host, now),
            _ => unreachable!("an agent"),
        })
    }

    /// Gathers at both ends, and carries descriptions and candidates at once.
    pub fn begin(&mut self) {
        let credentials = [0, 1].map(|at| self.agent(at).local_credentials().clone());
        for (at, theirs) in credentials.into_iter().rev().enumerate() {
            self.call(at, |host, now| {
                host.agent.gather(now);
                host.agent.set_remote_credentials(now, theirs);
                host.agent.set_remote_renomination(true);
            });
        }
        self.signal();
    }

    /// Carries what was gathered since the last time.
    pub fn signal(&mut self) {
        for at in 0..2 {
            for event in self.simulation.take_events(self.peers[at]) {
                match event {
                    Event::LocalCandidate(candidate) => {
                        let candidate: Candidate = candidate.to_string().parse().unwrap();
                        self.call(1 - at, |host, now| host.agent.add_remote_candidate(now, candidate));
                    }
                    Event::GatheringState(GatheringState::Complete) => {
                        self.call(1 - at, |host, now| host.agent.end_of_remote_candidates(now));
                    }
                    Event::State(state) => self.states.push(state),
                    _ => {}
                }
            }
        }
    }

    /// Lets time pass until `done`, or for so long; signals all the while.
    pub fn run(&mut self, limit: Duration, mut done: impl FnMut(&Self) -> bool) -> bool {
        let end = self.simulation.now() + limit;
        loop {
            self.signal();
            if done(self) {
                return true;
            }
            match self.simulation.next_event() {
                Some(next) if next <= end => _ = self.simulation.step(),
                _ => {
                    let rest = end.saturating_duration_since(self.simulation.now());
                    self.simulation.network.advance(rest);
                    return false;
                }
            }
        }
    }

    pub fn is_connected(&self) -> bool {
        (0..2).all(|at| self.agent(at).selected_path().is_some() && self.agent(at).state().is_connected())
    }

    /// Kinds of both candidates of the pair in use, and whether it is over TCP at our end.
    pub fn selected(&self, at: usize) -> Option<(CandidateKind, CandidateKind, bool)> {
        let stats = self.agent(at).stats();
        let pair = stats.pairs.iter().find(|pair| pair.selected)?;
        let local = stats.local_candidates.iter().find(|c| c.id == pair.local)?;
        let remote = stats.remote_candidates.iter().find(|c| c.id == pair.remote)?;
        Some((
            local.candidate.kind,
            remote.candidate.kind,
            matches!(pair.path.local, Local::Tcp(_)),
        ))
    }

    /// Sends application data from one end.
    pub fn send(&mut self, at: usize, data: &[u8]) {
        self.call(at, |host, now| {
            let path = host.agent.send_path().expect("a path to send on");
            let mut out = TransmitBuf::new(2048, 1400);
            let (front, back) = host.agent.path_room(&path);
            out.set_path_room(front, back);
            assert!(out.begin(0, 0));
            out.put_slice(data);
            let path = host.agent.wrap(now, path, &mut out);
            let range = out.finish();
            host.outbox.push_back((path, out.bytes(range).to_vec()));
        });
    }

    pub fn received(&mut self, at: usize) -> Vec<Vec<u8>> {
        self.call(at, |host, _| std::mem::take(&mut host.received))
    }
}
