use std::time::{Duration, Instant};

use antiphon_sansio::{Serial16, Serial32};
use bytes::Bytes;
use proptest::prelude::*;

use super::congestion::{Ack, CongestionControl, NewReno};
use super::outstanding::Outgoing;
use super::{Outstanding, Queued, SendQueue};
use crate::chunk::{Chunk, Data, GapBlock, write_sack};

#[allow(clippy::disallowed_methods)]
fn any_instant() -> Instant {
    Instant::now()
}

fn ack(now: Instant, bytes: usize, in_recovery: bool) -> Ack {
    Ack {
        now,
        bytes,
        cumulative_advanced: true,
        window_limited: true,
        in_recovery,
        rtt: None,
    }
}

#[test]
fn new_reno_grows_and_shrinks() {
    let now = any_instant();
    let mut reno = NewReno::new(1000);
    assert_eq!(reno.window(), 10_000);
    reno.on_ack(&ack(now, 10_000, false));
    assert_eq!(reno.window(), 20_000, "slow start doubles in a round trip");
    reno.on_ack(&Ack {
        window_limited: false,
        ..ack(now, 20_000, false)
    });
    assert_eq!(reno.window(), 20_000, "what is not used does not grow");
    reno.on_loss(now);
    assert_eq!(reno.window(), 10_000);
    reno.on_ack(&ack(now, 10_000, true));
    assert_eq!(reno.window(), 10_000, "not while a loss is repaired");
    reno.on_ack(&ack(now, 10_000, false));
    assert_eq!(reno.window(), 11_000, "then one packet in a round trip");
    reno.on_timeout(now);
    assert_eq!(reno.window(), 1000);
    for _ in 0..10 {
        reno.on_loss(now);
    }
    assert_eq!(reno.window(), 4000, "never below four packets by loss alone");
    for _ in 0..20 {
        reno.on_ack(&ack(now, 40_000, false));
    }
    let grown = reno.window();
    reno.on_idle(1);
    assert_eq!(reno.window(), (grown / 2).max(10_000));
    reno.on_idle(31);
    assert_eq!(reno.window(), 10_000);
}

fn message(len: usize, expires: Option<Instant>) -> Queued {
    Queued {
        data: Bytes::from(vec![1; len]),
        ppid: 53,
        unordered: false,
        max_retransmits: None,
        expires,
    }
}

#[test]
fn the_queue_cuts_messages_and_lets_streams_take_turns() {
    let now = any_instant();
    let mut queue = SendQueue::default();
    queue.push(1, message(250, None));
    queue.push(1, message(50, None));
    queue.push(2, message(60, None));
    assert_eq!((queue.total(), queue.buffered(1)), (360, 300));
    let mut seen = Vec::new();
    while let Some(chunk) = queue.next_chunk(now, 100, 100, 1000) {
        seen.push((chunk.stream, chunk.ssn.get(), chunk.payload.len(), chunk.flags));
    }
    let (b, e) = (Data::BEGIN, Data::END);
    let expected = [
        (1, 0, 100, b),
        (1, 0, 100, 0),
        (1, 0, 50, e),
        (2, 0, 60, b | e),
        (1, 1, 50, b | e),
    ];
    assert_eq!(seen, expected);
    assert!(queue.is_empty() && queue.total() == 0);
}

#[test]
fn the_queue_waits_for_room_and_window() {
    let now = any_instant();
    let mut queue = SendQueue::default();
    queue.push(1, message(90, None));
    assert!(
        queue.next_chunk(now, 80, 100, 1000).is_none(),
        "it fits the next packet whole"
    );
    assert!(
        queue.next_chunk(now, 100, 100, 89).is_none(),
        "the peer's window is smaller"
    );
    queue.push(1, message(500, None));
    assert_eq!(queue.next_chunk(now, 100, 100, 90).unwrap().payload.len(), 90);
    assert!(queue.next_chunk(now, 40, 100, 1000).is_none(), "no crumbs");
    let cut = queue.next_chunk(now, 71, 100, 1000).unwrap();
    assert_eq!(cut.payload.len(), 68, "a multiple of four, so that nothing is padded");
}

