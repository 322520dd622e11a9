//! The sockets, connections and listeners of one driver, whose they are, and what comes in by them.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::task::Context;
use std::time::{Duration, Instant};

use antiphon_ice::FIRST_RESERVED_CONNECTION;
use antiphon_sansio::{Local, Path};
use tokio::sync::mpsc;

use super::lanes::Lanes;
use super::message::{PeerId, Report};
use super::peers::Peers;
use super::share::Share;
use crate::net::queue::QueuedSocket;
use crate::net::scratch::Scratch;
use crate::net::socket::{LARGE_BUFFER, PEER_BUFFER, Socket};
use crate::net::tcp::{Connection, Listener};

/// What is taken from one socket before the others have their turn: bytes and batches for peers, and batches of strangers alone, which
/// cost next to nothing each and must not stand in the way of the rest.
const MAX_BYTES: usize = 4 * 1024 * 1024;
const MAX_BATCHES: usize = 32;
const MAX_STRANGE_BATCHES: usize = 64;
/// The same of strangers where the peers have queues of their own.
const MAX_PATIENT_BATCHES: usize = 4;
/// A socket at which nobody but strangers came is not looked at for a while: they can wait in the kernel, and what they cost is then
/// the reading alone. To wake for each of them costs several times that (measured).
const REST: Duration = Duration::from_millis(1);
/// Strangers that came in one turn to a shared socket, whose peers then get queues of their own in the kernel.
const CROWD: usize = 64;
/// Connections of all peers of one driver.
const MAX_CONNECTIONS: usize = 16 * 1024;

/// What a driver has open.
#[derive(Default)]
pub(super) struct Net {
    /// In one-port mode: every socket is bound to this port (0 until the first is bound) and shared by all peers.
    pub(super) shared_port: Option<u16>,
    /// Boxed: a map of one would have room for eleven.
    sockets: BTreeMap<u32, Box<QueuedSocket>>,
    by_address: HashMap<IpAddr, u32>,
    /// Of the sockets that peers share.
    shares: HashMap<u32, Share>,
    next_socket: u32,
    /// Whose a socket is. Shared sockets have no owner.
    owners: HashMap<u32, PeerId>,
    /// Sockets that are not looked at before this.
    resting: HashMap<u32, Instant>,
    lanes: Lanes,
    connections: HashMap<u32, Connection>,
    next_connection: u32,
    listeners: HashMap<u32, Listener>,
    listening_on: HashMap<IpAddr, u32>,
    next_listener: u32,
}

impl Net {
    /// In one-port mode: binds the port on these addresses, or none of them.
    pub(super) fn bind_shared(&mut self, addresses: &[IpAddr]) -> Result<(), (SocketAddr, io::Error)> {
        let asked = self.shared_port;
        for ip in addresses {
            let addr = SocketAddr::new(*ip, 0);
            if let Err(error) = self.shared_socket(addr) {
                self.sockets.clear();
                self.by_address.clear();
                self.shared_port = asked;
                return Err((addr, error));
            }
        }
        Ok(())
    }

