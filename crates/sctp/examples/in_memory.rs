//! Two associations in memory, one thread, both ends, checksums on: MB/s for a size of message.
//! `cargo run --release -p antiphon-sctp --example in_memory [SIZE] [TOTAL_MB] [LARGEST_PACKET]`

use std::time::Instant;

use antiphon_sansio::{Bytes, BytesMut, Ecn, Packet, Rng, TransmitBuf};
use antiphon_sctp::{Association, Config, SendOptions};

const PACKET: usize = 1200;
const BATCH: usize = 40;

struct Pair {
    now: Instant,
    ends: [Association; 2],
    out: TransmitBuf,
    ranges: Vec<std::ops::Range<usize>>,
}

impl Pair {
    /// Hands over one batch as a driver would: one buffer, cut into packets.
    fn pass(&mut self, from: usize) -> bool {
        self.out.clear();
        self.ranges.clear();
        while self.ends[from].poll_transmit(self.now, &mut self.out).is_some() {
            self.ranges.push(self.out.finish());
        }
        let mut batch = BytesMut::from(self.out.bytes(0..self.out.len()));
        for range in &self.ranges {
            let packet = Packet {
                ecn: Ecn::NotEct,
                data: batch.split_to(range.len()),
            };
            self.ends[1 - from].handle_packet(self.now, packet);
        }
        !self.ranges.is_empty()
    }
}

#[allow(clippy::disallowed_methods)]
fn main() {
    let mut arguments = std::env::args()
        .skip(1)
        .map(|word| word.parse::<usize>().expect("a number"));
    let size = arguments.next().unwrap_or(65_536);
    let total = arguments.next().unwrap_or(1000) * 1_000_000;
    let largest = arguments.next().unwrap_or(PACKET);
    let now = Instant::now();
    let config = Config {
        probe_up_to: largest,
        zero_checksum: false,
        ..Config::default()
    };
    let mut pair = Pair {
        now,
        ends: [1, 2].map(|seed| Association::new(config.clone(), now, Rng::from_u64(seed))),
        out: TransmitBuf::new(BATCH * largest, largest),
        ranges: Vec::with_capacity(BATCH),
    };
    pair.ends[0].connect(now);
    while pair.pass(0) | pair.pass(1) {}
    let message = Bytes::from(vec![7; size]);
    let begin = Instant::now();
    let (mut got, mut turns) = (0, 0u64);
    while got < total {
        while pair.ends[0].buffered_total() < 4 << 20 {
            pair.ends[0]
                .send(now, 1, 53, message.clone(), SendOptions::default())
                .unwrap();
        }
        // Time passes, a little: a path of no length has no rate.
        turns += 1;
        pair.now = now + std::time::Duration::from_micros(turns * 20);
        pair.pass(0);
        while let Some(message) = pair.ends[1].read(pair.now, 1) {
            got += message.data.len();
        }
        pair.pass(1);
        for end in &mut pair.ends {
            while end.poll_event().is_some() {}
            if end.poll_timeout().is_some_and(|at| at <= pair.now) {
                end.handle_timeout(pair.now);
            }
        }
    }
    let seconds = begin.elapsed().as_secs_f64();
    println!(
        "{size} bytes a message: {:.0} MB/s; {:?}",
        got as f64 / seconds / 1e6,
        pair.ends[0].stats()
    );
}
