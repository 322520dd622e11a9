//! RTP and RTCP: headers with four extensions, a compound of four packets, frames of 50 kB into payloads and back.
//!
//! All read or write the same facts: the fields of the header, the four extensions, the payload. What a contender has read is looked at
//! where it lies: to move it elsewhere is no part of the work.

use std::hint::black_box;

use antiphon_bench_peers::{Contender, compare};
use antiphon_rtp::extension::{AudioLevel, Map, Values};
use antiphon_rtp::packet::{Header, Packet, Template};
use antiphon_rtp::payload::{Depacketizer, Joiner, Packetizer};
use antiphon_rtp::rtcp;
use antiphon_sansio::Writer;
use bytes::{Bytes, BytesMut};
use criterion::{Criterion, criterion_group, criterion_main};

const ROUND: usize = 500;
/// The size of the frames, in bytes.
const FRAME: usize = 50_000;
/// Bytes of payload in a packet.
const MAX_PAYLOAD: usize = 1156;
/// MID, abs-send-time, transport-wide sequence number, audio level.
const URIS: [&str; 4] = [
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time",
    "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    "urn:ietf:params:rtp-hdrext:ssrc-audio-level",
];
const PAYLOAD: [u8; 1200] = [9; 1200];

fn map() -> Map {
    let mut map = Map::default();
    for (id, uri) in (1..).zip(URIS) {
        assert!(map.insert_uri(id, uri));
    }
    map
}

fn header() -> Header {
    Header {
        marker: true,
        payload_type: 96,
        sequence: 7,
        timestamp: 90_000,
        ssrc: 0x1234,
    }
}

fn values() -> Values<'static> {
    Values {
        mid: Some(b"0"),
        abs_send_time: Some(0x0012_3456),
        transport_sequence: Some(77),
        audio_level: Some(AudioLevel {
            below_overload: 30,
            voice: true,
        }),
        ..Values::default()
    }
}

/// The packet of these benches.
fn written() -> Vec<u8> {
    let mut buffer = [0; 1500];
    let mut out = Writer::new(&mut buffer);
    header().write(&[], &values(), &map(), &mut out).unwrap();
    out.put_slice(&PAYLOAD).unwrap();
    out.finish().to_vec()
}

fn write(c: &mut Criterion) {
    let (header, map, packet) = (header(), map(), written());
    let mut template = Template::new(&values(), &map);
    let (mut buffer, mut with_template, mut other) = ([0; 1500], [0; 1500], [0; 1500]);
    // Theirs is an element that somebody has written before.
    let extension = packet[16..packet.len() - PAYLOAD.len()].to_vec();
    let read: rtc_rtp::packet::Packet =
        rtc_shared::marshal::Unmarshal::unmarshal(&mut Bytes::from(packet.clone())).unwrap();
    let read_too: rtp::packet::Packet =
        webrtc_util::marshal::Unmarshal::unmarshal(&mut Bytes::from(packet.clone())).unwrap();
    let (mut out, mut out_too) = ([0; 1500], [0; 1500]);
    let contenders = vec![
        Contender::timed("antiphon-rtp, typed", || {
            for _ in 0..ROUND {
                let mut out = Writer::new(&mut buffer);
                header.write(&[], black_box(&values()), &map, &mut out).unwrap();
                out.put_slice(&PAYLOAD).unwrap();
                black_box(out.len());
            }
        }),
        Contender::timed("antiphon-rtp, typed, as a session writes it", || {
            for number in 0..ROUND {
                let written = template.fill(black_box(&header), number as u16, 0x0012_3456);
                let mut out = Writer::new(&mut with_template);
                out.put_slice(written).unwrap();
                out.put_slice(&PAYLOAD).unwrap();
                black_box(out.len());
            }
        }),
        Contender::timed("rtp-types, extensions are bytes", || {
            for _ in 0..ROUND {
                let packet = rtp_types::RtpPacketBuilder::<&[u8], &[u8]>::new()
                    .marker_bit(true)
                    .payload_type(96)
                    .sequence_number(7)
                    .timestamp(90_000)
                    .ssrc(0x1234)
                    .extension(0xbede, black_box(&extension))
                    .payload(&PAYLOAD);
                black_box(packet.write_into(&mut other).unwrap());
            }
        }),
        Contender::timed("rtc-rtp, extensions are bytes", || {
            for _ in 0..ROUND {
                let mut out = &mut out[..];
                black_box(rtc_shared::marshal::Marshal::marshal_to(black_box(&read), &mut out).unwrap());
            }
        }),
        Contender::timed("rtp, extensions are bytes", || {
            for _ in 0..ROUND {
                let mut out = &mut out_too[..];
                black_box(webrtc_util::marshal::Marshal::marshal_to(black_box(&read_too), &mut out).unwrap());
            }
        }),
    ];
    compare(
        c,
        "rtp/write a packet of 1200 bytes with 4 extensions",
        ROUND as u64,
        0,
        401,
        contenders,
    );
}

