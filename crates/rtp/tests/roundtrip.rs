//! What is written is read, and no bytes make a parser panic.

use antiphon_rtp::bitstream;
use antiphon_rtp::extension::{
    AbsCaptureTime, AudioLevel, FeedbackRequest, Kind, Map, PlayoutDelay, Values, VideoOrientation,
};
use antiphon_rtp::packet::{Header, Packet, Template, set_padding};
use antiphon_rtp::payload::{Cut, Depacketizer, Joiner, Packetizer, Start, opus, slices, vp8};
use antiphon_rtp::rtcp::{self, Packet as Rtcp};
use antiphon_sansio::{Ecn, Writer};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

fn written(write: impl FnOnce(&mut Writer<'_>) -> Result<(), antiphon_sansio::Full>) -> Vec<u8> {
    let mut buffer = vec![0xee; 70_000];
    let mut out = Writer::new(&mut buffer);
    write(&mut out).unwrap();
    out.finish().to_vec()
}

/// The one packet that `bytes` hold.
fn one(bytes: &[u8]) -> Rtcp<'_> {
    let mut packets = rtcp::packets(bytes);
    let packet = packets.next().unwrap().unwrap();
    assert!(packets.next().is_none());
    packet
}

prop_compose! {
    fn header()(marker: bool, payload_type in 0u8..128, sequence: u16, timestamp: u32, ssrc: u32) -> Header {
        Header { marker, payload_type, sequence, timestamp, ssrc }
    }
}

prop_compose! {
    fn block()(ssrc: u32, fraction_lost: u8, cumulative_lost in -0x80_0000i32..0x80_0000, highest_sequence: u32,
               jitter: u32, last_sr: u32, delay_since_last_sr: u32) -> rtcp::ReportBlock {
        rtcp::ReportBlock { ssrc, fraction_lost, cumulative_lost, highest_sequence, jitter, last_sr, delay_since_last_sr }
    }
}

fn ids() -> impl Strategy<Value = Map> {
    (
        Just((1..=14).chain(16..=255).collect::<Vec<u8>>()).prop_shuffle(),
        any::<bool>(),
    )
        .prop_map(|(ids, low)| {
            let mut map = Map::default();
            // One of the two transport-wide forms, as a description has.
            let kinds = Kind::ALL.into_iter().filter(|kind| *kind != Kind::TransportCc2);
            for (index, kind) in kinds.enumerate() {
                // The first of them as most descriptions have them, or all as they come.
                match (low, index as u8 + 1) {
                    (true, id @ ..15) => map.insert(id, kind),
                    (true, _) => {}
                    (false, _) => map.insert(ids[index], kind),
                }
            }
            map
        })
}

/// The largest frame that is cut, in bytes. Under Miri each byte costs a thousand times as much, and what counts there is each way through
/// the code, not the number of packets.
const LARGEST_FRAME: usize = if cfg!(miri) { 400 } else { 20_000 };

/// Writes the packets of a frame and makes a frame of them; returns it, and whether one of them showed a key frame.
fn there_and_back(name: &str, frame: &[u8], max: usize, cuts: &[Cut]) -> Result<(Vec<u8>, bool), TestCaseError> {
    let depacketizer = Depacketizer::new(name);
    let mut payloads = Vec::new();
    let mut keys = false;
    for (index, cut) in cuts.iter().enumerate() {
        let mut payload = Vec::new();
        cut.layout.write(frame, |part| payload.extend_from_slice(part));
        prop_assert!(payload.len() == cut.layout.len() && payload.len() <= max);
        let piece = depacketizer.depacketize(&payload, cut.marker).unwrap();
        prop_assert_eq!(piece.end, index + 1 == cuts.len());
        if name.starts_with("VP") {
            prop_assert_eq!(piece.start == Start::Yes, index == 0);
        }
        keys |= piece.key_frame;
        payloads.push(payload);
    }
    let mut whole = Vec::new();
    let joined = Joiner::new(depacketizer, "").join(payloads.iter().map(|payload| &payload[..]), &mut whole);
    if let Some(part) = joined.unwrap().part {
        whole.extend_from_slice(&payloads[0][part]);
    }
    Ok((whole, keys))
}

