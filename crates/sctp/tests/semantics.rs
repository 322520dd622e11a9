//! Partial reliability, stream reset, the end, and what happens to old packets.

mod pair;

use std::time::Duration;

use antiphon_netsim::LinkConfig;
use antiphon_sansio::{Ecn, Rng};
use antiphon_sctp::chunk::{Chunk, Reset, ResetResult};
use antiphon_sctp::packet::Packet;
use antiphon_sctp::{Config, Error, Event, INITIAL_WINDOW, SendError, SendOptions, State};
use pair::{Associations, Pair, bad, pattern, perfect};

const RELIABLE: SendOptions = SendOptions {
    unordered: false,
    max_retransmits: None,
    lifetime: None,
};

const NO_RETRY: SendOptions = SendOptions {
    unordered: false,
    max_retransmits: Some(0),
    lifetime: None,
};

/// Stream and payload of the DATA and I-DATA chunks of a packet.
fn data_of(packet: &[u8]) -> Vec<(u16, &[u8])> {
    let chunks = Packet::parse(packet).unwrap().chunks();
    chunks
        .filter_map(|chunk| match chunk {
            Ok(Chunk::Data(data)) => Some((data.stream, data.payload)),
            Ok(Chunk::InterleavedData(data)) => Some((data.stream, data.payload)),
            _ => None,
        })
        .collect()
}

#[test]
fn a_message_without_retries_is_skipped_and_the_rest_stays_in_order() {
    skip_one(1);
    skip_one(2);
}

fn skip_one(seed: u64) {
    let mut pair = Pair::connected(seed, perfect());
    let mut dropped = false;
    pair.filter = Some(Box::new(move |end, packet| {
        let hit = end == 0 && !dropped && data_of(packet).iter().any(|(_, payload)| payload.starts_with(b"lost"));
        dropped |= hit;
        !hit
    }));
    for n in 0..10u8 {
        let text = if n == 3 { b"lost".to_vec() } else { vec![n; 1150] };
        pair.send_from(0, 5, text, NO_RETRY);
    }
    pair.run_for(Duration::from_secs(5));
    let got: Vec<u8> = pair.read_all(1, 5).iter().map(|m| m.data[0]).collect();
    assert_eq!(got, [0, 1, 2, 4, 5, 6, 7, 8, 9]);
    assert_eq!(pair.end(0).stats().messages_abandoned, 1);
    assert_eq!(pair.end(0).stats().in_flight, 0);
}

#[test]
fn a_large_message_is_given_up_as_a_whole_even_if_half_of_it_waits() {
    for seed in 0..20 {
        let mut pair = Pair::connected(seed, perfect());
        let mut count = 0;
        pair.filter = Some(Box::new(move |end, packet| {
            let hit = end == 0 && data_of(packet).iter().any(|(stream, _)| *stream == 5);
            count += usize::from(hit);
            !(hit && count == 3)
        }));
        let unordered = seed % 2 == 0;
        let options = SendOptions { unordered, ..NO_RETRY };
        pair.send_from(0, 5, pattern(100_000, 1), options);
        pair.send_from(0, 5, "after", RELIABLE);
        pair.send_from(0, 6, "other", RELIABLE);
        pair.run_for(Duration::from_secs(5));
        let got: Vec<_> = pair.read_all(1, 5).into_iter().map(|m| m.data.len()).collect();
        assert_eq!(got, [5], "seed {seed}");
        assert_eq!(pair.read_all(1, 6).len(), 1);
        assert_eq!(
            pair.end(1).stats().receive_window,
            INITIAL_WINDOW,
            "no fragment is left behind"
        );
        assert_eq!(pair.end(0).buffered_amount(5), 0, "the rest was not sent");
    }
}

#[test]
fn lifetimes_end_in_the_queue_and_on_the_way() {
    let mut pair = Pair::connected(2, perfect());
    pair.filter = Some(Box::new(|end, packet| end != 0 || data_of(packet).is_empty()));
    let short = SendOptions {
        lifetime: Some(Duration::from_millis(100)),
        ..RELIABLE
    };
    for n in 0..200 {
        pair.send_from(0, 1, pattern(5000, n), short);
    }
    pair.run_for(Duration::from_secs(2));
    pair.filter = None;
    pair.send_from(0, 1, "fresh", RELIABLE);
    pair.run_for(Duration::from_secs(30));
    let got = pair.read_all(1, 1);
    assert_eq!(got.len(), 1, "only the reliable one");
    assert_eq!(&got[0].data[..], b"fresh");
    assert_eq!(pair.end(0).stats().messages_abandoned, 200);
}

