//! Runs commands: quietly while they work, in full when they fail.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};

/// The repository's top folder.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .nth(2)
        .expect("xtask lies two folders below the top")
        .to_owned()
}

/// Where installed peers and logs go; inside `target`, so that `cargo clean` removes them.
pub(crate) fn work_dir() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from);
    target.join("xtask")
}

/// What a finished command left behind.
pub(crate) struct Output {
    pub(crate) success: bool,
    /// Standard output and standard error, in the order of arrival.
    pub(crate) text: String,
    pub(crate) took: Duration,
}

/// Runs `command` to its end with a spinner named `what`; output goes to a log file and comes back whole.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<Output, String> {
    let logs = work_dir().join("logs");
    fs::create_dir_all(&logs).map_err(|e| format!("cannot create {}: {e}", logs.display()))?;
    let name: String = what
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    let log = logs.join(format!("{name}.log"));
    let file = fs::File::create(&log).map_err(|e| format!("cannot create {}: {e}", log.display()))?;
    let second = file.try_clone().map_err(|e| e.to_string())?;
    let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
    spinner.set_style(ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("a valid template"));
    spinner.enable_steady_tick(Duration::from_millis(200));
    let started = Instant::now();
    let status = command
        .current_dir(command.get_current_dir().map_or_else(root, Path::to_owned))
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(second)
        .status();
    spinner.finish_and_clear();
    let status = status.map_err(|e| format!("{what}: cannot start {:?}: {e}", command.get_program()))?;
    let bytes = fs::read(&log).map_err(|e| e.to_string())?;
    Ok(Output {
        success: status.success(),
        text: String::from_utf8_lossy(&bytes).into_owned(),
        took: started.elapsed(),
    })
}

/// `cargo` of the same toolchain as this program.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    command
}

/// The last `lines` lines of `text`.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
