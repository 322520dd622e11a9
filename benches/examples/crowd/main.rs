//! Loads of many peers on one port, which pass or fail: idle ones, ones that all come at once, and bad ones among good.

mod hall;
mod idle;
mod neighbours;
mod rush;

use std::process::ExitCode;
use std::time::Duration;

use antiphon_netsim::Counting;
use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use tokio::runtime::{Builder, Runtime};

const EXAMPLES: &str = "\
Examples:
  cargo run --release -p antiphon-benches --example crowd -- idle
  cargo run --release -p antiphon-benches --example crowd -- idle --pairs 1000 --seconds 10
  cargo run --release -p antiphon-benches --example crowd -- rush --peers 2000 --seconds 10
  cargo run --release -p antiphon-benches --example crowd -- neighbours
  cargo run --release -p antiphon-benches --example crowd -- audience --receivers 100 --seconds 5
  cargo run --release -p antiphon-benches --example crowd -- choir

Both ends of every pair are in this one process: figures are for both. 10 000 pairs want 10 000 descriptors (ulimit -n).";

/// Loads of many peers on one port: each passes or fails, and ends by itself.
#[derive(Parser)]
#[command(name = "crowd", about, long_about = None, after_help = EXAMPLES)]
struct Args {
    #[command(subcommand)]
    load: Load,
}

#[derive(Subcommand)]
enum Load {
    /// Pairs that have nothing to say for a while: memory and processor time are printed. In the end each must answer a message.
    Idle {
        /// How many pairs.
        #[arg(long, value_name = "NUMBER", default_value_t = 10_000)]
        pairs: usize,
        /// For how long they are idle.
        #[arg(long, value_name = "NUMBER", default_value_t = 60)]
        seconds: u64,
    },
    /// Peers that connect one soon after the other: each must come to an open channel; how long that took is printed.
    Rush {
        /// How many peers.
        #[arg(long, value_name = "NUMBER", default_value_t = 2000)]
        peers: usize,
        /// The last one comes after so long.
        #[arg(long, value_name = "NUMBER", default_value_t = 10)]
        seconds: u64,
    },
    /// Good peers, which get an answer to each message, beside a slow, a silent and a flooding one. They must get nine tenths of the
    /// answers that they get without those; the best of a few rounds counts, for the machine may be busy with something else.
    Neighbours {
        /// How many good peers.
        #[arg(long, value_name = "NUMBER", default_value_t = 100)]
        good: usize,
        /// Messages that each of them sends in a second, of 1 KiB.
        #[arg(long, value_name = "NUMBER", default_value_t = 50)]
        rate: u32,
        /// How long each half of a round is.
        #[arg(long, value_name = "NUMBER", default_value_t = 5)]
        seconds: u64,
        /// How many rounds there are at most.
        #[arg(long, value_name = "NUMBER", default_value_t = 4)]
        rounds: u32,
    },
    /// In memory: one sends pictures of 1.4 Mbit/s through a forwarder to many. No packet may be lost, and no receiver may take more than
    /// 84 KiB of the forwarder's memory.
    Audience {
        /// How many receivers.
        #[arg(long, value_name = "NUMBER", default_value_t = 1000)]
        receivers: usize,
        /// For how long, on a clock that goes on when all is done.
        #[arg(long, value_name = "NUMBER", default_value_t = 30)]
        seconds: u64,
    },
    /// In memory: everybody sends sound, and gets that of the three loudest and of who leads the talk. No packet may be lost.
    Choir {
        /// How many people.
        #[arg(long, value_name = "NUMBER", default_value_t = 50)]
        people: usize,
        /// For how long, on a clock that goes on when all is done.
        #[arg(long, value_name = "NUMBER", default_value_t = 30)]
        seconds: u64,
    },
}

// What a forwarder holds is counted beside what its clients hold in the same process.
#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// A runtime with so many threads.
fn threads(count: usize) -> Runtime {
    let mut builder = Builder::new_multi_thread();
    builder.worker_threads(count).enable_all().build().expect("a runtime")
}

fn bar(length: usize, what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{msg:20} {bar:30} {pos}/{len} {elapsed}").expect("a valid template");
    ProgressBar::new(length as u64).with_style(style).with_message(what)
}

/// Waits, and shows it.
async fn wait(seconds: u64, what: &'static str) {
    let bar = bar(seconds as usize, what);
    for _ in 0..seconds {
        bar.tick();
        tokio::time::sleep(Duration::from_secs(1)).await;
        bar.inc(1);
    }
    bar.finish_and_clear();
}

fn main() -> ExitCode {
    let args = Args::parse();
    // What is not granted shows when sockets are bound.
    _ = rlimit::increase_nofile_limit(u64::MAX);
    let outcome = match args.load {
        Load::Idle { pairs, seconds } => threads(2).block_on(idle::run(pairs, seconds)),
        Load::Rush { peers, seconds } => threads(2).block_on(rush::run(peers, seconds)),
        Load::Neighbours {
            good,
            rate,
            seconds,
            rounds,
        } => neighbours::run(good, rate, seconds, rounds),
        Load::Audience { receivers, seconds } => hall::audience(receivers, seconds),
        Load::Choir { people, seconds } => hall::choir(people, seconds),
    };
    match outcome {
        Ok(figures) => {
            println!("{figures}");
            // Thousands of connections need not say good-bye to each other.
            std::process::exit(0);
        }
        Err(why) => {
            eprintln!("crowd: {why}");
            std::process::exit(1);
        }
    }
}
