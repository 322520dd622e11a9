//! Two sets of channels over a virtual network.

mod pair;

use std::time::{Duration, Instant};

use antiphon_data_channel::{
    ChannelId, ChannelInit, ChannelState, Config, DataChannels, Ending, Event, Message, MessageKind, OpenError, Piece,
    Priority, SendError,
};
use antiphon_sansio::{Rng, TransmitBuf};
use antiphon_sctp::{Association, SendOptions};
use bytes::Bytes;
use pair::{Channels, Pair};

#[test]
fn opened_before_start_and_after() {
    let mut pair = Pair::of(1, Config::default());
    let init = ChannelInit {
        protocol: "p".into(),
        ordered: false,
        max_retransmits: Some(2),
        ..ChannelInit::new("first")
    };
    let first = pair.open(0, init);
    assert_eq!(pair.ends[0].info(first).unwrap().id, None);
    assert_eq!(
        pair.ends[0].send(pair.now, first, Message::text("x")),
        Err(SendError::NotOpen)
    );
    let theirs = pair.open(1, ChannelInit::new("theirs"));
    pair.start();
    assert_eq!(
        pair.ends[0].info(first).unwrap().id,
        Some(0),
        "the DTLS client uses even ids"
    );
    assert_eq!(pair.ends[1].info(theirs).unwrap().id, Some(1));
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.events[0][..2], [Event::Connected, Event::Open(first)]);
    let seen = pair.ends[1].info(pair.incoming(1)[0]).unwrap();
    assert_eq!(
        (seen.label.as_str(), seen.protocol.as_str(), seen.id),
        ("first", "p", Some(0))
    );
    assert_eq!(
        (seen.ordered, seen.max_retransmits, seen.negotiated),
        (false, Some(2), false)
    );
    assert_eq!(seen.state, ChannelState::Open);
    let late = pair.open(0, ChannelInit::new("late"));
    assert_eq!(pair.ends[0].info(late).unwrap().id, Some(2));
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.incoming(1).len(), 2);
}

#[test]
fn data_may_follow_open_at_once() {
    let mut pair = Pair::connected(2);
    let init = ChannelInit {
        ordered: false,
        ..ChannelInit::new("chat")
    };
    let id = pair.open(0, init);
    let messages = [
        Message::text("Cookies 4 life"),
        Message::text(""),
        Message::binary(vec![1, 2, 3]),
        Message::binary(vec![]),
        Message::binary(vec![7; 200_000]),
    ];
    for message in &messages {
        pair.say(0, id, message.clone());
    }
    pair.run_for(Duration::from_secs(2));
    let there = pair.incoming(1)[0];
    let got: Vec<_> = std::iter::from_fn(|| pair.ends[1].read(pair.now, there)).collect();
    assert_eq!(got, messages, "in order until the ACK has come (RFC 8832 §6)");
    let info = pair.ends[1].info(there).unwrap();
    assert_eq!((info.messages_received, info.bytes_received), (5, 200_017));
    assert!(pair.events[1].contains(&Event::Readable(there)));
    pair.say(1, there, Message::text("back"));
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.ends[0].read(pair.now, id), Some(Message::text("back")));
}

#[test]
fn negotiated_channels_speak_no_dcep() {
    let mut pair = Pair::of(3, Config::default());
    let init = ChannelInit {
        negotiated: Some(77),
        ..ChannelInit::new("both")
    };
    let ids = [0, 1].map(|end| pair.open(end, init.clone()));
    let refused = |id| ChannelInit {
        negotiated: Some(id),
        ..ChannelInit::default()
    };
    assert_eq!(pair.ends[0].open(pair.now, refused(77)), Err(OpenError::IdInUse));
    assert_eq!(pair.ends[0].open(pair.now, refused(65_535)), Err(OpenError::InvalidId));
    pair.start();
    pair.run_for(Duration::from_secs(1));
    for (end, id) in ids.iter().enumerate() {
        assert!(pair.events[end].contains(&Event::Open(*id)));
        assert!(pair.incoming(end).is_empty());
    }
    pair.say(1, ids[1], Message::text("hello"));
    pair.run_for(Duration::from_secs(1));
    assert_eq!(pair.ends[0].read(pair.now, ids[0]), Some(Message::text("hello")));
}

