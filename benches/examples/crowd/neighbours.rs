//! Bad peers among good ones, on one port.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use antiphon::{Api, DataChannel, Message};
use antiphon_benches::meeting::{Met, loopback, meet, meet_many};
use bytes::Bytes;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;
use tokio::time::{MissedTickBehavior, interval, sleep};

use crate::{threads, wait};

const SIZE: usize = 1 << 10;
/// What the good ones keep at least of their answers.
const LEAST: f64 = 0.9;
/// The slow peer takes a message so often.
const SLOW: Duration = Duration::from_millis(100);
/// Before each half of a round is counted.
const WARM_UP: u64 = 1;

fn message() -> Message {
    Message::binary(Bytes::from(vec![7; SIZE]))
}

/// The server's end of a channel: whatever comes goes back.
async fn echo(mut channel: DataChannel) {
    while let Some(message) = channel.recv().await {
        if channel.send(message).await.is_err() {
            return;
        }
    }
}

/// Sends for ever.
async fn pour(channel: DataChannel) {
    while channel.send(message()).await.is_ok() {}
}

/// Takes for ever, and does nothing with it.
async fn sink(mut channel: DataChannel) {
    while channel.recv().await.is_some() {}
}

/// A good peer: sends at its rate, and counts the answers.
fn good(near: DataChannel, rate: u32, at: &Runtime) -> Arc<AtomicU64> {
    let answers = Arc::new(AtomicU64::new(0));
    let (count, sender) = (answers.clone(), near.sender());
    at.spawn(async move {
        let mut tick = interval(Duration::from_secs(1) / rate);
        tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
        loop {
            tick.tick().await;
            if sender.send(message()).await.is_err() {
                return;
            }
        }
    });
    at.spawn(async move {
        let mut near = near;
        while near.recv().await.is_some() {
            count.fetch_add(1, Ordering::Relaxed);
        }
    });
    answers
}

/// What a bad peer does with its end of the channel, and what the server does with the other end meanwhile.
#[derive(Clone, Copy)]
enum Bad {
    /// Takes ten messages a second of a server that sends as fast as it can.
    Slow,
    /// Connects, and then its whole machine stands still; the server sends as fast as it can.
    Silent,
    /// Sends as fast as it can.
    Flooding,
}

impl Bad {
    /// Lives on a thread of its own until `end` hears something; `begun` is told when it has begun to be bad.
    fn live(self, server: &Api, server_side: &Runtime, begun: &mpsc::Sender<()>, end: oneshot::Receiver<()>) {
        let own = Builder::new_current_thread().enable_all().build().expect("a runtime");
        let Met {
            mut near,
            far,
            peers: _peers,
            ..
        } = own.block_on(async {
            let api = loopback().build().expect("an api");
            meet(&api, server).await.expect("a bad peer connects too")
        });
        _ = begun.send(());
        match self {
            Self::Slow => {
                server_side.spawn(pour(far));
                let slowly = async {
                    while near.recv().await.is_some() {
                        sleep(SLOW).await;
                    }
                };
                own.block_on(until(slowly, end));
            }
            Self::Silent => {
                server_side.spawn(pour(far));
                // Nobody drives its runtime, and so nobody reads its socket.
                _ = end.blocking_recv();
            }
            Self::Flooding => {
                server_side.spawn(sink(far));
                own.block_on(until(pour(near), end));
            }
        }
    }
}

/// Lets something go on until `end` hears something.
async fn until(work: impl Future<Output = ()>, end: oneshot::Receiver<()>) {
    tokio::select! {
        () = work => {}
        _ = end => {}
    }
}

/// Answers a second to each good peer.
fn rates(answers: &[Arc<AtomicU64>], seconds: u64, what: &'static str) -> Vec<f64> {
    let waiting = Builder::new_current_thread().enable_all().build().expect("a runtime");
    let read = || {
        answers
            .iter()
            .map(|count| count.load(Ordering::Relaxed))
            .collect::<Vec<_>>()
    };
    waiting.block_on(wait(WARM_UP, what));
    let (before, start) = (read(), Instant::now());
    waiting.block_on(wait(seconds, what));
    let (after, took) = (read(), start.elapsed().as_secs_f64());
    after
        .iter()
        .zip(before)
        .map(|(after, before)| (after - before) as f64 / took)
        .collect()
}

pub(super) fn run(good_ones: usize, rate: u32, seconds: u64, rounds: u32) -> Result<String, String> {
    let (server_side, good_side) = (threads(1), threads(1));
    let server = {
        let _inside = server_side.enter();
        loopback().one_port(0).build().map_err(|e| e.to_string())?
    };
    let met = good_side.block_on(async {
        let callers = loopback().build().expect("an api");
        meet_many(&callers, &server, good_ones).await
    });
    let (mut kept, mut answers) = (Vec::new(), Vec::new());
    for Met { near, far, peers, .. } in met {
        server_side.spawn(echo(far));
        answers.push(good(near, rate, &good_side));
        kept.push(peers);
    }

    let mut best = (0.0, String::new());
    for round in 1..=rounds {
        let alone = rates(&answers, seconds, "good ones alone");
        let beside = thread::scope(|scope| {
            let (begun, beginning) = mpsc::channel();
            let ends: Vec<_> = [Bad::Slow, Bad::Silent, Bad::Flooding]
                .into_iter()
                .map(|bad| {
                    let (end, ending) = oneshot::channel();
                    let (server, server_side, begun) = (&server, &server_side, begun.clone());
                    scope.spawn(move || bad.live(server, server_side, &begun, ending));
                    end
                })
                .collect();
            drop(begun);
            let all_begun = beginning.iter().take(ends.len()).count() == ends.len();
            let rates = rates(&answers, seconds, "good and bad ones");
            ends.into_iter().for_each(|end| _ = end.send(()));
            all_begun.then_some(rates)
        });
        let beside = beside.ok_or("a bad peer did not connect")?;
        let share = beside.iter().sum::<f64>() / alone.iter().sum::<f64>();
        let least = beside
            .iter()
            .zip(&alone)
            .map(|(beside, alone)| beside / alone)
            .fold(f64::MAX, f64::min);
        let figures = format!(
            "{good_ones} good peers on one port had {:.0} answers a second, and {:.0} beside a slow, a silent and a flooding peer: \
             {:.1} %, the worst of them {:.1} % (round {round})",
            alone.iter().sum::<f64>(),
            beside.iter().sum::<f64>(),
            share * 100.0,
            least * 100.0,
        );
        if share > best.0 {
            best = (share, figures);
        }
        if best.0 >= LEAST {
            return Ok(best.1);
        }
    }
    Err(best.1)
}
