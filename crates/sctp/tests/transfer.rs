//! Two associations over a bad network.

mod pair;

use std::time::Duration;

use antiphon_netsim::LinkConfig;
use antiphon_sansio::Rng;
use antiphon_sctp::{Config, Event, INITIAL_WINDOW, SendError, SendOptions, State};
use pair::{Associations, Pair, bad, pattern, perfect};

const RELIABLE: SendOptions = SendOptions {
    unordered: false,
    max_retransmits: None,
    lifetime: None,
};

#[test]
fn one_end_connects_and_both_ends_connect() {
    for connectors in [[true, false], [false, true], [true, true]] {
        let mut pair = Pair::of(1, perfect(), Config::default(), Config::default());
        for (end, _) in connectors.iter().enumerate().filter(|(_, c)| **c) {
            let now = pair.now;
            pair.end(end).connect(now);
        }
        assert!(pair.run_until(Duration::from_secs(1), |pair| {
            (0..2).all(|end| pair.events[end] == [Event::Connected])
        }));
        assert_eq!(
            pair.now - antiphon_netsim::start(),
            Duration::from_millis(if connectors == [true, true] { 15 } else { 20 })
        );
    }
}

#[test]
fn data_rides_with_the_cookie() {
    let mut pair = Pair::of(1, perfect(), Config::default(), Config::default());
    pair.send_from(0, 3, "early", RELIABLE);
    let now = pair.now;
    pair.end(0).connect(now);
    assert!(pair.run_until(Duration::from_secs(1), |pair| {
        pair.events[1].contains(&Event::Readable(3))
    }));
    assert_eq!(
        pair.now - antiphon_netsim::start(),
        Duration::from_millis(15),
        "one and a half round trips"
    );
    assert_eq!(&pair.read_all(1, 3)[0].data[..], b"early");
}

#[test]
fn a_hundred_seeds_of_loss_reordering_and_duplication() {
    for seed in 0..100 {
        let loss = f64::from((seed % 7) as u8) * 0.05;
        let config = Config {
            max_packet: if seed % 2 == 0 { 1188 } else { 600 },
            ..Config::default()
        };
        let mut pair = Pair::of(seed, bad(loss), config.clone(), config);
        let mut dice = Rng::from_u64(seed);
        pair.connect();
        let mut expected = [Vec::new(), Vec::new()];
        for n in 0..30 {
            for (end, expected) in expected.iter_mut().enumerate() {
                let len = 1 + dice.below(if n % 5 == 0 { 20_000 } else { 1500 }) as usize;
                let data = pattern(len, n);
                expected.push(data.clone());
                pair.send_from(end, 1, data.clone(), RELIABLE);
                let unordered = SendOptions {
                    unordered: true,
                    ..RELIABLE
                };
                pair.send_from(end, 2, data, unordered);
            }
        }
        let mut got: [[Vec<_>; 2]; 2] = Default::default();
        let done = pair.run_until(Duration::from_secs(600), |pair| {
            for (end, got) in got.iter_mut().enumerate() {
                for (got, stream) in got.iter_mut().zip([1, 2]) {
                    got.extend(pair.read_all(end, stream).into_iter().map(|m| m.data));
                }
            }
            got.iter().flatten().all(|messages| messages.len() >= 30)
        });
        assert!(done, "seed {seed}, loss {loss}: {:?}", pair.ends);
        for (expected, got) in expected.iter().zip(got.iter().rev()) {
            assert_eq!(&got[0], expected, "seed {seed}: ordered");
            let sorted = |list: &[bytes::Bytes]| {
                let mut list = list.to_vec();
                list.sort();
                list
            };
            assert_eq!(sorted(&got[1]), sorted(expected), "seed {seed}: unordered");
        }
        assert!(pair.largest() <= 1188);
        pair.run_for(Duration::from_secs(100));
        for end in 0..2 {
            let stats = pair.end(end).stats();
            assert_eq!(stats.in_flight, 0, "seed {seed}");
            assert!(
                stats.receive_window.is_multiple_of(INITIAL_WINDOW),
                "seed {seed}: everything is given back"
            );
        }
    }
}

#[test]
fn sixteen_mebibytes() {
    let mut pair = Pair::connected(
        5,
        LinkConfig {
            loss: 0.001,
            ..perfect()
        },
    );
    let message = pattern(256 * 1024, 9);
    for _ in 0..64 {
        pair.send_from(0, 0, message.clone(), RELIABLE);
    }
    let now = pair.now;
    assert_eq!(
        pair.end(0).send(now, 0, 53, message.clone(), RELIABLE),
        Err(SendError::BufferFull)
    );
    let mut got = 0;
    let done = pair.run_until(Duration::from_secs(120), |pair| {
        for m in pair.read_all(1, 0) {
            assert_eq!(m.data, message);
            got += 1;
        }
        got == 64
    });
    assert!(done, "{got} of 64: {:?}", pair.ends);
}

#[test]
fn v11_unread_messages_stop_the_sender_and_reading_starts_it_again() {
    let config = Config {
        receive_buffer: 256 * 1024,
        ..Config::default()
    };
    let mut pair = Pair::of(3, perfect(), config.clone(), config);
    pair.connect();
    for n in 0..64 {
        pair.send_from(0, 7, pattern(32 * 1024, n), RELIABLE);
    }
    pair.run_for(Duration::from_secs(30));
    let held = 256 * 1024 - pair.end(1).stats().receive_window;
    assert!(held > 200 * 1024, "the buffer fills");
    assert!(
        pair.end(0).buffered_amount(7) > 1_000_000,
        "the rest waits at the sender"
    );
    assert_eq!(pair.end(0).state(), State::Established, "a closed window is no failure");
    let mut got = Vec::new();
    let done = pair.run_until(Duration::from_secs(60), |pair| {
        got.extend(pair.read_all(1, 7));
        got.len() == 64
    });
    assert!(done, "{} of 64: {:?}", got.len(), pair.ends);
    assert!(got.iter().zip(0..).all(|(m, n)| m.data == pattern(32 * 1024, n)));
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.end(1).stats().receive_window, 256 * 1024);
}

