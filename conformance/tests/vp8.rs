//! The VP8 streams of the captured sessions: out of SRTP, RED and RTX, put together into whole frames.

use std::fs;

use antiphon_conformance::capture;
use antiphon_conformance::media::Frame;
use antiphon_conformance::replay::Replay;
use antiphon_conformance::session::{End, Session};

/// The frame tag and, in a key frame, what follows it (RFC 6386 §9.1).
struct Tag {
    key_frame: bool,
    version: u8,
    shown: bool,
    first_partition: usize,
    size: Option<(u16, u16)>,
}

fn tag(frame: &[u8]) -> Option<Tag> {
    let bits = u32::from_le_bytes([*frame.first()?, *frame.get(1)?, *frame.get(2)?, 0]);
    let key_frame = bits & 1 == 0;
    let size = if key_frame {
        if frame.get(3..6)? != [0x9d, 0x01, 0x2a] {
            return None;
        }
        let at = |index: usize| Some(u16::from_le_bytes([*frame.get(index)?, *frame.get(index + 1)?]) & 0x3fff);
        Some((at(6)?, at(8)?))
    } else {
        None
    };
    Some(Tag {
        key_frame,
        version: (bits >> 1 & 7) as u8,
        shown: bits >> 4 & 1 == 1,
        first_partition: (bits >> 5) as usize,
        size,
    })
}

fn check(name: &str, frames: &[Frame]) -> usize {
    let mut keys = 0;
    for frame in frames {
        let tag = tag(&frame.data).unwrap_or_else(|| panic!("{name}: no frame tag in {:02x?}", &frame.data[..8]));
        assert_eq!(tag.key_frame, frame.key_frame, "{name}");
        assert!(tag.version <= 3 && tag.shown, "{name}");
        // A frame cut short or joined wrongly has a first partition that does not fit.
        let header = if tag.key_frame { 10 } else { 3 };
        assert!(
            header + tag.first_partition <= frame.data.len(),
            "{name}: {}",
            tag.first_partition
        );
        if let Some(size) = tag.size {
            // The browsers' fake camera, and what Chromium scales it to while it probes the path.
            assert!(
                size.0 * 3 == size.1 * 4 && (80..=640).contains(&size.0),
                "{name}: {size:?}"
            );
            keys += 1;
        }
    }
    assert!(
        frames
            .windows(2)
            .all(|pair| (pair[1].timestamp.wrapping_sub(pair[0].timestamp) as i32) > 0),
        "{name}"
    );
    keys
}

/// Frames that the browser at `end` counted as received.
fn frames_counted(folder: &std::path::Path, end: End) -> Option<u64> {
    let meta: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("meta.json")).unwrap()).unwrap();
    let inbound = meta[format!("{end:?}")]["inbound"].as_array()?;
    inbound.iter().find(|stream| stream["kind"] == "video")?["frames"].as_u64()
}

#[test]
fn captured_video_is_whole() {
    println!();
    let mut streams = 0;
    for folder in [
        "chromium-firefox-audio-video-data",
        "chromium-firefox-dtls12",
        "chromium-firefox-loss35-pli",
        "firefox-firefox-audio-video-data",
        "firefox-firefox-dtls12",
    ] {
        let folder = capture::fixtures().join("packets").join(folder);
        for file in Session::captures(&folder) {
            let session = Session::open(&file).unwrap();
            let name = &session.name;
            let replay = Replay::run(&session);
            for end in End::BOTH {
                for (ssrc, frames) in replay.media[end.index()].vp8_frames() {
                    let keys = check(name, &frames.frames);
                    let (whole, counted) = (frames.frames.len() as u64, frames_counted(&folder, end.other()));
                    println!(
                        "{name}: {end:?} sent {whole} frames as {ssrc:08x}, {keys} of them key frames, {} packets left over, \
                         {counted:?} counted by the browser",
                        frames.left_over
                    );
                    // B has lost the first of all frames, and asked for another key frame.
                    assert!(
                        keys > 0 && (frames.frames[0].key_frame || name.contains("seen by B")),
                        "{name}"
                    );
                    if !name.contains("loss") {
                        assert_eq!(frames.left_over, 0, "{name}");
                        // The statistics were read a little before the capture ended.
                        let counted = counted.unwrap();
                        assert!(counted <= whole && whole <= counted + 4, "{name}: {whole} {counted}");
                    }
                    streams += 1;
                }
            }
        }
    }
    assert_eq!(streams, 10);
}
