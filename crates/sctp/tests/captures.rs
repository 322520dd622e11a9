//! What browsers really send. `ANTIPHON_CAPTURES=<directory>` sweeps every `*-sctp.pcapng` below it as well.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use antiphon_sctp::Message;
use antiphon_sctp::chunk::{Chunk, Reset, kind};
use antiphon_sctp::inspect::{Direction, InspectError};
use antiphon_sctp::packet::{HEADER_LEN, Packet, seal, write_header};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;

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
            // Messages that were given up: of channels with a limit on retransmissions or lifetime.
            Chunk::ForwardTsn(forward) => {
                forward.skipped().for_each(drop);
                "forward tsn"
            }
            Chunk::InterleavedForwardTsn(forward) => {
                forward.skipped().for_each(drop);
                "i-forward tsn"
            }
            Chunk::Heartbeat(_) => "heartbeat",
            Chunk::HeartbeatAck(_) => "heartbeat ack",
            Chunk::Shutdown(_) => "shutdown",
            Chunk::ShutdownAck => "shutdown ack",
            Chunk::ShutdownComplete { .. } => "shutdown complete",
            Chunk::Error(_) => "error",
            other => panic!("not expected of a browser: {other:?}"),
        });
    }
    seal(&mut again);
    assert_eq!(again, bytes, "written byte for byte");
    kinds
}

fn unhex(line: &str) -> Vec<u8> {
    let (pairs, _) = line.as_bytes().as_chunks::<2>();
    let digit = |c: u8| char::from(c).to_digit(16).expect("hexadecimal") as u8;
    pairs.iter().map(|[h, l]| digit(*h) << 4 | digit(*l)).collect()
}

