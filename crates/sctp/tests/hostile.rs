//! A peer that knows the keys and means ill.

mod victim;

use std::time::Duration;

use antiphon_sansio::{Serial16, Serial32};
use antiphon_sctp::chunk::{
    Chunk, Data, GapBlock, Parameters, ResetResult, SkippedStream, kind, parameter_kind, put_parameter,
    write_forward_tsn, write_sack,
};
use antiphon_sctp::packet::{Packet, seal, write_header};
use antiphon_sctp::{Config, Error, Event, SendOptions, State};
use proptest::prelude::*;
use victim::{PEER_TAG, PEER_TSN, Victim};

const WHOLE: u8 = Data::BEGIN | Data::END;

#[test]
fn v09_zero_length_chunks_and_parameters() {
    let mut victim = Victim::connected(Config::default());
    for kind in 0..=255u8 {
        for len in 0..4u8 {
            victim.give_raw(|out| out.extend([kind, 0, 0, len, 0, 0, 0, 0]));
        }
        victim.packets();
    }
    for len in 0..4u8 {
        victim.give_raw(|out| out.extend([kind::RE_CONFIG, 0, 0, 12, 0, 13, 0, len, 0, 0, 0, 0]));
        victim.give_raw(|out| out.extend([kind::ERROR, 0, 0, 12, 0, 3, 0, len, 0, 0, 0, 0]));
    }
    victim.packets();
    assert!(victim.is_well());
}

#[test]
fn v10_crafted_sacks_change_nothing() {
    let mut victim = Victim::connected(Config::default());
    let now = victim.now;
    for _ in 0..10 {
        let data = vec![1; 1100].into();
        victim
            .association
            .send(now, 1, 53, data, SendOptions::default())
            .unwrap();
    }
    assert_eq!(victim.packets().len(), 10);
    let in_flight = victim.association.stats().in_flight;
    let tsn = victim.tsn;
    let mut sack = |cumulative: u32, gaps: &[(u16, u16)]| {
        let gaps: Vec<_> = gaps
            .iter()
            .map(|(start, end)| GapBlock {
                start: *start,
                end: *end,
            })
            .collect();
        victim.give_raw(|out| write_sack(out, Serial32::new(cumulative), 1_000_000, gaps.into_iter(), &[]));
        let stats = victim.association.stats();
        (stats.in_flight, stats.chunks_invalid)
    };
    let nothing = tsn.wrapping_sub(1);
    assert_eq!(sack(tsn.wrapping_add(10), &[]), (in_flight, 1), "beyond what was sent");
    assert_eq!(sack(tsn.wrapping_add(0x7fff_fff0), &[]), (in_flight, 2));
    assert_eq!(sack(nothing.wrapping_sub(5), &[]), (in_flight, 2), "old");
    assert_eq!(
        sack(nothing, &[(0, 3)]),
        (in_flight, 3),
        "a block that begins at the cumulative TSN"
    );
    assert_eq!(sack(nothing, &[(5, 3)]), (in_flight, 4), "backwards");
    assert_eq!(
        sack(nothing, &[(2, 65_535)]),
        (in_flight, 5),
        "blocks beyond what was sent"
    );
    let (left, invalid) = sack(nothing, &[(2, 3), (3, 5)]);
    assert!(left < in_flight && invalid == 6, "overlapping blocks: the first counts");
    assert_eq!(sack(tsn.wrapping_add(9), &[]), (0, 6), "an honest one ends it");
    assert!(victim.is_well());
}

#[test]
fn v10_a_peer_that_takes_gap_acks_back_gets_the_data_again() {
    let mut victim = Victim::connected(Config::default());
    for _ in 0..3 {
        let data = vec![1; 1100].into();
        let now = victim.now;
        victim
            .association
            .send(now, 1, 53, data, SendOptions::default())
            .unwrap();
    }
    assert_eq!(victim.packets().len(), 3);
    let before = Serial32::new(victim.tsn.wrapping_sub(1));
    let blocks = [GapBlock { start: 2, end: 3 }];
    victim.give_raw(|out| write_sack(out, before, 1_000_000, blocks.into_iter(), &[]));
    let mut seen = std::collections::BTreeSet::new();
    for _ in 0..8 {
        victim.now = victim.association.poll_timeout().unwrap();
        let now = victim.now;
        victim.association.handle_timeout(now);
        for packet in victim.packets() {
            for chunk in Packet::parse(&packet).unwrap().chunks().flatten() {
                if let Chunk::Data(data) = chunk {
                    seen.insert(data.tsn.get().wrapping_sub(victim.tsn));
                }
            }
        }
        let all = seen.len() as u32;
        victim.give_raw(|out| write_sack(out, before.plus(all.min(1)), 1_000_000, [].into_iter(), &[]));
    }
    assert_eq!(seen.into_iter().collect::<Vec<_>>(), [0, 1, 2]);
}

