//! Video that browsers sent in captured sessions, decrypted and put together by our crates, written as IVF and read again.

use std::io::Cursor;

use antiphon_conformance::capture;
use antiphon_conformance::replay::Replay;
use antiphon_conformance::session::Session;
use antiphon_container::{Codec, Format, Sample, Track, Writer};

/// A frame and its time.
type Timed<'a> = (u64, &'a [u8]);

/// Times and frames of an IVF file, and the size in its header.
fn read(ivf: &[u8]) -> ((u16, u16), Vec<Timed<'_>>) {
    let half = |at: usize| u16::from_le_bytes([ivf[at], ivf[at + 1]]);
    assert_eq!((&ivf[..4], half(6), &ivf[8..12]), (&b"DKIF"[..], 32, &b"VP80"[..]));
    let length = u32::from_le_bytes(ivf[24..28].try_into().unwrap());
    let (mut rest, mut frames) = (&ivf[32..], Vec::new());
    while let Some((head, tail)) = rest.split_first_chunk::<12>() {
        let (length, time) = head.split_at(4);
        let length = u32::from_le_bytes(length.try_into().unwrap()) as usize;
        frames.push((u64::from_le_bytes(time.try_into().unwrap()), &tail[..length]));
        rest = &tail[length..];
    }
    assert!(rest.is_empty());
    // The last frame begins before the end, and the end is one mean step later.
    let last = frames.last().expect("a file has frames").0;
    let steps = (frames.len() - 1).max(1) as u64;
    assert_eq!(u64::from(length), last + last / steps);
    ((half(12), half(14)), frames)
}

#[test]
fn captured_video_becomes_ivf() {
    let mut files = 0;
    for name in [
        "firefox-firefox-dtls12",
        "firefox-firefox-audio-video-data",
        "chromium-firefox-audio-video-data",
    ] {
        let session = Session::open(&capture::fixtures().join("packets").join(name).join("session.pcap")).unwrap();
        let replay = Replay::run(&session);
        for frames in replay.media.iter().flat_map(|media| media.vp8_frames().into_values()) {
            let first = &frames.frames[0];
            let track = Track::of_key_frame(Codec::Vp8, &first.data).expect("it begins with a key frame");
            let mut writer = Writer::new(Cursor::new(Vec::new()), Format::Ivf, vec![track]).unwrap();
            for frame in &frames.frames {
                let sample = Sample {
                    track: 0,
                    time: frame.timestamp.wrapping_sub(first.timestamp).into(),
                    duration: None,
                    key_frame: frame.key_frame,
                    data: frame.data.clone().into(),
                };
                writer.write(&sample).unwrap();
            }
            let ivf = writer.finish().unwrap().into_inner();
            let ((width, height), read) = read(&ivf);
            println!("{name}: {} frames of {width}x{height}, {} bytes", read.len(), ivf.len());
            assert_eq!(
                (u32::from(width) * 3, read.len()),
                (u32::from(height) * 4, frames.frames.len())
            );
            let first = frames.frames[0].timestamp;
            for ((time, bytes), frame) in read.into_iter().zip(&frames.frames) {
                assert_eq!(
                    (time, bytes),
                    (u64::from(frame.timestamp.wrapping_sub(first)), &frame.data[..])
                );
            }
            files += 1;
        }
    }
    assert_eq!(files, 6);
}
