//! The queue, the pacer, and a model of the sender against random acknowledgements.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use antiphon_sansio::{Serial16, Serial32};
use bytes::Bytes;
use proptest::prelude::*;

use super::Pacer;
use super::outstanding::Outstanding;
use super::schedule::Scheduler;
use super::send_queue::{Cut, Queued, SendQueue};
use super::sent::{MessageKey, NewChunk, PathTime, Sent, Whereabouts};
use crate::chunk::{Chunk, Data, GapBlock, write_sack};
use crate::tsn::Tsn;

const CUT: Cut = Cut { whole: 100, piece: 100 };

#[allow(clippy::disallowed_methods)]
fn any_instant() -> Instant {
    Instant::now()
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
    let mut queue = SendQueue::new(Scheduler::RoundRobin);
    queue.push(1, message(250, None));
    queue.push(1, message(50, None));
    queue.push(2, message(60, None));
    assert_eq!((queue.total(), queue.buffered(1)), (360, 300));
    let mut seen = Vec::new();
    while let Some(chunk) = queue.next_chunk(now, 100, CUT, 1000) {
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
    assert!(queue.is_empty() && queue.total() == 0 && queue.overhead() == 0);
}

/// The streams in the order in which chunks of at most 100 bytes leave.
fn order(queue: &mut SendQueue) -> Vec<u16> {
    let now = any_instant();
    std::iter::from_fn(|| queue.next_chunk(now, 100, CUT, 1000))
        .map(|chunk| chunk.stream)
        .collect()
}

#[test]
fn interleaved_chunks_follow_the_scheduler() {
    let filled = |scheduler, interleaved| {
        let mut queue = SendQueue::new(scheduler);
        queue.set_interleaved(interleaved);
        queue.set_weight(1, 256);
        queue.set_weight(2, 512);
        queue.push(1, message(400, None));
        queue.push(2, message(400, None));
        queue.push(1, message(100, None));
        queue
    };
    let mut fcfs = filled(Scheduler::FirstComeFirstServed, true);
    assert_eq!(order(&mut fcfs), [1, 1, 1, 1, 2, 2, 2, 2, 1]);
    let mut turns = filled(Scheduler::RoundRobin, true);
    assert_eq!(order(&mut turns), [1, 2, 1, 2, 1, 2, 1, 2, 1]);
    let mut priority = filled(Scheduler::Priority, true);
    assert_eq!(order(&mut priority), [2, 2, 2, 2, 1, 1, 1, 1, 1]);
    let mut weighted = filled(Scheduler::WeightedFair, true);
    let weighted = order(&mut weighted);
    let twos = weighted[..6].iter().filter(|stream| **stream == 2).count();
    assert_eq!(twos, 4, "twice the weight, twice the share: {weighted:?}");
    let mut whole = filled(Scheduler::WeightedFair, false);
    assert_eq!(
        order(&mut whole),
        [2, 2, 2, 2, 1, 1, 1, 1, 1],
        "DATA keeps a message together"
    );
}

#[test]
fn a_small_message_hardly_waits_behind_a_large_one() {
    let now = any_instant();
    let mut queue = SendQueue::new(Scheduler::WeightedFair);
    queue.set_interleaved(true);
    queue.push(1, message(100_000, None));
    assert_eq!(queue.next_chunk(now, 100, CUT, 1000).unwrap().stream, 1);
    queue.push(2, message(64, None));
    let next: Vec<_> = (0..2)
        .map(|_| queue.next_chunk(now, 100, CUT, 1000).unwrap().stream)
        .collect();
    assert!(next.contains(&2), "{next:?}");
}

#[test]
fn the_queue_waits_for_room_and_window() {
    let now = any_instant();
    let mut queue = SendQueue::new(Scheduler::RoundRobin);
    queue.push(1, message(90, None));
    assert!(
        queue.next_chunk(now, 80, CUT, 1000).is_none(),
        "it fits the next packet whole"
    );
    assert!(
        queue.next_chunk(now, 100, CUT, 89).is_none(),
        "the peer's window is smaller"
    );
    queue.push(1, message(500, None));
    assert_eq!(queue.next_chunk(now, 100, CUT, 90).unwrap().payload.len(), 90);
    assert!(queue.next_chunk(now, 24, CUT, 1000).is_none(), "no crumbs");
    let cut = queue.next_chunk(now, 71, CUT, 1000).unwrap();
    assert_eq!(cut.payload.len(), 68, "a multiple of four, so that nothing is padded");
}

#[test]
fn the_queue_drops_what_is_too_old_but_not_what_is_begun() {
    let now = any_instant();
    let later = now + Duration::from_secs(1);
    let mut queue = SendQueue::new(Scheduler::RoundRobin);
    queue.push(1, message(150, Some(later)));
    queue.push(1, message(50, Some(later)));
    queue.push(2, message(60, None));
    assert!(queue.next_chunk(now, 100, CUT, 1000).is_some());
    let rest = queue.next_chunk(later, 100, CUT, 1000).unwrap();
    assert_eq!((rest.payload.len(), rest.flags), (50, Data::END));
    assert_eq!(queue.next_chunk(later, 100, CUT, 1000).unwrap().stream, 2);
    assert!(queue.next_chunk(later, 100, CUT, 1000).is_none());
    assert_eq!((queue.expired(), queue.total()), (1, 0));
    queue.push(1, message(150, None));
    assert!(queue.next_chunk(now, 100, CUT, 1000).is_some());
    // The stream's third message: the second was dropped before it had a number.
    let key = MessageKey {
        stream: 1,
        unordered: false,
        id: 1,
    };
    assert!(queue.abandon_begun(key));
    assert!(!queue.abandon_begun(key));
    assert!(queue.is_empty() && queue.total() == 0);
}

fn tsns_between(first: Tsn, last: Tsn) -> impl Iterator<Item = Tsn> {
    (0..=last.above(first)).map(move |count| first.plus(count))
}

impl Outstanding {
    /// Counts everything anew and compares.
    fn check_books(&self) {
        let flying = || self.chunks.iter().filter(|sent| sent.state == Whereabouts::InFlight);
        let wire = |sent: &Sent| self.wire_len(sent.chunk.payload.len());
        assert_eq!(self.flight_wire, flying().map(wire).sum::<usize>());
        assert_eq!(
            self.flight_payload,
            flying().map(|s| s.chunk.payload.len()).sum::<usize>()
        );
        let tsns = |state| {
            let numbered = self
                .chunks
                .iter()
                .enumerate()
                .map(|(index, sent)| (self.first.plus(index as u64), sent));
            numbered
                .filter(move |(_, sent)| sent.state == state)
                .map(|(tsn, _)| tsn)
        };
        assert!(tsns(Whereabouts::Lost).eq(self.lost.iter().copied()));
        // Gap blocks may cover what is given up as well.
        let known: BTreeSet<Tsn> = self
            .acked
            .iter()
            .flat_map(|(first, last)| tsns_between(*first, *last))
            .collect();
        assert!(tsns(Whereabouts::Acked).all(|tsn| known.contains(&tsn)));
        assert!(known.iter().all(|tsn| *tsn >= self.first && *tsn < self.next_tsn()));
        assert!(
            tsns(Whereabouts::InFlight)
                .chain(tsns(Whereabouts::Lost))
                .all(|tsn| !known.contains(&tsn))
        );
        let ranges: Vec<_> = self.acked.iter().collect();
        assert!(
            ranges.windows(2).all(|pair| pair[0].1.next() < *pair[1].0),
            "ranges touch"
        );
        assert!(self.advanced >= self.cumulative_ack() && self.advanced < self.next_tsn());
    }
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
    Probe,
    Wait,
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
        1 => Just(Step::Probe),
        1 => Just(Step::Wait),
        1 => any::<bool>().prop_map(|reneged| Step::Timeout { reneged }),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]
    #[test]
    fn v10_the_books_balance_whatever_is_acknowledged(initial: u32, steps in prop::collection::vec(step(), 1..60)) {
        let mut now = any_instant();
        let mut outstanding = Outstanding::new(now, Serial32::new(initial));
        let mut wire = Vec::new();
        let mut message = 0;
        let time = PathTime { min_rtt: Some(Duration::from_millis(2)), srtt: Some(Duration::from_millis(4)) };
        for step in steps {
            now += Duration::from_millis(3);
            wire.clear();
            match step {
                Step::Send { fragments, max_retransmits } => {
                    message += 1;
                    for n in 0..fragments {
                        outstanding.begin_packet(now);
                        let mut flags = if n == 0 { Data::BEGIN } else { 0 };
                        // Now and then the rest of a message stays in the queue.
                        if n + 1 == fragments && fragments != 5 {
                            flags |= Data::END;
                        }
                        let payload = Bytes::from(vec![0; 1 + usize::from(n) * 7]);
                        let chunk = NewChunk {
                            payload, stream: 1, ssn: Serial16::new(0), message_id: message, fsn: u32::from(n), ppid: 53, flags, max_retransmits, expires: None,
                        };
                        outstanding.send(now, chunk, &mut wire);
                    }
                }
                Step::Sack { cumulative, blocks } => {
                    let before = outstanding.cumulative_ack();
                    let acked = before.nearest(Serial32::new(before.wire().get().wrapping_add_signed(i32::from(cumulative))));
                    let mut at = 0u16;
                    let blocks: Vec<GapBlock> = blocks.into_iter().map(|(skip, len)| {
                        let start = at + u16::from(skip);
                        at = start + u16::from(len);
                        GapBlock { start, end: at }
                    }).collect();
                    write_sack(&mut wire, acked.wire(), 1000, blocks.into_iter(), &[]);
                    let Ok((Chunk::Sack(sack), _)) = Chunk::parse(&wire) else { panic!("no SACK") };
                    let next = outstanding.next_tsn();
                    let result = outstanding.handle_sack(now, &sack, time);
                    if result.is_ok_and(|acked| acked.spurious) {
                        outstanding.revive();
                    }
                    match result {
                        Ok(result) if result.stale => prop_assert!(cumulative < 0),
                        Ok(_) => prop_assert_eq!(outstanding.cumulative_ack(), acked),
                        Err(_) => prop_assert!(acked >= next),
                    }
                }
                Step::Retransmit => {
                    outstanding.begin_packet(now);
                    outstanding.drop_spent(now);
                    let lost = outstanding.has_lost();
                    outstanding.retransmit(now, &mut wire);
                    prop_assert_eq!(lost, !wire.is_empty());
                }
                Step::Probe => {
                    let calm = !outstanding.has_lost();
                    let probed = outstanding.probe_tail(now);
                    prop_assert!(calm || !probed);
                }
                Step::Wait => {
                    let Some(at) = outstanding.verdict_due() else { continue };
                    now = now.max(at);
                    outstanding.look_for_losses(now, time);
                    prop_assert!(outstanding.verdict_due().is_none_or(|at| at > now), "law 2");
                }
                Step::Timeout { reneged } => {
                    outstanding.recovery_begins(true);
                    outstanding.lose_all(now, reneged);
                },
            }
            outstanding.check_books();
        }
        // An honest peer ends it.
        wire.clear();
        write_sack(&mut wire, outstanding.next_tsn().previous().wire(), 1000, [].into_iter(), &[]);
        let Ok((Chunk::Sack(sack), _)) = Chunk::parse(&wire) else { panic!("no SACK") };
        let last = outstanding.handle_sack(now, &sack, PathTime::default());
        prop_assert!(last.is_ok());
        prop_assert!(outstanding.is_empty() && outstanding.in_flight() == 0 && outstanding.payload_in_flight() == 0);
        prop_assert!(!outstanding.has_lost() && !outstanding.wants_forward());
    }
}