#[test]
fn v11_memory_is_bounded_whatever_the_peer_leaves_open() {
    let config = Config {
        receive_buffer: 100_000,
        max_receive_message: 50_000,
        ..Config::default()
    };
    let limit = config.receive_buffer + config.max_receive_message;
    let mut victim = Victim::connected(config.clone());
    // First fragments without end, each of another stream; the a_rwnd is ignored.
    for n in 0..20_000 {
        victim.give_data(n, Data::BEGIN, n as u16, 0, &[7; 1000]);
    }
    victim.packets();
    assert!(victim.is_well());
    let window = victim.association.stats().receive_window;
    assert!(
        window > 90_000,
        "fragments that cannot become a message are dropped: {window}"
    );
    // Second fragments above a hole.
    let base = 20_000;
    for n in 1..20_000 {
        victim.give_data(base + n, 0, n as u16, 0, &[7; 1000]);
    }
    let stats = victim.association.stats();
    assert!(
        stats.chunks_refused > 10_000 && stats.receive_window < 2000,
        "{stats:?}"
    );
    // The hole closes: nothing of it can ever be whole, all of it goes, and the association works again.
    victim.give_data(base, WHOLE, 0, 0, b"x");
    let mut next = base + 1;
    while victim.association.stats().receive_window < limit - 60_000 && next < base + 200 {
        victim.give_data(next, WHOLE, 1, (next - base - 1) as u16, b"y");
        next += 1;
    }
    victim.packets();
    assert!(
        victim.association.stats().receive_window > 80_000,
        "{:?}",
        victim.association
    );
    assert!(victim.is_well());
}

#[test]
fn v11_tiny_messages_cost_more_than_their_bytes() {
    let mut victim = Victim::connected(Config {
        receive_buffer: 100_000,
        ..Config::default()
    });
    for n in 0..50_000 {
        victim.give_data(n, WHOLE, 3, n as u16, b"z");
    }
    let mut count = 0;
    while victim.read(3).is_some() {
        count += 1;
    }
    assert!((1000..2000).contains(&count), "{count} messages were held");
}

#[test]
fn v10_forward_tsn_to_anywhere() {
    let mut victim = Victim::connected(Config::default());
    victim.give_data(1, Data::BEGIN, 1, 0, &[1; 500]);
    victim.give_data(2, 0, 1, 0, &[1; 500]);
    victim.give_data(5, WHOLE, 2, 1, b"waits for number 0");
    let forward = |victim: &mut Victim, offset: u32, skipped: &[(u16, u16)]| {
        let skipped: Vec<_> = skipped
            .iter()
            .map(|(stream, ssn)| SkippedStream {
                stream: *stream,
                ssn: Serial16::new(*ssn),
            })
            .collect();
        let tsn = Serial32::new(PEER_TSN.wrapping_add(offset));
        victim.give_raw(|out| write_forward_tsn(out, tsn, skipped.into_iter()));
    };
    forward(&mut victim, 4, &[(2, 0), (1, 0)]);
    assert_eq!(victim.read(2).unwrap().data, &b"waits for number 0"[..]);
    assert_eq!(
        victim.association.stats().receive_window,
        antiphon_sctp::INITIAL_WINDOW,
        "the half message is gone"
    );
    forward(&mut victim, 2, &[(2, 9)]);
    victim.give_data(6, WHOLE, 2, 2, b"an old one changes nothing");
    assert!(victim.read(2).is_some());
    let everywhere: Vec<_> = (0..300).map(|n| (n * 200, 65_535 - n)).collect();
    forward(&mut victim, 0x7000_0000, &everywhere);
    victim.give_data(0x7000_0001, WHOLE, 7, 0, b"on it goes");
    assert!(victim.read(7).is_some());
    assert!(victim.is_well());
}

