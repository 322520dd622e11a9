//! The inspector beside two live connections: it sees what they see, if it has the key log.

mod common;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use antiphon_crypto::{Secret, ring_provider};
use antiphon_dtls::inspect::{Content, FindSecret, InspectError, Inspector};
use antiphon_dtls::{KeyLog, Role};
use bytes::BytesMut;
use common::{Pair, config, delivered, is_13};
use proptest::prelude::*;

type Lines = Arc<Mutex<Vec<String>>>;

fn hex(text: &str) -> Vec<u8> {
    (0..text.len() / 2)
        .map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

/// Looks secrets up in what the client's key log says so far.
fn find(lines: &Lines) -> FindSecret {
    let lines = lines.clone();
    Box::new(move |label, random| {
        let lines = lines.lock().unwrap();
        let mut entries = lines.iter().map(|line| line.split(' ').collect::<Vec<_>>());
        let entry = entries.find(|words| words[0] == label && hex(words[1]) == random)?;
        Some(Secret::new(&hex(entry[2])))
    })
}

/// A handshake, data both ways and a close, as datagrams with their senders; and the key log.
fn session() -> (Pair, Vec<(Role, Vec<u8>)>, Lines) {
    let lines = Lines::default();
    let mut client = config();
    let log = lines.clone();
    client.key_log = Some(KeyLog::new(move |line| log.lock().unwrap().push(line.to_owned())));
    let mut pair = Pair::new(client, config(), 7);
    let mut datagrams = Vec::new();
    pair.run(
        Duration::from_secs(60),
        |sender, _, datagram| {
            datagrams.push((sender, datagram.to_vec()));
            delivered(datagram)
        },
        Pair::both_connected,
    );
    for (sender, text) in [(Role::Client, "from the client"), (Role::Server, "from the server")] {
        datagrams.push((sender, pair.end(sender).seal(text.as_bytes()).unwrap()));
    }
    if is_13() {
        pair.client.connection.update_keys().unwrap();
        let (quiet, mut later) = (Duration::from_secs(5), Vec::new());
        pair.run(
            quiet,
            |sender, _, datagram| {
                later.push((sender, datagram.to_vec()));
                delivered(datagram)
            },
            |_| false,
        );
        datagrams.extend(later);
        datagrams.push((Role::Client, pair.end(Role::Client).seal(b"with new keys").unwrap()));
    }
    (pair, datagrams, lines)
}

fn reads_everything() {
    let (pair, datagrams, lines) = session();
    let mut inspector = Inspector::new(find(&lines), ring_provider());
    let mut texts = Vec::new();
    for (sender, datagram) in &datagrams {
        for record in inspector.handle_datagram(*sender, BytesMut::from(&datagram[..])) {
            if let Content::ApplicationData(data) = record.unwrap().content {
                texts.push(String::from_utf8(data.to_vec()).unwrap());
            }
        }
    }
    let mut expected = vec!["from the client", "from the server"];
    if is_13() {
        expected.push("with new keys");
    }
    assert_eq!(texts, expected);
    assert!(inspector.is_complete());
    let connected = pair.client.connected.unwrap();
    assert_eq!(inspector.version(), Some(connected.version));
    assert_eq!(inspector.cipher_suite(), Some(connected.cipher_suite));
    assert_eq!(inspector.group(), Some(connected.group.code()));
    assert_eq!(inspector.certificate(Role::Server), Some(&connected.peer_certificate));
    let (seen, own) = (inspector.srtp_keys(Role::Client).unwrap(), connected.srtp.unwrap());
    assert_eq!(seen.profile, own.profile);
    assert_eq!(seen.local_key.as_bytes(), own.local_key.as_bytes());
    assert_eq!(seen.remote_salt.as_bytes(), own.remote_salt.as_bytes());
    // Nothing is taken twice.
    let (sender, last) = datagrams.last().unwrap();
    let again = inspector.handle_datagram(*sender, BytesMut::from(&last[..]));
    assert!(matches!(again[..], [Err(InspectError::Replayed)]), "{again:?}");
}

fn reads_nothing_without_the_key_log() {
    let (_, datagrams, _) = session();
    let mut inspector = Inspector::new(Box::new(|_, _| None), ring_provider());
    for (sender, datagram) in &datagrams {
        for record in inspector.handle_datagram(*sender, BytesMut::from(&datagram[..])) {
            assert!(record.map_or(true, |record| !record.protected));
        }
    }
    assert!(!inspector.is_complete() && inspector.srtp_keys(Role::Client).is_none());
}

fn notices_a_changed_handshake() {
    let (_, mut datagrams, lines) = session();
    // The last byte of the ClientHello: an extension's. The hellos still parse; Finished is over something else.
    let (_, hello) = &mut datagrams[0];
    *hello.last_mut().unwrap() ^= 1;
    let mut inspector = Inspector::new(find(&lines), ring_provider());
    let results = datagrams
        .iter()
        .flat_map(|(sender, datagram)| inspector.handle_datagram(*sender, BytesMut::from(&datagram[..])));
    assert!(
        results
            .into_iter()
            .any(|result| matches!(result, Err(InspectError::WrongFinished)))
    );
    assert!(!inspector.is_complete());
}

for_both_versions! { reads_everything reads_nothing_without_the_key_log notices_a_changed_handshake }

proptest! {
    #[test]
    fn any_datagrams_are_survived(datagrams in prop::collection::vec((any::<bool>(), prop::collection::vec(any::<u8>(), 0..300)), 1..12)) {
        let mut inspector = Inspector::new(Box::new(|_, _| Some(Secret::new(&[1; 48]))), ring_provider());
        for (client, datagram) in datagrams {
            let sender = if client { Role::Client } else { Role::Server };
            inspector.handle_datagram(sender, BytesMut::from(&datagram[..]));
        }
    }
}
