//! One session sends, another receives: packetise, ring, pacer, header; parse, route, statistics, assembly. No SRTP.
#![allow(missing_docs, clippy::disallowed_methods)]

use std::time::{Duration, Instant};

use antiphon_media::extension::Map;
use antiphon_media::{
    Codec, Config, Event, Feedback, Frame, Kind, Output, ReceiverConfig, SenderConfig, SenderId, Session,
};
use antiphon_sansio::{BytesMut, ClockAnchor, Ecn, Packet, Rng, TransmitBuf};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

fn extensions() -> Map {
    let mut map = Map::default();
    map.insert_uri(
        3,
        "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01",
    );
    map.insert_uri(4, "urn:ietf:params:rtp-hdrext:sdes:mid");
    map
}

fn codec() -> Codec {
    Codec {
        payload_type: 96,
        name: "VP8".into(),
        clock_rate: 90_000,
        channels: 1,
        fmtp: String::new(),
        rtx_payload_type: Some(97),
        feedback: Feedback {
            nack: true,
            pli: true,
            transport_cc: true,
            ..Feedback::default()
        },
    }
}

fn sender(now: Instant, anchor: ClockAnchor) -> (Session, SenderId) {
    let alone = Config {
        // Nobody answers.
        circuit_breakers: false,
        ..Config::default()
    };
    let mut session = Session::new(alone, now, anchor, Rng::from_u64(1));
    let config = SenderConfig {
        mid: "0".into(),
        rid: None,
        kind: Kind::Video,
        ssrc: 1,
        rtx_ssrc: Some(2),
        fec_ssrc: None,
        codecs: vec![codec()],
        extensions: extensions(),
    };
    let id = session.add_sender(now, config).unwrap();
    (session, id)
}

fn receiver(now: Instant, anchor: ClockAnchor, output: Output) -> Session {
    let mut session = Session::new(Config::default(), now, anchor, Rng::from_u64(2));
    let config = ReceiverConfig {
        mid: "0".into(),
        kind: Kind::Video,
        codecs: vec![codec()],
        extensions: extensions(),
        sources: vec![],
        rids: vec![],
        output,
        jitter_buffer_target: None,
        sync_group: None,
    };
    session.add_receiver(config).unwrap();
    session
}

/// Everything that the session sends within 40 ms.
fn drain(session: &mut Session, now: &mut Instant, out: &mut TransmitBuf, mut each: impl FnMut(&[u8])) -> usize {
    let mut packets = 0;
    for _ in 0..8 {
        *now += Duration::from_millis(5);
        session.handle_timeout(*now);
        out.clear();
        while session.poll_transmit(*now, out).is_some() {
            let range = out.finish();
            each(out.bytes(range));
            packets += 1;
        }
    }
    packets
}

fn media(c: &mut Criterion) {
    let start = Instant::now();
    let anchor = ClockAnchor::new(start, Duration::from_secs(1_790_000_000));
    let mut out = TransmitBuf::new(256 * 1024, 1300);
    let frame = |number: u32| Frame::new(96, number.wrapping_mul(3600), vec![0; 30_000]);
    let mut group = c.benchmark_group("media");
    // 30 kB make 27 packets.
    group.throughput(Throughput::Elements(27));

    let (mut session, id) = sender(start, anchor);
    let mut now = start;
    let one = frame(0);
    group.bench_function("send a frame of 27 packets", |b| {
        b.iter(|| {
            session.send_frame(now, id, one.clone()).unwrap();
            drain(&mut session, &mut now, &mut out, |_| {})
        });
    });

    for (name, output) in [
        ("receive 27 packets as a frame", Output::Frames),
        ("receive 27 packets as packets", Output::Packets),
    ] {
        let (mut from, id) = sender(start, anchor);
        let mut to = receiver(start, anchor, output);
        let mut now = start;
        let mut number = 0;
        group.bench_function(name, |b| {
            b.iter_batched(
                || {
                    number += 1;
                    let mut packets = Vec::new();
                    from.send_frame(now, id, frame(number)).unwrap();
                    drain(&mut from, &mut now, &mut out, |bytes| {
                        if !antiphon_rtp::packet::is_rtcp(bytes) {
                            packets.push(BytesMut::from(bytes));
                        }
                    });
                    (now, packets)
                },
                |(now, packets)| {
                    for packet in packets {
                        to.handle_rtp(
                            now,
                            Packet {
                                ecn: Ecn::NotEct,
                                data: packet,
                            },
                        );
                    }
                    let mut got = 0;
                    while let Some(event) = to.poll_event() {
                        got += usize::from(matches!(event, Event::Frame { .. } | Event::Packet { .. }));
                    }
                    got
                },
                BatchSize::PerIteration,
            );
        });
    }
    group.finish();
}

criterion_group!(benches, media);
criterion_main!(benches);
