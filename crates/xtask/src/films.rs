//! Files that FFmpeg makes, and what ffprobe says of any.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use crate::setup::{apt, must};
use crate::shell::{run, tail, work_dir};

const PICTURES: [&str; 4] = ["-f", "lavfi", "-i", "testsrc=size=320x180:rate=30:duration=2"];
const SOUND: [&str; 4] = ["-f", "lavfi", "-i", "sine=frequency=440:duration=2"];

/// A file that FFmpeg makes.
pub(crate) struct Made {
    pub(crate) name: &'static str,
    pub(crate) pictures: &'static [&'static str],
    pub(crate) sound: &'static [&'static str],
    /// The kinds of file that its tracks go into.
    pub(crate) into: &'static [&'static str],
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

pub(crate) const FILES: &[Made] = &[
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

/// FFmpeg makes the file.
pub(crate) fn make(made: &Made, folder: &Path) -> Result<PathBuf, String> {
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