fn parse(c: &mut Criterion) {
    let (map, packet) = (map(), written());
    let bytes = Bytes::from(packet.clone());
    let mut str0m_map = str0m::rtp::ExtensionMap::empty();
    let extensions = {
        use str0m::rtp::Extension::{AbsoluteSendTime, AudioLevel, RtpMid, TransportSequenceNumber};
        [RtpMid, AbsoluteSendTime, TransportSequenceNumber, AudioLevel]
    };
    for (id, extension) in (1..).zip(extensions) {
        str0m_map.set(id, extension);
    }
    let contenders = vec![
        Contender::timed("antiphon-rtp, typed", || {
            for _ in 0..ROUND {
                let packet = Packet::parse(black_box(&packet)).unwrap();
                let mut values = Values::default();
                packet.read_values(&map, &mut values);
                black_box(&packet.header);
                black_box(&values);
                black_box(packet.payload());
            }
        }),
        Contender::timed("antiphon-rtp, extensions stay bytes", || {
            for _ in 0..ROUND {
                let packet = Packet::parse(black_box(&packet)).unwrap();
                black_box(&packet.header);
                black_box(&packet.elements());
                black_box(packet.payload());
            }
        }),
        Contender::timed("rtp-types, extensions stay bytes", || {
            for _ in 0..ROUND {
                let packet = rtp_types::RtpPacket::parse(black_box(&packet)).unwrap();
                let (marker, payload_type) = (packet.marker_bit(), packet.payload_type());
                black_box((
                    marker,
                    payload_type,
                    packet.sequence_number(),
                    packet.timestamp(),
                    packet.ssrc(),
                ));
                black_box(packet.extension());
                black_box(packet.payload());
            }
        }),
        Contender::timed("str0m, typed", || {
            for _ in 0..ROUND {
                let header = str0m::rtp::RtpHeader::_parse(black_box(&packet), &str0m_map).unwrap();
                black_box(&packet[header.header_len..]);
                black_box(&header);
            }
        }),
        Contender::timed("rtc-rtp, extensions stay bytes", || {
            for _ in 0..ROUND {
                let packet: rtc_rtp::packet::Packet =
                    rtc_shared::marshal::Unmarshal::unmarshal(&mut bytes.clone()).unwrap();
                black_box(&packet);
            }
        }),
        Contender::timed("rtp, extensions stay bytes", || {
            for _ in 0..ROUND {
                let packet: rtp::packet::Packet =
                    webrtc_util::marshal::Unmarshal::unmarshal(&mut bytes.clone()).unwrap();
                black_box(&packet);
            }
        }),
    ];
    compare(
        c,
        "rtp/parse a packet of 1200 bytes with 4 extensions",
        ROUND as u64,
        0,
        401,
        contenders,
    );
}

