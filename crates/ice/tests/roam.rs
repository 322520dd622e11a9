//! Interfaces come and go, pairs are nominated anew, and the application hears nothing of it.

mod pipe;

use std::time::Duration;

use antiphon_ice::{Config, ConnectionState, Event, GatheringState, MAX_REMOTE_CANDIDATES, Role, TcpCandidates};
use antiphon_sansio::Local;
use pipe::Net;

const LIMIT: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);

/// The first end moves; which of the two controls, and whether both know renomination.
fn roaming(seed: u64, mover: Role, renomination: bool) -> Net {
    let config = |role| Config {
        role,
        tcp: TcpCandidates::OFF,
        renomination,
        ..Config::default()
    };
    let mut net = Net::new(seed, config(mover), config(mover.opposite()));
    for peer in &mut net.peers {
        peer.agent.set_remote_renomination(renomination);
    }
    net.start();
    net.connect(LIMIT);
    for peer in &mut net.peers {
        peer.agent.end_of_remote_candidates(net.now);
        peer.events.clear();
    }
    net
}

fn combinations() -> impl Iterator<Item = (Role, bool)> {
    [Role::Controlling, Role::Controlled]
        .into_iter()
        .flat_map(|role| [(role, true), (role, false)])
}

fn assert_no_disconnect(net: &Net) {
    for peer in &net.peers {
        let states = peer.states();
        let bad = |state: &&ConnectionState| !state.is_connected();
        assert_eq!(states.iter().find(bad), None, "{states:?}");
    }
}

fn local_ip(net: &Net, index: usize) -> String {
    let path = net.peers[index].agent.selected_path().unwrap();
    net.peers[index].addr_of(path.local).ip().to_string()
}

#[test]
fn another_address_of_the_same_interface() {
    // The address is exchanged: the old one is gone at the moment at which the new one is there.
    for (mover, renomination) in combinations() {
        for seed in 0..10 {
            let mut net = roaming(seed, mover, renomination);
            net.run_for(7 * SECOND);
            net.set_interfaces(0, &["10.0.0.77"]);
            let moved_at = net.now;
            while !(net.is_connected() && local_ip(&net, 0) == "10.0.0.77") {
                assert!(
                    net.now < moved_at + 4 * SECOND,
                    "{mover:?} {renomination} {seed}: never moved"
                );
                net.step(moved_at + 10 * SECOND);
            }
            assert_no_disconnect(&net);
            net.assert_data(0);
            net.assert_data(1);
            // The old candidate is gone, the new one was signalled, and gathering ended once more.
            let events = &net.peers[0].events;
            let gone = |e: &Event| matches!(e, Event::LocalCandidateGone(c) if c.to_string().contains("10.0.0.1 "));
            let came = |e: &Event| matches!(e, Event::LocalCandidate(c) if c.to_string().contains("10.0.0.77 "));
            assert!(events.iter().any(gone) && events.iter().any(came));
            let gathering: Vec<_> = events
                .iter()
                .filter_map(|e| match e {
                    Event::GatheringState(state) => Some(*state),
                    _ => None,
                })
                .collect();
            assert_eq!(gathering, [GatheringState::Gathering, GatheringState::Complete]);
            net.run_for(60 * SECOND);
            assert_no_disconnect(&net);
        }
    }
}

#[test]
fn without_trickling_the_checks_tell_the_new_address() {
    for (mover, renomination) in combinations() {
        let mut net = roaming(20, mover, renomination);
        net.trickle = false;
        net.set_interfaces(0, &["10.0.0.77"]);
        net.run_for(4 * SECOND);
        assert!(net.is_connected(), "{mover:?} {renomination}");
        assert_eq!(local_ip(&net, 0), "10.0.0.77");
        assert_no_disconnect(&net);
        net.assert_data(0);
        net.assert_data(1);
    }
}

