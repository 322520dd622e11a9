//! Every datagram of the captured sessions, through the codecs.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use antiphon_conformance::capture;
use antiphon_conformance::session::Session;
use antiphon_rtp::packet;
use antiphon_stun::{Check, Class, Key, Message, Method};

fn folders() -> Vec<PathBuf> {
    let folder = capture::fixtures().join("packets");
    let mut folders: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    folders.sort();
    assert!(folders.len() >= 11, "the fixtures are there");
    folders
}

fn sessions() -> Vec<Session> {
    let files = folders().into_iter().flat_map(|folder| Session::captures(&folder));
    files
        .map(|file| Session::open(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display())))
        .collect()
}

#[test]
fn every_stun_message_parses_and_is_authentic() {
    for session in sessions() {
        let name = &session.name;
        let passwords = session.credentials();
        assert!(!passwords.is_empty(), "{name}: descriptions name credentials");
        // A response is keyed like its request: by the password of who answers.
        let mut keys = BTreeMap::new();
        let (mut checked, mut fingerprints, mut other) = (0, 0, 0);
        for datagram in &session.datagrams {
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
                let (_, password) = passwords
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
    for session in folders() {
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
        for datagram in &session.datagrams {
            let turn = session.name.contains("turn");
            if session.sender(datagram).is_none() && !turn {
                // Not between addresses that ICE has checked: DNS, for instance.
                continue;
            }
            // RFC 9443 §3 names these ranges; anything else in a WebRTC session would be news.
            let kind = match datagram.payload.first() {
                Some(0..=3) => "STUN",
                Some(20..=63) => "DTLS",
                Some(64..=79) => "TURN channel data",
                Some(128..=191) => "RTP or RTCP",
                other => panic!("{}: first byte {other:?}", session.name),
            };
            *kinds.entry(kind).or_default() += 1;
        }
        println!("{}: {kinds:?}", session.name);
        assert!(kinds.contains_key("STUN") && kinds.contains_key("DTLS") || kinds.contains_key("TURN channel data"));
    }
}
