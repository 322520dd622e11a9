//! Lost packets that come back without being asked for: RED (RFC 2198), ULPFEC in it (RFC 5109), and FlexFEC beside the stream.

mod common;

use std::time::{Duration, Instant};

use antiphon_media::extension::{Map, Values};
use antiphon_media::{Codec, Config, Event, Feedback, Kind, Output, ReceiverConfig, ReceiverId, RemoteSource, Session};
use antiphon_rtp::fec::{Encoder, Format, Plan};
use antiphon_rtp::packet::Header;
use antiphon_rtp::payload::red;
use antiphon_sansio::{BytesMut, ClockAnchor, Rng, Writer};
use common::*;

const SSRC: u32 = 5;
const FEC_SSRC: u32 = 6;
const RED: u8 = 63;

fn codec(payload_type: u8, name: &str, clock_rate: u32) -> Codec {
    Codec {
        payload_type,
        name: name.into(),
        clock_rate,
        channels: 1,
        fmtp: String::new(),
        rtx_payload_type: None,
        feedback: Feedback::default(),
    }
}

struct Bench {
    now: Instant,
    session: Session,
    receiver: ReceiverId,
}

impl Bench {
    fn new(kind: Kind, codecs: Vec<Codec>, fec_ssrc: Option<u32>, output: Output) -> Self {
        let now = start();
        let anchor = ClockAnchor::new(now, Duration::from_secs(1));
        let mut session = Session::new(Config::default(), now, anchor, Rng::from_u64(1));
        let config = ReceiverConfig {
            mid: "m".into(),
            kind,
            codecs,
            extensions: extensions(),
            sources: vec![RemoteSource {
                ssrc: SSRC,
                rtx_ssrc: None,
                fec_ssrc,
                layer: None,
            }],
            rids: vec![],
            output,
            jitter_buffer_target: None,
            sync_group: None,
        };
        let receiver = session.add_receiver(config).unwrap();
        Self { now, session, receiver }
    }

    fn arrive(&mut self, packet: &[u8]) {
        self.now += Duration::from_millis(1);
        self.session.handle_rtp(self.now, arrived(BytesMut::from(packet)));
    }

    /// Numbers and payloads of what came out as packets.
    fn packets(&mut self) -> Vec<(u16, Vec<u8>)> {
        let events = std::iter::from_fn(|| self.session.poll_event());
        events
            .filter_map(|event| match event {
                Event::Packet { packet, .. } if !packet.payload.is_empty() => {
                    Some((packet.sequence as u16, packet.payload.to_vec()))
                }
                _ => None,
            })
            .collect()
    }

    /// Payloads of whole frames, in order.
    fn frames(&mut self) -> Vec<Vec<u8>> {
        let events = std::iter::from_fn(|| self.session.poll_event());
        events
            .filter_map(|event| match event {
                Event::Frame { receiver, frame, .. } => {
                    assert_eq!(receiver, self.receiver);
                    Some(frame.data.to_vec())
                }
                _ => None,
            })
            .collect()
    }
}

fn packet(ssrc: u32, payload_type: u8, sequence: u16, timestamp: u32, payload: &[u8]) -> Vec<u8> {
    let mut buffer = [0; 1500];
    let mut out = Writer::new(&mut buffer);
    let header = Header {
        marker: true,
        payload_type,
        sequence,
        timestamp,
        ssrc,
    };
    header.write(&[], &Values::default(), &extensions(), &mut out).unwrap();
    out.put_slice(payload).unwrap();
    out.finish().to_vec()
}

/// RED of Opus: each packet repeats so many before it.
fn sound(distance: u8, count: u16) -> Vec<Vec<u8>> {
    let mut encoder = red::Encoder::new(distance);
    (0..count)
        .map(|n| {
            let mut buffer = [0; 500];
            let mut out = Writer::new(&mut buffer);
            let timestamp = 960 * u32::from(n);
            encoder.encode(111, timestamp, &[n as u8; 20], &mut out).unwrap();
            packet(SSRC, RED, 100 + n, timestamp, out.finish())
        })
        .collect()
}

