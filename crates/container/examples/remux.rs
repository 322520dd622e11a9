//! Copies a file of one format into one of another, without touching what is in it, and says what that is:
//!
//!     cargo run -p antiphon-container --example remux -- film.webm film.mp4
//!
//! A third argument turns the picture, by so many degrees clockwise. Tracks that the other format cannot hold are left out.

use std::fs::File;
use std::io::BufWriter;

use antiphon_container::{Format, Media, Reader, Rotation, Writer};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [from, to, turn @ ..] = &arguments[..] else {
        return Err("which file, and into which?".into());
    };
    let format = Format::of_extension(to).ok_or("no format has this extension")?;
    let mut reader = Reader::new(File::open(from)?)?;
    let mut places = Vec::new();
    let mut tracks = Vec::new();
    for track in reader.tracks() {
        let fits = format.holds(&track.codec) && tracks.len() < format.max_tracks();
        places.push(fits.then_some(tracks.len()));
        if !fits {
            continue;
        }
        let mut track = track.clone();
        if let (Media::Video { rotation, .. }, Some(degrees)) = (&mut track.media, turn.first()) {
            *rotation = Rotation::of_quarter_turns((degrees.parse::<u16>()? / 90) as u8);
        }
        tracks.push(track);
    }
    let mut writer = Writer::new(BufWriter::new(File::create(to)?), format, tracks)?;
    let mut counts = vec![0; places.len()];
    while let Some(mut sample) = reader.next_sample()? {
        counts[sample.track] += 1;
        if let Some(place) = places[sample.track] {
            sample.track = place;
            writer.write(&sample)?;
        }
    }
    writer.finish()?;
    for (track, count) in reader.tracks().iter().zip(counts) {
        println!(
            "{} {:?} at {} Hz: {count} samples",
            track.codec, track.media, track.clock_rate
        );
    }
    Ok(())
}
