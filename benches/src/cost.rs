//! What work costs: processor time, memory, and the yardstick beside it.

use std::hint::black_box;
use std::time::Duration;

use antiphon_crypto::AeadAlgorithm;
use rustix::time::{ClockId, clock_gettime};

/// A datagram of the yardstick, in bytes: header, payload and tag.
const DATAGRAM: usize = 1200;
/// Its header, which is authenticated and not encrypted.
const HEADER: usize = 24;
/// The length of the tag.
const TAG: usize = 16;
/// Seals of one reading, and how many readings are taken.
const SEALS: u32 = 2000;
const READINGS: usize = 25;
/// What the bare seal took, in nanoseconds, on the machine of the first figures. Times scaled by it compare with them.
pub const REFERENCE_SEAL: f64 = 168.0;

fn of(clock: ClockId) -> Duration {
    let spent = clock_gettime(clock);
    Duration::new(spent.tv_sec.unsigned_abs(), spent.tv_nsec as u32)
}

/// The processor time that this process has used, the kernel's part of it included.
pub fn process_cpu() -> Duration {
    of(ClockId::ProcessCPUTime)
}

/// The processor time that this thread has used, the kernel's part of it included.
pub fn thread_cpu() -> Duration {
    of(ClockId::ThreadCPUTime)
}

/// This process's resident set in KiB.
///
/// # Panics
/// Where there is no `/proc` that says it.
pub fn resident_kib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").expect("Linux says how large a process is");
    let pages: u64 = statm
        .split(' ')
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .expect("resident pages come second");
    pages * rustix::param::page_size() as u64 / 1024
}

/// The bare AES-128-GCM seal of a datagram of 1200 bytes, in nanoseconds of processor time: the median of a few readings. What a stack
/// adds to this is its own, whatever the machine.
///
/// # Panics
/// If the provider has no AES-128-GCM.
pub fn bare_seal() -> f64 {
    let key = antiphon_crypto::ring_provider()
        .aead(AeadAlgorithm::Aes128Gcm, &[7; 16])
        .expect("a key of 16 bytes");
    let mut datagram = vec![0x55; DATAGRAM - TAG];
    let mut readings: Vec<f64> = (0..READINGS)
        .map(|_| {
            let start = thread_cpu();
            for _ in 0..SEALS {
                let (header, body) = datagram.split_at_mut(HEADER);
                black_box(key.seal(&[0; 12], header, body));
            }
            (thread_cpu() - start).as_nanos() as f64 / f64::from(SEALS)
        })
        .collect();
    at(&mut readings, 0.5)
}

/// The figure below which `share` of them lie: 0.5 for the median, 0.9 for nine of ten.
///
/// # Panics
/// If there is none.
pub fn at(figures: &mut [f64], share: f64) -> f64 {
    figures.sort_unstable_by(f64::total_cmp);
    figures[((figures.len() - 1) as f64 * share).round() as usize]
}
