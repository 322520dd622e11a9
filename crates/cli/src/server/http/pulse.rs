//! Whether the far end of a WebSocket is still there.

use std::time::Duration;

use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at};

/// What a WebSocket reads at once, in bytes: most signals fit, and a longer one takes more reads. The library's own 128 KiB
/// would be what a stranger's idle socket costs.
pub(in crate::server) const READ_AT_ONCE: usize = 4096;
/// A client that takes nothing for so long is gone.
pub(in crate::server) const SEND_LIMIT: Duration = Duration::from_secs(10);

/// What to do now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Beat {
    /// Ask whether it is there.
    Ping,
    /// It has not answered.
    Dead,
}

/// Pings go out at a steady pace; anything that comes in is a sign of life.
#[derive(Debug)]
pub(in crate::server) struct Pulse {
    ticks: Interval,
    heard: bool,
}

impl Pulse {
    /// A ping each `every`, which is also how long the answer may take.
    pub(in crate::server) fn new(every: Duration) -> Self {
        let mut ticks = interval_at(Instant::now() + every, every);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self { ticks, heard: true }
    }

    /// Something came.
    pub(in crate::server) fn heard(&mut self) {
        self.heard = true;
    }

    /// The next thing to do. Cancel safe.
    pub(in crate::server) async fn beat(&mut self) -> Beat {
        self.ticks.tick().await;
        if std::mem::take(&mut self.heard) {
            Beat::Ping
        } else {
            Beat::Dead
        }
    }
}
