//! I-DATA (RFC 8260): messages that alternate, honest and hostile.

mod pair;
mod victim;

use std::time::Duration;

use antiphon_sansio::Serial32;
use antiphon_sctp::chunk::{Data, SkippedMessage, write_i_forward_tsn};
use antiphon_sctp::{Config, Error, Event, INITIAL_WINDOW, Scheduler, SendOptions};
use pair::{Associations, Pair, bad, pattern, perfect};
use victim::{PEER_TSN, Victim};

const WHOLE: u8 = Data::BEGIN | Data::END;
const RELIABLE: SendOptions = SendOptions {
    unordered: false,
    max_retransmits: None,
    lifetime: None,
};

#[test]
fn each_end_may_do_without_it() {
    for (ours, theirs) in [(true, true), (true, false), (false, true), (false, false)] {
        let config = |interleaving| Config {
            interleaving,
            ..Config::default()
        };
        let mut pair = Pair::of(1, bad(0.05), config(ours), config(theirs));
        pair.connect();
        for end in 0..2 {
            for n in 0..5 {
                pair.send_from(end, u16::from(n), pattern(30_000, n), RELIABLE);
            }
        }
        pair.run_for(Duration::from_secs(30));
        for end in 0..2 {
            for n in 0..5 {
                let got = pair.read_all(end, u16::from(n));
                assert!(
                    got.len() == 1 && got[0].data == pattern(30_000, n),
                    "{ours} {theirs} {n}"
                );
            }
        }
    }
}

#[test]
fn a_small_message_overtakes_a_large_one_of_another_stream() {
    for scheduler in [Scheduler::RoundRobin, Scheduler::WeightedFair, Scheduler::Priority] {
        let config = Config {
            scheduler,
            ..Config::default()
        };
        let mut pair = Pair::of(2, perfect(), config.clone(), config);
        pair.connect();
        pair.end(0).set_weight(2, 1024);
        pair.send_from(0, 1, pattern(250_000, 1), RELIABLE);
        pair.run_for(Duration::from_millis(1));
        pair.send_from(0, 2, "quick", RELIABLE);
        let quick = pair.run_until(Duration::from_secs(10), |pair| {
            pair.events[1].contains(&Event::Readable(2))
        });
        assert!(quick && !pair.events[1].contains(&Event::Readable(1)), "{scheduler:?}");
        pair.run_for(Duration::from_secs(10));
        assert_eq!(pair.read_all(1, 1)[0].data, pattern(250_000, 1));
    }
}

#[test]
fn many_large_messages_that_alternate_do_not_lock_the_window() {
    // 40 times 256 KiB: ten times the first window, and none is whole before nearly all has come.
    let config = Config {
        scheduler: Scheduler::RoundRobin,
        ..Config::default()
    };
    let mut pair = Pair::of(3, perfect(), config.clone(), config);
    pair.connect();
    for stream in 0..40 {
        pair.send_from(0, stream, pattern(256 * 1024, stream as u8), RELIABLE);
    }
    let mut got = 0;
    let done = pair.run_until(Duration::from_secs(120), |pair| {
        for stream in 0..40 {
            for message in pair.read_all(1, stream) {
                assert_eq!(message.data, pattern(256 * 1024, stream as u8));
                got += 1;
            }
        }
        got == 40
    });
    assert!(done, "{got} of 40: {:?}", pair.ends);
}

#[test]
fn fragments_in_any_order_and_numbers_that_wrap() {
    let mut victim = Victim::interleaving(Config::default());
    victim.give_interleaved(3, Data::END, 1, 0, 2, b"c");
    victim.give_interleaved(1, 0, 1, 0, 1, b"b");
    victim.give_interleaved(2, WHOLE, 1, 1, 0, b"second");
    assert!(victim.read(1).is_none());
    victim.give_interleaved(0, Data::BEGIN, 1, 0, 0, b"a");
    let first = victim.read(1).unwrap();
    assert_eq!((&first.data[..], first.ppid), (&b"abc"[..], 53));
    assert_eq!(&victim.read(1).unwrap().data[..], b"second");
    // An unordered message is ready when it is whole, whatever its number.
    victim.give_interleaved(4, WHOLE | Data::UNORDERED, 1, u32::MAX, 0, b"loose");
    assert_eq!(&victim.read(1).unwrap().data[..], b"loose");
}