#[test]
fn close_delivers_first_and_frees_the_id_after_both_resets() {
    for seed in 0..20 {
        let mut pair = Pair::connected(seed);
        pair.set_loss(0.2);
        for round in 0..5 {
            pair.clear();
            let id = pair.open(0, ChannelInit::new("again"));
            assert_eq!(
                pair.ends[0].info(id).unwrap().id,
                Some(0),
                "the lowest id is used again"
            );
            pair.say(0, id, Message::binary(vec![round; 50_000]));
            let now = pair.now;
            pair.ends[0].close_channel(now, id);
            assert_eq!(pair.ends[0].state(id), Some(ChannelState::Closing));
            assert_eq!(
                pair.ends[0].send(pair.now, id, Message::text("late")),
                Err(SendError::Closed)
            );
            // Another one while this one closes must not get its id.
            let other = pair.open(0, ChannelInit::new("other"));
            assert_eq!(pair.ends[0].info(other).unwrap().id, Some(2));
            let now = pair.now;
            pair.ends[0].close_channel(now, other);
            pair.run_for(Duration::from_secs(60));
            let there = pair.incoming(1)[0];
            assert_eq!(
                pair.ends[1].read(pair.now, there),
                Some(Message::binary(vec![round; 50_000])),
                "seed {seed}"
            );
            assert!(
                pair.events[0].contains(&Event::Closed(id)),
                "seed {seed}, round {round}"
            );
            let at = |event| pair.events[1].iter().position(|e| *e == event);
            assert!(at(Event::Readable(there)) < at(Event::Closing(there)));
            assert!(at(Event::Closing(there)) < at(Event::Closed(there)));
            pair.ends[1].forget(pair.now, there);
            assert_eq!(pair.ends[1].info(there), None);
        }
    }
}

#[test]
fn both_ends_close_at_once() {
    let mut pair = Pair::connected(4);
    let id = pair.open(0, ChannelInit::new("x"));
    pair.run_for(Duration::from_secs(1));
    let there = pair.incoming(1)[0];
    let now = pair.now;
    pair.ends[0].close_channel(now, id);
    pair.ends[1].close_channel(now, there);
    pair.run_for(Duration::from_secs(5));
    assert_eq!(pair.events[0].last(), Some(&Event::Closed(id)));
    assert_eq!(pair.events[1].last(), Some(&Event::Closed(there)));
    assert_eq!(pair.ends[0].stats().channels_closed, 1);
}

#[test]
fn a_closed_channel_makes_room_at_once_for_the_next_with_its_id() {
    // Opening again the moment `Closed` is seen: the OPEN may overtake the peer's view of its own reset.
    for seed in 0..30 {
        let mut pair = Pair::connected(seed);
        pair.set_loss(0.3);
        let mut id = pair.open(0, ChannelInit::new("0"));
        for round in 1..6 {
            let now = pair.now;
            pair.ends[0].close_channel(now, id);
            while !pair.events[0].contains(&Event::Closed(id)) {
                pair.run_for(Duration::from_millis(1));
            }
            id = pair.open(0, ChannelInit::new(round.to_string()));
            assert_eq!(pair.ends[0].info(id).unwrap().id, Some(0));
            pair.say(0, id, Message::text(round.to_string()));
        }
        pair.run_for(Duration::from_secs(60));
        let last = *pair.incoming(1).last().unwrap();
        assert_eq!(pair.ends[1].info(last).unwrap().label, "5", "seed {seed}");
        assert_eq!(pair.ends[1].read(pair.now, last), Some(Message::text("5")));
        assert_eq!(pair.ends[1].stats().messages_invalid, 0);
    }
}

