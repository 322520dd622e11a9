//! Rooms over several nodes, with Debian's NATS between them.

use crate::report::Report;
use crate::setup::apt;
use crate::shell::{cargo, run, tail};

/// The part `cluster`.
pub(crate) fn part(report: &mut Report) {
    println!("rooms over three nodes");
    const TITLE: &str = "three nodes, a dead one, and NATS away for 20 s";
    if let Err(why) = apt(&[("nats-server", "nats-server")]) {
        return report.fail("install nats-server", &why);
    }
    let mut test = cargo(&["test", "-p", "antiphon-cli", "--test", "cluster"]);
    test.args(["--", "--ignored", "--nocapture"]);
    match run(TITLE, &mut test) {
        Ok(output) => {
            let told = output
                .text
                .lines()
                .filter(|line| line.contains(": ") || line.contains(" after "));
            let told: Vec<&str> = told.filter(|line| !line.contains("Compiling")).collect();
            if output.success && output.text.contains("1 passed") {
                println!("{}", told.join("\n"));
                report.pass(TITLE, "pictures go on within 3 s", output.took);
            } else {
                report.fail(TITLE, &tail(&output.text, 40));
            }
        }
        Err(why) => report.fail(TITLE, &why),
    }
}
