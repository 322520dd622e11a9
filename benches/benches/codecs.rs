//! RTP and SDP: parse and write. RTCP has its bench in `benches/peers`, beside other crates.
#![allow(missing_docs)]

use std::hint::black_box;

use antiphon_rtp::extension::{AudioLevel, Map, Values};
use antiphon_rtp::fec::{Encoder, Format, Plan, Recoverer};
use antiphon_rtp::packet::{Header, Packet};
use antiphon_rtp::payload::{Cut, Depacketizer, Joiner, Packetizer, red};
use antiphon_sansio::{TransmitBuf, Writer};
use antiphon_sdp::SessionDescription;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn rtp(c: &mut Criterion) {
    let mut map = Map::default();
    for (id, uri) in [
        (1, "urn:ietf:params:rtp-hdrext:sdes:mid"),
        (2, "http://www.webrtc.org/experiments/rtp-hdrext/abs-send-time"),
        (
            3,
            "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
        ),
        (4, "urn:ietf:params:rtp-hdrext:ssrc-audio-level"),
    ] {
        assert!(map.insert_uri(id, uri));
    }
    let header = Header {
        marker: true,
        payload_type: 96,
        sequence: 7,
        timestamp: 90_000,
        ssrc: 0x1234,
    };
    let values = Values {
        mid: Some(b"0"),
        abs_send_time: Some(0x0012_3456),
        transport_sequence: Some(77),
        audio_level: Some(AudioLevel {
            below_overload: 30,
            voice: true,
        }),
        ..Values::default()
    };
    let payload = [9; 1200];
    let mut buffer = [0; 1500];
    let mut write = || {
        let mut out = Writer::new(&mut buffer);
        header.write(&[], black_box(&values), &map, &mut out).unwrap();
        out.put_slice(&payload).unwrap();
        out.len()
    };
    let len = write();
    let mut group = c.benchmark_group("rtp");
    group.bench_function("write, 4 extensions typed, 1200 B", |b| b.iter(&mut write));
    let packet = buffer[..len].to_vec();
    group.bench_function("parse, 4 extensions typed", |b| {
        b.iter(|| {
            let packet = Packet::parse(black_box(&packet)).unwrap();
            (packet.values(&map), packet.payload().len())
        });
    });

    // A frame of 30 kB into packets, as a sender does it.
    let frame = vec![3; 30_000];
    let mut packetizer = Packetizer::new("VP8", "", 77).unwrap();
    let mut cuts = Vec::new();
    let mut out = TransmitBuf::new(64 * 1024, 1200);
    group.throughput(Throughput::Bytes(frame.len() as u64));
    group.bench_function("packetise a VP8 frame of 30 kB", |b| {
        b.iter(|| {
            out.clear();
            packetizer.packetize(&frame, 1156, &mut cuts).unwrap();
            for (n, cut) in cuts.iter().enumerate() {
                assert!(out.begin(0, 0));
                let mut head = [0; 64];
                let mut writer = Writer::new(&mut head);
                let header = Header {
                    sequence: n as u16,
                    marker: cut.marker,
                    ..header
                };
                header.write(&[], &values, &map, &mut writer).unwrap();
                out.put_slice(writer.finish());
                cut.layout.write(&frame, |part| out.put_slice(part));
                out.finish();
            }
            packetizer.advance();
            out.len()
        });
    });
    group.finish();
}

/// A frame of 50 kB of each format into payloads, and of them a frame.
fn payload(c: &mut Criterion) {
    let starts: [(&str, &[u8]); 3] = [
        ("VP8", &[0x10]),
        ("H264", &[0, 0, 0, 1, 0x65, 0x88]),
        ("AV1", &[0x32, 0xcc, 0x86, 0x03]),
    ];
    let mut group = c.benchmark_group("payload");
    for (name, start) in starts {
        let mut frame = start.to_vec();
        frame.resize(50_000, 0x55);
        group.throughput(Throughput::Bytes(frame.len() as u64));
        let packetizer = Packetizer::new(name, "packetization-mode=1", 7).unwrap();
        let mut cuts = Vec::new();
        let mut out = Vec::with_capacity(2 * frame.len());
        group.bench_function(format!("packetise a frame of 50 kB of {name}"), |b| {
            b.iter(|| {
                out.clear();
                packetizer.packetize(black_box(&frame), 1150, &mut cuts).unwrap();
                for cut in &cuts {
                    cut.layout.write(&frame, |part| out.extend_from_slice(part));
                }
                out.len()
            });
        });
        let payload = |cut: &Cut| {
            let mut payload = Vec::new();
            cut.layout.write(&frame, |part| payload.extend_from_slice(part));
            payload
        };
        // Cut here too: with a filter the bench before has not run.
        packetizer.packetize(&frame, 1150, &mut cuts).unwrap();
        let payloads: Vec<_> = cuts.iter().map(payload).collect();
        let mut joiner = Joiner::new(Depacketizer::new(name), "");
        out.clear();
        joiner
            .join(payloads.iter().map(|payload| &payload[..]), &mut out)
            .unwrap();
        assert!(out == frame, "{name} comes back");
        group.bench_function(format!("depacketise a frame of 50 kB of {name}"), |b| {
            b.iter(|| {
                let payloads = black_box(&payloads).iter().map(|payload| &payload[..]);
                out.clear();
                joiner.join(payloads, &mut out).unwrap();
                out.len()
            });
        });
    }
    group.finish();
}

