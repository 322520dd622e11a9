//! Every datagram of the captured sessions, through the codecs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use antiphon_conformance::capture;
use antiphon_rtp::packet;
use antiphon_sdp::SessionDescription;
use antiphon_stun::{Check, Class, Key, Message, Method};

fn sessions() -> Vec<PathBuf> {
    let folder = capture::fixtures().join("packets");
    let mut sessions: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    sessions.sort();
    assert!(sessions.len() >= 6, "the fixtures are there");
    sessions
}

/// ICE passwords of a session by user fragment, from its descriptions.
fn passwords(session: &Path) -> BTreeMap<String, String> {
    let mut passwords = BTreeMap::new();
    for entry in fs::read_dir(session).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|e| e != "sdp") {
            continue;
        }
        let description = SessionDescription::parse(&fs::read_to_string(&path).unwrap()).unwrap();
        let sections = std::iter::once(&description.session).chain(description.media.iter().map(|m| &m.section));
        for section in sections {
            if let (Some(ufrag), Some(pwd)) = (section.ice_ufrag(), section.ice_pwd()) {
                passwords.insert(ufrag.to_owned(), pwd.to_owned());
            }
        }
    }
    passwords
}

#[test]
fn every_stun_message_parses_and_is_authentic() {
    for session in sessions() {
        let name = session.file_name().unwrap().to_string_lossy().into_owned();
        let passwords = passwords(&session);
        assert!(!passwords.is_empty(), "{name}: descriptions name credentials");
        // A response is keyed like its request: by the password of who answers.
        let mut keys = BTreeMap::new();
        let (mut checked, mut fingerprints, mut other) = (0, 0, 0);
        for datagram in capture::read(&session.join("session.pcap")).unwrap() {
            if !antiphon_stun::is_stun(&datagram.payload) {
                continue;
            }
            let message = Message::parse(&datagram.payload).unwrap_or_else(|e| panic!("{name}: {e}"));
            match message.check_fingerprint() {
                Check::Valid => fingerprints += 1,
                Check::Absent => {}
                Check::Invalid => panic!("{name}: wrong FINGERPRINT"),
            }
            if message.method() != Method::BINDING {
                other += 1;
                continue;
            }
            if message.class() == Class::Request {
                let Some((receiver, _)) = message.username().and_then(|u| u.split_once(':')) else {
                    continue;
                };
                let password = passwords
                    .get(receiver)
                    .unwrap_or_else(|| panic!("{name}: unknown fragment {receiver}"));
                keys.insert(message.transaction_id(), Key::short_term(password));
            }
            if let Some(key) = keys.get(&message.transaction_id()) {
                assert_eq!(message.check_integrity(key), Check::Valid, "{name}: {message:?}");
                checked += 1;
            }
        }
        println!(
            "{name}: {checked} Binding messages authentic, {fingerprints} fingerprints right, {other} TURN messages"
        );
        assert!(
            checked >= 4 || other > 100,
            "{name}: only {checked} Binding messages were checked"
        );
    }
}

#[test]
fn every_rtp_and_rtcp_packet_that_chromium_logged_parses() {
    let mut files = 0;
    for session in sessions() {
        let file = session.join("plain-A-rtp.pcapng");
        if !file.exists() {
            continue;
        }
        files += 1;
        let (mut rtp, mut rtcp) = (0, 0);
        for datagram in capture::read(&file).unwrap() {
            if packet::is_rtcp(&datagram.payload) {
                rtcp += 1;
                continue;
            }
            let parsed = packet::Packet::parse(&datagram.payload).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
            assert!(parsed.header_len() + parsed.payload().len() + parsed.padding_len() == datagram.payload.len());
            rtp += 1;
        }
        println!(
            "{}: {rtp} RTP, {rtcp} RTCP packets",
            session.file_name().unwrap().to_string_lossy()
        );
        assert!(rtp > 50 && rtcp > 5, "{}", file.display());
    }
    assert!(files >= 2);
}

#[test]
fn first_bytes_say_what_a_datagram_is() {
    for session in sessions() {
        let mut kinds = BTreeMap::<&str, usize>::new();
        for datagram in capture::read(&session.join("session.pcap")).unwrap() {
            // RFC 9443 §3 names these ranges; anything else in a WebRTC session would be news.
            let kind = match datagram.payload.first() {
                Some(0..=3) => "STUN",
                Some(20..=63) => "DTLS",
                Some(64..=79) => "TURN channel data",
                Some(128..=191) => "RTP or RTCP",
                other => panic!("{}: first byte {other:?}", session.display()),
            };
            *kinds.entry(kind).or_default() += 1;
        }
        println!("{}: {kinds:?}", session.file_name().unwrap().to_string_lossy());
        assert!(kinds.contains_key("STUN") && kinds.contains_key("DTLS") || kinds.contains_key("TURN channel data"));
    }
}
