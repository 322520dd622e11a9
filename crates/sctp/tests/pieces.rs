//! Messages that are handed out before they are whole.

mod pair;

use std::time::Duration;

use antiphon_sctp::{Config, Ending, SendOptions};
use bytes::Bytes;
use pair::{Associations, Pair, bad, perfect};

const MIB: usize = 1024 * 1024;

fn config(interleaving: bool) -> Config {
    Config {
        interleaving,
        partial_delivery: true,
        receive_buffer: MIB,
        send_buffer: 128 * MIB,
        ..Config::default()
    }
}

/// Bytes that tell their place.
fn pattern(len: usize) -> Bytes {
    (0..len).map(|n| (n % 251) as u8 ^ (n >> 16) as u8).collect()
}

/// Reads for as long as something comes: the messages, into how many pieces each was cut, and the most that was held at
/// once.
fn read_for(
    pair: &mut Pair,
    stream: u16,
    time: Duration,
    done: impl Fn(&[(Vec<u8>, usize)]) -> bool,
) -> Vec<(Vec<u8>, usize)> {
    let mut messages = Vec::new();
    let mut pieces: Vec<Bytes> = Vec::new();
    let end = pair.now + time;
    while !done(&messages) && pair.now < end {
        pair.run_for(Duration::from_millis(1));
        let held = MIB.saturating_sub(pair.end(1).stats().receive_window);
        assert!(held <= MIB, "{held}");
        pair.events[1].clear();
        for message in pair.read_all(1, stream) {
            assert!(message.data.len() <= 2 * MIB);
            assert_eq!(message.ppid, 53);
            pieces.push(message.data);
            match message.ending {
                Ending::More => {}
                Ending::End => messages.push((pieces.concat(), std::mem::take(&mut pieces).len())),
                Ending::GivenUp => panic!("nothing was given up"),
            }
        }
    }
    assert!(done(&messages), "nothing more comes: {:?}", pair.ends);
    messages
}

#[test]
fn a_message_of_64_mib_goes_through_a_window_of_one() {
    for interleaving in [false, true] {
        let mut pair = Pair::of(1, perfect(), config(interleaving), config(interleaving));
        pair.connect();
        let large = pattern(64 * MIB);
        pair.send_from(0, 3, large.clone(), SendOptions::default());
        pair.send_from(0, 3, "after it", SendOptions::default());
        let messages = read_for(&mut pair, 3, Duration::from_secs(600), |messages| messages.len() == 2);
        assert_eq!(pair.end(1).is_interleaved(), interleaving);
        assert!(messages[0].0 == large, "it arrives as it was sent");
        assert!(messages[0].1 >= 64, "in many pieces: {}", messages[0].1);
        assert_eq!(messages[1], (b"after it".to_vec(), 1));
    }
}

#[test]
fn holes_repeats_and_other_streams_do_not_disturb_it() {
    for seed in 0..6 {
        let interleaving = seed % 2 == 0;
        let mut pair = Pair::of(seed, bad(0.05), config(interleaving), config(interleaving));
        pair.connect();
        let sent = [3 * MIB, 10, 700_000, 2 * MIB, 5].map(pattern);
        for message in &sent {
            pair.send_from(0, 3, message.clone(), SendOptions::default());
        }
        let unordered = SendOptions {
            unordered: true,
            ..SendOptions::default()
        };
        pair.send_from(0, 3, "out of order", unordered);
        pair.send_from(0, 4, pattern(500_000), SendOptions::default());
        let messages = read_for(&mut pair, 3, Duration::from_secs(600), |messages| messages.len() == 6);
        let (late, ordered): (Vec<_>, Vec<_>) = messages.into_iter().partition(|(bytes, _)| bytes == b"out of order");
        assert_eq!(late.len(), 1);
        for ((bytes, _), sent) in ordered.iter().zip(&sent) {
            assert!(bytes == sent, "seed {seed}: {} of {}", bytes.len(), sent.len());
        }
        let rest = read_for(&mut pair, 4, Duration::from_secs(60), |messages| messages.len() == 1);
        assert!(rest[0].0 == pattern(500_000));
    }
}

#[test]
fn a_message_that_is_given_up_half_way_says_so() {
    for interleaving in [false, true] {
        let mut pair = Pair::of(1, perfect(), config(interleaving), config(interleaving));
        pair.connect();
        let once = SendOptions {
            max_retransmits: Some(0),
            ..SendOptions::default()
        };
        let mut left = 700;
        pair.filter = Some(Box::new(move |end, packet| {
            left -= i32::from(end == 0 && packet.len() > 1000);
            left != 0
        }));
        pair.send_from(0, 3, pattern(20 * MIB), once);
        pair.send_from(0, 3, "after it", SendOptions::default());
        let (mut endings, mut last) = (Vec::new(), Bytes::new());
        for _ in 0..100 {
            for message in pair.read_all(1, 3) {
                endings.push(message.ending);
                last = message.data;
            }
            pair.run_for(Duration::from_millis(50));
        }
        let more = endings.len() - 2;
        assert!(
            more > 0 && endings[..more].iter().all(|ending| *ending == Ending::More),
            "{endings:?}"
        );
        assert_eq!(endings[more..], [Ending::GivenUp, Ending::End]);
        assert_eq!(last, "after it");
        let stats = pair.end(1).stats();
        assert!(stats.receive_window >= MIB / 2, "everything was given back: {stats:?}");
    }
}

#[test]
fn without_it_and_out_of_order_a_message_has_a_largest_size() {
    for (partial_delivery, unordered) in [(false, false), (true, true)] {
        let config = Config {
            partial_delivery,
            ..config(true)
        };
        let mut pair = Pair::of(1, perfect(), config.clone(), config);
        pair.connect();
        let options = SendOptions {
            unordered,
            ..SendOptions::default()
        };
        pair.send_from(0, 3, pattern(300_000), options);
        pair.run_for(Duration::from_secs(5));
        assert!(pair.end(1).has_ended(), "{:?}", pair.ends[1]);
    }
}
