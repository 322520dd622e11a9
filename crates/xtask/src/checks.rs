//! Everything that needs no browser and no foreign peer.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::report::Report;
use crate::setup::{apt, cargo_deny};
use crate::shell::{cargo, example, root, run, tail, work_dir};

/// A file longer than this is not read in one sitting.
const MAX_FILE_LINES: usize = 800;
/// The pattern as H.264 is off by default (its encoder is C++ and takes a while to build), and tested nevertheless.
const H264: &str = "antiphon-cli/h264";

fn step(report: &mut Report, what: &str, command: &mut Command, detail: impl Fn(&str) -> String) {
    match run(what, command) {
        Ok(output) if output.success => report.pass(what, &detail(&output.text), output.took),
        Ok(output) => report.fail(what, &tail(&output.text, 60)),
        Err(why) => report.fail(what, &why),
    }
}

fn nothing(_: &str) -> String {
    String::new()
}

/// Formatting, lints, documentation, file lengths, the table of the house, dependencies.
pub(crate) fn lint(report: &mut Report) {
    println!("lint");
    step(report, "rustfmt", &mut cargo(&["fmt", "--all", "--check"]), nothing);
    let clippy = [
        "clippy",
        "--workspace",
        "--all-targets",
        "--features",
        H264,
        "--quiet",
        "--",
        "-D",
        "warnings",
    ];
    step(report, "clippy", &mut cargo(&clippy), nothing);
    let mut doc = cargo(&["doc", "--workspace", "--no-deps", "--quiet"]);
    step(report, "rustdoc", doc.env("RUSTDOCFLAGS", "-D warnings"), nothing);
    let started = std::time::Instant::now();
    match long_files() {
        Ok(long) if long.is_empty() => report.pass("file lengths", "", started.elapsed()),
        Ok(long) => report.fail("file lengths", &long.join("\n")),
        Err(why) => report.fail("file lengths", &why),
    }
    let house = std::time::Instant::now();
    match crate::house::check() {
        Ok(()) => report.pass("house", "", house.elapsed()),
        Err(why) => report.fail("house", &why),
    }
    match tuned_builds() {
        Ok(found) if found.is_empty() => report.pass("no target-cpu set", "", started.elapsed()),
        Ok(found) => report.fail("no target-cpu set", &found.join("\n")),
        Err(why) => report.fail("no target-cpu set", &why),
    }
    deny(report);
}

fn long_files() -> Result<Vec<String>, String> {
    let listed = Command::new("git")
        .args(["ls-files", "*.rs", "*.js", "*.mjs", "*.py"])
        .current_dir(root())
        .output()
        .map_err(|e| format!("git: {e}"))?;
    let mut long = Vec::new();
    for name in String::from_utf8_lossy(&listed.stdout).lines() {
        let Ok(text) = fs::read_to_string(root().join(name)) else {
            continue;
        };
        let lines = text.lines().count();
        if lines > MAX_FILE_LINES {
            long.push(format!("{name}: {lines} lines"));
        }
    }
    Ok(long)
}

/// Where the compiler is told of one processor. RustCrypto's crates choose their instructions at run time; compiled for all that
/// the processor has, AVX forms and SSE forms mix in its SHA-1, and a packet's HMAC takes a hundred times as long on some.
fn tuned_builds() -> Result<Vec<String>, String> {
    let mut found = Vec::new();
    for variable in ["RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS", "CARGO_BUILD_RUSTFLAGS"] {
        if std::env::var(variable).is_ok_and(|flags| flags.contains("target-cpu")) {
            found.push(format!("${variable}"));
        }
    }
    let listed = Command::new("git")
        .args([
            "ls-files",
            "*.toml",
            "*.yml",
            "*.yaml",
            "*.sh",
            "*build.rs",
            "*Makefile",
            "*justfile",
        ])
        .current_dir(root())
        .output()
        .map_err(|e| format!("git: {e}"))?;
    for name in String::from_utf8_lossy(&listed.stdout).lines() {
        if fs::read_to_string(root().join(name)).is_ok_and(|text| text.contains("target-cpu")) {
            found.push(name.to_owned());
        }
    }
    Ok(found)
}

/// `cargo deny check` (V26): licences, forbidden packages, sources and known weaknesses, all by deny.toml.
fn deny(report: &mut Report) {
    let program = match cargo_deny() {
        Ok(program) => program,
        Err(why) => return report.fail("install cargo-deny", &why),
    };
    let check = |what: &[&str]| {
        let mut command = Command::new(&program);
        command.arg("--locked").arg("check").args(what).current_dir(root());
        command
    };
    let last = |text: &str| tail(text.trim(), 1);
    step(report, "cargo deny", &mut check(&["bans", "licenses", "sources"]), last);
    // The list of weaknesses is a repository on another machine: without a network nothing can be said of them.
    const TITLE: &str = "cargo deny: advisories";
    match run(TITLE, &mut check(&["advisories"])) {
        Ok(output) if output.success => report.pass(TITLE, &last(&output.text), output.took),
        Ok(output) if output.text.contains("failed to fetch advisory database") => {
            report.unavailable(TITLE, "the advisory database could not be fetched");
        }
        Ok(output) => report.fail(TITLE, &tail(&output.text, 60)),
        Err(why) => report.fail(TITLE, &why),
    }
}

/// `N tests in M binaries` from what `cargo test` printed.
pub(crate) fn count_tests(text: &str) -> String {
    let (mut tests, mut binaries) = (0, 0);
    for line in text.lines() {
        let Some(rest) = line.strip_prefix("test result: ok. ") else {
            continue;
        };
        binaries += 1;
        tests += rest
            .split(' ')
            .next()
            .and_then(|n| n.parse::<usize>().ok())
            .unwrap_or(0);
    }
    format!("{tests} tests in {binaries} binaries")
}

