//! What browsers really send. `ANTIPHON_CAPTURES=<directory>` sweeps every `*-sctp.pcapng` below it as well.

use std::path::Path;

use antiphon_sctp::chunk::{Chunk, Reset};
use antiphon_sctp::packet::{Packet, seal, write_header};

/// Parses a packet, checks its checksum, writes it anew and compares.
fn check(bytes: &[u8]) -> Vec<&'static str> {
    let packet = Packet::parse(bytes).expect("a common header");
    assert!(packet.checksum_is_correct());
    let mut again = Vec::new();
    write_header(
        &mut again,
        packet.source_port,
        packet.destination_port,
        packet.verification_tag,
    );
    let mut kinds = Vec::new();
    for chunk in packet.chunks() {
        let chunk = chunk.expect("a chunk");
        chunk.write(&mut again);
        kinds.push(match &chunk {
            Chunk::Init(init) => {
                let capabilities = init.capabilities();
                assert!(capabilities.forward_tsn && capabilities.re_config);
                "init"
            }
            Chunk::InitAck(init) => {
                assert!(init.cookie().is_some());
                "init ack"
            }
            Chunk::Data(_) => "data",
            Chunk::InterleavedData(_) => "i-data",
            Chunk::Sack(_) => "sack",
            Chunk::ReConfig(re_config) => match re_config.resets().next() {
                Some(Ok(Reset::Outgoing { streams, .. })) => {
                    assert!(!streams.is_empty());
                    "reset"
                }
                Some(Ok(Reset::Response { .. })) => "reset response",
                other => panic!("unexpected {other:?}"),
            },
            Chunk::CookieEcho(_) => "cookie echo",
            Chunk::CookieAck => "cookie ack",
            Chunk::Abort { .. } => "abort",
            other => panic!("not expected of a browser: {other:?}"),
        });
    }
    seal(&mut again);
    assert_eq!(again, bytes, "written byte for byte");
    kinds
}

#[test]
fn browsers_packets_are_read_and_written_back() {
    let mut seen = Vec::new();
    for line in include_str!("fixtures/browsers.hex")
        .lines()
        .filter(|l| !l.starts_with('#'))
    {
        let (pairs, _) = line.as_bytes().as_chunks::<2>();
        let digit = |c: u8| char::from(c).to_digit(16).expect("hexadecimal") as u8;
        let bytes: Vec<u8> = pairs.iter().map(|[h, l]| digit(*h) << 4 | digit(*l)).collect();
        seen.extend(check(&bytes));
    }
    seen.sort_unstable();
    seen.dedup();
    let expected = [
        "abort",
        "cookie ack",
        "cookie echo",
        "data",
        "i-data",
        "init",
        "init ack",
        "reset",
        "reset response",
        "sack",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn a_directory_of_captures() {
    let Some(directory) = std::env::var_os("ANTIPHON_CAPTURES") else {
        return;
    };
    let mut packets = 0;
    sweep(Path::new(&directory), &mut packets);
    assert!(packets > 0, "no packet found");
}

fn sweep(directory: &Path, packets: &mut usize) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sweep(&path, packets);
        } else if path.to_string_lossy().ends_with("-sctp.pcapng") {
            pcapng(&std::fs::read(&path).unwrap(), |packet| {
                check(packet);
                *packets += 1;
            });
        }
    }
}

/// The enhanced packet blocks of a little-endian pcapng file.
fn pcapng(mut file: &[u8], mut packet: impl FnMut(&[u8])) {
    let word = |bytes: &[u8], at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
    while file.len() >= 12 {
        let (kind, len) = (word(file, 0), word(file, 4));
        let (block, rest) = file.split_at(len);
        if kind == 6 {
            packet(&block[28..28 + word(block, 20)]);
        }
        file = rest;
    }
}
