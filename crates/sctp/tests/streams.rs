//! Adding streams (RFC 6525 §4.5, §4.6), and requests that are denied.

mod pair;
mod victim;

use std::time::Duration;

use antiphon_netsim::LinkConfig;
use antiphon_sctp::chunk::{ResetResult, parameter_kind};
use antiphon_sctp::{Config, Event, SendError, SendOptions};
use pair::{Associations, Pair, bad, perfect};
use victim::Victim;

fn four(max_added_streams: u16) -> Config {
    Config {
        streams: 4,
        max_added_streams,
        ..Config::default()
    }
}

fn connected(network: LinkConfig, caps: [u16; 2]) -> Pair {
    let mut pair = Pair::of(1, network, four(caps[0]), four(caps[1]));
    pair.connect();
    for end in 0..2 {
        assert_eq!(pair.end(end).outgoing_streams(), Some(4));
        assert_eq!(pair.end(end).incoming_streams(), Some(4));
    }
    pair.events.iter_mut().for_each(Vec::clear);
    pair
}

fn told(pair: &mut Pair, end: usize, event: Event) {
    let seen = pair.run_until(Duration::from_secs(60), |pair| pair.events[end].contains(&event));
    assert!(seen, "{event:?}: {:?}", pair.events);
}

#[test]
fn more_streams_of_ours_and_at_our_wish_of_theirs() {
    for network in [perfect(), bad(0.3)] {
        let mut pair = connected(network, [100, 100]);
        let send = |pair: &mut Pair, end: usize, stream| {
            let now = pair.now;
            pair.end(end).send(now, stream, 53, "x".into(), SendOptions::default())
        };
        assert_eq!(send(&mut pair, 0, 4), Err(SendError::StreamUnavailable));
        pair.end(0).add_streams(6);
        pair.end(0).request_streams(20);
        told(&mut pair, 0, Event::OutgoingStreams { streams: 10, ok: true });
        told(&mut pair, 1, Event::IncomingStreams { streams: 10, ok: true });
        told(&mut pair, 1, Event::OutgoingStreams { streams: 24, ok: true });
        told(&mut pair, 0, Event::IncomingStreams { streams: 24, ok: true });
        for (end, last) in [(0, 9), (1, 23)] {
            assert_eq!(send(&mut pair, end, last), Ok(()));
            assert_eq!(send(&mut pair, end, last + 1), Err(SendError::StreamUnavailable));
            told(&mut pair, 1 - end, Event::Readable(last));
            assert_eq!(pair.read_all(1 - end, last).len(), 1);
        }
        // A reset of such a stream, and adding more, one after the other.
        pair.end(0).reset_stream(9);
        pair.end(0).add_streams(1);
        told(&mut pair, 0, Event::OutgoingReset { stream: 9, ok: true });
        told(&mut pair, 0, Event::OutgoingStreams { streams: 11, ok: true });
        let asked = pair
            .events
            .iter()
            .flatten()
            .filter(|event| matches!(event, Event::OutgoingStreams { .. }));
        assert_eq!(asked.count(), 3, "each request is performed once: {:?}", pair.events);
    }
}

#[test]
fn more_than_the_other_end_allows_is_denied() {
    let mut pair = connected(perfect(), [100, 8]);
    pair.end(0).add_streams(5);
    told(&mut pair, 0, Event::OutgoingStreams { streams: 4, ok: false });
    pair.end(0).request_streams(5);
    told(&mut pair, 0, Event::IncomingStreams { streams: 4, ok: false });
    pair.end(0).add_streams(4);
    told(&mut pair, 0, Event::OutgoingStreams { streams: 8, ok: true });
    assert_eq!(pair.end(1).incoming_streams(), Some(8));
}

#[test]
fn answers_to_requests_written_by_hand() {
    let mut victim = Victim::connected(four(6));
    let streams = |count: u16| [count.to_be_bytes(), [0; 2]].concat();
    let (add, wish) = (
        parameter_kind::ADD_OUTGOING_STREAMS,
        parameter_kind::ADD_INCOMING_STREAMS,
    );
    victim.ask(add, 0, &streams(2));
    assert_eq!(victim.responses(), [ResetResult::Performed]);
    victim.ask(add, 0, &streams(2));
    assert_eq!(
        victim.responses(),
        [ResetResult::Performed],
        "the same again is not two more"
    );
    assert_eq!(victim.association.incoming_streams(), Some(6));
    victim.ask(add, 1, &streams(1));
    assert_eq!(victim.responses(), [ResetResult::Denied]);
    victim.ask(wish, 2, &streams(u16::MAX));
    assert_eq!(victim.responses(), [ResetResult::Denied]);
    victim.ask(add, 3, &streams(0));
    assert_eq!(victim.responses(), [ResetResult::NothingToDo]);
    victim.ask(wish, 9, &streams(1));
    assert_eq!(victim.responses(), [ResetResult::BadSequenceNumber]);
    // What we do not do: resetting our streams at the peer's wish, and all TSNs.
    victim.ask(parameter_kind::INCOMING_RESET, 4, &[0, 1]);
    victim.ask(parameter_kind::SSN_TSN_RESET, 5, &[]);
    assert_eq!(victim.responses(), [ResetResult::Denied; 2]);
    victim.ask(add, 6, &[]);
    assert_eq!(victim.association.stats().chunks_invalid, 1, "no count");
    // A stream that was added takes data, the one behind it does not exist.
    victim.give_data(0, 3, 5, 0, b"added");
    victim.give_data(1, 3, 6, 0, b"not added");
    assert_eq!(victim.read(5).unwrap().data, &b"added"[..]);
    assert_eq!(victim.read(6), None);
    assert!(victim.is_well());
}

#[test]
fn a_peer_without_re_config_adds_nothing() {
    let mut victim = Victim::bare(four(100));
    victim.association.add_streams(2);
    assert!(victim.packets().is_empty());
    let streams = 4;
    assert_eq!(
        victim.association.poll_event(),
        Some(Event::OutgoingStreams { streams, ok: false })
    );
}