fn opus() -> Vec<Codec> {
    vec![codec(RED, "red", 48_000), codec(111, "opus", 48_000)]
}

#[test]
fn what_red_repeats_becomes_frames_in_order() {
    let mut bench = Bench::new(Kind::Audio, opus(), None, Output::Frames);
    let lost = |n: usize| [3, 7, 8, 12, 13, 14].contains(&n);
    for (n, packet) in sound(2, 20).iter().enumerate() {
        if !lost(n) {
            bench.arrive(packet);
        }
    }
    bench.now += Duration::from_secs(1);
    bench.session.handle_timeout(bench.now);
    let frames = bench.frames();
    // Of three in a row two come back.
    let expected: Vec<Vec<u8>> = (0..20).filter(|n| *n != 12).map(|n| vec![n; 20]).collect();
    assert_eq!(frames, expected);
    let stats = bench.session.stats();
    let inbound = &stats.inbound[0];
    assert_eq!((inbound.packets_received, inbound.packets_lost), (14, 6));
    assert_eq!(inbound.codec.as_ref().unwrap().mime_type, "audio/opus");
    let repaired = inbound.repaired;
    assert_eq!(repaired.packets_recovered, 5);
    // Each packet but the first two repeats two.
    assert_eq!(repaired.fec_packets_received, 14 * 2 - 3);
    assert_eq!(repaired.fec_packets_discarded, repaired.fec_packets_received - 5);
    assert_eq!(stats.dropped.duplicate, 0);
}

#[test]
fn padding_between_a_payload_and_its_repetition_makes_no_frame_twice() {
    let mut bench = Bench::new(Kind::Audio, opus(), None, Output::Packets);
    let packets = sound(1, 3);
    // 100 has come; 101 is padding and lost; what was 101 is 102, and repeats what 100 brought.
    bench.arrive(&packets[0]);
    let mut late = packets[1].clone();
    late[3] += 1;
    bench.arrive(&late);
    assert_eq!(bench.packets(), [(100, vec![0; 20]), (102, vec![1; 20])]);
}

/// Frames of VP8 of one packet each.
fn picture(n: u8) -> Vec<u8> {
    // The descriptor (start of a partition), a key frame's first byte, what stands for the rest.
    let mut payload = vec![0x10, 0x00, 0x00, 0x00, 0x9d, 0x01, 0x2a, 64, 0, 64, 0];
    payload.resize(20 + usize::from(n) * 3, n);
    payload
}