#[test]
fn v11_a_closed_window_for_ten_minutes_is_survived() {
    let config = Config {
        receive_buffer: 64 * 1024,
        ..Config::default()
    };
    let mut pair = Pair::of(3, bad(0.1), config.clone(), config);
    pair.connect();
    for n in 0..20 {
        pair.send_from(0, 7, pattern(16 * 1024, n), RELIABLE);
    }
    pair.run_for(Duration::from_secs(600));
    assert_eq!(pair.end(0).state(), State::Established);
    let mut got = 0;
    assert!(pair.run_until(Duration::from_secs(300), |pair| {
        got += pair.read_all(1, 7).len();
        got == 20
    }));
}

#[test]
fn a_message_may_be_larger_than_the_window() {
    let config = Config {
        receive_buffer: 64 * 1024,
        max_receive_message: 1024 * 1024,
        ..Config::default()
    };
    let mut pair = Pair::of(4, bad(0.05), config.clone(), config);
    pair.connect();
    let message = pattern(1024 * 1024, 1);
    pair.send_from(0, 7, message.clone(), RELIABLE);
    let mut got = Vec::new();
    assert!(
        pair.run_until(Duration::from_secs(600), |pair| {
            got.extend(pair.read_all(1, 7));
            !got.is_empty()
        }),
        "{:?}",
        pair.ends
    );
    assert_eq!(got[0].data, message);
}

#[test]
fn a_share_bounds_what_is_on_its_way_and_no_message() {
    let mut pair = Pair::connected(1, perfect());
    pair.end(1).set_receive_share(8000);
    // The sender hears of it with the first acknowledgement.
    pair.send_from(0, 0, "first", RELIABLE);
    assert!(pair.run_until(Duration::from_secs(1), |pair| pair.end(0).stats().peer_window <= 8000));
    assert_eq!(pair.read_all(1, 0).len(), 1);
    pair.events[1].clear();
    let message = pattern(100_000, 1);
    pair.send_from(0, 0, message.clone(), RELIABLE);
    let mut most = 0;
    let arrived = pair.run_until(Duration::from_secs(10), |pair| {
        most = most.max(pair.end(0).stats().in_flight);
        pair.events[1].contains(&Event::Readable(0))
    });
    assert!(arrived && most <= 8000 && most > 4000, "{most}");
    assert_eq!(pair.read_all(1, 0)[0].data, message);
}

#[test]
fn a_message_that_is_too_large_ends_the_association() {
    let small = Config {
        max_receive_message: 10_000,
        ..Config::default()
    };
    let mut pair = Pair::of(4, perfect(), Config::default(), small);
    pair.connect();
    pair.send_from(0, 7, pattern(10_001, 1), RELIABLE);
    pair.run_for(Duration::from_secs(1));
    assert!(matches!(
        pair.events[1].last(),
        Some(Event::Failed(antiphon_sctp::Error::ProtocolViolation(_)))
    ));
    let aborted = antiphon_sctp::Error::AbortedByPeer { cause: Some(13) };
    assert_eq!(pair.events[0].last(), Some(&Event::Failed(aborted)));
}

#[test]
fn streams_take_turns() {
    let mut pair = Pair::connected(6, perfect());
    for n in 0..50 {
        pair.send_from(0, 1, pattern(20_000, n), RELIABLE);
    }
    pair.send_from(0, 2, "quick", RELIABLE);
    assert!(pair.run_until(Duration::from_secs(10), |pair| {
        pair.events[1].contains(&Event::Readable(2))
    }));
    assert!(
        pair.end(0).buffered_amount(1) > 900_000,
        "the small one did not wait for the large ones"
    );
}

#[test]
fn buffered_amount_low_is_told_once() {
    let mut pair = Pair::connected(7, perfect());
    pair.end(0).set_buffered_amount_low_threshold(4, 5000);
    for n in 0..10 {
        pair.send_from(0, 4, pattern(10_000, n), RELIABLE);
    }
    pair.run_for(Duration::from_secs(5));
    let low = pair.events[0].iter().filter(|e| **e == Event::BufferedAmountLow(4));
    assert_eq!(low.count(), 1);
}

#[test]
fn a_dead_path_ends_in_failure_and_heartbeats_find_it() {
    let mut pair = Pair::connected(8, perfect());
    pair.filter = Some(Box::new(|_, _| false));
    pair.send_from(0, 1, "into the void", RELIABLE);
    pair.run_for(Duration::from_secs(3600));
    for end in 0..2 {
        let failed = Event::Failed(antiphon_sctp::Error::PeerUnreachable);
        assert_eq!(pair.events[end].last(), Some(&failed), "end {end}");
        assert_eq!(pair.end(end).poll_timeout(), None);
    }
}

#[test]
fn nobody_answers_the_handshake() {
    let mut pair = Pair::of(
        9,
        LinkConfig { loss: 1.0, ..perfect() },
        Config::default(),
        Config::default(),
    );
    let now = pair.now;
    pair.end(0).connect(now);
    pair.run_for(Duration::from_secs(3600));
    assert_eq!(pair.events[0], [Event::Failed(antiphon_sctp::Error::HandshakeTimeout)]);
    let now = pair.now;
    assert_eq!(
        pair.end(0).send(now, 0, 51, "x".into(), RELIABLE),
        Err(SendError::Closed)
    );
}
