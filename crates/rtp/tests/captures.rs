//! What browsers really send: every packet parses, and VP8 comes apart into whole frames.

use std::collections::BTreeMap;
use std::path::PathBuf;

use antiphon_rtp::bitstream::{self, Resolution};
use antiphon_rtp::extension::{Kind, Map, dependency, is_well_formed};
use antiphon_rtp::packet::{Packet, is_rtcp};
use antiphon_rtp::payload::{Depacketizer, Joiner, Start};
use antiphon_rtp::rtcp;
use antiphon_sansio::Writer;

/// The payloads of a frame so far.
type Payloads = Vec<Vec<u8>>;

#[derive(Default)]
struct Seen {
    rtp: usize,
    rtcp: BTreeMap<&'static str, usize>,
    with_mid: usize,
    with_transport_sequence: usize,
    /// Extensions that come with few packets, by kind.
    others: BTreeMap<String, usize>,
    /// Dependency descriptors whose structure came before them, and those of retransmissions.
    descriptors: usize,
    repeated_descriptors: usize,
    frames: usize,
    key_frames: usize,
    size: Option<Resolution>,
    broken: usize,
}

/// What the description says of extensions and VP8 payload types.
fn description(sdp: &str) -> (Map, Vec<u8>) {
    let mut map = Map::default();
    let mut vp8 = Vec::new();
    for line in sdp.lines() {
        if let Some(rest) = line.strip_prefix("a=extmap:") {
            let (id, uri) = rest.split_once(' ').unwrap();
            let id = id.split('/').next().unwrap();
            map.insert_uri(id.parse().unwrap(), uri.trim());
        }
        if let Some((pt, "VP8/90000")) = line.strip_prefix("a=rtpmap:").and_then(|rest| rest.split_once(' ')) {
            vp8.push(pt.parse().unwrap());
        }
    }
    (map, vp8)
}

fn look(packets: impl Iterator<Item = (bool, Vec<u8>)>, map: &Map, vp8_types: &[u8]) -> Seen {
    let mut seen = Seen::default();
    // Per direction and source: the payloads of the frame so far, and the sequence number that must come next.
    let mut assembly: BTreeMap<(bool, u32), (Payloads, u16)> = BTreeMap::new();
    let mut dependencies: BTreeMap<(bool, u32), dependency::Stream> = BTreeMap::new();
    for (sent, bytes) in packets {
        if is_rtcp(&bytes) {
            written_back(&bytes);
            for packet in rtcp::packets(&bytes) {
                let name =
                    match packet.unwrap_or_else(|error| panic!("browser RTCP parses: {error} {sent} {bytes:02x?}")) {
                        rtcp::Packet::SenderReport(_) => "SR",
                        rtcp::Packet::ReceiverReport(_) => "RR",
                        rtcp::Packet::Sdes(_) => "SDES",
                        rtcp::Packet::Bye(_) => "BYE",
                        rtcp::Packet::ExtendedReport(_) => "XR",
                        rtcp::Packet::Nack(_) => "NACK",
                        rtcp::Packet::TransportFeedback(feedback) => {
                            assert_eq!(feedback.statuses().count(), usize::from(feedback.status_count));
                            "TWCC"
                        }
                        rtcp::Packet::Ccfb(_) => "CCFB",
                        rtcp::Packet::Pli(_) => "PLI",
                        rtcp::Packet::Fir(_) => "FIR",
                        rtcp::Packet::Remb(_) => "REMB",
                        _ => "other",
                    };
                *seen.rtcp.entry(name).or_default() += 1;
            }
            continue;
        }
        let packet = Packet::parse(&bytes).expect("browser RTP parses");
        seen.rtp += 1;
        let values = packet.values(map);
        seen.with_mid += usize::from(values.mid.is_some());
        seen.with_transport_sequence += usize::from(values.transport_sequence.is_some());
        for (kind, data) in values.others.iter() {
            assert!(is_well_formed(kind, data), "{kind:?} {data:02x?}");
            *seen.others.entry(format!("{kind:?}")).or_default() += 1;
        }
        if let Some(data) = values.others.get(Kind::DependencyDescriptor) {
            let stream = dependencies.entry((sent, packet.header.ssrc)).or_default();
            let descriptor = match stream.read(data) {
                Ok(descriptor) => descriptor,
                // A retransmission speaks of the structure of the source that it repeats.
                Err(error) => {
                    assert_eq!(error, dependency::DescriptorError::NoStructure);
                    seen.repeated_descriptors += 1;
                    continue;
                }
            };
            seen.descriptors += 1;
            let mut buffer = [0; 255];
            let mut out = Writer::new(&mut buffer);
            descriptor.write(stream.structure(), &mut out).expect("it fits");
            assert_eq!(out.finish(), data, "written as it was read");
            assert!(
                stream
                    .resolve(&descriptor)
                    .is_some_and(|frame| frame.is_for(stream.active_targets()))
            );
        }
        if !vp8_types.contains(&packet.header.payload_type) || packet.payload().is_empty() {
            continue;
        }
        let piece = Depacketizer::Vp8
            .depacketize(packet.payload(), packet.header.marker)
            .expect("VP8 descriptor parses");
        let (payloads, expected) = assembly.entry((sent, packet.header.ssrc)).or_default();
        if piece.start == Start::Yes {
            payloads.clear();
            if piece.key_frame {
                seen.key_frames += 1;
            }
        } else if *expected != packet.header.sequence {
            seen.broken += 1;
        }
        *expected = packet.header.sequence.wrapping_add(1);
        payloads.push(packet.payload().to_vec());
        if packet.header.marker {
            let mut frame = Vec::new();
            let parts = payloads.iter().map(|payload| &payload[..]);
            // A packet that was sent again stands here a second time.
            if let Ok(joined) = Joiner::new(Depacketizer::Vp8, "").join(parts, &mut frame) {
                if let Some(part) = joined.part {
                    frame.extend_from_slice(&payloads[0][part]);
                }
                seen.size = bitstream::vp8::resolution(&frame).or(seen.size);
            }
            seen.frames += 1;
        }
    }
    seen
}

