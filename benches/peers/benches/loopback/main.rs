//! The whole stack over loopback UDP: two peers in one process, a data channel between them; datagrams of at most 1200 bytes and socket
//! buffers of 4 MiB for everybody. Stacks take turns; a figure is the median of a stack's rounds.
//!
//! A CPU-second is one of the whole process, kernel included: both peers, and the application.

mod ours;
mod theirs;

use std::time::{Duration, Instant};

use bytes::Bytes;
use rustix::time::{ClockId, clock_gettime};

/// The largest datagram.
const DATAGRAM: usize = 1200;
/// Kernel buffers of each socket, in both directions.
const KERNEL_BUFFER: usize = 4 << 20;
/// What may be buffered in a channel before `send` waits.
const SEND_BUFFER: usize = 1 << 20;
const ROUNDS: usize = 5;
const PINGS: usize = 3000;
/// A round that takes longer than this has failed.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two connected peers of one stack.
#[derive(Clone)]
enum Pair {
    Ours(ours::Pair),
    Theirs(theirs::Pair),
}

impl Pair {
    /// Carries `count` copies of `message` from one end to the other.
    async fn bulk(&self, message: Bytes, count: usize) {
        match self {
            Self::Ours(pair) => pair.bulk(message, count).await,
            Self::Theirs(pair) => pair.bulk(message, count).await,
        }
    }

    /// How long `count` messages took there and back, one after the other.
    async fn ping(&self, message: Bytes, count: usize) -> Vec<Duration> {
        match self {
            Self::Ours(pair) => pair.ping(message, count).await,
            Self::Theirs(pair) => pair.ping(message, count).await,
        }
    }
}

fn cpu_time() -> Duration {
    let spent = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(spent.tv_sec.unsigned_abs(), u32::try_from(spent.tv_nsec).unwrap_or(0))
}

fn median(figures: &mut [f64]) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[figures.len() / 2]
}

/// Lets the stacks take turns, as many rounds as are asked for, at what gives two figures.
async fn take_turns<Round>(pairs: &[(&'static str, Pair)], round: impl Fn(Pair) -> Round) -> Vec<[f64; 2]>
where
    Round: Future<Output = [f64; 2]> + Send + 'static,
{
    let mut figures = vec![[const { Vec::new() }; 2]; pairs.len()];
    // The first turn warms up, and does not count.
    for turn in 0..=ROUNDS {
        for place in 0..pairs.len() {
            let at = (turn + place) % pairs.len();
            let (name, pair) = &pairs[at];
            // On the runtime's threads, as an application would.
            let round = tokio::spawn(round(pair.clone()));
            let taken = tokio::time::timeout(PATIENCE, round).await;
            let taken = taken.unwrap_or_else(|_| panic!("{name}: stalled")).expect("a round");
            if turn > 0 {
                for (figures, taken) in figures[at].iter_mut().zip(taken) {
                    figures.push(taken);
                }
            }
        }
    }
    figures
        .into_iter()
        .map(|[mut first, mut second]| [median(&mut first), median(&mut second)])
        .collect()
}

fn print(title: &str, units: [&str; 2], pairs: &[(&'static str, Pair)], figures: &[[f64; 2]]) {
    println!("\n{title} ({ROUNDS} interleaved rounds; median; ratios to the first row)");
    println!("  {:32} {:>12} {:>8}  {:>16} {:>8}", "", units[0], "", units[1], "");
    for ((name, _), [first, second]) in pairs.iter().zip(figures) {
        let [ours_first, ours_second] = figures[0];
        println!(
            "  {name:32} {first:12.1} {:7.2}x  {second:16.1} {:7.2}x",
            first / ours_first,
            second / ours_second
        );
    }
}

async fn compare() {
    let only = std::env::args().nth(1).filter(|only| !only.starts_with('-'));
    let mut pairs: Vec<(&'static str, Pair)> = vec![("antiphon", Pair::Ours(ours::Pair::connect().await))];
    if only.as_deref() != Some("antiphon") {
        for (name, reactors) in [("webrtc 0.21", 0), ("webrtc 0.21, dedicated reactors", 2)] {
            pairs.push((name, Pair::Theirs(theirs::Pair::connect(reactors).await)));
        }
    }
    for (title, size, total) in [
        ("64 KiB messages", 64 << 10, 128 << 20),
        ("1 KiB messages", 1 << 10, 32 << 20),
    ] {
        let message = Bytes::from(vec![7; size]);
        let figures = take_turns(&pairs, |pair| {
            let message = message.clone();
            async move {
                let (start, cpu) = (Instant::now(), cpu_time());
                pair.bulk(message, total / size).await;
                let megabytes = total as f64 / 1e6;
                [
                    megabytes / start.elapsed().as_secs_f64(),
                    megabytes / (cpu_time() - cpu).as_secs_f64(),
                ]
            }
        })
        .await;
        print(title, ["MB/s", "MB/CPU-second"], &pairs, &figures);
    }
    let message = Bytes::from(vec![7; 64]);
    let figures = take_turns(&pairs, |pair| {
        let message = message.clone();
        async move {
            let mut times = pair.ping(message, PINGS).await;
            times.sort_unstable();
            [times[PINGS / 2], times[PINGS * 99 / 100]].map(|time| time.as_secs_f64() * 1e6)
        }
    })
    .await;
    print("64 bytes there and back", ["p50 us", "p99 us"], &pairs, &figures);
    println!();
}

fn main() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    runtime.block_on(async { tokio::spawn(compare()).await.expect("the comparison") });
    // Some of the stacks' tasks would run on.
    runtime.shutdown_background();
}
