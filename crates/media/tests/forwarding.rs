//! From one session's receiver to another session's sender: what goes on, under whose numbers, and what is too large.

mod common;

use std::time::{Duration, Instant};

use antiphon_media::extension::{
    AbsCaptureTime, AudioLevel, Kind as Extension, Map, OwnedOthers, PlayoutDelay, Values, VideoContentType,
    VideoOrientation,
};
use antiphon_media::{
    Codec, Config, Error, Event, Front, Kind, Outgoing, Output, Packet, ReceiverId, SAFE_PACKET, SenderId, Session,
};
use antiphon_rtp::packet::{self, Header};
use antiphon_rtp::rtcp;
use antiphon_sansio::{BytesMut, ClockAnchor, Rng, TransmitBuf, Writer};
use common::{MS, arrived, opus, receiver, sender, start, vp8};

/// The UDP payload that Ethernet leaves, less the tag of AES-GCM.
const ROOM: usize = 1472 - 16;

fn map(first: u8) -> Map {
    let mut map = Map::default();
    for (id, kind) in (first..).zip([
        Extension::Mid,
        Extension::TransportCc,
        Extension::AbsSendTime,
        Extension::AudioLevel,
        Extension::CsrcAudioLevel,
        Extension::VideoOrientation,
        Extension::PlayoutDelay,
        Extension::AbsCaptureTime,
    ]) {
        map.insert(id, kind);
    }
    map
}

fn session(now: Instant, seed: u64) -> Session {
    let anchor = ClockAnchor::new(now, Duration::from_secs(1_700_000_000));
    Session::new(Config::default(), now, anchor, Rng::from_u64(seed))
}

/// A publisher's session that hands out packets, and a watcher's that sends them.
struct Way {
    now: Instant,
    near: Session,
    far: Session,
    into: ReceiverId,
    out: SenderId,
    kind: Kind,
}

impl Way {
    fn new(kind: Kind, codec: Codec) -> Self {
        let now = start();
        let (mut near, mut far) = (session(now, 1), session(now, 2));
        let mut config = receiver("in", kind, codec.clone(), vec![]);
        config.extensions = map(1);
        config.output = Output::Packets;
        let into = near.add_receiver(config).unwrap();
        let mut config = sender("out", kind, 9000, codec);
        config.extensions = map(5);
        let out = far.add_sender(now, config).unwrap();
        Self {
            now,
            near,
            far,
            into,
            out,
            kind,
        }
    }

    /// One packet of the publisher, as it comes out of the first session.
    fn publish(&mut self, header: Header, csrcs: &[u32], values: Values<'_>, payload: &[u8]) -> Packet {
        let mut buffer = [0; 2000];
        let mut out = Writer::new(&mut buffer);
        header.write(csrcs, &values, &map(1), &mut out).unwrap();
        out.put_slice(payload).unwrap();
        self.near.handle_rtp(self.now, arrived(BytesMut::from(&*out.finish())));
        std::iter::from_fn(|| self.near.poll_event())
            .find_map(|event| match event {
                Event::Packet { packet, .. } => Some(packet),
                _ => None,
            })
            .expect("a packet comes out")
    }

    /// What the second session writes.
    fn written(&mut self) -> Vec<Vec<u8>> {
        let mut out = TransmitBuf::new(64 * 1024, ROOM);
        let mut written = Vec::new();
        loop {
            out.clear();
            let Some(Outgoing { kind, .. }) = self.far.poll_transmit(self.now, &mut out) else {
                return written;
            };
            let range = out.finish();
            if kind == antiphon_media::PacketKind::Rtp {
                written.push(out.bytes(range).to_vec());
            }
        }
    }

    fn header(&self, sequence: u16) -> Header {
        Header {
            marker: sequence.is_multiple_of(2),
            payload_type: if self.kind == Kind::Video { 96 } else { 111 },
            sequence,
            timestamp: u32::from(sequence) * 3000,
            ssrc: 77,
        }
    }
}

