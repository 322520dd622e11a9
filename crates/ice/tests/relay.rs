//! Two agents that reach each other only through a TURN server of ours.

mod checked;

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_ice::{
    Candidate, CandidateKind, Config, Event, Framing, GatheringState, IceServer, IoEvent, IoRequest, Role,
    ServerTransport, TcpCandidates, TransportPolicy,
};
use antiphon_netsim::{Checked, Machine};
use antiphon_sansio::{BytesMut, Datagram, Ecn, Local, Path, Rng, TransmitBuf};
use antiphon_turn::{PeerPolicy, Server, ServerAnswer, ServerConfig, ServerRequest, StreamFramer};
use checked::AgentMachine;

const SERVER: &str = "192.0.2.1:3478";

/// Where a datagram came from and where it goes.
struct Flight {
    from: SocketAddr,
    to: SocketAddr,
    data: Vec<u8>,
}

struct World {
    now: Instant,
    agents: Vec<Checked<AgentMachine>>,
    addrs: Vec<IpAddr>,
    /// Every socket: whose, its number, its address.
    sockets: Vec<(usize, Local, SocketAddr)>,
    events: Vec<Vec<Event>>,
    candidates: Vec<Vec<Candidate>>,
    received: Vec<Vec<(Path, Vec<u8>)>>,
    server: Server,
    relays: Vec<(Local, SocketAddr)>,
    closed: usize,
    /// What the agents' connections were opened for: the name to verify, if it is TLS.
    tls: Vec<Option<String>>,
    /// What the server's side of each connection has not taken apart yet; the index is the connection's number.
    streams: Vec<StreamFramer>,
    refuse_connections: bool,
}

impl World {
    fn new(policy: TransportPolicy, kinds: &str, seed: u64) -> Self {
        Self::sharing(policy, kinds, seed, false)
    }

    fn sharing(policy: TransportPolicy, kinds: &str, seed: u64, shared_sockets: bool) -> Self {
        let now = antiphon_netsim::start();
        let relay: IpAddr = "192.0.2.1".parse().unwrap();
        let mut config = ServerConfig::new("example.org", vec![relay]).user("alice", "secret");
        config.policy = PeerPolicy {
            allow_private: true,
            ..PeerPolicy::default()
        };
        let servers = vec![IceServer {
            urls: kinds.split(',').map(|url| url.parse().unwrap()).collect(),
            username: "alice".into(),
            credential: "secret".into(),
        }];
        let agent = |n: u64, role| {
            let config = Config {
                role,
                servers: servers.clone(),
                transport_policy: policy,
                shared_sockets,
                tcp: TcpCandidates::OFF,
                ..Config::default()
            };
            checked::agent(config, Rng::from_u64(seed * 2 + n))
        };
        Self {
            now,
            agents: vec![agent(0, Role::Controlling), agent(1, Role::Controlled)],
            addrs: vec!["10.0.1.1".parse().unwrap(), "10.0.2.2".parse().unwrap()],
            sockets: Vec::new(),
            events: vec![Vec::new(), Vec::new()],
            candidates: vec![Vec::new(), Vec::new()],
            received: vec![Vec::new(), Vec::new()],
            server: Server::new(config, now, Rng::from_u64(99)),
            relays: Vec::new(),
            closed: 0,
            tls: Vec::new(),
            streams: Vec::new(),
            refuse_connections: false,
        }
    }