/// A receiver report, a name, a NACK and a REMB.
fn compound(c: &mut Criterion) {
    let mut buffer = [0; 256];
    let mut out = Writer::new(&mut buffer);
    let block = rtcp::ReportBlock {
        ssrc: 2,
        fraction_lost: 3,
        cumulative_lost: 40,
        highest_sequence: 50_000,
        jitter: 60,
        last_sr: 0x1234_5678,
        delay_since_last_sr: 70,
    };
    rtcp::write_receiver_report(1, &[block], &mut out).unwrap();
    rtcp::write_cname(&[1], b"somebody@example", &mut out).unwrap();
    rtcp::write_nack(1, 2, rtcp::nack_pairs([7, 8, 40]), &mut out).unwrap();
    rtcp::write_remb(1, 1_000_000, &[2], &mut out).unwrap();
    let compound = out.finish().to_vec();
    let bytes = Bytes::from(compound.clone());
    let contenders = vec![
        Contender::timed("antiphon-rtp", || {
            for _ in 0..ROUND {
                for packet in rtcp::packets(black_box(&compound)) {
                    black_box(&packet.unwrap());
                }
            }
        }),
        Contender::timed("rtcp-types", || {
            for _ in 0..ROUND {
                for packet in rtcp_types::Compound::parse(black_box(&compound)).unwrap() {
                    black_box(&packet.unwrap());
                }
            }
        }),
        Contender::timed("rtc-rtcp", || {
            for _ in 0..ROUND {
                black_box(&rtc_rtcp::packet::unmarshal(&mut bytes.clone()).unwrap());
            }
        }),
        Contender::timed("rtcp", || {
            for _ in 0..ROUND {
                black_box(&::rtcp::packet::unmarshal(&mut bytes.clone()).unwrap());
            }
        }),
    ];
    let name = format!("rtcp/parse a compound of four packets, {} bytes", compound.len());
    compare(c, &name, ROUND as u64, 0, 401, contenders);
}

/// Key frames of so many bytes, as encoders make them.
fn frame(codec: &str) -> Vec<u8> {
    let start = match codec {
        // RFC 6386 §9.1: a key frame of 640x360.
        "VP8" => vec![0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x01],
        // Two parameter sets and an IDR slice.
        "H264" => {
            let mut units = vec![0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1f, 0x8c, 0x8d, 0x40];
            units.extend([0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80, 0, 0, 0, 1, 0x65]);
            units
        }
        // A temporal delimiter, a sequence header of 10 bytes, a frame whose length follows.
        "AV1" => {
            let mut units = vec![0x12, 0, 0x0a, 10, 0, 0, 0, 0x24, 0xf8, 0xff, 0xff, 0xff, 0xf0, 0x08];
            let len = FRAME - units.len() - 4;
            units.push(0x32);
            units.extend([len as u8 | 0x80, (len >> 7) as u8 | 0x80, (len >> 14) as u8]);
            units
        }
        _ => Vec::new(),
    };
    let mut frame = start;
    frame.resize(FRAME, 0x55);
    frame
}

fn packetise(c: &mut Criterion) {
    for codec in ["VP8", "H264", "AV1"] {
        let frame = frame(codec);
        let bytes = Bytes::from(frame.clone());
        let mut packetizer = Packetizer::new(codec, "packetization-mode=1", 77).expect("it is known");
        let mut cuts = Vec::new();
        let mut out = BytesMut::with_capacity(2 * FRAME);
        let theirs = |payloader: Box<dyn rtc_rtp::packetizer::Payloader>| {
            let (mut payloader, bytes) = (payloader, bytes.clone());
            Contender::timed("rtc-rtp", move || {
                black_box(payloader.payload(MAX_PAYLOAD, black_box(&bytes)).unwrap());
            })
        };
        let theirs_too = |payloader: Box<dyn rtp::packetizer::Payloader>| {
            let (mut payloader, bytes) = (payloader, bytes.clone());
            Contender::timed("rtp", move || {
                black_box(payloader.payload(MAX_PAYLOAD, black_box(&bytes)).unwrap());
            })
        };
        let contenders = vec![
            Contender::timed("antiphon-rtp, into a buffer", || {
                out.clear();
                packetizer
                    .packetize(black_box(&frame), MAX_PAYLOAD, &mut cuts)
                    .expect("a frame");
                for cut in &cuts {
                    cut.layout.write(&frame, |part| out.extend_from_slice(part));
                }
                packetizer.advance();
                black_box(&out);
            }),
            match codec {
                "VP8" => theirs(Box::<rtc_rtp::codec::vp8::Vp8Payloader>::default()),
                "H264" => theirs(Box::<rtc_rtp::codec::h264::H264Payloader>::default()),
                _ => theirs(Box::<rtc_rtp::codec::av1::Av1Payloader>::default()),
            },
            match codec {
                "VP8" => theirs_too(Box::<rtp::codecs::vp8::Vp8Payloader>::default()),
                "H264" => theirs_too(Box::<rtp::codecs::h264::H264Payloader>::default()),
                _ => theirs_too(Box::<rtp::codecs::av1::Av1Payloader>::default()),
            },
        ];
        let name = format!("rtp/packetise a frame of 50 kB of {codec}");
        compare(c, &name, 1, FRAME as u64, 401, contenders);
    }
}

