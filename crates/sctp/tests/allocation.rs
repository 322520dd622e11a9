//! Bulk data in steady state allocates nothing for a packet: a message in one chunk is cut from the packet that brought
//! it, one of many chunks is put together in one buffer.

use std::ops::Range;
use std::time::{Duration, Instant};

use antiphon_netsim::Counting;
use antiphon_sansio::{Bytes, BytesMut, Ecn, Packet, Rng, TransmitBuf};
use antiphon_sctp::{Association, Config, SendOptions, Stats};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

const PACKET: usize = 1188;
const BATCH: usize = 40;

struct Pair {
    now: Instant,
    ends: [Association; 2],
    out: TransmitBuf,
    ranges: Vec<Range<usize>>,
    /// What each end has allocated.
    allocated: [usize; 2],
    messages: usize,
    /// Every so many packets of data one is lost.
    lose: Option<u64>,
    sent: u64,
}

impl Pair {
    fn new(interleaving: bool, lose: Option<u64>) -> Self {
        let now = antiphon_netsim::start();
        let config = Config {
            interleaving,
            max_packet: PACKET,
            ..Config::default()
        };
        let mut pair = Self {
            now,
            ends: [1, 2].map(|seed| Association::new(config.clone(), now, Rng::from_u64(seed))),
            out: TransmitBuf::new(BATCH * PACKET, PACKET),
            ranges: Vec::with_capacity(BATCH),
            allocated: [0; 2],
            messages: 0,
            lose,
            sent: 0,
        };
        pair.ends[0].connect(now);
        while pair.pass(0) | pair.pass(1) {}
        pair
    }

    fn measured<T>(&mut self, end: usize, work: impl FnOnce(&mut Association) -> T) -> T {
        let (count, result) = Counting::during(|| work(&mut self.ends[end]));
        self.allocated[end] += count.allocations;
        result
    }

    /// Hands over one batch as a driver does: one buffer, which is its own, cut into packets.
    fn pass(&mut self, from: usize) -> bool {
        let now = self.now;
        self.out.clear();
        self.ranges.clear();
        let (mut out, mut ranges) = (
            std::mem::replace(&mut self.out, TransmitBuf::new(0, 0)),
            std::mem::take(&mut self.ranges),
        );
        self.measured(from, |end| {
            while end.poll_transmit(now, &mut out).is_some() {
                ranges.push(out.finish());
            }
        });
        let mut batch = BytesMut::from(out.bytes(0..out.len()));
        for range in &ranges {
            let packet = Packet {
                ecn: Ecn::NotEct,
                data: batch.split_to(range.len()),
            };
            self.sent += u64::from(range.len() > 1000);
            if range.len() > 1000 && self.lose.is_some_and(|n| self.sent.is_multiple_of(n)) {
                continue;
            }
            self.measured(1 - from, |end| end.handle_packet(now, packet));
        }
        let any = !ranges.is_empty();
        (self.out, self.ranges) = (out, ranges);
        any
    }

    fn run(&mut self, message: &Bytes, messages: usize) -> (usize, usize) {
        let (until, before) = (self.messages + messages, self.allocated);
        while self.messages < until {
            let now = self.now;
            self.measured(0, |end| {
                while end.buffered_total() < 1 << 20 {
                    end.send(now, 1, 53, message.clone(), SendOptions::default()).unwrap();
                }
            });
            self.pass(0);
            self.messages += self.measured(1, |end| std::iter::from_fn(|| end.read(now, 1)).count());
            self.now += Duration::from_millis(1);
            self.pass(1);
            let now = self.now;
            for number in 0..2 {
                self.measured(number, |end| {
                    while end.poll_event().is_some() {}
                    if end.poll_timeout().is_some_and(|at| at <= now) {
                        end.handle_timeout(now);
                    }
                });
            }
        }
        (self.allocated[0] - before[0], self.allocated[1] - before[1])
    }

    fn stats(&self) -> Stats {
        self.ends[0].stats()
    }
}

/// What sending and receiving so many messages allocates, once everything is warm; and the packets that it took.
fn steady(size: usize, messages: usize, interleaving: bool, lose: Option<u64>) -> (usize, usize, u64) {
    let mut pair = Pair::new(interleaving, lose);
    let message = Bytes::from(vec![7; size]);
    // Containers grow once.
    pair.run(&message, 4 * messages);
    let before = pair.stats();
    let (sending, receiving) = pair.run(&message, messages);
    let after = pair.stats();
    assert_eq!(lose.is_some(), after.chunks_retransmitted > before.chunks_retransmitted);
    let packets = after.packets_sent - before.packets_sent;
    println!("{messages} messages of {size} bytes in {packets} packets: {sending} + {receiving} allocations");
    (sending, receiving, packets)
}

#[test]
fn a_packet_costs_no_allocation() {
    let (count, _) = Counting::during(|| std::hint::black_box(Box::new(1)));
    assert_eq!(count.allocations, 1, "the allocator counts");
    for interleaving in [true, false] {
        // A message in one chunk: nothing at all.
        let (sending, receiving, packets) = steady(1000, 20_000, interleaving, None);
        assert!(packets > 19_000);
        assert_eq!((sending, receiving), (0, 0));
        // A message of 58 chunks: its buffer.
        let (sending, receiving, packets) = steady(65_536, 400, interleaving, None);
        assert!(packets > 20_000);
        assert_eq!(sending, 0);
        assert!(receiving <= 400, "{receiving}");
    }
}

#[test]
fn losses_cost_little() {
    // Books of what is lost, and of what has come above the hole: a few nodes for each loss.
    let (sending, receiving, packets) = steady(65_536, 400, true, Some(100));
    let losses = packets as usize / 100;
    assert!(sending <= losses, "{sending}");
    assert!(receiving <= 400 + 6 * losses, "{receiving}");
}
