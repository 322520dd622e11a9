//! What a foreign decoder makes of the frames of a stream: they are written to a file, and ffprobe (FFmpeg) decodes it.

use std::fs::File;
use std::io::BufWriter;
use std::path::Path;
use std::process::Command;

use antiphon_container::{Codec, Format, Sample, Track, WriteError, Writer};

use super::frames::Frames;

/// What became of one stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Frames that were given to the decoder: from a key frame on, as long as none is missing.
    pub given: usize,
    /// Frames that came out of it. Gaps of sound are concealed in the file: then there are more.
    pub decoded: usize,
    is_video: bool,
    /// What the decoder complained of, a line each.
    pub complaints: Vec<String>,
}

/// Why nothing can be said of a stream.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// The file cannot be written.
    #[error("the file of its frames: {0}")]
    Write(#[from] WriteError),
    /// The file cannot be made, or the decoder not be started.
    #[error("ffprobe: {0}")]
    Io(#[from] std::io::Error),
}

impl Decoded {
    /// Whether every frame came out, without a complaint.
    pub fn holds(&self) -> bool {
        let all = if self.is_video {
            self.given == self.decoded
        } else {
            self.given <= self.decoded
        };
        all && self.complaints.is_empty()
    }
}

/// Writes the frames of a stream to a file in `folder` and lets ffprobe decode it. `None`: no decoder is asked about this encoding,
/// or the stream has no frame that can be decoded.
///
/// # Errors
/// [`DecodeError`].
pub fn decode(frames: &Frames, folder: &Path) -> Result<Option<Decoded>, DecodeError> {
    let codec = Codec::of_name(&frames.encoding);
    let (format, track) = match codec {
        Codec::Vp8 | Codec::Vp9 | Codec::Av1 => (Format::Ivf, Track::video(codec, 640, 480)),
        Codec::H264 => (Format::H264, Track::video(codec, 640, 480)),
        Codec::H265 => (Format::H265, Track::video(codec, 640, 480)),
        Codec::Opus => (Format::Ogg, Track::audio(codec, 48_000, 2)),
        _ => return Ok(None),
    };
    let is_video = track.is_video();
    let path = folder.join(format!("{:08x}", frames.ssrc));
    let mut writer = Writer::new(BufWriter::new(File::create(&path)?), format, vec![track])?;
    let (mut given, mut time, mut last) = (0, 0, None);
    // A picture needs those before it: behind a gap nothing is decoded before the next key frame.
    let mut waits = is_video;
    for frame in &frames.whole {
        let since = last.map_or(0, |last| i64::from(frame.timestamp.wrapping_sub(last) as i32));
        last = Some(frame.timestamp);
        time += since;
        waits = is_video && !frame.key_frame && (waits || frame.after_gap);
        if waits {
            continue;
        }
        writer.write(&Sample {
            track: 0,
            time,
            duration: None,
            key_frame: frame.key_frame,
            data: frame.data.clone(),
        })?;
        given += 1;
    }
    if given == 0 {
        return Ok(None);
    }
    writer.finish()?;
    let asked = Command::new("ffprobe")
        .args(["-v", "error", "-count_frames", "-select_streams", "0"])
        .args(["-show_entries", "stream=nb_read_frames", "-of", "csv=p=0"])
        .arg(&path)
        .output()?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let decoded = text(&asked.stdout).trim().trim_end_matches(',').parse().unwrap_or(0);
    Ok(Some(Decoded {
        given,
        decoded,
        is_video,
        complaints: text(&asked.stderr).lines().map(str::to_owned).collect(),
    }))
}
