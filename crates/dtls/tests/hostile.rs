//! What an attacker on the path, or a hostile peer, may send.

mod common;

use std::time::Duration;

use antiphon_dtls::{Connection, Error, Role, Versions};
use antiphon_sansio::Rng;
use bytes::BytesMut;
use common::{DELAY, Pair, config, delivered};
use proptest::prelude::*;

for_both_versions! {
    unprotected_messages_are_nothing_once_there_are_keys
    forged_alerts_and_garbage_do_not_end_a_handshake_or_a_session
    forged_alerts_without_end_do_not_end_a_handshake
    v04_a_flood_of_fragments_does_not_stop_the_peer
    every_datagram_replayed_delivers_nothing_twice
    v04_data_nobody_polls_for_is_bounded
    v28_clocks_that_jump
}

const MINUTE: Duration = Duration::from_secs(60);

fn pair() -> Pair {
    Pair::new(config(), config(), 1)
}

fn record(content_type: u8, epoch: u16, sequence: u64, body: &[u8]) -> Vec<u8> {
    let mut out = vec![content_type, 0xfe, 0xfd];
    out.extend_from_slice(&(u64::from(epoch) << 48 | sequence).to_be_bytes());
    out.extend_from_slice(&(body.len() as u16).to_be_bytes());
    out.extend_from_slice(body);
    out
}

fn fragment(msg_type: u8, length: u32, message_seq: u16, offset: u32, body: &[u8]) -> Vec<u8> {
    let mut out = vec![msg_type];
    out.extend_from_slice(&length.to_be_bytes()[1..]);
    out.extend_from_slice(&message_seq.to_be_bytes());
    out.extend_from_slice(&offset.to_be_bytes()[1..]);
    out.extend_from_slice(&(body.len() as u32).to_be_bytes()[1..]);
    out.extend_from_slice(body);
    record(22, 0, 0, &out)
}

fn forged_alerts_and_garbage_do_not_end_a_handshake_or_a_session() {
    let forgeries = [
        record(21, 0, 7, &[2, 40]),
        record(21, 0, 8, &[1, 0]),
        record(
            21,
            1,
            9,
            &[
                2, 40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            ],
        ),
        record(20, 0, 10, &[1]),
        record(23, 0, 11, b"not protected"),
        record(23, 1, 12, &[0; 40]),
        record(22, 0, 13, &[1, 2, 3]),
        record(99, 0, 14, &[0; 5]),
        fragment(20, 12, 0, 0, &[0; 12]),
        fragment(14, 0, 1, 0, &[]),
        fragment(1, 3, 0, 0, &[0; 3]),
        [&[0x2e, 1, 2, 0, 30][..], &[9; 30]].concat(),
        [&[0x2f, 1, 2, 0, 30][..], &[9; 30]].concat(),
        [&[0x27, 1], &[9; 30][..]].concat(),
        [&[0x3f, 1], &[9; 30][..]].concat(),
        vec![22, 0xfe, 0xfd],
        vec![],
    ];
    let mut pair = pair();
    pair.run(
        MINUTE,
        |_, _, datagram| {
            let mut fate = delivered(datagram);
            // A little before, and a little after.
            for forged in &forgeries {
                fate.push((DELAY / 2, forged.clone()));
                fate.push((DELAY * 3 / 2, forged.clone()));
            }
            fate
        },
        Pair::both_connected,
    );
    pair.check();
    for role in [Role::Client, Role::Server] {
        for forged in &forgeries {
            pair.inject(role, Duration::ZERO, forged.clone());
        }
    }
    pair.run(MINUTE, |_, _, d| delivered(d), |_| false);
    pair.check();
    assert!(pair.server.connection.stats().dropped_alerts >= 2);
    assert!(pair.server.connection.stats().dropped_forged >= 1);
}

/// An unprotected fatal alert is believed when nobody is heard of after it. Somebody who sends one every few milliseconds, over
/// a path that loses a fifth, ends nothing: the peer is heard of.
fn forged_alerts_without_end_do_not_end_a_handshake() {
    let certificates = (common::certificate(), common::certificate());
    let mut heard = 0;
    for seed in 0..60 {
        let mut rng = Rng::from_u64(seed);
        let mut pair = Pair::new(
            common::config_with(certificates.0.clone()),
            common::config_with(certificates.1.clone()),
            seed,
        );
        for step in 0..200 {
            for role in [Role::Client, Role::Server] {
                pair.inject(role, DELAY * step, record(21, 0, u64::from(step), &[2, 40]));
            }
        }
        pair.run(
            MINUTE,
            |_, _, d| if rng.unit() < 0.2 { vec![] } else { delivered(d) },
            Pair::both_connected,
        );
        assert!(
            pair.both_connected(),
            "seed {seed}: {:?} {:?}",
            pair.client.failed,
            pair.server.failed
        );
        heard += pair.client.connection.stats().dropped_alerts;
        pair.check();
    }
    assert!(heard > 30);
}

