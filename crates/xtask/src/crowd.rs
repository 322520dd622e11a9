//! Loads of many peers on one port, by the benches' program `crowd`: a tenth of each, or the whole.

use std::process::Command;

use crate::asked::Asked;
use crate::report::Report;
use crate::shell::{example, run, tail};

/// What a load shows, its arguments, and those of the tenth.
const LOADS: [(&str, &str, &[&str]); 5] = [
    ("idle pairs answer", "idle", &["--pairs", "1000", "--seconds", "10"]),
    (
        "all that come at once connect",
        "rush",
        &["--peers", "200", "--seconds", "1"],
    ),
    (
        "good peers beside a slow, a silent and a flooding one",
        "neighbours",
        &["--good", "50", "--seconds", "3"],
    ),
    (
        "one sends pictures to a thousand",
        "audience",
        &["--receivers", "100", "--seconds", "10"],
    ),
    (
        "fifty hear the loudest of fifty",
        "choir",
        &["--people", "16", "--seconds", "10"],
    ),
];

/// All loads.
pub(crate) fn run_all(report: &mut Report, asked: &Asked) {
    report.say("crowds on one port".to_owned());
    let program = match example("crowd") {
        Ok(program) => program,
        Err(why) => return report.fail("build the crowd", &why),
    };
    for (what, load, tenth) in LOADS {
        if !asked.wants(what) {
            continue;
        }
        let mut command = Command::new(&program);
        command.arg(load);
        if !asked.whole {
            command.args(tenth);
        }
        match run(what, &mut command) {
            Ok(output) if output.success => report.pass(what, output.text.trim(), output.took),
            Ok(output) => report.fail(what, &tail(&output.text, 20)),
            Err(why) => report.fail(what, &why),
        }
    }
}
