//! Rows 15 to 20: flows that share a bottleneck with TCP, or with each other.

use antiphon_netsim::{Limit, LinkConfig, TcpControl, Transfer};

use super::alone::MEGABIT;
use crate::board::{at_least, at_most};
use crate::end::Terms;
use crate::measure::jain;
use crate::scene::{Outcome, Row, Scene, at, bottleneck, ms, nothing, steps};

pub(crate) const ROWS: [Row; 5] = [
    Row {
        number: 15,
        link: "RFC 8867 5.6: 2 Mbit/s, 50 ms each way, one long TCP, queues of 300 and 1000 ms",
        run: beside_tcp,
    },
    Row {
        number: 16,
        link: "RFC 8867 5.7: 2 Mbit/s, ten short TCPs; 1 Mbit/s, a queue of 25 packets, TCP now and then",
        run: short_tcps,
    },
    Row {
        number: 17,
        link: "RFC 8867 5.2, 5.4, 5.8: two and three flows, 50 ms each way",
        run: several,
    },
    Row {
        number: 18,
        link: "RFC 8867 5.5: 4 Mbit/s, five flows, 10 to 150 ms each way",
        run: round_trips,
    },
    Row {
        number: 19,
        link: "RFC 8867 5.3: both ways at once, both change",
        run: both_ways,
    },
];

fn long(from: f64, to: f64) -> Transfer {
    Transfer {
        at: at(from),
        bytes: None,
        until: at(to),
    }
}

fn beside_tcp(seed: u64) -> Outcome {
    let mut outcome = Outcome::default();
    for (name, rules, queue, plot) in [
        ("Reno, 300 ms", TcpControl::Reno, 300, "reno-300"),
        ("Reno, 1000 ms", TcpControl::Reno, 1000, "reno-1000"),
        ("CUBIC, 300 ms", TcpControl::Cubic, 300, "cubic-300"),
        ("CUBIC, 1000 ms", TcpControl::Cubic, 1000, "cubic-1000"),
    ] {
        let link = LinkConfig {
            queue: Limit::time(ms(queue)),
            ..bottleneck(2_000_000)
        };
        let mut scene = Scene::new(seed, link, nothing());
        scene.bulk(ms(50), rules, vec![long(0.0, 120.0)]);
        scene.run(5.0);
        scene.add(ms(50), &Terms::default());
        scene.run(120.0);
        let media = scene.used(0, 30.0, 120.0);
        let tcp = 100.0 * scene.delivered_bulk(0, 30.0, 120.0) / scene.carries(30.0, 120.0);
        let least = if queue == 300 { 25.0 } else { 15.0 };
        outcome
            .figures
            .push(at_least(format!("{name}: media"), media, "%", least));
        if queue == 300 {
            outcome
                .figures
                .push(at_most(format!("{name}: media, most"), media, "%", 75.0));
        }
        outcome.figures.push(at_least(format!("{name}: TCP"), tcp, "%", 20.0));
        outcome.scenes.push((plot, scene));
    }
    outcome
}

fn short_tcps(seed: u64) -> Outcome {
    let mut scene = Scene::new(seed, bottleneck(2_000_000), nothing());
    let mut dice = scene.rng.fork("short");
    for _ in 0..10 {
        // 30 to 50 KB, and a rest of 10 s in the mean between them.
        let mut transfers = Vec::new();
        let mut begin = 10.0 * dice.unit();
        while begin < 300.0 {
            transfers.push(Transfer {
                at: at(begin),
                bytes: Some(30_000 + u64::from(dice.below(20_000))),
                until: at(300.0),
            });
            begin += 0.5 - 10.0 * (1.0 - dice.unit()).ln();
        }
        scene.bulk(ms(50), TcpControl::Cubic, transfers);
    }
    for _ in 0..2 {
        scene.add(ms(50), &Terms::default());
    }
    scene.run(300.0);
    let media = (0..2).map(|flow| scene.used(flow, 0.0, 300.0)).sum();

    let link = LinkConfig {
        queue: Limit::packets(25),
        ..bottleneck(1_000_000)
    };
    let mut crossed = Scene::new(seed, link, nothing());
    crossed.add(ms(50), &Terms::default());
    let times = [20.0, 42.0, 64.0, 86.0];
    crossed.bulk(
        ms(50),
        TcpControl::Cubic,
        times.map(|from| long(from, from + 2.0)).to_vec(),
    );
    crossed.run(108.0);
    let received = crossed.delivered(0, 0.0, 108.0) / 108e3;
    Outcome {
        figures: vec![
            at_least("short TCPs: media", media, "%", 60.0).mean(),
            at_least("now and then: received", received, "kbit/s", 750.0).mean(),
        ],
        scenes: vec![("short-tcps", scene), ("now-and-then", crossed)],
    }
}

/// What each of these flows got in the last three of 20 seconds after an event.
fn fair(scene: &Scene, flows: usize, event: f64) -> f64 {
    let rates: Vec<f64> = (0..flows)
        .map(|flow| scene.delivered(flow, event + 17.0, event + 20.0))
        .collect();
    jain(&rates)
}

