//! What DTLS 1.3 has that 1.2 has not, and how both meet.

mod common;

use std::time::Duration;

use antiphon_dtls::{AddressValidation, Config, Error, NamedGroup, ProtocolVersion, Role, Versions};
use antiphon_sansio::Rng;
use bytes::BytesMut;
use common::{DELAY, Pair, config, delivered};

const MINUTE: Duration = Duration::from_secs(60);

fn speaking(versions: Versions) -> Config {
    let mut config = config();
    config.versions = versions;
    config
}

fn pair() -> Pair {
    Pair::new(speaking(Versions::Dtls13), speaking(Versions::Dtls13), 1)
}

#[test]
fn versions_meet() {
    use ProtocolVersion::{Dtls12, Dtls13};
    for (client, server, agreed) in [
        (Versions::Dtls12, Versions::Dtls12And13, Some(Dtls12)),
        (Versions::Dtls12And13, Versions::Dtls12, Some(Dtls12)),
        (Versions::Dtls12And13, Versions::Dtls12And13, Some(Dtls13)),
        (Versions::Dtls12And13, Versions::Dtls13, Some(Dtls13)),
        (Versions::Dtls13, Versions::Dtls12And13, Some(Dtls13)),
        (Versions::Dtls13, Versions::Dtls12, None),
        (Versions::Dtls12, Versions::Dtls13, None),
    ] {
        let mut pair = Pair::new(speaking(client), speaking(server), 1);
        match agreed {
            Some(version) => {
                pair.connect();
                assert_eq!(pair.client.connected.as_ref().unwrap().version, version);
            }
            None => {
                pair.run(MINUTE, |_, _, d| delivered(d), |_| false);
                assert_eq!(pair.server.failed, Some(Error::NoCommonVersion));
                assert!(pair.client.connected.is_none());
            }
        }
    }
}

/// Somebody on the way takes the offer of 1.3 away.
#[test]
fn a_downgrade_is_noticed() {
    let mut pair = Pair::new(speaking(Versions::Dtls12And13), speaking(Versions::Dtls12And13), 1);
    pair.run(
        MINUTE,
        |role, _, datagram| {
            let mut bytes = datagram.to_vec();
            // supported_versions: 43, five bytes, list of four: 1.3 and 1.2.
            let offer = [0, 43, 0, 5, 4, 0xfe, 0xfc, 0xfe, 0xfd];
            if role == Role::Client
                && let Some(at) = bytes.windows(9).position(|w| w == offer)
            {
                bytes[at..at + 2].copy_from_slice(&[0x0a, 0x0a]);
            }
            vec![(DELAY, bytes)]
        },
        |pair| pair.client.failed.is_some(),
    );
    assert!(matches!(pair.client.failed, Some(Error::Protocol(text)) if text.contains("asked for 1.2")));
    assert!(pair.client.connected.is_none() && pair.server.connected.is_none());
}

#[test]
fn hello_retry_request_with_and_without_cookie() {
    for cookie in [false, true] {
        for other_group in [false, true] {
            if !cookie && !other_group {
                continue;
            }
            for mtu in [256, 1200] {
                let (mut client, mut server) = (speaking(Versions::Dtls13), speaking(Versions::Dtls13));
                (client.mtu, server.mtu) = (mtu, mtu);
                client.groups = vec![NamedGroup::Secp384r1, NamedGroup::Secp256r1];
                if other_group {
                    server.groups = vec![NamedGroup::X25519, NamedGroup::Secp256r1];
                }
                if cookie {
                    server.address_validation = AddressValidation::Cookie;
                }
                let mut pair = Pair::new(client, server, 1);
                pair.connect();
                assert_eq!(pair.now - pair.began, 5 * DELAY, "one round trip more");
                let group = if other_group {
                    NamedGroup::Secp256r1
                } else {
                    NamedGroup::Secp384r1
                };
                assert_eq!(pair.client.connected.as_ref().unwrap().group, group);
            }
        }
    }
}

#[test]
fn hello_retry_request_on_a_rough_network() {
    for seed in 0..40 {
        let (mut client, mut server) = (speaking(Versions::Dtls12And13), speaking(Versions::Dtls13));
        client.groups = vec![NamedGroup::Secp384r1, NamedGroup::Secp256r1];
        server.groups = vec![NamedGroup::Secp256r1];
        server.address_validation = AddressValidation::Cookie;
        (client.mtu, server.mtu) = (512, 512);
        (client.handshake_timeout, server.handshake_timeout) = (10 * MINUTE, 10 * MINUTE);
        let mut rng = Rng::from_u64(seed);
        let mut pair = Pair::new(client, server, seed);
        pair.run(
            10 * MINUTE,
            |_, _, d| {
                let copies = if rng.unit() < 0.2 {
                    0
                } else {
                    1 + usize::from(rng.unit() < 0.2)
                };
                (0..copies).map(|_| (DELAY * (1 + rng.below(10)), d.to_vec())).collect()
            },
            Pair::both_connected,
        );
        assert!(
            pair.both_connected(),
            "seed {seed}: {:?} {:?}",
            pair.client.failed,
            pair.server.failed
        );
        pair.check();
    }
}

