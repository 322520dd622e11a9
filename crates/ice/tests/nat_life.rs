//! Calls that live behind NATs: idle ones, ones whose host moves, ones whose peer vanishes, and networks without IPv4.

mod world;

use std::net::IpAddr;
use std::time::Duration;

use antiphon_ice::{CandidateKind, ConnectionState, IoEvent};
use antiphon_netsim::{LinkConfig, Nat, Nat64, NatConfig, Network};
use world::{HostMachine, Impostor, Place, World};

fn link() -> LinkConfig {
    LinkConfig {
        delay: Duration::from_millis(25),
        ..LinkConfig::default()
    }
}

/// Behind a port-restricted NAT that forgets after `timeout`.
fn home(network: &mut Network, at: usize, timeout: Duration) -> Place {
    let external: IpAddr = format!("20.1.0.{}", at + 1).parse().unwrap();
    let config = NatConfig {
        timeout,
        ..NatConfig::port_restricted()
    };
    let behind = network.add_node(Box::new(Nat::new(config, vec![external])));
    Place {
        address: format!("10.0.{}.2", at + 1).parse().unwrap(),
        behind: Some(behind),
    }
}

fn connected(world: &mut World) {
    world.begin();
    assert!(world.run(Duration::from_secs(30), World::is_connected));
    world.run(Duration::from_secs(2), |_| false);
}

fn talk(world: &mut World) {
    for at in 0..2 {
        world.send(at, b"\x80 still here");
        world.run(Duration::from_millis(200), |_| false);
        assert_eq!(world.received(1 - at).len(), 1, "from end {at}");
    }
}

/// The shortest time-out that RFC 4787 REQ-5 lets a NAT have is two minutes; many have thirty seconds.
#[test]
fn an_idle_call_keeps_its_mappings() {
    let mut world = World::new(
        1,
        link(),
        |network, at| home(network, at, Duration::from_secs(30)),
        |_| {},
    );
    connected(&mut world);
    let (local, remote, _) = world.selected(0).unwrap();
    assert!(![local, remote].contains(&CandidateKind::Relayed), "through both NATs");
    for _ in 0..10 {
        world.run(Duration::from_secs(120), |_| false);
        talk(&mut world);
    }
    for at in 0..2 {
        assert!(world.agent(at).state().is_connected());
    }
}

/// RFC 7675 §5.1, V15: without consent nothing is sent, after 30 seconds at the latest.
#[test]
fn v15_sending_stops_when_the_peer_vanishes() {
    for seed in 0..10 {
        let mut world = World::new(
            seed,
            link(),
            |network, at| home(network, at, Duration::from_secs(300)),
            |_| {},
        );
        connected(&mut world);
        let host = world.simulation.host(world.peers[1]);
        world.simulation.network.set_down(host, true);
        let vanished = world.simulation.now();
        let gone = |world: &World| !world.agent(0).may_send();
        assert!(world.run(Duration::from_secs(60), gone), "seed {seed}: sends for ever");
        let after = world.simulation.now() - vanished;
        assert!(after <= Duration::from_secs(30), "seed {seed}: sends for {after:?}");
        // And ICE's own packets end too.
        world.run(Duration::from_secs(60), |_| false);
        let before = world.simulation.network.stats().sent;
        world.run(Duration::from_secs(60), |_| false);
        let relay_upkeep = 4;
        assert!(
            world.simulation.network.stats().sent - before <= relay_upkeep,
            "seed {seed}"
        );
    }
}

/// A path that loses a few checks in a row is left for what works (docs/decisions/0002), here the relay; but not for
/// ever: every 15 seconds a better one is looked at. In the matrix that is one of 32 000 runs on rough links: full cone
/// to double NAT, seed 158, which is on the relay at ten seconds, where the matrix looks, and direct again at half a
/// minute.
#[test]
fn a_path_that_was_left_for_a_hiccup_is_taken_again() {
    let relayed = |world: &World| {
        let ends = [0, 1].map(|at| world.selected(at));
        let is_relay = |(local, remote, _)| [local, remote].contains(&CandidateKind::Relayed);
        ends.map(|end| end.is_some_and(is_relay))
    };
    for seed in 0..10 {
        let mut world = World::new(
            seed,
            link(),
            |network, at| home(network, at, Duration::from_secs(300)),
            |_| {},
        );
        connected(&mut world);
        assert_eq!(relayed(&world), [false, false], "seed {seed}");
        let hosts = world.hosts;
        let states = states_during(&mut world, |world| {
            let cut = LinkConfig { loss: 1.0, ..link() };
            world.simulation.network.connect(hosts[0], hosts[1], cut);
            assert!(world.run(Duration::from_secs(15), |world| relayed(world) == [true, true]));
            talk(world);
            world.simulation.network.connect(hosts[0], hosts[1], link());
            assert!(world.run(Duration::from_secs(40), |world| relayed(world) == [false, false]));
            talk(world);
        });
        assert!(
            !states.contains(&ConnectionState::Disconnected),
            "seed {seed}: {states:?}"
        );
    }
}