    /// Everything that happens at this instant; the network takes no time, and passes nothing between the two directly.
    fn settle(&mut self) {
        let mut out = TransmitBuf::new(8192, 1300);
        for _ in 0..200 {
            let mut flights = Vec::new();
            for n in 0..2 {
                while let Some(request) = self.agents[n].poll_io() {
                    let answer = match request {
                        IoRequest::ListInterfaces { .. } => IoEvent::Interfaces(vec![self.addrs[n]]),
                        IoRequest::BindUdp { request, addr, .. } => {
                            // The shared one is at port 5000; what is exclusive comes after it.
                            let count = self.sockets.len() as u16;
                            let (local, addr) = (Local::Socket(count.into()), SocketAddr::new(addr.ip(), 5000 + count));
                            self.sockets.push((n, local, addr));
                            IoEvent::UdpBound { request, local, addr }
                        }
                        IoRequest::ConnectTcp { request, .. } if self.refuse_connections => IoEvent::Failed {
                            request,
                            reason: "connection refused".into(),
                        },
                        IoRequest::ConnectTcp {
                            request,
                            from,
                            framing,
                            tls,
                            ..
                        } => {
                            assert_eq!(framing, Framing::Turn);
                            let count = self.tls.len() as u16;
                            let (local, addr) = (Local::Tcp(count.into()), SocketAddr::new(from, 9000 + count));
                            self.tls.push(tls);
                            self.streams.push(StreamFramer::default());
                            self.sockets.push((n, local, addr));
                            IoEvent::TcpConnected { request, local, addr }
                        }
                        IoRequest::Resolve { request, host, .. } if host == "turn.example.org" => IoEvent::Resolved {
                            request,
                            addrs: vec!["192.0.2.1".parse().unwrap()],
                        },
                        IoRequest::Resolve { request, .. } => IoEvent::Failed {
                            request,
                            reason: "no such host".into(),
                        },
                        other => match other.awaits() {
                            Some(request) => IoEvent::Failed {
                                request,
                                reason: "not in this network".into(),
                            },
                            None => continue,
                        },
                    };
                    self.agents[n].handle_io(self.now, answer);
                }
                while let Some(event) = self.agents[n].poll_event() {
                    if let Event::LocalCandidate(candidate) = &event {
                        self.candidates[n].push(candidate.clone());
                    }
                    self.events[n].push(event);
                }
                while let Some(transmit) = self.agents[n].poll_transmit(self.now, &mut out) {
                    let data = out.bytes(transmit.range.clone()).to_vec();
                    flights.push(Flight {
                        from: self.address(n, transmit.path.local),
                        to: transmit.path.remote,
                        data,
                    });
                    out.clear();
                }
            }
            while let Some(request) = self.server.poll_io() {
                match request {
                    ServerRequest::BindRelay { request, ip } => {
                        let local = Local::Relay(self.relays.len() as u32);
                        let addr = SocketAddr::new(ip, 50_000 + self.relays.len() as u16);
                        self.relays.push((local, addr));
                        self.server
                            .handle_io(self.now, ServerAnswer::Bound { request, local, addr });
                    }
                    _ => self.closed += 1,
                }
            }
            while let Some(transmit) = self.server.poll_transmit(&mut out) {
                let relay = self.relays.iter().find(|(local, _)| *local == transmit.path.local);
                let from = relay.map_or(SERVER.parse().unwrap(), |(_, addr)| *addr);
                flights.extend(transmit.datagrams(&out).map(|datagram| Flight {
                    from,
                    to: transmit.path.remote,
                    data: datagram.to_vec(),
                }));
                out.clear();
            }
            if flights.is_empty() {
                return;
            }
            for flight in flights {
                self.deliver(flight);
            }
        }
        panic!("never comes to rest");
    }

    fn address(&self, n: usize, local: Local) -> SocketAddr {
        let own = |socket: &&(usize, Local, SocketAddr)| socket.0 == n && socket.1 == local;
        self.sockets.iter().find(own).expect("a socket of ours").2
    }

