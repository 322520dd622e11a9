//! Pairs that have nothing to say.

use std::time::{Duration, Instant};

use antiphon::Message;
use antiphon_benches::cost::{process_cpu, resident_kib};
use antiphon_benches::meeting::{Met, loopback, meet_many};
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::{bar, wait};

/// What connecting leaves to be done is done after so long.
const CALM: u64 = 3;
/// An answer that takes longer than this does not come.
const PATIENCE: Duration = Duration::from_secs(60);

/// Asks, answers, and hears the answer.
async fn answers(met: Met) -> bool {
    let Met {
        mut near,
        mut far,
        peers: _peers,
        ..
    } = met;
    let asked = async {
        near.send_text("are you there?").await.ok()?;
        let Message { kind, data } = far.recv().await?;
        far.send(Message { kind, data }).await.ok()?;
        near.recv().await
    };
    matches!(timeout(PATIENCE, asked).await, Ok(Some(_)))
}

pub(super) async fn run(pairs: usize, seconds: u64) -> Result<String, String> {
    let callees = loopback().one_port(0).build().map_err(|e| e.to_string())?;
    let callers = loopback().build().map_err(|e| e.to_string())?;
    let empty = resident_kib();
    let connecting = bar(pairs, "connecting");
    let start = Instant::now();
    let mut met = Vec::with_capacity(pairs);
    while met.len() < pairs {
        let some = (pairs - met.len()).min(100);
        met.extend(meet_many(&callers, &callees, some).await);
        connecting.inc(some as u64);
    }
    connecting.finish_and_clear();
    let connected = start.elapsed();
    wait(CALM, "calming down").await;
    let (cpu, start) = (process_cpu(), Instant::now());
    wait(seconds, "idle").await;
    let (cpu, idle) = (process_cpu() - cpu, start.elapsed());
    let resident = resident_kib() - empty;

    let asking = bar(pairs, "asking");
    let mut asked: JoinSet<bool> = met.into_iter().map(answers).collect();
    let mut answered = 0;
    while let Some(answer) = asked.join_next().await {
        answered += usize::from(answer.is_ok_and(|answer| answer));
        asking.inc(1);
    }
    asking.finish_and_clear();
    let figures = format!(
        "{pairs} idle pairs on one port: {} MiB, {} KiB a pair; {:.1} us of CPU a pair and second; {answered} answered a message \
         after {} s; they had connected in {:.1} s",
        resident / 1024,
        resident / pairs as u64,
        cpu.as_secs_f64() * 1e6 / pairs as f64 / idle.as_secs_f64(),
        idle.as_secs(),
        connected.as_secs_f64(),
    );
    if answered == pairs { Ok(figures) } else { Err(figures) }
}
