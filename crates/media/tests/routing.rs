//! Which packet belongs to whom (RFC 9143 §9.2, RFC 8852, RFC 4588).

mod common;

use std::time::{Duration, Instant};

use antiphon_media::extension::Values;
use antiphon_media::{Config, Event, Kind, Output, ReceiverConfig, ReceiverId, RemoteSource, Session};
use antiphon_rtp::packet::Header;
use antiphon_sansio::{BytesMut, ClockAnchor, Rng, Writer};
use common::*;

struct Bench {
    now: Instant,
    session: Session,
}

impl Bench {
    fn new() -> Self {
        let now = start();
        let anchor = ClockAnchor::new(now, Duration::from_secs(1));
        Self {
            now,
            session: Session::new(Config::default(), now, anchor, Rng::from_u64(1)),
        }
    }

    fn receiver(&mut self, config: ReceiverConfig) -> ReceiverId {
        let id = self.session.add_receiver(config).unwrap();
        self.session.set_output(id, Output::Packets).unwrap();
        id
    }

    fn packet(&mut self, ssrc: u32, payload_type: u8, sequence: u16, values: Values<'_>, payload: &[u8]) {
        let mut buffer = [0; 1500];
        let mut out = Writer::new(&mut buffer);
        let header = Header {
            marker: true,
            payload_type,
            sequence,
            timestamp: u32::from(sequence) * 3000,
            ssrc,
        };
        header.write(&[], &values, &extensions(), &mut out).unwrap();
        out.put_slice(payload).unwrap();
        self.session
            .handle_rtp(self.now, arrived(BytesMut::from(&*out.finish())));
    }

    /// Where packets went: receiver, source, RID, number.
    fn packets(&mut self) -> Vec<(ReceiverId, u32, Option<String>, u16)> {
        let events = std::iter::from_fn(|| self.session.poll_event());
        events
            .filter_map(|event| match event {
                Event::Packet { receiver, packet } => Some((
                    receiver,
                    packet.ssrc,
                    packet.rid.map(|rid| rid.to_string()),
                    packet.sequence as u16,
                )),
                _ => None,
            })
            .collect()
    }
}

const VP8: &[u8] = &[0x10, 0x00, 1, 2, 3];

fn mid(mid: &str) -> Values<'_> {
    Values {
        mid: Some(mid.as_bytes()),
        ..Values::default()
    }
}

#[test]
fn by_announcement_by_mid_then_by_ssrc() {
    let mut bench = Bench::new();
    let announced = RemoteSource {
        ssrc: 5,
        rtx_ssrc: None,
        fec_ssrc: None,
        layer: None,
    };
    let first = bench.receiver(receiver("a", Kind::Video, vp8(true, true), vec![announced]));
    let second = bench.receiver(receiver("b", Kind::Video, vp8(true, true), vec![]));
    bench.packet(5, 96, 1, Values::default(), VP8);
    bench.packet(6, 96, 1, Values::default(), VP8);
    bench.packet(6, 96, 2, mid("b"), VP8);
    bench.packet(6, 96, 3, Values::default(), VP8);
    bench.packet(7, 96, 1, mid("nobody"), VP8);
    assert_eq!(
        bench.packets(),
        [(first, 5, None, 1), (second, 6, None, 2), (second, 6, None, 3)]
    );
    let dropped = bench.session.stats().dropped;
    assert_eq!(
        dropped.unrouted, 2,
        "two sections share the payload type; one MID is unknown"
    );
}

#[test]
fn a_unique_payload_type_places_until_a_mid_says_otherwise() {
    let mut bench = Bench::new();
    let video = bench.receiver(receiver("v", Kind::Video, vp8(true, true), vec![]));
    let audio = bench.receiver(receiver("a", Kind::Audio, opus(), vec![]));
    bench.packet(6, 96, 1, Values::default(), VP8);
    bench.packet(7, 111, 1, Values::default(), &[0xfc, 1]);
    bench.packet(8, 35, 1, Values::default(), &[1]);
    assert_eq!(bench.packets(), [(video, 6, None, 1), (audio, 7, None, 1)]);
    let other = bench.receiver(receiver("w", Kind::Video, vp8(true, true), vec![]));
    bench.packet(6, 96, 2, mid("w"), VP8);
    assert_eq!(bench.packets(), [(other, 6, None, 2)]);
}

