//! The table over the committed plaintext captures: everything in them is known, comes back byte for byte, and has the frames
//! that the browsers counted. And over odd ones, made here: other link types, TCP, cipher text.

use antiphon_conformance::{capture, table};
use antiphon_sansio::Rng;

fn rows() -> Vec<table::Row> {
    let files = table::captures(&[capture::fixtures().join("packets")]);
    assert!(files.len() >= 9, "the fixtures are there: {}", files.len());
    let rows = files.iter().map(|file| table::row(file).expect("it is a capture"));
    rows.collect()
}

#[test]
fn every_extension_and_rtcp_packet_is_typed_and_written_back() {
    let rows = rows();
    let text = table::render(&rows);
    println!("{text}");
    for row in &rows {
        assert!(row.holds(), "{text}");
        assert!(
            row.rtp > 100 && row.extensions > row.rtp && row.written_back > row.rtp,
            "{}",
            row.name
        );
    }
    let seen = |name| rows.iter().any(|row| row.rtcp.contains_key(name));
    assert!(
        ["SR", "RR", "SDES", "XR", "TWCC", "NACK", "PLI"].into_iter().all(seen),
        "{text}"
    );
}

#[test]
fn frames_and_key_frames_are_as_many_as_the_browsers_say() {
    let mut compared = 0;
    for row in rows() {
        // Where two of three packets are lost, what the receiver decoded says little of what the sender sent.
        if row.name.contains("loss") {
            continue;
        }
        for stream in &row.streams {
            assert!(stream.agrees() && stream.broken == 0, "{}: {stream}", row.name);
            compared += usize::from(stream.sent.is_some_and(|sent| sent.frames.is_some()));
        }
    }
    assert!(compared >= 6, "{compared} streams of video");
}

/// A packet of PCMU, with 20 ms of sound.
fn rtp(sequence: u16) -> Vec<u8> {
    let mut packet = vec![0x80, 0];
    packet.extend_from_slice(&sequence.to_be_bytes());
    packet.extend_from_slice(&(u32::from(sequence) * 160).to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 7]);
    packet.resize(12 + 160, 0x55);
    packet
}

fn udp(payload: &[u8]) -> Vec<u8> {
    let length = (8 + payload.len()) as u16;
    [&[0x13, 0x88, 0x13, 0x8a][..], &length.to_be_bytes(), &[0, 0], payload].concat()
}

/// The header of a segment with this number, and what it carries.
fn tcp(sequence: u32, payload: &[u8]) -> Vec<u8> {
    let head = [&[0x13, 0x88, 0x13, 0x8a][..], &sequence.to_be_bytes(), &[0; 4]].concat();
    [&head[..], &[0x50, 0x10, 0xff, 0xff, 0, 0, 0, 0], payload].concat()
}

fn ipv4(protocol: u8, payload: &[u8]) -> Vec<u8> {
    let length = (20 + payload.len()) as u16;
    let mut packet = vec![0x45, 0];
    packet.extend_from_slice(&length.to_be_bytes());
    packet.extend_from_slice(&[0, 1, 0, 0, 64, protocol, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2]);
    packet.extend_from_slice(payload);
    packet
}

fn ipv6(payload: &[u8]) -> Vec<u8> {
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&(payload.len() as u16).to_be_bytes());
    packet.extend_from_slice(&[17, 64]);
    for host in [1, 2] {
        packet.extend_from_slice(&[0xfd, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host]);
    }
    packet.extend_from_slice(payload);
    packet
}

/// The row of a capture of these frames, a fraction of a second apart.
fn row_of(link: u32, magic: u32, frames: &[Vec<u8>], cut_off: usize) -> table::Row {
    let mut file = magic.to_le_bytes().to_vec();
    file.extend_from_slice(&[2, 0, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0]);
    file.extend_from_slice(&link.to_le_bytes());
    for (number, frame) in (0u32..).zip(frames) {
        for field in [1, number, frame.len() as u32, frame.len() as u32] {
            file.extend_from_slice(&field.to_le_bytes());
        }
        file.extend_from_slice(frame);
    }
    file.truncate(file.len() - cut_off);
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("odd.pcap");
    std::fs::write(&path, file).expect("it can be written");
    table::row(&path).expect("it is a capture")
}

const MICROSECONDS: u32 = 0xa1b2_c3d4;
const NANOSECONDS: u32 = 0xa1b2_3c4d;

/// What all these captures hold: three packets of one stream.
fn is_the_stream(row: &table::Row, packets: usize) {
    let text = table::render(std::slice::from_ref(row));
    assert!(row.holds(), "{text}");
    assert_eq!(
        (row.rtp, row.written_back, row.streams.len()),
        (packets, packets, 1),
        "{text}"
    );
    assert_eq!(
        row.streams[0].encoding, "PCMU",
        "a static payload type needs no description"
    );
    assert_eq!(row.streams[0].frames, packets);
}

