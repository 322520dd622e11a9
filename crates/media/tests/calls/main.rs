//! The table of calls that stay good: 60 s of video (1.5 Mbit/s, 30 frames a second) and sound (Opus) between whole sessions over links that
//! lose packets both ways, measured and compared with bounds. `cargo test -p antiphon-media --test calls -- --nocapture` prints it.
//!
//! Loss alone is to matter, so a controller that always says 20 Mbit/s stands in the place of the one that heeds it, and the links are wide.
//! `calls.txt` beside this file is what was reached with 16 seeds, the worst counted. The test fails when a figure that holds there does not
//! hold any more. These variables of the environment change what is run:
//!
//! - `CALLS_SEEDS=16`: so many seeds for each row, instead of three.
//! - `CALLS_FROM=100`: the first of these seeds, instead of 0: what was chosen by some seeds is tried with others.
//! - `CALLS_ROWS=1,6`: only these rows.
//! - `CALLS_WRITE=1`: writes `calls.txt` anew; needs 16 seeds and all rows to mean something.

#[path = "../common/board.rs"]
mod board;
mod call;
mod measure;
#[allow(dead_code, reason = "calls show live pictures alone")]
#[path = "../scoreboard/source.rs"]
mod source;

use std::path::Path;

use board::{at_most, variable};
use call::{Losses, Terms, call};

type Row = board::Row<()>;
type Outcome = board::Outcome<()>;

/// Seeds of the table that is kept.
const ALL_SEEDS: u64 = 16;
/// Seeds that a usual run of the tests has time for.
const SEEDS: u64 = 3;
/// How long each call lasts, in seconds.
const LENGTH: u64 = 60;

/// The bounds of a row of video: freezes in percent of the time, added delay in milliseconds, lip sync in milliseconds, requests for key
/// frames.
struct Bounds {
    freezes: f64,
    delay: f64,
    lips: f64,
    requests: f64,
}

/// The bounds by the place of the loss in 1, 5, 10, 20 %.
fn bounds(place: usize, terms: &Terms) -> Bounds {
    let freezes = match (terms.rtt, terms.flexfec) {
        (50, _) => [0.0, 0.2, 1.0, 4.0],
        (_, false) => [0.2, 2.0, 6.0, 20.0],
        (_, true) => [0.1, 1.0, 3.0, 10.0],
    };
    Bounds {
        freezes: freezes[place],
        // Of the longer round trip as many round trips.
        delay: [60.0, 90.0, 130.0, 220.0][place] * terms.rtt as f64 / 50.0,
        lips: [30.0, 30.0, 45.0, 80.0][place],
        requests: [1.0, 1.0, 2.0, 6.0][place],
    }
}

const LOSSES: [u64; 4] = [1, 5, 10, 20];

fn video<const RTT: u64, const PLACE: usize, const FLEXFEC: bool>(seed: u64) -> Outcome {
    let terms = Terms {
        rtt: RTT,
        losses: Losses::Single(LOSSES[PLACE]),
        video: true,
        flexfec: FLEXFEC,
    };
    let seen = call(seed, &terms, LENGTH);
    let bounds = bounds(PLACE, &terms);
    Outcome {
        figures: vec![
            at_most("freeze share", seen.freeze_share(), "%", bounds.freezes),
            at_most("p95 of the added delay", seen.added_delay(0.95), "ms", bounds.delay),
            at_most("lip sync error from 10 s, p99", seen.lip_sync(0.99), "ms", bounds.lips),
            at_most("key frames asked for", seen.requests(), "", bounds.requests),
        ],
        ..Outcome::default()
    }
}

fn sound<const PLACE: usize, const BURST: bool>(seed: u64) -> Outcome {
    let percent = LOSSES[PLACE];
    let terms = Terms {
        rtt: 50,
        losses: if BURST {
            Losses::Bursts(percent)
        } else {
            Losses::Single(percent)
        },
        video: false,
        flexfec: false,
    };
    let bound = if BURST { 50.0 } else { [1.0, 1.0, 2.0, 5.0][PLACE] };
    let seen = call(seed, &terms, LENGTH);
    Outcome {
        // A minute loses few.
        figures: vec![at_most("concealed of the lost", seen.concealed(), "%", bound).mean()],
        ..Outcome::default()
    }
}

fn rows() -> Vec<Row> {
    let row = |number, link, run| Row { number, link, run };
    vec![
        row(1, "50 ms, 1 % lost", video::<50, 0, false>),
        row(2, "50 ms, 5 % lost", video::<50, 1, false>),
        row(3, "50 ms, 10 % lost", video::<50, 2, false>),
        row(4, "50 ms, 20 % lost", video::<50, 3, false>),
        row(5, "200 ms, 1 % lost", video::<200, 0, false>),
        row(6, "200 ms, 5 % lost", video::<200, 1, false>),
        row(7, "200 ms, 10 % lost", video::<200, 2, false>),
        row(8, "200 ms, 20 % lost", video::<200, 3, false>),
        row(9, "200 ms, 1 % lost, FlexFEC", video::<200, 0, true>),
        row(10, "200 ms, 5 % lost, FlexFEC", video::<200, 1, true>),
        row(11, "200 ms, 10 % lost, FlexFEC", video::<200, 2, true>),
        row(12, "200 ms, 20 % lost, FlexFEC", video::<200, 3, true>),
        row(13, "sound, RED 2, 1 % lost", sound::<0, false>),
        row(14, "sound, RED 2, 5 % lost", sound::<1, false>),
        row(15, "sound, RED 2, 10 % lost", sound::<2, false>),
        row(16, "sound, RED 2, 20 % lost", sound::<3, false>),
        row(17, "sound, RED 2, 1 % lost in bursts of 3", sound::<0, true>),
        row(18, "sound, RED 2, 5 % lost in bursts of 3", sound::<1, true>),
        row(19, "sound, RED 2, 10 % lost in bursts of 3", sound::<2, true>),
        row(20, "sound, RED 2, 20 % lost in bursts of 3", sound::<3, true>),
    ]
}

#[test]
fn calls() {
    let seeds = variable("CALLS_SEEDS").map_or(SEEDS, |seeds| seeds.parse().expect("a number of seeds"));
    let from = variable("CALLS_FROM").map_or(0, |from| from.parse().expect("a seed"));
    let wanted: Option<Vec<u32>> = variable("CALLS_ROWS").map(|rows| {
        let rows = rows.split(',');
        rows.map(|row| row.trim().parse().expect("numbers of rows")).collect()
    });
    let mut rows = rows();
    rows.retain(|row| wanted.as_ref().is_none_or(|wanted| wanted.contains(&row.number)));
    let results = board::run(&rows, seeds, |row, seed| (row.run)(from + seed), |_, _| {});
    let table = board::table(&rows, seeds, &results);
    println!("{table}");
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/calls/calls.txt");
    if variable("CALLS_WRITE").is_some() {
        std::fs::write(file, table).expect("the table is written");
        return;
    }
    let kept = std::fs::read_to_string(file).expect("the table that was kept");
    let fallen = board::fallen(&kept, &results, seeds >= ALL_SEEDS);
    assert!(fallen.is_empty(), "these held before: {fallen:#?}");
}
