//! Two peers of one process that meet, one pair after the other: from the offer to an open channel.

use antiphon_benches::cost::{at, process_cpu};
use antiphon_benches::meeting::{loopback, meet};
use tokio::runtime::Builder;

use crate::figures::Measured;

/// Before anything is measured.
const WARM_UP: usize = 20;

pub(crate) fn measure(long: bool) -> Vec<Measured> {
    let pairs = if long { 600 } else { 300 };
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let measured = async move {
        let api = loopback().build().expect("an api");
        for _ in 0..WARM_UP {
            meet(&api, &api).await.expect("they meet");
        }
        let cpu = process_cpu();
        let (mut times, mut kept) = (Vec::new(), Vec::new());
        for _ in 0..pairs {
            let met = meet(&api, &api).await.expect("they meet");
            times.push(met.took.as_secs_f64() * 1e3);
            // Their ends are not counted.
            kept.push(met);
        }
        let cpu = (process_cpu() - cpu).as_secs_f64() * 1e3 / f64::from(pairs);
        vec![
            Measured::new("to an open channel, median", at(&mut times, 0.5), "ms"),
            Measured::new("to an open channel, 9 of 10", at(&mut times, 0.9), "ms"),
            Measured::new("CPU, a pair", cpu, "ms"),
        ]
    };
    runtime
        .expect("a runtime")
        .block_on(async { tokio::spawn(measured).await.expect("figures") })
}
