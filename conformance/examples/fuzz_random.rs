//! Runs a fuzz target over changed corpus files and noise, for machines without a nightly compiler:
//! `cargo run -p antiphon-conformance --example fuzz_random -- machine_ice 10000`. A failure names the seed that shows it;
//! a third argument is the seed to begin with.

use std::fs;
use std::panic::catch_unwind;
use std::path::Path;

use antiphon_conformance::fuzz;
use antiphon_sansio::Rng;

/// The length of noise, and by how much a corpus file may grow.
const MAX_NOISE: u32 = 900;

fn corpus(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../fuzz/corpus")
        .join(target);
    let mut files: Vec<_> = fs::read_dir(folder)
        .map(|files| files.flatten().map(|file| file.path()).collect())
        .unwrap_or_default();
    // The order of a directory is the file system's; a seed must mean the same everywhere.
    files.sort();
    files.iter().filter_map(|file| fs::read(file).ok()).collect()
}

/// Noise, or a corpus file with a few changes: that gets past the first checks of a parser.
fn input(rng: &mut Rng, corpus: &[Vec<u8>]) -> Vec<u8> {
    let pick = |rng: &mut Rng| corpus[rng.below(corpus.len() as u32) as usize].clone();
    if corpus.is_empty() || rng.below(4) == 0 {
        let mut data = vec![0; rng.below(MAX_NOISE) as usize];
        rng.fill(&mut data);
        return data;
    }
    let mut data = pick(rng);
    for _ in 0..=rng.below(8) {
        let len = data.len() as u32;
        let at = rng.below(len + 1) as usize;
        match rng.below(6) {
            0 if at < data.len() => data[at] ^= 1 << rng.below(8),
            1 if at < data.len() => data[at] = rng.below(256) as u8,
            2 => data.truncate(at),
            3 if at < data.len() => _ = data.remove(at),
            4 => data.insert(at, [0, 1, 0x7f, 0x80, 0xff][rng.below(5) as usize]),
            // The head of one and the tail of another.
            5 => {
                let other = pick(rng);
                data.truncate(at);
                data.extend_from_slice(&other[rng.below(other.len() as u32 + 1) as usize..]);
            }
            _ => {}
        }
    }
    data
}

fn main() {
    let mut arguments = std::env::args().skip(1);
    let target = arguments.next().expect("the name of a target");
    let count: u64 = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(1000);
    let first: u64 = arguments.next().and_then(|n| n.parse().ok()).unwrap_or(0);
    let corpus = corpus(&target);
    for seed in first..first + count {
        let data = input(&mut Rng::from_u64(seed), &corpus);
        if catch_unwind(|| fuzz::run(&target, &data)).is_err() {
            println!("{target} fails with seed {seed}: {}", hex(&data));
            std::process::exit(1);
        }
        let done = seed - first + 1;
        if done.is_multiple_of(1000) {
            println!("#{done}");
        }
    }
    println!(
        "{target}: {count} runs from seed {first}, {} corpus files",
        corpus.len()
    );
}

fn hex(data: &[u8]) -> String {
    data.iter().map(|byte| format!("{byte:02x}")).collect()
}