    /// The addresses that sockets are bound to now.
    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.values().map(|socket| socket.addr()).collect()
    }

    /// Whose socket or connection this is, if it is one peer's alone.
    pub(super) fn owner(&self, local: Local) -> Option<PeerId> {
        match local {
            Local::Socket(id) => self.owners.get(&id).copied(),
            Local::Tcp(id) => self.connections.get(&id).map(|connection| connection.owner),
            Local::Relay(_) => None,
        }
    }

    /// Whether this is a socket of all peers.
    pub(super) fn is_shared(&self, local: Local) -> bool {
        matches!(local, Local::Socket(id) if self.shared_port.is_some() && !self.owners.contains_key(&id))
    }

    /// A socket of this peer's own.
    pub(super) fn bind(&mut self, owner: PeerId, addr: SocketAddr) -> io::Result<(u32, SocketAddr)> {
        let (id, addr) = self.new_socket(addr, PEER_BUFFER)?;
        self.owners.insert(id, owner);
        Ok((id, addr))
    }

    /// The socket of all peers at this address.
    pub(super) fn shared_socket(&mut self, addr: SocketAddr) -> io::Result<(u32, SocketAddr)> {
        if let Some(id) = self.by_address.get(&addr.ip())
            && let Some(socket) = self.sockets.get(id)
        {
            return Ok((*id, socket.addr()));
        }
        let port = self.shared_port.unwrap_or(0);
        let (id, addr) = self.new_socket(SocketAddr::new(addr.ip(), port), LARGE_BUFFER)?;
        self.shared_port = Some(addr.port());
        self.by_address.insert(addr.ip(), id);
        if let Some(queued) = self.sockets.get(&id) {
            self.shares.insert(id, Share::new(queued.socket.receive_buffer()));
        }
        Ok((id, addr))
    }

    fn new_socket(&mut self, addr: SocketAddr, buffer: usize) -> io::Result<(u32, SocketAddr)> {
        let socket = Box::new(QueuedSocket::new(Socket::bind(addr, buffer)?));
        let (id, addr) = (self.next_socket, socket.addr());
        self.next_socket = id.wrapping_add(1);
        self.sockets.insert(id, socket);
        Ok((id, addr))
    }

    /// Whether anything waits in a socket. Registers those in which nothing does.
    pub(super) fn poll_ready(&self, cx: &mut Context<'_>) -> bool {
        let mut ready = self.lanes.poll_ready(cx);
        for (id, socket) in &self.sockets {
            if !self.resting.contains_key(id) {
                ready |= socket.poll_ready(cx).is_ready();
            }
        }
        ready
    }

    /// Whether what was sent on this socket still waits for room in the kernel.
    pub(super) fn is_blocked(&self, socket: u32) -> bool {
        self.sockets.get(&socket).is_some_and(|socket| socket.is_blocked())
    }

    pub(super) fn socket_mut(&mut self, id: u32) -> Option<&mut QueuedSocket> {
        self.sockets.get_mut(&id).map(Box::as_mut)
    }

    /// When the first of the sockets that rest is looked at again.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.resting.values().min().copied()
    }

    /// A number for a connection; `None` while there are too many.
    pub(super) fn new_connection_id(&mut self) -> Option<u32> {
        if self.connections.len() >= MAX_CONNECTIONS {
            return None;
        }
        let id = self.next_connection;
        self.next_connection = (id + 1) % FIRST_RESERVED_CONNECTION;
        Some(id)
    }

    pub(super) fn add_connection(&mut self, id: u32, connection: Connection) {
        self.connections.insert(id, connection);
    }

    pub(super) fn connection_mut(&mut self, id: u32) -> Option<&mut Connection> {
        self.connections.get_mut(&id)
    }

    pub(super) fn remove_connection(&mut self, id: u32) -> Option<Connection> {
        self.connections.remove(&id)
    }

    /// In one-port mode one listener per interface serves all peers, on the port that UDP has if nobody else has it.
    pub(super) fn listen(&mut self, addr: SocketAddr, reports: &mpsc::Sender<Report>) -> io::Result<(u32, SocketAddr)> {
        if self.shared_port.is_some()
            && let Some(id) = self.listening_on.get(&addr.ip())
            && let Some(listener) = self.listeners.get(id)
        {
            return Ok((*id, listener.addr));
        }
        let id = self.next_listener;
        let start = |addr| Listener::start(id, addr, reports.clone());
        let listener = match self.shared_port {
            Some(port) => start(SocketAddr::new(addr.ip(), port)).or_else(|_| start(addr)),
            None => start(addr),
        }?;
        let bound = listener.addr;
        self.next_listener = id.wrapping_add(1);
        self.listeners.insert(id, listener);
        if self.shared_port.is_some() {
            self.listening_on.insert(addr.ip(), id);
        }
        Ok((id, bound))
    }

    /// A peer listens no more. Others may.
    pub(super) fn stop_listening(&mut self, listener: u32) {
        if self.shared_port.is_none() {
            self.drop_listener(listener);
        }
    }

    pub(super) fn drop_listener(&mut self, listener: u32) {
        if self.listeners.remove(&listener).is_some() {
            self.listening_on.retain(|_, held| *held != listener);
        }
    }

    /// Closes a socket or a connection.
    pub(super) fn close(&mut self, local: Local) {
        match local {
            Local::Socket(id) => {
                self.lanes.close(id);
                self.shares.remove(&id);
                let owned = self.owners.remove(&id).is_some();
                if let Some(socket) = self.sockets.remove(&id)
                    && !owned
                {
                    self.by_address.remove(&socket.addr().ip());
                }
            }
            Local::Tcp(id) => _ = self.connections.remove(&id),
            Local::Relay(_) => {}
        }
    }

    /// The sockets and connections at addresses that do not exist any more.
    pub(super) fn without_address(&self, exists: impl Fn(IpAddr) -> bool) -> Vec<Local> {
        let sockets = self.sockets.iter().filter(|(_, socket)| !exists(socket.addr().ip()));
        let connections = self
            .connections
            .iter()
            .filter(|(_, connection)| connection.addr.is_some_and(|addr| !exists(addr.ip())));
        sockets
            .map(|(id, _)| Local::Socket(*id))
            .chain(connections.map(|(id, _)| Local::Tcp(*id)))
            .collect()
    }

    /// The listeners at addresses that do not exist any more.
    pub(super) fn listeners_without_address(&self, exists: impl Fn(IpAddr) -> bool) -> Vec<u32> {
        let listeners = self.listeners.iter();
        listeners
            .filter(|(_, listener)| !exists(listener.addr.ip()))
            .map(|(id, _)| *id)
            .collect()
    }
}

