//! Rows 1 to 7: one flow, alone on a link whose rate stays or steps.

use crate::board::{at_least, at_most};
use crate::end::Terms;
use crate::scene::{Outcome, Row, Scene, bottleneck, ms, steps};

pub(crate) const ROWS: [Row; 7] = [
    Row {
        number: 1,
        link: "2 Mbit/s, 25 ms each way",
        run: steady,
    },
    Row {
        number: 2,
        link: "50 Mbit/s, 10 ms each way, 25 Mbit/s wanted",
        run: broad,
    },
    Row {
        number: 3,
        link: "200 kbit/s, 10 ms each way; 100 kbit/s, 25 ms",
        run: narrow,
    },
    Row {
        number: 4,
        link: "600 kbit/s, 50 ms each way",
        run: modest,
    },
    Row {
        number: 5,
        link: "500, 800, 100 kbit/s, 100, 100, 200 ms each way",
        run: by_steps,
    },
    Row {
        number: 6,
        link: "RFC 8867 5.1: 1, 2.5, 0.6, 1 Mbit/s, 50 and 100 ms each way",
        run: variable,
    },
    Row {
        number: 7,
        link: "10, 0.8, 10 Mbit/s, 25 ms each way, 5 Mbit/s wanted",
        run: fall_and_rise,
    },
];

/// The unit of rates in RFC 8867 as its simulations have it.
pub(crate) const MEGABIT: f64 = 1_048_576.0;

fn steady(seed: u64) -> Outcome {
    let mut scene = Scene::single(seed, bottleneck(2_000_000), ms(25), &Terms::default());
    scene.run(30.0);
    let figures = vec![
        at_most("T90", scene.t90(0, 2e6, 0.0, 30.0), "s", 1.5),
        at_least("U from 10 s", scene.used(0, 10.0, 30.0), "%", 90.0),
        at_most("Q95 from 10 s", scene.q95(0, 10.0, 30.0), "ms", 60.0),
        at_most("loss", scene.dropped(0, 0.0, 30.0), "%", 0.5),
    ];
    Outcome {
        figures,
        scenes: vec![("steady", scene)],
    }
}

fn broad(seed: u64) -> Outcome {
    let terms = Terms {
        wanted: 25e6,
        ..Terms::default()
    };
    let mut scene = Scene::single(seed, bottleneck(50_000_000), ms(10), &terms);
    scene.run(5.0);
    let figures = vec![
        at_least("target at 0.4 s", scene.target(0, 0.4) / 1e6, "Mbit/s", 2.0),
        at_least("target at 3 s", scene.target(0, 3.0) / 1e6, "Mbit/s", 22.0),
    ];
    Outcome {
        figures,
        scenes: vec![("broad", scene)],
    }
}

fn narrow(seed: u64) -> Outcome {
    let mut low = Scene::single(seed, bottleneck(200_000), ms(10), &Terms::default());
    low.run(20.0);
    let mut lowest = Scene::single(seed, bottleneck(100_000), ms(25), &Terms::default());
    lowest.run(30.0);
    let (least, most) = lowest.range(0, 3.0, 30.0);
    let figures = vec![
        at_most(
            "200: off by at 0.5 s",
            (low.target(0, 0.5) / 1e3 - 200.0).abs(),
            "kbit/s",
            40.0,
        ),
        at_most("200: Q95 from 2 s", low.q95(0, 2.0, 20.0), "ms", 150.0),
        at_least("100: least target from 3 s", least / 1e3, "kbit/s", 65.0),
        at_most("100: largest target from 3 s", most / 1e3, "kbit/s", 100.0),
        at_most("100: loss", lowest.dropped(0, 0.0, 30.0), "%", 2.0),
    ];
    Outcome {
        figures,
        scenes: vec![("narrow-200", low), ("narrow-100", lowest)],
    }
}

