//! Files: FFmpeg's are read, ours are read by FFmpeg, and frames of captures are decoded by it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use serde_json::Value;

use crate::live::Server;
use crate::report::Report;
use crate::setup::{apt, must};
use crate::shell::{example, run, tail, work_dir};
use crate::streams::{self, Case};

/// How far sound and pictures may be apart from where they were, in seconds.
const MAX_OFFSET: f64 = 0.04;
const PICTURES: [&str; 4] = ["-f", "lavfi", "-i", "testsrc=size=320x180:rate=30:duration=2"];
const SOUND: [&str; 4] = ["-f", "lavfi", "-i", "sine=frequency=440:duration=2"];

/// A file that FFmpeg makes.
struct Made {
    name: &'static str,
    pictures: &'static [&'static str],
    sound: &'static [&'static str],
    /// The kinds of file that its tracks go into.
    into: &'static [&'static str],
}

const OPUS: &[&str] = &["-c:a", "libopus"];
const X264: &[&str] = &["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p"];
const X265: &[&str] = &[
    "-c:v",
    "libx265",
    "-preset",
    "ultrafast",
    "-x265-params",
    "log-level=none",
    "-pix_fmt",
    "yuv420p",
];
const AV1: &[&str] = &["-c:v", "libaom-av1", "-cpu-used", "8", "-usage", "realtime"];

const FILES: &[Made] = &[
    Made {
        name: "vp8.webm",
        pictures: &["-c:v", "libvpx"],
        sound: OPUS,
        into: &["webm", "mp4", "ivf", "ogg"],
    },
    Made {
        name: "vp9.webm",
        pictures: &["-c:v", "libvpx-vp9", "-cpu-used", "8", "-deadline", "realtime"],
        sound: OPUS,
        into: &["webm", "mp4", "ivf"],
    },
    Made {
        name: "h264.mp4",
        pictures: X264,
        sound: OPUS,
        into: &["webm", "mp4", "ivf", "h264"],
    },
    // Pictures in another order than they are shown in, in fragments.
    Made {
        name: "reordered.mp4",
        pictures: &[
            "-c:v",
            "libx264",
            "-preset",
            "medium",
            "-pix_fmt",
            "yuv420p",
            "-movflags",
            "+frag_keyframe+empty_moov",
        ],
        sound: OPUS,
        into: &["webm", "mp4", "h264"],
    },
    Made {
        name: "h264.mkv",
        pictures: X264,
        sound: &["-c:a", "pcm_mulaw", "-ar", "8000"],
        into: &["webm", "mp4"],
    },
    Made {
        name: "h265.mp4",
        pictures: X265,
        sound: OPUS,
        into: &["webm", "mp4", "h265"],
    },
    Made {
        name: "av1.mp4",
        pictures: AV1,
        sound: OPUS,
        into: &["webm", "mp4", "ivf", "obu"],
    },
    Made {
        name: "pictures.ivf",
        pictures: &["-c:v", "libvpx"],
        sound: &[],
        into: &["webm", "mp4", "ivf"],
    },
    Made {
        name: "sound.ogg",
        pictures: &[],
        sound: OPUS,
        into: &["webm", "mp4", "ogg"],
    },
    Made {
        name: "stream.h264",
        pictures: X264,
        sound: &[],
        into: &["webm", "mp4", "h264"],
    },
];

/// What ffprobe says of a file, a stream each: codec, frames that were decoded, where it begins in seconds.
pub(crate) type Probed = Vec<(String, u64, Option<f64>)>;

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

/// FFmpeg makes the file.
fn make(made: &Made, folder: &Path) -> Result<PathBuf, String> {
    let file = folder.join(made.name);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-y"]);
    if !made.pictures.is_empty() {
        ffmpeg.args(PICTURES);
    }
    if !made.sound.is_empty() {
        ffmpeg.args(SOUND);
    }
    if !made.pictures.is_empty() {
        // A key frame each second: who comes in later waits for it.
        ffmpeg.args(made.pictures).args(["-g", "30"]);
    }
    must(made.name, ffmpeg.args(made.sound).arg(&file))?;
    Ok(file)
}

/// A file of FFmpeg's with pictures in each of the codecs, by their names, with sound in Opus.
pub(crate) fn films() -> Result<Vec<(&'static str, PathBuf)>, String> {
    apt(&[("ffmpeg", "ffmpeg"), ("ffprobe", "ffmpeg")])?;
    let folder = work_dir().join("films");
    std::fs::create_dir_all(&folder).map_err(|e| format!("{}: {e}", folder.display()))?;
    let names = ["vp8.webm", "vp9.webm", "h264.mp4", "h265.mp4", "av1.mp4"];
    let films = FILES.iter().filter(|made| names.contains(&made.name));
    films
        .map(|made| {
            let codec = made.name.split('.').next().unwrap_or_default();
            Ok((codec, make(made, &folder)?))
        })
        .collect()
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

/// By how many degrees the picture is to be turned, against the clock, if the file says it.
pub(crate) fn rotation(file: &Path) -> Result<Option<f64>, String> {
    let said = show(file, "stream_side_data=rotation", false)?;
    let streams = said["streams"].as_array().cloned().unwrap_or_default();
    let told = |stream: &Value| stream["side_data_list"][0]["rotation"].as_f64();
    Ok(streams.iter().find_map(told))
}

/// What ffprobe finds when it decodes all of a file; an error, if it complains of anything.
pub(crate) fn probe(file: &Path) -> Result<Probed, String> {
    let said = show(file, "stream=codec_name,nb_read_frames,start_time", true)?;
    let streams = said["streams"].as_array().cloned().unwrap_or_default();
    let text = |stream: &Value, name: &str| stream[name].as_str().map(str::to_owned);
    let number = |text: String| text.parse::<f64>().ok();
    Ok(streams
        .iter()
        .map(|stream| {
            let frames = text(stream, "nb_read_frames").and_then(number).unwrap_or(0.0);
            (
                text(stream, "codec_name").unwrap_or_default(),
                frames as u64,
                text(stream, "start_time").and_then(number),
            )
        })
        .collect())
}

/// What ffprobe shows; an error, if it complains of anything.
fn show(file: &Path, entries: &str, decodes: bool) -> Result<Value, String> {
    let mut ffprobe = Command::new("ffprobe");
    ffprobe.args(["-v", "error", "-of", "json", "-show_entries", entries]);
    if decodes {
        ffprobe.arg("-count_frames");
    }
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let output = run(&format!("ffprobe {name}"), ffprobe.arg(file))?;
    // Complaints stand before or behind what was asked for, and then it is no JSON.
    serde_json::from_str(&output.text).map_err(|_| format!("{name}: {}", tail(&output.text, 20)))
}
