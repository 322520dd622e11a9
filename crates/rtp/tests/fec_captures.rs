//! What Chromium lost on a link of ours: every lost packet that its repair packets allow is recovered as it was sent.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use antiphon_rtp::extension::{Kind, Map};
use antiphon_rtp::fec::{Format, Recoverer};
use antiphon_rtp::packet::{Packet, is_rtcp};
use antiphon_rtp::payload::red;

/// A session: what its offer says, and what each end logged.
struct Session {
    map: Map,
    sdp: String,
    a: Vec<(bool, Vec<u8>)>,
    b: Vec<(bool, Vec<u8>)>,
}

impl Session {
    fn open(name: &str) -> Self {
        let folder = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../conformance/fixtures/fec")).join(name);
        let sdp = std::fs::read_to_string(folder.join("01-A-chromium-offer.sdp")).unwrap();
        let mut map = Map::default();
        for line in sdp.lines() {
            if let Some((id, uri)) = line.strip_prefix("a=extmap:").and_then(|rest| rest.split_once(' ')) {
                map.insert_uri(id.parse().unwrap(), uri.trim());
            }
        }
        let read = |side: &str| {
            let file = std::fs::read(folder.join(format!("plain-{side}-rtp.pcapng")));
            file.map(|file| pcapng(&file)).unwrap_or_default()
        };
        let (a, b) = (read("A"), read("B"));
        Self { map, sdp, a, b }
    }

    fn payload_type(&self, encoding: &str) -> u8 {
        let found = self.sdp.lines().find_map(|line| {
            let (number, name) = line.strip_prefix("a=rtpmap:")?.split_once(' ')?;
            (name == encoding).then(|| number.parse().unwrap())
        });
        found.unwrap()
    }
}

/// UDP payloads of a little-endian pcapng file of IPv4 without options: `(sent, bytes)`; RTP alone.
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
            if !is_rtcp(&udp[8..len]) {
                packets.push((sent, udp[8..len].to_vec()));
            }
        }
        rest = &rest[len..];
    }
    packets
}

/// A packet with the extensions of the hop as zeros: what Chromium protects.
fn without_hop(packet: &[u8], map: &Map) -> Vec<u8> {
    let mut out = packet.to_vec();
    for (id, data) in Packet::parse(packet).unwrap().elements() {
        let kept = match map.kind(id) {
            Some(Kind::TransportCc | Kind::AbsSendTime | Kind::TransmissionOffset) => 0,
            Some(Kind::VideoTiming) => 7,
            _ => data.len(),
        };
        let start = data.as_ptr().addr() - packet.as_ptr().addr();
        out[start + kept..start + data.len()].fill(0);
    }
    out
}

/// Which packets can be recovered, told from the numbers alone: from repairs that miss one, again and again.
fn by_theory(received: &BTreeSet<u16>, repairs: &[Vec<u16>]) -> BTreeSet<u16> {
    let mut known = received.clone();
    loop {
        let before = known.len();
        for protected in repairs {
            let mut missing = protected.iter().filter(|sequence| !known.contains(sequence));
            if let (Some(&one), None) = (missing.next(), missing.next()) {
                known.insert(one);
            }
        }
        if known.len() == before {
            return known.difference(received).copied().collect();
        }
    }
}

#[test]
fn flexfec_03_recovers_what_the_masks_allow() {
    let session = Session::open("chromium-chromium-loss3-flexfec03");
    let fec = session.payload_type("flexfec-03/90000");
    let vp8 = session.payload_type("VP8/90000");
    let sent: BTreeMap<u16, &Vec<u8>> = session
        .a
        .iter()
        .filter(|(sent, bytes)| *sent && bytes[1] & 0x7f == vp8)
        .map(|(_, bytes)| (Packet::parse(bytes).unwrap().header.sequence, bytes))
        .collect();
    let ssrc = Packet::parse(sent.values().next().unwrap()).unwrap().header.ssrc;
    let mut recoverer = Recoverer::new(ssrc);
    let (mut received, mut repairs) = (BTreeSet::new(), Vec::new());
    let mut recovered = BTreeSet::new();
    for (_, bytes) in session.b.iter().filter(|(sent, _)| !sent) {
        let packet = Packet::parse(bytes).unwrap();
        if packet.header.payload_type == vp8 {
            received.insert(packet.header.sequence);
            recoverer.insert(&[bytes], &session.map);
        } else if packet.header.payload_type == fec {
            let repair = Format::FlexFec03.parse(packet.payload()).unwrap();
            assert_eq!(repair.ssrc, Some(ssrc));
            repairs.push(repair.protected.sequences().collect::<Vec<_>>());
            recoverer.insert_repair(&repair);
        }
        while let Some(packet) = recoverer.poll() {
            let sequence = Packet::parse(packet).unwrap().header.sequence;
            assert_eq!(packet, without_hop(sent[&sequence], &session.map), "number {sequence}");
            assert!(recovered.insert(sequence));
        }
    }
    let lost: BTreeSet<u16> = sent
        .keys()
        .filter(|number| !received.contains(number))
        .copied()
        .collect();
    let theory: BTreeSet<u16> = by_theory(&received, &repairs);
    println!(
        "sent {} lost {lost:?} repairs {} recovered {recovered:?}",
        sent.len(),
        repairs.len()
    );
    assert_eq!(recovered, theory);
    assert!(recovered.is_subset(&lost));
    // Two were lost before Chromium began to send repairs that reach them.
    assert_eq!((lost.len(), recovered.len(), recoverer.stats().unneeded), (14, 12, 101));
}

