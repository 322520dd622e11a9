//! What settings do: filters, ports, names, mappings, both families.

mod pipe;

use std::net::IpAddr;
use std::time::Duration;

use antiphon_ice::{
    AddressRange, Candidate, CandidateAddress, CandidateKind, Config, GatheringState, IoEvent, IoRequest, NatMapping,
    NetworkTypes, Role, TcpCandidates, TransportPolicy,
};
use pipe::Net;

const LIMIT: Duration = Duration::from_secs(20);

fn udp_only() -> Config {
    Config {
        role: Role::Controlling,
        tcp: TcpCandidates::OFF,
        ..Config::default()
    }
}

/// What the first end, with these interfaces, signals.
fn signalled(config: Config, interfaces: &[&str]) -> (Net, Vec<Candidate>) {
    let mut net = Net::new(1, config, Config::default());
    net.peers[0].interfaces = interfaces.iter().map(|ip| ip.parse().unwrap()).collect();
    net.trickle = false;
    let now = net.now;
    net.peers[0].agent.gather(now);
    net.settle();
    assert_eq!(net.peers[0].agent.gathering_state(), GatheringState::Complete);
    let candidates = net.peers[0].trickle.clone();
    (net, candidates)
}

fn addresses(candidates: &[Candidate]) -> Vec<String> {
    candidates
        .iter()
        .map(|candidate| candidate.address.to_string())
        .collect()
}

#[test]
fn address_filters() {
    let ranges = |texts: &[&str]| -> Vec<AddressRange> { texts.iter().map(|text| text.parse().unwrap()).collect() };
    let interfaces = ["10.0.0.1", "192.168.1.1", "172.17.0.1", "2001:db8::1"];
    let config = Config {
        denied_addresses: ranges(&["172.16.0.0/12", "2001:db8::/32"]),
        ..udp_only()
    };
    assert_eq!(
        addresses(&signalled(config, &interfaces).1),
        ["10.0.0.1", "192.168.1.1"]
    );
    let config = Config {
        allowed_addresses: ranges(&["192.168.0.0/16", "2000::/3"]),
        ..udp_only()
    };
    assert_eq!(
        addresses(&signalled(config, &interfaces).1),
        ["2001:db8::1", "192.168.1.1"]
    );
}

#[test]
fn network_types() {
    let interfaces = ["10.0.0.1", "2001:db8::1"];
    for (types, expected) in [
        ([true, false, false, false], vec!["10.0.0.1 udp"]),
        ([false, true, false, false], vec!["2001:db8::1 udp"]),
        ([false, false, true, false], vec!["10.0.0.1 tcp"]),
        (
            [false, true, true, true],
            vec!["10.0.0.1 tcp", "2001:db8::1 udp", "2001:db8::1 tcp"],
        ),
        ([false; 4], vec![]),
    ] {
        let [udp4, udp6, tcp4, tcp6] = types;
        let config = Config {
            network_types: NetworkTypes { udp4, udp6, tcp4, tcp6 },
            ..Config::default()
        };
        let (_, candidates) = signalled(config, &interfaces);
        let mut found: Vec<String> = candidates
            .iter()
            .map(|c| format!("{} {}", c.address, c.protocol))
            .collect();
        let mut expected: Vec<String> = expected.iter().map(|&text| text.to_owned()).collect();
        found.sort();
        expected.sort();
        assert_eq!(found, expected);
    }
}

#[test]
fn families_alternate_in_priority() {
    // RFC 8421 §4: neither family waits behind all of the other.
    let (_, candidates) = signalled(
        udp_only(),
        &["10.0.0.1", "10.0.0.2", "10.0.0.3", "2001:db8::1", "2001:db8::2"],
    );
    let mut sorted = candidates.clone();
    sorted.sort_by_key(|candidate| std::cmp::Reverse(candidate.priority));
    assert_eq!(
        addresses(&sorted),
        ["2001:db8::1", "10.0.0.1", "2001:db8::2", "10.0.0.2", "10.0.0.3"]
    );
    sorted.dedup_by_key(|candidate| candidate.priority);
    assert_eq!(sorted.len(), 5);
}

#[test]
fn port_ranges() {
    let config = Config {
        port_range: Some(40_000..=40_009),
        ..udp_only()
    };
    for seed in 0..20 {
        let mut net = Net::new(seed, config.clone(), Config::default());
        net.peers[0].taken = |port| port != 40_003;
        net.trickle = false;
        let now = net.now;
        net.peers[0].agent.gather(now);
        net.settle();
        assert_eq!(net.peers[0].trickle.len(), 1);
        assert_eq!(net.peers[0].trickle[0].port, 40_003, "the only one that is free");
    }
    // None is free: gathering ends without.
    let mut net = Net::new(1, config, Config::default());
    net.peers[0].taken = |_| true;
    let now = net.now;
    net.peers[0].agent.gather(now);
    net.settle();
    assert!(net.peers[0].trickle.is_empty());
    assert_eq!(net.peers[0].agent.gathering_state(), GatheringState::Complete);
    // A fixed port is not replaced by another.
    let config = Config {
        port: 5555,
        port_range: Some(40_000..=40_009),
        ..udp_only()
    };
    assert_eq!(signalled(config, &["10.0.0.1"]).1[0].port, 5555);
}

