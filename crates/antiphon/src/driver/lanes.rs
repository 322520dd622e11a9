//! Queues of their own for the peers of a shared socket, while strangers crowd it.
//!
//! The kernel has one queue for each socket. When strangers send more than can be read, what peers send is lost among it. A second
//! socket that is bound to the same address and connected to a peer's gets all that comes from there, and has its own queue; what is
//! left in the first can then be read at leisure. Peers have such a lane only as long as it is needed, for it costs a descriptor.

use std::net::SocketAddr;
use std::task::Context;
use std::time::{Duration, Instant};

use super::router::Router;
use crate::net::socket::Socket;

/// Lanes at a time. The peers beyond stay in the common queue.
const MAX_LANES: usize = 256;
/// How long lanes stay after the crowd was last seen.
const LIFE: Duration = Duration::from_secs(10);

/// The way from one address to one of our sockets.
pub(super) struct Lane {
    /// The shared socket that it belongs to.
    pub(super) socket: u32,
    remote: SocketAddr,
    pub(super) io: Socket,
}

/// All of a driver's.
#[derive(Default)]
pub(super) struct Lanes {
    list: Vec<Lane>,
    /// When a crowd was last seen.
    crowded_at: Option<Instant>,
    /// Sockets whose peers have lanes, as of which generation of the router.
    made: Vec<(u32, u64)>,
}

impl Lanes {
    /// Strangers crowd this socket: its peers get lanes, unless they have them.
    pub(super) fn crowded(&mut self, now: Instant, id: u32, socket: &Socket, router: &Router) {
        self.crowded_at = Some(now);
        let generation = router.generation();
        if self.made.contains(&(id, generation)) {
            return;
        }
        self.made.retain(|(known, _)| *known != id);
        self.made.push((id, generation));
        self.list.retain(|lane| router.knows(lane.socket, lane.remote));
        for remote in router.known_at(id) {
            if self.list.len() >= MAX_LANES {
                break;
            }
            if self.list.iter().any(|lane| lane.socket == id && lane.remote == remote) {
                continue;
            }
            match socket.connected(remote) {
                Ok(io) => self.list.push(Lane { socket: id, remote, io }),
                Err(error) => {
                    tracing::debug!(%remote, %error, "no queue of its own");
                    break;
                }
            }
        }
        tracing::debug!(local = %socket.addr(), lanes = self.list.len(), "strangers crowd the port");
    }

    /// Whether the strangers can wait: peers are heard without them.
    pub(super) fn are_open(&self, id: u32) -> bool {
        self.list.iter().any(|lane| lane.socket == id)
    }

    /// The lanes to be read. The crowd may be gone: then they are read for the last time.
    pub(super) fn iter(&self) -> impl Iterator<Item = &Lane> {
        self.list.iter()
    }

    /// Closes the lanes when they are not needed any more, after they were read.
    pub(super) fn expire(&mut self, now: Instant) {
        if self.crowded_at.is_some_and(|at| at + LIFE <= now) {
            *self = Self::default();
        }
    }

    /// The shared socket is gone.
    pub(super) fn close(&mut self, id: u32) {
        self.list.retain(|lane| lane.socket != id);
        self.made.retain(|(known, _)| *known != id);
    }

    /// Whether anything waits in a lane.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> bool {
        self.list
            .iter()
            .fold(false, |ready, lane| ready | lane.io.poll_readable(cx).is_ready())
    }
}
