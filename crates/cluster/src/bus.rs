//! Whether the bus works. A node hears its own heartbeats: a bus that does not bring them back brings nobody else's
//! either, however connected it looks, and then nobody's silence means anything.

use std::time::{Duration, Instant};

#[derive(Debug)]
pub(crate) struct Bus {
    beat: Duration,
    /// Whether the client of the bus says that it is connected.
    connected: bool,
    /// When the next heartbeat is due, while connected.
    next: Option<Instant>,
    /// Whether a heartbeat is to be published.
    due: bool,
    /// When our own heartbeat was heard last, while the bus works.
    echo: Option<Instant>,
}

impl Bus {
    pub(crate) fn new(beat: Duration) -> Self {
        Self {
            beat,
            connected: false,
            next: None,
            due: false,
            echo: None,
        }
    }

    pub(crate) fn works(&self) -> bool {
        self.echo.is_some()
    }

    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }

    pub(crate) fn connect(&mut self, now: Instant) {
        self.connected = true;
        self.due = true;
        self.next = Some(now + self.beat);
    }

    /// Whether it worked until now.
    pub(crate) fn disconnect(&mut self) -> bool {
        self.connected = false;
        self.due = false;
        self.next = None;
        self.echo.take().is_some()
    }

    /// Our own heartbeat is heard. Whether the bus did not work until now.
    pub(crate) fn hear_own(&mut self, now: Instant) -> bool {
        // What comes after the end of a connection was on its way before.
        self.connected && self.echo.replace(now).is_none()
    }

    /// Whether the bus has ceased to work.
    pub(crate) fn handle_timeout(&mut self, now: Instant) -> bool {
        if self.next.is_some_and(|next| next <= now) {
            self.due = true;
            self.next = Some(now + self.beat);
        }
        let ceased = self.ceases().is_some_and(|at| at <= now);
        if ceased {
            self.echo = None;
        }
        ceased
    }

    /// Takes the heartbeat that is due.
    pub(crate) fn take_due(&mut self) -> bool {
        std::mem::take(&mut self.due)
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.next.into_iter().chain(self.ceases()).min()
    }

    /// Three heartbeats that do not come back.
    fn ceases(&self) -> Option<Instant> {
        Some(self.echo? + 3 * self.beat)
    }
}
