//! Rows 21 to 24: another route, poor feedback, and what an SFU meets.

use antiphon_netsim::{Limit, LinkConfig};

use crate::board::{at_least, at_most};
use crate::end::Terms;
use crate::scene::{Outcome, Row, Scene, bottleneck, ms, nothing, steps};

pub(crate) const ROWS: [Row; 4] = [
    Row {
        number: 21,
        link: "200, then 800 kbit/s by another route, 50 ms each way",
        run: route,
    },
    Row {
        number: 22,
        link: "reports alone, 1 Mbit/s, 100 ms each way; REMB of 250 kbit/s, then 10 Mbit/s, on 2 Mbit/s",
        run: little_feedback,
    },
    Row {
        number: 23,
        link: "2 Mbit/s, 25 ms each way, feedback lost, doubled, out of order; 300 s late",
        run: poor_feedback,
    },
    Row {
        number: 24,
        link: "20 Mbit/s, a queue of 25 packets, a key frame each 2 s; 12 packets lost at once on 3 Mbit/s",
        run: forwarding,
    },
];

fn route(seed: u64) -> Outcome {
    let rate = steps(&[(0.0, 200e3), (10.0, 800e3)]);
    let mut scene = Scene::single(seed, bottleneck(rate), ms(50), &Terms::default());
    scene.run(10.0);
    scene.sender(0, |end, now| end.session.route_changed(now));
    scene.run(20.0);
    let figures = vec![at_least(
        "target 1 s after",
        scene.target(0, 11.0) / 1e3,
        "kbit/s",
        680.0,
    )];
    Outcome {
        figures,
        scenes: vec![("route", scene)],
    }
}

fn little_feedback(seed: u64) -> Outcome {
    let mut terms = Terms::default();
    terms.feedback.transport_cc = false;
    let link = bottleneck(1_000_000);
    let mut reports = Scene::single(seed, link.clone(), ms(100), &terms);
    reports.run(20.0);
    let lossy = LinkConfig { loss: 0.15, ..link };
    reports.simulation.network.set_bottleneck(reports.forward, lossy);
    reports.run(40.0);

    let mut capped = Scene::single(seed, bottleneck(2_000_000), ms(50), &Terms::default());
    for second in 0..30 {
        let rate = if second < 10 { 250_000 } else { 10_000_000 };
        capped.sender(0, |end, now| end.hear_remb(now, rate));
        capped.run(f64::from(second) + 1.0);
    }
    let figures = vec![
        at_least(
            "reports: target at 20 s",
            reports.target(0, 19.9) / 1e3,
            "kbit/s",
            500.0,
        ),
        at_most(
            "reports: 20 s of 15 % loss later",
            reports.target(0, 39.9) / 1e3,
            "kbit/s",
            300.0,
        ),
        at_least("cap: target 5 s after", capped.target(0, 15.0) / 1e3, "kbit/s", 1800.0),
        at_most(
            "cap: target under it",
            capped.range(0, 2.0, 10.0).1 / 1e3,
            "kbit/s",
            250.0,
        ),
    ];
    Outcome {
        figures,
        scenes: vec![("reports", reports), ("cap", capped)],
    }
}

/// How far the target fell below what it had been, in percent, from 10 s on.
fn drawdown(scene: &Scene, to: f64) -> f64 {
    let (mut most, mut deepest) = (0.0f64, 0.0f64);
    for seen in scene.seen(0, 10.0, to) {
        most = most.max(seen.target);
        deepest = deepest.max(1.0 - seen.target / most);
    }
    100.0 * deepest
}

fn poor_feedback(seed: u64) -> Outcome {
    let back = LinkConfig {
        loss: 0.1,
        duplicate: 0.1,
        reorder: 0.1,
        reorder_delay: ms(30),
        ..nothing()
    };
    let mut scene = Scene::new(seed, bottleneck(2_000_000), back);
    scene.add(ms(25), &Terms::default());
    scene.run(40.0);
    // Held back for 300 s, and then all at once.
    let held = LinkConfig {
        queue: Limit::bytes(usize::MAX),
        ..bottleneck(steps(&[(0.0, 100e6), (10.0, 0.0), (310.0, 100e6)]))
    };
    let mut late = Scene::new(seed, bottleneck(2_000_000), held);
    late.add(ms(25), &Terms::default());
    // Nobody says anything for 300 s.
    late.sender(0, |end, _| end.may_cease = true);
    late.run(330.0);
    let figures = vec![
        at_most("drawdown from 10 s", drawdown(&scene, 40.0), "%", 20.0),
        at_least("late: target at last", late.target(0, 329.9) / 1e6, "Mbit/s", 1.0),
    ];
    Outcome {
        figures,
        scenes: vec![("poor-feedback", scene)],
    }
}

fn forwarding(seed: u64) -> Outcome {
    let link = LinkConfig {
        queue: Limit::packets(25),
        ..bottleneck(20_000_000)
    };
    let terms = Terms {
        wanted: 4e6,
        ..Terms::default()
    };
    let mut scene = Scene::single(seed, link, ms(25), &terms);
    scene.sender(0, |end, now| end.key_every = Some((ms(2000), now)));
    scene.run(40.0);

    let link = bottleneck(3_000_000);
    let lossy = LinkConfig {
        loss: 1.0,
        ..link.clone()
    };
    let mut burst = Scene::single(seed, link.clone(), ms(25), &Terms::default());
    burst.run(20.0);
    // About a dozen packets.
    burst.simulation.network.set_bottleneck(burst.forward, lossy);
    burst.run(20.04);
    burst.simulation.network.set_bottleneck(burst.forward, link);
    burst.run(21.0);
    let longest = burst.wait(0, 1.0, 20.04, 21.0);
    let figures = vec![
        at_most("key frames: loss", scene.dropped(0, 0.0, 40.0), "%", 0.05),
        at_most("12 packets: longest wait after", longest, "ms", 100.0),
        at_most(
            "12 packets: loss in the queue",
            burst.dropped(0, 20.04, 21.0),
            "%",
            0.05,
        ),
    ];
    Outcome {
        figures,
        scenes: vec![("key-frames", scene), ("twelve", burst)],
    }
}