    fn deliver(&mut self, flight: Flight) {
        let data = BytesMut::from(&flight.data[..]);
        let ecn = Ecn::NotEct;
        let connection = |addr: SocketAddr| {
            let mut sockets = self.sockets.iter();
            sockets.find_map(|(_, local, own)| match local {
                Local::Tcp(number) if *own == addr => Some(*number),
                _ => None,
            })
        };
        if let Some(number) = connection(flight.from) {
            // Over a stream nothing says where a message ends but the message itself.
            if flight.to != SERVER.parse().unwrap() {
                return;
            }
            let framer = &mut self.streams[number as usize];
            assert!(framer.push(&data));
            let message = framer.next_message().expect("a whole message");
            assert!(framer.next_message().is_none());
            let path = Path {
                local: Local::Tcp(number),
                remote: flight.from,
            };
            let data = message;
            self.server.handle_datagram(self.now, Datagram { path, ecn, data });
            return;
        }
        if let Some(&(n, local, _)) = self.sockets.iter().find(|(_, _, addr)| *addr == flight.to) {
            // Only what comes from the server passes the firewall.
            if flight.from.ip().to_string() == "192.0.2.1" {
                let path = Path {
                    local,
                    remote: flight.from,
                };
                self.agents[n].handle_datagram(self.now, Datagram { path, ecn, data });
                for datagram in self.agents[n].received.drain(..) {
                    self.received[n].push((datagram.path, datagram.data.to_vec()));
                }
            }
            return;
        }
        let relay = self.relays.iter().find(|(_, addr)| *addr == flight.to);
        let local = match relay {
            Some((local, _)) => *local,
            None if flight.to == SERVER.parse().unwrap() => Local::Socket(99),
            None => return,
        };
        let path = Path {
            local,
            remote: flight.from,
        };
        self.server.handle_datagram(self.now, Datagram { path, ecn, data });
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            let timeouts = self
                .agents
                .iter()
                .filter_map(Machine::poll_timeout)
                .chain(self.server.poll_timeout());
            self.now = timeouts.min().map_or(end, |at| at.min(end)).max(self.now);
            for agent in &mut self.agents {
                agent.handle_timeout(self.now);
            }
            self.server.handle_timeout(self.now);
            self.settle();
            assert!(
                self.agents
                    .iter()
                    .all(|agent| agent.poll_timeout().is_none_or(|at| at > self.now)),
                "law 2"
            );
        }
    }

    fn connect(&mut self) {
        for agent in &mut self.agents {
            agent.gather(self.now);
        }
        self.settle();
        self.run_for(Duration::from_secs(1));
        for n in 0..2 {
            let credentials = self.agents[n].local_credentials().clone();
            self.agents[1 - n].set_remote_credentials(self.now, credentials);
            for candidate in self.candidates[n].clone() {
                self.agents[1 - n].add_remote_candidate(self.now, candidate.to_string().parse().unwrap());
            }
            self.agents[1 - n].end_of_remote_candidates(self.now);
        }
        self.run_for(Duration::from_secs(3));
    }

    fn send(&mut self, n: usize, data: &[u8]) -> usize {
        let mut out = TransmitBuf::new(4096, 1300);
        let path = self.agents[n].send_path().expect("a path");
        let (front, back) = self.agents[n].path_room(&path);
        out.set_path_room(front, back);
        assert!(out.begin(0, 0));
        out.put_slice(data);
        let real = self.agents[n].wrap(self.now, path, &mut out);
        assert!(!matches!(real.local, Local::Relay(_)));
        let range = out.finish();
        let bytes = out.bytes(range).to_vec();
        let overhead = bytes.len() - data.len();
        self.deliver(Flight {
            from: self.address(n, real.local),
            to: real.remote,
            data: bytes,
        });
        self.settle();
        overhead
    }
}

#[test]
fn relayed_on_both_sides() {
    for (policy, seed) in [(TransportPolicy::All, 1), (TransportPolicy::Relay, 2)] {
        let mut world = World::new(policy, "turn:turn.example.org:3478?transport=udp", seed);
        world.connect();
        for n in 0..2 {
            assert!(world.agents[n].state().is_connected(), "{:?}", world.agents[n].stats());
            assert!(world.agents[n].selected_path().is_some());
            assert_eq!(world.agents[n].gathering_state(), GatheringState::Complete);
        }
        // Without the policy one relay is enough: its address is as good as a host's to the other end.
        let relayed = |world: &World, n: usize| {
            let path = world.agents[n].selected_path().expect("selected");
            usize::from(matches!(path.local, Local::Relay(_)))
        };
        let relays = [relayed(&world, 0), relayed(&world, 1)];
        match policy {
            TransportPolicy::All => assert_eq!(relays[0] + relays[1], 1),
            TransportPolicy::Relay => assert_eq!(relays, [1, 1]),
        }
        // The channel has been bound by now: four bytes.
        for (n, relays) in relays.into_iter().enumerate() {
            assert_eq!(world.send(n, b"\x80over the relay"), 4 * relays);
            let (path, data) = world.received[1 - n].pop().expect("data arrives unwrapped");
            assert_eq!(data, b"\x80over the relay");
            assert_eq!(Some(path), world.agents[1 - n].selected_path());
            assert!(world.agents[1 - n].is_authenticated(&path));
        }
        let kinds: Vec<CandidateKind> = world.candidates[0].iter().map(|candidate| candidate.kind).collect();
        match policy {
            TransportPolicy::All => assert_eq!(kinds, [CandidateKind::Host, CandidateKind::Relayed]),
            TransportPolicy::Relay => {
                assert_eq!(kinds, [CandidateKind::Relayed]);
                // Our own address is nowhere in what is signalled.
                assert!(
                    world.candidates[0]
                        .iter()
                        .all(|candidate| !candidate.to_string().contains("10.0.1.1"))
                );
            }
        }
        // An hour: refreshes of everything.
        world.run_for(Duration::from_secs(3600));
        assert!(world.agents.iter().all(|agent| agent.may_send()));
        assert_eq!(world.send(0, b"\x80later"), 4 * relays[0]);
        assert_eq!(
            world.received[1].pop().map(|(_, data)| data),
            Some(b"\x80later".to_vec())
        );
        // The allocations are given back.
        for agent in &mut world.agents {
            agent.close(world.now);
        }
        world.settle();
        assert_eq!(world.server.allocations(), 0);
        assert_eq!(world.closed, 2);
        assert!(world.agents.iter().all(|agent| agent.poll_timeout().is_none()));
    }
}

