//! ICE over TCP (RFC 6544).

mod pipe;

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_ice::{
    CandidateKind, Config, ConnectionState, IoEvent, IoRequest, MAX_CONNECTIONS, NetworkTypes, Protocol, Role,
    TcpCandidates, TcpType,
};
use antiphon_sansio::Local;
use pipe::{MS, Net};

const LIMIT: Duration = Duration::from_secs(20);

const PASSIVE: TcpCandidates = TcpCandidates {
    active: true,
    passive: true,
    simultaneous_open: false,
};

const OPEN: TcpCandidates = TcpCandidates {
    active: false,
    passive: false,
    simultaneous_open: true,
};

/// Two agents, of which the first controls. Without UDP candidates unless `udp`.
fn pair(seed: u64, tcp: [TcpCandidates; 2], udp: bool) -> Net {
    let config = |role, tcp| Config {
        role,
        tcp,
        network_types: NetworkTypes {
            udp4: udp,
            ..NetworkTypes::default()
        },
        ..Config::default()
    };
    Net::new(
        seed,
        config(Role::Controlling, tcp[0]),
        config(Role::Controlled, tcp[1]),
    )
}

#[test]
fn active_connects_to_passive_in_either_role() {
    for tcp in [
        [TcpCandidates::default(), PASSIVE],
        [PASSIVE, TcpCandidates::default()],
        [PASSIVE, PASSIVE],
    ] {
        let mut net = pair(1, tcp, false);
        net.start();
        // There is nothing better to wait for.
        for peer in &mut net.peers {
            peer.agent.end_of_remote_candidates(net.now);
        }
        let took = net.connect(LIMIT);
        // A round trip for TCP, one until the pair is valid, one for the nomination; slow start costs at most one more.
        assert!(took <= 81 * MS, "{took:?}");
        for index in 0..2 {
            net.assert_data(index);
            let agent = &net.peers[index].agent;
            let path = agent.selected_path().unwrap();
            assert!(matches!(path.local, Local::Tcp(_)));
            assert_eq!(agent.path_room(&path), (2, 0));
            let stats = agent.stats();
            let selected = stats.pairs.iter().find(|pair| pair.selected).unwrap();
            assert_eq!((selected.traffic.packets_sent, selected.traffic.bytes_sent), (1, 5));
            let of = |list: &[antiphon_ice::CandidateStats], id| {
                let found = list.iter().find(|candidate| candidate.id == id).unwrap();
                (found.candidate.protocol, found.candidate.tcp_type.unwrap())
            };
            let (local, remote) = (
                of(&stats.local_candidates, selected.local),
                of(&stats.remote_candidates, selected.remote),
            );
            assert_eq!((local.0, remote.0), (Protocol::Tcp, Protocol::Tcp));
            let types = [local.1, remote.1];
            assert!(types == [TcpType::Active, TcpType::Passive] || types == [TcpType::Passive, TcpType::Active]);
        }
        // It stays up, and falls with the other end.
        net.run_for(Duration::from_secs(120));
        assert!(net.peers.iter().all(|peer| peer.agent.may_send()));
        net.cut = true;
        net.run_for(Duration::from_secs(31));
        assert!(net.peers.iter().all(|peer| !peer.agent.may_send()));
    }
}

#[test]
fn udp_is_preferred_and_tcp_is_there_when_it_is_blocked() {
    let mut net = pair(2, [PASSIVE, PASSIVE], true);
    net.start();
    net.connect(LIMIT);
    assert!(matches!(
        net.peers[0].agent.selected_path().unwrap().local,
        Local::Socket(_)
    ));
    let mut net = pair(2, [PASSIVE, PASSIVE], true);
    // UDP sockets have ports from 5000, listeners from 7000.
    net.filter = |from, to| !(5000..5100).contains(&from.port()) && !(5000..5100).contains(&to.port());
    net.start();
    let took = net.connect(LIMIT);
    assert!(matches!(
        net.peers[0].agent.selected_path().unwrap().local,
        Local::Tcp(_)
    ));
    assert!(took < Duration::from_millis(400), "{took:?}");
    net.assert_data(0);
    net.assert_data(1);
}

#[test]
fn both_connect_at_once() {
    let mut net = pair(3, [OPEN, OPEN], false);
    net.start();
    net.connect(LIMIT);
    net.assert_data(0);
    net.assert_data(1);
    for peer in &net.peers {
        let stats = peer.agent.stats();
        let types: Vec<_> = stats.local_candidates.iter().map(|c| c.candidate.tcp_type).collect();
        assert_eq!(types, [Some(TcpType::SimultaneousOpen)]);
    }
}

#[test]
fn what_is_signalled() {
    let mut net = pair(4, [PASSIVE, PASSIVE], true);
    net.trickle = false;
    net.start();
    let texts: Vec<String> = net.peers[0]
        .trickle
        .iter()
        .map(|candidate| candidate.to_string())
        .collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    let host = |port: u16, tcp_type: &str| {
        let found = texts.iter().find(|text| text.contains(&format!(" tcptype {tcp_type}")));
        let text = found.unwrap_or_else(|| panic!("{tcp_type} in {texts:?}"));
        assert!(
            text.contains(&format!(" 10.0.0.1 {port} typ host tcptype {tcp_type}")),
            "{text}"
        );
        text.parse::<antiphon_ice::Candidate>().unwrap().priority
    };
    // RFC 6544 §4.2: active before passive, and both behind UDP.
    let (active, passive) = (host(9, "active"), host(7000, "passive"));
    let udp = net.peers[0]
        .trickle
        .iter()
        .find(|c| c.protocol == Protocol::Udp)
        .unwrap();
    assert!(udp.priority > active && active > passive);
    assert_eq!(
        net.peers[0].trickle[0].protocol,
        Protocol::Udp,
        "simple peers read the first"
    );
}

