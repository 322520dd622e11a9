//! Bulk transfers: they fill a link, share it, and heed marks.

use std::time::Duration;

use antiphon_sansio::Path;

use super::address;
use crate::*;

const SECOND: Duration = Duration::from_secs(1);
const MS: Duration = Duration::from_millis(1);

fn for_ever() -> Vec<Transfer> {
    vec![Transfer {
        at: Duration::ZERO,
        bytes: None,
        until: 1000 * SECOND,
    }]
}

/// Runs flows over one bottleneck, 20 ms each way. Returns what each has delivered, in packets, and what crossed.
fn run(config: LinkConfig, flows: &[(TcpControl, Vec<Transfer>)], time: Duration) -> (Vec<u64>, Vec<Crossing>) {
    let mut network = Network::new(3);
    let bottleneck = network.add_bottleneck(config);
    network.watch(bottleneck);
    network.set_default_link(LinkConfig {
        delay: 20 * MS,
        ..LinkConfig::default()
    });
    let mut simulation = Simulation::with_max_datagram(network, 1472);
    let mut receivers = Vec::new();
    for (number, (rules, transfers)) in flows.iter().enumerate() {
        let network = &mut simulation.network;
        let hosts = [network.add_host(), network.add_host()];
        let sockets = [0, 1].map(|end| {
            let own = format!("10.{end}.0.{}:9", number + 1);
            network.bind(hosts[end], address(&own)).unwrap()
        });
        network.lead_through(hosts[0], hosts[1], bottleneck);
        let paths = [0, 1].map(|end| Path {
            local: sockets[end].local(),
            remote: network.address(sockets[1 - end]),
        });
        let now = network.now();
        simulation.add(hosts[0], Bulk::sender(now, paths[0], *rules, transfers.clone()));
        receivers.push(simulation.add(hosts[1], Bulk::receiver(now, paths[1])));
    }
    simulation.run_for(time);
    let delivered = receivers.iter().map(|receiver| simulation.peer(*receiver).delivered());
    let delivered = delivered.collect();
    (delivered, simulation.network.take_crossings(bottleneck))
}

fn link(aqm: Aqm) -> LinkConfig {
    LinkConfig {
        delay: Duration::ZERO,
        rate: Some(12_000_000.into()),
        queue: Limit::time(100 * MS),
        aqm,
        ..LinkConfig::default()
    }
}

const DUAL: Aqm = Aqm::DualPi2 {
    target: Duration::from_millis(15),
    step: Duration::from_millis(1),
};

#[test]
fn each_fills_a_link() {
    // A thousand packets a second.
    for (rules, aqm) in [
        (TcpControl::Reno, Aqm::DropTail),
        (TcpControl::Cubic, Aqm::DropTail),
        (TcpControl::Cubic, DUAL),
        (TcpControl::Prague, DUAL),
    ] {
        let (delivered, crossings) = run(link(aqm), &[(rules, for_ever())], 30 * SECOND);
        assert!(
            (27_000..=30_000).contains(&delivered[0]),
            "{rules:?} {aqm:?}: {delivered:?}"
        );
        let late = crossings.iter().skip(crossings.len() / 2);
        let waited: Duration = late.clone().map(|crossing| crossing.waited).sum();
        let mean = waited / late.count() as u32;
        let most = if rules == TcpControl::Prague { 3 } else { 100 };
        assert!(mean < most * MS, "{rules:?} {aqm:?}: {mean:?}");
    }
}

#[test]
fn two_share_a_link() {
    for rules in [TcpControl::Reno, TcpControl::Cubic] {
        let flows = [(rules, for_ever()), (rules, for_ever())];
        let (delivered, _) = run(link(Aqm::DropTail), &flows, 60 * SECOND);
        let (least, most) = (delivered[0].min(delivered[1]), delivered[0].max(delivered[1]));
        assert!(least * 2 > most, "{rules:?}: {delivered:?}");
    }
    // What the two queues of DualPI2 are for.
    let flows = [(TcpControl::Prague, for_ever()), (TcpControl::Cubic, for_ever())];
    let (delivered, _) = run(link(DUAL), &flows, 60 * SECOND);
    assert!(
        delivered[0] * 4 > delivered[1] && delivered[1] * 4 > delivered[0],
        "{delivered:?}"
    );
}

#[test]
fn short_transfers_end_and_later_ones_begin() {
    let transfers = (0..5).map(|number| Transfer {
        at: number * SECOND,
        bytes: Some(40_000),
        until: (number + 1) * SECOND,
    });
    let mut lossy = link(Aqm::DropTail);
    lossy.loss = 0.05;
    let (delivered, crossings) = run(lossy, &[(TcpControl::Cubic, transfers.collect())], 10 * SECOND);
    assert_eq!(
        delivered[0],
        5 * 40_000u64.div_ceil(1472),
        "all of each, whatever is lost"
    );
    assert!(crossings.len() as u64 > delivered[0], "what was lost was sent again");
}