#[test]
fn v10_crafted_message_identifiers_and_fragment_numbers() {
    let mut victim = Victim::interleaving(Config::default());
    let mut offset = 0;
    for id in [0, 1, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        for fsn in [0, 1, 2, 0x8000_0000, u32::MAX - 1, u32::MAX] {
            for flags in 0..16 {
                victim.give_interleaved(offset, flags, 3, id, fsn, b"x");
                offset += 1;
            }
        }
        let tsn = Serial32::new(PEER_TSN.wrapping_add(offset));
        offset += 1;
        for unordered in [false, true] {
            let message_id = Serial32::new(id.wrapping_mul(3));
            let skipped = [SkippedMessage {
                stream: 3,
                unordered,
                message_id,
            }; 40];
            victim.give_raw(|out| write_i_forward_tsn(out, tsn, skipped.into_iter()));
        }
        victim.packets();
    }
    while victim.read(3).is_some() {}
    assert!(victim.is_well());
}

#[test]
fn v10_i_forward_tsn_drops_what_is_given_up_and_no_more() {
    let mut victim = Victim::interleaving(Config::default());
    victim.give_interleaved(1, Data::BEGIN, 1, 0, 0, &[1; 500]);
    victim.give_interleaved(2, 0, 1, 1, 1, &[1; 500]);
    victim.give_interleaved(3, Data::BEGIN | Data::UNORDERED, 1, 0, 0, &[1; 500]);
    victim.give_interleaved(4, WHOLE, 1, 2, 0, b"waits for 0 and 1");
    let skipped = [SkippedMessage {
        stream: 1,
        unordered: false,
        message_id: Serial32::new(1),
    }];
    let tsn = Serial32::new(PEER_TSN.wrapping_add(4));
    victim.give_raw(|out| write_i_forward_tsn(out, tsn, skipped.into_iter()));
    assert_eq!(&victim.read(1).unwrap().data[..], b"waits for 0 and 1");
    victim.give_interleaved(5, Data::END | Data::UNORDERED, 1, 0, 1, b"!");
    assert_eq!(
        victim.read(1).unwrap().data.len(),
        501,
        "the unordered one was not meant"
    );
    assert_eq!(
        victim.association.stats().receive_window,
        INITIAL_WINDOW,
        "nothing is left behind"
    );
}

#[test]
fn v11_unfinished_messages_are_bounded_and_end_the_association_when_nothing_else_can() {
    let config = Config {
        receive_buffer: 100_000,
        max_receive_message: 50_000,
        ..Config::default()
    };
    let mut victim = Victim::interleaving(config);
    // First fragments without end, each of another message; the a_rwnd is ignored.
    for n in 0..100_000u32 {
        victim.give_interleaved(n, Data::BEGIN, n as u16, n >> 16, 0, &[7; 10]);
        if victim.association.has_ended() {
            assert!(n < 1000, "ended after {n} fragments");
            break;
        }
    }
    let events: Vec<_> = std::iter::from_fn(|| victim.association.poll_event()).collect();
    assert!(
        matches!(events.last(), Some(Event::Failed(Error::ProtocolViolation(_)))),
        "{events:?}"
    );
}

#[test]
fn v11_pieces_above_a_hole_are_refused_and_the_association_recovers() {
    let config = Config {
        receive_buffer: 100_000,
        max_receive_message: 50_000,
        ..Config::default()
    };
    let mut victim = Victim::interleaving(config);
    for n in 1..20_000 {
        victim.give_interleaved(n, 0, 1, n, 1, &[7; 1000]);
    }
    assert!(victim.association.stats().chunks_refused > 19_000);
    // The peer gives all of it up.
    let skipped = [SkippedMessage {
        stream: 1,
        unordered: false,
        message_id: Serial32::new(30_000),
    }];
    let tsn = Serial32::new(PEER_TSN.wrapping_add(20_000));
    victim.give_raw(|out| write_i_forward_tsn(out, tsn, skipped.into_iter()));
    assert_eq!(victim.association.stats().receive_window, 100_000);
    victim.give_interleaved(20_001, WHOLE, 1, 30_001, 0, b"on it goes");
    assert!(victim.is_well() && victim.read(1).is_some());
}