#[test]
fn sizes_and_arguments_are_checked() {
    let mut pair = Pair::connected(5);
    let id = pair.open(0, ChannelInit::new("x"));
    let too_large = SendError::TooLarge {
        size: 262_145,
        limit: 262_144,
    };
    assert_eq!(
        pair.ends[0].send(pair.now, id, Message::binary(vec![0; 262_145])),
        Err(too_large)
    );
    pair.say(0, id, Message::binary(vec![0; 262_144]));
    let both = ChannelInit {
        max_retransmits: Some(1),
        max_packet_life_time: Some(1),
        ..ChannelInit::default()
    };
    assert_eq!(pair.ends[0].open(pair.now, both), Err(OpenError::TwoLimits));
    let long = ChannelInit::new("x".repeat(65_536));
    assert_eq!(pair.ends[0].open(pair.now, long), Err(OpenError::TooLong));
    let long = pair.open(0, ChannelInit::new("x".repeat(65_535)));
    pair.run_for(Duration::from_secs(1));
    let there = pair.incoming(1)[1];
    assert_eq!(pair.ends[1].info(there).unwrap().label.len(), 65_535);
    assert_eq!(pair.ends[0].state(long), Some(ChannelState::Open));
}

#[test]
fn what_is_not_read_holds_the_window() {
    let mut config = Config::default();
    config.association.receive_buffer = 100_000;
    let mut pair = Pair::of(6, config);
    pair.start();
    pair.run_for(Duration::from_secs(1));
    let id = pair.open(0, ChannelInit::new("x"));
    pair.ends[0].set_buffered_amount_low_threshold(id, 10_000);
    for n in 0..100 {
        pair.say(0, id, Message::binary(vec![n; 5000]));
    }
    pair.run_for(Duration::from_secs(20));
    assert!(pair.ends[0].buffered_amount(id) > 350_000);
    assert!(!pair.events[0].contains(&Event::BufferedAmountLow(id)));
    let there = pair.incoming(1)[0];
    let mut got = 0;
    for _ in 0..200 {
        got += std::iter::from_fn(|| pair.ends[1].read(pair.now, there)).count();
        pair.run_for(Duration::from_millis(100));
    }
    assert_eq!(got, 100);
    assert_eq!(pair.ends[0].buffered_amount(id), 0);
    let low = pair.events[0].iter().filter(|e| **e == Event::BufferedAmountLow(id));
    assert_eq!(low.count(), 1);
}

#[test]
fn the_end_of_the_association_closes_every_channel() {
    for orderly in [true, false] {
        let mut pair = Pair::connected(7);
        let id = pair.open(0, ChannelInit::new("x"));
        pair.say(0, id, Message::text("last words"));
        if !orderly {
            pair.run_for(Duration::from_secs(1));
        }
        let now = pair.now;
        if orderly {
            pair.ends[0].close(now);
        } else {
            pair.ends[0].abort(now);
        }
        pair.run_for(Duration::from_secs(5));
        let there = pair.incoming(1)[0];
        assert!(pair.events[0].contains(&Event::Closed(id)));
        assert!(pair.events[1].contains(&Event::Closed(there)));
        assert_eq!(pair.events[1].last() == Some(&Event::Disconnected), orderly);
        assert_eq!(pair.ends[1].read(pair.now, there), Some(Message::text("last words")));
        assert_eq!(
            pair.ends[0].open(pair.now, ChannelInit::new("y")),
            Err(OpenError::Closed)
        );
        assert!(pair.ends.iter().all(|end| end.poll_timeout().is_none()));
    }
}

#[test]
fn many_channels_come_and_go_without_growth() {
    let mut pair = Pair::connected(8);
    for _ in 0..400 {
        let ids: Vec<_> = (0..3).map(|_| pair.open(0, ChannelInit::new("x"))).collect();
        for id in ids {
            let now = pair.now;
            pair.ends[0].close_channel(now, id);
        }
        pair.run_for(Duration::from_secs(1));
        pair.clear();
    }
    for end in &pair.ends {
        assert!(end.channels().count() <= 256, "closed channels are forgotten in time");
        assert_eq!(end.stats().channels_closed, 1200);
    }
}

