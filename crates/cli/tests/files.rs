//! `antiphon play` and `antiphon record`: what is in the file that is played is in the file that is recorded, byte for byte.

mod common;

use std::fs::File;
use std::io::BufReader;
use std::path::{Path, PathBuf};
use std::time::Duration;

use antiphon::container::{Codec, Format, Reader, Sample, Track, Writer};
use antiphon::whip;
use antiphon_cli::args::{Args, Command};
use antiphon_cli::sources::pattern::{HEIGHT, TestPattern, WIDTH};
use antiphon_cli::sources::vp8::Vp8Encoder;
use antiphon_cli::stream::{Played, StreamError, play, record};
use clap::Parser;
use common::{Running, within};
use sha2::{Digest, Sha256};

const SECONDS: u64 = 2;

/// Frames of the pattern.
fn pictures(track: usize) -> Vec<Sample> {
    let mut pattern = TestPattern::new();
    let mut encoder = Vp8Encoder::new(WIDTH, HEIGHT, 8_000).unwrap();
    let frame = |n: u64| Sample {
        track,
        time: n as i64 * 3_000,
        duration: Some(3_000),
        key_frame: true,
        data: encoder.encode(pattern.draw(n, Duration::from_secs(n))).unwrap(),
    };
    (0..30 * SECONDS).map(frame).collect()
}

/// Packets of Opus, each another one: fullband, 20 ms, stereo (RFC 6716 §3.1). Nobody decodes them here.
fn sound(track: usize) -> Vec<Sample> {
    let packet = |n: u64| Sample {
        track,
        time: n as i64 * 960,
        duration: Some(960),
        key_frame: true,
        data: vec![0xfc, n as u8, (n >> 8) as u8, 1, 2, 3].into(),
    };
    (0..50 * SECONDS).map(packet).collect()
}

fn write(path: &Path, tracks: Vec<Track>, mut samples: Vec<Sample>) {
    let format = Format::of_extension(path.to_str().unwrap()).unwrap();
    let clocks: Vec<f64> = tracks.iter().map(|track| f64::from(track.clock_rate)).collect();
    samples.sort_by(|a, b| {
        let time = |sample: &Sample| sample.time as f64 / clocks[sample.track];
        time(a).total_cmp(&time(b))
    });
    let mut writer = Writer::new(File::create(path).unwrap(), format, tracks).unwrap();
    for sample in &samples {
        writer.write(sample).unwrap();
    }
    writer.finish().unwrap();
}

/// The hashes of a file's frames, track by track, with the names of their codecs.
fn hashes(path: &Path) -> Vec<(String, Vec<[u8; 32]>)> {
    let mut reader = Reader::new(BufReader::new(File::open(path).unwrap())).unwrap();
    let names = reader.tracks().iter().map(|track| track.codec.to_string());
    let mut tracks: Vec<(String, Vec<[u8; 32]>)> = names.map(|name| (name, Vec::new())).collect();
    while let Some(sample) = reader.next_sample().unwrap() {
        tracks[sample.track].1.push(Sha256::digest(&sample.data).into());
    }
    tracks.sort();
    tracks
}

fn args(words: &[&str]) -> Command {
    Args::parse_from(["antiphon"].iter().chain(words)).command.unwrap()
}

async fn played(words: &[&str]) -> Result<Played, StreamError> {
    let Command::Play(args) = args(words) else {
        panic!("play")
    };
    play(*args).await
}

