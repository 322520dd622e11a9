//! Pairs that have nothing to say: what more of them add to the resident set, and what they use of a processor.

use std::time::{Duration, Instant};

use antiphon_benches::cost::{process_cpu, resident_kib};
use antiphon_benches::meeting::{loopback, meet_many};
use tokio::runtime::Builder;
use tokio::time::sleep;

use crate::figures::Measured;

pub(crate) const VARIANTS: [&str; 2] = ["own sockets", "one port"];
/// What connecting leaves to be done is done after so long.
const CALM: Duration = Duration::from_secs(3);
/// And SCTP has given back what it kept, which it does with each heartbeat, half a minute apart.
const LONG_CALM: Duration = Duration::from_secs(40);

/// `pairs` pairs, and the memory of as many before them.
pub(crate) fn measure(variant: &str, pairs: u32, long: bool) -> Vec<Measured> {
    // A multiple of the five seconds between two checks of consent.
    let window = Duration::from_secs(if long { 30 } else { 10 });
    let calm = if long { LONG_CALM } else { CALM };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let measured = async move {
        let callers = loopback().build().expect("an api");
        let callees = match variant == VARIANTS[1] {
            true => loopback().one_port(0).build().expect("a port"),
            false => callers.clone(),
        };
        let half = (pairs as usize / 2).max(1);
        let first = meet_many(&callers, &callees, half).await;
        sleep(calm).await;
        let before = resident_kib();
        let second = meet_many(&callers, &callees, half).await;
        sleep(calm).await;
        let after = resident_kib();
        let (cpu, start) = (process_cpu(), Instant::now());
        sleep(window).await;
        let (cpu, took) = (process_cpu() - cpu, start.elapsed());
        let all = (first.len() + second.len()) as f64;
        vec![
            Measured::new(
                "resident, a pair",
                after.saturating_sub(before) as f64 / half as f64,
                "KiB",
            ),
            Measured::new(
                "CPU, a pair and second",
                cpu.as_secs_f64() * 1e6 / all / took.as_secs_f64(),
                "us",
            ),
        ]
    };
    runtime.expect("a runtime").block_on(measured)
}