#[test]
fn one_interface_of_two_goes_and_comes_back() {
    for (mover, renomination) in combinations() {
        let mut net = roaming(30, mover, renomination);
        // The second interface comes in mid-call. With renomination its IPv4 address changes nothing: the first is as
        // good.
        net.set_interfaces(0, &["10.0.0.1", "10.0.0.9"]);
        net.run_for(3 * SECOND);
        assert_eq!(local_ip(&net, 0), "10.0.0.1");
        net.set_interfaces(0, &["10.0.0.9"]);
        net.run_for(4 * SECOND);
        assert!(net.is_connected(), "{mover:?} {renomination}");
        assert_eq!(local_ip(&net, 0), "10.0.0.9");
        net.set_interfaces(0, &["10.0.0.9", "10.0.0.1"]);
        net.run_for(20 * SECOND);
        assert!(net.is_connected());
        net.assert_data(0);
        net.assert_data(1);
        assert_no_disconnect(&net);
    }
}

#[test]
fn a_better_path_is_taken_if_both_ends_know_renomination() {
    for (controlling, renomination) in combinations() {
        let config = |role| Config {
            role,
            tcp: TcpCandidates {
                active: true,
                passive: true,
                simultaneous_open: false,
            },
            renomination,
            ..Config::default()
        };
        let mut net = Net::new(40, config(controlling), config(controlling.opposite()));
        for peer in &mut net.peers {
            peer.agent.set_remote_renomination(renomination);
        }
        // UDP sockets have ports from 5000.
        net.filter = |from, to| ![from, to].iter().any(|addr| (5000..5100).contains(&addr.port()));
        net.start();
        net.connect(LIMIT);
        // While nothing better works, trying costs little: a look every quarter of a minute.
        net.run_for(60 * SECOND);
        let before = [net.peers[0].sent, net.peers[1].sent];
        net.run_for(600 * SECOND);
        for (peer, before) in net.peers.iter().zip(before) {
            let sent = peer.sent - before;
            assert!(sent < 2 * 125 + 40 * 12, "{sent} in ten minutes");
        }
        let is_udp = |net: &Net| matches!(net.peers[0].agent.selected_path().unwrap().local, Local::Socket(_));
        assert!(!is_udp(&net));
        for peer in &mut net.peers {
            peer.events.clear();
        }
        net.filter = |_, _| true;
        net.run_for(40 * SECOND);
        // RFC 8445 §8.1.1 knows one nomination: a peer that knows no other stays where it is.
        assert_eq!(is_udp(&net), renomination, "{controlling:?}");
        assert!(net.is_connected());
        assert_no_disconnect(&net);
        net.assert_data(0);
        net.assert_data(1);
    }
}

#[test]
fn a_path_that_dies_silently_is_left_before_anybody_hears_of_it() {
    for (mover, renomination) in combinations() {
        for seed in 50..60 {
            let mut net = roaming(seed, mover, renomination);
            net.set_interfaces(0, &["10.0.0.1", "10.0.0.9"]);
            net.run_for(SECOND * (seed as u32 % 7));
            // No driver notices; only datagrams do not come through.
            net.filter = |from, to| ![from, to].iter().any(|a| a.ip().to_string() == "10.0.0.1");
            net.run_for(12 * SECOND);
            assert!(net.is_connected(), "{mover:?} {renomination} {seed}");
            assert_eq!(local_ip(&net, 0), "10.0.0.9");
            assert_no_disconnect(&net);
            net.assert_data(0);
            net.assert_data(1);
        }
    }
}

#[test]
fn no_path_at_all_is_told_and_ends() {
    for mover in [Role::Controlling, Role::Controlled] {
        let mut net = roaming(60, mover, true);
        net.set_interfaces(0, &[]);
        assert!(!net.peers[0].agent.may_send());
        net.run_for(4 * SECOND);
        assert!(net.peers[0].agent.state().is_connected());
        net.run_for(2 * SECOND);
        assert_eq!(net.peers[0].agent.state(), ConnectionState::Disconnected);
        // It comes back in time.
        net.set_interfaces(0, &["10.0.0.5"]);
        net.run_for(4 * SECOND);
        assert!(net.is_connected());
        net.assert_data(0);
        // And once more, for too long: RFC 7675 §5.1.
        net.set_interfaces(0, &[]);
        net.run_for(31 * SECOND);
        for peer in &net.peers {
            assert_eq!(peer.agent.state(), ConnectionState::Failed);
            assert!(!peer.agent.may_send());
        }
        assert_eq!(net.peers[0].agent.poll_timeout(), None);
    }
}