/// An association that speaks for itself, opposite to a set of channels: a peer that breaks the rules of RFC 8832.
struct Rogue {
    now: Instant,
    victim: DataChannels,
    rogue: Association,
    out: TransmitBuf,
}

impl Rogue {
    fn new(config: Config) -> Self {
        let now = antiphon_netsim::start();
        let mut victim = DataChannels::new(config, now, Rng::from_u64(1));
        victim.start(now, pair::start(true, 262_144));
        let rogue = Association::new(Default::default(), now, Rng::from_u64(2));
        let out = TransmitBuf::new(1500, 1500);
        let mut pair = Self {
            now,
            victim,
            rogue,
            out,
        };
        pair.exchange();
        assert_eq!(pair.victim.poll_event(), Some(Event::Connected));
        pair
    }

    fn exchange(&mut self) {
        let mut busy = true;
        while std::mem::take(&mut busy) {
            loop {
                self.out.clear();
                if self.victim.poll_transmit(self.now, &mut self.out).is_none() {
                    break;
                }
                let range = self.out.finish();
                self.rogue.handle_packet(self.now, pair::packet(self.out.bytes(range)));
                busy = true;
            }
            loop {
                self.out.clear();
                if self.rogue.poll_transmit(self.now, &mut self.out).is_none() {
                    break;
                }
                let range = self.out.finish();
                self.victim.handle_packet(self.now, pair::packet(self.out.bytes(range)));
                busy = true;
            }
        }
    }

    fn give(&mut self, stream: u16, ppid: u32, bytes: &[u8]) {
        let options = SendOptions::default();
        let _ = self.rogue.send(self.now, stream, ppid, bytes.to_vec().into(), options);
        self.exchange();
    }

    fn resets_seen(&mut self) -> Vec<u16> {
        let events = std::iter::from_fn(|| self.rogue.poll_event());
        events
            .filter_map(|event| match event {
                antiphon_sctp::Event::IncomingReset(stream) => Some(stream),
                _ => None,
            })
            .collect()
    }
}

const OPEN: &[u8] = b"\x03\x00\x01\x00\x00\x00\x00\x00\x00\x01\x00\x00x";

#[test]
fn opens_that_break_the_rules_are_refused_by_a_reset() {
    let mut rogue = Rogue::new(Config {
        max_channels: 2,
        ..Config::default()
    });
    rogue.give(2, 50, OPEN);
    assert_eq!(rogue.resets_seen(), [2], "an even id is ours to give");
    rogue.give(1, 50, OPEN);
    rogue.give(1, 50, OPEN);
    rogue.give(3, 50, OPEN);
    assert!(rogue.resets_seen().is_empty());
    rogue.give(5, 50, OPEN);
    assert_eq!(rogue.resets_seen(), [5], "one too many");
    assert_eq!(rogue.victim.channels().count(), 2);
    assert_eq!(rogue.victim.stats().messages_invalid, 3);
}

#[test]
fn a_second_reset_of_a_stream_that_was_used_calls_for_no_third() {
    let mut rogue = Rogue::new(Config::default());
    rogue.give(1, 50, OPEN);
    let reset = |rogue: &mut Rogue, stream| {
        rogue.rogue.reset_stream(stream);
        rogue.exchange();
        rogue.resets_seen()
    };
    assert_eq!(reset(&mut rogue, 1), [1], "closed at both ends");
    assert_eq!(reset(&mut rogue, 1), [0u16; 0]);
    rogue.give(1, 50, OPEN);
    assert!(rogue.resets_seen().is_empty());
    rogue.give(1, 51, b"the next channel lives");
    let id = rogue.victim.channels().last().unwrap();
    assert_eq!(
        rogue.victim.read(rogue.now, id),
        Some(Message::text("the next channel lives"))
    );
    // A stream that nobody ever had: its owner shall not wait for ever.
    assert_eq!(reset(&mut rogue, 77), [77]);
    assert_eq!(rogue.victim.channels().count(), 2);
}

