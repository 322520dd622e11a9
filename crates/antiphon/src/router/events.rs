//! What happens in a router, told to each who listens.

use antiphon_sfu::router::Event;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;

/// What happens in a router, for one listener. The newest 256 events wait for it.
#[derive(Debug)]
pub struct RouterEvents {
    events: Receiver<Event>,
    missed: u64,
}

impl RouterEvents {
    pub(super) fn new(events: Receiver<Event>) -> Self {
        Self { events, missed: 0 }
    }

    /// The next event; `None` once the router is gone and everything was told. Cancel safe.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            match self.events.recv().await {
                Ok(event) => return Some(event),
                Err(RecvError::Lagged(count)) => self.missed += count,
                Err(RecvError::Closed) => return None,
            }
        }
    }

    /// How many events came so long before they were asked for that they are lost.
    pub fn missed(&self) -> u64 {
        self.missed
    }
}