#[test]
fn interfaces_that_flap_for_hours_leave_nothing_behind() {
    let mut net = roaming(70, Role::Controlled, true);
    for round in 0..400u32 {
        // Never a second generation: what is dead makes room for what comes.
        let ip = format!("10.0.{}.{}", round / 200 + 1, round % 200 + 1);
        net.set_interfaces(0, &[&ip]);
        net.run_for(2 * SECOND);
        let stats = net.peers[0].agent.stats();
        assert!(stats.local_candidates.len() <= 4, "{}", stats.local_candidates.len());
        assert!(stats.pairs.len() <= 8, "{}", stats.pairs.len());
        assert!(net.peers[1].agent.stats().remote_candidates.len() <= MAX_REMOTE_CANDIDATES);
        assert!(net.is_connected(), "round {round}");
    }
}

#[test]
fn switched_off_nothing_moves() {
    let config = |role| Config {
        role,
        continual_gathering: false,
        ..Config::default()
    };
    let mut net = Net::new(80, config(Role::Controlling), config(Role::Controlled));
    net.start();
    net.connect(LIMIT);
    net.peers[0].events.clear();
    net.set_interfaces(0, &["10.0.0.1", "10.0.0.2"]);
    net.run_for(SECOND);
    assert!(net.peers[0].events.is_empty());
    assert_eq!(net.peers[0].sockets.len(), 1);
}

#[test]
fn what_is_known_of_a_pair_stays_with_it_when_others_go() {
    let mut net = Net::pair(5);
    net.peers[0].interfaces = vec!["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    net.peers[1].interfaces = vec!["10.0.0.2".parse().unwrap(), "2001:db8::2".parse().unwrap()];
    net.start();
    net.connect(LIMIT);
    net.filter = |from, _| from.is_ipv4();
    net.run_for(15 * SECOND);
    for _ in 0..3 {
        net.assert_data(0);
    }
    let selected = |net: &Net| {
        let stats = net.peers[0].agent.stats();
        let pair = stats.pairs.into_iter().find(|pair| pair.selected).unwrap();
        let local = stats.local_candidates.into_iter().find(|local| local.id == pair.local);
        let remote = stats
            .remote_candidates
            .into_iter()
            .find(|remote| remote.id == pair.remote);
        (pair, local.unwrap(), remote.unwrap())
    };
    let (before, pairs) = (selected(&net), net.peers[0].agent.stats().pairs.len());
    // The candidates and pairs of IPv6 were there first.
    net.set_interfaces(0, &["10.0.0.1"]);
    assert!(net.peers[0].agent.stats().pairs.len() < pairs);
    let after = selected(&net);
    assert_eq!((before.0.id, before.0.traffic), (after.0.id, after.0.traffic));
    assert_eq!(after.0.traffic.packets_sent, 3);
    assert_eq!((&before.1, &before.2), (&after.1, &after.2));
    assert!(after.1.candidate.socket_addr().unwrap().is_ipv4());
    // Across a restart the pair carries on as itself, whatever becomes of the lists meanwhile.
    net.peers[0].agent.restart(net.now);
    net.peers[0].agent.gather(net.now);
    net.set_interfaces(0, &["10.0.0.1", "10.0.0.3"]);
    assert_eq!(net.peers[0].agent.send_path(), Some(before.0.path));
    net.run_for(7 * SECOND);
    assert_eq!(net.peers[0].agent.state(), ConnectionState::Connected);
    net.assert_data(0);
}