/// Payloads of one frame, in order, into the frame in one buffer. Those that hand out slices or pieces append them there, as their
/// callers do.
fn depacketise(c: &mut Criterion) {
    for codec in ["VP8", "H264", "AV1"] {
        let frame = frame(codec);
        let packetizer = Packetizer::new(codec, "packetization-mode=1", 77).expect("it is known");
        let mut cuts = Vec::new();
        packetizer.packetize(&frame, MAX_PAYLOAD, &mut cuts).expect("a frame");
        let payload = |cut: &antiphon_rtp::payload::Cut| {
            let mut payload = Vec::new();
            cut.layout.write(&frame, |part| payload.extend_from_slice(part));
            Bytes::from(payload)
        };
        let payloads: Vec<Bytes> = cuts.iter().map(payload).collect();
        let last = payloads.len() - 1;
        let depacketizer = Depacketizer::new(codec);
        let mut joiner = Joiner::new(depacketizer, "");
        let mut out = Vec::with_capacity(2 * FRAME);
        let mut contenders = vec![Contender::timed("antiphon-rtp", || {
            out.clear();
            // What a receiver asks of each packet as it comes, and then the frame.
            for (index, payload) in payloads.iter().enumerate() {
                black_box(
                    depacketizer
                        .depacketize(black_box(payload), index == last)
                        .expect("ours"),
                );
            }
            let all = payloads.iter().map(|payload| &payload[..]);
            black_box(joiner.join(all, &mut out).expect("ours"));
            black_box(&out);
        })];
        if let Some(mut theirs) = of_str0m(codec) {
            let mut out = Vec::with_capacity(2 * FRAME);
            let payloads = payloads.clone();
            contenders.push(Contender::timed("str0m", move || {
                out.clear();
                let mut extra = str0m::format::CodecExtra::None;
                for payload in &payloads {
                    theirs.depacketize(black_box(payload), &mut out, &mut extra).unwrap();
                }
                black_box((&out, &extra));
            }));
        }
        let mut theirs: Box<dyn rtc_rtp::packetizer::Depacketizer> = match codec {
            "VP8" => Box::<rtc_rtp::codec::vp8::Vp8Packet>::default(),
            "H264" => Box::<rtc_rtp::codec::h264::H264Packet>::default(),
            _ => Box::<rtc_rtp::codec::av1::Av1Depacketizer>::default(),
        };
        {
            let mut out = Vec::with_capacity(2 * FRAME);
            let payloads = payloads.clone();
            contenders.push(Contender::timed("rtc-rtp", move || {
                out.clear();
                for payload in &payloads {
                    out.extend_from_slice(&theirs.depacketize(black_box(payload)).unwrap());
                }
                black_box(&out);
            }));
        }
        // The crate `rtp` makes no frames of AV1.
        let theirs: Option<Box<dyn rtp::packetizer::Depacketizer>> = match codec {
            "VP8" => Some(Box::<rtp::codecs::vp8::Vp8Packet>::default()),
            "H264" => Some(Box::<rtp::codecs::h264::H264Packet>::default()),
            _ => None,
        };
        if let Some(mut theirs) = theirs {
            let mut out = Vec::with_capacity(2 * FRAME);
            let payloads = payloads.clone();
            contenders.push(Contender::timed("rtp", move || {
                out.clear();
                for payload in &payloads {
                    out.extend_from_slice(&theirs.depacketize(black_box(payload)).unwrap());
                }
                black_box(&out);
            }));
        }
        let name = format!("rtp/depacketise a frame of 50 kB of {codec}");
        compare(c, &name, 1, FRAME as u64, 401, contenders);
    }
}

/// What str0m shows of its depacketizers.
fn of_str0m(codec: &str) -> Option<Box<dyn str0m::unversioned::Depacketizer>> {
    match codec {
        "VP8" => Some(Box::<str0m::unversioned::Vp8Depacketizer>::default()),
        "H264" => Some(Box::<str0m::unversioned::H264Depacketizer>::default()),
        _ => None,
    }
}

criterion_group!(benches, write, parse, compound, packetise, depacketise);
criterion_main!(benches);
