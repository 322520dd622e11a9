//! STUN servers over TLS (`stuns:`, RFC 7064), which tell where TCP ports are mapped to. The server is ours; in this
//! network TLS is a plain connection, for bytes are bytes.

mod checked;
mod world;

use std::time::{Duration, Instant};

use antiphon_ice::{
    Candidate, CandidateAddress, CandidateKind, Config, Event, Framing, GatheringState, IceServer, IoEvent, IoRequest,
    NetworkTypes, Protocol, TcpCandidates, TcpType,
};
use antiphon_netsim::{Checked, LinkConfig, Machine, Nat, NatConfig, Network};
use antiphon_sansio::{BytesMut, Datagram, Ecn, Local, Path, Rng, TransmitBuf};
use antiphon_stun::{AttributeType, Class, Message, MessageBuilder, Method, TransactionId};
use world::{Place, World};

const LIMIT: Duration = Duration::from_secs(30);

const ACTIVE: TcpCandidates = TcpCandidates {
    active: true,
    ..TcpCandidates::OFF
};
const PASSIVE: TcpCandidates = TcpCandidates {
    active: true,
    passive: true,
    simultaneous_open: false,
};
const OPEN: TcpCandidates = TcpCandidates {
    simultaneous_open: true,
    ..TcpCandidates::OFF
};

fn link() -> LinkConfig {
    LinkConfig {
        delay: Duration::from_millis(25),
        ..LinkConfig::default()
    }
}

/// Each behind a NAT of its own, in a network that lets no UDP through.
fn world(seed: u64, nat: fn() -> NatConfig, tcp: TcpCandidates, url: &str) -> World {
    let home = |network: &mut Network, at: usize| {
        let external = format!("20.1.0.{}", at + 1).parse().unwrap();
        Place {
            address: format!("10.0.{}.2", at + 1).parse().unwrap(),
            behind: Some(network.add_node(Box::new(Nat::new(nat(), vec![external])))),
        }
    };
    World::new(seed, link(), home, |config: &mut Config| {
        config.tcp = tcp;
        config.network_types = NetworkTypes {
            udp4: false,
            udp6: false,
            ..NetworkTypes::default()
        };
        config.servers = vec![IceServer {
            urls: vec![url.parse().unwrap()],
            ..IceServer::default()
        }];
    })
}

const URL: &str = "stuns:turn.example.org:443";

type Errors = Vec<(String, u16, String)>;

/// What one end gathers by itself: its server-reflexive candidates, active ones last, and the errors.
fn gathered(world: &mut World) -> (Vec<Candidate>, Errors) {
    world.call(0, |host, now| host.agent.gather(now));
    let (mut found, mut errors) = (Vec::new(), Vec::new());
    let end = world.simulation.now() + LIMIT;
    loop {
        for event in world.simulation.take_events(world.peers[0]) {
            match event {
                Event::LocalCandidate(candidate) if candidate.kind == CandidateKind::ServerReflexive => {
                    found.push(candidate);
                }
                Event::CandidateError { url, code, text, .. } => errors.push((url, code, text)),
                _ => {}
            }
        }
        if world.agent(0).gathering_state() == GatheringState::Complete {
            break;
        }
        assert!(
            world.simulation.next_event().is_some_and(|next| next <= end),
            "gathering never ends"
        );
        world.simulation.step();
    }
    found.sort_by_key(|candidate| candidate.tcp_type == Some(TcpType::Active));
    (found, errors)
}

/// A NAT with one mapping for each port, and ports of its own choice.
fn cone() -> NatConfig {
    NatConfig {
        port_preservation: false,
        ..NatConfig::port_restricted()
    }
}

