//! Goodput of each congestion controller over simulated bottlenecks: `cargo run --release -p antiphon-sctp --example
//! throughput`. Arguments choose rows by the words in their names; `SEED=n` other dice.

#[path = "../tests/throughput/mod.rs"]
mod throughput;

use std::time::Duration;

use antiphon_sctp::Congestion;
use throughput::{Path, alone, beside};

const CONTROLLERS: [(&str, Congestion); 3] = [
    ("NewReno", Congestion::NewReno),
    ("CUBIC", Congestion::Cubic),
    ("BBR", Congestion::Bbr),
];

fn rows() -> Vec<(String, Path)> {
    let mut rows = Vec::new();
    for loss in [0.0, 0.001, 0.01] {
        let name = |what: &str| format!("{what}, {} % loss", loss * 100.0);
        rows.push((name("100 Mbit/s 20 ms 250 kB"), Path::first(loss)));
        rows.push((name("100 Mbit/s 100 ms"), Path::with(100, 100, loss)));
        rows.push((name("100 Mbit/s 300 ms"), Path::with(100, 300, loss)));
        rows.push((name("10 Mbit/s 20 ms"), Path::with(10, 20, loss)));
        rows.push((name("1 Gbit/s 20 ms"), Path::with(1000, 20, loss)));
    }
    for late in [5, 20] {
        let path = Path {
            reorder: 0.05,
            late: Duration::from_millis(late),
            ..Path::first(0.0)
        };
        rows.push((format!("100 Mbit/s 20 ms, 5 % reordered by {late} ms"), path));
    }
    for megabits in [10, 100, 1000] {
        rows.push((
            format!("{megabits} Mbit/s 10 ms, 20 % loss, 20 % late"),
            Path::awful(megabits),
        ));
    }
    rows
}

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let seed = std::env::var("SEED").map_or(1, |seed| seed.parse().expect("SEED is a number"));
    let wanted = |name: &str| words.iter().all(|word| name.contains(word.as_str()));
    println!(
        "| path (queue: one bandwidth-delay product) | {} |",
        CONTROLLERS.map(|(name, _)| name).join(" | ")
    );
    println!("|---|---|---|---|");
    for (name, path) in rows().into_iter().filter(|(name, _)| wanted(name)) {
        let cells = CONTROLLERS.map(|(_, congestion)| {
            let (goodput, median, most) = alone(seed, path, congestion, 20);
            format!(
                "{goodput:.1} ({:.0}/{:.0} ms)",
                median.as_secs_f64() * 1e3,
                most.as_secs_f64() * 1e3
            )
        });
        println!("| {name} | {} |", cells.join(" | "));
    }
    if wanted("beside Reno") {
        for queue in [250_000, 60_000] {
            let path = Path {
                queue,
                ..Path::first(0.0)
            };
            for (name, congestion) in CONTROLLERS {
                let [own, reno] = beside(1, path, [congestion, Congestion::NewReno], 60);
                println!(
                    "| {name} beside Reno, 100 Mbit/s 20 ms {} kB | {own:.1} and {reno:.1} |",
                    queue / 1000
                );
            }
        }
    }
}