/// Records; again, while nobody publishes yet.
async fn recorded(words: &[&str]) {
    loop {
        let Command::Record(args) = args(words) else {
            panic!("record")
        };
        match record(*args).await {
            Ok(_) => return,
            Err(StreamError::Server(whip::Error::Refused { status, .. })) if status.as_u16() == 404 => {}
            Err(error) => panic!("{error}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_played_is_recorded_whatever_the_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name);
    let (video, audio) = (Track::video(Codec::Vp8, 640, 360), Track::audio(Codec::Opus, 48_000, 2));
    write(&path("a.ivf"), vec![video.clone()], pictures(0));
    write(&path("b.ogg"), vec![audio.clone()], sound(0));
    for name in ["c.webm", "d.mp4"] {
        let mut samples = pictures(0);
        samples.extend(sound(1));
        write(&path(name), vec![video.clone(), audio.clone()], samples);
    }
    let server = Running::start(&["--udp-port", "0", "--whip-token", "secret"]).await;
    let one = async |name: &'static str, other: &'static str| {
        let (from, to): (PathBuf, PathBuf) = (path(name), path(other));
        let (from, to) = (from.to_str().unwrap(), to.to_str().unwrap());
        let (whip, whep) = (
            format!("http://{}/whip/{name}", server.addr),
            format!("http://{}/whep/{name}", server.addr),
        );
        let playing = ["play", from, &whip, "--loop", "--duration", "5", "--token", "secret"];
        let recording = ["record", &whep, to, "--duration", "2"];
        let (sent, ()) = tokio::join!(played(&playing), recorded(&recording));
        let sent = sent.unwrap();
        assert!(sent.sent > 60 && sent.refused == 0, "{name}: {sent:?}");
        let path_of = format!("/whep/{name}");
        let answer = server.http("POST", &path_of, &[("Content-Type", "application/sdp")], "v=0\r\n");
        assert_eq!(answer.await.status, 404, "{name}: the player has ended its session");
        let (originals, copies) = (hashes(&path(name)), hashes(&path(other)));
        assert_eq!(originals.len(), copies.len(), "{name}");
        for ((codec, original), (copied_codec, copy)) in originals.iter().zip(&copies) {
            assert_eq!(codec, copied_codec);
            assert!(copy.len() > 20, "{name}: {} of {codec}", copy.len());
            // It comes in somewhere, and the file goes round.
            let start = original
                .iter()
                .position(|hash| *hash == copy[0])
                .expect("a frame of the file");
            for (index, hash) in copy.iter().enumerate() {
                assert_eq!(
                    original[(start + index) % original.len()],
                    *hash,
                    "{name}: frame {index} of {codec}"
                );
            }
        }
    };
    let all = async {
        tokio::join!(
            one("a.ivf", "a2.ivf"),
            one("b.ogg", "b2.ogg"),
            one("c.webm", "c2.webm"),
            one("d.mp4", "d2.mp4")
        )
    };
    within("all four", all).await;
    server.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_is_said_clearly() {
    let folder = tempfile::tempdir().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let server = Running::start(&["--udp-port", "0", "--whip-token", "secret"]).await;
    let whip = format!("http://{}/whip", server.addr);
    let whep = format!("http://{}/whep", server.addr);
    std::fs::write(path("no.webm"), b"this is no film").unwrap();
    write(
        Path::new(&path("a.ivf")),
        vec![Track::video(Codec::Vp8, 640, 360)],
        pictures(0),
    );
    for (file, to, reason) in [
        ("there-is-none.webm", &whip, "cannot open the file"),
        ("no.webm", &whip, "cannot read the file"),
        ("a.ivf", &whip, "401 Unauthorized: a bearer token is needed"),
        ("a.ivf", &"ftp://x/".to_owned(), "http:// or https://"),
    ] {
        let error = played(&["play", &path(file), to]).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    for (from, file, reason) in [
        (
            format!("{whep}/nobody"),
            "x.webm",
            "404 Not Found: nobody publishes under this name now",
        ),
        (whep.clone(), "a.ivf", "--overwrite"),
        (whep.clone(), "x.txt", "extensions"),
    ] {
        let Command::Record(args) = args(&["record", &from, &path(file)]) else {
            panic!("record")
        };
        let error = record(*args).await.unwrap_err();
        assert!(error.to_string().contains(reason), "{error}");
    }
    assert!(!Path::new(&path("x.webm")).exists(), "who is refused leaves no file");
    server.stop().await;
}
