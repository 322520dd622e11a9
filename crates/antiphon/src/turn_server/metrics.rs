//! Figures for Prometheus, in its text format, over a minimal HTTP.

use std::fmt::Write as _;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};

use super::core::Command;
use super::stats::TurnServerStats;

/// The longest request that is read.
const MAX_REQUEST: usize = 4096;
/// How long a reader may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Answers one reader after the other until the server ends.
pub(super) async fn serve(listener: TcpListener, server: mpsc::WeakSender<Command>) {
    loop {
        let accepted = tokio::time::timeout(Duration::from_secs(1), listener.accept()).await;
        let Some(server) = server.upgrade() else { return };
        match accepted {
            Ok(Ok((stream, _))) => _ = tokio::time::timeout(PATIENCE, answer(stream, &server)).await,
            Ok(Err(error)) => {
                tracing::warn!(%error, "metrics");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
            Err(_) => {}
        }
    }
}

async fn answer(mut stream: TcpStream, server: &mpsc::Sender<Command>) -> Option<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|window| window == b"\r\n\r\n") {
        let len = stream.read_buf(&mut request).await.ok()?;
        if len == 0 || request.len() > MAX_REQUEST {
            return None;
        }
    }
    let (status, body) = if request.starts_with(b"GET /metrics ") || request.starts_with(b"GET / ") {
        let (answer, answered) = oneshot::channel();
        server.send(Command::Stats(answer)).await.ok()?;
        ("200 OK", text(&answered.await.ok()?))
    } else {
        ("404 Not Found", "GET /metrics\n".to_owned())
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await.ok()?;
    stream.write_all(body.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}

/// The exposition format: a type and a value for each figure.
fn text(stats: &TurnServerStats) -> String {
    let c = &stats.counters;
    let gauges = [
        ("allocations", stats.allocations as u64),
        ("connections", stats.connections as u64),
    ];
    let counters = [
        ("refused_connections", stats.refused_connections),
        ("unsent", stats.unsent),
        ("bindings", c.bindings),
        ("allocated", c.allocated),
        ("malformed", c.malformed),
        ("unauthorized", c.unauthorized),
        ("stale_nonces", c.stale_nonces),
        ("throttled", c.throttled),
        ("over_quota", c.over_quota),
        ("denied_peers", c.denied_peers),
        ("not_permitted", c.not_permitted),
        ("overflow", c.overflow),
        ("over_allocation_rate", c.over_allocation_rate),
        ("over_user_rate", c.over_user_rate),
        ("over_total_rate", c.over_total_rate),
        ("bytes_over_rate", c.bytes_over_rate),
        ("datagrams_to_peers", c.to_peers),
        ("datagrams_to_clients", c.to_clients),
        ("bytes_to_peers", c.bytes_to_peers),
        ("bytes_to_clients", c.bytes_to_clients),
    ];
    let mut text = String::new();
    for (name, value) in gauges {
        let _ = writeln!(text, "# TYPE antiphon_turn_{name} gauge\nantiphon_turn_{name} {value}");
    }
    for (name, value) in counters {
        let _ = writeln!(
            text,
            "# TYPE antiphon_turn_{name}_total counter\nantiphon_turn_{name}_total {value}"
        );
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mend20_what_the_caps_dropped_is_a_figure_each() {
        let mut stats = TurnServerStats::default();
        stats.counters.over_allocation_rate = 11;
        stats.counters.over_user_rate = 12;
        stats.counters.over_total_rate = 13;
        stats.counters.bytes_over_rate = 14;
        let text = text(&stats);
        for line in [
            "antiphon_turn_over_allocation_rate_total 11",
            "antiphon_turn_over_user_rate_total 12",
            "antiphon_turn_over_total_rate_total 13",
            "antiphon_turn_bytes_over_rate_total 14",
        ] {
            assert!(text.lines().any(|l| l == line), "{line}");
        }
    }

    #[test]
    fn every_line_is_a_type_or_a_value() {
        let text = text(&TurnServerStats {
            allocations: 3,
            ..TurnServerStats::default()
        });
        assert!(text.contains("\nantiphon_turn_allocations 3\n"));
        for line in text.lines() {
            let words: Vec<&str> = line.split(' ').collect();
            match words[..] {
                ["#", "TYPE", name, kind] => {
                    assert!(name.starts_with("antiphon_turn_") && ["gauge", "counter"].contains(&kind))
                }
                [name, value] => assert!(name.starts_with("antiphon_turn_") && value.parse::<u64>().is_ok()),
                _ => panic!("{line}"),
            }
        }
    }
}
