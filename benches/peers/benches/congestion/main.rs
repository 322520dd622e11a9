//! The rows of the scoreboard of congestion control, for us and for others: the same links, the same sources, the same seeds.
//!
//! `cargo bench --bench congestion` runs all rows with three seeds; `-- ROWS SEEDS`, as in `-- 1,6,8 16`, others.

#![allow(
    dead_code,
    reason = "the files of the scoreboard are here for some of what they hold"
)]

#[path = "../../../../crates/media/tests/common/board.rs"]
mod board;
#[path = "../../../../crates/media/tests/scoreboard/end.rs"]
mod end;
#[path = "../../../../crates/media/tests/scoreboard/measure.rs"]
mod measure;
#[path = "../../../../crates/media/tests/scoreboard/rows/mod.rs"]
mod rows;
mod rtc;
#[path = "../../../../crates/media/tests/scoreboard/scene.rs"]
mod scene;
#[path = "../../../../crates/media/tests/scoreboard/source.rs"]
mod source;
mod whole;

use antiphon_media::congestion::Congestion;
use board::{Bound, Results, show};
use end::{Contender, with_contender};
use scene::Row;

/// Rows that change a flow in its course by what only our session has: they do not run with another stack.
const OURS_ALONE: [u32; 7] = [14, 17, 19, 21, 22, 23, 24];

const CONTENDERS: [(&str, Contender); 5] = [
    ("our GoogCC", Contender::Own(Congestion::Gcc)),
    ("our SCReAM", Contender::Own(Congestion::Scream)),
    ("rtc GCC", Contender::Controller(rtc::rtc)),
    ("as Pion", Contender::Controller(rtc::pion)),
    ("str0m", Contender::Stack(whole::str0m)),
];

/// By how much a value misses its bound, as a part of the bound; what never came counts as twice the bound.
fn shortfall(bound: Bound, value: f64) -> f64 {
    let miss = match bound {
        Bound::AtMost(bound) => (value - bound) / bound.abs().max(1e-9),
        Bound::AtLeast(bound) => (bound - value) / bound.abs().max(1e-9),
    };
    miss.clamp(0.0, 2.0)
}

fn table(rows: &[Row], all: &[Results]) {
    print!("{:<52}", "");
    CONTENDERS.iter().for_each(|(name, _)| print!("{name:>12}"));
    println!("  bound");
    let mut first = [0; CONTENDERS.len()];
    for row in rows {
        println!("{:>2} {}", row.number, row.link);
        let mut missed = [0.0; CONTENDERS.len()];
        let figures = &all[0][&row.number];
        for (place, ours) in figures.iter().enumerate() {
            print!("   {:<49}", ours.figure.name);
            for (results, missed) in all.iter().zip(&mut missed) {
                match results.get(&row.number).and_then(|row| row.get(place)) {
                    Some(result) => {
                        *missed += shortfall(result.figure.bound, result.value());
                        print!("{:>11}{}", show(result.value()), if result.holds() { "+" } else { " " });
                    }
                    None => {
                        *missed = f64::INFINITY;
                        print!("{:>12}", "-");
                    }
                }
            }
            let (sign, bound) = ours.figure.bound.shown();
            println!("  {sign} {bound} {}", ours.figure.unit);
        }
        let best = missed.iter().copied().fold(f64::INFINITY, f64::min);
        print!("   {:<49}", "misses bounds by, together");
        for (missed, first) in missed.iter().zip(&mut first) {
            let mark = if *missed == best { "*" } else { " " };
            *first += u32::from(*missed == best);
            print!(
                "{:>11}{mark}",
                if missed.is_finite() {
                    format!("{missed:.2}")
                } else {
                    "-".to_owned()
                }
            );
        }
        println!();
    }
    print!("{:<52}", "rows with the least (*)");
    first.iter().for_each(|first| print!("{first:>11} "));
    println!();
}

fn main() {
    let mut arguments = std::env::args().skip(1).filter(|argument| !argument.starts_with("--"));
    let wanted: Option<Vec<u32>> = arguments.next().map(|rows| {
        rows.split(',')
            .map(|row| row.parse().expect("numbers of rows"))
            .collect()
    });
    let seeds = arguments
        .next()
        .map_or(3, |seeds| seeds.parse().expect("a number of seeds"));
    let chosen = |contender: Option<Contender>| {
        let mut rows = rows::all();
        rows.retain(|row| wanted.as_ref().is_none_or(|wanted| wanted.contains(&row.number)));
        rows.retain(|row| !matches!(contender, Some(Contender::Stack(_))) || !OURS_ALONE.contains(&row.number));
        rows
    };
    let all: Vec<Results> = CONTENDERS
        .iter()
        .map(|(name, contender)| {
            eprintln!("{name} ...");
            let run = |row: &Row, seed| with_contender(Some(*contender), || (row.run)(seed));
            board::run(&chosen(Some(*contender)), seeds, run, |_, _| {})
        })
        .collect();
    table(&chosen(None), &all);
}