/// What comes in.
impl Net {
    /// Takes what the kernel holds, within bounds, and hands it to its peers.
    pub(super) fn receive(&mut self, peers: &mut Peers, scratch: &mut Scratch, now: Instant) {
        self.receive_lanes(peers, scratch, now);
        let Self {
            sockets,
            owners,
            resting,
            lanes,
            shares,
            ..
        } = self;
        resting.retain(|_, until| *until > now);
        for (id, queued) in sockets.iter_mut() {
            if queued.is_blocked() {
                queued.flush();
                // Peers that were held back go on.
                if !queued.is_blocked() {
                    peers.wake_where(|_, peer| peer.sends_on == Some(*id));
                }
            }
            if resting.contains_key(id) {
                continue;
            }
            let owner = owners.get(id).copied();
            let patience = if lanes.are_open(*id) {
                MAX_PATIENT_BATCHES
            } else {
                MAX_STRANGE_BATCHES
            };
            let mut share = shares.get_mut(id);
            match share.as_deref_mut() {
                Some(share) => peers.listen_for_all(share, now),
                None => peers.listen(),
            }
            let taken = take(&queued.socket, *id, owner, patience, peers, scratch, now);
            if let Some(share) = share {
                share.found(now, taken.bytes, peers.heard());
            }
            peers.router.unrouted += taken.refused as u64;
            if taken.batches == 0 && taken.refused > 0 {
                resting.insert(*id, now + REST);
            }
            if owner.is_none() && taken.refused >= CROWD {
                lanes.crowded(now, *id, &queued.socket, &peers.router);
            }
        }
        // What comes by TCP has a window of its own.
        peers.listen();
    }

    /// The same for the queues that peers of a crowded socket have of their own.
    fn receive_lanes(&mut self, peers: &mut Peers, scratch: &mut Scratch, now: Instant) {
        peers.listen();
        for lane in self.lanes.iter() {
            take(&lane.io, lane.socket, None, MAX_STRANGE_BATCHES, peers, scratch, now);
        }
        self.lanes.expire(now);
    }
}

/// What was taken from one socket.
#[derive(Default)]
struct Taken {
    /// Batches with something for a peer, and their bytes.
    batches: usize,
    bytes: usize,
    /// Datagrams that were for nobody.
    refused: usize,
}

/// Takes what a socket holds, within bounds, `patience` batches of strangers among it. `owner` is whose it is, if it is one peer's.
fn take(
    socket: &Socket,
    id: u32,
    owner: Option<PeerId>,
    patience: usize,
    peers: &mut Peers,
    scratch: &mut Scratch,
    now: Instant,
) -> Taken {
    let local = Local::Socket(id);
    let (mut taken, mut strange) = (Taken::default(), 0);
    while taken.bytes < MAX_BYTES && taken.batches < MAX_BATCHES && strange < patience {
        let wanted = |remote, datagram: &[u8]| peers.expect(owner, Path { local, remote }, datagram);
        let received = match socket.receive(scratch, wanted) {
            Ok(received) => received,
            Err(error) => {
                // ICMP errors of earlier sends surface here; consent decides about the path, not one of these.
                tracing::debug!(local = %socket.addr(), %error, "receive");
                break;
            }
        };
        taken.refused += received.refused;
        taken.bytes += received.bytes;
        match received.wanted {
            0 => strange += 1,
            _ => taken.batches += 1,
        }
        while let Some(batch) = scratch.next_batch() {
            peers.take(owner, local, batch, now);
        }
        if !received.more {
            break;
        }
    }
    taken
}