proptest! {
    #[test]
    fn packet(header in header(), csrcs in vec(any::<u32>(), 0..=15), payload: Vec<u8>, padding in 0u8..40, map in ids(),
              mid in option::of("[a-z0-9]{1,20}"), rid in option::of("[a-z]{1,5}"), transport_sequence: Option<u16>,
              time in option::of(0u32..1 << 24), level in option::of((0u8..128, any::<bool>())), levels in option::of(vec(any::<u8>(), 1..30)),
              offset in option::of(-0x80_0000i32..0x80_0000), turns in option::of((any::<bool>(), any::<bool>(), 0u8..4)),
              delay in option::of((0u16..4096, 0u16..4096)), capture: Option<(u64, Option<i64>)>) {
        let values = Values {
            mid: mid.as_deref().map(str::as_bytes),
            rid: rid.as_deref().map(str::as_bytes),
            repaired_rid: rid.as_deref().map(str::as_bytes),
            transport_sequence,
            feedback_request: None,
            abs_send_time: time,
            audio_level: level.map(|(below_overload, voice)| AudioLevel { below_overload, voice }),
            csrc_audio_levels: levels.as_deref(),
            transmission_offset: offset,
            video_orientation: turns.map(|(back_camera, flipped, quarter_turns)| VideoOrientation { back_camera, flipped, quarter_turns }),
            playout_delay: delay.map(|(min, max)| PlayoutDelay { min, max }),
            abs_capture_time: capture.map(|(capture, clock_offset)| AbsCaptureTime { capture, clock_offset }),
            ..Values::default()
        };
        let mut bytes = written(|out| {
            header.write(&csrcs, &values, &map, out)?;
            out.put_slice(&payload)
        });
        bytes.resize(bytes.len() + usize::from(padding), 0xaa);
        set_padding(&mut bytes, padding);
        let packet = Packet::parse(&bytes).unwrap();
        prop_assert_eq!(packet.header, header);
        prop_assert_eq!(packet.csrcs().collect::<Vec<_>>(), csrcs);
        prop_assert_eq!(packet.payload(), &payload[..]);
        prop_assert_eq!(&bytes[packet.payload_range()], &payload[..]);
        prop_assert_eq!(packet.padding_len(), usize::from(padding));
        prop_assert_eq!(packet.values(&map), values);
    }

    #[test]
    fn one_form_alone_leaves_out_what_does_not_fit(mid in "[a-z0-9]{1,40}", rid in "[a-z]{1,40}", map_mid in 1u8..=255, map_rid in 1u8..=255,
                                                   sequence: u16) {
        prop_assume!(map_mid != map_rid && map_mid != 7 && map_rid != 7);
        let mut map = Map::default();
        for (id, kind) in [(map_mid, Kind::Mid), (map_rid, Kind::Rid), (7, Kind::TransportCc)] {
            map.insert(id, kind);
        }
        map.set_one_byte_only(true);
        let values = Values {
            mid: Some(mid.as_bytes()),
            rid: Some(rid.as_bytes()),
            transport_sequence: Some(sequence),
            ..Values::default()
        };
        let bytes = written(|out| Header::default().write(&[], &values, &map, out));
        prop_assert_eq!(&bytes[12..14], [0xbe, 0xde]);
        let got = Packet::parse(&bytes).unwrap().values(&map);
        let fits = |kind, data: &str| map.id(kind).is_some_and(|id| id < 15) && data.len() <= 16;
        prop_assert_eq!(got.mid.is_some(), fits(Kind::Mid, &mid));
        prop_assert_eq!(got.rid.is_some(), fits(Kind::Rid, &rid));
        prop_assert_eq!(got.transport_sequence, Some(sequence));
        // A template of it is the same.
        let mut template = Template::new(&values, &map);
        prop_assert_eq!(template.fill(&Header::default(), sequence, 0), &bytes[..]);
    }

    #[test]
    fn feedback_request(sequence: u16, timestamps: bool, count in 1u16..0x8000) {
        let mut map = Map::default();
        map.insert(3, Kind::TransportCc2);
        let values = Values {
            transport_sequence: Some(sequence),
            feedback_request: Some(FeedbackRequest { timestamps, count }),
            ..Values::default()
        };
        let bytes = written(|out| Header::default().write(&[], &values, &map, out));
        prop_assert_eq!(Packet::parse(&bytes).unwrap().values(&map), values);
    }

    #[test]
    fn reports(ssrc: u32, blocks in vec(block(), 0..=31), ntp: u64, rtp_timestamp: u32, packet_count: u32, octet_count: u32) {
        let info = rtcp::SenderInfo { ntp, rtp_timestamp, packet_count, octet_count };
        let bytes = written(|out| rtcp::write_sender_report(ssrc, &info, &blocks, out));
        let Rtcp::SenderReport(report) = one(&bytes) else { panic!() };
        prop_assert_eq!((report.ssrc, report.info), (ssrc, info));
        prop_assert_eq!(report.blocks().collect::<Vec<_>>(), blocks.clone());
        let bytes = written(|out| rtcp::write_receiver_report(ssrc, &blocks, out));
        let Rtcp::ReceiverReport(report) = one(&bytes) else { panic!() };
        prop_assert_eq!(report.ssrc, ssrc);
        prop_assert_eq!(report.blocks().collect::<Vec<_>>(), blocks);
    }

    #[test]
    fn descriptions(ssrcs in vec(any::<u32>(), 0..=31), cname in "[a-zA-Z0-9]{0,255}", reason in option::of("[a-z ]{1,60}"),
                    subtype in 0u8..32, words in vec(any::<[u8; 4]>(), 0..9)) {
        let bytes = written(|out| rtcp::write_cname(&ssrcs, cname.as_bytes(), out));
        let Rtcp::Sdes(sdes) = one(&bytes) else { panic!() };
        prop_assert!(sdes.chunks().all(|chunk| chunk.cname() == Some(cname.as_bytes()) && chunk.items().count() == 1));
        prop_assert_eq!(sdes.chunks().map(|chunk| chunk.ssrc).collect::<Vec<_>>(), ssrcs.clone());
        let reason = reason.as_deref().map(str::as_bytes);
        let bytes = written(|out| rtcp::write_bye(&ssrcs, reason, out));
        let Rtcp::Bye(bye) = one(&bytes) else { panic!() };
        prop_assert_eq!((bye.ssrcs().collect::<Vec<_>>(), bye.reason), (ssrcs, reason));
        let data = words.concat();
        let app = rtcp::App { subtype, ssrc: 5, name: *b"name", data: &data };
        let bytes = written(|out| rtcp::write_app(&app, out));
        let Rtcp::App(parsed) = one(&bytes) else { panic!() };
        prop_assert_eq!(parsed, app);
    }

    #[test]
    fn nack(start: u16, gaps in vec(1u16..40, 0..60), sender: u32, media: u32) {
        let mut sequences = vec![start];
        for gap in gaps {
            sequences.push(sequences.last().unwrap().wrapping_add(gap));
        }
        let bytes = written(|out| rtcp::write_nack(sender, media, rtcp::nack_pairs(sequences.iter().copied()), out));
        let Rtcp::Nack(nack) = one(&bytes) else { panic!() };
        prop_assert_eq!((nack.sender, nack.media), (sender, media));
        prop_assert_eq!(nack.sequences().collect::<Vec<_>>(), sequences);
    }

    #[test]
    fn picture_feedback(sender: u32, media: u32, entries in vec((any::<u32>(), any::<u8>()), 0..20), bitrate: u64, ssrcs in vec(any::<u32>(), 0..20)) {
        let pli = rtcp::Pli { sender, media };
        let bytes = written(|out| rtcp::write_pli(pli, out));
        let Rtcp::Pli(parsed) = one(&bytes) else { panic!() };
        prop_assert_eq!(parsed, pli);
        let entries: Vec<_> = entries.into_iter().map(|(ssrc, sequence)| rtcp::FirEntry { ssrc, sequence }).collect();
        let bytes = written(|out| rtcp::write_fir(sender, &entries, out));
        let Rtcp::Fir(fir) = one(&bytes) else { panic!() };
        prop_assert_eq!(fir.entries().collect::<Vec<_>>(), entries);
        let bytes = written(|out| rtcp::write_remb(sender, bitrate, &ssrcs, out));
        let Rtcp::Remb(remb) = one(&bytes) else { panic!() };
        prop_assert_eq!((remb.sender, remb.ssrcs().collect::<Vec<_>>()), (sender, ssrcs));
        prop_assert!(remb.bitrate <= bitrate && bitrate - remb.bitrate <= bitrate >> 17);
    }

    #[test]
    fn transport_feedback(base: u16, reference in -0x80_0000i32..0x80_0000, count: u8,
                          runs in vec((option::weighted(0.7, -400i16..700), 1usize..40), 1..30)) {
        let deltas: Vec<_> = runs.into_iter().flat_map(|(delta, len)| std::iter::repeat_n(delta, len)).collect();
        let bytes = written(|out| rtcp::write_transport_feedback(1, 2, base, reference, count, &deltas, out));
        let Rtcp::TransportFeedback(feedback) = one(&bytes) else { panic!() };
        prop_assert_eq!((feedback.base_sequence, feedback.reference_time, feedback.feedback_count), (base, reference, count));
        let statuses: Vec<_> = feedback.statuses().collect();
        prop_assert_eq!(statuses.iter().map(|status| status.delta).collect::<Vec<_>>(), deltas);
        prop_assert!(statuses.iter().enumerate().all(|(i, status)| status.sequence == base.wrapping_add(i as u16)));
    }

    #[test]
    fn ccfb(streams in vec((any::<u32>(), any::<u16>(), vec(option::of((0u8..4, option::of(0u16..0x1ffe))), 0..50)), 0..5), timestamp: u32) {
        let streams: Vec<_> = streams.into_iter().map(|(ssrc, begin, metrics)| {
            let metrics: Vec<_> = metrics.into_iter().map(|metric| metric.map(|(ecn, arrival_offset)| {
                rtcp::PacketMetric { ecn: Ecn::from_bits(ecn), arrival_offset }
            })).collect();
            (ssrc, begin, metrics)
        }).collect();
        let borrowed: Vec<_> = streams.iter().map(|(ssrc, begin, metrics)| (*ssrc, *begin, &metrics[..])).collect();
        let bytes = written(|out| rtcp::write_ccfb(9, &borrowed, timestamp, out));
        let Rtcp::Ccfb(parsed) = one(&bytes) else { panic!() };
        prop_assert_eq!((parsed.sender, parsed.timestamp), (9, timestamp));
        let parsed: Vec<_> = parsed.streams().map(|s| (s.ssrc, s.begin_sequence, s.metrics().collect::<Vec<_>>())).collect();
        prop_assert_eq!(parsed, streams);
    }

    #[test]
    fn extended_reports(ntp: u64, entries in vec((any::<u32>(), any::<u32>(), any::<u32>()), 0..10)) {
        let bytes = written(|out| rtcp::write_rrtr(4, ntp, out));
        let Rtcp::ExtendedReport(report) = one(&bytes) else { panic!() };
        prop_assert_eq!(report.blocks().collect::<Vec<_>>(), [rtcp::XrBlock::ReceiverReferenceTime { ntp }]);
        let entries: Vec<_> = entries.into_iter().map(|(ssrc, last_rr, delay)| rtcp::Dlrr { ssrc, last_rr, delay }).collect();
        let bytes = written(|out| rtcp::write_dlrr(4, &entries, out));
        let Rtcp::ExtendedReport(report) = one(&bytes) else { panic!() };
        prop_assert_eq!(report.blocks().collect::<Vec<_>>(), [rtcp::XrBlock::DelaySinceLast(rtcp::Entries::of(&entries))]);
    }

    #[test]
    fn vp8_descriptor(non_reference: bool, partition_start: bool, partition in 0u8..8, id in option::of(prop_oneof![
                          (0u8..128).prop_map(vp8::PictureId::Short), (0u16..0x8000).prop_map(vp8::PictureId::Long)]),
                      tl0: Option<u8>, layer in option::of((0u8..4, any::<bool>())), key_index in option::of(0u8..32)) {
        let descriptor = vp8::Descriptor {
            non_reference, partition_start, partition, picture_id: id, tl0_picture_index: tl0, temporal_layer: layer, key_index,
        };
        let mut bytes = [0xee; vp8::MAX_DESCRIPTOR];
        let len = descriptor.write(&mut bytes);
        let payload = [&bytes[..len], &[0x55]].concat();
        prop_assert_eq!(vp8::Descriptor::parse(&payload), Ok((descriptor, len)));
        prop_assert!((0..payload.len()).all(|short| vp8::Descriptor::parse(&payload[..short]).is_err()));
    }

    #[test]
    fn pieces_cover_the_frame(len in 1usize..20_000, max in 1usize..1500) {
        let pieces: Vec<_> = slices(len, max).collect();
        prop_assert_eq!(pieces.iter().map(ExactSizeIterator::len).sum::<usize>(), len);
        prop_assert!(pieces.windows(2).all(|pair| pair[0].end == pair[1].start));
        prop_assert_eq!(pieces.len(), len.div_ceil(max));
        let sizes = || pieces.iter().map(ExactSizeIterator::len);
        prop_assert!(sizes().max().unwrap() - sizes().min().unwrap() <= 1);
    }

    #[test]
    fn frames_come_back_from_their_packets(frame in vec(any::<u8>(), 1..LARGEST_FRAME), max in 16usize..1500, start: u16) {
        for name in ["VP8", "VP9", "opus", "PCMU", "G722", "CN"] {
            let packetizer = Packetizer::new(name, "", start).unwrap();
            let video = name.starts_with("VP");
            let mut cuts = Vec::new();
            if packetizer.packetize(&frame, max, &mut cuts).is_err() {
                prop_assert!(!video && frame.len() > max);
                continue;
            }
            let (whole, _) = there_and_back(name, &frame, max, &cuts)?;
            prop_assert!(whole == frame);
            prop_assert_eq!(video, cuts.last().unwrap().marker);
        }
    }

    #[test]
    fn units_come_back_from_their_packets(
        units in vec((1u8..24, vec(1u8..=255, 1..3000)), 1..10),
        mode in 0..2,
        lengths: bool,
        max in 16usize..1500,
    ) {
        for name in ["H264", "H265", "H266"] {
            let mut frame = Vec::new();
            let mut expected = Vec::new();
            for (kind, payload) in &units {
                let unit = match name {
                    "H264" => [&[0x60 | kind][..], payload].concat(),
                    "H265" => [&[kind << 1, 1][..], payload].concat(),
                    _ => [&[0, kind << 3 | 1][..], payload].concat(),
                };
                let prefix = if lengths { unit.len() as u32 } else { 1 };
                frame.extend_from_slice(&prefix.to_be_bytes());
                frame.extend_from_slice(&unit);
                expected.extend_from_slice(&[0, 0, 0, 1]);
                expected.extend_from_slice(&unit);
            }
            let packetizer = Packetizer::new(name, &format!("packetization-mode={mode}"), 0).unwrap();
            let mut cuts = Vec::new();
            if packetizer.packetize(&frame, max, &mut cuts).is_err() {
                prop_assert!(mode == 0 && name == "H264" && units.iter().any(|(_, payload)| payload.len() + 1 > max));
                continue;
            }
            let (whole, keys) = there_and_back(name, &frame, max, &cuts)?;
            // A frame of an IDR picture alone has no sets to lack: none were ever seen.
            let sets = |kind: u8| match name {
                "H264" => matches!(kind, 7 | 8),
                "H265" => false,
                _ => matches!(kind, 14..=16),
            };
            let lacks = units.iter().any(|(kind, _)| sets(*kind));
            prop_assert!(lacks || whole == expected);
            prop_assert_eq!(keys, packetizer.is_key_frame(&frame));
        }
    }

    #[test]
    fn no_bytes_panic(mut bytes in vec(any::<u8>(), 0..400), packet_type in 198u8..210, words in 0u16..120, plausible: bool, map in ids()) {
        if plausible && bytes.len() >= 4 {
            bytes[0] = 0x80 | bytes[0] & 0x3f;
            bytes[1] = packet_type;
            bytes[2..4].copy_from_slice(&words.to_be_bytes());
        }
        let mut walked = 0;
        for packet in rtcp::packets(&bytes) {
            let Ok(packet) = packet else { continue };
            match packet {
                Rtcp::SenderReport(report) => walked += report.blocks().count(),
                Rtcp::ReceiverReport(report) => walked += report.blocks().count(),
                Rtcp::Sdes(sdes) => walked += sdes.chunks().flat_map(|chunk| chunk.items().collect::<Vec<_>>()).count(),
                Rtcp::Bye(bye) => walked += bye.ssrcs().count(),
                Rtcp::ExtendedReport(report) => walked += report.blocks().count(),
                Rtcp::Nack(nack) => walked += nack.sequences().count(),
                Rtcp::TransportFeedback(feedback) => {
                    prop_assert_eq!(feedback.statuses().count(), usize::from(feedback.status_count));
                }
                Rtcp::Ccfb(ccfb) => walked += ccfb.streams().flat_map(|stream| stream.metrics().collect::<Vec<_>>()).count(),
                Rtcp::Fir(fir) => walked += fir.entries().count(),
                Rtcp::Remb(remb) => walked += remb.ssrcs().count(),
                _ => {}
            }
        }
        prop_assert!(walked <= bytes.len() * 17, "{} items in {} bytes", walked, bytes.len());
        if let Ok(packet) = Packet::parse(&bytes) {
            prop_assert!(packet.payload_range().end <= bytes.len());
            let _ = packet.values(&map);
            prop_assert!(packet.csrcs().count() <= 15);
        }
        for (name, depacketizer) in Depacketizer::NAMES {
            let _ = depacketizer.depacketize(&bytes, plausible);
            let mut out = Vec::new();
            for halves in [[&bytes[..], &[]], [&bytes[..], &bytes[..]]] {
                let payloads = halves.into_iter().filter(|half| !half.is_empty());
                if let Ok(joined) = Joiner::new(depacketizer, "").join(payloads, &mut out) {
                    prop_assert!(joined.part.is_none_or(|part| part.end <= bytes.len()));
                }
            }
            let packetizer = Packetizer::new(name, "", 0).unwrap();
            let _ = (packetizer.is_key_frame(&bytes), packetizer.packetize(&bytes, 100, &mut Vec::new()));
        }
        let _ = (opus::samples(&bytes), bitstream::vp8::resolution(&bytes));
    }
}