#[test]
fn layers_by_rid_and_their_repairs_by_repaired_rid() {
    let mut bench = Bench::new();
    let mut config = receiver("v", Kind::Video, vp8(true, true), vec![]);
    config.rids = vec!["h".into(), "l".into()];
    let id = bench.receiver(config);
    let layer = |rid: &'static str| Values {
        mid: Some(b"v"),
        rid: Some(rid.as_bytes()),
        ..Values::default()
    };
    bench.packet(10, 96, 1, layer("h"), VP8);
    bench.packet(20, 96, 100, layer("l"), VP8);
    bench.packet(30, 96, 1, layer("x"), VP8);
    bench.packet(10, 96, 3, Values::default(), VP8);
    let repair = Values {
        mid: Some(b"v"),
        repaired_rid: Some(b"h"),
        ..Values::default()
    };
    bench.packet(11, 97, 900, repair, &[&[0, 2], VP8].concat());
    // From now on the repair's SSRC is enough.
    bench.packet(10, 96, 5, Values::default(), VP8);
    bench.packet(11, 97, 901, Values::default(), &[&[0, 4], VP8].concat());
    let h = || Some("h".to_string());
    let expected = [
        (id, 10, h(), 1),
        (id, 20, Some("l".into()), 100),
        (id, 10, h(), 3),
        (id, 10, h(), 2),
        (id, 10, h(), 5),
        (id, 10, h(), 4),
    ];
    assert_eq!(bench.packets(), expected);
    assert_eq!(bench.session.stats().dropped.unrouted, 1);
}

#[test]
fn repairs_without_announcement_find_the_only_candidate() {
    let mut bench = Bench::new();
    let id = bench.receiver(receiver("v", Kind::Video, vp8(true, true), vec![]));
    bench.packet(10, 96, 1, mid("v"), VP8);
    bench.packet(10, 96, 3, mid("v"), VP8);
    bench.packet(11, 97, 7, mid("v"), &[&[0, 2], VP8].concat());
    bench.packet(11, 97, 8, mid("v"), &[&[0, 2], VP8].concat());
    assert_eq!(
        bench.packets(),
        [(id, 10, None, 1), (id, 10, None, 3), (id, 10, None, 2)]
    );
    assert_eq!(
        bench.session.stats().dropped.duplicate,
        1,
        "Firefox probes with old packets"
    );
}

#[test]
fn padding_alone_is_no_frame_and_no_error() {
    let mut bench = Bench::new();
    let announced = RemoteSource {
        ssrc: 10,
        rtx_ssrc: Some(11),
        fec_ssrc: None,
        layer: None,
    };
    let id = bench.receiver(receiver("v", Kind::Video, vp8(true, true), vec![announced]));
    bench.session.set_output(id, Output::Frames).unwrap();
    bench.packet(10, 96, 1, Values::default(), VP8);
    // Padding on the stream itself takes a number; padding on the retransmission SSRC takes none of ours.
    let mut padded = vec![0xa0, 96, 0, 2, 0, 0, 0, 0, 0, 0, 0, 10];
    padded.extend([0; 199]);
    padded.push(200);
    bench
        .session
        .handle_rtp(bench.now, arrived(BytesMut::from(&padded[..])));
    padded[1] = 97;
    padded[11] = 11;
    bench
        .session
        .handle_rtp(bench.now, arrived(BytesMut::from(&padded[..])));
    bench.packet(10, 96, 3, Values::default(), VP8);
    let frames = std::iter::from_fn(|| bench.session.poll_event()).filter(|event| matches!(event, Event::Frame { .. }));
    assert_eq!(frames.count(), 2);
    let stats = bench.session.stats();
    assert_eq!(stats.dropped, Default::default());
    assert_eq!(
        (stats.inbound[0].packets_received, stats.inbound[0].packets_lost),
        (3, 0)
    );
}

#[test]
fn mend13_a_probe_before_the_first_packet_of_a_layer_is_routed() {
    let mut bench = Bench::new();
    let mut config = receiver("v", Kind::Video, vp8(true, true), vec![]);
    config.rids = vec!["h".into(), "l".into()];
    let id = bench.receiver(config);
    bench.receiver(receiver("w", Kind::Video, vp8(true, true), vec![]));
    let repair = |rid: &'static str| Values {
        mid: Some(b"v"),
        repaired_rid: Some(rid.as_bytes()),
        ..Values::default()
    };
    // Padding alone, under the retransmission source of each layer; later without the extensions, as Chromium has it.
    bench.packet(11, 97, 500, repair("h"), &[]);
    bench.packet(21, 97, 500, repair("l"), &[]);
    bench.packet(21, 97, 501, Values::default(), &[]);
    assert_eq!(bench.session.stats().dropped, Default::default());
    let layer = |rid: &'static str| Values {
        mid: Some(b"v"),
        rid: Some(rid.as_bytes()),
        ..Values::default()
    };
    bench.packet(20, 96, 100, layer("l"), VP8);
    bench.packet(20, 96, 102, layer("l"), VP8);
    // What the probe said of its source holds: a repair that says nothing finds its layer.
    bench.packet(21, 97, 502, Values::default(), &[&[0, 101], VP8].concat());
    let l = || Some("l".to_string());
    assert_eq!(
        bench.packets(),
        [(id, 20, l(), 100), (id, 20, l(), 102), (id, 20, l(), 101)]
    );
    assert_eq!(bench.session.stats().dropped, Default::default());
    // A repair of what never came cannot be placed, and counts.
    bench.packet(11, 97, 501, repair("h"), &[&[0, 7], VP8].concat());
    assert_eq!(bench.session.stats().dropped.unrouted, 1);
    // However many there are, few are remembered.
    for ssrc in 100..1000 {
        bench.packet(ssrc, 97, 1, repair("h"), &[]);
    }
    assert!(bench.packets().is_empty());
}

