//! The scoreboard of congestion control: whole sessions over links that are narrow, lossy, shared or changing, measured and compared
//! with bounds. `cargo test -p antiphon-media --test scoreboard -- --nocapture` prints it.
//!
//! `scoreboard.txt` beside this file is what was reached with 16 seeds, the worst counted. The test fails when a figure that holds there
//! does not hold any more. `cargo xtask scoreboard` writes it anew, with plots, and `cargo xtask test --only scoreboard` compares all
//! seeds. These variables of the environment change what is run:
//!
//! - `SCOREBOARD_SEEDS=16`: so many seeds for each row, instead of three.
//! - `SCOREBOARD_ROWS=1,6,8`: only these rows.
//! - `SCOREBOARD_WRITE=1`: writes `scoreboard.txt` anew; needs 16 seeds and all rows to mean something.
//! - `SCOREBOARD_BOTH=1`: all rows with GoogCC, and again with SCReAM, side by side; nothing is compared with what was kept.
//! - `SCOREBOARD_PLOTS=folder`: writes the course of each row's first seed there, as CSV and SVG.

#[path = "../common/board.rs"]
mod board;
mod end;
mod measure;
mod plot;
mod rows;
mod scene;
mod source;

use std::path::{Path, PathBuf};

use antiphon_media::congestion::Congestion;
use board::variable;
use end::{Contender, with_contender};
use scene::Row;

/// Seeds of the table that is kept.
const ALL_SEEDS: u64 = 16;
/// Seeds that a usual run of the tests has time for.
const SEEDS: u64 = 3;

#[test]
fn scoreboard() {
    let seeds = variable("SCOREBOARD_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("a number of seeds"));
    let wanted: Option<Vec<u32>> = variable("SCOREBOARD_ROWS").map(|rows| {
        let rows = rows.split(',');
        rows.map(|row| row.trim().parse().expect("numbers of rows")).collect()
    });
    let mut rows: Vec<Row> = rows::all();
    rows.retain(|row| wanted.as_ref().is_none_or(|wanted| wanted.contains(&row.number)));
    if variable("SCOREBOARD_BOTH").is_some() {
        let [gcc, scream] = [Congestion::Gcc, Congestion::Scream].map(|choice| {
            let own = Some(Contender::Own(choice));
            board::run(
                &rows,
                seeds,
                |row, seed| with_contender(own, || (row.run)(seed)),
                |_, _| {},
            )
        });
        println!(
            "{}",
            board::compare(&rows, seeds, ["GoogCC", "SCReAM"], [&gcc, &scream])
        );
        return;
    }
    let plots = variable("SCOREBOARD_PLOTS").map(PathBuf::from);
    let run = |row: &Row, seed| with_contender(None, || (row.run)(seed));
    let results = board::run(&rows, seeds, run, |row, outcome| {
        for (name, scene) in &outcome.scenes {
            if let Some(folder) = &plots {
                plot::write(folder, row.number, name, row.link, scene);
            }
        }
    });
    let table = board::table(&rows, seeds, &results);
    println!("{table}");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scoreboard/scoreboard.txt");
    if variable("SCOREBOARD_WRITE").is_some() {
        std::fs::write(file, table).expect("the scoreboard is written");
        return;
    }
    let kept = std::fs::read_to_string(file).expect("the scoreboard that was kept");
    let fallen = board::fallen(&kept, &results, seeds >= ALL_SEEDS);
    assert!(fallen.is_empty(), "these held before: {fallen:#?}");
}