/// Puts what comes before an IP packet, by its link type, in front of it.
type Framing<'a> = &'a dyn Fn(&[u8]) -> Vec<u8>;

#[test]
fn every_way_of_capturing_is_read() {
    let packets = [ipv4(17, &udp(&rtp(1))), ipv6(&udp(&rtp(2))), ipv4(17, &udp(&rtp(3)))];
    let kind = |packet: &[u8]| {
        if packet[0] >> 4 == 4 {
            [0x08, 0x00]
        } else {
            [0x86, 0xdd]
        }
    };
    let ways: [(u32, Framing<'_>); 7] = [
        (1, &|packet| [&[2; 12][..], &kind(packet), packet].concat()),
        // With a VLAN tag, and with one inside another.
        (1, &|packet| {
            [&[2; 12][..], &[0x81, 0, 0, 7], &kind(packet), packet].concat()
        }),
        (1, &|packet| {
            [&[2; 12][..], &[0x88, 0xa8, 0, 9, 0x81, 0, 0, 7], &kind(packet), packet].concat()
        }),
        (101, &<[u8]>::to_vec),
        (0, &|packet| [&[2, 0, 0, 0][..], packet].concat()),
        (113, &|packet| {
            [&[0, 0, 0, 1, 0, 6, 2, 2, 2, 2, 2, 2, 0, 0][..], &kind(packet), packet].concat()
        }),
        (276, &|packet| {
            [&kind(packet)[..], &[0, 0, 0, 0, 0, 1, 0, 1, 0, 6], &[2; 8], packet].concat()
        }),
    ];
    for (link, way) in ways {
        let frames = packets.each_ref().map(|packet| way(packet));
        for magic in [MICROSECONDS, NANOSECONDS] {
            is_the_stream(&row_of(link, magic, &frames, 0), 3);
            // Whoever captured it was stopped in the middle of the last packet.
            is_the_stream(&row_of(link, magic, &frames, 30), 2);
        }
    }
}

#[test]
fn checks_and_keys_between_packets_of_tcp_are_no_rtp() {
    let stun = [&[0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42][..], &[3; 12]].concat();
    let dtls = [&[22, 0xfe, 0xfd][..], &[0; 10]].concat();
    let stream: Vec<u8> = [stun, rtp(1), dtls, rtp(2), rtp(3)]
        .iter()
        .flat_map(|packet| [&(packet.len() as u16).to_be_bytes()[..], packet].concat())
        .collect();
    // Cut anywhere, and the second segment lost on its first way.
    let parts: Vec<(usize, &[u8])> = stream.chunks(100).enumerate().collect();
    let order = [0, 2, 1, 3, 4, 5];
    assert_eq!(parts.len(), order.len());
    let frames = order.map(|index| {
        let (at, part) = parts[index];
        ipv4(6, &tcp(77 + at as u32 * 100, part))
    });
    is_the_stream(&row_of(101, MICROSECONDS, &frames, 0), 3);
}

#[test]
fn cipher_text_is_not_taken_for_rtp() {
    let mut rng = Rng::from_u64(5);
    let mut random = |len: usize| {
        let mut bytes = vec![0; len];
        rng.fill(&mut bytes);
        bytes
    };
    // A tunnel.
    let frames: Vec<Vec<u8>> = (0..200).map(|_| ipv4(17, &udp(&random(200)))).collect();
    let row = row_of(101, MICROSECONDS, &frames, 0);
    let text = table::render(std::slice::from_ref(&row));
    assert!(row.rtp == 0 && row.streams.is_empty() && row.holds(), "{text}");
    assert!(row.left_out[&table::LeftOut::NoRtp] > 30, "{text}");
    // SRTP: the headers are those of RTP, and SRTCP has its first eight bytes in the clear.
    let mut frames = Vec::new();
    for sequence in 0..50 {
        let packet = [&rtp(sequence)[..12], &random(170)].concat();
        frames.push(ipv4(17, &udp(&packet)));
        if sequence % 10 == 0 {
            let report = [&[0x81, 201, 0, 7, 0, 0, 0, 7][..], &random(44)].concat();
            frames.push(ipv4(17, &udp(&report)));
        }
    }
    let row = row_of(101, MICROSECONDS, &frames, 0);
    let text = table::render(std::slice::from_ref(&row));
    assert_eq!(row.left_out[&table::LeftOut::Encrypted], 55, "{text}");
    assert!(
        !row.holds() && row.faults.is_empty() && row.streams.is_empty(),
        "{text}"
    );
}