#[test]
fn mend13_events_and_noise_between_sounds_leave_no_hole() {
    let mut bench = Bench::new();
    let beside = |payload_type, name: &str, nack| {
        let mut codec = opus();
        codec.payload_type = payload_type;
        codec.name = name.into();
        codec.feedback.nack = nack;
        codec
    };
    let mut config = receiver("a", Kind::Audio, beside(111, "opus", true), vec![]);
    config.codecs.push(beside(110, "telephone-event", false));
    config.codecs.push(beside(13, "CN", false));
    let id = bench.receiver(config);
    bench.session.set_output(id, Output::Frames).unwrap();
    // Events before the first sound have nothing to do with it.
    bench.packet(10, 110, 4, mid("a"), &[1, 0, 0, 160]);
    let mut frames = Vec::new();
    for sequence in 5..40u16 {
        let payload_type = match sequence {
            10..20 => 110,
            25 => 13,
            _ => 111,
        };
        bench.packet(10, payload_type, sequence, mid("a"), &[0xfc, 1, 2]);
        let events = std::iter::from_fn(|| bench.session.poll_event());
        let here = events.filter(|event| {
            matches!(
                event,
                Event::Frame {
                    discontinuity: false,
                    ..
                }
            )
        });
        frames.push((sequence, here.count()));
    }
    // Each sound, and the noise, is handed out when it comes, without a gap; nobody waits for the numbers between.
    for (sequence, count) in frames {
        let sound = !(10..20).contains(&sequence);
        assert_eq!(count, usize::from(sound), "{sequence}");
    }
    let inbound = &bench.session.stats().inbound[0];
    assert_eq!((inbound.packets_discarded, inbound.nack_count), (0, 0));
    // What came under another payload type is not asked for again.
    bench.now += Duration::from_secs(1);
    bench.session.handle_timeout(bench.now);
    let mut out = antiphon_sansio::TransmitBuf::new(64 * 1024, 1300);
    while bench.session.poll_transmit(bench.now, &mut out).is_some() {
        out.finish();
    }
    assert_eq!(bench.session.stats().inbound[0].nack_count, 0);
}

#[test]
fn a_restarted_sender_is_followed() {
    let mut bench = Bench::new();
    let id = bench.receiver(receiver("v", Kind::Video, vp8(true, true), vec![]));
    bench.session.set_output(id, Output::Frames).unwrap();
    for sequence in [100, 101, 40_000, 40_001, 40_002] {
        bench.packet(10, 96, sequence, mid("v"), VP8);
    }
    let frames: Vec<bool> = std::iter::from_fn(|| bench.session.poll_event())
        .filter_map(|event| match event {
            Event::Frame { discontinuity, .. } => Some(discontinuity),
            _ => None,
        })
        .collect();
    // The first packet after the jump is not believed yet.
    assert_eq!(frames, [false, false, true, false]);
    assert_eq!(bench.session.stats().dropped.sequence_jump, 1);
}

#[test]
fn removed_receivers_take_their_sources_along() {
    let mut bench = Bench::new();
    let id = bench.receiver(receiver(
        "v",
        Kind::Video,
        vp8(true, true),
        vec![RemoteSource {
            ssrc: 1,
            rtx_ssrc: Some(2),
            fec_ssrc: None,
            layer: None,
        }],
    ));
    bench.packet(1, 96, 1, Values::default(), VP8);
    assert_eq!(bench.packets().len(), 1);
    bench.session.remove_receiver(id).unwrap();
    bench.packet(1, 96, 2, Values::default(), VP8);
    assert!(bench.packets().is_empty() && bench.session.stats().inbound.is_empty());
    assert!(bench.session.remove_receiver(id).is_err());
}