#[test]
fn every_tcp_candidate_learns_where_it_is_mapped_to() {
    let types = |found: &[Candidate]| found.iter().map(|c| c.tcp_type.unwrap()).collect::<Vec<_>>();
    for (tcp, expected) in [
        (ACTIVE, &[TcpType::Active][..]),
        (PASSIVE, &[TcpType::Passive, TcpType::Active]),
        (OPEN, &[TcpType::SimultaneousOpen]),
    ] {
        let mut world = world(1, cone, tcp, URL);
        let (found, errors) = gathered(&mut world);
        assert_eq!(errors, []);
        assert_eq!(types(&found), expected);
        for candidate in &found {
            assert_eq!(candidate.protocol, Protocol::Tcp);
            assert_eq!(candidate.address, CandidateAddress::Ip("20.1.0.1".parse().unwrap()));
            let related = candidate.related.unwrap();
            assert_eq!(related.ip().to_string(), "10.0.1.2");
            if candidate.tcp_type == Some(TcpType::Active) {
                assert_eq!((candidate.port, related.port()), (9, 9), "RFC 6544 §4.5");
            } else {
                assert!(
                    (20_000..30_000).contains(&candidate.port),
                    "the NAT's port: {candidate}"
                );
                assert_eq!(related.port(), 40_000);
            }
        }
        let stats = world.agent(0).stats();
        let urls: Vec<_> = stats.local_candidates.iter().filter_map(|c| c.url.clone()).collect();
        assert_eq!(urls, vec![URL; found.len()]);
    }
}

/// What it is for: two ends, neither of which can be reached from outside, meet over TCP with no relay between them.
#[test]
fn two_ends_behind_nats_meet_over_tcp() {
    for nat in [NatConfig::full_cone, NatConfig::address_restricted, cone] {
        for seed in 0..10 {
            let mut world = world(seed, nat, OPEN, URL);
            world.begin();
            assert!(world.run(LIMIT, World::is_connected), "seed {seed}");
            for at in 0..2 {
                let (local, remote, tcp) = world.selected(at).unwrap();
                assert!(tcp && ![local, remote].contains(&CandidateKind::Relayed));
            }
            for at in 0..2 {
                world.send(at, b"\x80 over TCP");
                world.run(Duration::from_millis(300), |_| false);
                assert_eq!(world.received(1 - at).len(), 1, "seed {seed}");
            }
            // Nobody holds the server's connections longer than they are good for.
            assert_eq!(world.server_connections(), 0, "seed {seed}");
        }
    }
    // Without the server neither knows where to go.
    let mut world = world(1, cone, OPEN, "stun:turn.example.org");
    world.begin();
    assert!(!world.run(LIMIT, World::is_connected));
}

#[test]
fn what_cannot_be_asked_is_said() {
    let mut none = world(1, cone, TcpCandidates::OFF, URL);
    let (found, errors) = gathered(&mut none);
    assert_eq!((found.len(), errors.len()), (0, 1));
    assert_eq!((errors[0].0.as_str(), errors[0].1), (URL, 701));
    assert!(errors[0].2.contains("TCP candidates"), "{errors:?}");
    let mut refused = world(1, cone, OPEN, "stuns:turn.example.org:444");
    let (found, errors) = gathered(&mut refused);
    assert_eq!(found, []);
    assert_eq!(
        errors,
        [("stuns:turn.example.org:444".into(), 701, "connection refused".into())]
    );
}

/// One agent, and a test that is its driver and its server.
struct Alone {
    agent: Checked<checked::AgentMachine>,
    now: Instant,
}

const CONNECTION: Local = Local::Tcp(7);
const STUN_SERVER: &str = "192.0.2.1:5349";