/// From one NAT to another in mid-call: the call goes on, and nobody is told of a disconnection.
#[test]
fn a_host_that_moves_takes_the_call_along() {
    for seed in 0..10 {
        let mut world = World::new(
            seed,
            link(),
            |network, at| home(network, at, Duration::from_secs(300)),
            |_| {},
        );
        connected(&mut world);
        talk(&mut world);
        for (moving, third) in [(0, 3), (1, 4), (0, 5)] {
            let host = world.simulation.host(world.peers[moving]);
            let place = home(&mut world.simulation.network, third, Duration::from_secs(300));
            world.simulation.network.place(host, place.behind);
            world.simulation.network.add_address(host, place.address);
            let states = states_during(&mut world, |world| {
                world.call(moving, |host, now| {
                    host.interfaces = vec![place.address];
                    host.agent.handle_io(now, IoEvent::Interfaces(host.interfaces.clone()));
                });
            });
            assert!(
                !states.contains(&ConnectionState::Disconnected) && !states.contains(&ConnectionState::Failed),
                "seed {seed}, end {moving}: {states:?}"
            );
            talk(&mut world);
        }
    }
}

/// What both ends report while ten seconds pass.
fn states_during(world: &mut World, change: impl FnOnce(&mut World)) -> Vec<ConnectionState> {
    world.states.clear();
    change(world);
    world.run(Duration::from_secs(10), |_| false);
    world.states.clone()
}

/// RFC 6146, RFC 6147: a phone's network has IPv6 alone. To another such it is direct, to IPv4 it is the relay.
#[test]
fn ipv6_only_behind_nat64() {
    let phone = |network: &mut Network, at: usize| {
        let inside: std::net::Ipv6Addr = format!("2a00:{}::2", at + 1).parse().unwrap();
        let external = format!("20.1.0.{}", at + 1).parse().unwrap();
        Place {
            address: inside.into(),
            behind: Some(network.add_node(Box::new(Nat64::new(external, vec![inside])))),
        }
    };
    for seed in 0..10 {
        let mut world = World::new(seed, link(), phone, |_| {});
        connected(&mut world);
        let (local, remote, _) = world.selected(0).unwrap();
        assert!(
            ![local, remote].contains(&CandidateKind::Relayed),
            "IPv6 from end to end"
        );
        talk(&mut world);

        let mixed = |network: &mut Network, at: usize| {
            if at == 0 {
                phone(network, at)
            } else {
                home(network, at, Duration::from_secs(300))
            }
        };
        let mut world = World::new(seed, link(), mixed, |_| {});
        connected(&mut world);
        let (local, remote, _) = world.selected(0).unwrap();
        assert!(
            [local, remote].contains(&CandidateKind::Relayed),
            "seed {seed}: {local:?} to {remote:?}"
        );
        talk(&mut world);
    }
}

/// Both peers are in 192.168.1.0/24, each behind a NAT of its own, and the first's network has another machine at the
/// address and port that the second one tells as its host candidate. Once the two even have the same address, so that a
/// check comes back to its sender. Never is the wrong machine the peer: all that it gets are checks, and the call goes
/// through the NATs.
#[test]
fn v16_private_addresses_that_overlap() {
    for (seed, last) in (0..10).flat_map(|seed| [(seed, [2, 3]), (seed, [2, 2])]) {
        let link = LinkConfig {
            jitter: Duration::from_millis(10),
            ..link()
        };
        let place = |network: &mut Network, at: usize| Place {
            address: IpAddr::from([192, 168, 1, last[at]]),
            ..home(network, at, Duration::from_secs(300))
        };
        let mut world = World::new(seed, link, place, |_| {});
        let impostor = (last[0] != last[1]).then(|| {
            let network = &mut world.simulation.network;
            let host = network.add_host();
            network.place(host, world.homes[0]);
            // The first port that the simulated systems give away, as the second peer gets it too.
            network.bind(host, "192.168.1.3:49152".parse().unwrap()).unwrap();
            // A LAN is faster than any way through NATs: its answers come first.
            for (from, to) in [(host, world.hosts[0]), (world.hosts[0], host)] {
                network.set_link(from, to, LinkConfig::loopback());
            }
            world.simulation.add(host, HostMachine::Impostor(Impostor::default()))
        });
        connected(&mut world);
        for at in 0..2 {
            let stats = world.agent(at).stats();
            let pair = stats.pairs.iter().find(|pair| pair.selected).unwrap();
            assert!(
                pair.path.remote.to_string().starts_with("20.1.0."),
                "seed {seed}: {:?}",
                pair.path
            );
        }
        talk(&mut world);
        world.run(Duration::from_secs(60), |_| false);
        talk(&mut world);
        if let Some(impostor) = impostor {
            let HostMachine::Impostor(machine) = world.simulation.peer(impostor) else {
                unreachable!("the impostor")
            };
            assert!(!machine.heard.is_empty(), "the trap was set where checks go");
            let is_check = |data: &Vec<u8>| antiphon_stun::is_stun(data);
            assert!(
                machine.heard.iter().all(is_check),
                "seed {seed}: data went to a stranger"
            );
            assert!(
                world.agent(0).stats().counters.bad_integrity > 0,
                "its answers were refused"
            );
        }
    }
}
