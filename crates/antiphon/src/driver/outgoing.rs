//! What the peers of a driver have to say in one turn: written side by side, and sent together.

use antiphon_sansio::{Local, MAX_RUN_BYTES, Transmit, TransmitBuf};

use super::net::Net;
use crate::net::run::Run;

/// Room for one datagram. Machines keep to their own, smaller, MTU.
const MAX_DATAGRAM: usize = 1500;
/// A run that begins in the first half has room for all that the kernel takes at once.
const BUFFER: usize = 2 * (MAX_RUN_BYTES + MAX_DATAGRAM);

/// The buffer that machines write into, and what of it is to be sent where. It is empty between turns, so all drivers of a thread
/// share it.
pub(super) struct Outgoing {
    pub(super) buffer: TransmitBuf,
    /// By socket; a list keeps its memory for the next turn.
    runs: Vec<(u32, Vec<Run>)>,
    /// How many of the lists are in use.
    sockets: usize,
}

impl Outgoing {
    pub(super) fn new() -> Self {
        Self {
            buffer: TransmitBuf::new(BUFFER, MAX_DATAGRAM),
            runs: Vec::new(),
            sockets: 0,
        }
    }

    /// A turn begins.
    pub(super) fn begin(&mut self) {
        self.sockets = 0;
        self.buffer.clear();
    }

    /// Whether a run of any length has room.
    pub(super) fn has_room(&self) -> bool {
        self.buffer.len() <= BUFFER / 2
    }

    /// Takes what a machine wrote. The socket that it will leave by, if it is one.
    pub(super) fn add(&mut self, transmit: &Transmit, net: &mut Net) -> Option<u32> {
        match transmit.path.local {
            Local::Socket(id) => {
                let at = self.runs[..self.sockets].iter().position(|(socket, _)| *socket == id);
                let at = at.unwrap_or_else(|| self.list_for(id));
                self.runs[at].1.push(Run::of(transmit));
                return Some(id);
            }
            Local::Tcp(id) => {
                if let Some(connection) = net.connection_mut(id) {
                    connection.write(self.buffer.bytes(transmit.range.clone()));
                }
            }
            // Relays are sockets of the agent's own making: what goes through them leaves on a socket or a connection.
            Local::Relay(_) => {}
        }
        None
    }

    fn list_for(&mut self, socket: u32) -> usize {
        let at = self.sockets;
        self.sockets += 1;
        match self.runs.get_mut(at) {
            Some((of, runs)) => {
                *of = socket;
                runs.clear();
            }
            None => self.runs.push((socket, Vec::new())),
        }
        at
    }

    /// Sends everything, and begins anew.
    pub(super) fn flush(&mut self, net: &mut Net) {
        for (socket, runs) in &mut self.runs[..self.sockets] {
            // A socket that was closed in this turn sends nothing more.
            if let Some(queued) = net.socket_mut(*socket) {
                queued.send(runs, self.buffer.bytes(0..self.buffer.len()));
            }
        }
        self.begin();
    }
}