#[test]
fn a_reset_before_its_data_is_put_off_and_a_repeated_one_is_not_performed_twice() {
    let mut victim = Victim::connected(Config::default());
    victim.ask_reset(0, 1, 4);
    assert_eq!(victim.responses(), [ResetResult::InProgress]);
    victim.ask_reset(0, 1, 4);
    assert_eq!(
        victim.responses(),
        [ResetResult::InProgress],
        "asked again, not ready yet"
    );
    victim.give_data(0, WHOLE, 4, 0, b"a");
    assert!(victim.responses().is_empty());
    victim.give_data(1, WHOLE, 4, 1, b"b");
    assert_eq!(
        victim.responses(),
        [ResetResult::Performed],
        "told as soon as it is done"
    );
    victim.ask_reset(0, 1, 4);
    victim.ask_reset(1, 1, 4);
    assert_eq!(
        victim.responses(),
        [ResetResult::Performed; 2],
        "by the old number and, as some do, by a new one"
    );
    let events: Vec<_> = std::iter::from_fn(|| victim.association.poll_event()).collect();
    assert_eq!(events, [Event::Readable(4), Event::IncomingReset(4)]);
    victim.ask_reset(9, 1, 4);
    assert_eq!(victim.responses(), [ResetResult::BadSequenceNumber]);
    victim.ask_reset(2, 1, 4);
    assert_eq!(
        victim.responses(),
        [ResetResult::Performed],
        "a new request is a new reset"
    );
    victim.give_data(2, WHOLE, 4, 0, b"numbered anew");
    assert_eq!(victim.read(4).unwrap().data, &b"a"[..]);
}

#[test]
fn v12_forged_and_stale_cookies() {
    let mut victim = Victim::new(Config::default());
    let mut parameters = Vec::new();
    put_parameter(&mut parameters, parameter_kind::FORWARD_TSN_SUPPORTED, &[]);
    let init = Chunk::Init(victim.init(&parameters));
    victim.give_tagged(0, |out| init.write(out));
    let packets = victim.packets();
    let Some(Ok(Chunk::InitAck(ack))) = Packet::parse(&packets[0]).unwrap().chunks().next() else {
        panic!("no INIT ACK")
    };
    let (tag, cookie) = (ack.initiate_tag, ack.cookie().unwrap().to_vec());
    for at in 0..cookie.len() {
        let mut forged = cookie.clone();
        forged[at] ^= 0x10;
        victim.give_tagged(tag, |out| Chunk::CookieEcho(&forged).write(out));
        assert_eq!(victim.association.state(), State::Closed);
    }
    victim.give_tagged(tag, |out| Chunk::CookieEcho(b"dcSCTP00").write(out));
    victim.give_tagged(tag ^ 1, |out| Chunk::CookieEcho(&cookie).write(out));
    assert_eq!(
        victim.association.state(),
        State::Closed,
        "the cookie belongs to another tag"
    );
    assert!(victim.packets().is_empty());
    victim.now += Duration::from_secs(61);
    victim.give_tagged(tag, |out| Chunk::CookieEcho(&cookie).write(out));
    assert_eq!(victim.association.state(), State::Closed, "stale");
    let packets = victim.packets();
    let first = Packet::parse(&packets[0]).unwrap();
    assert!(matches!(first.chunks().next(), Some(Ok(Chunk::Error(_)))));
    assert_eq!(first.verification_tag, PEER_TAG);
    victim.now -= Duration::from_secs(10);
    victim.give_tagged(tag, |out| Chunk::CookieEcho(&cookie).write(out));
    assert_eq!(victim.association.state(), State::Established, "genuine and in time");
}

#[test]
fn v12_a_flood_of_init_costs_nothing() {
    let mut victim = Victim::connected(Config::default());
    for n in 0..10_000u32 {
        let mut init = victim.init(&[]);
        init.initiate_tag = n;
        let chunk = Chunk::Init(init);
        victim.give_tagged(0, |out| chunk.write(out));
    }
    assert!(victim.packets().len() <= 16, "answers are bounded");
    assert!(victim.is_well());
}

