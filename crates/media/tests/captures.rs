//! A real Chromium's packets through a session: the excerpt that `antiphon-rtp` keeps.

mod common;

use std::time::Duration;

use antiphon_media::extension::Map;
use antiphon_media::{Config, Event, Outgoing, PacketKind, Session};
use antiphon_rtp::bitstream::vp8;
use antiphon_rtp::rtcp;
use antiphon_sansio::{BytesMut, ClockAnchor, Rng, TransmitBuf};
use common::*;

const EXCERPT: &str = include_str!("../../rtp/tests/fixtures/chromium-video.txt");

/// The packets that the browser sent: the media went one way.
fn packets() -> impl Iterator<Item = BytesMut> {
    EXCERPT.lines().filter_map(move |line| {
        let hex = line.strip_prefix("> ")?;
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        Some((0..hex.len()).step_by(2).map(byte).collect())
    })
}

fn extensions_of_chromium() -> Map {
    let mut map = Map::default();
    for line in EXCERPT.lines().filter_map(|line| line.strip_prefix("a=extmap:")) {
        let (id, uri) = line.split_once(' ').unwrap();
        map.insert_uri(id.parse().unwrap(), uri);
    }
    map
}

#[test]
fn chromium_video_becomes_frames_reports_and_feedback() {
    let mut now = start();
    let anchor = ClockAnchor::new(now, Duration::from_secs(1_790_000_000));
    let mut session = Session::new(Config::default(), now, anchor, Rng::from_u64(1));
    // The section's MID stands in the packets; nothing else is announced.
    let mid = packets().find_map(|bytes| {
        let packet = antiphon_rtp::packet::Packet::parse(&bytes).ok()?;
        packet.values(&extensions_of_chromium()).mid.map(<[u8]>::to_vec)
    });
    let mut config = receiver(
        &String::from_utf8(mid.unwrap()).unwrap(),
        antiphon_media::Kind::Video,
        vp8(true, true),
        vec![],
    );
    config.extensions = extensions_of_chromium();
    session.add_receiver(config).unwrap();

    let mut feedback = 0;
    let mut out = TransmitBuf::new(64 * 1024, 1200);
    for bytes in packets() {
        now += 3 * MS;
        if antiphon_rtp::packet::is_rtcp(&bytes) {
            session.handle_rtcp(now, arrived(bytes));
        } else {
            session.handle_rtp(now, arrived(bytes));
        }
        session.handle_timeout(now);
        out.clear();
        while let Some(Outgoing { kind, .. }) = session.poll_transmit(now, &mut out) {
            assert_eq!(kind, PacketKind::Rtcp);
            let range = out.finish();
            for packet in rtcp::packets(out.bytes(range)) {
                match packet.unwrap() {
                    rtcp::Packet::TransportFeedback(told) => {
                        feedback += told.statuses().filter(|status| status.delta.is_some()).count();
                    }
                    rtcp::Packet::ReceiverReport(_) | rtcp::Packet::Sdes(_) => {}
                    other => panic!("nothing to ask for: {other:?}"),
                }
            }
        }
    }
    let events: Vec<_> = std::iter::from_fn(|| session.poll_event()).collect();
    let frames: Vec<_> = events
        .iter()
        .filter_map(|event| match event {
            Event::Frame {
                frame, discontinuity, ..
            } => Some((frame, *discontinuity)),
            _ => None,
        })
        .collect();
    let stats = session.stats();
    assert!(frames.len() >= 5, "{} frames, {stats:?}", frames.len());
    assert!(frames[0].0.key_frame && frames.iter().all(|(_, gap)| !gap));
    let size = vp8::resolution(&frames[0].0.data).map(|size| (size.width, size.height));
    assert_eq!(size, Some((320, 240)));
    assert_eq!(stats.inbound[0].packets_lost, 0);
    assert!(feedback > 20, "{feedback}");
    // Its probes: padding before the first picture, then old packets sent again.
    assert_eq!((stats.dropped.unrouted, stats.dropped.duplicate), (0, 4));
}