#[test]
fn names_hide_addresses() {
    let config = Config {
        hide_host_addresses: true,
        nat_mappings: vec![NatMapping {
            internal: None,
            external: "203.0.113.9".parse().unwrap(),
            kind: CandidateKind::ServerReflexive,
        }],
        tcp: TcpCandidates {
            active: true,
            passive: true,
            simultaneous_open: false,
        },
        ..udp_only()
    };
    let (mut net, candidates) = signalled(config, &["10.0.0.1", "2001:db8::1"]);
    let published = net.peers[0].published.clone();
    assert_eq!(published.len(), 2, "one name for each address");
    for (name, _) in &published {
        let label = name.strip_suffix(".local").unwrap();
        assert_eq!((label.len(), label.matches('-').count()), (36, 4));
    }
    let hosts: Vec<&Candidate> = candidates.iter().filter(|c| c.kind == CandidateKind::Host).collect();
    assert_eq!(hosts.len(), 6);
    for host in hosts {
        assert!(matches!(&host.address, CandidateAddress::Name(name) if published.iter().any(|(own, _)| own == name)));
    }
    for candidate in &candidates {
        let text = candidate.to_string();
        assert!(!text.contains("10.0.0.1") && !text.contains("2001:db8"), "{text}");
    }
    // Statistics keep the secret; the pairs work all the same.
    let stats = net.peers[0].agent.stats();
    assert!(
        stats
            .local_candidates
            .iter()
            .all(|c| !c.candidate.to_string().contains("10.0.0.1"))
    );
    net.peers[1].names = published.iter().map(|(name, ip)| (name.clone(), *ip)).collect();
    net.trickle = true;
    let now = net.now;
    net.peers[1].agent.gather(now);
    net.exchange_credentials();
    net.settle();
    net.connect(LIMIT);
    net.assert_data(0);
    net.assert_data(1);
    // Another generation says the same names; the end takes them back.
    let now = net.now;
    net.peers[0].agent.restart(now);
    net.peers[0].agent.gather(now);
    net.settle();
    assert_eq!(net.peers[0].published.len(), 2);
    net.peers[0].agent.close(now);
    net.settle();
    assert_eq!(net.peers[0].withdrawn.len(), 2);
}

#[test]
fn v21_a_name_that_nobody_answers_for_is_not_said() {
    for answer in [true, false] {
        let config = Config {
            hide_host_addresses: true,
            ..udp_only()
        };
        let mut net = Net::new(2, config, Config::default());
        let now = net.now;
        let agent = &mut net.peers[0].agent;
        agent.gather(now);
        let mut asked = None;
        while let Some(request) = agent.poll_io() {
            match request {
                IoRequest::ListInterfaces { watch } => {
                    assert!(watch);
                    agent.handle_io(now, IoEvent::Interfaces(vec!["10.0.0.1".parse().unwrap()]));
                }
                IoRequest::BindUdp { request, addr, .. } => {
                    let local = antiphon_sansio::Local::Socket(0);
                    let addr = (addr.ip(), 5000).into();
                    agent.handle_io(now, IoEvent::UdpBound { request, local, addr });
                }
                IoRequest::PublishMdns { request, .. } => asked = Some(request),
                _ => unreachable!(),
            }
        }
        let request = asked.unwrap();
        assert_eq!(agent.gathering_state(), GatheringState::Gathering);
        if answer {
            let reason = "no multicast here".to_owned();
            agent.handle_io(now, IoEvent::Failed { request, reason });
        } else {
            // Not even that: time ends it.
            let deadline = agent.poll_timeout().unwrap();
            agent.handle_timeout(deadline);
        }
        assert_eq!(agent.gathering_state(), GatheringState::Complete);
        let mut events = std::iter::from_fn(|| agent.poll_event());
        assert!(!events.any(|event| matches!(event, antiphon_ice::Event::LocalCandidate(_))));
    }
}

#[test]
fn mapped_addresses() {
    let mapping = |kind| NatMapping {
        internal: Some("10.0.0.1".parse().unwrap()),
        external: "203.0.113.9".parse().unwrap(),
        kind,
    };
    let with = |kind| Config {
        nat_mappings: vec![mapping(kind)],
        ..udp_only()
    };
    let interfaces = ["10.0.0.1", "10.0.0.2"];
    let (_, candidates) = signalled(with(CandidateKind::Host), &interfaces);
    assert_eq!(addresses(&candidates), ["203.0.113.9", "10.0.0.2"]);
    assert!(candidates.iter().all(|candidate| candidate.kind == CandidateKind::Host));
    let (_, candidates) = signalled(with(CandidateKind::ServerReflexive), &interfaces);
    assert_eq!(addresses(&candidates), ["10.0.0.1", "203.0.113.9", "10.0.0.2"]);
    let reflexive = &candidates[1];
    assert_eq!(reflexive.kind, CandidateKind::ServerReflexive);
    assert_eq!(reflexive.related, Some("10.0.0.1:5000".parse().unwrap()));
    assert_eq!(reflexive.port, 5000);
    // Through the NAT: the peer sees what was said, and no peer-reflexive candidate comes of it.
    let mut net = Net::new(3, with(CandidateKind::Host), Config::default());
    let inside = "10.0.0.1:5000".parse().unwrap();
    net.peers[0].mapped = vec![(inside, "203.0.113.9:5000".parse().unwrap())];
    net.filter = |_, to| to.ip() != "10.0.0.1".parse::<IpAddr>().unwrap();
    net.start();
    net.connect(LIMIT);
    net.assert_data(0);
    net.assert_data(1);
    for peer in &net.peers {
        let stats = peer.agent.stats();
        let all = stats.local_candidates.iter().chain(&stats.remote_candidates);
        assert_eq!(
            all.filter(|c| c.candidate.kind == CandidateKind::PeerReflexive).count(),
            0
        );
    }
}

#[test]
fn relays_alone() {
    let config = Config {
        transport_policy: TransportPolicy::Relay,
        tcp: TcpCandidates {
            active: true,
            passive: true,
            simultaneous_open: true,
        },
        ..udp_only()
    };
    let (net, candidates) = signalled(config, &["10.0.0.1"]);
    assert!(candidates.is_empty());
    assert!(net.peers[0].listeners.is_empty());
}