#[test]
fn broken_messages_are_dropped_counted_and_hold_nothing() {
    let mut rogue = Rogue::new(Config::default());
    rogue.give(1, 50, OPEN);
    let window = rogue.victim.stats().association.receive_window;
    rogue.give(1, 51, b"\xff not UTF-8");
    rogue.give(1, 52, b"deprecated");
    rogue.give(1, 0, b"no PPID");
    rogue.give(1, 50, b"\x04");
    rogue.give(1, 50, b"\x02");
    rogue.give(9, 51, b"nobody's stream");
    let id = rogue.victim.channels().next().unwrap();
    assert_eq!(rogue.victim.read(rogue.now, id), None);
    assert_eq!(rogue.victim.stats().messages_invalid, 6);
    assert_eq!(rogue.victim.stats().association.receive_window, window);
    rogue.give(1, 51, "fine".as_bytes());
    assert_eq!(rogue.victim.read(rogue.now, id), Some(Message::text("fine")));
}

#[test]
fn opening_and_closing_without_end_stays_bounded() {
    let mut rogue = Rogue::new(Config::default());
    for _ in 0..3000 {
        rogue.give(1, 50, OPEN);
        rogue.rogue.reset_stream(1);
        rogue.exchange();
        while rogue.rogue.poll_event().is_some() {}
    }
    assert!(rogue.victim.channels().count() <= 257);
    let events = std::iter::from_fn(|| rogue.victim.poll_event()).count();
    assert!(events < 5000, "{events} events, and nobody looked");
}

#[test]
fn every_id_can_be_a_channel_and_be_used_again() {
    let mut pair = Pair::connected(11);
    let mut ids = std::collections::BTreeSet::new();
    // 0 to 65534: the client has one more than the server, for 65535 is illegal.
    for (end, count) in [(0, 32_768), (1, 32_767)] {
        for n in 0..count {
            let id = pair.open(end, ChannelInit::new("x"));
            assert!(ids.insert(pair.ends[end].info(id).unwrap().id.unwrap()));
            if n % 1000 == 0 {
                pair.run_for(Duration::from_millis(100));
            }
        }
        pair.run_for(Duration::from_secs(1));
    }
    assert_eq!((ids.len(), ids.last()), (65_535, Some(&65_534)));
    for end in 0..2 {
        let one_more = pair.ends[end].open(pair.now, ChannelInit::new("x"));
        assert_eq!(one_more, Err(OpenError::NoFreeId));
        let open = pair.ends[end]
            .channels()
            .filter(|id| pair.ends[end].state(*id) == Some(ChannelState::Open));
        assert_eq!(open.count(), 65_535, "end {end}");
    }
    pair.clear();
    let all: Vec<_> = pair.ends[0].channels().collect();
    for id in all {
        pair.ends[0].close_channel(pair.now, id);
    }
    pair.run_for(Duration::from_secs(60));
    for end in 0..2 {
        let closed = pair.events[end]
            .iter()
            .filter(|event| matches!(event, Event::Closed(_)));
        assert_eq!(closed.count(), 65_535, "end {end}");
    }
    let id = pair.open(0, ChannelInit::new("again"));
    assert_eq!(pair.ends[0].info(id).unwrap().id, Some(0));
    pair.run_for(Duration::from_secs(1));
    pair.say(0, id, Message::text("on a used id"));
    pair.run_for(Duration::from_secs(1));
    let last = *pair.incoming(1).last().unwrap();
    assert_eq!(pair.ends[1].read(pair.now, last), Some(Message::text("on a used id")));
}