#[test]
fn a_broken_connection_is_made_again() {
    let mut net = pair(5, [TcpCandidates::default(), PASSIVE], false);
    net.start();
    net.connect(LIMIT);
    for round in 0..3 {
        let path = net.peers[0].agent.selected_path().unwrap();
        let other = net.peers[1].agent.selected_path().unwrap();
        net.break_connection(0, path.local);
        net.break_connection(1, other.local);
        assert!(
            net.peers[0].agent.state().is_connected(),
            "the application hears nothing of it"
        );
        net.run_for(Duration::from_secs(2));
        assert!(net.is_connected(), "round {round}");
        assert_ne!(net.peers[0].agent.selected_path().unwrap().local, path.local);
        net.assert_data(0);
        net.assert_data(1);
    }
    for peer in &net.peers {
        assert!(
            !peer.states().contains(&ConnectionState::Disconnected),
            "{:?}",
            peer.states()
        );
    }
    // Without anybody to connect to it ends as consent does.
    let path = net.peers[0].agent.selected_path().unwrap();
    net.cut = true;
    net.break_connection(0, path.local);
    net.run_for(Duration::from_secs(4));
    assert!(net.peers[0].agent.state().is_connected());
    net.run_for(Duration::from_secs(2));
    assert_eq!(net.peers[0].agent.state(), ConnectionState::Disconnected);
    net.run_for(Duration::from_secs(25));
    assert_eq!(net.peers[0].agent.state(), ConnectionState::Failed);
    assert!(!net.peers[0].agent.may_send());
}

#[test]
fn v15_strangers_connections_are_few_and_short() {
    let mut net = pair(6, [TcpCandidates::default(), PASSIVE], false);
    net.start();
    net.connect(LIMIT);
    let (request, addr) = net.peers[1].listeners[0];
    net.peers[1].closed.clear();
    let now = net.now;
    for n in 0..200u32 {
        let remote: SocketAddr = format!("198.51.100.{}:{}", n % 250 + 1, 2000 + n).parse().unwrap();
        net.peers[1].agent.handle_io(
            now,
            IoEvent::TcpAccepted {
                request,
                local: Local::Tcp(1000 + n),
                addr,
                remote,
            },
        );
    }
    net.settle();
    let refused = net.peers[1].closed.len();
    assert!(refused >= 200 - MAX_CONNECTIONS, "{refused}");
    net.run_for(Duration::from_secs(11));
    assert_eq!(net.peers[1].closed.len(), 200, "silent ones are closed");
    net.assert_data(0);
    // A listener that nobody asked for, and connections of it, are closed at once.
    let now = net.now;
    let agent = &mut net.peers[1].agent;
    let (request, local) = (4711, Local::Tcp(5000));
    agent.handle_io(now, IoEvent::TcpListening { request, addr });
    assert_eq!(agent.poll_io(), Some(IoRequest::CloseListener { request }));
    let remote = addr;
    agent.handle_io(
        now,
        IoEvent::TcpAccepted {
            request,
            local,
            addr,
            remote,
        },
    );
    assert_eq!(agent.poll_io(), Some(IoRequest::Close(local)));
}

#[test]
fn v15_a_peer_cannot_send_us_to_system_services() {
    let mut net = pair(7, [TcpCandidates::default(), TcpCandidates::OFF], false);
    net.start();
    for port in [22, 25, 1023, 9] {
        let text = format!("candidate:1 1 tcp 1518280447 10.0.0.2 {port} typ host tcptype passive");
        net.peers[0].agent.add_remote_candidate(net.now, text.parse().unwrap());
    }
    // Neither one without a type, which nobody could connect to.
    let text = "candidate:1 1 tcp 1518280447 10.0.0.2 5000 typ host";
    net.peers[0].agent.add_remote_candidate(net.now, text.parse().unwrap());
    net.run_for(Duration::from_secs(1));
    let stats = net.peers[0].agent.stats();
    assert_eq!(
        (stats.remote_candidates.len(), stats.counters.ignored_candidates),
        (0, 5)
    );
    let text = "candidate:1 1 tcp 1518280447 10.0.0.2 443 typ host tcptype passive";
    net.peers[0].agent.add_remote_candidate(net.now, text.parse().unwrap());
    assert!(matches!(
        net.peers[0].agent.poll_io(),
        Some(IoRequest::ConnectTcp { to, .. }) if to.port() == 443
    ));
}

#[test]
fn the_end_closes_everything() {
    let mut net = pair(8, [PASSIVE, PASSIVE], true);
    net.start();
    net.connect(LIMIT);
    net.run_for(Duration::from_secs(1));
    let now = net.now;
    for index in 0..2 {
        net.peers[index].agent.close(now);
    }
    net.settle();
    for peer in &net.peers {
        assert!(peer.listeners.is_empty());
        assert!(peer.connections.iter().all(|connection| !connection.open));
        assert_eq!(peer.agent.poll_timeout(), None);
        let kinds = peer.agent.stats().local_candidates;
        assert!(kinds.iter().all(|c| c.candidate.kind == CandidateKind::Host));
    }
}
