//! The server's UDP sockets: those of clients, and the relayed ones.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::task::{Context, Poll};

use antiphon_sansio::{Local, Transmit};
use foldhash::fast::FixedState;

use crate::net::ready::{Place, ReadySet};
use crate::net::run::Run;
use crate::net::scratch::Scratch;
use crate::net::socket::Socket;

/// One bound socket.
struct Udp {
    socket: Socket,
    place: Place,
    /// What is to be sent on it.
    runs: Vec<Run>,
}

/// All of them.
#[derive(Default)]
pub(super) struct Sockets {
    /// By the number of `Local::Socket`.
    listening: Vec<Udp>,
    /// By the number of `Local::Relay`.
    relayed: HashMap<u32, Udp, FixedState>,
    ready: ReadySet,
    /// Those that have something to send.
    sending: Vec<Local>,
}

impl Sockets {
    /// Takes a socket of clients, and gives it a name.
    pub(super) fn listen(&mut self, socket: Socket) -> Local {
        let local = Local::Socket(self.listening.len() as u32);
        let udp = self.udp(local, socket);
        self.listening.push(udp);
        local
    }

    /// Takes a relayed socket.
    pub(super) fn relay(&mut self, number: u32, socket: Socket) -> Local {
        let local = Local::Relay(number);
        let udp = self.udp(local, socket);
        self.relayed.insert(number, udp);
        local
    }

    fn udp(&self, local: Local, socket: Socket) -> Udp {
        Udp {
            socket,
            place: self.ready.place(local),
            runs: Vec::new(),
        }
    }

    /// Closes a relayed socket.
    pub(super) fn close_relay(&mut self, number: u32) {
        self.relayed.remove(&number);
    }

    /// The addresses of the sockets of clients.
    pub(super) fn listening(&self) -> Vec<SocketAddr> {
        self.listening.iter().map(|udp| udp.socket.addr()).collect()
    }

    fn get_mut(&mut self, local: Local) -> Option<&mut Udp> {
        match local {
            Local::Socket(number) => self.listening.get_mut(number as usize),
            Local::Relay(number) => self.relayed.get_mut(&number),
            Local::Tcp(_) => None,
        }
    }

    fn get(&self, local: Local) -> Option<&Udp> {
        match local {
            Local::Socket(number) => self.listening.get(number as usize),
            Local::Relay(number) => self.relayed.get(&number),
            Local::Tcp(_) => None,
        }
    }

    /// Ready when there are sockets to be looked at, whose names it adds to `names`.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>, names: &mut Vec<Local>) -> Poll<()> {
        self.ready.poll(cx, names)
    }

    /// Takes what one system call gives, if anything waits: how many datagrams are in `scratch`.
    pub(super) fn receive(&self, local: Local, scratch: &mut Scratch) -> Option<usize> {
        let udp = self.get(local)?;
        if !udp.place.is_readable(&udp.socket) {
            return None;
        }
        // Whoever sends is somebody: the machine says who may have what.
        match udp.socket.receive(scratch, |_, _| true) {
            Ok(received) => Some(received.wanted),
            // ICMP errors of earlier datagrams surface here; the socket itself is fine.
            Err(error) => {
                tracing::debug!(%local, %error, "receive");
                Some(0)
            }
        }
    }

    /// Has this socket looked at again: there may be more in it than was taken.
    pub(super) fn note(&self, local: Local) {
        if let Some(udp) = self.get(local) {
            udp.place.note();
        }
    }

    /// Has this sent by the next [`flush`](Self::flush); `false` if there is no such socket.
    pub(super) fn send(&mut self, transmit: &Transmit) -> bool {
        let local = transmit.path.local;
        let Some(udp) = self.get_mut(local) else {
            return false;
        };
        udp.runs.push(Run::of(transmit));
        if udp.runs.len() == 1 {
            self.sending.push(local);
        }
        true
    }

    /// Sends it, whose bytes are in `buffer`. Says how many datagrams the system did not take: they are lost, as on any
    /// link.
    pub(super) fn flush(&mut self, buffer: &[u8]) -> u64 {
        let mut unsent = 0;
        while let Some(local) = self.sending.pop() {
            let Some(udp) = self.get_mut(local) else { continue };
            let sent = udp.socket.send(&udp.runs, buffer);
            let left: usize = udp.runs[sent.runs..].iter().map(Run::count).sum();
            unsent += sent.lost + left as u64;
            udp.runs.clear();
        }
        unsent
    }
}