#[test]
fn mend11_extensions_of_the_media_marker_and_csrcs_go_on_under_the_next_hops_numbers() {
    let mut way = Way::new(Kind::Video, vp8(true, true));
    let values = Values {
        mid: Some(b"in"),
        abs_send_time: Some(5),
        transport_sequence: Some(7),
        video_orientation: Some(VideoOrientation {
            back_camera: true,
            flipped: false,
            quarter_turns: 3,
        }),
        playout_delay: Some(PlayoutDelay { min: 1, max: 40 }),
        abs_capture_time: Some(AbsCaptureTime {
            capture: 0x1234_5678_9abc_def0,
            clock_offset: Some(-5),
        }),
        ..Values::default()
    };
    for sequence in [2, 3] {
        let header = way.header(sequence);
        let packet = way.publish(header, &[11, 12], values, &[0x10, 0, 1, 2]);
        way.far.send_rtp(way.now, way.out, &packet).unwrap();
    }
    let written = way.written();
    for (bytes, marker) in written.iter().zip([true, false]) {
        let packet = packet::Packet::parse(bytes).unwrap();
        assert_eq!((packet.header.marker, packet.header.ssrc), (marker, 9000));
        assert_eq!(packet.csrcs().collect::<Vec<_>>(), [11, 12]);
        let got = packet.values(&map(5));
        assert_eq!(got.mid, Some(b"out".as_slice()));
        assert_eq!(got.video_orientation, values.video_orientation);
        assert_eq!(got.playout_delay, values.playout_delay);
        let capture = got.abs_capture_time.unwrap();
        assert_eq!(capture.capture, 0x1234_5678_9abc_def0);
        assert_eq!(
            capture.clock_offset, None,
            "the publisher's offset says nothing of our clock"
        );
    }
    assert_eq!(written.len(), 2);

    // Sound of a mixer, with the level of each voice.
    let mut way = Way::new(Kind::Audio, opus());
    let values = Values {
        mid: Some(b"in"),
        audio_level: Some(AudioLevel {
            below_overload: 33,
            voice: true,
        }),
        csrc_audio_levels: Some(&[20, 30, 127]),
        ..Values::default()
    };
    let header = way.header(4);
    let packet = way.publish(header, &[1, 2, 3], values, &[0xfc, 1]);
    way.far.send_rtp(way.now, way.out, &packet).unwrap();
    let written = way.written();
    let packet = packet::Packet::parse(&written[0]).unwrap();
    let got = packet.values(&map(5));
    assert_eq!(got.audio_level, values.audio_level);
    assert_eq!(got.csrc_audio_levels, Some(&[20, 30, 127][..]));
    assert_eq!(packet.csrcs().collect::<Vec<_>>(), [1, 2, 3]);
}

#[test]
fn mend11_what_the_watcher_did_not_negotiate_is_not_sent() {
    let now = start();
    let mut way = Way::new(Kind::Video, vp8(true, true));
    let mut config = sender("out", Kind::Video, 9000, vp8(true, true));
    config.extensions = common::extensions();
    way.far.update_sender(now, way.out, config).unwrap();
    let values = Values {
        mid: Some(b"in"),
        video_orientation: Some(VideoOrientation::default()),
        ..Values::default()
    };
    let header = way.header(2);
    let packet = way.publish(header, &[], values, &[0x10, 0, 1, 2]);
    way.far.send_rtp(way.now, way.out, &packet).unwrap();
    let written = way.written();
    let packet = packet::Packet::parse(&written[0]).unwrap();
    // MID and the transport-wide number.
    assert_eq!(packet.elements().map(|(id, _)| id).collect::<Vec<_>>(), [4, 3]);
}