#[test]
fn the_queue_drops_what_is_too_old_but_not_what_is_begun() {
    let now = any_instant();
    let later = now + Duration::from_secs(1);
    let mut queue = SendQueue::default();
    queue.push(1, message(150, Some(later)));
    queue.push(1, message(50, Some(later)));
    queue.push(2, message(60, None));
    assert!(queue.next_chunk(now, 100, 100, 1000).is_some());
    let rest = queue.next_chunk(later, 100, 100, 1000).unwrap();
    assert_eq!((rest.payload.len(), rest.flags), (50, Data::END));
    assert_eq!(queue.next_chunk(later, 100, 100, 1000).unwrap().stream, 2);
    assert!(queue.next_chunk(later, 100, 100, 1000).is_none());
    assert_eq!((queue.expired(), queue.total()), (1, 0));
    queue.push(1, message(150, None));
    assert!(queue.next_chunk(now, 100, 100, 1000).is_some());
    assert!(queue.abandon_begun());
    assert!(!queue.abandon_begun());
    assert!(queue.is_empty() && queue.total() == 0);
}

/// What a random peer and a random clock do to the books.
#[derive(Clone, Debug)]
enum Step {
    Send {
        fragments: u8,
        max_retransmits: Option<u16>,
    },
    Sack {
        cumulative: i8,
        blocks: Vec<(u8, u8)>,
    },
    Retransmit,
    Timeout {
        reneged: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    let blocks = prop::collection::vec((0u8..8, 0u8..6), 0..5);
    prop_oneof![
        3 => (1u8..6, prop::option::of(0u16..3))
            .prop_map(|(fragments, max_retransmits)| Step::Send { fragments, max_retransmits }),
        5 => (-3i8..12, blocks).prop_map(|(cumulative, blocks)| Step::Sack { cumulative, blocks }),
        2 => Just(Step::Retransmit),
        1 => any::<bool>().prop_map(|reneged| Step::Timeout { reneged }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn the_books_balance_whatever_is_acknowledged(initial: u32, steps in prop::collection::vec(step(), 1..60)) {
        let mut now = any_instant();
        let mut outstanding = Outstanding::new(Serial32::new(initial));
        let mut wire = Vec::new();
        for step in steps {
            now += Duration::from_millis(3);
            wire.clear();
            match step {
                Step::Send { fragments, max_retransmits } => {
                    for n in 0..fragments {
                        outstanding.begin_packet();
                        let mut flags = if n == 0 { Data::BEGIN } else { 0 };
                        // Now and then the rest of a message stays in the queue.
                        if n + 1 == fragments && fragments != 5 {
                            flags |= Data::END;
                        }
                        let payload = Bytes::from(vec![0; 1 + usize::from(n) * 7]);
                        let chunk = Outgoing {
                            payload, stream: 1, ssn: Serial16::new(0), ppid: 53, flags, max_retransmits, expires: None,
                        };
                        outstanding.send(now, chunk, &mut wire);
                    }
                }
                Step::Sack { cumulative, blocks } => {
                    let before = outstanding.cumulative_ack();
                    let acked = before.wrapping_add_signed(i64::from(cumulative));
                    let mut at = 0u16;
                    let blocks: Vec<GapBlock> = blocks.into_iter().map(|(skip, len)| {
                        let start = at + u16::from(skip);
                        at = start + u16::from(len);
                        GapBlock { start, end: at }
                    }).collect();
                    write_sack(&mut wire, Serial32::new(acked as u32), 1000, blocks.into_iter(), &[]);
                    let Ok((Chunk::Sack(sack), _)) = Chunk::parse(&wire) else { panic!("no SACK") };
                    let next = outstanding.next_tsn();
                    let result = outstanding.handle_sack(now, &sack, Some(Duration::from_millis(2)), || {});
                    match result {
                        Ok(result) if result.stale => prop_assert!(cumulative < 0),
                        Ok(_) => prop_assert_eq!(outstanding.cumulative_ack(), acked),
                        Err(_) => prop_assert!(acked >= next),
                    }
                }
                Step::Retransmit => {
                    outstanding.begin_packet();
                    outstanding.drop_spent(now, || {});
                    let lost = outstanding.has_lost();
                    outstanding.retransmit(now, &mut wire);
                    prop_assert_eq!(lost, !wire.is_empty());
                }
                Step::Timeout { reneged } => outstanding.lose_all(now, reneged, || {}),
            }
            outstanding.check_books();
        }
        // An honest peer ends it.
        wire.clear();
        write_sack(&mut wire, Serial32::new((outstanding.next_tsn() - 1) as u32), 1000, [].into_iter(), &[]);
        let Ok((Chunk::Sack(sack), _)) = Chunk::parse(&wire) else { panic!("no SACK") };
        let last = outstanding.handle_sack(now, &sack, None, || {});
        prop_assert!(last.is_ok());
        prop_assert!(outstanding.is_empty() && outstanding.in_flight() == 0 && outstanding.payload_in_flight() == 0);
        prop_assert!(!outstanding.has_lost() && !outstanding.wants_forward());
    }
}