#[test]
fn flexfec_brings_packets_back_and_counts_them_nowhere_else() {
    for (format, number) in [(Format::FlexFec03, 49), (Format::FlexFec, 50)] {
        let codecs = vec![codec(96, "VP8", 90_000), codec(number, format.name(), 90_000)];
        // Announced, or found by its payload type alone.
        for announced in [Some(FEC_SSRC), None] {
            let mut bench = Bench::new(Kind::Video, codecs.clone(), announced, Output::Packets);
            let mut encoder = Encoder::new(format, SSRC, Plan::new(4, 2));
            let mut repairs = 0;
            for n in 0..8u8 {
                let packet = packet(SSRC, 96, 200 + u16::from(n), 3000 * u32::from(n), &picture(n));
                encoder.protect(&packet, &Map::default());
                if ![2, 5, 6].contains(&n) {
                    bench.arrive(&packet);
                }
                let mut buffer = [0; 500];
                let mut out = Writer::new(&mut buffer);
                while encoder.write(&mut out) {
                    let mut whole = Vec::new();
                    // RFC 8627 §4.2.1: who is protected stands in the CSRC list.
                    let csrcs: &[u32] = if format == Format::FlexFec { &[SSRC] } else { &[] };
                    let mut head = [0; 64];
                    let mut header = Writer::new(&mut head);
                    Header {
                        marker: false,
                        payload_type: number,
                        sequence: repairs,
                        timestamp: 0,
                        ssrc: FEC_SSRC,
                    }
                    .write(csrcs, &Values::default(), &extensions(), &mut header)
                    .unwrap();
                    whole.extend_from_slice(header.finish());
                    whole.extend_from_slice(out.written_mut());
                    bench.arrive(&whole);
                    out.truncate(0);
                    repairs += 1;
                }
            }
            let mut packets = bench.packets();
            packets.sort();
            let expected: Vec<_> = (0..8u8).map(|n| (200 + u16::from(n), picture(n))).collect();
            assert_eq!(packets, expected, "{format:?} {announced:?}");
            let stats = bench.session.stats();
            assert_eq!(stats.inbound.len(), 1);
            let inbound = &stats.inbound[0];
            assert_eq!((inbound.packets_received, inbound.packets_lost), (5, 3));
            let repaired = inbound.repaired;
            assert_eq!((repaired.packets_recovered, repaired.fec_packets_received), (3, 4));
            assert_eq!(repaired.fec_packets_discarded, 1);
            assert_eq!(stats.dropped, Default::default());
        }
    }
}

#[test]
fn ulpfec_in_red_brings_packets_back() {
    let (red_type, ulpfec) = (118, 120);
    let codecs = vec![
        codec(96, "VP8", 90_000),
        codec(red_type, "red", 90_000),
        codec(ulpfec, "ulpfec", 90_000),
    ];
    let mut bench = Bench::new(Kind::Video, codecs, None, Output::Packets);
    let mut encoder = Encoder::new(Format::Ulpfec, SSRC, Plan::new(3, 1));
    let mut sequence = 300;
    let mut sent = Vec::new();
    for n in 0..6u8 {
        let timestamp = 3000 * u32::from(n);
        encoder.protect(&packet(SSRC, 96, sequence, timestamp, &picture(n)), &Map::default());
        let wrapped = [&[96][..], &picture(n)].concat();
        sent.push((sequence, picture(n)));
        if n != 1 && n != 5 {
            bench.arrive(&packet(SSRC, red_type, sequence, timestamp, &wrapped));
        }
        sequence += 1;
        let mut buffer = [0; 500];
        let mut out = Writer::new(&mut buffer);
        while encoder.write(&mut out) {
            let wrapped = [&[ulpfec][..], out.written_mut()].concat();
            bench.arrive(&packet(SSRC, red_type, sequence, timestamp, &wrapped));
            out.truncate(0);
            sequence += 1;
        }
    }
    let mut packets = bench.packets();
    packets.sort();
    assert_eq!(packets, sent);
    let stats = bench.session.stats();
    let repaired = stats.inbound[0].repaired;
    assert_eq!((repaired.packets_recovered, repaired.fec_packets_received), (2, 2));
    assert_eq!(stats.dropped, Default::default());
}

#[test]
fn v8_bad_red_and_bad_repairs_are_counted() {
    let codecs = vec![
        codec(96, "VP8", 90_000),
        codec(118, "red", 90_000),
        codec(120, "ulpfec", 90_000),
    ];
    let mut bench = Bench::new(Kind::Video, codecs, None, Output::Packets);
    // RED cut off, RED of what was not negotiated, RED in RED, a repair of nonsense.
    for (n, payload) in [&[0x80u8, 1][..], &[99, 1, 2], &[118, 96, 1], &[120, 0xff]]
        .into_iter()
        .enumerate()
    {
        bench.arrive(&packet(SSRC, 118, n as u16, 0, payload));
    }
    assert!(bench.packets().is_empty());
    let dropped = bench.session.stats().dropped;
    assert_eq!((dropped.malformed_payload, dropped.unrouted), (2, 2));
}