#[test]
fn partial_reliability_over_bad_networks() {
    for seed in 0..100 {
        let mut pair = Pair::connected(seed, bad(0.1));
        let mut dice = Rng::from_u64(seed);
        let mut sent = 0;
        let mut got = [Vec::new(), Vec::new()];
        for n in 0..100u8 {
            for (stream, unordered) in [(0, false), (1, true)] {
                let max_retransmits = Some(u16::from(n % 3));
                let options = SendOptions {
                    unordered,
                    max_retransmits,
                    lifetime: None,
                };
                let len = 1 + dice.below(4000) as usize;
                let mut data = pattern(len, n).to_vec();
                data[0] = n;
                pair.send_from(0, stream, data, options);
                sent += 1;
            }
            pair.run_for(Duration::from_millis(5));
        }
        pair.send_from(0, 0, vec![255], RELIABLE);
        pair.run_for(Duration::from_secs(60));
        for stream in 0..2 {
            got[stream as usize].extend(pair.read_all(1, stream).iter().map(|m| m.data[0]));
        }
        assert!(got[0].is_sorted(), "seed {seed}: order holds");
        assert_eq!(got[0].last(), Some(&255), "seed {seed}: what is reliable arrives");
        let arrived = got[0].len() + got[1].len() - 1;
        let abandoned = pair.end(0).stats().messages_abandoned as usize;
        assert!(
            arrived + abandoned >= sent,
            "seed {seed}: {arrived} + {abandoned} of {sent}"
        );
        assert!(arrived > sent / 2, "seed {seed}: {arrived} of {sent}");
        assert_eq!(pair.end(0).stats().in_flight, 0, "seed {seed}");
        // Nothing holds it any more, however wide it has become.
        let window = pair.end(1).stats().receive_window;
        assert!(window.is_multiple_of(INITIAL_WINDOW), "seed {seed}: {window}");
    }
}

#[test]
fn resets_wait_for_the_data_and_number_streams_anew() {
    for seed in 0..100 {
        let mut pair = Pair::connected(seed, bad(0.15));
        for round in 0..3 {
            pair.events.iter_mut().for_each(Vec::clear);
            pair.send_from(0, 9, pattern(30_000, round), RELIABLE);
            pair.send_from(0, 8, "other", RELIABLE);
            let now = pair.now;
            pair.end(0).reset_stream(9);
            assert_eq!(
                pair.end(0).send(now, 9, 53, "no".into(), RELIABLE),
                Err(SendError::StreamUnavailable)
            );
            let done = Event::OutgoingReset { stream: 9, ok: true };
            assert!(
                pair.run_until(Duration::from_secs(120), |pair| pair.events[0].contains(&done)),
                "seed {seed}"
            );
            let at = |event| pair.events[1].iter().position(|e| *e == event);
            assert!(
                at(Event::Readable(9)) < at(Event::IncomingReset(9)),
                "seed {seed}: data first"
            );
            assert_eq!(pair.read_all(1, 9)[0].data, pattern(30_000, round));
            pair.run_for(Duration::from_secs(10));
            let resets = pair.events[1].iter().filter(|e| matches!(e, Event::IncomingReset(_)));
            assert_eq!(resets.count(), 1, "seed {seed}: once");
        }
    }
}

#[test]
fn both_ends_reset_many_streams_at_once() {
    let mut pair = Pair::connected(4, bad(0.1));
    for end in 0..2 {
        for stream in 0..2000 {
            pair.end(end).reset_stream(stream);
        }
    }
    pair.run_for(Duration::from_secs(120));
    for end in 0..2 {
        let count = |wanted: fn(&Event) -> bool| pair.events[end].iter().filter(|e| wanted(e)).count();
        assert_eq!(count(|e| matches!(e, Event::OutgoingReset { ok: true, .. })), 2000);
        assert_eq!(count(|e| matches!(e, Event::IncomingReset(_))), 2000);
    }
    assert!(pair.largest() <= 1188);
}

