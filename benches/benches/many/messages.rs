//! Data channels of many peers to one port, each as fast as it goes.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use antiphon::Message;
use antiphon_benches::cost::process_cpu;
use antiphon_benches::meeting::{Met, loopback, meet_many};
use bytes::Bytes;
use tokio::runtime::Builder;
use tokio::time::sleep;

use crate::figures::Measured;

pub(crate) const VARIANTS: [&str; 2] = ["1 KiB", "64 KiB"];

/// Sends for ever; what arrives is counted.
fn talk(met: Met, message: Bytes) -> Arc<AtomicU64> {
    let Met {
        near, mut far, peers, ..
    } = met;
    let arrived = Arc::new(AtomicU64::new(0));
    let count = arrived.clone();
    tokio::spawn(async move { while near.send(Message::binary(message.clone())).await.is_ok() {} });
    tokio::spawn(async move {
        let _peers = peers;
        while let Some(message) = far.recv().await {
            count.fetch_add(message.data.len() as u64, Ordering::Relaxed);
        }
    });
    arrived
}

pub(crate) fn measure(variant: &str, pairs: u32, long: bool) -> Vec<Measured> {
    let size = if variant == "1 KiB" { 1 << 10 } else { 64 << 10 };
    let window = Duration::from_secs(if long { 10 } else { 3 });
    // Windows of congestion open, and path MTU discovery comes to its end.
    let warm_up = Duration::from_millis(1000 + u64::from(pairs));
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let measured = async move {
        let server = loopback().one_port(0).build().expect("a port");
        let clients = loopback().build().expect("an api");
        let message = Bytes::from(vec![7; size]);
        let met = meet_many(&clients, &server, pairs as usize).await;
        let arrived: Vec<_> = met.into_iter().map(|met| talk(met, message.clone())).collect();
        let read = || {
            arrived
                .iter()
                .map(|bytes| bytes.load(Ordering::Relaxed))
                .collect::<Vec<_>>()
        };
        sleep(warm_up).await;
        let (before, cpu, start) = (read(), process_cpu(), Instant::now());
        sleep(window).await;
        let (after, cpu, took) = (read(), process_cpu() - cpu, start.elapsed());
        let each = after.iter().zip(&before).map(|(after, before)| after - before);
        let (total, least) = (each.clone().sum::<u64>() as f64, each.min().unwrap_or(0) as f64);
        vec![
            Measured::new("in a second", total / 1e6 / took.as_secs_f64(), "MB"),
            Measured::new("in a CPU-second", total / 1e6 / cpu.as_secs_f64(), "MB"),
            Measured::new("processors busy", cpu.as_secs_f64() / took.as_secs_f64(), ""),
            Measured::new(
                "the slowest pair, of the mean",
                100.0 * least * f64::from(pairs) / total,
                "%",
            ),
        ]
    };
    runtime
        .expect("a runtime")
        .block_on(async { tokio::spawn(measured).await.expect("figures") })
}