#[test]
fn extensions_without_a_field_go_on_to_who_negotiated_them() {
    let with = |id: u8| {
        let mut map = map(1);
        map.insert(id, Extension::VideoContentType);
        map.insert(id + 1, Extension::DependencyDescriptor);
        map
    };
    // A watcher of both, and one who shall not hear of dependencies.
    for takes_descriptors in [true, false] {
        let mut way = Way::new(Kind::Video, vp8(true, true));
        let mut config = receiver("in", Kind::Video, vp8(true, true), vec![]);
        config.extensions = with(9);
        config.output = Output::Packets;
        way.near.update_receiver(way.into, config).unwrap();
        let mut config = sender("out", Kind::Video, 9000, vp8(true, true));
        config.extensions = with(12);
        if !takes_descriptors {
            config.extensions.remove(Extension::DependencyDescriptor);
        }
        way.far.update_sender(way.now, way.out, config).unwrap();
        // As long as that of most frames, and as that of a key frame.
        for (sequence, len) in [(2, 5), (3, 200)] {
            let mut others = OwnedOthers::default();
            assert!(others.put(&VideoContentType(1)));
            let descriptor: Vec<u8> = (0..len).collect();
            others.set(Extension::DependencyDescriptor, &descriptor);
            let values = Values {
                mid: Some(b"in"),
                others: others.borrow(),
                ..Values::default()
            };
            let mut buffer = [0; 2000];
            let mut out = Writer::new(&mut buffer);
            way.header(sequence).write(&[], &values, &with(9), &mut out).unwrap();
            out.put_slice(&[0x10, 0, 1, 2]).unwrap();
            way.near.handle_rtp(way.now, arrived(BytesMut::from(&*out.finish())));
            let packet = std::iter::from_fn(|| way.near.poll_event()).find_map(|event| match event {
                Event::Packet { packet, .. } => Some(packet),
                _ => None,
            });
            way.far
                .send_rtp(way.now, way.out, &packet.expect("a packet comes out"))
                .unwrap();
            let written = way.written();
            let others = packet::Packet::parse(&written[0]).unwrap().values(&with(12)).others;
            assert_eq!(others.read(), Some(VideoContentType(1)));
            let expected = takes_descriptors.then_some(&descriptor[..]);
            assert_eq!(others.get(Extension::DependencyDescriptor), expected);
            way.now += 20 * MS;
        }
    }
}

#[test]
fn mend04_large_packets_go_on_and_what_does_not_fit_is_told() {
    let mut way = Way::new(Kind::Video, vp8(true, true));
    let values = Values {
        mid: Some(b"in"),
        ..Values::default()
    };
    // GStreamer's 1400 bytes, and the most that a publisher can send over Ethernet with headers as short as can be.
    for (sequence, len) in [(2u16, 1400 - 12), (3, 1472 - 40 - 12)] {
        let mut payload = vec![7; len];
        payload[0] = 0x10;
        let header = way.header(sequence);
        let packet = way.publish(header, &[], values, &payload);
        way.far.send_rtp(way.now, way.out, &packet).unwrap();
        let written = way.written();
        assert_eq!(packet::Packet::parse(&written[0]).unwrap().payload(), payload);
        // And once more, on the retransmission source.
        let mut buffer = [0; 64];
        let mut out = Writer::new(&mut buffer);
        let first = packet::Packet::parse(&written[0]).unwrap().header.sequence;
        rtcp::write_nack(1, 9000, rtcp::nack_pairs([first]), &mut out).unwrap();
        way.now += 500 * MS;
        way.far.handle_rtcp(way.now, arrived(BytesMut::from(&*out.finish())));
        let again = way.written();
        way.now += 500 * MS;
        assert_eq!(packet::Packet::parse(&again[0]).unwrap().payload()[2..], payload);
    }
    let mut payload = vec![7; 1472];
    payload[0] = 0x10;
    for sequence in [4, 5] {
        let header = way.header(sequence);
        let packet = way.publish(header, &[], values, &payload);
        let refused = way.far.send_rtp(way.now, way.out, &packet);
        assert!(
            matches!(refused, Err(Error::PacketTooLarge { bytes, limit: ROOM }) if bytes > 1472),
            "{refused:?}"
        );
    }
    let told = std::iter::from_fn(|| way.far.poll_event())
        .filter(|event| matches!(event, Event::PacketTooLarge { limit: ROOM, .. }))
        .count();
    assert_eq!(told, 1, "said once, not for each packet");
    assert_eq!(way.far.stats().outbound[0].packets_too_large, 2);
}

