//! What happens after the connection: consent, silence, restart, other pairs.

mod pipe;

use std::time::Duration;

use antiphon_ice::{Config, ConnectionState, Event, GatheringState, IoEvent, Role, Timing};
use antiphon_sansio::Local;
use pipe::{MS, Net};

const LIMIT: Duration = Duration::from_secs(20);
const SECOND: Duration = Duration::from_secs(1);

fn connected(seed: u64) -> Net {
    let mut net = Net::pair(seed);
    net.start();
    net.connect(LIMIT);
    net
}

#[test]
fn consent_is_asked_for_every_five_seconds() {
    let mut net = connected(1);
    let before = net.peers[0].agent.stats().pairs[0].consent_requests_sent;
    net.run_for(500 * SECOND);
    let asked = net.peers[0].agent.stats().pairs[0].consent_requests_sent - before;
    // RFC 7675 §5.1: every 4 to 6 seconds.
    assert!((83..=125).contains(&asked), "{asked}");
    assert!((90..=110).contains(&asked), "the mean is five seconds: {asked}");
    assert_eq!(net.peers[0].states().last(), Some(&ConnectionState::Connected));
    assert_eq!(
        net.peers[0].agent.stats().pairs[0].responses_received,
        net.peers[1].agent.stats().pairs[0].responses_sent
    );
}

#[test]
fn v15_consent_expires_and_sending_stops() {
    for seed in 0..20 {
        let mut net = connected(seed);
        net.run_for(SECOND * (seed as u32));
        net.cut = true;
        net.run_for(Duration::from_millis(4_500));
        assert!(net.peers[0].agent.state().is_connected());
        net.run_for(Duration::from_millis(7_000));
        assert_eq!(net.peers[0].agent.state(), ConnectionState::Disconnected);
        assert!(net.peers[0].agent.may_send(), "consent lasts 30 s");
        net.run_for(Duration::from_millis(18_500) + net.delay);
        for peer in &net.peers {
            assert!(!peer.agent.may_send());
            assert_eq!(peer.agent.state(), ConnectionState::Failed);
            assert_eq!(peer.agent.send_path(), None);
        }
        // RFC 7675 §5.1: an answer that comes now changes nothing.
        net.cut = false;
        net.run_for(SECOND * 20);
        assert_eq!(net.peers[0].agent.state(), ConnectionState::Failed);
    }
}

#[test]
fn mend06_a_peer_that_goes_on_sending_is_not_given_up_until_it_stops() {
    let mut net = connected(3);
    net.cut = true;
    for _ in 0..60 {
        net.run_for(SECOND);
        let now = net.now;
        net.peers[0].agent.heard(now);
    }
    let agent = &net.peers[0].agent;
    assert_eq!(agent.state(), ConnectionState::Disconnected);
    assert!(agent.only_receives() && !agent.may_send());
    assert_eq!(net.peers[1].agent.state(), ConnectionState::Failed, "it heard nothing");
    let checks = |net: &Net| {
        net.peers[0]
            .agent
            .stats()
            .pairs
            .iter()
            .map(|pair| pair.requests_sent + pair.consent_requests_sent)
            .sum::<u64>()
    };
    let before = checks(&net);
    net.run_for(SECOND * 14);
    assert_eq!(
        checks(&net),
        before,
        "RFC 7675 §5.1: the same credentials are not used again"
    );
    assert!(net.peers[0].agent.only_receives());
    net.run_for(SECOND * 2);
    let now = net.now;
    net.peers[0].agent.heard(now);
    net.run_for(SECOND);
    assert_eq!(
        net.peers[0].agent.state(),
        ConnectionState::Failed,
        "what comes too late changes nothing"
    );
    assert!(!net.peers[0].agent.only_receives());
}

#[test]
fn a_gap_is_survived() {
    let mut net = connected(2);
    net.cut = true;
    net.run_for(SECOND * 15);
    assert_eq!(net.peers[0].agent.state(), ConnectionState::Disconnected);
    net.cut = false;
    net.run_for(SECOND * 2);
    assert_eq!(net.peers[0].agent.state(), ConnectionState::Connected);
    net.assert_data(0);
    net.assert_data(1);
}

#[test]
fn loss_does_not_look_like_silence() {
    for seed in 0..10 {
        let mut net = connected(seed);
        net.loss = 100;
        net.run_for(SECOND * 300);
        let dips = net.peers[0]
            .states()
            .iter()
            .filter(|s| **s == ConnectionState::Disconnected)
            .count();
        assert!(dips <= 1, "{dips} dips in five minutes at 10 % loss");
        assert!(net.peers[0].agent.may_send());
    }
}

