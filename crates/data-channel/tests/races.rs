//! Opening and closing at unlucky moments: each race has ended somebody's channel, or given its id to two.

mod pair;

use std::collections::BTreeSet;
use std::time::Duration;

use antiphon_data_channel::{ChannelId, ChannelInit, ChannelState, Config, Event, Message, OpenError, SendError};
use pair::{Channels, Pair};

const A_WHILE: Duration = Duration::from_secs(30);

/// More of that.
trait Races {
    fn close(&mut self, end: usize, id: ChannelId);
    fn count(&self, end: usize, event: &Event) -> usize;
    fn stream(&self, end: usize, id: ChannelId) -> Option<u16>;
    fn opened(&mut self, init: ChannelInit) -> [ChannelId; 2];
}

impl Races for Pair {
    fn close(&mut self, end: usize, id: ChannelId) {
        let now = self.now;
        self.ends[end].close_channel(now, id);
    }

    fn count(&self, end: usize, event: &Event) -> usize {
        self.events[end].iter().filter(|seen| *seen == event).count()
    }

    fn stream(&self, end: usize, id: ChannelId) -> Option<u16> {
        self.ends[end].info(id).unwrap().id
    }

    /// A channel that is open at both ends: its names there.
    fn opened(&mut self, init: ChannelInit) -> [ChannelId; 2] {
        let id = self.open(0, init);
        self.run_for(Duration::from_secs(1));
        [id, *self.incoming(1).last().unwrap()]
    }
}

fn negotiated(id: u16) -> ChannelInit {
    ChannelInit {
        negotiated: Some(id),
        ..ChannelInit::new("negotiated")
    }
}

#[test]
fn closed_before_there_is_a_connection() {
    let mut pair = Pair::of(1, Config::default());
    let never = pair.open(0, ChannelInit::new("never"));
    let agreed = pair.open(0, negotiated(0));
    pair.close(0, never);
    pair.close(0, agreed);
    assert_eq!(pair.ends[0].state(never), Some(ChannelState::Closed));
    let next = pair.open(0, ChannelInit::new("next"));
    pair.start();
    pair.run_for(A_WHILE);
    assert_eq!(pair.stream(0, next), Some(0), "neither holds an id");
    let seen = pair.incoming(1);
    assert_eq!(seen.len(), 1);
    assert_eq!(pair.ends[1].info(seen[0]).unwrap().label, "next");
    assert_eq!(pair.ends[1].stats().messages_invalid, 0);
}

#[test]
fn closed_between_start_and_connected() {
    for seed in 0..10 {
        let mut pair = Pair::of(seed, Config::default());
        pair.set_loss(0.2);
        let id = pair.open(0, ChannelInit::new("short"));
        pair.start();
        pair.run_for(Duration::from_millis(7));
        pair.close(0, id);
        pair.run_for(A_WHILE);
        assert_eq!(pair.ends[0].state(id), Some(ChannelState::Closed), "seed {seed}");
        let again = pair.open(0, ChannelInit::new("again"));
        assert_eq!(pair.stream(0, again), Some(0), "seed {seed}");
        pair.run_for(A_WHILE);
        assert_eq!(pair.ends[0].state(again), Some(ChannelState::Open), "seed {seed}");
        let there = *pair.incoming(1).last().unwrap();
        assert_eq!(pair.ends[1].info(there).unwrap().label, "again");
    }
}

#[test]
fn the_peer_closes_before_its_ack_is_here() {
    for seed in 0..20 {
        let mut pair = Pair::connected(seed);
        pair.set_loss(f64::from(seed as u8 % 2) * 0.3);
        let id = pair.open(0, ChannelInit::new("unwanted"));
        while pair.incoming(1).is_empty() {
            pair.run_for(Duration::from_millis(1));
        }
        let there = pair.incoming(1)[0];
        pair.close(1, there);
        // We know nothing of it yet, and send.
        let now = pair.now;
        let sent = pair.ends[0].send(now, id, Message::text("into the closing"));
        assert!(sent == Ok(()) || sent == Err(SendError::Closed));
        pair.run_for(A_WHILE);
        for (end, id) in [(0, id), (1, there)] {
            assert_eq!(pair.count(end, &Event::Closed(id)), 1, "seed {seed}, end {end}");
        }
        assert_eq!(pair.count(0, &Event::Closing(id)), 1);
        let again = pair.open(0, ChannelInit::new("again"));
        assert_eq!(pair.stream(0, again), Some(0), "seed {seed}");
    }
}

