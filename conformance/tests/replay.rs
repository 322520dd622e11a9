//! Whole sessions with Firefox, decrypted with its key log by our own crates: DTLS 1.2 and 1.3, SRTP, SCTP, and what they
//! carry.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use antiphon_conformance::capture;
use antiphon_conformance::replay::{Counts, Replay};
use antiphon_conformance::session::Session;
use antiphon_dtls::ProtocolVersion;

/// Every capture that has a key log, with its folder.
fn sessions() -> Vec<(PathBuf, Session)> {
    let mut folders: Vec<_> = fs::read_dir(capture::fixtures().join("packets"))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    let files = folders
        .iter()
        .flat_map(|folder| Session::captures(folder).into_iter().map(move |file| (folder, file)));
    let sessions: Vec<_> = files
        .map(|(folder, file)| {
            (
                folder.clone(),
                Session::open(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())),
            )
        })
        .filter(|(_, session)| !session.key_log.is_empty())
        .collect();
    assert_eq!(sessions.len(), 8, "the fixtures are there");
    sessions
}

fn open(folder: &str, file: &str) -> Session {
    Session::open(&capture::fixtures().join("packets").join(folder).join(file)).unwrap()
}

/// What the browsers' own statistics say of the transport: version, cipher, SRTP profile.
fn transport_statistics(folder: &Path) -> (String, String, String) {
    let meta: serde_json::Value = serde_json::from_slice(&fs::read(folder.join("meta.json")).unwrap()).unwrap();
    let transport = &meta["A"]["transport"][0];
    let text = |name: &str| transport[name].as_str().unwrap_or_default().to_owned();
    (text("tlsVersion"), text("dtlsCipher"), text("srtpCipher"))
}

fn print_table(rows: &[(String, Counts, String)]) {
    println!(
        "{:<41} {:>5} {:>6} {:>4} {:>4} {:>4} {:>4} {:>5} {:>5} {:>5} {:>4} {:>5} {:>4} {:>7}  handshake",
        "session",
        "clear",
        "opened",
        "msgs",
        "acks",
        "SRTP",
        "RTCP",
        "kinds",
        "SCTP",
        "chunk",
        "DCEP",
        "texts",
        "bins",
        "bytes"
    );
    for (name, counts, handshake) in rows {
        let (texts, binaries) = counts.messages;
        println!(
            "{:<41} {:>5} {:>6} {:>4} {:>4} {:>4} {:>4} {:>5} {:>5} {:>5} {:>4} {:>5} {:>4} {:>7}  {handshake}",
            name,
            counts.records_clear,
            counts.records_opened,
            counts.handshake_messages,
            counts.acks,
            counts.rtp,
            counts.rtcp,
            counts.rtcp_kinds.values().sum::<usize>(),
            counts.sctp,
            counts.chunks.values().sum::<usize>(),
            counts.dcep,
            texts,
            binaries,
            counts.message_bytes
        );
    }
}

#[test]
fn whole_sessions_are_decrypted() {
    let mut rows = Vec::new();
    for (folder, session) in sessions() {
        let replay = Replay::run(&session);
        let (name, counts, dtls) = (&session.name, &replay.counts, replay.dtls());
        assert!(
            replay.failures.is_empty(),
            "{name}: {:?}",
            &replay.failures[..replay.failures.len().min(8)]
        );
        assert!(dtls.is_complete(), "{name}: both Finished were seen and are right");
        assert!(
            replay.certificates_match(),
            "{name}: certificates are those that the descriptions announce"
        );
        assert_eq!(replay.incomplete_messages(), 0, "{name}");

        let (version, suite) = (dtls.version().unwrap(), dtls.cipher_suite().unwrap());
        // 1.2 has ServerKeyExchange, ServerHelloDone and ClientKeyExchange for EncryptedExtensions and the client's second
        // flight; both ends show certificates.
        let messages = if version == ProtocolVersion::Dtls12 { 11 } else { 10 };
        assert_eq!(counts.handshake_messages, messages, "{name}");
        assert_eq!(counts.acks > 0, version == ProtocolVersion::Dtls13, "{name}");
        assert!(
            !counts.rtcp_kinds.contains_key("unknown"),
            "{name}: {:?}",
            counts.rtcp_kinds
        );
        let (their_version, their_suite, their_srtp) = transport_statistics(&folder);
        assert_eq!(format!("{:04X}", version.code()), their_version, "{name}");
        assert_eq!(suite.name(), their_suite, "{name}");
        let profile = replay.srtp_profile().map_or("no SRTP", antiphon_srtp::Profile::name);
        assert!(
            their_srtp.is_empty() || profile == their_srtp,
            "{name}: {profile} {their_srtp}"
        );
        assert!(counts.rtp + counts.sctp > 20, "{name}");
        let handshake = format!("{version}, {suite:?}, group {:04x}, {profile}", dtls.group().unwrap());
        rows.push((name.clone(), counts.clone(), handshake));
    }
    println!();
    print_table(&rows);
    for (name, counts, _) in &rows {
        if counts.rtcp > 0 {
            println!("{name}: RTCP {:?}", counts.rtcp_kinds);
        }
    }
}

