//! Files: bytes that are one or none, and samples that come back from what was written.

use std::io::Cursor;

use antiphon_container::{Codec, Format, MAX_SAMPLE_BYTES, Reader, Sample, Track, Writer, rtpdump};

/// Samples that are looked at of one file: tables may tell of more than a run has time for.
const MAX_SAMPLES: usize = 4096;

/// Any bytes: the first ones choose the format. What is read can be written as Matroska, or is refused.
pub(super) fn decode_container(data: &[u8]) {
    let Ok(mut reader) = Reader::new(Cursor::new(data)) else {
        return;
    };
    let tracks = reader.tracks().to_vec();
    let mut writer = Writer::new(Cursor::new(Vec::new()), Format::WebM, tracks.clone()).ok();
    for _ in 0..MAX_SAMPLES {
        let Ok(Some(sample)) = reader.next_sample() else { break };
        assert!(sample.track < tracks.len() && sample.data.len() <= MAX_SAMPLE_BYTES);
        if let Some(writer) = &mut writer {
            let _ = writer.write(&sample);
        }
    }
    if let Some(writer) = writer {
        writer.finish().expect("memory takes it");
    }
}

/// Any bytes as a file of rtpdump.
pub(super) fn decode_rtpdump(data: &[u8]) {
    let Ok(mut reader) = rtpdump::Reader::new(Cursor::new(data)) else {
        return;
    };
    while let Ok(Some(_)) = reader.next_packet() {}
}

/// First byte: the format. Then samples, each behind a byte whose lowest bit is the track, its second one the key frame, and the rest
/// its length. Tracks, number and bytes come back.
pub(super) fn roundtrip_container(data: &[u8]) {
    let Some((choice, mut rest)) = data.split_first() else {
        return;
    };
    let pictures = Track::video(Codec::Vp8, 640, 360);
    let sound = Track::audio(Codec::Opus, 48_000, 2);
    let (format, tracks) = match choice % 4 {
        0 => (Format::WebM, vec![pictures, sound]),
        1 => (Format::Mp4, vec![pictures, sound]),
        2 => (Format::Ivf, vec![pictures]),
        _ => (Format::Ogg, vec![sound]),
    };
    let mut writer = Writer::new(Cursor::new(Vec::new()), format, tracks.clone()).expect("it holds them");
    let (mut written, mut times) = (Vec::new(), [0, 0]);
    while let Some((head, behind)) = rest.split_first() {
        let (body, behind) = behind.split_at(usize::from(head >> 2).min(behind.len()));
        rest = behind;
        let track = usize::from(head & 1) % tracks.len();
        let is_video = tracks[track].is_video();
        let key_frame = !is_video || head & 2 != 0;
        // RFC 6386 §9.1: a key frame tells its size; RFC 6716 §3.1: 20 ms of CELT in one frame.
        let head: &[u8] = match (is_video, key_frame) {
            (true, true) => &[0x10, 0, 0, 0x9d, 1, 0x2a, 0x80, 2, 0x68, 1],
            (true, false) => &[0x11],
            (false, _) => &[0xf8],
        };
        let sample = Sample {
            track,
            time: times[track],
            duration: None,
            key_frame,
            data: [head, body].concat().into(),
        };
        times[track] += if is_video { 3000 } else { 960 };
        writer.write(&sample).expect("it is like others");
        written.push((track, sample.data));
    }
    let file = writer.finish().expect("memory takes it").into_inner();
    if written.is_empty() {
        return;
    }
    let mut reader = Reader::new(Cursor::new(file)).expect("it is what was written");
    let mut read = Vec::new();
    while let Some(sample) = reader.next_sample().expect("it is whole") {
        read.push((sample.track, sample.data));
    }
    // Tracks may be put in another order beside each other.
    for track in 0..tracks.len() {
        let of = |samples: &[(usize, bytes::Bytes)]| -> Vec<bytes::Bytes> {
            let own = samples.iter().filter(|(of, _)| *of == track);
            own.map(|(_, data)| data.clone()).collect()
        };
        assert_eq!(of(&read), of(&written), "{format:?}, track {track}");
    }
}