#[test]
fn every_block_of_red_is_the_payload_of_the_packet_before() {
    let session = Session::open("chromium-chromium-opus-red");
    let red = session.payload_type("red/48000/2");
    let mut primary: BTreeMap<u32, &[u8]> = BTreeMap::new();
    let (mut repeated, mut padding) = (0, 0);
    for (_, bytes) in &session.a {
        let packet = Packet::parse(bytes).unwrap();
        assert_eq!(packet.header.payload_type, red);
        if packet.payload().is_empty() {
            // Chromium probes in the stream itself: a number lies between a payload and its repetition.
            padding += 1;
            continue;
        }
        for block in red::parse(packet.payload()).unwrap() {
            let timestamp = packet.header.timestamp.wrapping_sub(u32::from(block.timestamp_offset));
            if block.distance == 0 {
                primary.insert(timestamp, block.payload);
            } else if let Some(before) = primary.get(&timestamp) {
                assert_eq!(*before, block.payload, "at {timestamp}");
                repeated += 1;
            }
        }
    }
    println!("{} packets, {repeated} repeated, {padding} of padding", primary.len());
    // Whichever single packet is lost comes back from the next.
    assert_eq!(repeated + 1, primary.len());
    assert_eq!(primary.len() + padding, session.a.len());
}

#[test]
fn red_of_video_and_its_ulpfec() {
    let session = Session::open("chromium-chromium-loss2-av");
    let (red, ulpfec) = (session.payload_type("red/90000"), session.payload_type("ulpfec/90000"));
    let vp8 = session.payload_type("VP8/90000");
    // Both ends send: what B received of A, and A of B.
    for (sender, receiver) in [(&session.a, &session.b), (&session.b, &session.a)] {
        // As it was before RED: the payload type of the block, and no header of RED.
        let unwrapped = |bytes: &[u8]| {
            let packet = Packet::parse(bytes).unwrap();
            let block = red::parse(packet.payload()).unwrap().last().unwrap();
            let mut whole = bytes[..packet.header_len()].to_vec();
            whole[1] = whole[1] & 0x80 | block.payload_type;
            whole.extend_from_slice(block.payload);
            (packet.header.sequence, packet.header.ssrc, block.payload_type, whole)
        };
        let is_red = |bytes: &Vec<u8>| bytes[1] & 0x7f == red;
        let sent: BTreeMap<u16, (u8, Vec<u8>)> = sender
            .iter()
            .filter(|(sent, bytes)| *sent && is_red(bytes))
            .map(|(_, bytes)| {
                let (sequence, _, payload_type, whole) = unwrapped(bytes);
                (sequence, (payload_type, whole))
            })
            .collect();
        let mut recoverer: Option<Recoverer> = None;
        let (mut received, mut repairs, mut recovered) = (BTreeSet::new(), Vec::new(), BTreeSet::new());
        for (_, bytes) in receiver.iter().filter(|(sent, bytes)| !sent && is_red(bytes)) {
            let (sequence, ssrc, payload_type, whole) = unwrapped(bytes);
            let recoverer = recoverer.get_or_insert_with(|| Recoverer::new(ssrc));
            if payload_type == vp8 {
                received.insert(sequence);
                recoverer.insert(&[&whole], &session.map);
            } else {
                assert_eq!(payload_type, ulpfec);
                let packet = Packet::parse(&whole).unwrap();
                let repair = Format::Ulpfec.parse(packet.payload()).unwrap();
                repairs.push(repair.protected.sequences().collect::<Vec<_>>());
                recoverer.insert_repair(&repair);
            }
            while let Some(packet) = recoverer.poll() {
                let sequence = Packet::parse(packet).unwrap().header.sequence;
                assert_eq!(
                    packet,
                    without_hop(&sent[&sequence].1, &session.map),
                    "number {sequence}"
                );
                assert!(recovered.insert(sequence));
            }
        }
        let lost = sent
            .iter()
            .filter(|(number, (kind, _))| *kind == vp8 && !received.contains(number));
        println!(
            "{} packets, {} lost, {} repairs, {} recovered",
            sent.len(),
            lost.count(),
            repairs.len(),
            recovered.len()
        );
        assert!(sent.len() > 300);
        assert_eq!(recovered, by_theory(&received, &repairs));
    }
}
