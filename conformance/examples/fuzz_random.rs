//! Runs a fuzz target over random bytes, for machines without a nightly compiler:
//! `cargo run -p antiphon-conformance --example fuzz_random -- machine_ice 10000`. A failure names the seed that shows it.

use std::panic::catch_unwind;

use antiphon_conformance::fuzz;
use antiphon_sansio::Rng;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let target = arguments.next().expect("the name of a target");
    let count: u64 = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(1000);
    let first: u64 = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    for seed in first..first + count {
        let mut rng = Rng::from_u64(seed);
        let mut data = vec![0; rng.below(900) as usize];
        rng.fill(&mut data);
        if catch_unwind(|| fuzz::run(&target, &data)).is_err() {
            println!("{target} fails with seed {seed}");
            std::process::exit(1);
        }
    }
    println!("{target}: {count} runs from seed {first}");
}
