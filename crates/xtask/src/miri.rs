//! The codecs under Miri: undefined behaviour and arithmetic that only some machines forgive, in ours and in the crates below.

use std::process::Command;
use std::time::Duration;

use crate::report::Report;
use crate::shell::{run, side_by_side, tail, watch};

/// One crate takes this long at most: an interpreter is hundreds of times slower than the machine, and here it has what other parts leave
/// of it.
const LIMIT: Duration = Duration::from_secs(20 * 60);

/// A package, and what of it: arguments of `cargo test`. Nothing here reaches assembly (ring), which Miri cannot run, and the
/// tests that try everything (all lengths, all bits, all steps) are left to the machine.
const CODECS: [(&str, &[&str]); 6] = [
    (
        "antiphon-sansio",
        &["--lib", "--", "--skip", "steps_within", "--skip", "below_stays"],
    ),
    (
        "antiphon-sdp",
        &["--test", "grammar", "--", "--skip", "a_hundred_thousand"],
    ),
    (
        "antiphon-stun",
        &["--tests", "--", "--skip", "v06_", "--skip", "any_flipped_bit"],
    ),
    ("antiphon-rtp", &["--lib", "--test", "roundtrip"]),
    (
        "antiphon-sctp",
        &[
            "--lib",
            "--",
            "chunk::tests",
            "packet::tests",
            "data_tracker::tests",
            "inspect::tests",
            "--skip",
            "endless_holes",
        ],
    ),
    (
        "antiphon-dtls",
        &[
            "--lib",
            "--",
            "record::tests",
            "handshake::",
            "ack::tests",
            "alert::tests",
            "ranges::tests",
            "reassembly::tests",
            "each_number_once",
            "agrees_with_a_set",
            "--skip",
            "memory_is_bounded",
        ],
    ),
];

/// Runs them, if Miri can be had.
pub(crate) fn run_all(report: &mut Report) {
    report.say("Miri".to_owned());
    if let Err(why) = component() {
        return report.unavailable("Miri", &why);
    }
    // An interpreter keeps one processor busy.
    side_by_side(
        &CODECS,
        |(package, what)| {
            // It goes beside parts that someone waits for.
            let mut command = Command::new("nice");
            command
                .args(["-n", "19", "cargo", "+nightly", "miri", "test", "--package", package])
                .args(*what)
                // Proptest looks for its regressions file; and what a machine does in a second takes an interpreter minutes.
                .env("MIRIFLAGS", "-Zmiri-disable-isolation")
                .env("PROPTEST_CASES", "4")
                .env_remove("RUSTUP_TOOLCHAIN")
                .env_remove("CARGO");
            watch(LIMIT, &format!("miri {package}"), &mut command, |_| {})
        },
        |(package, _), outcome| match outcome {
            Ok(output) if output.success => {
                report.pass(package, &crate::checks::count_tests(&output.text), output.took)
            }
            Ok(output) => report.fail(package, &tail(&output.text, 60)),
            Err(why) => report.fail(package, &why),
        },
    );
}

/// Miri of a nightly toolchain, installed if that can be done.
fn component() -> Result<(), String> {
    let version = || {
        run(
            "miri version",
            Command::new("cargo")
                .args(["+nightly", "miri", "--version"])
                .env_remove("RUSTUP_TOOLCHAIN"),
        )
    };
    if version()?.success {
        return Ok(());
    }
    let mut install = Command::new("rustup");
    install.args(["component", "add", "--toolchain", "nightly", "miri", "rust-src"]);
    let installed = run("rustup component add miri", &mut install)?;
    if installed.success && version()?.success {
        return Ok(());
    }
    Err(tail(&installed.text, 1))
}