/// Which part of a fair share a flow got in a span, in percent.
fn share(scene: &Scene, flow: usize, of: usize, from: f64, to: f64) -> f64 {
    scene.used(flow, from, to) * of as f64
}

fn several(seed: u64) -> Outcome {
    let megabits = [(0.0, 4.0), (25.0, 2.0), (50.0, 3.5), (75.0, 1.0), (100.0, 2.0)];
    let rate = steps(&megabits.map(|(from, rate)| (from, rate * MEGABIT)));
    let mut two = Scene::new(seed, bottleneck(rate), nothing());
    for _ in 0..2 {
        two.add(ms(50), &Terms::default());
    }
    two.run(125.0);
    let two_fair = megabits
        .iter()
        .map(|(from, _)| fair(&two, 2, *from))
        .fold(1.0, f64::min);

    let mut late = Scene::new(seed, bottleneck((3.5 * MEGABIT) as u64), nothing());
    for begin in [0.0, 20.0, 40.0] {
        late.run(begin);
        late.add(ms(50), &Terms::default());
    }
    late.run(120.0);
    let second = share(&late, 1, 2, 28.0, 30.0);
    let third = share(&late, 2, 3, 48.0, 50.0);

    let mut paused = Scene::new(seed, bottleneck((3.5 * MEGABIT) as u64), nothing());
    for _ in 0..3 {
        paused.add(ms(50), &Terms::default());
    }
    paused.run(40.0);
    paused.sender(0, |end, now| end.pause(now, true));
    paused.run(60.0);
    paused.sender(0, |end, now| end.pause(now, false));
    paused.run(120.0);
    Outcome {
        figures: vec![
            at_least("5.2: Jain 20 s after each step", two_fair, "", 0.95),
            at_least("5.4: Jain of two at 40 s", fair(&late, 2, 20.0), "", 0.95),
            at_least("5.4: Jain of three at 60 s", fair(&late, 3, 40.0), "", 0.95),
            at_least("5.4: second flow after 10 s", second, "%", 70.0),
            at_least("5.4: third flow after 10 s", third, "%", 70.0),
            at_least("5.8: Jain at 20 s", fair(&paused, 3, 0.0), "", 0.95),
            at_least("5.8: Jain at 80 s", fair(&paused, 3, 60.0), "", 0.95),
            at_least(
                "5.8: resumed flow after 5 s",
                share(&paused, 0, 3, 64.0, 66.0),
                "%",
                70.0,
            ),
        ],
        scenes: vec![("two", two), ("late-comers", late), ("paused", paused)],
    }
}

fn round_trips(seed: u64) -> Outcome {
    let mut scene = Scene::new(seed, bottleneck((4.0 * MEGABIT) as u64), nothing());
    for (number, owd) in [10, 25, 50, 100, 150].into_iter().enumerate() {
        scene.run(10.0 * number as f64);
        scene.add(ms(owd), &Terms::default());
    }
    scene.run(300.0);
    let rates: Vec<f64> = (0..5).map(|flow| scene.delivered(flow, 100.0, 300.0)).collect();
    let least = rates.iter().copied().fold(f64::MAX, f64::min);
    let most = rates.iter().copied().fold(0.0, f64::max);
    Outcome {
        figures: vec![
            at_least("Jain from 100 s", jain(&rates), "", 0.9),
            at_most("most of least", most / least, "times", 2.0),
        ],
        scenes: vec![("round-trips", scene)],
    }
}

fn both_ways(seed: u64) -> Outcome {
    let there = [(0.0, 2.0), (20.0, 1.0), (40.0, 0.5), (60.0, 2.0)];
    let there = steps(&there.map(|(from, rate)| (from, rate * MEGABIT)));
    let back = [(0.0, 2.0), (35.0, 0.8), (70.0, 2.0)];
    let back = steps(&back.map(|(from, rate)| (from, rate * MEGABIT)));
    let mut scene = Scene::new(seed, bottleneck(there), bottleneck(back.clone()));
    let terms = Terms::default();
    scene.add(ms(50), &terms);
    scene.answer(0, &terms);
    scene.run(100.0);
    let carries_back = back.bits(at(0.0), at(100.0));
    let used_back = 100.0 * scene.delivered_back(0, 0.0, 100.0) / carries_back;
    let flow = &scene.flows[0];
    let rtcp = |peer| scene.simulation.peer(peer).call().rtcp_bytes as f64 * 800.0;
    let (rtcp_there, rtcp_back) = (rtcp(flow.sender), rtcp(flow.receiver));
    let figures = vec![
        at_least("there: U", scene.used(0, 0.0, 100.0), "%", 80.0),
        at_least("back: U", used_back, "%", 80.0),
        at_most("there: RTCP", rtcp_there / scene.carries(0.0, 100.0), "%", 5.0),
        at_most("back: RTCP", rtcp_back / carries_back, "%", 5.0),
    ];
    Outcome {
        figures,
        scenes: vec![("both-ways", scene)],
    }
}
