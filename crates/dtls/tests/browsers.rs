//! ClientHellos that browsers sent, from captured sessions: each file of `fixtures/` holds the unprotected handshake
//! datagrams of one, a line each: flow, `>` from the client or `<` from the server, bytes.

mod common;

use std::path::Path;

use antiphon_dtls::Role;
use antiphon_sansio::Rng;
use bytes::BytesMut;
use common::{End, config, start};

struct Session {
    name: String,
    /// Datagrams of the first flow's client, up to the server's first answer.
    hello: Vec<Vec<u8>>,
}

fn sessions() -> Vec<Session> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures");
    let mut sessions = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        let text = std::fs::read_to_string(&path).unwrap();
        let hello: Vec<Vec<u8>> = text
            .lines()
            .filter(|line| line.starts_with('0'))
            .take_while(|line| line.starts_with("0>"))
            .map(|line| bytes(line.split(' ').nth(1).unwrap()))
            .collect();
        if !hello.is_empty() {
            sessions.push(Session { name, hello });
        }
    }
    assert!(sessions.len() >= 5);
    sessions
}

fn bytes(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// The server answers each with a ServerHello of DTLS 1.2, whichever way round the datagrams arrive, and not before all of
/// the ClientHello is there.
#[test]
fn every_client_hello_is_put_together_and_answered() {
    let mut split = 0;
    for session in sessions() {
        for order in 0..6 {
            let mut datagrams = session.hello.clone();
            split += usize::from(datagrams.len() > 1);
            let mut rng = Rng::from_u64(order);
            for index in (1..datagrams.len()).rev() {
                datagrams.swap(index, rng.below(index as u32 + 1) as usize);
            }
            let now = start();
            let mut server = End::new(config(), Role::Server, order);
            for (index, datagram) in datagrams.iter().enumerate() {
                assert!(
                    server.transmit(now).is_empty(),
                    "{}: an answer after {index} datagrams",
                    session.name
                );
                server
                    .connection
                    .handle_packet(now, BytesMut::from(&datagram[..]).into());
            }
            let answer = server.transmit(now);
            server.drain_events();
            assert_eq!(server.failed, None, "{}", session.name);
            let first = answer.first().unwrap_or_else(|| panic!("{}: no answer", session.name));
            // Record header, handshake header, version, random, empty session id, suite.
            assert_eq!(first[..3], [22, 0xfe, 0xfd]);
            assert_eq!((first[13], &first[25..27]), (2, &[0xfe, 0xfd][..]));
            assert_eq!(first[59..62], [0, 0xc0, 0x2b], "{}", session.name);
            let stats = server.connection.stats();
            assert_eq!((stats.dropped_malformed, stats.dropped_overflow), (0, 0));
        }
    }
    assert!(split > 0, "some ClientHello fills two datagrams");
}
