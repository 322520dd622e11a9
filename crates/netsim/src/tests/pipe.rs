//! The pipe and its checks, and the allocator that must not count in silence.

use std::collections::VecDeque;

use super::*;
use crate::sansio::Packet as Inside;

/// Sends numbers, and says which it hears.
#[derive(Debug, Default)]
struct Counter {
    to_send: VecDeque<u32>,
    heard: VecDeque<(u32, Ecn)>,
    sends_empty: bool,
}

impl Counter {
    fn handle_packet(&mut self, _: Instant, packet: Inside) {
        if let Ok(bytes) = packet.data[..].try_into() {
            self.heard.push_back((u32::from_be_bytes(bytes), packet.ecn));
        }
    }

    fn handle_timeout(&mut self, _: Instant) {}

    fn poll_transmit(&mut self, _: Instant, out: &mut TransmitBuf) -> Option<Ecn> {
        if !self.sends_empty {
            self.to_send.front()?;
        }
        if !out.begin(0, 0) {
            return None;
        }
        if let Some(number) = self.to_send.pop_front() {
            out.put_u32(number);
        }
        Some(Ecn::Ect0)
    }

    fn poll_event(&mut self) -> Option<(u32, Ecn)> {
        self.heard.pop_front()
    }

    fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    fn stop(&mut self, _: Instant) {
        self.to_send.clear();
    }
}

crate::inner_machine! {
    struct Talker(Counter) -> (u32, Ecn);
    close = Counter::stop;
}

fn pipe(seed: u64, link: LinkConfig) -> Pipe<Talker> {
    Pipe::new(seed, link, [Talker(Counter::default()), Talker(Counter::default())])
}

fn heard(pipe: &Pipe<Talker>) -> Vec<u32> {
    pipe.events[1].iter().map(|(number, _)| *number).collect()
}

#[test]
fn a_clean_pipe_carries_all_after_its_delay_with_its_mark() {
    let mut pipe = pipe(1, LinkConfig::default());
    pipe.ends[0].to_send.extend(0..100);
    assert!(pipe.run_until(Duration::from_secs(1), |pipe| pipe.events[1].len() == 100));
    assert_eq!(pipe.now - start(), Duration::from_millis(10));
    assert_eq!(heard(&pipe), (0..100).collect::<Vec<_>>());
    assert!(pipe.events[1].iter().all(|(_, ecn)| *ecn == Ecn::Ect0));
    assert_eq!(
        (pipe.stats(0).sent, pipe.stats(0).delivered, pipe.stats(1).sent),
        (100, 100, 0)
    );
}

#[test]
fn a_bad_pipe_loses_doubles_reorders_and_breaks_and_the_seed_says_which() {
    let bad = LinkConfig {
        duplicate: 0.1,
        reorder: 0.1,
        corrupt: 0.05,
        ..LinkConfig::lossy(Duration::from_millis(10), 0.1)
    };
    let run = |seed| {
        let mut pipe = pipe(seed, bad.clone());
        for number in 0..500 {
            pipe.ends[0].to_send.push_back(number);
            pipe.run_for(Duration::from_millis(1));
        }
        pipe.run_for(Duration::from_secs(1));
        (heard(&pipe), pipe.stats(0))
    };
    let (first, stats) = run(7);
    assert_eq!(stats.sent, 500);
    assert!((20..100).contains(&stats.lost), "{stats:?}");
    assert!(
        stats.duplicated > 20 && stats.reordered > 20 && stats.corrupted > 10,
        "{stats:?}"
    );
    assert_eq!(stats.delivered, stats.sent - stats.lost + stats.duplicated);
    assert!(!first.is_sorted());
    assert_eq!(run(7).0, first);
    assert_ne!(run(8).0, first);
}

#[test]
fn a_filter_sees_each_packet_first_and_a_link_may_change() {
    let mut pipe = pipe(1, LinkConfig::default());
    pipe.filter = Some(Box::new(|end, data| end == 0 && data[3].is_multiple_of(2)));
    pipe.ends[0].to_send.extend(0..10);
    pipe.ends[1].to_send.extend(0..10);
    pipe.run_for(Duration::from_secs(1));
    assert_eq!(heard(&pipe), [0, 2, 4, 6, 8]);
    assert!(pipe.events[0].is_empty());
    pipe.filter = None;
    pipe.link(0).mtu = 28 + 3;
    pipe.ends[0].to_send.push_back(10);
    pipe.run_for(Duration::from_secs(1));
    assert_eq!((heard(&pipe).len(), pipe.stats(0).too_big), (5, 1));
    pipe.deliver(1, Ecn::Ce, &11u32.to_be_bytes());
    pipe.drain();
    assert_eq!(pipe.events[1].last(), Some(&(11, Ecn::Ce)));
}

#[test]
#[should_panic(expected = "an empty datagram")]
fn the_laws_are_asserted_for_both_ends() {
    let mut pipe = pipe(1, LinkConfig::default());
    pipe.ends[1].sends_empty = true;
    pipe.step();
}

#[test]
#[should_panic(expected = "not the global allocator")]
fn nothing_is_counted_in_silence() {
    Counting::here();
}