#[test]
fn browsers_packets_are_read_and_written_back() {
    let mut seen = Vec::new();
    for line in include_str!("fixtures/browsers.hex")
        .lines()
        .filter(|l| !l.starts_with('#'))
    {
        seen.extend(check(&unhex(line)));
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

/// Both directions of one association, followed by their verification tags.
#[derive(Default)]
struct Followed {
    /// By the tag that its packets carry: that of the receiver's INIT.
    directions: BTreeMap<u32, Direction>,
    /// The INIT whose sender's direction is not known yet, since it is named after the other's tag.
    inits: Vec<(u32, Vec<u8>)>,
    messages: Vec<(u32, Message)>,
}

impl Followed {
    /// From signalling, or from a packet.
    fn init(&mut self, chunk: &[u8]) {
        let Ok((Chunk::Init(init) | Chunk::InitAck(init), _)) = Chunk::parse(chunk) else {
            panic!("no INIT")
        };
        if self.inits.iter().all(|(tag, _)| *tag != init.initiate_tag) {
            self.inits.push((init.initiate_tag, chunk.to_vec()));
        }
        if let [(a, from_a), (b, from_b)] = &self.inits[..] {
            for (tag, chunk) in [(b, from_a), (a, from_b)] {
                // INIT ACK says the same of its sender.
                let chunk = [&[kind::INIT][..], &chunk[1..]].concat();
                self.directions.entry(*tag).or_default().handle_init(&chunk).unwrap();
            }
        }
    }

    fn packet(&mut self, bytes: &[u8]) {
        let packet = Packet::parse(bytes).unwrap();
        if let Some(kind::INIT | kind::INIT_ACK) = packet.first_chunk_kind() {
            let len = u16::from_be_bytes([bytes[HEADER_LEN + 2], bytes[HEADER_LEN + 3]]);
            self.init(&bytes[HEADER_LEN..HEADER_LEN + usize::from(len)]);
            return;
        }
        let tag = packet.verification_tag;
        let direction = self.directions.get_mut(&tag).expect("a tag of one of the INITs");
        let inspected = direction.handle_packet(&Bytes::copy_from_slice(bytes)).unwrap();
        self.messages
            .extend(inspected.messages.into_iter().map(|message| (tag, message)));
    }
}

/// The INIT chunks in the `a=sctp-init` lines of a text.
fn signalled_inits(text: &str) -> Vec<Vec<u8>> {
    let values = text.lines().filter_map(|line| line.strip_prefix("a=sctp-init:"));
    values
        .map(|value| BASE64_STANDARD.decode(value.trim()).unwrap())
        .collect()
}

#[test]
fn mend14_an_association_that_began_in_signalling_is_followed() {
    let text = include_str!("fixtures/snap.txt");
    let mut followed = Followed::default();
    signalled_inits(text).iter().for_each(|init| followed.init(init));
    for line in text.lines().filter(|line| !line.starts_with(['#', 'a'])) {
        let bytes = unhex(line);
        check(&bytes);
        followed.packet(&bytes);
    }
    let of = |ppid: u32| followed.messages.iter().filter(move |(_, m)| m.ppid == ppid).count();
    // DCEP: five channels, opened and acknowledged; text, empty text, empty bytes, and bytes.
    assert_eq!([50, 51, 56, 57, 53].map(of), [10, 2, 1, 1, 2]);
    let bytes = followed.messages.iter().filter(|(_, m)| m.ppid == 53);
    assert_eq!(bytes.map(|(_, m)| m.data.len()).collect::<Vec<_>>(), [3, 1100]);

    // Without it nothing can be followed, and what is no INIT is not taken for one.
    let mut blind = Direction::default();
    let first = unhex(text.lines().find(|line| !line.starts_with(['#', 'a'])).unwrap());
    assert_eq!(blind.handle_packet(&first.into()), Err(InspectError::NoInit));
    let init = &signalled_inits(text)[0];
    assert_eq!(blind.handle_init(&[11, 0, 0, 4]), Err(InspectError::NotInit));
    assert_eq!(
        blind.handle_init(&[init.clone(), vec![0; 8]].concat()),
        Err(InspectError::NotInit)
    );
    assert!(matches!(
        blind.handle_init(&init[..12]),
        Err(InspectError::Malformed(_))
    ));
}

#[test]
fn mend14_a_forward_tsn_is_expected_of_a_browser() {
    for (chunk, name) in [
        (&[192, 0, 0, 12, 0, 0, 0, 9, 0, 1, 0, 2][..], "forward tsn"),
        (
            &[194, 0, 0, 16, 0, 0, 0, 9, 0, 1, 0, 0, 0, 0, 0, 2][..],
            "i-forward tsn",
        ),
    ] {
        let mut packet = Vec::new();
        write_header(&mut packet, 5000, 5000, 1);
        packet.extend_from_slice(chunk);
        seal(&mut packet);
        assert_eq!(check(&packet), [name]);
    }
}

/// Sweeps a directory of captures; what is signalled stands in the descriptions beside them.
#[test]
fn a_directory_of_captures() {
    let Some(directory) = std::env::var_os("ANTIPHON_CAPTURES") else {
        return;
    };
    let mut found = Vec::new();
    sweep(Path::new(&directory), &mut found);
    assert!(!found.is_empty(), "no capture found");
    for path in found {
        let mut followed = Followed::default();
        for entry in std::fs::read_dir(path.parent().unwrap()).unwrap() {
            let beside = entry.unwrap().path();
            if beside.extension().is_some_and(|extension| extension == "sdp") {
                let text = std::fs::read_to_string(beside).unwrap();
                signalled_inits(&text).iter().for_each(|init| followed.init(init));
            }
        }
        let mut packets = 0;
        pcapng(&std::fs::read(&path).unwrap(), |packet| {
            check(packet);
            followed.packet(packet);
            packets += 1;
        });
        let incomplete: usize = followed.directions.values().map(Direction::incomplete).sum();
        println!(
            "{}: {packets} packets, {} messages",
            path.display(),
            followed.messages.len()
        );
        assert!(!followed.messages.is_empty(), "{}", path.display());
        assert_eq!(incomplete, 0, "{}", path.display());
    }
}

fn sweep(directory: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            sweep(&path, found);
        } else if path.to_string_lossy().ends_with("-sctp.pcapng") {
            found.push(path);
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
