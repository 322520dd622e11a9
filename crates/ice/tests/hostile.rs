//! Inputs of an enemy: law 4, law 5, law 7, V15, V16, V21.

mod pipe;

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_ice::{
    Agent, Candidate, Config, Event, IoEvent, MAX_EARLY_CHECKS, MAX_EVENTS, MAX_IO_REQUESTS, MAX_MDNS_QUERIES,
    MAX_OUTGOING, MAX_PAIRS, MAX_REMOTE_CANDIDATES, Role,
};
use antiphon_sansio::{BytesMut, Datagram, Ecn, Local, Path, Rng, TransmitBuf};
use antiphon_stun::{AttributeType, Class, Key, Message, MessageBuilder, Method, TransactionId};
use pipe::Net;
use proptest::prelude::*;

const LIMIT: Duration = Duration::from_secs(20);
const STRANGER: &str = "198.51.100.66:666";

fn connected(seed: u64) -> Net {
    let mut net = Net::pair(seed);
    net.start();
    net.connect(LIMIT);
    net.run_for(Duration::from_millis(100));
    net
}

/// A check as the peer of `agent` would make it, with any names, key and extras.
fn check(user: (&str, &str), key: &str, extra: impl FnOnce(&mut MessageBuilder<'_>)) -> Vec<u8> {
    let mut buffer = [0; 600];
    let mut builder = MessageBuilder::new(&mut buffer, Class::Request, Method::BINDING, TransactionId([5; 12]));
    builder
        .ice_username(user.0, user.1)
        .priority(1)
        .put_u64(AttributeType::ICE_CONTROLLED, 1);
    extra(&mut builder);
    builder.integrity(&Key::short_term(key)).fingerprint();
    let len = builder.finish().unwrap();
    buffer[..len].to_vec()
}

/// What comes back when the first agent gets this.
fn answers(net: &mut Net, from: SocketAddr, data: &[u8]) -> Vec<Vec<u8>> {
    let local = net.peers[0].sockets[0].0;
    net.deliver(0, local, from, data);
    let mut out = TransmitBuf::new(16_384, 1200);
    let mut all = Vec::new();
    while let Some(transmit) = net.peers[0].agent.poll_transmit(net.now, &mut out) {
        if transmit.path.remote == from {
            all.push(out.bytes(transmit.range).to_vec());
        }
        out.clear();
    }
    all
}

#[test]
fn v16_nothing_unauthenticated_is_answered_or_trusted() {
    let mut net = connected(1);
    let ours = net.peers[0].credentials();
    let theirs = net.peers[1].credentials();
    let stranger: SocketAddr = STRANGER.parse().unwrap();
    let before = net.peers[0].agent.stats();
    let guess = "0123456789012345678901";
    let mut naked = [0; 28];
    let mut builder = MessageBuilder::new(&mut naked, Class::Request, Method::BINDING, TransactionId([1; 12]));
    builder.fingerprint();
    let len = builder.finish().unwrap();
    for data in [
        naked[..len].to_vec(),
        check((&ours.ufrag, &theirs.ufrag), guess, |_| {}),
        check(("nobody", &theirs.ufrag), &ours.password, |_| {}),
        check((&ours.ufrag, &theirs.ufrag), &theirs.password, |b| {
            b.use_candidate();
        }),
    ] {
        assert!(answers(&mut net, stranger, &data).is_empty());
    }
    let after = net.peers[0].agent.stats();
    assert_eq!(after.remote_candidates, before.remote_candidates);
    assert_eq!(after.pairs.len(), before.pairs.len());
    let path = Path {
        local: net.peers[0].sockets[0].0,
        remote: stranger,
    };
    assert!(!net.peers[0].agent.is_authenticated(&path));
    assert_eq!(after.counters.unauthenticated, 2);
    assert_eq!(after.counters.bad_integrity, 2);
    // A broken fingerprint is not ICE.
    let mut broken = check((&ours.ufrag, &theirs.ufrag), &ours.password, |_| {});
    *broken.last_mut().unwrap() ^= 1;
    assert!(answers(&mut net, stranger, &broken).is_empty());
    assert_eq!(net.peers[0].agent.stats().counters.bad_fingerprint, 1);
    net.assert_data(1);
}

#[test]
fn who_knows_the_password_is_a_peer() {
    let mut net = connected(2);
    let (ours, theirs) = (net.peers[0].credentials(), net.peers[1].credentials());
    let stranger: SocketAddr = STRANGER.parse().unwrap();
    let data = check((&ours.ufrag, &theirs.ufrag), &ours.password, |_| {});
    let replies = answers(&mut net, stranger, &data);
    let reply = Message::parse(&replies[0]).unwrap();
    assert_eq!(
        (reply.class(), reply.xor_mapped_address()),
        (Class::Success, Some(stranger))
    );
    assert!(reply.check_integrity(&Key::short_term(&ours.password)).is_valid());
    assert!(reply.check_fingerprint().is_valid());
    let path = Path {
        local: net.peers[0].sockets[0].0,
        remote: stranger,
    };
    assert!(net.peers[0].agent.is_authenticated(&path));
    assert_ne!(
        net.peers[0].agent.send_path(),
        Some(path),
        "and is still not sent to before it answers"
    );
}

#[test]
fn unknown_required_attributes_are_named() {
    let mut net = connected(3);
    let (ours, theirs) = (net.peers[0].credentials(), net.peers[1].credentials());
    let data = check((&ours.ufrag, &theirs.ufrag), &ours.password, |b| {
        b.put(AttributeType(0x7abc), b"?").put(AttributeType(0xfabc), b"fine");
    });
    let replies = answers(&mut net, STRANGER.parse().unwrap(), &data);
    let reply = Message::parse(&replies[0]).unwrap();
    assert_eq!(reply.error_code().unwrap().code, 420);
    assert_eq!(reply.unknown_attributes().collect::<Vec<_>>(), [AttributeType(0x7abc)]);
}

#[test]
fn libwebrtc_extras_do_not_matter() {
    let mut net = connected(4);
    let (ours, theirs) = (net.peers[0].credentials(), net.peers[1].credentials());
    for kind in [
        0xc001, 0xc057, 0xc058, 0xc059, 0xc05b, 0xc05c, 0xc060, 0xc070, 0xc071, 0xff00,
    ] {
        let data = check((&ours.ufrag, &theirs.ufrag), &ours.password, |b| {
            b.put(AttributeType(kind), &[0, 1, 2, 3]);
        });
        let replies = answers(&mut net, STRANGER.parse().unwrap(), &data);
        assert_eq!(
            Message::parse(&replies[0]).unwrap().class(),
            Class::Success,
            "{kind:#x}"
        );
    }
}

#[test]
fn a_forged_refusal_or_answer_changes_nothing() {
    let mut net = connected(5);
    let role = net.peers[0].agent.role();
    let (local, from) = (net.peers[0].sockets[0].0, net.peers[1].sockets[0].1);
    for code in [400, 401, 487] {
        let mut buffer = [0; 200];
        let mut builder = MessageBuilder::new(&mut buffer, Class::Error, Method::BINDING, TransactionId([3; 12]));
        builder.error_code(code, "no").fingerprint();
        let len = builder.finish().unwrap();
        net.deliver(0, local, from, &buffer[..len]);
    }
    assert_eq!(net.peers[0].agent.role(), role);
    assert_eq!(net.peers[0].agent.stats().counters.bad_integrity, 3);
    net.run_for(Duration::from_secs(20));
    net.assert_data(0);
}

#[test]
fn v15_floods_stay_within_the_limits() {
    let mut net = connected(6);
    let (ours, theirs) = (net.peers[0].credentials(), net.peers[1].credentials());
    let local = net.peers[0].sockets[0].0;
    // A peer that knows the password, with ten thousand addresses, and an owner who drains nothing.
    let data = check((&ours.ufrag, &theirs.ufrag), &ours.password, |_| {});
    for n in 0..10_000u32 {
        let from = SocketAddr::from(([172, 16, (n >> 8) as u8, n as u8], 9000));
        let path = Path { local, remote: from };
        let datagram = Datagram {
            path,
            ecn: Ecn::NotEct,
            data: BytesMut::from(&data[..]),
        };
        assert!(net.peers[0].agent.handle_datagram(net.now, datagram).is_none());
    }
    let stats = net.peers[0].agent.stats();
    assert!(stats.pairs.len() <= MAX_PAIRS);
    assert_eq!(stats.remote_candidates.len(), MAX_REMOTE_CANDIDATES);
    assert!(stats.counters.over_limit > 9_000);
    let mut out = TransmitBuf::new(1200, 1200);
    let mut sent = 0;
    while net.peers[0].agent.poll_transmit(net.now, &mut out).is_some() {
        out.clear();
        sent += 1;
    }
    assert!(sent <= MAX_OUTGOING);
    assert!(stats.counters.dropped_responses > 9_000);
}

#[test]
fn floods_before_the_description_stay_within_the_limits() {
    let now = antiphon_netsim::start();
    let mut agent = Agent::new(
        Config {
            role: Role::Controlling,
            ..Config::default()
        },
        Rng::from_u64(1),
    );
    agent.gather(now);
    let ours = agent.local_credentials().clone();
    for n in 0..1000u32 {
        let remote = SocketAddr::from(([172, 16, (n >> 8) as u8, n as u8], 9000));
        let path = Path {
            local: Local::Socket(0),
            remote,
        };
        let data = check((&ours.ufrag, "theirs"), &ours.password, |_| {});
        agent.handle_datagram(
            now,
            Datagram {
                path,
                ecn: Ecn::NotEct,
                data: BytesMut::from(&data[..]),
            },
        );
        let text = format!("candidate:{n} 1 udp 1 172.17.0.1 {} typ host", n + 1);
        agent.add_remote_candidate(now, text.parse().unwrap());
    }
    let counters = agent.stats().counters;
    assert_eq!(
        counters.over_limit as usize,
        (1000 - MAX_EARLY_CHECKS) + (1000 - MAX_REMOTE_CANDIDATES)
    );
}

/// V15: what answers what is bounded, however fast the network is.
#[test]
fn v15_nothing_bounces_at_no_round_trip_time() {
    for interfaces in [&["10.0.0.1"][..], &["10.0.0.1", "10.0.0.3", "2001:db8::1"]] {
        let mut net = Net::pair(12);
        net.delay = Duration::ZERO;
        net.peers[0].interfaces = interfaces.iter().map(|ip| ip.parse().unwrap()).collect();
        net.peers[1].interfaces.push("2001:db8::2".parse().unwrap());
        net.start();
        net.connect(Duration::from_secs(5));
        net.run_for(Duration::from_secs(5));
        let before = [net.peers[0].sent, net.peers[1].sent];
        net.run_for(Duration::from_secs(60));
        for (peer, before) in net.peers.iter().zip(before) {
            // Each end asks every four to six seconds, and is asked as often.
            let sent = peer.sent - before;
            assert!((20..=40).contains(&sent), "{sent}");
        }
    }
}

#[test]
fn v21_names_stay_within_the_limits() {
    let mut net = Net::pair(7);
    net.trickle = false;
    net.start();
    let mut asked = 0;
    for n in 0..1000 {
        let text = format!("candidate:{n} 1 udp 1 name{n}.local 7000 typ host");
        net.peers[0].agent.add_remote_candidate(net.now, text.parse().unwrap());
    }
    while net.peers[0].agent.poll_io().is_some() {
        asked += 1;
    }
    assert_eq!(asked, MAX_MDNS_QUERIES);
    // Nobody answers: they are given up, and the agent with them.
    net.run_for(Duration::from_secs(50));
    assert_eq!(net.peers[0].agent.state(), antiphon_ice::ConnectionState::Failed);
}

#[test]
fn addresses_that_cannot_be() {
    let mut net = Net::pair(8);
    net.trickle = false;
    net.start();
    for (ip, port) in [
        ("0.0.0.0", 1),
        ("224.0.0.1", 1),
        ("255.255.255.255", 1),
        ("::", 1),
        ("ff02::1", 1),
        ("::ffff:127.0.0.1", 1),
        ("10.0.0.9", 0),
    ] {
        let text = format!("candidate:1 1 udp 1 {ip} {port} typ host");
        net.peers[0].agent.add_remote_candidate(net.now, text.parse().unwrap());
    }
    // Loopback is accepted, and paired with nothing here: it may not be used to reach our own machine's services.
    net.peers[0]
        .agent
        .add_remote_candidate(net.now, "candidate:1 1 udp 1 127.0.0.1 22 typ host".parse().unwrap());
    let stats = net.peers[0].agent.stats();
    assert_eq!(stats.counters.ignored_candidates, 7);
    assert_eq!(stats.pairs.len(), 0);
}

#[test]
fn an_owner_who_never_drains() {
    let now = antiphon_netsim::start();
    let mut agent = Agent::new(Config::default(), Rng::from_u64(2));
    for _ in 0..2000 {
        agent.restart(now);
        agent.gather(now);
    }
    let mut events = 0;
    while agent.poll_event().is_some() {
        events += 1;
    }
    let mut requests = 0;
    while agent.poll_io().is_some() {
        requests += 1;
    }
    assert!(events <= MAX_EVENTS && requests <= MAX_IO_REQUESTS);
}

#[derive(Clone, Debug)]
enum Op {
    Wait(u16),
    Forward(u8),
    Replay(u8),
    Mutate(u8, u16, u8),
    Noise(Vec<u8>),
    Signed(Vec<(u16, Vec<u8>)>),
    Candidate(u8, u16),
    Restart(bool),
    Role(bool),
    Lose(bool),
    Jump,
    SocketGone,
}

fn ops() -> impl Strategy<Value = Vec<Op>> {
    let op = prop_oneof![
        4 => (0u16..3000).prop_map(Op::Wait),
        2 => any::<u8>().prop_map(Op::Forward),
        2 => any::<u8>().prop_map(Op::Replay),
        2 => any::<(u8, u16, u8)>().prop_map(|(a, b, c)| Op::Mutate(a, b, c)),
        1 => prop::collection::vec(any::<u8>(), 0..80).prop_map(Op::Noise),
        2 => prop::collection::vec((0u16..0x40, prop::collection::vec(any::<u8>(), 0..24)), 0..4).prop_map(Op::Signed),
        1 => any::<(u8, u16)>().prop_map(|(a, b)| Op::Candidate(a, b)),
        1 => any::<bool>().prop_map(Op::Restart),
        1 => any::<bool>().prop_map(Op::Role),
        1 => any::<bool>().prop_map(Op::Lose),
        1 => Just(Op::Jump),
        1 => Just(Op::SocketGone),
    ];
    prop::collection::vec(op, 1..60)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    /// Whatever happens, in whatever order: no panic, no hot loop, no time-out in the past (`Net` asserts those), and
    /// no list beyond its limit.
    #[test]
    fn anything_goes(seed: u64, ops in ops()) {
        let mut net = Net::pair(seed % 1000);
        net.start();
        let mut captured: Vec<Vec<u8>> = vec![vec![0; 20]];
        let mut sockets = 1;
        for op in ops {
            let now = net.now;
            let (local, from) = (Local::Socket(0), net.peers[1].sockets[0].1);
            let ours = net.peers[0].credentials();
            match op {
                Op::Wait(ms) => net.run_for(Duration::from_millis(u64::from(ms))),
                Op::Forward(n) => {
                    let theirs = net.peers[1].credentials();
                    let data = check((&ours.ufrag, &theirs.ufrag), &ours.password, |b| {
                        if n % 2 == 0 {
                            b.use_candidate();
                        }
                    });
                    net.deliver(0, local, SocketAddr::from(([10, 9, 0, n], 1)), &data);
                    captured.push(data);
                }
                Op::Replay(n) => {
                    let data = captured[usize::from(n) % captured.len()].clone();
                    net.deliver(0, local, from, &data);
                }
                Op::Mutate(n, at, value) => {
                    let mut data = captured[usize::from(n) % captured.len()].clone();
                    let at = usize::from(at) % data.len();
                    data[at] ^= value;
                    net.deliver(0, local, from, &data);
                }
                Op::Noise(data) => net.deliver(0, local, from, &data),
                Op::Signed(attributes) => {
                    let data = check((&ours.ufrag, "whoever"), &ours.password, |b| {
                        for (kind, value) in &attributes {
                            b.put(AttributeType(*kind), value);
                        }
                    });
                    net.deliver(0, local, from, &data);
                }
                Op::Candidate(n, port) => {
                    let text = format!("candidate:1 1 udp {} 10.3.0.{n} {port} typ host", u32::from(port) + 1);
                    let candidate: Candidate = text.parse().unwrap();
                    net.peers[0].agent.add_remote_candidate(now, candidate);
                }
                Op::Restart(also_peer) => {
                    net.peers[0].agent.restart(now);
                    net.peers[0].agent.gather(now);
                    if also_peer {
                        net.peers[1].agent.restart(now);
                        net.peers[1].agent.gather(now);
                    }
                    net.settle();
                    net.exchange_credentials();
                }
                Op::Role(controlling) => {
                    let role = if controlling { Role::Controlling } else { Role::Controlled };
                    net.peers[0].agent.set_role(role);
                }
                Op::Lose(all) => net.cut = all,
                // V28: the clock leaps a day.
                Op::Jump => {
                    net.now += Duration::from_secs(86_400);
                    net.peers[0].agent.handle_timeout(net.now);
                    net.peers[1].agent.handle_timeout(net.now);
                }
                Op::SocketGone => {
                    net.peers[0].agent.handle_io(now, IoEvent::Closed { local });
                    sockets = net.peers[0].sockets.len();
                }
            }
            net.settle();
            let stats = net.peers[0].agent.stats();
            prop_assert!(stats.pairs.len() <= MAX_PAIRS);
            prop_assert!(stats.remote_candidates.len() <= MAX_REMOTE_CANDIDATES);
        }
        let _ = sockets;
        let now = net.now;
        net.peers[0].agent.close(now);
        net.settle();
        prop_assert_eq!(net.peers[0].agent.poll_timeout(), None);
        prop_assert!(matches!(net.peers[0].events.last(), Some(Event::State(antiphon_ice::ConnectionState::Closed))));
    }
}
