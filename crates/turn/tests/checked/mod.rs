//! A server that is held to the laws at every call.

use std::ops::{Deref, DerefMut};
use std::time::Instant;

use antiphon_netsim::{Checked, Machine};
use antiphon_sansio::{Datagram, Rng, Transmit, TransmitBuf};
use antiphon_turn::{Server, ServerConfig};

/// A server as the tests' network sees it. It has no events: what it has done is in its answers and its counters.
pub(crate) struct ServerMachine(Server);

/// A checked server.
pub(crate) fn server(config: ServerConfig, now: Instant, rng: Rng) -> Checked<ServerMachine> {
    Checked::new(ServerMachine(Server::new(config, now, rng)))
}

impl Deref for ServerMachine {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.0
    }
}

impl DerefMut for ServerMachine {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.0
    }
}

impl Machine for ServerMachine {
    type Event = ();

    fn handle_datagram(&mut self, now: Instant, datagram: Datagram) {
        self.0.handle_datagram(now, datagram);
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.0.handle_timeout(now);
    }

    fn poll_transmit(&mut self, _now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        self.0.poll_transmit(out)
    }

    fn poll_event(&mut self) -> Option<()> {
        None
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.0.poll_timeout()
    }

    fn close(&mut self, _now: Instant) {
        self.0.close();
    }

    fn is_relay(&self) -> bool {
        true
    }
}
