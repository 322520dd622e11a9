//! 64 bytes there and back.

use std::time::Instant;

use antiphon::Message;
use antiphon_benches::cost::at;
use antiphon_benches::meeting::{Met, loopback, meet};
use bytes::Bytes;
use tokio::runtime::Builder;

use crate::figures::Measured;

pub(crate) const VARIANTS: [&str; 2] = ["two threads", "one thread"];
const SIZE: usize = 64;
/// Before anything is measured.
const WARM_UP: usize = 1000;

async fn ping(count: usize) -> Vec<Measured> {
    let api = loopback().build().expect("an api");
    let Met {
        mut near,
        mut far,
        peers: _peers,
        ..
    } = meet(&api, &api).await.expect("they meet");
    tokio::spawn(async move {
        while let Some(message) = far.recv().await {
            if far.send(message).await.is_err() {
                return;
            }
        }
    });
    let message = Bytes::from(vec![7; SIZE]);
    let mut times = Vec::with_capacity(count);
    for number in 0..WARM_UP + count {
        let start = Instant::now();
        near.send(Message::binary(message.clone()))
            .await
            .expect("the channel is open");
        near.recv().await.expect("an answer");
        if number >= WARM_UP {
            times.push(start.elapsed().as_secs_f64() * 1e6);
        }
    }
    vec![
        Measured::new("there and back, median", at(&mut times, 0.5), "us"),
        Measured::new("there and back, 99 of 100", at(&mut times, 0.99), "us"),
    ]
}

pub(crate) fn measure(variant: &str, long: bool) -> Vec<Measured> {
    let count = if long { 100_000 } else { 10_000 };
    if variant == VARIANTS[1] {
        let runtime = Builder::new_current_thread().enable_all().build();
        return runtime.expect("a runtime").block_on(ping(count));
    }
    let runtime = Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime
        .expect("a runtime")
        .block_on(async { tokio::spawn(ping(count)).await.expect("figures") })
}
