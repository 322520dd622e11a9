//! Whether what is in one file is in another: every frame of the second one, byte for byte and in order, from some frame of the first
//! one on, which may go round.
//!
//!     cargo run -p antiphon-container --example compare -- film.webm recorded.mp4
//!
//! Tracks are matched by their codecs; one that the second file lacks is left out. Says how many frames were compared, and how far
//! sound and pictures are apart from where they were.

use std::fs::File;
use std::io::BufReader;

use antiphon_container::{Format, Reader, Sample, Track};

/// The tracks with their frames, and whether the frames have times of their own.
struct Loaded {
    tracks: Vec<(Track, Vec<Sample>)>,
    timed: bool,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [original, copy] = &arguments[..] else {
        return Err("which two files?".into());
    };
    let (original, copy) = (load(original)?, load(copy)?);
    let length = original.tracks.iter().map(length).fold(0.0, f64::max);
    let mut shifts = Vec::new();
    for (track, frames) in &copy.tracks {
        let codec = &track.codec;
        let mut of_codec = original.tracks.iter().filter(|(other, _)| other.codec == *codec);
        let (_, wanted) = of_codec.next().ok_or(format!("{codec} is in the second file alone"))?;
        let start = start(wanted, frames).ok_or_else(|| why(codec.name(), wanted, frames))?;
        println!("{codec}: {} frames, from the {start}th on", frames.len());
        let seconds = |ticks: i64| ticks as f64 / f64::from(track.clock_rate);
        // By how much its last frame is later than it was.
        if let Some((index, frame)) = (start..).zip(frames).last() {
            let (round, index) = (index / wanted.len(), index % wanted.len());
            shifts.push(seconds(frame.time) - seconds(wanted[index].time) - round as f64 * length);
        }
    }
    if !(original.timed && copy.timed) {
        return Ok(());
    }
    // One track may have come in a round before the other.
    let first = *shifts.first().ok_or("the second file is empty")?;
    let apart = shifts.iter().map(|shift| {
        let rounds = ((shift - first) / length.max(1e-9)).round();
        (shift - first - rounds * length).abs()
    });
    println!("apart by {:.0} ms at most", apart.fold(0.0, f64::max) * 1_000.0);
    Ok(())
}

fn load(name: &str) -> Result<Loaded, Box<dyn std::error::Error>> {
    let mut reader = Reader::new(BufReader::new(File::open(name)?))?;
    let timed = !matches!(reader.format(), Format::H264 | Format::H265 | Format::Obu);
    let mut tracks: Vec<(Track, Vec<Sample>)> = reader
        .tracks()
        .iter()
        .map(|track| (track.clone(), Vec::new()))
        .collect();
    while let Some(sample) = reader.next_sample()? {
        tracks[sample.track].1.push(sample);
    }
    Ok(Loaded { tracks, timed })
}

/// How long a track is, in seconds, as it is played: what does not say how long it lasts, lasts as long as the one before it.
fn length((track, frames): &(Track, Vec<Sample>)) -> f64 {
    let mut before = None;
    let ends = frames.iter().map(|frame| {
        let step = before
            .replace(frame.time)
            .map_or(0, |before| (frame.time - before).max(0));
        frame.time + frame.duration.map_or(step, i64::from)
    });
    ends.max().unwrap_or(0) as f64 / f64::from(track.clock_rate)
}

/// Where in the first file the second one begins.
fn start(wanted: &[Sample], frames: &[Sample]) -> Option<usize> {
    let same = |start: usize| {
        let all = wanted.iter().cycle().skip(start).zip(frames);
        all.clone().all(|(wanted, frame)| wanted.data == frame.data)
    };
    (0..wanted.len()).find(|start| !frames.is_empty() && same(*start))
}

/// How far the best beginning leads.
fn why(codec: &str, wanted: &[Sample], frames: &[Sample]) -> String {
    let equal = |start: usize| {
        let all = wanted.iter().cycle().skip(start).zip(frames);
        all.take_while(|(wanted, frame)| wanted.data == frame.data).count()
    };
    let best = (0..wanted.len()).max_by_key(|start| equal(*start)).unwrap_or(0);
    let at = equal(best);
    let bytes = |of: Option<&Sample>| of.map_or(0, |sample| sample.data.len());
    let wants = wanted.iter().cycle().nth(best + at);
    format!(
        "{codec}: of {} frames {at} are equal from the {best}th on; then there are {} bytes instead of {}",
        frames.len(),
        bytes(frames.get(at)),
        bytes(wants),
    )
}
