//! Running servers, and scripts against them.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::sync::mpsc;
use std::time::Duration;

use super::tables::{Cells, take_cells};
use crate::report::Report;
use crate::setup::Peers;
use crate::shell::{Service, cargo, root, run as run_command, run_within, tail, work_dir};

/// How long a server may take to say its address, and a script to end: bounds for a busy machine.
pub(crate) const START_PATIENCE: Duration = Duration::from_secs(60);
pub(crate) const SCRIPT_PATIENCE: Duration = Duration::from_secs(15 * 60);

/// A running `antiphon serve`, ended when dropped.
pub(crate) struct Server {
    service: Service,
    /// `http://127.0.0.1:PORT`
    pub(crate) url: String,
}

impl Server {
    /// Starts the release build on a free port, with these flags of `serve`, and waits until it says its address.
    pub(crate) fn start(what: &str, flags: &[&str]) -> Result<Self, String> {
        let mut command = antiphon()?;
        command.args(["serve", "--listen", "127.0.0.1:0"]).args(flags);
        Self::of(&format!("antiphon serve {what}"), &mut command)
    }

    /// The process.
    pub(crate) fn id(&self) -> u32 {
        self.service.id()
    }

    /// Any program that prints the address at which it serves a page.
    pub(crate) fn of(what: &str, command: &mut Command) -> Result<Self, String> {
        let (found, address) = mpsc::channel();
        let service = Service::start(what, command, move |line| {
            if let Some(start) = line.find("http") {
                let url: String = line[start..].chars().take_while(|c| !c.is_whitespace()).collect();
                let _ = found.send(url.trim_end_matches('/').to_owned());
            }
        })?;
        match address.recv_timeout(START_PATIENCE) {
            Ok(url) => Ok(Self { service, url }),
            Err(_) => Err(format!("{what} did not print its address")),
        }
    }
}

/// The release build of `antiphon`, up to date.
pub(crate) fn antiphon() -> Result<Command, String> {
    let mut command = Command::new(program()?);
    command.current_dir(root());
    Ok(command)
}

/// Where the release build of `antiphon` is, up to date.
pub(crate) fn program() -> Result<PathBuf, String> {
    build(&[])
}

/// The same with the pattern as H.264 too: a copy of its own, for the other takes its place when it is built.
pub(crate) fn program_with_h264() -> Result<PathBuf, String> {
    let built = build(&["--features", "h264"])?;
    let own = work_dir().join("antiphon-h264");
    fs::copy(&built, &own).map_err(|e| format!("{}: {e}", own.display()))?;
    Ok(own)
}

fn build(more: &[&str]) -> Result<PathBuf, String> {
    let mut build = cargo(&["build", "--release", "--package", "antiphon-cli"]);
    let built = run_command("build antiphon", build.args(more))?;
    if !built.success {
        return Err(format!("cannot build antiphon:\n{}", tail(&built.text, 40)));
    }
    Ok(work_dir().parent().expect("inside target").join("release/antiphon"))
}

pub(crate) fn node(peers: &Peers, script: &str, args: &[&str]) -> Command {
    let mut command = Command::new("node");
    command.arg(peers.node.join(script)).args(args).current_dir(&peers.node);
    command
}

/// Runs a script to its end, and takes what it has measured.
pub(super) fn play(report: &mut Report, what: &str, command: &mut Command, cells: &mut Cells) {
    match run_within(SCRIPT_PATIENCE, what, command) {
        Ok(output) => take_cells(report, what, &output, cells),
        Err(why) => report.fail(what, &why),
    }
}