/// V8: depacketizers have fallen over payloads of nothing, and over one in the midst of a frame. A packet of nothing but padding is one.
#[test]
fn v8_payloads_of_nothing_are_no_frames() {
    for (name, depacketizer) in Depacketizer::NAMES
        .into_iter()
        .chain([("x-unknown", Depacketizer::Opaque)])
    {
        for marker in [false, true] {
            // Of sound each packet is a frame; pictures have a header at least.
            let read = depacketizer.depacketize(&[], marker);
            let pictures = ["VP8", "VP9", "AV1", "H264", "H265", "H266"];
            assert_eq!(
                read.is_err(),
                pictures.contains(&name) || name == "telephone-event",
                "{name}"
            );
        }
        let join = |payloads: &[&[u8]]| {
            let mut out = Vec::new();
            let joined = Joiner::new(depacketizer, "").join(payloads.iter().copied(), &mut out);
            joined.is_ok_and(|joined| !out.is_empty() || joined.part.is_some_and(|part| !part.is_empty()))
        };
        for count in 0..4 {
            assert!(!join(&vec![&[][..]; count]), "{name}: {count} payloads of nothing");
        }
        // The first bytes of a frame, each cut, before and behind a payload of nothing. Under Miri one in 51.
        for first in (0..=255u8).step_by(if cfg!(miri) { 51 } else { 1 }) {
            for bytes in [&[first][..], &[first, 0x85], &[first, 0x10, 0xff], &[first, 0, 0, 0]] {
                let _ = (join(&[bytes, &[]]), join(&[&[], bytes]), join(&[bytes, &[], bytes]));
            }
        }
    }
}