#[test]
fn servers_that_fail_are_reported() {
    let mut world = World::new(
        TransportPolicy::All,
        "stun:nowhere.example.org,turn:192.0.2.9:3478,turns:192.0.2.1",
        3,
    );
    world.refuse_connections = true;
    for agent in &mut world.agents {
        agent.gather(world.now);
    }
    world.settle();
    assert_eq!(world.agents[0].gathering_state(), GatheringState::Gathering);
    world.run_for(Duration::from_secs(15));
    assert_eq!(world.agents[0].gathering_state(), GatheringState::Complete);
    let errors: Vec<(&str, u16)> = world.events[0]
        .iter()
        .filter_map(|event| match event {
            Event::CandidateError { url, code, .. } => Some((url.as_str(), *code)),
            _ => None,
        })
        .collect();
    assert_eq!(
        errors,
        [
            ("stun:nowhere.example.org:3478", 701),
            ("turns:192.0.2.1:5349?transport=tcp", 701),
            ("turn:192.0.2.9:3478?transport=udp", 701),
        ]
    );
}

#[test]
fn a_stun_server_tells_our_address() {
    // The TURN server answers Binding requests, and here sees the clients as they are: a reflexive candidate that
    // equals the host candidate is redundant (RFC 8445 §5.1.3).
    let mut world = World::new(TransportPolicy::All, "stun:192.0.2.1:3478", 4);
    for agent in &mut world.agents {
        agent.gather(world.now);
    }
    world.settle();
    assert_eq!(world.agents[0].gathering_state(), GatheringState::Complete);
    assert_eq!(world.candidates[0].len(), 1);
    assert_eq!(world.agents[0].poll_timeout(), None);
}

#[test]
fn with_shared_sockets_an_allocation_gets_its_own() {
    // One-port mode: to a TURN server, two agents on one socket would be one client.
    let mut world = World::sharing(TransportPolicy::All, "turn:turn.example.org", 5, true);
    world.connect();
    assert_eq!(world.sockets.len(), 4);
    assert_eq!(world.server.allocations(), 2);
    for n in 0..2 {
        assert!(world.agents[n].state().is_connected());
        world.send(n, b"\x80data");
        assert_eq!(
            world.received[1 - n].pop().map(|(_, data)| data),
            Some(b"\x80data".to_vec())
        );
        let kinds: Vec<CandidateKind> = world.candidates[n].iter().map(|candidate| candidate.kind).collect();
        assert_eq!(kinds, [CandidateKind::Host, CandidateKind::Relayed]);
    }
    for agent in &mut world.agents {
        agent.restart(world.now);
        agent.gather(world.now);
    }
    world.settle();
    world.run_for(Duration::from_secs(1));
    assert_eq!(world.sockets.len(), 4, "a restart keeps what is there");
    assert_eq!(world.agents[0].gathering_state(), GatheringState::Complete);
    for agent in &mut world.agents {
        agent.close(world.now);
    }
    world.settle();
    assert_eq!(world.server.allocations(), 0);
}

#[test]
fn relayed_over_streams() {
    for (url, transport, name) in [
        ("turn:turn.example.org?transport=tcp", ServerTransport::Tcp, None),
        (
            "turns:turn.example.org:3478",
            ServerTransport::Tls,
            Some("turn.example.org"),
        ),
    ] {
        let mut world = World::new(TransportPolicy::Relay, url, 6);
        world.connect();
        assert_eq!(world.server.allocations(), 2);
        assert!(world.tls.iter().all(|tls| tls.as_deref() == name));
        for n in 0..2 {
            let path = world.agents[n].selected_path().expect("selected");
            assert!(matches!(path.local, Local::Relay(_)));
            for len in 1..9 {
                let mut data = vec![0x80; len];
                data[len - 1] = n as u8;
                // RFC 8656 §12.5: padded to four bytes.
                assert_eq!(world.send(n, &data), 4 + len.next_multiple_of(4) - len);
                let (_, received) = world.received[1 - n].pop().expect("data arrives unwrapped");
                assert_eq!(received, data);
            }
            let stats = world.agents[n].stats();
            let relayed = stats
                .local_candidates
                .iter()
                .find(|c| c.candidate.kind == CandidateKind::Relayed);
            let relayed = relayed.unwrap();
            assert_eq!(relayed.relay_protocol, Some(transport));
            assert_eq!(relayed.candidate.protocol, antiphon_ice::Protocol::Udp);
        }
        world.run_for(Duration::from_secs(3600));
        assert!(world.agents.iter().all(|agent| agent.may_send()));
        for agent in &mut world.agents {
            agent.close(world.now);
        }
        world.settle();
        assert_eq!(world.server.allocations(), 0);
    }
}

