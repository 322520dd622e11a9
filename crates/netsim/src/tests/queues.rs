//! What waits in front of a link, and what is dropped or marked there.

use std::time::Duration;

use antiphon_sansio::Ecn;

use super::address;
use crate::*;

const MS: Duration = Duration::from_millis(1);

/// Hosts that send packets of 1000 bytes over one bottleneck, each at its rate and with its mark, and how each fared.
fn share(config: LinkConfig, senders: &[(u64, Ecn)], time: Duration) -> Vec<Vec<Crossing>> {
    let mut network = Network::new(1);
    let to = network.add_host();
    let to_socket = network.bind(to, address("10.0.0.1:1")).unwrap();
    let bottleneck = network.add_bottleneck(config);
    network.watch(bottleneck);
    let mut due = Vec::new();
    for at in 0..senders.len() {
        let host = network.add_host();
        let socket = network.bind(host, address(&format!("10.0.1.{at}:1"))).unwrap();
        network.lead_through(host, to, bottleneck);
        due.push((network.now(), socket));
    }
    let end = network.now() + time;
    while let Some(at) = (0..due.len()).min_by_key(|at| due[*at].0)
        && due[at].0 < end
    {
        network.advance_to(due[at].0);
        network.send(due[at].1, network.address(to_socket), senders[at].1, &[0; 972]);
        due[at].0 += Duration::from_secs_f64(8000.0 / senders[at].0 as f64);
        while network.receive().is_some() {}
    }
    network.advance_to(end);
    let mut all: Vec<Vec<Crossing>> = vec![Vec::new(); senders.len()];
    for crossing in network.take_crossings(bottleneck) {
        let at = (0..due.len()).find(|at| network.address(due[*at].1) == crossing.source);
        all[at.unwrap()].push(crossing);
    }
    all
}

fn carried(crossings: &[Crossing]) -> usize {
    crossings.iter().filter(|it| it.fate == Fate::Carried).count()
}

fn marked(crossings: &[Crossing]) -> usize {
    crossings.iter().filter(|it| it.ecn == Ecn::Ce).count()
}

fn waits(crossings: &[Crossing], share: f64) -> Duration {
    let on = crossings.iter().filter(|it| it.fate == Fate::Carried);
    let mut waits: Vec<Duration> = on.map(|it| it.waited).collect();
    waits.sort();
    waits[((waits.len() - 1) as f64 * share) as usize]
}

fn link(rate: u64, queue: Limit, aqm: Aqm) -> LinkConfig {
    LinkConfig {
        rate: Some(rate.into()),
        queue,
        aqm,
        ..LinkConfig::default()
    }
}

#[test]
fn limits_in_bytes_packets_and_time() {
    // One packet takes 8 ms. Twice of what passes is offered, so the queue is full.
    for (limit, longest) in [
        (Limit::bytes(5000), 4 * 8 * MS),
        (Limit::packets(3), 2 * 8 * MS),
        (Limit::time(100 * MS), 104 * MS),
    ] {
        let fared = share(
            link(1_000_000, limit, Aqm::DropTail),
            &[(2_000_000, Ecn::NotEct)],
            4000 * MS,
        );
        let (passed, longest_wait) = (carried(&fared[0]), waits(&fared[0], 1.0));
        assert!((490..=500).contains(&passed), "{limit:?}: {passed}");
        assert!(
            longest_wait <= longest && longest_wait + 8 * MS >= longest,
            "{limit:?}: {longest_wait:?}"
        );
        let dropped = fared[0].iter().filter(|it| it.fate == Fate::Dropped).count();
        assert!((480..=510).contains(&dropped), "{limit:?}: {dropped}");
    }
}

#[test]
fn a_pause_holds_and_a_new_rate_counts_at_once() {
    let (mut network, a, b) = super::two_hosts(1, LinkConfig::default());
    let (from, to) = (network.owner(a), network.owner(b));
    let slow = link(80_000, Limit::bytes(100_000), Aqm::DropTail);
    network.set_link(from, to, slow.clone());
    let start = network.now();
    let target = network.address(b);
    // 100 ms each.
    for _ in 0..3 {
        network.send(a, target, Ecn::NotEct, &[0; 972]);
    }
    network.advance(50 * MS);
    let paused = LinkConfig {
        rate: Some(0.into()),
        ..slow.clone()
    };
    network.set_link(from, to, paused);
    assert_eq!(network.next_event(), None, "nothing moves");
    network.advance(1000 * MS);
    assert!(network.receive().is_none());
    let quick = LinkConfig {
        rate: Some(800_000.into()),
        ..slow
    };
    network.set_link(from, to, quick);
    let mut times = Vec::new();
    while let Some(next) = network.next_event() {
        network.advance_to(next);
        while network.receive().is_some() {
            times.push(network.now() - start);
        }
    }
    // Half of the first one was through; 10 ms each now, and 10 ms on the way.
    assert_eq!(times, [1065 * MS, 1075 * MS, 1085 * MS]);
}