#[test]
fn what_the_peer_sent_before_it_knew_still_arrives() {
    let mut pair = Pair::connected(2);
    let [id, there] = pair.opened(ChannelInit::new("x"));
    for n in 0..10u8 {
        pair.say(1, there, Message::binary(vec![n; 20_000]));
    }
    pair.close(0, id);
    pair.run_for(A_WHILE);
    let got: Vec<_> = std::iter::from_fn(|| pair.ends[0].read(pair.now, id)).collect();
    assert_eq!(got.len(), 10, "a closed channel can be read out");
    let at = |event| pair.events[0].iter().position(|seen| *seen == event).unwrap();
    assert!(at(Event::Readable(id)) < at(Event::Closed(id)));
    assert_eq!(pair.ends[1].stats().messages_invalid, 0);
}

#[test]
fn closing_waits_for_a_reader_that_sleeps_and_the_id_with_it() {
    let mut config = Config::default();
    config.association.receive_buffer = 100_000;
    let mut pair = Pair::of(3, config);
    pair.start();
    pair.run_for(Duration::from_secs(1));
    let [id, there] = pair.opened(ChannelInit::new("bulk"));
    for n in 0..20u8 {
        pair.say(0, id, Message::binary(vec![n; 20_000]));
    }
    pair.close(0, id);
    pair.run_for(A_WHILE);
    assert_eq!(pair.ends[0].state(id), Some(ChannelState::Closing));
    let other = pair.open(0, ChannelInit::new("other"));
    assert_eq!(pair.stream(0, other), Some(2), "the id is not free");
    let mut got = 0;
    for _ in 0..100 {
        got += std::iter::from_fn(|| pair.ends[1].read(pair.now, there)).count();
        pair.run_for(Duration::from_millis(300));
    }
    assert_eq!(got, 20, "nothing is lost by closing");
    assert_eq!(pair.ends[0].state(id), Some(ChannelState::Closed));
    let again = pair.open(0, ChannelInit::new("again"));
    assert_eq!(pair.stream(0, again), Some(0));
}

#[test]
fn closing_twice_or_after_the_peer_is_closing_once() {
    for seed in 0..10 {
        let mut pair = Pair::connected(seed);
        pair.set_loss(0.2);
        let mut ids = [pair.open(0, ChannelInit::new("x")); 2];
        while pair.incoming(1).is_empty() {
            pair.run_for(Duration::from_millis(1));
        }
        ids[1] = pair.incoming(1)[0];
        pair.close(0, ids[0]);
        pair.close(0, ids[0]);
        while pair.ends[1].state(ids[1]) == Some(ChannelState::Open) {
            pair.run_for(Duration::from_millis(1));
        }
        pair.close(1, ids[1]);
        // Forgetting does not cut it short.
        pair.ends[0].forget(pair.now, ids[0]);
        pair.run_for(A_WHILE);
        for (end, id) in ids.into_iter().enumerate() {
            assert_eq!(pair.count(end, &Event::Closed(id)), 1, "seed {seed}, end {end}");
            pair.close(end, id);
            assert_eq!(pair.ends[end].state(id), Some(ChannelState::Closed));
            pair.ends[end].forget(pair.now, id);
            pair.close(end, id);
            assert_eq!(pair.ends[end].state(id), None);
        }
        pair.clear();
        pair.run_for(A_WHILE);
        assert!(pair.events.iter().all(Vec::is_empty), "{:?}", pair.events);
    }
}

#[test]
fn a_negotiated_id_is_used_again_after_both_resets_and_not_before() {
    for seed in 0..10 {
        let mut pair = Pair::connected(seed);
        pair.set_loss(f64::from(seed as u8 % 2) * 0.3);
        for round in 0..4u8 {
            let ids = [0, 1].map(|end| pair.open(end, negotiated(6)));
            pair.say(0, ids[0], Message::binary(vec![round]));
            pair.run_for(A_WHILE);
            assert_eq!(
                pair.ends[1].read(pair.now, ids[1]),
                Some(Message::binary(vec![round])),
                "seed {seed}"
            );
            let closer = usize::from(round % 2);
            pair.close(closer, ids[closer]);
            let now = pair.now;
            assert_eq!(pair.ends[closer].open(now, negotiated(6)), Err(OpenError::IdInUse));
            pair.run_for(A_WHILE);
            for (end, id) in ids.into_iter().enumerate() {
                assert_eq!(
                    pair.ends[end].state(id),
                    Some(ChannelState::Closed),
                    "seed {seed}, round {round}"
                );
            }
        }
        assert_eq!(pair.ends.each_ref().map(|end| end.stats().messages_invalid), [0; 2]);
    }
}