/// The client's last flight has no answer but an acknowledgement, and is sent again until that comes.
#[test]
fn the_last_flight_is_acknowledged() {
    let mut pair = pair();
    pair.connect();
    pair.run(MINUTE, |_, _, d| delivered(d), |_| false);
    assert_eq!(pair.client.connection.stats().retransmissions, 0);
    assert_eq!(pair.client.connection.poll_timeout(), None);
    assert_eq!(pair.server.connection.poll_timeout(), None);

    // Acknowledgements are lost for a while: the client repeats itself, and no more once one came through.
    let mut pair = self::pair();
    let mut lost = 0;
    pair.run(
        MINUTE,
        |role, index, d| {
            if role == Role::Server && index > 0 && lost < 3 && d.len() < 100 {
                lost += 1;
                return vec![];
            }
            delivered(d)
        },
        |_| false,
    );
    pair.check();
    assert_eq!((lost, pair.client.connection.stats().retransmissions), (3, 3));
    assert_eq!(pair.client.connection.poll_timeout(), None);

    // A peer that never acknowledges is not bothered for ever.
    let mut pair = self::pair();
    pair.run(
        MINUTE,
        |role, _, d| {
            if role == Role::Server && d.len() < 100 {
                vec![]
            } else {
                delivered(d)
            }
        },
        |_| false,
    );
    assert_eq!(pair.client.connection.poll_timeout(), None);
    pair.check();
}

/// Of a flight in many datagrams only what was lost is sent again.
#[test]
fn acknowledged_fragments_are_not_sent_again() {
    let (mut client, mut server) = (speaking(Versions::Dtls13), speaking(Versions::Dtls13));
    (client.mtu, server.mtu) = (256, 256);
    // ServerHello, which cannot be acknowledged before it is whole, then fills one datagram.
    client.groups = vec![NamedGroup::X25519];
    let mut pair = Pair::new(client, server, 1);
    pair.run(
        MINUTE,
        |role, index, d| {
            if (role, index) == (Role::Server, 3) {
                vec![]
            } else {
                delivered(d)
            }
        },
        Pair::both_connected,
    );
    pair.check();
    let sent_at_all = pair.server.sent;
    let mut whole = {
        let (mut client, mut server) = (speaking(Versions::Dtls13), speaking(Versions::Dtls13));
        (client.mtu, server.mtu) = (256, 256);
        client.groups = vec![NamedGroup::X25519];
        Pair::new(client, server, 1)
    };
    whole.connect();
    assert!(
        sent_at_all <= whole.server.sent + 2,
        "{sent_at_all} datagrams, {} without loss",
        whole.server.sent
    );
}

fn exchange_data(pair: &mut Pair) {
    let now = pair.now;
    for (from, to) in [(Role::Client, Role::Server), (Role::Server, Role::Client)] {
        let record = pair.end(from).seal(b"still there").unwrap();
        pair.end(to)
            .connection
            .handle_packet(now, BytesMut::from(&record[..]).into());
        pair.end(to).drain_events();
        assert_eq!(pair.end(to).data.pop().unwrap(), b"still there");
    }
}

#[test]
fn keys_are_renewed_both_ways() {
    for loss in [0.0, 0.3] {
        let mut pair = pair();
        let mut rng = Rng::from_u64(3);
        pair.connect();
        pair.run(MINUTE, |_, _, d| delivered(d), |_| false);
        // Twelve times: the two bits of the epoch wrap three times.
        for round in 0..12 {
            let who = if round % 2 == 0 { Role::Client } else { Role::Server };
            pair.end(who).connection.update_keys().unwrap();
            // A record of the old epoch, on its way for long.
            let late = pair.end(who).seal(b"late").unwrap();
            pair.run(
                MINUTE,
                |_, _, d| if rng.unit() < loss { vec![] } else { delivered(d) },
                |_| false,
            );
            exchange_data(&mut pair);
            let to = if who == Role::Client {
                Role::Server
            } else {
                Role::Client
            };
            let now = pair.now;
            pair.end(to)
                .connection
                .handle_packet(now, BytesMut::from(&late[..]).into());
            pair.end(to).drain_events();
            assert_eq!(pair.end(to).data.pop().unwrap(), b"late", "round {round}");
            assert_eq!((&pair.client.failed, &pair.server.failed), (&None, &None));
        }
        pair.check();
    }
}

#[test]
fn worn_keys_are_renewed_by_themselves() {
    let (mut client, mut server) = (speaking(Versions::Dtls13), speaking(Versions::Dtls13));
    (client.records_per_key, server.records_per_key) = (50, 70);
    let mut pair = Pair::new(client, server, 1);
    pair.connect();
    for _ in 0..1000 {
        exchange_data(&mut pair);
        pair.run(DELAY, |_, _, d| delivered(d), |_| false);
    }
    for end in [&pair.client, &pair.server] {
        assert_eq!((&end.failed, end.connection.stats().dropped_forged), (&None, 0));
        // Each renewal takes a round trip at least, of which four datagrams would be too many.
        assert!(end.sent > 1000 / 70 && end.sent < 100, "{} datagrams", end.sent);
    }
    pair.check();
}

