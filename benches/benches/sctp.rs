//! Two SCTP associations in memory, one thread, both ends, checksums on: what a megabyte of messages costs.

use std::hint::black_box;
use std::time::Instant;

use antiphon_sansio::{BytesMut, Ecn, Packet, Rng, TransmitBuf};
use antiphon_sctp::{Association, Config, Event, SendOptions};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const PACKET: usize = 1200;
const BATCH: usize = 40;

struct Pair {
    now: Instant,
    ends: [Association; 2],
    out: TransmitBuf,
    ranges: Vec<std::ops::Range<usize>>,
}

impl Pair {
    #[allow(clippy::disallowed_methods)]
    fn connected() -> Self {
        let now = Instant::now();
        // Two of ours would do without checksums (RFC 9653), and the figures shall compare.
        let config = Config {
            zero_checksum: false,
            ..Config::default()
        };
        let end = |seed| Association::new(config.clone(), now, Rng::from_u64(seed));
        let mut pair = Self {
            now,
            ends: [end(1), end(2)],
            out: TransmitBuf::new(BATCH * PACKET, PACKET),
            ranges: Vec::with_capacity(BATCH),
        };
        pair.ends[0].connect(now);
        pair.exchange();
        assert_eq!(pair.ends[0].poll_event(), Some(Event::Connected));
        pair
    }

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

    fn exchange(&mut self) {
        while self.pass(0) | self.pass(1) {}
    }
}

fn messages(c: &mut Criterion) {
    const TOTAL: usize = 4 << 20;
    let mut group = c.benchmark_group("sctp");
    for (name, size) in [
        ("64 KiB messages", 65_536),
        ("1 KiB messages", 1024),
        ("100 byte messages", 100),
    ] {
        let message = antiphon_sansio::Bytes::from(vec![7; size]);
        group.throughput(Throughput::Bytes((TOTAL / size * size) as u64));
        group.bench_function(name, |b| {
            let mut pair = Pair::connected();
            b.iter(|| {
                for _ in 0..TOTAL / size {
                    let now = pair.now;
                    pair.ends[0]
                        .send(now, 1, 53, message.clone(), SendOptions::default())
                        .unwrap();
                }
                let mut got = 0;
                while got < TOTAL / size {
                    pair.pass(0);
                    while let Some(message) = pair.ends[1].read(pair.now, 1) {
                        got += 1;
                        black_box(&message.data[0]);
                    }
                    pair.pass(1);
                }
                while pair.ends[1].poll_event().is_some() {}
                while pair.ends[0].poll_event().is_some() {}
            });
        });
    }
    group.finish();
}

fn handshake(c: &mut Criterion) {
    c.bench_function("sctp/handshake", |b| {
        b.iter_batched(|| (), |()| Pair::connected(), BatchSize::SmallInput)
    });
}

criterion_group!(benches, messages, handshake);
criterion_main!(benches);
