//! Programs that are told what to do by their standard input and say what came of it.

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::time::Duration;

use crate::shell::{end_with_children, log_file};

/// A program with a voice.
pub(super) struct Voice {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Voice {
    /// Starts it; what it says on standard error goes into a log.
    pub(super) fn start(what: &str, command: &mut Command) -> Result<Self, String> {
        let log = fs::File::create(log_file(what)?).map_err(|e| e.to_string())?;
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .map_err(|e| format!("cannot start {what}: {e}"))?;
        let (stdin, stdout) = (child.stdin.take(), child.stdout.take().expect("it is piped"));
        let (say, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if say.send(line).is_err() {
                    return;
                }
            }
        });
        Ok(Self { child, stdin, lines })
    }

    /// The next line that it says.
    pub(super) fn line(&self, what: &str, patience: Duration) -> Result<String, String> {
        self.lines
            .recv_timeout(patience)
            .map_err(|_| format!("{what}: no line within {} s", patience.as_secs()))
    }

    /// The next line, if one comes in this time.
    pub(super) fn try_line(&self, patience: Duration) -> Option<String> {
        self.lines.recv_timeout(patience).ok()
    }

    /// Says a line to it.
    pub(super) fn tell(&mut self, word: &str) -> Result<(), String> {
        let stdin = self.stdin.as_mut().ok_or("no standard input")?;
        writeln!(stdin, "{word}").map_err(|e| e.to_string())
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        end_with_children(&mut self.child);
    }
}