#[test]
fn priorities_share_the_bandwidth() {
    let mut pair = Pair::connected(12);
    let channels = [Priority::HIGH, Priority::LOW].map(|priority| {
        let init = ChannelInit {
            priority,
            ..ChannelInit::new("bulk")
        };
        pair.open(0, init)
    });
    pair.run_for(Duration::from_secs(1));
    for _ in 0..100 {
        for id in channels {
            pair.say(0, id, Message::binary(vec![7; 20_000]));
        }
    }
    // A little of it leaves: four parts of the important channel, one of the other (RFC 8831 §6.4).
    let waiting = |pair: &Pair, n: usize| pair.ends[0].buffered_amount(channels[n]);
    while waiting(&pair, 0) > 1_000_000 {
        pair.run_for(Duration::from_millis(1));
    }
    let sent = [0, 1].map(|n| (2_000_000 - waiting(&pair, n)) as f64);
    let ratio = sent[0] / sent[1];
    assert!((3.5..4.5).contains(&ratio), "{sent:?}");
}

fn unlimited() -> Config {
    let mut config = Config::default();
    config.association.partial_delivery = true;
    config.association.receive_buffer = 1 << 20;
    config.association.send_buffer = 16 << 20;
    config
}

/// A pair whose left end has sent a large message on its channel, and that channel at the right end.
fn large(init: ChannelInit) -> (Pair, ChannelId, ChannelId, Bytes) {
    let mut pair = Pair::of(3, unlimited());
    pair.ends[0].start(pair.now, pair::start(true, 0));
    pair.ends[1].start(pair.now, pair::start(false, 0));
    let near = pair.ends[0].open(pair.now, init).unwrap();
    pair.run_for(Duration::from_secs(1));
    let far = pair.ends[1].channels().next().unwrap();
    let data: Bytes = (0..8_000_000u32).map(|n| (n % 249) as u8).collect();
    pair.ends[0]
        .send(pair.now, near, Message::binary(data.clone()))
        .unwrap();
    pair.ends[0].send(pair.now, near, Message::text("after it")).unwrap();
    (pair, near, far, data)
}

#[test]
fn a_large_message_is_read_in_pieces() {
    let (mut pair, _, far, data) = large(ChannelInit::new("large"));
    let mut pieces = Vec::new();
    while pieces
        .last()
        .is_none_or(|piece: &Piece| piece.kind == MessageKind::Binary)
    {
        pair.run_for(Duration::from_millis(1));
        pieces.extend(std::iter::from_fn(|| pair.ends[1].read_piece(pair.now, far)));
    }
    let last = pieces.pop().unwrap();
    assert!(last.is_whole() && last.data == "after it");
    assert!(pieces.len() >= 8, "{}", pieces.len());
    for (at, piece) in pieces.iter().enumerate() {
        assert_eq!(piece.begins, at == 0);
        assert_eq!(piece.ending == Ending::End, at + 1 == pieces.len());
    }
    let joined: Vec<u8> = pieces.iter().flat_map(|piece| piece.data.iter().copied()).collect();
    assert!(joined == data);
    assert_eq!(pair.ends[1].info(far).unwrap().messages_received, 2);
}

#[test]
fn a_reader_of_whole_messages_closes_the_channel() {
    let (mut pair, near, far, _) = large(ChannelInit::new("large"));
    for _ in 0..50 {
        pair.run_for(Duration::from_millis(100));
        assert_eq!(pair.ends[1].read(pair.now, far), None);
    }
    assert!(pair.events[0].contains(&Event::Closed(near)), "{:?}", pair.events[0]);
    assert!(pair.events[1].contains(&Event::Closed(far)));
    assert_eq!(pair.ends[1].stats().messages_refused, 1);
    let window = pair.ends[1].stats().association.receive_window;
    assert!(window >= 1 << 19, "what was dropped was given back: {window}");
    // The others go on.
    let other = pair.ends[0].open(pair.now, ChannelInit::new("other")).unwrap();
    pair.ends[0].send(pair.now, other, Message::text("still here")).unwrap();
    pair.run_for(Duration::from_secs(1));
    let last = pair.ends[1].channels().last().unwrap();
    assert_eq!(pair.ends[1].read(pair.now, last), Some(Message::text("still here")));
}
