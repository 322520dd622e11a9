//! Rows 8 to 14: one flow on a link that loses, holds up, or is not asked for much.

use antiphon_netsim::{Capacity, Limit, LinkConfig};

use crate::board::{at_least, at_most};
use crate::end::Terms;
use crate::scene::{Outcome, Row, Scene, bottleneck, ms, nothing, steps};
use crate::source::Content;

pub(crate) const ROWS: [Row; 7] = [
    Row {
        number: 8,
        link: "3 Mbit/s, 25 ms each way, 1, 5, 10, 20 % lost at random",
        run: random_loss,
    },
    Row {
        number: 9,
        link: "3 Mbit/s, 25 ms each way, 5 % lost in bursts of 4 packets in the mean",
        run: bursts,
    },
    Row {
        number: 10,
        link: "1 Mbit/s, 25 ms each way, a queue of 3 packets",
        run: shallow,
    },
    Row {
        number: 11,
        link: "4 Mbit/s, 25 ms each way, jitter with a deviation of 10 ms",
        run: jitter,
    },
    Row {
        number: 12,
        link: "5 Mbit/s, 200 ms open and 100 ms shut; 1 Mbit/s, 70 ms more for good at 3 s",
        run: gate_and_shift,
    },
    Row {
        number: 13,
        link: "2 Mbit/s, 25 ms each way, nothing passes for 3 s",
        run: outage,
    },
    Row {
        number: 14,
        link: "5 Mbit/s, 25 ms each way, 30 s of a screen, then 3 Mbit/s wanted",
        run: idle,
    },
];

fn random_loss(seed: u64) -> Outcome {
    let mut outcome = Outcome::default();
    for (loss, least, name) in [
        (1, 90.0, "loss-1"),
        (5, 88.0, "loss-5"),
        (10, 85.0, "loss-10"),
        (20, 75.0, "loss-20"),
    ] {
        let link = LinkConfig {
            loss: f64::from(loss) / 100.0,
            ..bottleneck(3_000_000)
        };
        let mut scene = Scene::single(seed, link, ms(25), &Terms::default());
        scene.run(30.0);
        let sent = 100.0 * scene.sent(0, 10.0, 30.0) / scene.carries(10.0, 30.0);
        let (lowest, _) = scene.range(0, 10.0, 30.0);
        let seen: Vec<f64> = scene.seen(0, 10.0, 30.0).map(|seen| seen.target).collect();
        let mean = seen.iter().sum::<f64>() / seen.len() as f64;
        outcome.figures.extend([
            at_least(format!("{loss} %: sent from 10 s"), sent, "%", least),
            at_most(
                format!("{loss} %: deepest dip"),
                100.0 * (1.0 - lowest / mean),
                "%",
                25.0,
            ),
        ]);
        outcome.scenes.push((name, scene));
    }
    outcome
}

fn bursts(seed: u64) -> Outcome {
    let link = LinkConfig {
        // A burst ends with each fourth packet; a twentieth of the packets is in one.
        burst_end: 0.25,
        burst_start: 0.25 * 0.05 / 0.95,
        ..bottleneck(3_000_000)
    };
    let mut scene = Scene::single(seed, link, ms(25), &Terms::default());
    scene.run(30.0);
    let sent = 100.0 * scene.sent(0, 10.0, 30.0) / scene.carries(10.0, 30.0);
    Outcome {
        figures: vec![at_least("sent from 10 s", sent, "%", 80.0)],
        scenes: vec![("bursts", scene)],
    }
}

fn shallow(seed: u64) -> Outcome {
    let link = LinkConfig {
        queue: Limit::packets(3),
        ..bottleneck(1_000_000)
    };
    let mut scene = Scene::single(seed, link, ms(25), &Terms::default());
    scene.run(30.0);
    let figures = vec![
        at_most("loss", scene.dropped(0, 0.0, 30.0), "%", 3.0),
        at_least("U from 5 s", scene.used(0, 5.0, 30.0), "%", 70.0),
    ];
    Outcome {
        figures,
        scenes: vec![("shallow", scene)],
    }
}

fn jitter(seed: u64) -> Outcome {
    let there = LinkConfig {
        delay: ms(25),
        jitter_sigma: ms(10),
        ..bottleneck(4_000_000)
    };
    let back = LinkConfig {
        delay: ms(25),
        ..nothing()
    };
    let mut scene = Scene::new(seed, there, back);
    scene.add(ms(0), &Terms::default());
    scene.run(30.0);
    Outcome {
        figures: vec![at_least("U from 10 s", scene.used(0, 10.0, 30.0), "%", 80.0)],
        scenes: vec![("jitter", scene)],
    }
}