/// `cargo test --workspace`.
pub(crate) fn hermetic(report: &mut Report) {
    println!("hermetic");
    step(
        report,
        "cargo test --workspace, with H.264",
        &mut cargo(&["test", "--workspace", "--features", H264, "--no-fail-fast"]),
        count_tests,
    );
}

/// Every crate by itself: that its own features and dependencies suffice for all of its targets, the tests among them. What the
/// tests say has been heard in [`hermetic`]; to build them all once more, with each choice of features, takes far longer than they.
pub(crate) fn alone(report: &mut Report) {
    println!("each crate alone");
    let crates = match crate_names(&root().join("crates")) {
        Ok(crates) => crates,
        Err(why) => return report.fail("list the crates", &why),
    };
    for name in crates.iter().filter(|name| *name != "antiphon-xtask") {
        step(
            report,
            name,
            &mut cargo(&["check", "--package", name, "--all-targets", "--quiet"]),
            nothing,
        );
    }
}

fn crate_names(folder: &Path) -> Result<Vec<String>, String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(|e| e.to_string())? {
        let manifest = entry.map_err(|e| e.to_string())?.path().join("Cargo.toml");
        let text = fs::read_to_string(&manifest).map_err(|e| format!("{}: {e}", manifest.display()))?;
        let name = text
            .lines()
            .find_map(|line| line.strip_prefix("name = \"")?.strip_suffix('"'));
        names.push(
            name.ok_or_else(|| format!("{}: no name", manifest.display()))?
                .to_owned(),
        );
    }
    names.sort();
    Ok(names)
}

/// Examples that a newcomer runs first.
pub(crate) fn examples(report: &mut Report) {
    report.say("examples".to_owned());
    let text = work_dir().join("licence.txt");
    let copied = fs::create_dir_all(work_dir()).and_then(|()| fs::copy(root().join("LICENSE-MIT"), &text));
    if let Err(error) = copied {
        return report.fail("examples", &format!("{}: {error}", text.display()));
    }
    let each: [(&str, &str); 8] = [
        ("data_channel", "Cookies 4 life"),
        ("chat", "PERMISSION IS HEREBY GRANTED"),
        ("file", "received"),
        ("video", "50 frames"),
        ("forward", "50 frames"),
        ("layers", "20 frames of 500 bytes"),
        ("watermark", "50 frames"),
        ("encrypt", "50 frames"),
    ];
    for (name, said) in each {
        let title = format!("example {name}");
        // The licence is what `chat` reads, and what `file` sends.
        let with_input = r#"exec "$0" "$1" < "$1""#;
        let output = example(name).and_then(|program| {
            run(
                &title,
                Command::new("sh").args(["-c", with_input]).arg(program).arg(&text),
            )
        });
        match output {
            Ok(output) if output.success && output.text.contains(said) => {
                report.pass(
                    &title,
                    "its peers meet, do their work, and it ends by itself",
                    output.took,
                );
            }
            Ok(output) => report.fail(&title, &tail(&output.text, 40)),
            Err(why) => report.fail(&title, &why),
        }
    }
    let received = fs::read(text.with_extension("txt.received"));
    if received.ok() != fs::read(&text).ok() {
        report.fail("example file", "the file that arrived is not the one that was sent");
    }
}

/// The long run of connect and close.
pub(crate) fn cycles(report: &mut Report) {
    report.say("10 000 connect/close cycles".to_owned());
    let args = ["test", "--workspace", "--test", "cycles", "--", "--nocapture"];
    step(
        report,
        "10 000 cycles",
        cargo(&args).env("ANTIPHON_CYCLES", "10000"),
        |text| {
            text.lines()
                .find(|line| line.contains("connect/close"))
                .unwrap_or_default()
                .trim()
                .to_owned()
        },
    );
}

/// OpenSSL as client and as server.
pub(crate) fn openssl(report: &mut Report) {
    println!("OpenSSL");
    const TITLE: &str = "DTLS 1.2 with OpenSSL";
    if let Err(why) = apt(&[("openssl", "openssl")]) {
        return report.fail("install openssl", &why);
    }
    match example("openssl_peer").and_then(|program| run(TITLE, &mut Command::new(program))) {
        Ok(output) => {
            let table: Vec<&str> = output.text.lines().filter(|line| line.starts_with('|')).collect();
            println!("\n{}\n", table.join("\n"));
            let sum = output.text.lines().find(|line| line.ends_with("cases passed"));
            match sum {
                Some(sum) if output.success => report.pass(TITLE, sum, output.took),
                _ => report.fail(TITLE, &tail(&output.text, 40)),
            }
        }
        Err(why) => report.fail(TITLE, &why),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// V26, for whoever runs the tests without `cargo deny`.
    #[test]
    fn v26_mend21_no_other_stack_of_deny_toml_is_in_the_lock_file() {
        let read = |name: &str| fs::read_to_string(root().join(name)).expect(name);
        let (deny, lock) = (read("deny.toml"), read("Cargo.lock"));
        let denied: Vec<&str> = deny
            .lines()
            .filter_map(|line| line.trim().strip_prefix("{ crate = \"")?.split('"').next())
            .collect();
        for stack in ["webrtc", "str0m", "openssl", "libwebrtc", "datachannel"] {
            assert!(denied.contains(&stack), "{stack}");
        }
        for name in denied {
            assert!(!lock.contains(&format!("\nname = \"{name}\"\n")), "{name}");
        }
    }
}
