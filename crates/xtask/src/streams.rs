//! Files that are played to a server by WHIP and recorded from it by WHEP, with `antiphon play` and `antiphon record`: what comes back
//! is what was sent.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use crate::films::{probe, rotation};
use crate::live::{Server, program};
use crate::relay::Namespace;
use crate::report::Report;
use crate::setup::must;
use crate::shell::{Service, root, run, tail};

/// Seconds that are recorded: the files are played round and round, and pictures begin at the next key frame.
const SECONDS: &str = "5";
/// How far sound and pictures may be apart from where they were, in milliseconds, through a server of ours. However late a busy machine
/// sends them, sender reports tell when they were due.
const MAX_APART: u64 = 40;
/// Every file has more frames than this in half of [`SECONDS`].
const LEAST_FRAMES: u64 = 40;
/// How long a stream may take to be there.
const PATIENCE: Duration = Duration::from_secs(30);

/// A server that takes files, and gives them back.
pub(crate) struct Way<'a> {
    /// What it is, for people.
    pub(crate) name: &'a str,
    pub(crate) whip: String,
    pub(crate) whep: String,
    /// The bearer token, if it asks for one.
    pub(crate) token: Option<&'a str>,
    /// How far sound and pictures may be apart from where they were, in milliseconds.
    pub(crate) max_apart: u64,
    /// Where it is, if not on this machine's loopback.
    pub(crate) namespace: Option<&'a Namespace>,
}

impl<'a> Way<'a> {
    /// A stream of this name at a server of ours.
    fn ours(server: &Server, stream: &str) -> Self {
        Self {
            name: "ours",
            whip: format!("{}/whip/{stream}", server.url),
            whep: format!("{}/whep/{stream}", server.url),
            token: None,
            max_apart: MAX_APART,
            namespace: None,
        }
    }

    /// `antiphon play` or `antiphon record`, with what both are told.
    fn antiphon(&self, what: &str, arguments: &[&OsStr]) -> Result<Command, String> {
        // Asked for by many at once, and built once.
        static PROGRAM: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let mut command = Command::new(PROGRAM.get_or_init(program).clone()?);
        command.current_dir(root()).arg(what).args(arguments);
        if let Some(token) = self.token {
            command.args(["--token", token]);
        }
        Ok(match self.namespace {
            Some(namespace) => namespace.inside(&command),
            None => command,
        })
    }

    /// Plays a file round and round, until it is dropped.
    fn play(&self, file: &Path) -> Result<Service, String> {
        let mut play = self.antiphon("play", &[file.as_ref(), self.whip.as_ref(), "--loop".as_ref()])?;
        Service::start(&format!("play {} to {}", name_of(file), self.name), &mut play, |_| {})
    }

    /// Records; again, while nobody publishes yet.
    fn record(&self, to: &Path) -> Result<(), String> {
        let started = Instant::now();
        let what = format!("record {}", name_of(to));
        let flags = ["--duration", SECONDS, "--overwrite"].map(OsStr::new);
        let arguments = [&[self.whep.as_ref(), to.as_ref()], &flags[..]].concat();
        loop {
            let output = run(&what, &mut self.antiphon("record", &arguments)?)?;
            if output.success {
                return Ok(());
            }
            if !output.text.contains(" 404 ") || started.elapsed() > PATIENCE {
                return Err(tail(&output.text, 10));
            }
            std::thread::sleep(Duration::from_millis(200));
        }
    }
}

/// One file that is played, and the kinds of file that it is recorded into.
pub(crate) struct Case {
    pub(crate) file: PathBuf,
    pub(crate) into: Vec<&'static str>,
}

/// Plays each of the files of one origin to our own server, all at once.
pub(crate) fn ours(report: &mut Report, server: &Server, compare: &Path, what: &str, cases: &[Case]) {
    let started = Instant::now();
    let outcomes: Vec<Result<String, String>> = std::thread::scope(|scope| {
        let running = cases.iter().map(|case| {
            scope.spawn(move || {
                let name = name_of(&case.file);
                // Once more if it fails, for nobody sends a lost packet of sound again, and a machine that is busy loses some. Under
                // another name: a player that was ended by force is at the server for some time yet.
                there_and_back(&Way::ours(server, &name), case, compare).or_else(|first| {
                    let second = there_and_back(&Way::ours(server, &format!("again-{name}")), case, compare);
                    second.map_err(|second| format!("{first}\nand once more: {second}"))
                })
            })
        });
        let running: Vec<_> = running.collect();
        let joined = running.into_iter().map(|thread| thread.join());
        joined
            .map(|outcome| outcome.unwrap_or_else(|_| Err("panicked".to_owned())))
            .collect()
    });
    let title = format!("{what}, there and back");
    let failed: Vec<String> = outcomes
        .iter()
        .filter_map(|outcome| outcome.as_ref().err().cloned())
        .collect();
    if failed.is_empty() {
        let done: Vec<String> = outcomes.into_iter().filter_map(Result::ok).collect();
        report.pass(&title, &done.join("; "), started.elapsed());
    } else {
        report.fail(&title, &failed.join("\n"));
    }
}