#[test]
fn header_extensions_and_formats_are_those_negotiated() {
    println!();
    for (_, session) in sessions() {
        let replay = Replay::run(&session);
        for media in &replay.media {
            let counts = media.counts;
            if counts == Default::default() {
                continue;
            }
            println!("{}: {counts:?}", session.name);
            // What these two browsers send by default we know; what we know was read (else it were a failure).
            assert_eq!(counts.elements, counts.elements_known, "{}", session.name);
            assert!(
                counts.elements > 100 && counts.opus + counts.vp8 > 20,
                "{}",
                session.name
            );
        }
    }
}

#[test]
fn what_we_decrypt_is_what_chromium_logged() {
    println!();
    let mut compared = 0;
    for (folder, session) in sessions() {
        // A is Chromium: what it sent and took is in its own view.
        let replay = Replay::run(&session);
        if session.name.contains("seen by B") {
            continue;
        }
        let logs = [
            ("plain-A-rtp.pcapng", &replay.plain_media),
            ("plain-A-sctp.pcapng", &replay.plain_sctp),
        ];
        for (file, ours) in logs {
            if !folder.join(file).exists() || ours.is_empty() {
                continue;
            }
            let mut theirs = BTreeMap::<Vec<u8>, usize>::new();
            for packet in logged(&folder.join(file)) {
                *theirs.entry(packet).or_default() += 1;
            }
            let total: usize = theirs.values().sum();
            let mut missing = 0;
            for packet in ours {
                match theirs.get_mut(&packet[..]) {
                    Some(count) if *count > 0 => *count -= 1,
                    _ => missing += 1,
                }
            }
            let left: usize = theirs.values().sum();
            println!(
                "{}: {file}: {total} logged, {} decrypted, {missing} not logged, {left} only logged",
                session.name,
                ours.len()
            );
            // Every packet, byte for byte. With loss, Chromium dropped a few that came before it was ready for them.
            assert_eq!(left, 0, "{}", session.name);
            assert!(
                missing == 0 || missing < 5 && session.name.contains("loss"),
                "{}: {missing}",
                session.name
            );
            compared += 1;
        }
    }
    assert!(compared >= 5, "{compared}");
}

/// The packets of a log: UDP payloads, or bare SCTP packets.
fn logged(file: &Path) -> Vec<Vec<u8>> {
    let datagrams = capture::read(file).unwrap();
    if !datagrams.is_empty() {
        return datagrams.into_iter().map(|datagram| datagram.payload).collect();
    }
    capture::frames(file)
        .unwrap()
        .into_iter()
        .map(|(_, _, bytes)| bytes)
        .collect()
}

/// The table above would be worth nothing if anything went through.
#[test]
fn nothing_opens_that_was_changed() {
    for (_, mut session) in sessions() {
        for datagram in &mut session.datagrams {
            let hello = matches!(&datagram.payload[..], [22, ..] if matches!(datagram.payload.get(13), Some(1 | 2)));
            // The last byte of a datagram is part of a tag: of its last record, or of the packet. Both hellos are left as they
            // are, so that there are keys.
            if !hello
                && matches!(datagram.payload.first(), Some(20..=63 | 128..=191))
                && let Some(last) = datagram.payload.last_mut()
            {
                *last ^= 1;
            }
        }
        let replay = Replay::run(&session);
        let counts = &replay.counts;
        assert_eq!((counts.rtp, counts.rtcp, counts.sctp), (0, 0, 0), "{}", session.name);
        assert!(!replay.dtls().is_complete(), "{}", session.name);
        assert!(replay.failures.len() > 20, "{}", session.name);
    }
}

#[test]
fn nothing_opens_without_the_secrets() {
    let mut session = open("firefox-firefox-audio-video-data", "session.pcap");
    session.key_log = Default::default();
    let replay = Replay::run(&session);
    assert_eq!(
        (
            replay.counts.records_opened,
            replay.counts.rtp,
            replay.counts.rtcp,
            replay.counts.sctp
        ),
        (0, 0, 0, 0)
    );
    assert_eq!(replay.counts.records_clear, 2, "the ClientHello in two datagrams");
}