impl Alone {
    /// Connected to the server, from the port that listens.
    fn new() -> (Self, TransactionId) {
        let config = Config {
            tcp: OPEN,
            network_types: NetworkTypes {
                udp4: false,
                ..NetworkTypes::default()
            },
            servers: vec![IceServer {
                urls: vec!["stuns:192.0.2.1".parse().unwrap()],
                ..IceServer::default()
            }],
            ..Config::default()
        };
        let now = antiphon_netsim::start();
        let mut alone = Self {
            agent: checked::agent(config, Rng::from_u64(1)),
            now,
        };
        alone.agent.gather(now);
        alone.io(IoEvent::Interfaces(vec!["10.0.0.1".parse().unwrap()]));
        let listen = alone.requests().into_iter().find_map(|request| match request {
            IoRequest::ListenTcp { request, .. } => Some(request),
            _ => None,
        });
        let addr = "10.0.0.1:7000".parse().unwrap();
        alone.io(IoEvent::TcpListening {
            request: listen.unwrap(),
            addr,
        });
        let connects: Vec<IoRequest> = alone.requests();
        let [
            IoRequest::ConnectTcp {
                request,
                from,
                from_port,
                to,
                framing,
                tls,
            },
        ] = &connects[..]
        else {
            panic!("{connects:?}");
        };
        assert_eq!(
            (from.to_string(), *from_port, to.to_string()),
            ("10.0.0.1".into(), 7000, STUN_SERVER.into())
        );
        assert_eq!((*framing, tls.as_deref()), (Framing::Turn, Some("192.0.2.1")));
        alone.io(IoEvent::TcpConnected {
            request: *request,
            local: CONNECTION,
            addr,
        });
        let asked = alone.asked().unwrap();
        (alone, asked)
    }

    fn io(&mut self, event: IoEvent) {
        self.agent.handle_io(self.now, event);
    }

    fn requests(&mut self) -> Vec<IoRequest> {
        let all = std::iter::from_fn(|| self.agent.poll_io());
        all.filter(|request| !matches!(request, IoRequest::ListInterfaces { .. }))
            .collect()
    }

    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.agent.poll_event()).collect()
    }

    /// The question that is sent, without a frame around it.
    fn asked(&mut self) -> Option<TransactionId> {
        let mut out = TransmitBuf::new(1500, 1200);
        let transmit = self.agent.poll_transmit(self.now, &mut out)?;
        assert_eq!(
            (transmit.path.local, transmit.path.remote.to_string()),
            (CONNECTION, STUN_SERVER.into())
        );
        let message = Message::parse(out.bytes(transmit.range)).unwrap();
        assert_eq!((message.class(), message.method()), (Class::Request, Method::BINDING));
        Some(message.transaction_id())
    }

    fn take(&mut self, class: Class, id: TransactionId, fill: impl FnOnce(&mut MessageBuilder<'_>)) {
        let mut buffer = [0; 500];
        let mut builder = MessageBuilder::new(&mut buffer, class, Method::BINDING, id);
        fill(&mut builder);
        let len = builder.finish().unwrap();
        self.take_bytes(&buffer[..len]);
    }

    fn take_bytes(&mut self, bytes: &[u8]) {
        let path = Path {
            local: CONNECTION,
            remote: STUN_SERVER.parse().unwrap(),
        };
        let datagram = Datagram {
            path,
            ecn: Ecn::NotEct,
            data: BytesMut::from(bytes),
        };
        self.agent.handle_datagram(self.now, datagram);
        assert!(self.agent.received.is_empty());
    }
}

fn mapped(builder: &mut MessageBuilder<'_>) {
    builder.xor_mapped_address("203.0.113.1:5555".parse().unwrap());
}

fn candidates(events: Vec<Event>) -> Vec<Candidate> {
    let candidate = |event| match event {
        Event::LocalCandidate(candidate) => Some(candidate),
        _ => None,
    };
    events.into_iter().filter_map(candidate).collect()
}