/// Plays a file and records it meanwhile, into each of the kinds; every frame that comes back is one that was sent, in its order, and
/// ffprobe has nothing to say against the files.
pub(crate) fn there_and_back(way: &Way<'_>, case: &Case, compare: &Path) -> Result<String, String> {
    let name = name_of(&case.file);
    let _player = way.play(&case.file)?;
    let outcomes: Vec<Result<(), String>> = std::thread::scope(|scope| {
        let recording = case.into.iter().map(|kind| {
            let to = copy_of(way, &case.file, kind);
            scope.spawn(move || {
                way.record(&to)?;
                way.check(&case.file, &to, compare)
            })
        });
        let recording: Vec<_> = recording.collect();
        let joined = recording.into_iter().map(|thread| thread.join());
        joined
            .map(|outcome| outcome.unwrap_or_else(|_| Err("panicked".to_owned())))
            .collect()
    });
    for (kind, outcome) in case.into.iter().zip(outcomes) {
        outcome.map_err(|why| format!("{name} into {kind}: {why}"))?;
    }
    Ok(format!("{name} into {}", case.into.join(" and ")))
}

/// A picture that is to be turned still is to be turned when it comes back.
pub(crate) fn turned(server: &Server, file: &Path) -> Result<(), String> {
    let name = name_of(file);
    let way = Way::ours(server, &name);
    let _player = way.play(file)?;
    for kind in ["webm", "mp4"] {
        let to = copy_of(&way, file, kind);
        way.record(&to)?;
        let (was, is) = (rotation(file)?, rotation(&to)?);
        if was.is_none() || was != is {
            return Err(format!("{name} into {kind}: turned by {is:?}, {was:?} before"));
        }
    }
    Ok(())
}

/// Ctrl-C ends a recording, and its file is whole.
pub(crate) fn interrupted(server: &Server, compare: &Path, file: &Path, kind: &str) -> Result<(), String> {
    let name = format!("interrupted-{kind}-{}", name_of(file));
    let way = Way::ours(server, &name);
    let _player = way.play(file)?;
    let to = copy_of(&way, &file.with_file_name(&name), kind);
    // A short one first, so that the stream is there.
    way.record(&to)?;
    let recorder = way.antiphon("record", &[way.whep.as_ref(), to.as_ref(), "--overwrite".as_ref()])?;
    let mut shell = Command::new("timeout");
    // Sends SIGINT after the time, once, and gives the program's own exit status.
    shell.args(["--foreground", "--preserve-status", "--signal=INT", SECONDS]);
    shell.arg(recorder.get_program()).args(recorder.get_args());
    must("record until Ctrl-C", &mut shell)?;
    way.check(file, &to, compare)
}

fn name_of(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

fn copy_of(way: &Way<'_>, file: &Path, kind: &str) -> PathBuf {
    file.with_file_name(format!("back-from-{}-{}.{kind}", way.name, name_of(file)))
}

impl Way<'_> {
    /// The second file has frames of the first one, in step, and ffprobe reads it.
    fn check(&self, file: &Path, copy: &Path, compare: &Path) -> Result<(), String> {
        let output = run(
            &format!("compare {}", name_of(copy)),
            Command::new(compare).arg(file).arg(copy),
        )?;
        if !output.success {
            return Err(tail(&output.text, 5));
        }
        for line in output.text.lines() {
            let number = |text: &str| text.split(' ').find_map(|word| word.parse::<u64>().ok());
            match (line.strip_prefix("apart by"), line.split_once(": ")) {
                (Some(apart), _) if number(apart).is_none_or(|apart| apart > self.max_apart) => {
                    return Err(line.to_owned());
                }
                (None, Some((_, frames))) if number(frames).is_none_or(|frames| frames < LEAST_FRAMES) => {
                    return Err(format!("only {line}"));
                }
                _ => {}
            }
        }
        // FFmpeg 5.1 does not know H.265 in IVF; nobody makes such a file here.
        match probe(copy)? {
            streams if streams.is_empty() => Err("ffprobe finds no stream".to_owned()),
            _ => Ok(()),
        }
    }
}