#[test]
fn capacity_in_patterns_and_traces() {
    let gate = Capacity::pulses(5_000_000, 200 * MS, 100 * MS);
    assert_eq!(gate.nominal(250 * MS), 5_000_000, "of before the pause");
    assert_eq!(
        gate.time_for(150 * MS, 500_000.0),
        Some(200 * MS),
        "50 ms open, 100 shut, 50 open"
    );
    assert_eq!(Capacity::from(0).time_for(Duration::ZERO, 1.0), None);
    let ended = Capacity::steps(&[(Duration::ZERO, 1000), (1000 * MS, 0)]);
    assert_eq!(ended.time_for(Duration::ZERO, 1001.0), None);
    // Two packets in the first 10 ms, none in the second, one in the third, and one at the end of all.
    let trace = Capacity::mahimahi("1\n2\n20\n30\n", 10 * MS).unwrap();
    assert_eq!([0, 10, 20].map(|at| trace.at(at * MS)), [2_400_000, 0, 2_400_000]);
    assert_eq!(trace.bits(Duration::ZERO, 60 * MS), 8.0 * 12_000.0);
    assert_eq!(Capacity::mahimahi("2\n1\n", 10 * MS), None);
    assert_eq!(Capacity::mahimahi("x", 10 * MS), None);
}

#[test]
fn codel_keeps_the_wait_short_and_marks_who_understands() {
    // One and a tenth of what passes: a queue that stands. With drop-tail it would be 500 ms long.
    let codel = Aqm::CoDel {
        target: 5 * MS,
        interval: 100 * MS,
    };
    let config = link(8_000_000, Limit::time(500 * MS), codel);
    let fared = share(config.clone(), &[(8_400_000, Ecn::NotEct)], 20_000 * MS);
    assert!(waits(&fared[0], 0.5) < 100 * MS, "{:?}", waits(&fared[0], 0.5));
    assert_eq!(marked(&fared[0]), 0);
    let fared = share(config.clone(), &[(8_400_000, Ecn::Ect0)], 2_000 * MS);
    assert!(marked(&fared[0]) > 5 && carried(&fared[0]) == fared[0].len());
    let fared = share(config, &[(7_600_000, Ecn::NotEct)], 2_000 * MS);
    assert_eq!(carried(&fared[0]), fared[0].len(), "no queue, no drop");
}

#[test]
fn dual_pi2_keeps_two_queues_apart() {
    let dual = Aqm::DualPi2 {
        target: 15 * MS,
        step: MS,
    };
    let config = link(8_000_000, Limit::time(250 * MS), dual);
    // The classic one offers too much; the other is below a tenth and waits for nobody.
    let fared = share(
        config.clone(),
        &[(8_000_000, Ecn::NotEct), (700_000, Ecn::Ect1)],
        20_000 * MS,
    );
    let (classic, low) = (waits(&fared[0], 0.9), waits(&fared[1], 0.99));
    assert!(low < 3 * MS && classic > 5 * MS, "{classic:?} {low:?}");
    assert!(classic < 60 * MS, "{classic:?}");
    assert!(marked(&fared[1]) > 0, "coupled");
    assert_eq!(marked(&fared[0]), 0);
    // Alone and too much: all are marked, and then some are dropped.
    let fared = share(config, &[(9_000_000, Ecn::Ect1)], 20_000 * MS);
    let on = carried(&fared[0]);
    assert!(marked(&fared[0]) * 10 > on * 9, "{} of {on}", marked(&fared[0]));
    assert!(waits(&fared[0], 0.9) < 100 * MS, "{:?}", waits(&fared[0], 0.9));
}

#[test]
fn normal_jitter_with_and_without_order() {
    let config = LinkConfig {
        delay: 50 * MS,
        jitter_sigma: 10 * MS,
        ..LinkConfig::default()
    };
    let (ordered, _) = super::arrivals(5, config.clone(), 1000, 10);
    assert!(ordered.is_sorted());
    let config = LinkConfig {
        jitter_reorders: true,
        ..config
    };
    let (free, _) = super::arrivals(5, config, 1000, 10);
    assert!(!free.is_sorted_by_key(|(number, _)| *number));
    let delays: Vec<f64> = free
        .iter()
        .map(|(number, at)| at.as_secs_f64() * 1e3 - f64::from(*number))
        .collect();
    let mean = delays.iter().sum::<f64>() / 1000.0;
    let deviation = (delays.iter().map(|delay| (delay - mean).powi(2)).sum::<f64>() / 1000.0).sqrt();
    assert!(
        (mean - 50.0).abs() < 1.5 && (deviation - 10.0).abs() < 1.0,
        "{mean} {deviation}"
    );
}

#[test]
fn a_bad_state_may_lose_only_some() {
    let config = LinkConfig {
        burst_start: 1.0,
        burst_end: 0.0,
        burst_loss: 0.3,
        ..LinkConfig::default()
    };
    let (_, stats) = super::arrivals(4, config, 5000, 10);
    assert!((1400..1600).contains(&stats.lost), "{stats:?}");
}

#[test]
fn a_link_that_bleaches_leaves_no_mark() {
    let config = LinkConfig {
        bleaches: true,
        ..link(8_000_000, Limit::time(100 * MS), Aqm::Threshold(MS))
    };
    let fared = share(config, &[(10_000_000, Ecn::Ect1)], 1000 * MS);
    assert!(
        fared[0].iter().all(|it| it.ecn == Ecn::NotEct),
        "nor is any made: who waits bears none"
    );
}
