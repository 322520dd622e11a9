//! Peers that all come within a few seconds.

use std::time::Duration;

use antiphon_benches::cost::{at, process_cpu};
use antiphon_benches::meeting::{Met, loopback, meet};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::bar;

pub(super) async fn run(peers: usize, seconds: u64) -> Result<String, String> {
    let callees = loopback().one_port(0).build().map_err(|e| e.to_string())?;
    let callers = loopback().build().map_err(|e| e.to_string())?;
    let coming = bar(peers, "connecting");
    let (start, cpu) = (Instant::now(), process_cpu());
    let apart = Duration::from_secs(seconds) / peers.max(1) as u32;
    let mut meetings: JoinSet<Option<(Met, Duration)>> = JoinSet::new();
    for number in 0..peers {
        sleep_until(start + apart * number as u32).await;
        let (callers, callees, coming) = (callers.clone(), callees.clone(), coming.clone());
        let due = start + apart * number as u32;
        meetings.spawn(async move {
            let met = meet(&callers, &callees).await.ok()?;
            coming.inc(1);
            // From when it was to come, so that nobody's lateness goes uncounted.
            Some((met, due.elapsed()))
        });
    }
    let (mut kept, mut times) = (Vec::new(), Vec::new());
    while let Some(met) = meetings.join_next().await {
        if let Ok(Some((met, took))) = met {
            kept.push(met);
            times.push(took.as_secs_f64() * 1e3);
        }
    }
    let (took, cpu) = (start.elapsed(), process_cpu() - cpu);
    coming.finish_and_clear();
    if times.is_empty() {
        return Err("nobody connected".to_owned());
    }
    let figures = format!(
        "{} of {peers} peers that came within {seconds} s had an open channel: median {:.1} ms, 99 of 100 within {:.1} ms, all within \
         {:.1} ms; {:.2} ms of CPU each; over after {:.1} s",
        times.len(),
        at(&mut times, 0.5),
        at(&mut times, 0.99),
        at(&mut times, 1.0),
        cpu.as_secs_f64() * 1e3 / peers as f64,
        took.as_secs_f64(),
    );
    if kept.len() == peers { Ok(figures) } else { Err(figures) }
}