#[test]
fn v8_padding_and_extension_lengths_are_checked() {
    let mut packet = vec![0xa0, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9];
    assert!(Packet::parse(&packet).is_err(), "P without a body");
    for (last, ok) in [(0, false), (1, true), (4, true), (5, false), (255, false)] {
        packet.truncate(12);
        packet.extend([7, 7, 7, last]);
        assert_eq!(Packet::parse(&packet).is_ok(), ok, "padding of {last}");
    }
    let mut packet = vec![
        0x90, 96, 0, 1, 0, 0, 0, 0, 0, 0, 0, 9, 0xbe, 0xde, 0, 2, 0x10, 0xff, 0, 0,
    ];
    assert!(Packet::parse(&packet).is_err(), "extension past the end");
    packet[15] = 1;
    assert_eq!(
        Packet::parse(&packet).unwrap().elements().collect::<Vec<_>>(),
        [(1, &[0xff][..])]
    );
    packet[16] = 0x1f;
    assert_eq!(
        Packet::parse(&packet).unwrap().elements().count(),
        0,
        "element past the block"
    );
}

#[test]
fn v23_counts_beyond_the_packet_are_refused() {
    // V23: counts that claim more than the bytes hold.
    let cases: [(&str, &[u8]); 6] = [
        ("BYE of 31", &[0x9f, 203, 0, 1, 0, 0, 0, 1]),
        (
            "BYE with a long reason",
            &[0x81, 203, 0, 2, 0, 0, 0, 1, 200, b'x', 0, 0],
        ),
        (
            "SR of 3 blocks",
            &[
                0x83, 200, 0, 6, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        ),
        (
            "REMB of 200",
            &[
                0x8f, 206, 0, 4, 0, 0, 0, 1, 0, 0, 0, 0, b'R', b'E', b'M', b'B', 200, 0, 0, 1,
            ],
        ),
        (
            "feedback on 65535 packets in one chunk of 8191",
            &[
                0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0xff, 0xff, 0, 0, 0, 0, 0x1f, 0xff, 0, 0,
            ],
        ),
        (
            "deltas missing",
            &[
                0x8f, 205, 0, 5, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 9, 0, 0, 0, 0, 0x20, 0x09, 0, 0,
            ],
        ),
    ];
    for (name, bytes) in cases {
        assert!(rtcp::packets(bytes).any(|packet| packet.is_err()), "{name}");
    }
}
