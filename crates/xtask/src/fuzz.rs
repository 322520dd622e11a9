//! Fuzzing: coverage-guided with cargo-fuzz where it can be had, else changed corpus files and noise on the stable compiler.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};

use crate::report::Report;
use crate::shell::{Output, PATIENCE, example, root, run, side_by_side, tail, watch, work_dir};

/// What `cargo xtask test` spends on each target.
const SHORT_RUNS: u64 = 10_000;
/// A target that takes longer than this hangs; a million runs of the slowest take less.
const LIMIT: Duration = Duration::from_secs(6 * 3600);

/// What to fuzz.
#[derive(clap::Args)]
pub(crate) struct FuzzArgs {
    /// A target (a folder of fuzz/corpus), or `all`.
    target: String,
    /// Runs of each target.
    #[arg(long, default_value_t = 100_000)]
    runs: u64,
    /// Use the stable runner even where cargo-fuzz is installed.
    #[arg(long)]
    stable: bool,
}

/// How one target went.
struct Row {
    target: String,
    runs: u64,
    seconds: f64,
    verdict: Result<(), String>,
}

fn targets() -> Result<Vec<String>, String> {
    let folder = root().join("fuzz/fuzz_targets");
    let mut names = Vec::new();
    for entry in fs::read_dir(&folder).map_err(|e| format!("{}: {e}", folder.display()))? {
        let path = entry.map_err(|e| e.to_string())?.path();
        if let (Some("rs"), Some(name)) = (
            path.extension().and_then(|e| e.to_str()),
            path.file_stem().and_then(|s| s.to_str()),
        ) {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

/// `cargo xtask fuzz`.
pub(crate) fn run_targets(args: &FuzzArgs) -> Result<(), String> {
    let known = targets()?;
    let chosen = if args.target == "all" {
        known
    } else if known.contains(&args.target) {
        vec![args.target.clone()]
    } else {
        return Err(format!("no target {:?}; known: {}", args.target, known.join(", ")));
    };
    let guided = !args.stable && has_cargo_fuzz();
    let runner = if guided {
        println!("cargo-fuzz, coverage-guided");
        None
    } else {
        println!("the stable runner: changed corpus files and noise (no cargo-fuzz on a nightly compiler)");
        Some(example(RUNNER)?)
    };
    let mut rows = Vec::new();
    for target in chosen {
        let row = match &runner {
            None => fuzz_guided(&target, args.runs)?,
            Some(runner) => fuzz_stable(runner, &target, args.runs)?,
        };
        if let Err(why) = &row.verdict {
            println!("{target}:\n{why}");
        }
        rows.push(row);
    }
    println!("| target | runs | seconds | runs/s | outcome |\n|---|---|---|---|---|");
    for row in &rows {
        let verdict = if row.verdict.is_ok() { "clean" } else { "FAILED" };
        let speed = row.runs as f64 / row.seconds.max(0.001);
        println!(
            "| {} | {} | {:.0} | {speed:.0} | {verdict} |",
            row.target, row.runs, row.seconds
        );
    }
    let failed: Vec<&str> = rows
        .iter()
        .filter(|row| row.verdict.is_err())
        .map(|row| row.target.as_str())
        .collect();
    if failed.is_empty() {
        Ok(())
    } else {
        Err(format!("failed: {}", failed.join(", ")))
    }
}

/// The short run inside `cargo xtask test`.
pub(crate) fn part(report: &mut Report) {
    report.say(format!("fuzz, {SHORT_RUNS} runs each"));
    let (runner, targets) = match example(RUNNER).and_then(|runner| Ok((runner, targets()?))) {
        Ok(ready) => ready,
        Err(why) => return report.fail("build the fuzz runner", &why),
    };
    side_by_side(
        &targets,
        |target| {
            let mut command = Command::new(&runner);
            command.arg(target).arg(SHORT_RUNS.to_string());
            watch(PATIENCE, &format!("fuzz {target}"), &mut command, |_| {})
        },
        |target, outcome| match outcome {
            Ok(output) if output.success => report.pass(target, &format!("{SHORT_RUNS} runs"), output.took),
            Ok(output) => report.fail(target, &tail(&output.text, 40)),
            Err(why) => report.fail(target, &why),
        },
    );
}

fn has_cargo_fuzz() -> bool {
    let mut version = nightly();
    version.args(["fuzz", "--version"]);
    run("cargo fuzz version", &mut version).is_ok_and(|output| output.success)
}

/// `cargo` of the nightly toolchain, whatever toolchain runs this program.
fn nightly() -> Command {
    let mut command = Command::new("cargo");
    command
        .arg("+nightly")
        .env_remove("RUSTUP_TOOLCHAIN")
        .env_remove("CARGO");
    command
}

/// A bar of runs; libFuzzer prints `#N` at the start of its lines, our runner too.
fn with_bar(what: &str, runs: u64, command: &mut Command) -> Result<Output, String> {
    let bar = ProgressBar::new(runs).with_message(what.to_owned());
    let style = ProgressStyle::with_template("{msg:24} {bar:30} {human_pos}/{human_len} {elapsed} (eta {eta})");
    bar.set_style(style.expect("a valid template"));
    let output = watch(LIMIT, &format!("fuzz {what}"), command, |log| {
        if let Some(done) = last_count(log) {
            bar.set_position(done.min(runs));
        }
    });
    bar.finish_and_clear();
    output
}

fn last_count(log: &Path) -> Option<u64> {
    let text = String::from_utf8_lossy(&fs::read(log).ok()?).into_owned();
    text.lines().rev().find_map(count_of)
}

fn count_of(line: &str) -> Option<u64> {
    let digits = line.trim_start().strip_prefix('#')?;
    digits.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

fn row(target: &str, runs: u64, output: &Output) -> Row {
    Row {
        target: target.to_owned(),
        runs,
        seconds: output.took.as_secs_f64(),
        verdict: if output.success {
            Ok(())
        } else {
            Err(tail(&output.text, 40))
        },
    }
}

fn fuzz_guided(target: &str, runs: u64) -> Result<Row, String> {
    // New finds stay out of the committed corpus until somebody picks them.
    let finds = work_dir().join("fuzz").join(target);
    let artifacts = work_dir().join("fuzz-artifacts").join(target);
    for folder in [&finds, &artifacts] {
        fs::create_dir_all(folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    }
    // There is no unsafe code to watch over: without the address sanitizer it runs several times as fast.
    let options = ["--sanitizer", "none", target];
    let mut build = nightly();
    build.args(["fuzz", "build"]).args(options);
    let built = run("build the fuzz targets", &mut build)?;
    if !built.success {
        return Err(tail(&built.text, 40));
    }
    let mut command = nightly();
    command
        .args(["fuzz", "run"])
        .args(options)
        .arg(&finds)
        .arg(root().join("fuzz/corpus").join(target))
        .arg("--")
        .arg(format!("-runs={runs}"))
        .arg(format!("-artifact_prefix={}/", artifacts.display()));
    Ok(row(target, runs, &with_bar(target, runs, &mut command)?))
}

/// The example of `conformance` that runs targets on the stable compiler.
const RUNNER: &str = "fuzz_random";

fn fuzz_stable(runner: &Path, target: &str, runs: u64) -> Result<Row, String> {
    let mut command = Command::new(runner);
    command.arg(target).arg(runs.to_string());
    Ok(row(target, runs, &with_bar(target, runs, &mut command)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_in_the_log() {
        assert_eq!(count_of("#4096\tpulse  cov: 12 ft: 9"), Some(4096));
        assert_eq!(count_of("  #12: cov: 3"), Some(12));
        assert_eq!(count_of("INFO: seed corpus"), None);
        assert_eq!(count_of("#x"), None);
    }

    #[test]
    fn every_target_is_found() {
        assert!(targets().unwrap().contains(&"decode_stun".to_owned()));
    }
}