#[test]
fn a_restarted_peer_ends_the_association() {
    let mut victim = Victim::connected(Config::default());
    let mut init = victim.init(&[]);
    init.initiate_tag = 99;
    let chunk = Chunk::Init(init);
    victim.give_tagged(0, |out| chunk.write(out));
    let packets = victim.packets();
    let Some(Ok(Chunk::InitAck(ack))) = Packet::parse(&packets[0]).unwrap().chunks().next() else {
        panic!("no INIT ACK")
    };
    assert_ne!(ack.initiate_tag, victim.tag, "RFC 9260 §5.2.2: a new tag");
    let (tag, cookie) = (ack.initiate_tag, ack.cookie().unwrap().to_vec());
    assert!(victim.is_well(), "INIT alone changes nothing");
    victim.give_tagged(tag, |out| Chunk::CookieEcho(&cookie).write(out));
    assert_eq!(victim.association.poll_event(), Some(Event::Failed(Error::Restarted)));
}

#[test]
fn wrong_tags_ports_and_checksums_are_dropped() {
    let mut victim = Victim::connected(Config::default());
    let abort = Chunk::Abort {
        reflected_tag: false,
        causes: Parameters::new(&[]),
    };
    let (right, wrong) = (victim.tag, victim.tag ^ 1);
    victim.give_tagged(wrong, |out| abort.write(out));
    let mut packet = Vec::new();
    write_header(&mut packet, 5000, 5001, right);
    abort.write(&mut packet);
    seal(&mut packet);
    victim.handle(&packet);
    packet[0] ^= 1;
    victim.handle(&packet);
    assert!(victim.is_well());
    assert_eq!(victim.association.stats().packets_dropped, 3);
    let reflected = Chunk::Abort {
        reflected_tag: true,
        causes: Parameters::new(&[]),
    };
    victim.give_tagged(PEER_TAG, |out| reflected.write(out));
    assert!(!victim.is_well(), "the T bit means our own view of its tag");
}

#[test]
fn unknown_chunks_follow_their_high_bits() {
    for (kind, goes_on, reported) in [
        (0x3f, false, false),
        (0x7f, false, true),
        (0xbf, true, false),
        (0xff, true, true),
    ] {
        let mut victim = Victim::connected(Config::default());
        let data = Chunk::Data(Data {
            flags: WHOLE,
            tsn: Serial32::new(PEER_TSN),
            stream: 1,
            ssn: Serial16::new(0),
            ppid: 53,
            payload: b"behind it",
        });
        let unknown = Chunk::Unknown {
            kind,
            flags: 0,
            value: &[1; 300],
        };
        victim.give(&[unknown, data]);
        assert_eq!(victim.read(1).is_some(), goes_on, "{kind:#x}");
        let packets = victim.packets();
        let chunks = packets
            .iter()
            .flat_map(|p| Packet::parse(p).unwrap().chunks().flatten());
        let errors = chunks.filter(|chunk| matches!(chunk, Chunk::Error(_))).count();
        assert_eq!(errors == 1, reported, "{kind:#x}");
    }
}