fn gate_and_shift(seed: u64) -> Outcome {
    let gate = Capacity::pulses(5_000_000, ms(200), ms(100));
    let mut gated = Scene::single(seed, bottleneck(gate), ms(10), &Terms::default());
    gated.run(30.0);
    let delivered = gated.delivered(0, 10.0, 30.0) / 20.0;
    let mut shifted = Scene::single(seed, bottleneck(1_000_000), ms(25), &Terms::default());
    shifted.run(3.0);
    shifted.delay_there(0, ms(95));
    shifted.run(20.0);
    let figures = vec![
        at_least("gate: delivered from 10 s", delivered / 1e6, "Mbit/s", 1.9),
        at_least(
            "shift: target 8 s after",
            shifted.target(0, 11.0) / 1e3,
            "kbit/s",
            700.0,
        ),
    ];
    Outcome {
        figures,
        scenes: vec![("gate", gated), ("shift", shifted)],
    }
}

fn outage(seed: u64) -> Outcome {
    let rate = steps(&[(0.0, 2e6), (10.0, 0.0), (13.0, 2e6)]);
    let back = LinkConfig {
        delay: ms(0),
        ..bottleneck(steps(&[(0.0, 100e6), (10.0, 0.0), (13.0, 100e6)]))
    };
    let mut scene = Scene::new(seed, bottleneck(rate), back);
    scene.add(ms(25), &Terms::default());
    scene.run(25.0);
    let before = scene.target(0, 9.9);
    let figures = vec![
        // The sound goes on: 51 kbit/s.
        at_most("sent from 1 s into it", scene.sent(0, 11.0, 13.0) / 2e3, "kbit/s", 80.0),
        at_least(
            "target 2 s after, of before",
            100.0 * scene.target(0, 15.0) / before,
            "%",
            80.0,
        ),
        at_most(
            "sent in the first second after",
            scene.sent(0, 13.0, 14.0) / 20e3,
            "%",
            120.0,
        ),
    ];
    Outcome {
        figures,
        scenes: vec![("outage", scene)],
    }
}

/// The largest target in terms of what had been delivered in any 20 ms before it.
fn boldest(scene: &Scene, from: f64, to: f64) -> f64 {
    let (mut proven, mut boldest) = (0.0f64, 0.0f64);
    let mut done = 0.0;
    for seen in scene.seen(0, 0.0, to) {
        proven = proven.max(scene.delivered(0, done, seen.at) / (seen.at - done));
        done = seen.at;
        if seen.at >= from {
            boldest = boldest.max(seen.target / proven);
        }
    }
    boldest
}

fn idle(seed: u64) -> Outcome {
    let mut outcome = Outcome::default();
    for (name, rtx, content) in [
        ("still", true, Content::Still(500e3)),
        ("still, no RTX", false, Content::Still(500e3)),
        ("fitful", true, Content::Fitful),
    ] {
        let terms = Terms {
            wanted: 3e6,
            rtx,
            ..Terms::default()
        };
        let mut scene = Scene::single(seed, bottleneck(5_000_000), ms(25), &terms);
        let set = |scene: &mut Scene, content: Content| {
            scene.sender(0, |end, now| {
                if let Some((_, video)) = &mut end.video {
                    (video.content, video.next) = (content, now);
                }
            });
        };
        set(&mut scene, content);
        scene.run(30.0);
        set(&mut scene, Content::Live);
        scene.run(40.0);
        let reached = scene.seen(0, 30.0, 40.0).find(|seen| seen.target >= 3e6);
        let reached = reached.map_or(f64::INFINITY, |seen| seen.at - 30.0);
        let spent = |from: f64, to: f64| 100.0 * scene.extra(0, from, to) / scene.carries(from, to);
        let most = (0..=20)
            .map(|from| spent(f64::from(from), f64::from(from) + 10.0))
            .fold(0.0, f64::max);
        outcome.figures.extend([
            at_most(format!("{name}: 3 Mbit/s after"), reached, "s", 1.0),
            at_most(
                format!("{name}: target of what is proven"),
                boldest(&scene, 2.0, 30.0),
                "times",
                1.5,
            ),
            at_most(format!("{name}: padding"), spent(0.0, 30.0), "%", 3.0),
            at_most(format!("{name}: padding in any 10 s"), most, "%", 10.0),
        ]);
        let plot = match name {
            "still" => "still",
            "fitful" => "fitful",
            _ => "still-no-rtx",
        };
        outcome.scenes.push((plot, scene));
    }
    outcome
}