#[test]
fn nothing_but_the_answer_is_taken_from_the_server() {
    let (mut alone, id) = Alone::new();
    alone.events();
    let before = alone.agent.stats();
    let ours = alone.agent.local_credentials().clone();
    // A check with everything that a peer's has, by whoever owns the server; other answers; application data.
    let key = antiphon_stun::Key::short_term(&ours.password);
    alone.take(Class::Request, TransactionId([3; 12]), |b| {
        b.ice_username(&ours.ufrag, "them")
            .priority(1)
            .put_u64(AttributeType::ICE_CONTROLLING, 1);
        b.integrity(&key).fingerprint();
    });
    alone.take(Class::Success, TransactionId([4; 12]), mapped);
    alone.take(Class::Indication, id, mapped);
    alone.take_bytes(b"\x80 application data");
    assert_eq!(alone.asked(), None, "nothing is answered");
    assert_eq!(alone.events(), []);
    let after = alone.agent.stats();
    assert_eq!(after.remote_candidates.len(), 0);
    assert_eq!(
        after.counters.unexpected_response,
        before.counters.unexpected_response + 4
    );
    alone.take(Class::Success, id, mapped);
    let found = candidates(alone.events());
    assert_eq!(found.len(), 1);
    assert!(
        found[0]
            .to_string()
            .contains("203.0.113.1 5555 typ srflx raddr 10.0.0.1 rport 7000 tcptype so")
    );
    assert_eq!(alone.agent.gathering_state(), GatheringState::Complete);
    assert_eq!(alone.requests(), [], "the connection keeps the mapping");
    // Its own end comes without complaint, and whoever closes the agent closes it.
    alone.agent.close(alone.now);
    assert!(alone.requests().contains(&IoRequest::Close(CONNECTION)));
}

#[test]
fn a_restart_asks_again_over_the_same_connection() {
    let (mut alone, id) = Alone::new();
    alone.take(Class::Success, id, mapped);
    assert_eq!(candidates(alone.events()).len(), 2);
    alone.agent.restart(alone.now);
    alone.agent.gather(alone.now);
    alone.io(IoEvent::Interfaces(vec!["10.0.0.1".parse().unwrap()]));
    let again = alone.asked().unwrap();
    assert_ne!(again, id);
    assert_eq!(alone.requests(), []);
    alone.take(Class::Success, again, mapped);
    let ufrag = alone.agent.local_credentials().ufrag.clone();
    let found = candidates(alone.events());
    assert_eq!(found.iter().filter(|c| c.ufrag.as_ref() == Some(&ufrag)).count(), 2);
    // The server is gone: the next time it is connected to anew.
    alone.io(IoEvent::Closed { local: CONNECTION });
    assert_eq!(alone.events(), []);
    alone.agent.restart(alone.now);
    alone.agent.gather(alone.now);
    assert!(matches!(alone.requests()[..], [IoRequest::ConnectTcp { .. }]));
}

#[test]
fn a_server_that_refuses_or_is_silent_or_hangs_up_is_reported() {
    let report = |alone: &mut Alone| {
        let errors = alone.events().into_iter().filter_map(|event| match event {
            Event::CandidateError { code, text, .. } => Some((code, text)),
            _ => None,
        });
        let errors: Vec<_> = errors.collect();
        assert_eq!(alone.agent.gathering_state(), GatheringState::Complete);
        assert_eq!(errors.len(), 1);
        errors[0].clone()
    };
    let (mut alone, id) = Alone::new();
    alone.take(Class::Error, id, |b| _ = b.error_code(420, "no"));
    assert_eq!(report(&mut alone), (420, "no".into()));
    assert_eq!(alone.requests(), [IoRequest::Close(CONNECTION)]);
    let (mut alone, _) = Alone::new();
    alone.io(IoEvent::Closed { local: CONNECTION });
    assert_eq!(report(&mut alone).0, 701);
    let (mut alone, _) = Alone::new();
    let started = alone.now;
    while alone.agent.gathering_state() != GatheringState::Complete {
        alone.now = alone.agent.poll_timeout().unwrap();
        alone.agent.handle_timeout(alone.now);
    }
    assert_eq!(alone.now - started, Duration::from_millis(9500));
    assert_eq!(report(&mut alone), (701, "the STUN server did not answer".into()));
    assert_eq!(alone.requests(), [IoRequest::Close(CONNECTION)]);
}
