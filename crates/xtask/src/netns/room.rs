//! Network namespaces that last as long as whoever made them.

use std::ffi::OsStr;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

/// Every name of ours begins so, and goes on with the process id: what a killed run left behind is found by it.
const PREFIX: &str = "antiphon";

/// Removes the namespaces of runs that are no more.
pub(super) fn sweep() {
    let Ok(names) = fs::read_dir("/run/netns") else { return };
    for name in names.flatten() {
        let name = name.file_name().to_string_lossy().into_owned();
        let mut parts = name.split('-');
        if parts.next() == Some(PREFIX)
            && let Some(id) = parts.next().and_then(|id| id.parse::<u32>().ok())
            && !Path::new(&format!("/proc/{id}")).exists()
        {
            let _ = Command::new("ip").args(["netns", "del", &name]).status();
        }
    }
}

/// A namespace that goes when this goes.
pub(super) struct Room(String);

impl Room {
    /// One with loopback; names are of this process, so that what a killed run left behind is found.
    pub(super) fn make(name: &str) -> Result<Self, String> {
        let name = format!("{PREFIX}-{}-{name}", std::process::id());
        must(Command::new("ip").args(["netns", "add", &name]), "")?;
        let room = Self(name);
        room.inside("ip link set lo up")?;
        Ok(room)
    }

    pub(super) fn name(&self) -> &str {
        &self.0
    }

    /// Its name less our prefix and process id: logs of the last run are overwritten by those of the next.
    pub(super) fn tag(&self) -> &str {
        self.0.splitn(3, '-').nth(2).unwrap_or(&self.0)
    }

    /// A program that runs in it; arguments may follow.
    pub(super) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(program);
        command
    }

    pub(super) fn inside(&self, command: &str) -> Result<(), String> {
        let (program, words) = command.split_once(' ').unwrap_or((command, ""));
        must(self.command(program).args(words.split(' ')), "")
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = Command::new("ip").args(["netns", "del", &self.0]).status();
    }
}

/// Joins an interface in one namespace with one in another.
pub(super) fn wire(room: &Room, interface: &str, other: &Room, other_interface: &str) -> Result<(), String> {
    let mut add = Command::new("ip");
    add.args(["link", "add", "name", interface, "netns", room.name(), "type", "veth"]);
    add.args(["peer", "name", other_interface, "netns", other.name()]);
    must(&mut add, "")
}

/// Runs a command with `input`; what it says on standard error is why it failed.
pub(super) fn must(command: &mut Command, input: &str) -> Result<(), String> {
    let shown = format!("{command:?}");
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|e| format!("{shown}: {e}"))?;
    if let Some(mut stdin) = child.stdin.take() {
        stdin.write_all(input.as_bytes()).map_err(|e| format!("{shown}: {e}"))?;
    }
    let output = child.wait_with_output().map_err(|e| format!("{shown}: {e}"))?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!("{shown}: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }
}