#[test]
fn mend04_a_path_that_drops_large_packets_is_noticed_by_its_feedback() {
    let mut way = Way::new(Kind::Video, vp8(true, true));
    let values = Values {
        mid: Some(b"in"),
        ..Values::default()
    };
    let mut large = vec![7; 1388];
    large[0] = 0x10;
    // The watcher hears every small packet, no large one, and says so.
    let mut hears = session(way.now, 3);
    let mut config = receiver("out", Kind::Video, vp8(true, true), vec![]);
    config.extensions = map(5);
    hears.add_receiver(config).unwrap();
    let mut refused = 0;
    for sequence in 0..200u16 {
        let small = [0x10, 0, 1, 2];
        let payload: &[u8] = if sequence % 2 == 0 { &large } else { &small };
        let header = way.header(sequence);
        let packet = way.publish(header, &[], values, payload);
        refused += u32::from(way.far.send_rtp(way.now, way.out, &packet).is_err());
        for bytes in way.written() {
            if bytes.len() <= SAFE_PACKET {
                hears.handle_rtp(way.now, arrived(BytesMut::from(&bytes[..])));
            }
        }
        way.now += 20 * MS;
        hears.handle_timeout(way.now);
        way.far.handle_timeout(way.now);
        let mut out = TransmitBuf::new(64 * 1024, ROOM);
        while hears.poll_transmit(way.now, &mut out).is_some() {
            let range = out.finish();
            let bytes = BytesMut::from(out.bytes(range));
            way.far.handle_rtcp(way.now, arrived(bytes));
            out.clear();
        }
    }
    let told: Vec<usize> = std::iter::from_fn(|| way.far.poll_event())
        .filter_map(|event| match event {
            Event::PacketTooLarge { limit, .. } => Some(limit),
            _ => None,
        })
        .collect();
    assert_eq!(told, [SAFE_PACKET]);
    assert!(refused > 30, "{refused} of 100");
    // Another path may carry more.
    way.far.set_max_forward_size(ROOM);
    let header = way.header(300);
    let packet = way.publish(header, &[], values, &large);
    way.far.send_rtp(way.now, way.out, &packet).unwrap();
}

#[test]
fn mend13_key_frames_are_counted_by_picture_not_by_packet() {
    let h264 = Codec {
        name: "H264".into(),
        ..vp8(true, true)
    };
    let mut way = Way::new(Kind::Video, h264);
    let values = Values {
        mid: Some(b"in"),
        ..Values::default()
    };
    // SPS and PPS in a STAP-A, then the IDR picture in two slices, each in fragments: one picture, which four packets begin.
    let sps_pps = [0x78, 0, 2, 0x67, 1, 0, 2, 0x68, 1];
    let packets: [&[u8]; 6] = [
        &sps_pps,
        &[0x7c, 0x85, 1],
        &[0x7c, 0x45, 2],
        &[0x7c, 0x85, 3],
        &[0x7c, 0x45, 4],
        &[0x41, 9],
    ];
    for (sequence, payload) in (10u16..).zip(packets) {
        let mut header = way.header(sequence);
        header.marker = sequence >= 14;
        header.timestamp = if sequence == 15 { 6000 } else { 3000 };
        let packet = way.publish(header, &[], values, payload);
        way.far.send_rtp(way.now, way.out, &packet).unwrap();
    }
    way.written();
    let inbound = &way.near.stats().inbound[0];
    assert_eq!((inbound.frames.received, inbound.frames.key_frames), (2, 1));
    let outbound = &way.far.stats().outbound[0];
    assert_eq!((outbound.frames.sent, outbound.frames.key_frames), (2, 1));
}