#[test]
fn another_pair_takes_over() {
    let mut net = Net::pair(3);
    net.peers[0].interfaces = vec!["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
    net.peers[1].interfaces = vec!["10.0.0.2".parse().unwrap(), "2001:db8::2".parse().unwrap()];
    net.start();
    net.connect(LIMIT);
    assert!(net.peers[0].agent.selected_path().unwrap().remote.is_ipv6());
    net.filter = |from, _| from.is_ipv4();
    net.run_for(SECOND * 15);
    for index in 0..2 {
        assert_eq!(net.peers[index].agent.state(), ConnectionState::Connected);
        assert!(net.peers[index].agent.selected_path().unwrap().remote.is_ipv4());
        net.assert_data(index);
    }
}

fn restart(net: &mut Net) {
    for peer in &mut net.peers {
        peer.agent.restart(net.now);
        peer.trickle.clear();
        peer.agent.gather(net.now);
    }
    net.settle();
    net.exchange_credentials();
    net.settle();
}

#[test]
fn restart_keeps_the_old_pair_until_the_new_one_is_nominated() {
    for seed in 0..20 {
        let mut net = connected(seed);
        let old: Vec<_> = net.peers.iter().map(|peer| peer.credentials()).collect();
        net.filter = |_, _| true;
        for peer in &mut net.peers {
            peer.agent.restart(net.now);
            peer.trickle.clear();
        }
        net.settle();
        for (peer, old) in net.peers.iter().zip(&old) {
            assert_ne!(peer.credentials().ufrag, old.ufrag);
            assert_ne!(peer.credentials().password, old.password);
            assert_eq!(peer.agent.remote_credentials(), None);
        }
        // Signalling takes a minute: data flows, consent is renewed with the old credentials.
        net.run_for(SECOND * 60);
        net.assert_data(0);
        net.assert_data(1);
        assert!(net.peers[0].agent.state().is_connected());
        for peer in &mut net.peers {
            peer.agent.gather(net.now);
        }
        net.settle();
        net.exchange_credentials();
        net.settle();
        net.connect(LIMIT + SECOND * 60);
        net.assert_data(0);
        net.assert_data(1);
        let selected = |e: &Event| matches!(e, Event::SelectedPair { .. });
        assert_eq!(net.peers[0].events.iter().filter(|e| selected(e)).count(), 2);
        assert_eq!(net.peers[0].agent.gathering_state(), GatheringState::Complete);
        // No second set of sockets.
        assert_eq!(net.peers[0].sockets.len(), 1);
        assert!(!net.peers[0].states().contains(&ConnectionState::Disconnected));
    }
}

#[test]
fn restart_leads_out_of_failure() {
    let mut net = connected(4);
    net.cut = true;
    net.run_for(SECOND * 40);
    assert_eq!(net.peers[0].agent.state(), ConnectionState::Failed);
    net.cut = false;
    restart(&mut net);
    net.connect(SECOND * 60);
    net.assert_data(0);
    net.assert_data(1);
    assert_eq!(net.peers[0].states().last(), Some(&ConnectionState::Connected));
}

#[test]
fn restart_with_the_roles_swapped() {
    let mut net = connected(5);
    net.peers[0].agent.set_role(Role::Controlled);
    net.peers[1].agent.set_role(Role::Controlling);
    restart(&mut net);
    net.connect(LIMIT);
    assert_eq!(net.peers[1].agent.role(), Role::Controlling);
    net.assert_data(0);
    net.assert_data(1);
}

#[test]
fn a_socket_that_goes_away() {
    let mut net = Net::pair(6);
    net.peers[0].interfaces = vec!["10.0.0.1".parse().unwrap(), "10.0.0.3".parse().unwrap()];
    net.start();
    net.connect(LIMIT);
    let path = net.peers[0].agent.selected_path().unwrap();
    net.peers[0]
        .agent
        .handle_io(net.now, IoEvent::Closed { local: path.local });
    net.settle();
    let now_on = net.peers[0].agent.send_path().map(|path| path.local);
    assert_ne!(now_on, Some(path.local));
    net.run_for(SECOND * 12);
    assert!(matches!(
        net.peers[0].agent.send_path().map(|p| p.local),
        Some(Local::Socket(_))
    ));
    net.assert_data(0);
}

#[test]
fn an_aggressive_peer() {
    // Firefox puts USE-CANDIDATE in every check. A controlling agent without patience is much the same.
    for seed in 0..30 {
        let hasty = Config {
            role: Role::Controlling,
            timing: Timing {
                nomination_delay: Duration::ZERO,
                ..Timing::default()
            },
            ..Config::default()
        };
        let mut net = Net::new(seed, hasty, Config::default());
        net.loss = (seed as u32 % 3) * 100;
        net.peers[0].interfaces = vec!["10.0.0.1".parse().unwrap(), "2001:db8::1".parse().unwrap()];
        net.peers[1].interfaces = vec!["10.0.0.2".parse().unwrap(), "2001:db8::2".parse().unwrap()];
        net.start();
        net.connect(LIMIT);
        net.loss = 0;
        net.run_for(SECOND * 5);
        assert!(net.is_connected());
        net.assert_data(0);
        net.assert_data(1);
    }
}

#[test]
fn the_same_seed_gives_the_same_run() {
    let run = || {
        let mut net = Net::pair(8);
        net.loss = 200;
        net.start();
        let took = net.connect(LIMIT);
        (
            took,
            net.peers[0].sent,
            net.peers[1].sent,
            format!("{:?}", net.peers[0].agent.stats()),
        )
    };
    assert_eq!(run(), run());
}

#[test]
fn pacing_bounds_what_is_sent() {
    // 50 unreachable candidates: no more than one new check per Ta on average (V15).
    let mut net = Net::pair(9);
    net.cut = true;
    net.trickle = false;
    net.start();
    for n in 0..50 {
        let text = format!("candidate:{n} 1 udp {} 10.1.0.{n} 7000 typ host", 1000 + n);
        if n > 0 {
            net.peers[0].agent.add_remote_candidate(net.now, text.parse().unwrap());
        }
    }
    net.settle();
    let config = Config::default();
    assert!(net.peers[0].sent <= config.timing.burst as usize);
    net.run_for(SECOND * 10);
    let sent = net.peers[0].sent;
    assert!(sent <= config.timing.burst as usize + 200, "{sent}");
    assert!(sent >= 190, "{sent}: slots are used");
    net.run_for(SECOND * 100 + MS);
    let end = net.peers[0].sent;
    net.run_for(SECOND * 100);
    assert_eq!(net.peers[0].sent, end);
    assert_eq!(net.peers[0].agent.state(), ConnectionState::Failed);
}