fn modest(seed: u64) -> Outcome {
    let mut scene = Scene::single(seed, bottleneck(600_000), ms(50), &Terms::default());
    scene.run(30.0);
    let (least, most) = scene.range(0, 3.0, 30.0);
    let figures = vec![
        at_least("least target from 3 s", least / 1e3, "kbit/s", 510.0),
        at_most("largest target from 3 s", most / 1e3, "kbit/s", 610.0),
    ];
    Outcome {
        figures,
        scenes: vec![("modest", scene)],
    }
}

fn by_steps(seed: u64) -> Outcome {
    let mut terms = Terms {
        wanted: 1.5e6,
        ..Terms::default()
    };
    terms.config.max_bitrate = 1_500_000;
    let rate = steps(&[(0.0, 500e3), (25.0, 800e3), (45.0, 100e3)]);
    let mut scene = Scene::single(seed, bottleneck(rate), ms(100), &terms);
    scene.run(45.0);
    scene.delay(0, ms(200));
    scene.run(95.0);
    let mut figures = Vec::new();
    for (kbit, moment, least, most) in [
        (500, 8.0, 430.0, 500.0),
        (800, 33.0, 700.0, 800.0),
        (100, 50.0, 80.0, 100.0),
    ] {
        let target = scene.target(0, moment) / 1e3;
        let after = if kbit == 100 { 5 } else { 8 };
        figures.push(at_least(
            format!("{kbit}: target at {after} s, least"),
            target,
            "kbit/s",
            least,
        ));
        figures.push(at_most(
            format!("{kbit}: target at {after} s, most"),
            target,
            "kbit/s",
            most,
        ));
    }
    Outcome {
        figures,
        scenes: vec![("by-steps", scene)],
    }
}

fn variable(seed: u64) -> Outcome {
    let mut outcome = Outcome::default();
    for (owd, slowest) in [(50, 0.5), (100, 0.6)] {
        let megabits = [(0.0, 1.0), (40.0, 2.5), (60.0, 0.6), (80.0, 1.0)];
        let rate = steps(&megabits.map(|(from, rate)| (from, rate * MEGABIT)));
        let mut scene = Scene::single(seed, bottleneck(rate), ms(owd), &Terms::default());
        scene.run(100.0);
        let up = scene.t90(0, 2.5 * MEGABIT, 40.0, 60.0);
        let again = scene.t90(0, MEGABIT, 80.0, 100.0);
        let follows = scene.follows(0, 0.6 * MEGABIT, 60.0, 80.0);
        outcome.figures.extend([
            at_least(format!("{owd} ms: U"), scene.used(0, 0.0, 100.0), "%", 85.0).mean(),
            at_most(format!("{owd} ms: T90 up to 2.5"), up, "s", 4.0),
            at_most(format!("{owd} ms: T90 up to 1"), again, "s", 4.0),
            at_most(format!("{owd} ms: R down to 0.6"), follows, "s", slowest),
            at_most(
                format!("{owd} ms: Q95, 1.5 to 2.5 s after"),
                scene.q95(0, 61.5, 62.5),
                "ms",
                50.0,
            ),
            at_most(format!("{owd} ms: loss"), scene.dropped(0, 0.0, 100.0), "%", 2.0),
        ]);
        let name = if owd == 50 { "variable-50" } else { "variable-100" };
        outcome.scenes.push((name, scene));
    }
    outcome
}

fn fall_and_rise(seed: u64) -> Outcome {
    let rate = steps(&[(0.0, 10e6), (20.0, 800e3), (40.0, 10e6)]);
    let mut scene = Scene::single(seed, bottleneck(rate), ms(25), &Terms::default());
    scene.run(60.0);
    let low = scene.target(0, 21.5) / 1e6;
    let figures = vec![
        at_least("target 1.5 s after the fall, least", low, "Mbit/s", 0.64),
        at_most("target 1.5 s after the fall, most", low, "Mbit/s", 0.8),
        at_least("target 5 s after the rise", scene.target(0, 45.0) / 1e6, "Mbit/s", 4.75),
    ];
    Outcome {
        figures,
        scenes: vec![("fall-and-rise", scene)],
    }
}