#[test]
fn the_front_of_a_payload_is_written_anew_and_so_it_is_repeated() {
    let mut way = Way::new(Kind::Video, vp8(true, true));
    for (sequence, front) in [(2, None), (3, Some(Front::new(&[0x90, 0x80, 0x81, 0x05], 1)))] {
        let mut packet = way.publish(way.header(sequence), &[], Values::default(), &[0x10, 0, 1, 2]);
        packet.front = front;
        way.far.send_rtp(way.now, way.out, &packet).unwrap();
    }
    let payload = |bytes: &[u8]| packet::Packet::parse(bytes).unwrap().payload().to_vec();
    let written = way.written();
    assert_eq!(payload(&written[0]), [0x10, 0, 1, 2]);
    assert_eq!(payload(&written[1]), [0x90, 0x80, 0x81, 0x05, 0, 1, 2]);
    // The receiver missed it.
    let number = packet::Packet::parse(&written[1]).unwrap().header.sequence;
    let mut buffer = [0; 100];
    let mut out = Writer::new(&mut buffer);
    rtcp::write_nack(1, 9000, rtcp::nack_pairs([number]), &mut out).unwrap();
    way.now += 50 * MS;
    way.far.handle_rtcp(way.now, arrived(BytesMut::from(&*out.finish())));
    let again = way.written();
    assert!(payload(&again[0]).ends_with(&[0x90, 0x80, 0x81, 0x05, 0, 1, 2]));
}

#[test]
fn what_was_sent_while_there_was_rtx_is_not_repeated_without() {
    for (rtx, stays) in [(true, false), (true, true), (false, false)] {
        let mut way = Way::new(Kind::Video, vp8(true, rtx));
        let packet = way.publish(way.header(2), &[], Values::default(), &[0x10, 0, 1, 2]);
        way.far.send_rtp(way.now, way.out, &packet).unwrap();
        let mut out = TransmitBuf::new(64 * 1024, ROOM);
        let outgoing = way.far.poll_transmit(way.now, &mut out).unwrap();
        // Who protects it need not remember what nobody repeats as it is.
        assert_eq!(outgoing.repeatable, !rtx);
        let range = out.finish();
        let number = packet::Packet::parse(out.bytes(range)).unwrap().header.sequence;
        let mut config = sender("out", Kind::Video, 9000, vp8(true, stays));
        config.extensions = map(5);
        way.far.update_sender(way.now, way.out, config).unwrap();
        let mut buffer = [0; 100];
        let mut nack = Writer::new(&mut buffer);
        rtcp::write_nack(1, 9000, rtcp::nack_pairs([number]), &mut nack).unwrap();
        way.now += 50 * MS;
        way.far.handle_rtcp(way.now, arrived(BytesMut::from(&*nack.finish())));
        assert_eq!(!way.written().is_empty(), stays || !rtx, "{rtx} {stays}");
    }
}

#[test]
fn one_source_of_several_is_asked_for_a_key_frame() {
    let mut way = Way::new(Kind::Video, vp8(true, true));
    for ssrc in [77, 78] {
        let header = Header { ssrc, ..way.header(2) };
        let values = Values {
            mid: Some(b"in"),
            ..Values::default()
        };
        way.publish(header, &[], values, &[0x10, 1, 1, 2]);
    }
    way.near.request_key_frame_of(way.into, 78).unwrap();
    way.near.request_key_frame_of(way.into, 5).unwrap();
    way.now += 500 * MS;
    let mut asked = Vec::new();
    way.near.handle_timeout(way.now);
    loop {
        let mut out = TransmitBuf::new(64 * 1024, ROOM);
        if way.near.poll_transmit(way.now, &mut out).is_none() {
            break;
        }
        let range = out.finish();
        for packet in rtcp::packets(out.bytes(range)) {
            if let Ok(rtcp::Packet::Pli(pli)) = packet {
                asked.push(pli.media);
            }
        }
    }
    assert_eq!(asked, [78]);
}
