//! Whole sessions of Chromium through the assembler: as many frames and key frames as its statistics counted.

mod common;

use std::path::Path;
use std::time::Duration;

use antiphon_media::extension::Map;
use antiphon_media::{Codec, Config, Event, Frame, Kind, Session};
use antiphon_rtp::packet::{Packet, is_rtcp};
use antiphon_sansio::{BytesMut, ClockAnchor, Rng};
use common::*;

/// The UDP payloads of a little-endian pcapng file of IPv4 without options.
fn pcapng(file: &[u8]) -> Vec<Vec<u8>> {
    let mut packets = Vec::new();
    let mut rest = file;
    while rest.len() >= 12 {
        let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        if word(0) == 6 {
            let udp = &rest[28 + 14 + 20..28 + word(20) as usize];
            let len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
            packets.push(udp[8..len].to_vec());
        }
        rest = &rest[word(4) as usize..];
    }
    packets
}

/// The frames of the video in a captured session, whose payload types are those.
fn frames(session: &str, name: &str, payload_type: u8, rtx: u8) -> Vec<Frame> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../conformance/fixtures/frames")
        .join(session);
    let sdp = std::fs::read_to_string(folder.join("01-A-chromium-offer.sdp")).unwrap();
    let mut extensions = Map::default();
    for line in sdp.lines().filter_map(|line| line.strip_prefix("a=extmap:")) {
        let (id, uri) = line.split_once(' ').unwrap();
        extensions.insert_uri(id.parse().unwrap(), uri);
    }
    let codec = Codec {
        payload_type,
        name: name.into(),
        rtx_payload_type: Some(rtx),
        ..vp8(true, true)
    };
    let mut config = receiver("0", Kind::Video, codec, vec![]);
    config.extensions = extensions;
    let mut now = start();
    let anchor = ClockAnchor::new(now, Duration::from_secs(1_790_000_000));
    let mut media = Session::new(Config::default(), now, anchor, Rng::from_u64(1));
    media.add_receiver(config).unwrap();
    let mut frames = Vec::new();
    for bytes in pcapng(&std::fs::read(folder.join("plain-A-rtp.pcapng")).unwrap()) {
        if is_rtcp(&bytes) || Packet::parse(&bytes).is_err() {
            continue;
        }
        now += 3 * MS;
        media.handle_rtp(now, arrived(BytesMut::from(&bytes[..])));
        media.handle_timeout(now);
        while let Some(event) = media.poll_event() {
            if let Event::Frame {
                frame, discontinuity, ..
            } = event
            {
                assert!(!discontinuity);
                frames.push(frame);
            }
        }
    }
    assert_eq!(media.stats().dropped.malformed_payload, 0);
    assert!(
        frames
            .windows(2)
            .all(|pair| pair[1].timestamp.wrapping_sub(pair[0].timestamp) < 1 << 31)
    );
    frames
}

fn sizes(frames: &[Frame]) -> Vec<(u32, u32)> {
    let keys = frames.iter().filter(|frame| frame.key_frame);
    keys.map(|frame| frame.facts.resolution.map_or((0, 0), |size| (size.width, size.height)))
        .collect()
}

// The counts are those of stats.json beside each capture: framesReceived and keyFramesDecoded of the receiver.

#[test]
fn av1_of_chromium() {
    let frames = frames("chromium-chromium-av1", "AV1", 45, 46);
    assert_eq!((frames.len(), sizes(&frames)), (65, vec![(320, 240)]));
}

#[test]
fn av1_with_two_spatial_layers_of_chromium() {
    let frames = frames("chromium-chromium-av1-svc-L2T2", "AV1", 45, 46);
    // 164 layer frames were encoded: a frame is the whole picture.
    assert_eq!((frames.len(), sizes(&frames)), (82, vec![(640, 360)]));
    assert!(frames.iter().all(|frame| frame.facts.spatial == 1));
    let upper = frames.iter().filter(|frame| frame.facts.temporal == 1).count();
    assert!((38..=42).contains(&upper), "every second picture: {upper}");
}

#[test]
fn vp9_of_chromium() {
    let frames = frames("chromium-chromium-vp9", "VP9", 98, 99);
    assert_eq!((frames.len(), sizes(&frames)), (65, vec![(320, 240)]));
    let ids: Vec<_> = frames.iter().map(|frame| frame.facts.picture_id.unwrap()).collect();
    assert!(ids.windows(2).all(|pair| pair[1] == pair[0] + 1));
}
