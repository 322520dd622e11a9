//! The scoreboard of congestion control (`crates/media/tests/scoreboard`) with all its seeds. A usual run of the tests has a few.

use std::fs;
use std::process::Command;

use crate::report::Report;
use crate::shell::{cargo, root, run, tail, work_dir};

/// Seeds of the table that is kept.
const SEEDS: &str = "16";
/// Where the plots of the first seed are kept, and which are.
const PLOTS: &str = "docs/congestion";
const KEPT: [&str; 12] = [
    "01-steady.svg",
    "02-broad.svg",
    "06-variable-50.svg",
    "07-fall-and-rise.svg",
    "08-loss-10.svg",
    "12-gate.svg",
    "13-outage.svg",
    "14-still.svg",
    "15-cubic-300.svg",
    "17-late-comers.svg",
    "20-marks-2.svg",
    "23-poor-feedback.svg",
];

fn test() -> Command {
    let mut test = cargo(&[
        "test",
        "-p",
        "antiphon-media",
        "--test",
        "scoreboard",
        "--",
        "--nocapture",
    ]);
    test.env("SCOREBOARD_SEEDS", SEEDS);
    test
}

/// Fails if a figure that held does not hold any more.
pub(crate) fn part(report: &mut Report) {
    println!("scoreboard");
    match run("all seeds", &mut test()) {
        Ok(output) if output.success => report.pass("all seeds", "", output.took),
        Ok(output) => report.fail("all seeds", &tail(&output.text, 60)),
        Err(why) => report.fail("all seeds", &why),
    }
}

/// Writes the table and the plots.
pub(crate) fn write() -> Result<(), String> {
    let all = work_dir().join("congestion");
    let mut test = test();
    test.env("SCOREBOARD_WRITE", "1").env("SCOREBOARD_PLOTS", &all);
    let status = test.status().map_err(|error| error.to_string())?;
    if !status.success() {
        return Err("the scoreboard was not written".to_owned());
    }
    let kept = root().join(PLOTS);
    let copied = fs::create_dir_all(&kept).and_then(|()| {
        KEPT.iter()
            .try_for_each(|name| fs::copy(all.join(name), kept.join(name)).map(|_| ()))
    });
    copied.map_err(|error| error.to_string())?;
    println!(
        "{PLOTS} has the plots of the main rows; the course of every row is in {}",
        all.display()
    );
    Ok(())
}
