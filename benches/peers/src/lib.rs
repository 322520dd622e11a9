#![doc = include_str!("../README.md")]
//!
//! # The method
//!
//! Contenders take turns, a short round each, many times over, in one process: what else the machine does meets all of them alike.
//! A figure is the median of a contender's rounds.
#![forbid(unsafe_code)]

use std::time::{Duration, Instant};

use criterion::{Criterion, Throughput};

/// One stack's way of doing the work.
pub struct Contender<'a> {
    /// Whose work it is.
    pub name: &'static str,
    /// Does one round; returns what its timed part took. Preparation stays outside.
    pub round: Box<dyn FnMut() -> Duration + 'a>,
}

impl<'a> Contender<'a> {
    /// A contender with preparation of its own.
    pub fn new(name: &'static str, round: impl FnMut() -> Duration + 'a) -> Self {
        Self {
            name,
            round: Box::new(round),
        }
    }

    /// A contender whose whole round is timed.
    pub fn timed(name: &'static str, mut work: impl FnMut() + 'a) -> Self {
        Self::new(name, move || {
            let start = Instant::now();
            work();
            start.elapsed()
        })
    }
}

/// Lets the contenders take turns, prints the table, then hands each to criterion.
///
/// `units` is how many packets, messages or handshakes one round is. The first contender is the yardstick of the last column.
pub fn compare(
    c: &mut Criterion,
    group: &str,
    units: u64,
    bytes: u64,
    rounds: usize,
    mut contenders: Vec<Contender<'_>>,
) {
    let mut times = vec![Vec::with_capacity(rounds); contenders.len()];
    for contender in &mut contenders {
        (contender.round)();
    }
    for round in 0..rounds {
        // Each round begins with another one, so that nobody always follows the same neighbour.
        for turn in 0..contenders.len() {
            let at = (round + turn) % contenders.len();
            times[at].push((contenders[at].round)());
        }
    }
    let medians: Vec<f64> = times
        .iter_mut()
        .map(|times| {
            times.sort_unstable();
            times[times.len() / 2].as_nanos() as f64 / units as f64
        })
        .collect();
    println!("\n{group} ({rounds} interleaved rounds of {units}; median)");
    for (contender, median) in contenders.iter().zip(&medians) {
        let rate = if bytes == 0 {
            String::new()
        } else {
            format!("{:8.0} MB/s", bytes as f64 * 1e3 / median)
        };
        println!(
            "  {:44} {median:10.1} ns {rate} {:7.2}x",
            contender.name,
            median / medians[0]
        );
    }
    println!();

    let mut group = c.benchmark_group(group);
    group.sample_size(10);
    group.measurement_time(Duration::from_millis(500));
    group.warm_up_time(Duration::from_millis(100));
    group.throughput(if bytes == 0 {
        Throughput::Elements(units)
    } else {
        Throughput::Bytes(units * bytes)
    });
    for contender in &mut contenders {
        group.bench_function(contender.name, |b| {
            b.iter_custom(|iterations| (0..iterations).map(|_| (contender.round)()).sum());
        });
    }
    group.finish();
}
