//! Files: FFmpeg's are read, ours are read by FFmpeg, and frames of captures are decoded by it.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use crate::films::{FILES, Made, make, probe, rotation};
use crate::live::Server;
use crate::report::Report;
use crate::setup::{apt, must};
use crate::shell::{example, run, tail, work_dir};
use crate::streams::{self, Case};

/// How far sound and pictures may be apart from where they were, in seconds.
const MAX_OFFSET: f64 = 0.04;
pub(crate) fn run_all(report: &mut Report) {
    let ready = || -> Result<_, String> {
        apt(&[("ffmpeg", "ffmpeg"), ("ffprobe", "ffmpeg")])?;
        Ok((example("remux")?, example("compare")?, Server::start("for files", &[])?))
    };
    match ready() {
        Ok((remux, compare, server)) => {
            let folder = work_dir().join("files");
            if let Err(error) = std::fs::create_dir_all(&folder) {
                return report.fail("files beside FFmpeg", &error.to_string());
            }
            for made in FILES {
                let started = Instant::now();
                let what = format!("{} into {}", made.name, made.into.join(", "));
                match cross(made, &remux, &folder) {
                    Ok(()) => report.pass(&what, "every frame decoded, in step", started.elapsed()),
                    Err(why) => {
                        report.fail(&what, &why);
                        continue;
                    }
                }
                streams::ours(report, &server, &compare, made.name, &cases(made, &folder));
            }
            let first = folder.join("vp8.webm");
            let mut step = |what: &str, detail: &str, outcome: &dyn Fn() -> Result<(), String>| {
                let started = Instant::now();
                match outcome() {
                    Ok(()) => report.pass(what, detail, started.elapsed()),
                    Err(why) => report.fail(what, &why),
                }
            };
            step("pictures that are turned", "in WebM and MP4", &|| {
                turned(&remux, &folder)
            });
            step("pictures that are turned, there and back", "into WebM and MP4", &|| {
                streams::turned(&server, &folder.join("turned.webm"))?;
                streams::turned(&server, &folder.join("turned.mp4"))
            });
            step("recordings that Ctrl-C ends", "WebM and MP4 are whole", &|| {
                streams::interrupted(&server, &compare, &first, "webm")?;
                streams::interrupted(&server, &compare, &first, "mp4")
            });
        }
        Err(why) => report.fail("files beside FFmpeg", &why),
    }
    const TABLE: &str = "frames of every capture, decoded by FFmpeg";
    let table = example("table");
    match table.and_then(|table| run(TABLE, Command::new(table).arg("--ffmpeg"))) {
        Ok(output) if output.success => {
            let streams = output.text.lines().filter(|line| line.ends_with(" frames")).count();
            report.pass(TABLE, &format!("{streams} streams"), output.took);
        }
        Ok(output) => report.fail(TABLE, &tail(&output.text, 60)),
        Err(why) => report.fail(TABLE, &why),
    }
}

/// What is played of a file of FFmpeg's: itself, and each that was made of it. Each is recorded into two kinds of file, other ones each
/// time.
fn cases(made: &Made, folder: &Path) -> Vec<Case> {
    let pictures_only = |kind: &str| ["ivf", "h264", "h265", "obu"].contains(&kind);
    let own = made.name.rsplit('.').next().unwrap_or_default();
    let others = made.into.iter().map(|kind| (*kind, format!("of-{}.{kind}", made.name)));
    let files = std::iter::once((own, made.name.to_owned())).chain(others);
    let case = |(index, (kind, name)): (usize, (&'static str, String))| {
        let has_pictures = !made.pictures.is_empty() && kind != "ogg";
        let has_sound = !made.sound.is_empty() && !pictures_only(kind);
        let fits = |into: &&&'static str| match **into {
            "ogg" => has_sound,
            into => has_pictures || !pictures_only(into),
        };
        let fitting: Vec<&'static str> = made.into.iter().filter(fits).copied().collect();
        let turns = fitting.iter().cycle().skip(index).take(fitting.len().min(2));
        Case {
            file: folder.join(name),
            into: turns.copied().collect(),
        }
    };
    files.enumerate().map(case).collect()
}

/// FFmpeg makes a file, we make others of it, and ffprobe finds in them what was in the first.
fn cross(made: &Made, remux: &Path, folder: &Path) -> Result<(), String> {
    let first = make(made, folder)?;
    let before = probe(&first)?;
    for kind in made.into {
        let other = folder.join(format!("of-{}.{kind}", made.name));
        must("remux", Command::new(remux).arg(&first).arg(&other))?;
        let after = probe(&other)?;
        if after.is_empty() {
            return Err(format!("{kind}: no stream"));
        }
        for (codec, frames, begin) in &after {
            let Some((_, wanted, began)) = before.iter().find(|(before, ..)| before == codec) else {
                return Err(format!("{kind}: {codec} came from nowhere"));
            };
            // How the end of sound is told is the format's.
            let slack = u64::from(codec == "opus") * 2;
            if frames.abs_diff(*wanted) > slack {
                return Err(format!("{kind}: {frames} frames of {codec}, {wanted} before"));
            }
            if let (Some(begin), Some(began)) = (begin, began)
                && (begin - began).abs() > MAX_OFFSET
            {
                return Err(format!("{kind}: {codec} begins at {begin} s, at {began} s before"));
            }
        }
        let whole = ["webm", "mp4"].contains(kind);
        if whole && after.len() != before.len() {
            return Err(format!("{kind}: {} streams, {} before", after.len(), before.len()));
        }
    }
    Ok(())
}

/// A picture that is turned by 90 degrees clockwise is so in each format that can say it; FFmpeg counts the other way round.
fn turned(remux: &Path, folder: &Path) -> Result<(), String> {
    let first = folder.join("vp8.webm");
    for kind in ["webm", "mp4"] {
        let other = folder.join(format!("turned.{kind}"));
        must("remux", Command::new(remux).arg(&first).arg(&other).arg("90"))?;
        let rotation = rotation(&other)?;
        if rotation != Some(-90.0) {
            return Err(format!("{kind}: turned by {rotation:?}, -90 wanted"));
        }
    }
    Ok(())
}
