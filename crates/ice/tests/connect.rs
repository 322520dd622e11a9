//! Two agents find each other.

mod pipe;

use std::time::Duration;

use antiphon_ice::{CandidateKind, Config, ConnectionState, Event, GatheringState, PairState, Role};
use pipe::{MS, Net};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn host_candidates_in_two_round_trips() {
    let mut net = Net::pair(1);
    net.start();
    let took = net.connect(LIMIT);
    // One round trip until the pair is valid, one more for the nomination (RFC 8445 §8.1.1).
    assert!(took <= 41 * MS, "{took:?}");
    net.assert_data(0);
    net.assert_data(1);
    for peer in &mut net.peers {
        assert_eq!(peer.agent.state(), ConnectionState::Connected);
        let now = net.now;
        peer.agent.end_of_remote_candidates(now);
        assert_eq!(peer.agent.state(), ConnectionState::Completed);
        assert_eq!(peer.agent.gathering_state(), GatheringState::Complete);
        // A description that was taken back is set again: nothing is gathered anew, and it stays complete.
        peer.agent.gather(now);
        assert_eq!(peer.agent.gathering_state(), GatheringState::Complete);
        assert_eq!(peer.agent.rtt(), Some(20 * MS));
        let stats = peer.agent.stats();
        let selected: Vec<_> = stats.pairs.iter().filter(|pair| pair.selected).collect();
        assert_eq!(selected.len(), 1);
        assert_eq!(selected[0].state, PairState::Succeeded);
        assert!(selected[0].nominated && selected[0].requests_received > 0 && selected[0].responses_received > 0);
    }
    use ConnectionState::{Checking, Connected};
    assert_eq!(net.peers[0].states(), [Checking, Connected]);
    assert_eq!(net.peers[1].states(), [Checking, Connected]);
}

