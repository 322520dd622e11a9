//! Row 20: links that mark instead of dropping (DualPI2, RFC 9332), feedback of RFC 8888, and what looks like such links.

use std::time::Duration;

use antiphon_netsim::{Aqm, LinkConfig, TcpControl, Transfer};

use crate::board::{at_least, at_most};
use crate::end::{Terms, low_latency};
use crate::scene::{Outcome, Row, Scene, at, bottleneck, ms, nothing};

pub(crate) const ROWS: [Row; 1] = [Row {
    number: 20,
    link: "DualPI2 of 10 ms, RFC 8888: 0.6, 1, 2 Mbit/s; 100 Mbit/s beside Prague; bleached, and classic marks",
    run: marks,
}];

/// What waits longer is marked.
const STEP: Duration = Duration::from_millis(10);
const DUAL: Aqm = Aqm::DualPi2 {
    target: STEP,
    step: STEP,
};
const BROAD: f64 = 100e6;

fn marks(seed: u64) -> Outcome {
    let mut outcome = Outcome::default();
    for (rate, owd, name) in [(0.6, 50, "marks-0.6"), (1.0, 50, "marks-1"), (2.0, 25, "marks-2")] {
        let link = LinkConfig {
            aqm: DUAL,
            ..bottleneck((rate * 1e6) as u64)
        };
        let mut scene = Scene::single(seed, link, ms(owd), &low_latency(Terms::default()));
        scene.run(30.0);
        outcome.figures.extend([
            at_least(
                format!("{rate} Mbit/s: U from 5 s"),
                scene.used(0, 5.0, 30.0),
                "%",
                80.0,
            ),
            at_most(
                format!("{rate} Mbit/s: Q95 from 5 s"),
                scene.q95(0, 5.0, 30.0),
                "ms",
                15.0,
            ),
        ]);
        outcome.scenes.push((name, scene));
    }
    for rivals in 0..=4 {
        broad(seed, rivals, &mut outcome);
    }
    for (name, aqm, bleaches, plot) in [
        ("bleached", DUAL, true, "bleached"),
        (
            "classic",
            Aqm::CoDel {
                target: ms(5),
                interval: ms(100),
            },
            false,
            "classic",
        ),
    ] {
        let link = LinkConfig {
            aqm,
            bleaches,
            ..bottleneck(2_000_000)
        };
        let mut scene = Scene::single(seed, link, ms(25), &low_latency(Terms::default()));
        scene.run(20.0);
        outcome.figures.extend([
            at_most(format!("{name}: Q95 from 1 s"), scene.q95(0, 1.0, 20.0), "ms", 100.0),
            at_most(format!("{name}: loss from 1 s"), scene.dropped(0, 1.0, 20.0), "%", 2.0),
            at_least(format!("{name}: U from 5 s"), scene.used(0, 5.0, 20.0), "%", 70.0),
        ]);
        outcome.scenes.push((plot, scene));
    }
    outcome
}

/// 100 Mbit/s and a round trip of 25 ms, beside so many bulk transfers.
fn broad(seed: u64, rivals: usize, outcome: &mut Outcome) {
    let link = LinkConfig {
        aqm: DUAL,
        ..bottleneck(BROAD as u64)
    };
    let mut terms = low_latency(Terms {
        wanted: 120e6,
        ..Terms::default()
    });
    terms.config.max_bitrate = 120_000_000;
    let owd = Duration::from_micros(12_500);
    let mut scene = Scene::new(seed, link, nothing());
    scene.add(owd, &terms);
    for _ in 0..rivals {
        let transfer = Transfer {
            at: at(0.0),
            bytes: None,
            until: at(100.0),
        };
        scene.bulk(owd, TcpControl::Prague, vec![transfer]);
    }
    scene.run(12.0);
    let used = scene.used(0, 6.0, 12.0);
    if rivals == 0 {
        outcome.figures.extend([
            at_least("100 Mbit/s: U from 6 s", used, "%", 85.0),
            at_most("100 Mbit/s: Q95 from 6 s", scene.q95(0, 6.0, 12.0), "ms", 15.0),
        ]);
    } else {
        let share = used * (rivals + 1) as f64 / 100.0;
        outcome.figures.extend([
            at_least(format!("beside {rivals} Prague: of a fair share"), share, "times", 0.8),
            at_most(
                format!("beside {rivals} Prague: of a fair share, most"),
                share,
                "times",
                1.25,
            ),
        ]);
    }
    if rivals == 1 {
        let scene = std::mem::replace(&mut scene, Scene::new(0, nothing(), nothing()));
        outcome.scenes.push(("beside-prague", scene));
    }
}
