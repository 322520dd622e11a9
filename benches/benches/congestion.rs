//! What a congestion controller costs: for each packet that leaves, and for each feedback message, which speaks of ten packets here
//! (50 ms of 2 Mbit/s).
#![allow(missing_docs, clippy::disallowed_methods)]

use std::cell::RefCell;
use std::time::{Duration, Instant};

use antiphon_media::congestion::{Congestion, CongestionControl, PacketId, PacketResult, Sent};
use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};

const PACKETS: u64 = 10;
const BYTES: usize = 1200;
const GAP: Duration = Duration::from_micros(4800);
const RTT: Duration = Duration::from_millis(50);

/// A path that carries all, with a little jitter.
struct Path {
    controller: Box<dyn CongestionControl>,
    now: Instant,
    count: u64,
}

impl Path {
    fn new(choice: Congestion) -> Self {
        let mut path = Self {
            controller: choice.controller(2_000_000, 30_000, 2_500_000),
            now: Instant::now(),
            count: 0,
        };
        // The start is over, lists have their size.
        for _ in 0..2000 {
            let results = path.burst();
            path.feedback(&results);
        }
        path
    }

    fn send(&mut self) -> Sent {
        self.now += GAP;
        self.count += 1;
        let sent = Sent {
            id: PacketId(self.count),
            at: self.now,
            bytes: BYTES,
            total: self.count * BYTES as u64,
            ecn: self.controller.mark(),
            probe: None,
            padding: false,
        };
        self.controller.on_sent(&sent);
        sent
    }

    fn burst(&mut self) -> Vec<PacketResult> {
        let result = |sent: Sent| PacketResult {
            sent,
            arrival: Some(sent.at + RTT / 2 + Duration::from_micros(sent.id.0 * 7919 % 1000)),
            ecn: sent.ecn,
        };
        (0..PACKETS).map(|_| result(self.send())).collect()
    }

    fn feedback(&mut self, results: &[PacketResult]) -> Option<u64> {
        let now = self.now + RTT / 2;
        self.controller.on_feedback(now, RTT, results);
        if self.controller.next_timeout().is_some_and(|due| due <= now) {
            self.controller.on_timeout(now);
        }
        let _ = self.controller.next_probe(now);
        self.controller.target_rate(now)
    }
}

fn congestion(c: &mut Criterion) {
    for (name, choice) in Congestion::ALL.map(|choice| (choice.name(), choice)) {
        let mut group = c.benchmark_group(format!("congestion, {name}"));
        let mut path = Path::new(choice);
        group.throughput(Throughput::Elements(1));
        group.bench_function("a packet leaves", |b| {
            b.iter(|| {
                let sent = path.send();
                (
                    sent,
                    path.controller.pacing_rate(path.now),
                    path.controller.congestion_window(),
                )
            });
        });
        let path = RefCell::new(Path::new(choice));
        group.bench_function("feedback on ten packets", |b| {
            b.iter_batched_ref(
                || path.borrow_mut().burst(),
                |results| path.borrow_mut().feedback(results),
                BatchSize::PerIteration,
            );
        });
        group.finish();
    }
}

criterion_group!(benches, congestion);
criterion_main!(benches);