/// Every packet of a compound, written from what was read of it.
fn written_back(compound: &[u8]) {
    let mut buffer = [0; 2000];
    let mut out = Writer::new(&mut buffer);
    let mut packets = rtcp::packets(compound);
    while let Some(packet) = packets.next() {
        let packet = packet.expect("browser RTCP parses");
        assert!(!matches!(packet, rtcp::Packet::Unknown(_)), "{packet:?}");
        packet.write(packets.padding(), &mut out).expect("it fits");
    }
    assert_eq!(out.finish(), compound);
}

#[test]
fn an_excerpt_of_a_chromium_session() {
    let text = include_str!("fixtures/chromium-video.txt");
    let (map, vp8_types) = description(text);
    let packets = text.lines().filter_map(|line| {
        let sent = line.starts_with("> ");
        let hex = line.strip_prefix("> ").or_else(|| line.strip_prefix("< "))?;
        let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
        Some((sent, (0..hex.len()).step_by(2).map(byte).collect()))
    });
    let seen = look(packets, &map, &vp8_types);
    assert!(
        seen.rtp > 50 && seen.with_mid > 0 && seen.with_transport_sequence > 50,
        "{}",
        seen.rtp
    );
    assert!(
        seen.frames >= 8 && seen.key_frames >= 1 && seen.broken == 0,
        "{} {}",
        seen.frames,
        seen.broken
    );
    let size = Resolution {
        width: 320,
        height: 240,
    };
    assert_eq!(seen.size, Some(size));
    for kind in ["SR", "SDES", "TWCC"] {
        assert!(seen.rtcp.contains_key(kind), "{kind} in {:?}", seen.rtcp);
    }
}

/// The committed captures, or the folder that CAPTURES names.
#[test]
fn every_capture() {
    let committed = concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance/fixtures/packets");
    let root = std::env::var_os("CAPTURES").map_or_else(|| PathBuf::from(committed), PathBuf::from);
    let mut packets = 0;
    for session in std::fs::read_dir(root).unwrap() {
        let session = session.unwrap().path();
        let mut files: Vec<_> = std::fs::read_dir(&session)
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        let sdp: String = files
            .iter()
            .filter(|path| path.extension().is_some_and(|extension| extension == "sdp"))
            .map(|path| std::fs::read_to_string(path).unwrap())
            .collect();
        let (map, vp8_types) = description(&sdp);
        for path in files
            .iter()
            .filter(|path| path.to_string_lossy().ends_with("-rtp.pcapng"))
        {
            println!("{}", path.display());
            let seen = look(pcapng(&std::fs::read(path).unwrap()).into_iter(), &map, &vp8_types);
            packets += seen.rtp;
            assert!(seen.descriptors >= seen.repeated_descriptors * 4);
            println!(
                "{:50} rtp {:5} mid {:5} twcc {:5} others {:?} rtcp {:?} frames {} key {} broken {} {:?}",
                session.file_name().unwrap().to_string_lossy(),
                seen.rtp,
                seen.with_mid,
                seen.with_transport_sequence,
                seen.others,
                seen.rtcp,
                seen.frames,
                seen.key_frames,
                seen.broken,
                seen.size,
            );
        }
    }
    assert!(packets > 1000, "only {packets} packets were read");
}

/// UDP payloads of a little-endian pcapng file of IPv4 without options: `(sent, bytes)`.
fn pcapng(file: &[u8]) -> Vec<(bool, Vec<u8>)> {
    let mut packets = Vec::new();
    let mut rest = file;
    while rest.len() >= 12 {
        let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        let len = word(4) as usize;
        if word(0) == 6 {
            // An Ethernet header made up by the exporter, 20 bytes of IPv4, 8 of UDP.
            let udp = &rest[28 + 14 + 20..28 + word(20) as usize];
            let sent = u16::from_be_bytes([udp[2], udp[3]]) == 1000;
            // Short frames are padded to 60 bytes: the UDP length says what counts.
            let len = usize::from(u16::from_be_bytes([udp[4], udp[5]]));
            packets.push((sent, udp[8..len].to_vec()));
        }
        rest = &rest[len..];
    }
    packets
}