#[test]
fn loss_and_seeds_and_roles() {
    for seed in 0..100 {
        let mut net = Net::pair(seed);
        net.loss = [0, 50, 100, 200][seed as usize % 4];
        net.peers[0].interfaces = vec!["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        net.peers[1].interfaces = vec!["2001:db8::2".parse().unwrap(), "10.0.0.2".parse().unwrap()];
        if seed % 3 == 0 {
            // The other end controls.
            net.peers[0].agent.set_role(Role::Controlled);
            net.peers[1].agent.set_role(Role::Controlling);
        }
        net.start();
        net.connect(LIMIT);
        net.loss = 0;
        net.run_for(Duration::from_secs(1));
        net.assert_data(0);
        net.assert_data(1);
    }
}

#[test]
fn the_better_family_is_chosen() {
    let mut net = Net::pair(4);
    net.peers[0].interfaces = vec!["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    net.peers[1].interfaces = vec!["10.0.0.2".parse().unwrap(), "2001:db8::2".parse().unwrap()];
    net.start();
    net.connect(LIMIT);
    assert!(net.peers[0].agent.selected_path().unwrap().remote.is_ipv6());
    // And the other when that one is dead.
    let mut net = Net::pair(4);
    net.peers[0].interfaces = vec!["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    net.peers[1].interfaces = vec!["10.0.0.2".parse().unwrap(), "2001:db8::2".parse().unwrap()];
    net.filter = |from, _| from.is_ipv4();
    net.start();
    let took = net.connect(LIMIT);
    assert!(net.peers[0].agent.selected_path().unwrap().remote.is_ipv4());
    assert!(took < Duration::from_millis(400), "{took:?}");
}

#[test]
fn role_conflict_both_ways() {
    for (seed, role) in (0..20).flat_map(|seed| [(seed, Role::Controlling), (seed, Role::Controlled)]) {
        let both = Config {
            role,
            ..Config::default()
        };
        let mut net = Net::new(seed, both.clone(), both);
        net.start();
        net.connect(LIMIT);
        let roles: Vec<Role> = net.peers.iter().map(|peer| peer.agent.role()).collect();
        assert_ne!(roles[0], roles[1]);
        let changes = |peer: &pipe::Peer| {
            peer.events
                .iter()
                .filter(|e| matches!(e, Event::RoleChanged(_)))
                .count()
        };
        assert_eq!(changes(&net.peers[0]) + changes(&net.peers[1]), 1);
        net.assert_data(0);
        net.assert_data(1);
    }
}

#[test]
fn peer_reflexive_on_both_sides() {
    // Each end is behind a NAT that the other does not know: nothing that is signalled is where it seems to be, but the
    // first end's address is reachable.
    let mut net = Net::pair(7);
    let inside = "10.0.0.2:5000".parse().unwrap();
    let outside = "203.0.113.2:40000".parse().unwrap();
    net.peers[1].mapped = vec![(inside, outside)];
    net.filter = |_, to| to.ip().to_string() != "10.0.0.2";
    net.start();
    net.connect(LIMIT);
    let remote = |stats: antiphon_ice::Stats| {
        let selected = stats.pairs.into_iter().find(|pair| pair.selected).unwrap();
        stats
            .remote_candidates
            .into_iter()
            .find(|c| c.id == selected.remote)
            .unwrap()
    };
    let seen = remote(net.peers[0].agent.stats());
    assert_eq!(seen.candidate.kind, CandidateKind::PeerReflexive);
    assert_eq!(seen.candidate.socket_addr(), Some(outside));
    let stats = net.peers[1].agent.stats();
    let own = stats
        .local_candidates
        .iter()
        .find(|c| c.candidate.kind == CandidateKind::PeerReflexive)
        .unwrap();
    assert_eq!(own.candidate.socket_addr(), Some(outside));
    let selected = stats.pairs.iter().find(|pair| pair.selected).unwrap();
    assert_eq!(selected.local, own.id);
    // It is never signalled.
    let signalled = |e: &Event| matches!(e, Event::LocalCandidate(c) if c.kind == CandidateKind::PeerReflexive);
    assert!(!net.peers[1].events.iter().any(signalled));
}

#[test]
fn checks_before_the_answer() {
    // The answerer's checks arrive before its description does (trickle ICE): they are answered at once, and count
    // later.
    let mut net = Net::pair(9);
    for peer in &mut net.peers {
        peer.agent.gather(net.now);
    }
    net.settle();
    let offer = net.peers[0].credentials();
    let candidates = std::mem::take(&mut net.peers[0].trickle);
    net.trickle = false;
    net.peers[1].agent.set_remote_credentials(net.now, offer);
    for candidate in candidates {
        net.peers[1].agent.add_remote_candidate(net.now, candidate);
    }
    net.settle();
    net.run_for(200 * MS);
    assert!(
        net.peers[1].agent.state().is_connected(),
        "the offerer answered without knowing us"
    );
    let path = antiphon_sansio::Path {
        local: net.peers[0].sockets[0].0,
        remote: net.peers[1].sockets[0].1,
    };
    assert!(
        net.peers[0].agent.is_authenticated(&path),
        "a ClientHello may follow at once"
    );
    assert!(!net.peers[0].agent.may_send());
    // Now the description, without a single candidate.
    let answer = net.peers[1].credentials();
    net.peers[0].agent.set_remote_credentials(net.now, answer);
    net.settle();
    let before = net.now;
    net.connect(LIMIT);
    assert!(net.now - before <= 41 * MS);
    net.assert_data(0);
}

#[test]
fn candidates_before_the_description_and_of_other_generations() {
    let mut net = Net::pair(10);
    net.trickle = false;
    for peer in &mut net.peers {
        peer.agent.gather(net.now);
    }
    net.settle();
    for index in 0..2 {
        for candidate in net.peers[index].trickle.clone() {
            let mut other = candidate.clone();
            other.ufrag = Some("another".into());
            other.port += 1;
            let mut rtcp = candidate.clone();
            rtcp.component = 2;
            rtcp.port += 2;
            for candidate in [other, rtcp, candidate] {
                net.peers[1 - index].agent.add_remote_candidate(net.now, candidate);
            }
        }
    }
    net.exchange_credentials();
    net.settle();
    net.connect(LIMIT);
    for peer in &net.peers {
        // One over UDP and an active one over TCP; of each the two others were refused.
        assert_eq!(peer.agent.stats().remote_candidates.len(), 2);
        assert_eq!(peer.agent.stats().counters.ignored_candidates, 4);
    }
}

#[test]
fn mdns_names_are_resolved_and_kept_secret() {
    let mut net = Net::pair(11);
    net.trickle = false;
    let name = "7e0a7c1e-3b1f-4f77-9f86-07a3f6c4a5d1.local";
    net.peers[0].names.push((name.into(), "10.0.0.2".parse().unwrap()));
    net.start();
    let text = format!("candidate:1 1 udp 2122260223 {name} 5000 typ host");
    net.peers[0].agent.add_remote_candidate(net.now, text.parse().unwrap());
    // Neither of these may ever be looked up.
    for name in ["example.org", "a.b.local", ".local"] {
        let text = format!("candidate:1 1 udp 2122260223 {name} 5000 typ host");
        net.peers[0].agent.add_remote_candidate(net.now, text.parse().unwrap());
    }
    net.settle();
    net.connect(LIMIT);
    assert_eq!(net.peers[0].agent.stats().counters.ignored_candidates, 3);
    let shown = net.peers[0].agent.stats().remote_candidates[0].candidate.to_string();
    assert!(shown.contains(name) && !shown.contains("10.0.0.2"), "{shown}");
}

#[test]
fn lite_agents() {
    for (a_lite, b_lite) in [(false, true), (true, false)] {
        let mut net = Net::new(
            12,
            Config {
                role: Role::Controlling,
                lite: a_lite,
                ..Config::default()
            },
            Config {
                lite: b_lite,
                ..Config::default()
            },
        );
        net.peers[0].agent.set_remote_lite(b_lite);
        net.peers[1].agent.set_remote_lite(a_lite);
        if a_lite {
            net.peers[0].agent.set_role(Role::Controlled);
        }
        net.start();
        net.connect(LIMIT);
        net.assert_data(0);
        net.assert_data(1);
        let lite = usize::from(b_lite);
        assert_eq!(net.peers[lite].agent.role(), Role::Controlled);
        let stats = net.peers[lite].agent.stats();
        assert!(
            stats
                .pairs
                .iter()
                .all(|pair| pair.requests_sent == 0 && pair.consent_requests_sent == 0)
        );
        // It stays up on the other end's checks, and falls without them.
        net.run_for(Duration::from_secs(60));
        assert!(net.peers[lite].agent.may_send());
        net.cut = true;
        net.run_for(Duration::from_secs(31));
        assert!(!net.peers[lite].agent.may_send());
        assert_eq!(net.peers[lite].agent.state(), ConnectionState::Failed);
    }
}

#[test]
fn a_lite_offerer_is_controlled_before_the_answer_says_so() {
    // Whose tie-breaker is larger differs from seed to seed.
    for seed in 0..8 {
        let controlling = |lite| Config {
            role: Role::Controlling,
            lite,
            ..Config::default()
        };
        let mut net = Net::new(seed, controlling(true), controlling(false));
        net.peers[1].agent.set_remote_lite(true);
        for peer in &mut net.peers {
            peer.agent.gather(net.now);
        }
        net.settle();
        // The answerer checks at once, and its answer is still under way.
        let offered = net.peers[0].credentials();
        net.peers[1].agent.set_remote_credentials(net.now, offered);
        net.run_for(Duration::from_millis(200));
        let answered = net.peers[1].credentials();
        net.peers[0].agent.set_remote_credentials(net.now, answered);
        net.connect(LIMIT);
        let roles = [0, 1].map(|peer| net.peers[peer].agent.role());
        assert_eq!(roles, [Role::Controlled, Role::Controlling], "seed {seed}");
        assert!(
            net.peers[0].agent.stats().pairs.iter().any(|pair| pair.nominated),
            "seed {seed}"
        );
    }
}

#[test]
fn failure_takes_patience() {
    let mut net = Net::pair(13);
    net.cut = true;
    net.start();
    for peer in &mut net.peers {
        peer.agent.end_of_remote_candidates(net.now);
    }
    net.run_for(Duration::from_millis(39_400));
    assert_eq!(net.peers[0].agent.state(), ConnectionState::Checking);
    net.run_for(Duration::from_secs(2));
    assert_eq!(net.peers[0].agent.state(), ConnectionState::Failed);
    assert_eq!(net.peers[1].agent.state(), ConnectionState::Failed);
    let sent = net.peers[0].sent;
    net.run_for(Duration::from_secs(100));
    assert_eq!(net.peers[0].sent, sent, "nothing is sent any more");
    assert_eq!(net.peers[0].agent.poll_timeout(), None);
}

#[test]
fn without_candidates_it_fails_after_patience_too() {
    let mut net = Net::pair(14);
    net.trickle = false;
    net.start();
    net.run_for(Duration::from_secs(39));
    assert_eq!(net.peers[0].agent.state(), ConnectionState::New);
    net.run_for(Duration::from_secs(1));
    assert_eq!(net.peers[0].agent.state(), ConnectionState::Failed);
}

#[test]
fn the_end_is_quiet() {
    let mut net = Net::pair(15);
    net.start();
    net.connect(LIMIT);
    let now = net.now;
    net.peers[0].agent.close(now);
    net.settle();
    assert_eq!(net.peers[0].agent.state(), ConnectionState::Closed);
    assert_eq!(net.peers[0].closed, [net.peers[0].sockets[0].0]);
    assert_eq!(net.peers[0].agent.poll_timeout(), None);
    assert!(!net.peers[0].agent.may_send());
    let sent = net.peers[0].sent;
    net.run_for(Duration::from_secs(40));
    assert_eq!(net.peers[0].sent, sent);
    assert_eq!(net.peers[1].agent.state(), ConnectionState::Failed);
}