#[test]
#[allow(clippy::disallowed_methods)]
fn keeps_the_rate_and_bounds_the_burst() {
    let start = Instant::now();
    let mut now = start;
    let mut pacer = Pacer::new(now, 1000);
    assert!(pacer.check(now).is_ok(), "no rate, no pace");
    pacer.set_rate(now, Some(10_000_000), Some(Duration::from_micros(500)));
    pacer.sent(1_000_000);
    assert!(pacer.check(now).is_ok(), "too short a path to pace");
    pacer.set_rate(now, Some(10_000_000), Some(Duration::from_millis(20)));
    let (mut sent, mut burst, mut longest) = (0, 0, 0);
    while now < start + Duration::from_secs(1) {
        match pacer.check(now) {
            Ok(()) => {
                pacer.sent(1000);
                sent += 1000;
                burst += 1000;
                longest = longest.max(burst);
            }
            Err(at) => {
                assert!(at > now);
                // Woken late by up to a millisecond.
                now = at + Duration::from_millis(1);
                burst = 0;
            }
        }
    }
    assert!((9_800_000..=10_100_000).contains(&sent), "{sent}");
    assert!(longest <= 22_000, "{longest}");
}

#[test]
fn a_pacer_that_is_asked_late_makes_up_for_it_within_a_bound() {
    let now = any_instant();
    let ms = Duration::from_millis;
    // A thousand bytes each millisecond.
    let mut pacer = Pacer::new(now, 1000);
    pacer.set_rate(now, Some(1_000_000), Some(ms(10)));
    let burst = |pacer: &mut Pacer, now: Instant| {
        let mut sent = 0;
        loop {
            match pacer.check(now) {
                Ok(()) => {
                    pacer.sent(1000);
                    sent += 1;
                }
                Err(at) => return (sent, at),
            }
        }
    };
    let (_, mut due) = burst(&mut pacer, now);
    let mut total = 0;
    for _ in 0..50 {
        // Each time ten milliseconds late.
        let (sent, next) = burst(&mut pacer, due + ms(10));
        total += sent;
        due = next;
    }
    let elapsed = (due - now).as_millis() as usize;
    assert!(
        total + 3 >= elapsed && total <= elapsed + 3,
        "{total} packets in {elapsed} ms"
    );
    // Somebody who had nothing to say for long says no more at once than that.
    let (sent, _) = burst(&mut pacer, due + ms(1000));
    assert!((25..=29).contains(&sent), "{sent}");
    let (sent, _) = burst(&mut pacer, due + ms(1000));
    assert_eq!(sent, 0);
}