/// Tickets, key updates and Finished in the clear, under every number that may be next.
fn unprotected_messages_are_nothing_once_there_are_keys() {
    let mut pair = pair();
    pair.connect();
    pair.run(MINUTE, |_, _, d| delivered(d), |_| false);
    for role in [Role::Client, Role::Server] {
        for seq in 0..16 {
            for forged in [
                fragment(4, 5, seq, 0, &[0; 5]),
                fragment(24, 1, seq, 0, &[1]),
                fragment(20, 12, seq, 0, &[0; 12]),
            ] {
                pair.inject(role, Duration::ZERO, forged);
            }
        }
    }
    pair.run(MINUTE, |_, _, d| delivered(d), |_| false);
    if common::is_13() {
        for role in [Role::Client, Role::Server] {
            pair.end(role).connection.update_keys().unwrap();
            pair.run(MINUTE, |_, _, d| delivered(d), |_| false);
            assert_eq!(
                pair.end(role).connection.stats().retransmissions,
                0,
                "acknowledged at once"
            );
        }
    }
    pair.check();
}

/// V4: fragments of every length and number, in any amount.
fn v04_a_flood_of_fragments_does_not_stop_the_peer() {
    let mut pair = pair();
    let now = pair.now;
    let mut rng = Rng::from_u64(5);
    for n in 0..20_000u32 {
        let (length, offset) = (rng.below(1 << 24), rng.below(1 << 20));
        let body = vec![0; rng.below(3) as usize];
        for forged in [
            fragment(1, length, n as u16, offset, &body),
            fragment(1, 0, n as u16, 0, &[]),
            fragment(11, 30_000, 1 + (n % 11) as u16, n % 29_000, &body),
            fragment(1, 1 << 23, 0, offset, &body),
        ] {
            for role in [Role::Client, Role::Server] {
                pair.end(role)
                    .connection
                    .handle_packet(now, BytesMut::from(&forged[..]).into());
            }
        }
    }
    pair.connect();
}

fn every_datagram_replayed_delivers_nothing_twice() {
    let mut pair = pair();
    let mut seen = Vec::new();
    pair.run(
        MINUTE,
        |role, _, datagram| {
            seen.push((role, datagram.to_vec()));
            delivered(datagram)
        },
        Pair::both_connected,
    );
    let now = pair.now;
    for n in 0..100u8 {
        let record = pair.client.seal(&[n]).unwrap();
        seen.push((Role::Client, record.clone()));
        pair.server
            .connection
            .handle_packet(now, BytesMut::from(&record[..]).into());
    }
    for (sender, datagram) in &seen {
        let to = if *sender == Role::Client {
            Role::Server
        } else {
            Role::Client
        };
        pair.end(to)
            .connection
            .handle_packet(now, BytesMut::from(&datagram[..]).into());
    }
    pair.server.drain_events();
    assert_eq!(pair.server.data.len(), 100);
    assert!(pair.server.connection.stats().dropped_replayed >= 100);
    pair.check();
}

/// V2, the other way round: who proves nothing gets nothing.
#[test]
fn v02_a_client_without_a_certificate_is_refused() {
    let mut pair = pair();
    pair.run(
        MINUTE,
        |role, index, datagram| match (role, index) {
            // In place of the flight that begins with Certificate: one without any.
            (Role::Client, 1) => vec![(DELAY, fragment(11, 3, 1, 0, &[0, 0, 0]))],
            _ => delivered(datagram),
        },
        |pair| pair.server.failed.is_some(),
    );
    assert_eq!(pair.server.failed, Some(Error::BadCertificate));
    assert!(pair.server.connected.is_none() && pair.client.connected.is_none());
}

#[test]
fn a_client_without_extended_master_secret_is_refused() {
    let mut pair = pair();
    pair.run(
        MINUTE,
        |role, _, datagram| {
            let mut bytes = datagram.to_vec();
            if role == Role::Client
                && let Some(at) = bytes.windows(4).position(|w| w == [0, 23, 0, 0])
            {
                bytes[at..at + 2].copy_from_slice(&[0x0a, 0x0a]);
            }
            vec![(DELAY, bytes)]
        },
        |_| false,
    );
    assert_eq!(pair.server.failed, Some(Error::NoExtendedMasterSecret));
    assert!(pair.client.connected.is_none());
}

fn v04_data_nobody_polls_for_is_bounded() {
    let mut pair = pair();
    pair.connect();
    let now = pair.now;
    for _ in 0..10_000 {
        let record = pair.client.seal(&[1; 1000]).unwrap();
        pair.server
            .connection
            .handle_packet(now, BytesMut::from(&record[..]).into());
    }
    let mut queued = 0;
    while pair.server.connection.poll_event().is_some() {
        queued += 1;
    }
    assert!(queued <= 4096, "{queued}");
    assert!(pair.server.connection.stats().dropped_overflow >= 10_000 - 4096);
    pair.check();
}

