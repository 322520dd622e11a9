//! What the driver's tasks report: answers to requests, connections and what comes on them.

use std::time::Instant;

use antiphon_ice::IoEvent;
use antiphon_sansio::{Datagram, Ecn, Local, Path};

use super::Driver;
use super::message::{Accepted, Report};
use super::requests::failed;
use crate::net::tcp::{Connection, requested_ufrag};

/// Accepted connections of one peer; more are closed at once.
const MAX_ACCEPTED: usize = 64;

impl Driver {
    /// Takes the word of a task.
    pub(super) fn reported(&mut self, report: Report, now: Instant) {
        match report {
            Report::Io(id, event) => self.peers.tell(id, event, now),
            Report::Connected { id, addr } => {
                let Some(connection) = self.net.connection_mut(id) else {
                    return;
                };
                connection.addr = Some(addr);
                let (owner, request) = (connection.owner, connection.request.take());
                if let Some(request) = request {
                    let local = Local::Tcp(id);
                    self.peers
                        .tell(owner, IoEvent::TcpConnected { request, local, addr }, now);
                }
            }
            Report::ConnectFailed { id, reason } => {
                if let Some(mut connection) = self.connection_gone(id)
                    && let Some(request) = connection.request.take()
                {
                    self.peers.tell(connection.owner, failed(request, reason), now);
                }
            }
            Report::Accepted { listener, accepted } => self.accepted(listener, *accepted, now),
            Report::Message { id, data } => {
                let Some(connection) = self.net.connection_mut(id) else {
                    return;
                };
                let path = Path {
                    local: Local::Tcp(id),
                    remote: connection.remote,
                };
                let ecn = Ecn::NotEct;
                let owner = connection.owner;
                self.peers.deliver(owner, Datagram { path, ecn, data }, now);
            }
            Report::Ended { id } => {
                if let Some(connection) = self.connection_gone(id) {
                    let local = Local::Tcp(id);
                    self.peers.tell(connection.owner, IoEvent::Closed { local }, now);
                }
            }
        }
    }

    /// A connection has ended by itself: its peer holds it no more.
    fn connection_gone(&mut self, id: u32) -> Option<Connection> {
        let connection = self.net.remove_connection(id)?;
        if let Some(peer) = self.peers.get_mut(connection.owner) {
            peer.holds.retain(|held| *held != Local::Tcp(id));
        }
        Some(connection)
    }

    /// Somebody connected and asks for one of our peers, who decides whether to believe it.
    fn accepted(&mut self, listener: u32, accepted: Accepted, now: Instant) {
        let Some(ufrag) = requested_ufrag(&accepted.first) else {
            return;
        };
        let reporting = self.reporting();
        let owner = if self.net.shared_port.is_some() {
            self.peers.router.by_ufrag(&ufrag)
        } else {
            let mut peers = self.peers.iter();
            peers
                .find(|(_, peer)| peer.core.local_ufrag() == ufrag)
                .map(|(id, _)| id)
        };
        let remote = accepted.remote;
        let Some((id, peer)) = owner.and_then(|id| self.peers.get_mut(id).map(|peer| (id, peer))) else {
            tracing::debug!(%remote, "a connection for nobody");
            return;
        };
        let listens = peer.listens.iter().find(|(_, held)| *held == listener);
        let (Some((request, _)), Ok(addr)) = (listens.copied(), accepted.stream.local_addr()) else {
            return;
        };
        let held = peer.holds.iter().filter(|held| matches!(held, Local::Tcp(_))).count();
        let number = self.net.new_connection_id().filter(|_| held < MAX_ACCEPTED);
        let Some(number) = number else {
            tracing::debug!(%remote, "too many connections");
            return;
        };
        let local = Local::Tcp(number);
        peer.holds.push(local);
        let (mut connection, outgoing) = Connection::new(id, remote);
        connection.addr = Some(addr);
        connection.start(number, accepted.stream, accepted.framer, outgoing, reporting);
        self.net.add_connection(number, connection);
        let event = IoEvent::TcpAccepted {
            request,
            local,
            addr,
            remote,
        };
        self.peers.tell(id, event, now);
        let datagram = Datagram {
            path: Path { local, remote },
            ecn: Ecn::NotEct,
            data: accepted.first,
        };
        self.peers.deliver(id, datagram, now);
    }
}