#[test]
fn lost_requests_and_lost_answers_are_repeated() {
    let mut pair = Pair::connected(5, perfect());
    pair.send_from(0, 1, "x", RELIABLE);
    pair.end(0).reset_stream(1);
    let mut lost = [0, 0];
    pair.filter = Some(Box::new(move |end, packet| {
        let chunks = Packet::parse(packet).unwrap().chunks().flatten();
        for chunk in chunks {
            if let Chunk::ReConfig(re_config) = chunk {
                if let Some(Ok(Reset::Response { result, .. })) = re_config.resets().next() {
                    assert_eq!(result, ResetResult::Performed);
                }
                lost[end] += 1;
                return lost[end] > 2;
            }
        }
        true
    }));
    pair.run_for(Duration::from_secs(20));
    let resets = pair.events[1].iter().filter(|e| matches!(e, Event::IncomingReset(1)));
    assert_eq!(resets.count(), 1, "a repeated request is answered, not performed again");
    assert!(pair.events[0].contains(&Event::OutgoingReset { stream: 1, ok: true }));
}

#[test]
fn close_delivers_everything_first() {
    for seed in 0..50 {
        let mut pair = Pair::connected(seed, bad(0.2));
        for n in 0..20 {
            pair.send_from(0, 1, pattern(10_000, n), RELIABLE);
            pair.send_from(1, 1, pattern(3000, n), RELIABLE);
        }
        let now = pair.now;
        pair.end(0).close(now);
        if seed % 2 == 0 {
            pair.end(1).close(now);
        }
        assert_eq!(pair.end(0).state(), State::ShutdownPending);
        assert_eq!(
            pair.end(0).send(now, 1, 53, "late".into(), RELIABLE),
            Err(SendError::Closed)
        );
        pair.run_for(Duration::from_secs(300));
        for end in 0..2 {
            assert_eq!(pair.events[end].last(), Some(&Event::Closed), "seed {seed}, end {end}");
            assert_eq!(pair.read_all(end, 1).len(), 20, "seed {seed}, end {end}");
            assert_eq!(pair.end(end).poll_timeout(), None);
        }
    }
}

#[test]
fn abort_tells_the_peer() {
    let mut pair = Pair::connected(6, perfect());
    pair.end(1).abort();
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.events[1].last(), Some(&Event::Failed(Error::Aborted)));
    let aborted = Error::AbortedByPeer { cause: Some(12) };
    assert_eq!(pair.events[0].last(), Some(&Event::Failed(aborted)));
    assert!(!pair.step(), "nothing happens any more");
}

#[test]
fn every_packet_twice_and_all_of_them_again_later() {
    let mut pair = Pair::of(
        7,
        LinkConfig {
            duplicate: 1.0,
            ..bad(0.0)
        },
        Config::default(),
        Config::default(),
    );
    let recorded = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
    let record = recorded.clone();
    pair.filter = Some(Box::new(move |end, packet| {
        record.borrow_mut().push((1 - end, packet.to_vec()));
        true
    }));
    pair.connect();
    for n in 0..20 {
        pair.send_from(0, 1, pattern(5000, n), RELIABLE);
    }
    pair.run_for(Duration::from_secs(10));
    assert_eq!(pair.read_all(1, 1).len(), 20);
    let before: Vec<usize> = pair.events.iter().map(Vec::len).collect();
    for (to, packet) in recorded.borrow().clone() {
        pair.deliver(to, Ecn::NotEct, &packet);
    }
    pair.run_for(Duration::from_secs(200));
    assert_eq!(
        before,
        pair.events.iter().map(Vec::len).collect::<Vec<_>>(),
        "replayed packets do nothing"
    );
    assert!(pair.read_all(1, 1).is_empty());
    pair.send_from(0, 1, "still here", RELIABLE);
    pair.run_for(Duration::from_secs(2));
    assert_eq!(pair.read_all(1, 1).len(), 1);
}

#[test]
fn the_same_seed_gives_the_same_bytes() {
    let run = || {
        let mut pair = Pair::connected(11, bad(0.1));
        let digest = std::rc::Rc::new(std::cell::Cell::new(0u64));
        let seen = digest.clone();
        pair.filter = Some(Box::new(move |end, packet| {
            let mix = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
            seen.set(packet.iter().fold(seen.get() ^ end as u64, mix));
            true
        }));
        for n in 0..10 {
            pair.send_from((n & 1).into(), 1, pattern(9000, n), RELIABLE);
        }
        pair.run_for(Duration::from_secs(20));
        digest.get()
    };
    assert_eq!(run(), run());
}