/// V28: the clock may jump, stand still or be asked again and again.
fn v28_clocks_that_jump() {
    let mut pair = pair();
    let day = Duration::from_secs(86_400);
    let now = pair.now + day;
    for role in [Role::Client, Role::Server] {
        for at in [now, now - day, now, now + day] {
            pair.end(role).connection.handle_timeout(at);
            let sent = pair.end(role).transmit(at).len();
            // A ClientHello with a post-quantum share fills two datagrams.
            assert!(sent <= 2);
            for _ in 0..10 {
                pair.end(role).connection.handle_timeout(at);
                assert!(
                    pair.end(role).transmit(at).is_empty(),
                    "a second answer to the same moment"
                );
            }
        }
    }
}

#[derive(Clone, Debug)]
enum Op {
    /// Move the oldest datagram of this direction on.
    Deliver(bool),
    Drop(bool),
    Duplicate(bool),
    /// Deliver a copy with bytes changed.
    Mutate(bool, Vec<(prop::sample::Index, u8)>),
    Truncate(bool, prop::sample::Index),
    Garbage(bool, Vec<u8>),
    Wait(u16),
    Data(bool),
    Close(bool),
}

fn op() -> impl Strategy<Value = Op> {
    let changes = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4);
    prop_oneof![
        8 => any::<bool>().prop_map(Op::Deliver),
        1 => any::<bool>().prop_map(Op::Drop),
        1 => any::<bool>().prop_map(Op::Duplicate),
        2 => (any::<bool>(), changes).prop_map(|(to, changes)| Op::Mutate(to, changes)),
        1 => (any::<bool>(), any::<prop::sample::Index>()).prop_map(|(to, at)| Op::Truncate(to, at)),
        1 => (any::<bool>(), prop::collection::vec(any::<u8>(), 0..64)).prop_map(|(to, bytes)| Op::Garbage(to, bytes)),
        2 => (0u16..2000).prop_map(Op::Wait),
        1 => any::<bool>().prop_map(Op::Data),
        1 => any::<bool>().prop_map(Op::Close),
    ]
}

fn versions() -> impl Strategy<Value = [Versions; 2]> {
    let one = || prop::sample::select(vec![Versions::Dtls12, Versions::Dtls12And13, Versions::Dtls13]);
    [one(), one()]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Whatever the network does, and whenever: no panic, no data before the peer is known, no deadline in the past.
    #[test]
    fn v05_any_sequence_of_events(ops in prop::collection::vec(op(), 1..60), seed: u64, versions in versions()) {
        let [client, server] = versions.map(|versions| {
            let mut config = config();
            config.versions = versions;
            config
        });
        let mut pair = Pair::new(client, server, seed);
        let mut wires: [Vec<Vec<u8>>; 2] = [vec![], vec![]];
        let mut now = pair.now;
        for op in ops {
            for (role, wire) in [(Role::Client, 0), (Role::Server, 1)] {
                let datagrams = pair.end(role).transmit(now);
                wires[wire].extend(datagrams);
                pair.end(role).drain_events();
            }
            let mut deliver = |to_server: bool, bytes: &[u8]| {
                let to = if to_server { Role::Server } else { Role::Client };
                pair.end(to).connection.handle_packet(now, BytesMut::from(bytes).into());
            };
            let wire = |to_server: bool| usize::from(!to_server);
            match op {
                Op::Deliver(to) => {
                    if !wires[wire(to)].is_empty() {
                        let datagram = wires[wire(to)].remove(0);
                        deliver(to, &datagram);
                    }
                }
                Op::Drop(to) => { if !wires[wire(to)].is_empty() { wires[wire(to)].remove(0); } }
                Op::Duplicate(to) => if let Some(datagram) = wires[wire(to)].first() { deliver(to, datagram) },
                Op::Mutate(to, changes) => {
                    if let Some(datagram) = wires[wire(to)].first() {
                        let mut bytes = datagram.clone();
                        for (at, value) in changes {
                            let at = at.index(bytes.len());
                            bytes[at] = value;
                        }
                        deliver(to, &bytes);
                    }
                }
                Op::Truncate(to, at) => {
                    if let Some(datagram) = wires[wire(to)].first() { deliver(to, &datagram[..at.index(datagram.len())]) }
                }
                Op::Garbage(to, bytes) => deliver(to, &bytes),
                Op::Wait(ms) => {
                    now += Duration::from_millis(ms.into());
                    for role in [Role::Client, Role::Server] {
                        let connection: &mut Connection = &mut pair.end(role).connection;
                        connection.handle_timeout(now);
                    }
                }
                Op::Data(from_client) => {
                    let from = if from_client { Role::Client } else { Role::Server };
                    if let Ok(record) = pair.end(from).seal(b"data") { wires[wire(from_client)].push(record) }
                }
                Op::Close(client) => pair.end(if client { Role::Client } else { Role::Server }).connection.close(),
            }
            // Law 2: after a timeout and a drain the next deadline lies ahead.
            for role in [Role::Client, Role::Server] {
                pair.end(role).connection.handle_timeout(now);
                let datagrams = pair.end(role).transmit(now);
                wires[usize::from(role == Role::Server)].extend(datagrams);
                pair.end(role).drain_events();
                prop_assert!(pair.end(role).connection.poll_timeout().is_none_or(|at| at > now));
            }
        }
    }
}