/// What protects a stream: a group of ten packets of 1200 bytes with one repair, of which one packet is lost; and sound in RED.
fn repair(c: &mut Criterion) {
    const GROUP: u16 = 10;
    let map = Map::default();
    let packet = |sequence: u16| {
        let mut bytes = vec![0; 1200];
        let mut out = Writer::new(&mut bytes);
        let header = Header {
            payload_type: 96,
            sequence,
            timestamp: 90_000,
            ssrc: 7,
            ..Header::default()
        };
        header.write(&[], &Values::default(), &map, &mut out).unwrap();
        let len = out.len();
        bytes[len..].fill(sequence as u8);
        bytes
    };
    let mut group = c.benchmark_group("repair");
    // The yardstick: a sum of packets is at least this.
    let packets: Vec<Vec<u8>> = (0..GROUP).map(packet).collect();
    let mut sum = [0u8; 1200];
    group.throughput(Throughput::Bytes(u64::from(GROUP) * 1200));
    group.bench_function("bare exclusive-or of 10 packets", |b| {
        b.iter(|| {
            for packet in black_box(&packets) {
                sum.iter_mut().zip(packet).for_each(|(sum, byte)| *sum ^= byte);
            }
            black_box(&sum);
        });
    });
    for format in [Format::FlexFec03, Format::FlexFec, Format::Ulpfec] {
        let name = format.name();
        group.throughput(Throughput::Bytes(u64::from(GROUP) * 1200));
        let mut encoder = Encoder::new(format, 7, Plan::new(GROUP as u8, 1));
        let mut packets: Vec<Vec<u8>> = (0..GROUP).map(packet).collect();
        let mut buffer = [0; 1500];
        let mut base = 0u16;
        group.bench_function(format!("{name}: protect 10 packets"), |b| {
            b.iter(|| protect(&mut encoder, &mut packets, &mut base, &map, &mut buffer));
        });
        let mut recoverer = Recoverer::new(7);
        group.bench_function(format!("{name}: protect 10 packets, receive 9 and recover 1"), |b| {
            b.iter(|| {
                let len = protect(&mut encoder, &mut packets, &mut base, &map, &mut buffer);
                for packet in &packets[1..] {
                    recoverer.insert(&[packet], &map);
                }
                recoverer.insert_repair(&format.parse(&buffer[..len]).unwrap());
                recoverer.poll().expect("the lost one").len()
            });
        });
    }
    let sound = [9; 80];
    let mut buffer = [0; 500];
    let (mut encoder, mut timestamp) = (red::Encoder::new(2), 0u32);
    group.throughput(Throughput::Elements(1));
    group.bench_function("RED: write a packet of 80 bytes with the two before", |b| {
        b.iter(|| {
            timestamp = timestamp.wrapping_add(960);
            let mut out = Writer::new(&mut buffer);
            encoder.encode(111, timestamp, black_box(&sound), &mut out).unwrap();
            out.len()
        });
    });
    let mut out = Writer::new(&mut buffer);
    encoder
        .encode(111, timestamp.wrapping_add(960), &sound, &mut out)
        .unwrap();
    let payload = out.finish().to_vec();
    group.bench_function("RED: read it", |b| {
        b.iter(|| {
            red::parse(black_box(&payload))
                .unwrap()
                .map(|block| block.payload.len())
                .sum::<usize>()
        });
    });
    group.finish();
}

/// The next ten packets, and their repair in `buffer`; gives its length.
fn protect(encoder: &mut Encoder, packets: &mut [Vec<u8>], base: &mut u16, map: &Map, buffer: &mut [u8]) -> usize {
    for packet in packets {
        packet[2..4].copy_from_slice(&base.to_be_bytes());
        *base = base.wrapping_add(1);
        encoder.protect(packet, map);
    }
    let mut out = Writer::new(buffer);
    assert!(encoder.write(&mut out));
    out.len()
}

fn sdp(c: &mut Criterion) {
    let offer =
        include_str!("../../conformance/fixtures/packets/chromium-chromium-audio-video-data/01-A-chromium-offer.sdp");
    let mut group = c.benchmark_group("sdp");
    group.throughput(Throughput::Bytes(offer.len() as u64));
    group.bench_function("parse a Chromium offer", |b| {
        b.iter(|| SessionDescription::parse(black_box(offer)).unwrap());
    });
    group.bench_function("parse, and type every attribute", |b| {
        b.iter(|| {
            let description = SessionDescription::parse(black_box(offer)).unwrap();
            let sections = std::iter::once(&description.session).chain(description.media.iter().map(|m| &m.section));
            sections.map(|section| section.attributes().count()).sum::<usize>()
        });
    });
    let description = SessionDescription::parse(offer).unwrap();
    group.bench_function("write", |b| b.iter(|| black_box(&description).to_text()));
    group.finish();
}

criterion_group!(benches, rtp, payload, repair, sdp);
criterion_main!(benches);