#[test]
fn a_negotiated_channel_that_only_one_end_has_opened_can_be_closed() {
    let mut pair = Pair::connected(4);
    let id = pair.open(0, negotiated(9));
    pair.say(0, id, Message::text("nobody is there"));
    pair.run_for(A_WHILE);
    assert_eq!(pair.ends[1].stats().messages_invalid, 1);
    pair.close(0, id);
    pair.run_for(A_WHILE);
    assert_eq!(pair.ends[0].state(id), Some(ChannelState::Closed));
    // And both may open it now.
    let ids = [0, 1].map(|end| pair.open(end, negotiated(9)));
    pair.say(0, ids[0], Message::text("now"));
    pair.run_for(A_WHILE);
    assert_eq!(pair.ends[1].read(pair.now, ids[1]), Some(Message::text("now")));
    // A second reset of a stream that was used calls for nothing.
    assert_eq!(pair.count(0, &Event::Closed(id)), 1);
}

#[test]
fn v22_both_ends_open_and_close_at_every_offset() {
    for offset in 0..25 {
        let mut pair = Pair::connected(offset);
        let ours = pair.open(0, ChannelInit::new("ours"));
        let theirs = pair.open(1, ChannelInit::new("theirs"));
        pair.run_for(Duration::from_millis(offset));
        pair.close(0, ours);
        if let Some(seen) = pair.incoming(0).first().copied() {
            pair.close(0, seen);
        }
        pair.run_for(Duration::from_millis(offset / 3));
        pair.close(1, theirs);
        if let Some(seen) = pair.incoming(1).first().copied() {
            pair.close(1, seen);
        }
        pair.run_for(A_WHILE);
        for end in 0..2 {
            let all: Vec<_> = pair.ends[end].channels().collect();
            for id in all {
                assert_eq!(pair.ends[end].state(id), Some(ChannelState::Closed), "offset {offset}");
                assert_eq!(pair.count(end, &Event::Closed(id)), 1, "offset {offset}");
            }
            let again = pair.open(end, ChannelInit::new("again"));
            assert_eq!(pair.stream(end, again), Some(end as u16), "offset {offset}");
        }
        pair.run_for(A_WHILE);
        assert_eq!(
            pair.ends.each_ref().map(|end| end.stats().messages_invalid),
            [0; 2],
            "offset {offset}"
        );
    }
}

/// RFC 8831 §6.7: who closes resets its side, and the other end answers with a reset of the same stream.
#[test]
fn a_thousand_closed_in_one_go_owe_few_resets_at_a_time() {
    const COUNT: usize = 1000;
    // What libwebrtc can put into one request, and would put into one.
    const MOST: usize = 578;
    for seed in 0..12 {
        let (loss, closers) = ([0.0, 0.1, 0.3][seed % 3], 1 + seed % 2);
        let mut pair = Pair::connected(seed as u64);
        let ids: Vec<ChannelId> = (0..COUNT).map(|_| pair.open(0, ChannelInit::new("many"))).collect();
        pair.run_for(A_WHILE);
        let there = pair.incoming(1);
        assert_eq!(there.len(), COUNT);
        pair.set_loss(loss);
        for (end, ids) in [&ids, &there].into_iter().enumerate().take(closers) {
            for id in ids {
                pair.close(end, *id);
            }
        }
        pair.run_for(A_WHILE);
        for (end, ids) in [(0, &ids), (1, &there)] {
            for id in ids {
                assert_eq!(pair.count(end, &Event::Closed(*id)), 1, "seed {seed}, end {end}");
            }
        }
        let mut done: [BTreeSet<u16>; 2] = Default::default();
        for (from, streams) in &pair.resets() {
            done[*from].extend(streams);
            let owed = done[*from].difference(&done[1 - *from]).count();
            assert!(owed <= MOST, "seed {seed}: {owed} owed to end {from}");
        }
        assert_eq!(done.map(|streams| streams.len()), [COUNT; 2]);
        // Identifiers are free again.
        let again = pair.open(0, ChannelInit::new("again"));
        assert_eq!(pair.stream(0, again), Some(0), "seed {seed}");
    }
}