#[test]
fn a_connection_to_the_server_that_breaks_is_made_again() {
    let mut world = World::new(TransportPolicy::Relay, "turn:turn.example.org?transport=tcp", 9);
    world.connect();
    for round in 0..3u32 {
        let broken = Local::Tcp(world.tls.len() as u32 - 1);
        let n = world.sockets.iter().find(|(_, local, _)| *local == broken).unwrap().0;
        world.sockets.retain(|(_, local, _)| *local != broken);
        world.candidates[n].clear();
        let now = world.now;
        world.agents[n].handle_io(now, IoEvent::Closed { local: broken });
        world.settle();
        let [candidate] = &world.candidates[n][..] else {
            panic!("{:?}", world.candidates[n]);
        };
        let candidate = candidate.clone();
        world.agents[1 - n].add_remote_candidate(now, candidate);
        world.run_for(Duration::from_secs(6));
        assert!(
            world.agents.iter().all(|agent| agent.state().is_connected()),
            "round {round}"
        );
        for from in 0..2 {
            world.send(from, b"\x80data");
            let received = world.received[1 - from].pop().map(|(_, data)| data);
            assert_eq!(received, Some(b"\x80data".to_vec()));
        }
    }
    // One that the server ends before it has given anything is an error.
    let mut world = World::new(TransportPolicy::Relay, "turn:turn.example.org:9999?transport=tcp", 10);
    world.agents[0].gather(world.now);
    world.settle();
    world.agents[0].handle_io(world.now, IoEvent::Closed { local: Local::Tcp(0) });
    world.settle();
    assert_eq!(world.agents[0].gathering_state(), GatheringState::Complete);
    assert_eq!(error_codes(&world.events[0]), [701]);
    assert_eq!(world.tls.len(), 1);
}

#[test]
fn of_several_ways_to_a_relay_udp_is_preferred() {
    let mut world = World::new(
        TransportPolicy::Relay,
        "turns:turn.example.org:3478,turn:turn.example.org?transport=tcp,turn:turn.example.org",
        7,
    );
    world.connect();
    let mut candidates = world.candidates[0].clone();
    assert_eq!(candidates.len(), 3);
    candidates.sort_by_key(|candidate| std::cmp::Reverse(candidate.priority));
    let stats = world.agents[0].stats();
    let transport = |candidate: &Candidate| {
        let mut all = stats.local_candidates.iter();
        all.find(|c| c.candidate.port == candidate.port && c.candidate.kind == CandidateKind::Relayed)
            .unwrap()
            .relay_protocol
            .unwrap()
    };
    let order: Vec<ServerTransport> = candidates.iter().map(transport).collect();
    assert_eq!(
        order,
        [ServerTransport::Udp, ServerTransport::Tcp, ServerTransport::Tls]
    );
}

#[test]
fn servers_that_cannot_be_connected_to_are_reported() {
    let mut world = World::new(TransportPolicy::All, "turns:192.0.2.1,stuns:192.0.2.1", 8);
    world.refuse_connections = true;
    for agent in &mut world.agents {
        agent.gather(world.now);
    }
    world.settle();
    assert_eq!(world.agents[0].gathering_state(), GatheringState::Complete);
    let errors: Vec<(String, u16, String)> = world.events[0]
        .iter()
        .filter_map(|event| match event {
            Event::CandidateError { url, code, text, .. } => Some((url.clone(), *code, text.clone())),
            _ => None,
        })
        .collect();
    assert_eq!(errors.len(), 2);
    assert_eq!((errors[0].0.as_str(), errors[0].1), ("stuns:192.0.2.1:5349", 701));
    assert_eq!(
        errors[1],
        (
            "turns:192.0.2.1:5349?transport=tcp".into(),
            701,
            "connection refused".into()
        )
    );
}

fn error_codes(events: &[Event]) -> Vec<u16> {
    events
        .iter()
        .filter_map(|event| match event {
            Event::CandidateError { code, .. } => Some(*code),
            _ => None,
        })
        .collect()
}
