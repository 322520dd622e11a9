//! What the congestion controllers get out of a path, and what they leave to others. The whole table, with long fat
//! paths and all controllers, is `cargo run --release -p antiphon-sctp --example throughput`; here are the rows that
//! hold the line.

mod throughput;

use std::time::Duration;

use antiphon_sctp::{Association, Config, Congestion, SendOptions};
use throughput::{PACKET, Path, World, alone, beside};

const DEFAULT: fn() -> Congestion = Congestion::default;

#[test]
fn the_default_controller_fills_a_lossy_path() {
    for (loss, least) in [(0.0, 91.0), (0.001, 89.0), (0.01, 80.0)] {
        let (goodput, median, most) = alone(1, Path::first(loss), DEFAULT(), 20);
        println!(
            "100 Mbit/s 20 ms 250 kB, {} % loss: {goodput:.1} Mbit/s, queue {median:?}/{most:?}",
            loss * 100.0
        );
        assert!(goodput >= least, "{goodput} Mbit/s at {loss}");
    }
}

/// 20 % lost and 20 % late, both ways: what arrives of a full path is 80 % of it.
#[test]
fn the_default_controller_holds_out_on_an_awful_path() {
    for (megabits, late, least, seconds) in [
        (10, 0.2, 4.0, 5),
        (100, 0.2, 58.0, 5),
        (100, 0.0, 50.0, 5),
        (1000, 0.2, 250.0, 1),
    ] {
        let path = Path {
            reorder: late,
            ..Path::awful(megabits)
        };
        let (goodput, median, most) = alone(1, path, DEFAULT(), seconds);
        println!(
            "{megabits} Mbit/s 10 ms, 20 % loss, {} % late: {goodput:.1} Mbit/s, queue {median:?}/{most:?}",
            late * 100.0
        );
        assert!(goodput >= least, "{goodput} of {least} Mbit/s");
    }
}

/// A queue of one bandwidth-delay product: within 15 % of what the first table's rows get of their 100 Mbit/s.
#[test]
fn the_default_controller_fills_long_slow_and_fast_paths() {
    for (megabits, rtt, seconds) in [(100, 100, 20), (100, 300, 20), (10, 20, 20), (1000, 20, 2)] {
        for (loss, share) in [(0.0, 0.91), (0.001, 0.89), (0.01, 0.80)] {
            let (goodput, median, most) = alone(1, Path::with(megabits, rtt, loss), DEFAULT(), seconds);
            println!(
                "{megabits} Mbit/s {rtt} ms, {} % loss: {goodput:.1} Mbit/s, queue {median:?}/{most:?}",
                loss * 100.0
            );
            let least = 0.85 * share * megabits as f64;
            assert!(goodput >= least, "{goodput} of {least} Mbit/s at {rtt} ms, {loss}");
        }
    }
}

#[test]
fn the_others_fill_a_path_without_loss() {
    for congestion in [Congestion::NewReno, Congestion::Cubic] {
        let (goodput, ..) = alone(1, Path::first(0.0), congestion, 10);
        assert!(goodput >= 88.0, "{congestion:?}: {goodput}");
    }
}

#[test]
fn reordering() {
    let reordering = Path {
        reorder: 0.05,
        late: Duration::from_millis(5),
        ..Path::first(0.0)
    };
    let (goodput, ..) = alone(3, reordering, DEFAULT(), 10);
    assert!(goodput >= 91.0 * 0.85, "reordering: {goodput}");
}

#[test]
fn a_reno_flow_beside_it_is_not_starved() {
    let shares = beside(4, Path::first(0.0), [DEFAULT(), Congestion::NewReno], 30);
    println!("default beside Reno: {shares:?} Mbit/s");
    assert!(shares.iter().all(|share| *share >= 25.0), "{shares:?}");
}

/// A 64-byte message there and back on a stream of its own, beside bulk data: round trips, sorted.
fn pings(interleaving: bool, seconds: u64) -> Vec<Duration> {
    let path = Path::with(20, 50, 0.0);
    let mut world = World::new(5, path);
    let config = Config {
        max_packet: PACKET,
        interleaving,
        ..Config::default()
    };
    world.add_with(config, Some(256 * 1024));
    world.connect();
    let ends = &mut world.flows[0].ends;
    ends.iter_mut().for_each(|end: &mut Association| end.set_weight(2, 256));
    world.run_for(Duration::from_secs(3));
    let mut trips = Vec::new();
    let ping = |world: &mut World, end: usize| {
        let now = world.now();
        let data = vec![1; 64].into();
        world.flows[0].ends[end]
            .send(now, 2, 53, data, SendOptions::default())
            .unwrap();
    };
    // A ping every 50 ms, whether or not the last one is back; answers come in order.
    let mut sent = std::collections::VecDeque::new();
    let end = world.now() + Duration::from_secs(seconds);
    let mut next = world.now();
    while world.now() < end {
        if world.now() >= next {
            sent.push_back(world.now());
            ping(&mut world, 0);
            next += Duration::from_millis(50);
        }
        world.step(next);
        let now = world.now();
        while world.flows[0].ends[1].read(now, 2).is_some() {
            ping(&mut world, 1);
        }
        while world.flows[0].ends[0].read(now, 2).is_some() {
            trips.push(world.now() - sent.pop_front().unwrap());
        }
    }
    let bulk = world.flows[0].received as f64 * 8.0 / (3 + seconds) as f64 / 1e6;
    assert!(bulk > 17.0, "the bulk channel gets the rest: {bulk} Mbit/s");
    trips.sort_unstable();
    trips
}

#[test]
fn a_ping_beside_bulk_data_hardly_waits() {
    let trips = pings(true, 60);
    let (p50, p99) = (trips[trips.len() / 2], trips[trips.len() * 99 / 100]);
    let without = pings(false, 5);
    println!(
        "ping beside bulk, 20 Mbit/s 50 ms: p50 {p50:?}, p99 {p99:?}; without I-DATA p50 {:?}",
        without[without.len() / 2]
    );
    assert!(trips.len() > 1100);
    assert!(p99 <= Duration::from_millis(55), "p50 {p50:?}, p99 {p99:?}");
}