#[test]
fn answers_never_crowd_out_what_must_be_said() {
    for fill in 1140..=1176usize {
        let mut victim = Victim::connected(Config::default());
        let now = victim.now;
        victim.association.close(now);
        // The answer to HEARTBEAT leaves little room, or none, for SHUTDOWN and SACK in the same packet.
        let info = vec![0; fill & !3];
        victim.give(&[Chunk::Heartbeat(&info[..info.len() - 4])]);
        victim.give_data(0, WHOLE, 1, 0, b"x");
        let packets = victim.packets();
        assert!(packets.iter().all(|packet| packet.len() <= 1188));
        let chunks = packets
            .iter()
            .flat_map(|p| Packet::parse(p).unwrap().chunks().flatten());
        let shutdowns = chunks.filter(|chunk| matches!(chunk, Chunk::Shutdown(_))).count();
        assert_eq!(shutdowns, 1, "{fill}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn v10_any_chunks_leave_the_books_in_order(
        steps in prop::collection::vec((any::<u8>(), any::<u8>(), prop::collection::vec(any::<u8>(), 0..60)), 1..30),
    ) {
        let mut victim = Victim::connected(Config { receive_buffer: 2000, max_receive_message: 1000, ..Config::default() });
        for (selector, flags, mut bytes) in steps {
            let kinds = [kind::DATA, kind::SACK, kind::FORWARD_TSN, kind::RE_CONFIG, kind::INIT, kind::SHUTDOWN,
                kind::HEARTBEAT, kind::DATA, kind::SACK, selector];
            let kind = kinds[usize::from(selector) % kinds.len()];
            // Numbers near the real ones get further than random ones.
            if bytes.len() >= 4 && selector & 0x80 != 0 {
                let near = if kind == kind::SACK { victim.tsn } else { PEER_TSN };
                let tsn = near.wrapping_add(u32::from(bytes[3] % 16)).wrapping_sub(2);
                bytes[..4].copy_from_slice(&tsn.to_be_bytes());
            }
            let now = victim.now;
            let options = SendOptions { unordered: flags & 1 != 0, max_retransmits: Some(u16::from(flags % 3)), lifetime: None };
            let _ = victim.association.send(now, u16::from(flags % 4), 53, vec![0; 1 + usize::from(flags) * 20].into(), options);
            let tag = if kind == kind::INIT { 0 } else { victim.tag };
            victim.give_tagged(tag, |out| Chunk::Unknown { kind, flags, value: &bytes }.write(out));
            if selector % 5 == 0 {
                victim.packets();
                if let Some(at) = victim.association.poll_timeout() {
                    victim.now = victim.now.max(at);
                    let now = victim.now;
                    victim.association.handle_timeout(now);
                }
            }
            while victim.association.poll_event().is_some() {}
            let stats = victim.association.stats();
            prop_assert!(stats.in_flight < 1_000_000);
        }
        victim.packets();
        for stream in 0..=u16::MAX {
            while victim.read(stream).is_some() {}
        }
    }
}

#[test]
fn v12_an_init_without_a_tag_and_a_cookie_of_another_endpoint() {
    let mut victim = Victim::new(Config::default());
    let mut untagged = victim.init(&[]);
    untagged.initiate_tag = 0;
    let chunk = Chunk::Init(untagged);
    victim.give_tagged(0, |out| chunk.write(out));
    assert!(victim.packets().is_empty());
    assert_eq!(victim.association.stats().chunks_invalid, 1);
    // Another endpoint, the same question: its cookie is sealed with a key of its own.
    let mut other = Victim::new(Config::default());
    other.association =
        antiphon_sctp::Association::new(Config::default(), other.now, antiphon_sansio::Rng::from_u64(2));
    let init = Chunk::Init(other.init(&[]));
    other.give_tagged(0, |out| init.write(out));
    let packets = other.packets();
    let Some(Ok(Chunk::InitAck(ack))) = Packet::parse(&packets[0]).unwrap().chunks().next() else {
        panic!("no INIT ACK")
    };
    let cookie = ack.cookie().unwrap().to_vec();
    victim.give_tagged(ack.initiate_tag, |out| Chunk::CookieEcho(&cookie).write(out));
    assert_eq!(victim.association.state(), State::Closed);
    other.give_tagged(ack.initiate_tag, |out| Chunk::CookieEcho(&cookie).write(out));
    assert_eq!(other.association.state(), State::Established);
    // Replayed, it changes nothing.
    other.tag = ack.initiate_tag;
    other.give_data(0, WHOLE, 1, 0, b"x");
    other.give_tagged(ack.initiate_tag, |out| Chunk::CookieEcho(&cookie).write(out));
    assert!(other.is_well() && other.read(1).is_some());
}

#[test]
fn packets_without_a_checksum_are_taken_if_we_said_so_but_never_as_a_beginning() {
    for zero_checksum in [true, false] {
        let mut victim = Victim::connected(Config {
            zero_checksum,
            ..Config::default()
        });
        let mut packet = Vec::new();
        write_header(&mut packet, 5000, 5000, victim.tag);
        Chunk::Data(Data {
            flags: WHOLE,
            tsn: Serial32::new(PEER_TSN),
            stream: 1,
            ssn: Serial16::new(0),
            ppid: 53,
            payload: b"unchecked",
        })
        .write(&mut packet);
        victim.handle(&packet);
        assert_eq!(victim.read(1).is_some(), zero_checksum);
        let mut fresh = Victim::new(Config {
            zero_checksum,
            ..Config::default()
        });
        let mut packet = Vec::new();
        write_header(&mut packet, 5000, 5000, 0);
        Chunk::Init(fresh.init(&[])).write(&mut packet);
        fresh.handle(&packet);
        assert!(fresh.packets().is_empty(), "INIT needs its checksum");
    }
}
