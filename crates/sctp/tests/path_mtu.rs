//! Path MTU discovery (RFC 8899) over simulated links that drop what is too large, as paths without ICMP do.

mod throughput;

use std::time::Duration;

use antiphon_sctp::{Config, SendOptions};
use throughput::{ETHERNET, HEADERS, PACKET, Path, World};

fn searching() -> Config {
    Config {
        max_packet: PACKET,
        probe_up_to: ETHERNET,
        ..Config::default()
    }
}

/// A bulk transfer over the path.
fn world(seed: u64, config: Config, path: Path) -> World {
    let mut world = World::new(seed, path);
    world.add_with(config, Some(16_384));
    world.connect();
    world
}

fn slow(mtu: usize, loss: f64) -> Path {
    Path {
        mtu,
        ..Path::with(10, 20, loss)
    }
}

fn stats(world: &World) -> antiphon_sctp::Stats {
    world.flows[0].ends[0].stats()
}

#[test]
fn ethernet_is_found_within_a_few_round_trips() {
    let mut world = world(1, searching(), slow(1500, 0.0));
    world.run_for(Duration::from_millis(500));
    let stats = stats(&world);
    assert_eq!((stats.max_packet, stats.path_probes), (ETHERNET, 2));
    assert_eq!(world.largest, ETHERNET);
    world.run_for(Duration::from_secs(5));
    let goodput = world.flows[0].received as f64 * 8.0 / 5.5e6;
    assert!(goodput > 9.0, "{goodput} Mbit/s");
}

#[test]
fn a_path_of_1280_costs_a_few_probes_and_nothing_else() {
    let with = |config: Config| {
        let mut world = world(2, config, slow(1280, 0.0));
        world.run_for(Duration::from_secs(40));
        (world.flows[0].received, stats(&world))
    };
    let (received, found) = with(searching());
    assert!((1240..=1280 - HEADERS).contains(&found.max_packet), "{found:?}");
    assert!(found.path_probes <= 20, "{found:?}");
    assert_eq!((found.timeouts, found.black_holes), (0, 0));
    let (without, off) = with(Config {
        probe_up_to: 0,
        ..searching()
    });
    assert_eq!((off.max_packet, off.path_probes), (PACKET, 0));
    // Probes are lost, and nobody takes that for congestion.
    assert!(
        received as f64 > without as f64 * 0.99,
        "{received} instead of {without}"
    );
}

/// Sends numbered messages while the path shrinks under them; all arrive, once and in order.
fn shrink(seed: u64, interleaving: bool, loss: f64, to: usize) -> World {
    const MESSAGES: u32 = 400;
    let config = Config {
        interleaving,
        ..searching()
    };
    let path = slow(1500, loss);
    let mut world = World::new(seed, path);
    world.add_with(config, None);
    world.connect();
    for n in 0..MESSAGES {
        let mut data = vec![n as u8; 20_000];
        data[..4].copy_from_slice(&n.to_be_bytes());
        let now = world.now();
        world.flows[0].ends[0]
            .send(now, 2, 53, data.into(), SendOptions::default())
            .unwrap();
    }
    world.run_for(Duration::from_secs(1));
    assert_eq!(stats(&world).max_packet, ETHERNET);
    world.set_path(slow(to, loss));
    let begin = world.now();
    let mut next = 0;
    while next < MESSAGES {
        assert!(
            world.step(begin + Duration::from_secs(60)),
            "stuck at {next}: {:?}",
            stats(&world)
        );
        let now = world.now();
        while let Some(message) = world.flows[0].ends[1].read(now, 2) {
            let number = u32::from_be_bytes(message.data[..4].try_into().unwrap());
            assert_eq!((number, message.data.len()), (next, 20_000));
            assert!(message.data[4..].iter().all(|byte| *byte == next as u8));
            next += 1;
        }
    }
    let took = world.now() - begin;
    assert!(
        loss > 0.0 || took < Duration::from_secs(10),
        "8 MB at 10 Mbit/s took {took:?}"
    );
    world
}

#[test]
fn a_black_hole_in_mid_transfer_is_survived_without_loss() {
    for (seed, interleaving) in [(3, true), (4, false)] {
        let mut world = shrink(seed, interleaving, 0.0, 1300);
        // What the smaller path carries is found again, once its probes were given up.
        world.run_for(Duration::from_secs(40));
        let found = stats(&world);
        assert_eq!(found.black_holes, 1, "{found:?}");
        assert!((1250..=1300 - HEADERS).contains(&found.max_packet), "{found:?}");
    }
    shrink(5, true, 0.02, 1300);
    // Exactly the base.
    shrink(6, false, 0.0, PACKET + HEADERS);
}

#[test]
fn a_path_that_loses_much_keeps_its_size() {
    for seed in 10..15 {
        let mut world = world(seed, searching(), slow(1500, 0.0));
        world.run_for(Duration::from_secs(1));
        assert_eq!(stats(&world).max_packet, ETHERNET);
        world.set_path(slow(1500, 0.2));
        world.run_for(Duration::from_secs(60));
        let found = stats(&world);
        assert_eq!(
            (found.max_packet, found.black_holes),
            (ETHERNET, 0),
            "{seed}: {found:?}"
        );
    }
}

#[test]
fn a_path_that_does_not_even_carry_the_base_is_outlived() {
    let mut world = world(20, searching(), slow(1500, 0.0));
    world.run_for(Duration::from_secs(1));
    world.set_path(slow(700, 0.0));
    world.run_for(Duration::from_secs(30));
    let before = world.flows[0].received;
    assert_eq!(stats(&world).max_packet, antiphon_sctp::MIN_PACKET);
    world.set_path(slow(1500, 0.0));
    world.run_for(Duration::from_secs(10));
    // Nothing that has just been refused is asked for again before the raise timer; all below is.
    assert!((ETHERNET - 20..ETHERNET).contains(&stats(&world).max_packet));
    assert!(world.flows[0].received > before + 5_000_000);
}

#[test]
fn another_path_is_searched_anew() {
    let mut world = world(21, searching(), slow(1500, 0.0));
    world.run_for(Duration::from_secs(1));
    assert_eq!(stats(&world).max_packet, ETHERNET);
    let end = &mut world.flows[0].ends[0];
    end.path_changed();
    assert_eq!(end.stats().max_packet, PACKET);
    world.run_for(Duration::from_secs(1));
    assert_eq!(stats(&world).max_packet, ETHERNET);
    let end = &mut world.flows[0].ends[0];
    end.set_probe_up_to(0);
    world.run_for(Duration::from_secs(1));
    assert_eq!(stats(&world).max_packet, PACKET);
}

#[test]
fn a_few_small_messages_are_not_worth_a_probe() {
    let mut world = World::new(22, slow(1500, 0.0));
    world.add_with(searching(), None);
    world.connect();
    for _ in 0..100 {
        let now = world.now();
        let data = vec![1; 100].into();
        world.flows[0].ends[0]
            .send(now, 1, 53, data, SendOptions::default())
            .unwrap();
        world.run_for(Duration::from_millis(50));
    }
    assert_eq!(stats(&world).path_probes, 0);
}