#[test]
fn both_ends_renew_at_once() {
    let mut pair = pair();
    pair.connect();
    for _ in 0..5 {
        pair.client.connection.update_keys().unwrap();
        pair.server.connection.update_keys().unwrap();
        pair.client.connection.update_keys().unwrap();
        pair.run(MINUTE, |_, _, d| delivered(d), |_| false);
        exchange_data(&mut pair);
    }
    assert_eq!(
        Pair::new(config(), config(), 1).client.connection.update_keys(),
        Err(Error::NotConnected)
    );
}

/// A server may send data right after its Finished; it must not be delivered to a client that has not finished.
#[test]
fn a_record_of_application_data_costs_22_bytes() {
    let mut pair = pair();
    pair.connect();
    assert_eq!(pair.client.connection.overhead(), (5, 17));
    assert_eq!(pair.client.seal(&[7; 100]).unwrap().len(), 122);
}

#[test]
fn post_quantum_key_exchange_in_one_round_trip_at_any_mtu() {
    for mtu in [256, 512, 1200, 1500] {
        let (mut client, mut server) = (speaking(Versions::Dtls12And13), speaking(Versions::Dtls12And13));
        (client.mtu, server.mtu) = (mtu, mtu);
        let mut pair = Pair::new(client, server, 1);
        pair.connect();
        assert_eq!(pair.now - pair.began, 3 * DELAY);
        let group = pair.client.connected.as_ref().unwrap().group;
        assert_eq!(group, NamedGroup::X25519MlKem768);
    }
    // A server that does not have it finds another share at hand.
    let mut server = speaking(Versions::Dtls13);
    server.groups = vec![NamedGroup::X25519];
    let mut pair = Pair::new(speaking(Versions::Dtls13), server, 1);
    pair.connect();
    assert_eq!(pair.now - pair.began, 3 * DELAY);
}

/// V29: an address that nobody has validated gets a cookie to bring back, and no encapsulation.
#[test]
fn v29_no_encapsulation_before_the_address_is_validated() {
    let mut server = speaking(Versions::Dtls13);
    server.address_validation = AddressValidation::AmplificationLimit;
    let mut pair = Pair::new(speaking(Versions::Dtls13), server, 1);
    let hello = pair.client.transmit(pair.now);
    for datagram in &hello {
        pair.server
            .connection
            .handle_packet(pair.now, BytesMut::from(&datagram[..]).into());
    }
    let answer = pair.server.transmit(pair.now);
    assert_eq!(answer.len(), 1);
    // Header of the record, of the message, version, random: that of HelloRetryRequest begins so.
    assert_eq!(answer[0][27..31], [0xcf, 0x21, 0xad, 0x74]);
    let mut server = speaking(Versions::Dtls13);
    server.address_validation = AddressValidation::AmplificationLimit;
    let mut pair = Pair::new(speaking(Versions::Dtls13), server, 1);
    pair.connect();
    assert_eq!(
        pair.client.connected.as_ref().unwrap().group,
        NamedGroup::X25519MlKem768
    );
    assert_eq!(pair.now - pair.began, 5 * DELAY);
}

/// The acknowledgement of the client's last flight is lost, and the client renews its keys meanwhile.
#[test]
fn keys_are_renewed_before_the_last_flight_is_acknowledged() {
    let mut pair = pair();
    let mut lost = 0;
    pair.run(
        MINUTE,
        |role, index, d| {
            if role == Role::Server && index > 0 && d.len() < 200 && lost < 2 {
                lost += 1;
                return vec![];
            }
            delivered(d)
        },
        Pair::both_connected,
    );
    pair.client.connection.update_keys().unwrap();
    pair.run(MINUTE, |_, _, d| delivered(d), |_| false);
    let again = pair.client.connection.stats().retransmissions;
    assert!(again < 4, "{again} retransmissions");
    exchange_data(&mut pair);
    pair.check();
}

/// A server that may send but little, a client that waits for more, and a lost datagram: neither waits for ever.
#[test]
fn the_amplification_limit_does_not_stall() {
    for mtu in [256, 1200] {
        for sender in [Role::Client, Role::Server] {
            for lost in 0..8 {
                let (mut client, mut server) = (speaking(Versions::Dtls13), speaking(Versions::Dtls13));
                (client.mtu, server.mtu) = (mtu, mtu);
                client.groups = vec![NamedGroup::X25519];
                server.address_validation = AddressValidation::AmplificationLimit;
                let mut pair = Pair::new(client, server, 1);
                pair.run(
                    MINUTE,
                    |role, index, d| {
                        if (role, index) == (sender, lost) {
                            vec![]
                        } else {
                            delivered(d)
                        }
                    },
                    Pair::both_connected,
                );
                assert!(pair.both_connected(), "mtu {mtu}, {sender:?} {lost}");
                assert!(
                    pair.now - pair.began < Duration::from_secs(3),
                    "mtu {mtu}, {sender:?} {lost}"
                );
                pair.check();
            }
        }
    }
}
