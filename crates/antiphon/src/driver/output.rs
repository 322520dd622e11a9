//! From the machines to the kernel.

use std::time::Instant;

use antiphon_sansio::{Local, Path};

use super::Driver;
use super::batch::Batch;
use crate::hosted::Hosted;
use crate::router::PeerId;
use crate::socket::Socket;

impl Driver {
    /// Sends one buffer full; says whether there may be more.
    pub(super) fn transmit(&mut self, id: PeerId, peer: &mut Hosted, now: Instant) -> bool {
        // Who sends on a socket whose kernel buffer is full waits for it; peers of other sockets go on.
        if peer
            .sends_on
            .is_some_and(|socket| self.sockets.get(&socket).is_some_and(Socket::is_blocked))
        {
            return false;
        }
        self.out.clear();
        let mut batch: Option<Batch> = None;
        let mut more = true;
        while self.out.has_room() {
            let Some(next) = peer.core.poll_transmit(now, &mut self.out) else {
                more = false;
                break;
            };
            if self.shared_port.is_some()
                && next.segment_size.is_none()
                && let Local::Socket(socket) = next.path.local
                && !self.owners.contains_key(&socket)
            {
                self.router.sent(id, self.out.bytes(next.range.clone()));
            }
            let next = Batch::new(next);
            let limit = self.segment_limit(next.path);
            if batch.as_mut().is_some_and(|open| open.join(&next, limit)) {
                continue;
            }
            if let Some(full) = batch.replace(next) {
                self.send(peer, full);
            }
        }
        if let Some(last) = batch {
            self.send(peer, last);
        }
        more
    }

    fn segment_limit(&self, path: Path) -> usize {
        match path.local {
            Local::Socket(id) => self.sockets.get(&id).map_or(1, Socket::max_segments),
            _ => 1,
        }
    }

    fn send(&mut self, peer: &mut Hosted, batch: Batch) {
        let contents = self.out.bytes(batch.start..batch.end);
        match batch.path.local {
            Local::Socket(id) => {
                let Some(socket) = self.sockets.get_mut(&id) else {
                    return;
                };
                let segment_size = (contents.len() > batch.segment).then_some(batch.segment);
                socket.send(batch.path.remote, batch.ecn, segment_size, contents);
                peer.sends_on = Some(id);
            }
            Local::Tcp(id) => {
                if let Some(connection) = self.connections.get_mut(&id) {
                    connection.write(contents);
                }
            }
            // Relays are sockets of the agent's own making: what goes through them leaves on a socket or a connection.
            Local::Relay(_) => {}
        }
    }
}
