//! Runs commands: quietly while they work, in full when they fail.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
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

/// How long a step may take before it is ended: a bound that keeps a broken run finite, not a measure. Machines that build
/// something else meanwhile are slow.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15 * 60);

/// Runs `command` to its end with a spinner named `what`; output goes to a log file and comes back whole.
pub(crate) fn run(what: &str, command: &mut Command) -> Result<Output, String> {
    run_within(PATIENCE, what, command)
}

/// [`run`], with a limit of its own.
pub(crate) fn run_within(limit: Duration, what: &str, command: &mut Command) -> Result<Output, String> {
    let spinner = ProgressBar::new_spinner().with_message(what.to_owned());
    spinner.set_style(ProgressStyle::with_template("{spinner} {msg} {elapsed}").expect("a valid template"));
    let output = watch(limit, what, command, |_| spinner.tick());
    spinner.finish_and_clear();
    output
}

/// Runs `work` on all items, on as many threads as there are processors, and `done` here on each outcome as it comes.
pub(crate) fn side_by_side<T: Sync, R: Send>(items: &[T], work: impl Fn(&T) -> R + Sync, mut done: impl FnMut(&T, R)) {
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let (outcomes, incoming) = mpsc::channel();
    std::thread::scope(|scope| {
        for _ in 0..processors.min(items.len()) {
            let (outcomes, next, work) = (outcomes.clone(), &next, &work);
            scope.spawn(move || {
                while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let _ = outcomes.send((item, work(item)));
                }
            });
        }
        drop(outcomes);
        for (item, outcome) in incoming {
            done(item, outcome);
        }
    });
}

/// Runs `command`; `tick` sees the log file a few times a second.
pub(crate) fn watch(
    limit: Duration,
    what: &str,
    command: &mut Command,
    mut tick: impl FnMut(&Path),
) -> Result<Output, String> {
    let log = log_file(what)?;
    let file = fs::File::create(&log).map_err(|e| format!("cannot create {}: {e}", log.display()))?;
    let second = file.try_clone().map_err(|e| e.to_string())?;
    let started = Instant::now();
    let mut child = command
        .current_dir(command.get_current_dir().map_or_else(root, Path::to_owned))
        .stdin(Stdio::null())
        .stdout(file)
        .stderr(second)
        // A panic's message and place say more than its stack, which pushes them out of a log's last lines.
        .env("RUST_BACKTRACE", "0")
        .spawn()
        .map_err(|e| format!("{what}: cannot start {:?}: {e}", command.get_program()))?;
    let status = loop {
        if let Some(status) = child.try_wait().map_err(|e| format!("{what}: {e}"))? {
            break Some(status);
        }
        if started.elapsed() > limit {
            end_with_children(&mut child);
            break None;
        }
        tick(&log);
        std::thread::sleep(Duration::from_millis(100));
    };
    let bytes = fs::read(&log).map_err(|e| e.to_string())?;
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if status.is_none() {
        text += &format!("\n{what}: ended after {} s without an end of its own", limit.as_secs());
    }
    Ok(Output {
        success: status.is_some_and(|status| status.success()),
        text,
        took: started.elapsed(),
    })
}

/// Where the output of the step `what` goes.
pub(crate) fn log_file(what: &str) -> Result<PathBuf, String> {
    let logs = work_dir().join("logs");
    fs::create_dir_all(&logs).map_err(|e| format!("cannot create {}: {e}", logs.display()))?;
    let name: String = what
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() { c } else { '-' })
        .collect();
    Ok(logs.join(format!("{name}.log")))
}

/// Ends a process and all that it started, and nothing else: a script's browsers would outlive it.
pub(crate) fn end_with_children(child: &mut Child) {
    let mut doomed = vec![child.id()];
    let mut next = 0;
    while let Some(parent) = doomed.get(next).copied() {
        doomed.extend(children_of(parent));
        next += 1;
    }
    let _ = child.kill();
    let others = doomed.iter().skip(1).map(u32::to_string);
    let _ = Command::new("kill")
        .arg("-KILL")
        .args(others)
        .stderr(Stdio::null())
        .status();
    let _ = child.wait();
}

fn children_of(parent: u32) -> Vec<u32> {
    let Ok(processes) = fs::read_dir("/proc") else {
        return Vec::new();
    };
    let mut found = Vec::new();
    for process in processes.flatten() {
        let Some(id) = process.file_name().to_str().and_then(|name| name.parse().ok()) else {
            continue;
        };
        // "PID (NAME) STATE PARENT ...", where NAME may hold anything.
        let stat = fs::read_to_string(process.path().join("stat")).unwrap_or_default();
        let mut fields = stat.rsplit(')').next().unwrap_or_default().split_whitespace();
        if fields.nth(1).and_then(|field| field.parse().ok()) == Some(parent) {
            found.push(id);
        }
    }
    found
}

/// A program that serves until it is dropped, with all that it started.
pub(crate) struct Service {
    child: Child,
}

impl Service {
    /// Starts it. Each line of its standard output goes to `line`, on a thread of its own; standard error goes to a log.
    pub(crate) fn start(
        what: &str,
        command: &mut Command,
        mut line: impl FnMut(&str) + Send + 'static,
    ) -> Result<Self, String> {
        let log = fs::File::create(log_file(what)?).map_err(|e| e.to_string())?;
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|e| format!("cannot start {what}: {e}"))?;
        let stdout = child.stdout.take().expect("it is piped");
        std::thread::spawn(move || {
            for text in BufReader::new(stdout).lines().map_while(Result::ok) {
                line(&text);
            }
        });
        Ok(Self { child })
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        end_with_children(&mut self.child);
    }
}

/// `cargo` of the same toolchain as this program.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args);
    // What cargo says about this package to its program must not reach the builds: ring's depends on it, so ring and all above it
    // would be built anew after each plain `cargo build`.
    for (name, _) in std::env::vars_os() {
        let about_us = ["CARGO_MANIFEST_", "CARGO_PKG_"];
        if about_us.iter().any(|start| name.to_string_lossy().starts_with(start)) {
            command.env_remove(name);
        }
    }
    command
}

/// The last `lines` lines of `text`.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

/// Builds an example of any crate, and says where it is. The whole workspace is selected, as when `cargo test --workspace` built its
/// libraries: for one crate alone cargo would choose other features, and build everything below it once more.
pub(crate) fn example(name: &str) -> Result<PathBuf, String> {
    let args = ["build", "--quiet", "--workspace", "--example", name];
    let built = run(&format!("build {name}"), &mut cargo(&args))?;
    if !built.success {
        return Err(tail(&built.text, 40));
    }
    let target = work_dir().parent().expect("inside target").to_owned();
    Ok(target.join("debug/examples").join(name))
}
