//! The one task that owns sockets and peers by value (docs/architecture.md §7). Nothing here awaits application code.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use antiphon_ice::{IoEvent, IoRequest};
use antiphon_sansio::{Datagram, Ecn, Local, Path, TransmitBuf};
use bytes::BytesMut;
use tokio::sync::mpsc;
use tokio::time::Sleep;

use crate::hosted::Hosted;
use crate::interfaces::{self, InterfaceFilter};
use crate::resolve;
use crate::router::{PeerId, Router};
use crate::socket::{Scratch, Socket};

/// One round of output: at most this many bytes, so that a busy peer shares the task with the others, and one GSO call takes it.
const TRANSMIT_BYTES: usize = 60_000;
/// Room for one datagram in the transmit buffer. Machines keep to their own, smaller, MTU.
const MAX_DATAGRAM: usize = 1500;
/// Rounds of output per peer before the others have their turn.
const MAX_ROUNDS: usize = 8;
/// Datagram batches taken from one socket before the others have their turn.
const MAX_BATCHES: usize = 4;
/// Commands taken at once.
const MAX_COMMANDS: usize = 64;
/// How long a closed peer may take to say goodbye (BYE, SCTP ABORT, close_notify).
const FAREWELL: Duration = Duration::from_secs(2);

/// What runs on a peer within the driver's task.
pub(crate) type Visit = Box<dyn FnOnce(&mut Hosted, Instant) + Send>;

/// What a handle asks of the driver.
pub(crate) enum Command {
    /// A new peer.
    Add(PeerId, Box<Hosted>),
    /// Run this on the peer. Dropped, and with it the sender of its answer, if the peer is gone.
    Visit(PeerId, Visit),
}

/// An answer of the resolver tasks.
type Completed = (PeerId, IoEvent);

/// Owns the sockets and the peers of one endpoint (one-port mode) or of one peer.
pub(crate) struct Driver {
    commands: mpsc::Receiver<Command>,
    dropped: mpsc::UnboundedReceiver<PeerId>,
    completed: mpsc::UnboundedReceiver<Completed>,
    completions: mpsc::UnboundedSender<Completed>,
    filter: InterfaceFilter,
    /// In one-port mode: every socket is bound to this port (0 until the first is bound) and shared by all peers.
    shared_port: Option<u16>,
    sockets: BTreeMap<u32, Socket>,
    by_address: HashMap<IpAddr, u32>,
    next_socket: u32,
    owners: HashMap<u32, PeerId>,
    peers: BTreeMap<PeerId, Box<Hosted>>,
    deadlines: BTreeSet<(Instant, PeerId)>,
    router: Router,
    scratch: Scratch,
    out: TransmitBuf,
    sleep: Pin<Box<Sleep>>,
}

impl Driver {
    pub(crate) fn new(
        commands: mpsc::Receiver<Command>,
        dropped: mpsc::UnboundedReceiver<PeerId>,
        filter: InterfaceFilter,
        shared_port: Option<u16>,
    ) -> Self {
        let (completions, completed) = mpsc::unbounded_channel();
        Self {
            commands,
            dropped,
            completed,
            completions,
            filter,
            shared_port,
            sockets: BTreeMap::new(),
            by_address: HashMap::new(),
            next_socket: 0,
            owners: HashMap::new(),
            peers: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            router: Router::default(),
            scratch: Scratch::new(),
            out: TransmitBuf::new(TRANSMIT_BYTES, MAX_DATAGRAM),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    /// In one-port mode: binds the port on every interface before the first peer comes.
    pub(crate) fn bind_shared(&mut self) -> Result<(), crate::Error> {
        for ip in interfaces::addresses(&self.filter) {
            let addr = SocketAddr::new(ip, 0);
            self.shared_socket(addr)
                .map_err(|source| crate::Error::Bind { addr, source })?;
        }
        Ok(())
    }

    /// The addresses that are bound now.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.sockets.values().map(Socket::addr).collect()
    }

    /// Runs until every handle is dropped and every peer has said goodbye.
    pub(crate) async fn run(mut self) {
        let mut commands = Vec::with_capacity(MAX_COMMANDS);
        let mut open = true;
        while open || !self.peers.is_empty() {
            let mut busy: BTreeSet<PeerId> = BTreeSet::new();
            self.aim_sleep();
            poll_fn(|cx| self.poll_work(cx, &mut commands, &mut open, &mut busy)).await;
            let now = Instant::now();
            for command in commands.drain(..) {
                match command {
                    Command::Add(id, peer) => {
                        self.peers.insert(id, peer);
                        busy.insert(id);
                    }
                    Command::Visit(id, visit) => {
                        if let Some(peer) = self.peers.get_mut(&id) {
                            visit(peer, now);
                            busy.insert(id);
                        }
                    }
                }
            }
            self.receive(now, &mut busy);
            self.expire(now, &mut busy);
            for id in busy {
                self.drain(id, Instant::now());
            }
        }
    }

    fn aim_sleep(&mut self) {
        // Without a deadline the sleep is far away; commands and sockets wake the task.
        let at = self
            .deadlines
            .first()
            .map_or_else(|| Instant::now() + Duration::from_secs(3600), |(at, _)| *at);
        self.sleep.as_mut().reset(at.into());
    }

    /// Ready when there is anything to do. Registers every source that has nothing.
    fn poll_work(
        &mut self,
        cx: &mut Context<'_>,
        commands: &mut Vec<Command>,
        open: &mut bool,
        busy: &mut BTreeSet<PeerId>,
    ) -> Poll<()> {
        let mut ready = false;
        if *open {
            match self.commands.poll_recv_many(cx, commands, MAX_COMMANDS) {
                Poll::Ready(0) => {
                    *open = false;
                    ready = true;
                }
                Poll::Ready(_) => ready = true,
                Poll::Pending => {}
            }
        }
        let now = Instant::now();
        while let Poll::Ready(Some(id)) = self.dropped.poll_recv(cx) {
            ready = true;
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.abandon(now);
                busy.insert(id);
            }
        }
        while let Poll::Ready(Some((id, event))) = self.completed.poll_recv(cx) {
            ready = true;
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.core.handle_io(now, event);
                busy.insert(id);
            }
        }
        for socket in self.sockets.values() {
            ready |= socket.poll_ready(cx).is_ready();
        }
        ready |= self.sleep.as_mut().poll(cx).is_ready();
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Takes what the kernel holds, within bounds, and hands it to its peers.
    fn receive(&mut self, now: Instant, busy: &mut BTreeSet<PeerId>) {
        let Self {
            sockets,
            scratch,
            router,
            peers,
            owners,
            ..
        } = self;
        for (id, socket) in sockets.iter_mut() {
            if socket.is_blocked() {
                socket.flush();
                // Peers that were held back go on.
                if !socket.is_blocked() {
                    match owners.get(id) {
                        Some(owner) => _ = busy.insert(*owner),
                        None => busy.extend(peers.keys()),
                    }
                }
            }
            for _ in 0..MAX_BATCHES {
                let taken = socket.receive(scratch, |remote, ecn, data| {
                    deliver(router, peers, owners, (*id, remote), ecn, data, now, busy);
                });
                match taken {
                    Ok(0) => break,
                    Ok(_) => {}
                    Err(error) => {
                        // ICMP errors of earlier sends surface here; consent decides about the path, not one of these.
                        tracing::debug!(local = %socket.addr(), %error, "receive");
                        break;
                    }
                }
            }
        }
    }

    fn expire(&mut self, now: Instant, busy: &mut BTreeSet<PeerId>) {
        while let Some((at, id)) = self.deadlines.first().copied() {
            if at > now {
                break;
            }
            self.deadlines.pop_first();
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.deadline = None;
                peer.core.handle_timeout(now);
                busy.insert(id);
            }
        }
    }

    /// Takes everything that a peer has to give: requests, datagrams, events, and its next deadline.
    fn drain(&mut self, id: PeerId, now: Instant) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        if self.shared_port.is_some() {
            self.router.add_ufrag(peer.core.local_ufrag(), id);
        }
        while let Some(request) = peer.core.poll_io() {
            self.serve(id, &mut peer, request, now);
        }
        let mut more = false;
        for _ in 0..MAX_ROUNDS {
            more = self.transmit(id, &mut peer, now);
            if !more {
                break;
            }
        }
        peer.dispatch(now);
        // What dispatching read may open the peer's window: let it say so.
        if self.transmit(id, &mut peer, now) {
            more = true;
        }
        let gone = peer.is_finished(now, FAREWELL);
        if let Some(before) = peer.deadline.take() {
            self.deadlines.remove(&(before, id));
        }
        if gone {
            self.router.forget(id);
            let owned: Vec<u32> = self
                .owners
                .iter()
                .filter(|(_, owner)| **owner == id)
                .map(|(s, _)| *s)
                .collect();
            for socket in owned {
                self.close_socket(socket);
            }
            return;
        }
        let wanted = if more { Some(now) } else { peer.next_deadline(FAREWELL) };
        if let Some(at) = wanted {
            peer.deadline = Some(at);
            self.deadlines.insert((at, id));
        }
        self.peers.insert(id, peer);
    }

    /// Sends one buffer full; says whether there may be more.
    fn transmit(&mut self, id: PeerId, peer: &mut Hosted, now: Instant) -> bool {
        if self.sockets.values().any(Socket::is_blocked) {
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
            if self.shared_port.is_some() && next.segment_size.is_none() {
                self.router.sent(id, self.out.bytes(next.range.clone()));
            }
            let next = Batch::new(next);
            let limit = self.segment_limit(next.path);
            if batch.as_mut().is_some_and(|open| open.join(&next, limit)) {
                continue;
            }
            if let Some(full) = batch.replace(next) {
                self.send(full);
            }
        }
        if let Some(last) = batch {
            self.send(last);
        }
        more
    }

    fn segment_limit(&self, path: Path) -> usize {
        match path.local {
            Local::Socket(id) => self.sockets.get(&id).map_or(1, Socket::max_segments),
            _ => 1,
        }
    }

    fn send(&mut self, batch: Batch) {
        let Local::Socket(id) = batch.path.local else { return };
        let Some(socket) = self.sockets.get_mut(&id) else {
            return;
        };
        let contents = self.out.bytes(batch.start..batch.end);
        let segment_size = (contents.len() > batch.segment).then_some(batch.segment);
        socket.send(batch.path.remote, batch.ecn, segment_size, contents);
    }

    /// Serves one request of a machine.
    fn serve(&mut self, id: PeerId, peer: &mut Hosted, request: IoRequest, now: Instant) {
        match request {
            IoRequest::ListInterfaces { .. } => {
                peer.core
                    .handle_io(now, IoEvent::Interfaces(interfaces::addresses(&self.filter)));
            }
            IoRequest::BindUdp {
                request,
                addr,
                exclusive,
            } => {
                let bound = if self.shared_port.is_some() && !exclusive {
                    self.shared_socket(addr)
                } else {
                    self.new_socket(addr)
                        .inspect(|socket| _ = self.owners.insert(*socket, id))
                };
                let event = match bound {
                    Ok(socket) => IoEvent::UdpBound {
                        request,
                        local: Local::Socket(socket),
                        addr: self.sockets[&socket].addr(),
                    },
                    Err(error) => IoEvent::Failed {
                        request,
                        reason: format!("cannot bind {addr}: {error}"),
                    },
                };
                peer.core.handle_io(now, event);
            }
            IoRequest::Resolve { request, host, port } => {
                self.complete_later(id, async move {
                    match resolve::dns(host, port).await {
                        Ok(found) => IoEvent::Resolved {
                            request,
                            addrs: found.iter().map(SocketAddr::ip).collect(),
                        },
                        Err(error) => IoEvent::Failed {
                            request,
                            reason: error.to_string(),
                        },
                    }
                });
            }
            IoRequest::ResolveMdns { request, name } => {
                let mut everywhere = self.filter.clone();
                everywhere.loopback = true;
                let interfaces = interfaces::addresses(&everywhere);
                self.complete_later(id, async move {
                    match resolve::mdns(name, interfaces).await {
                        Ok(addrs) => IoEvent::Resolved { request, addrs },
                        Err(error) => IoEvent::Failed {
                            request,
                            reason: error.to_string(),
                        },
                    }
                });
            }
            IoRequest::Close(Local::Socket(socket)) if self.owners.get(&socket) == Some(&id) => {
                self.close_socket(socket)
            }
            // A shared socket stays for the others.
            IoRequest::Close(_) => {}
            other => {
                if let Some(request) = other.awaits() {
                    let reason = "this driver does not serve requests of this kind".to_owned();
                    peer.core.handle_io(now, IoEvent::Failed { request, reason });
                }
            }
        }
    }

    fn complete_later(&self, id: PeerId, work: impl Future<Output = IoEvent> + Send + 'static) {
        let completions = self.completions.clone();
        tokio::spawn(async move {
            let event = work.await;
            let _ = completions.send((id, event));
        });
    }

    fn shared_socket(&mut self, addr: SocketAddr) -> std::io::Result<u32> {
        if let Some(socket) = self.by_address.get(&addr.ip()) {
            return Ok(*socket);
        }
        let port = self.shared_port.unwrap_or(0);
        let socket = self.new_socket(SocketAddr::new(addr.ip(), port))?;
        self.shared_port = Some(self.sockets[&socket].addr().port());
        self.by_address.insert(addr.ip(), socket);
        Ok(socket)
    }

    fn new_socket(&mut self, addr: SocketAddr) -> std::io::Result<u32> {
        let socket = Socket::bind(addr)?;
        let id = self.next_socket;
        self.next_socket = self.next_socket.wrapping_add(1);
        self.sockets.insert(id, socket);
        Ok(id)
    }

    fn close_socket(&mut self, id: u32) {
        self.owners.remove(&id);
        if let Some(socket) = self.sockets.remove(&id) {
            self.by_address.remove(&socket.addr().ip());
        }
    }
}

/// Hands one datagram to its peer.
#[allow(clippy::too_many_arguments)] // the parts of a driver that is borrowed elsewhere
fn deliver(
    router: &mut Router,
    peers: &mut BTreeMap<PeerId, Box<Hosted>>,
    owners: &HashMap<u32, PeerId>,
    (socket, remote): (u32, SocketAddr),
    ecn: Ecn,
    data: BytesMut,
    now: Instant,
    busy: &mut BTreeSet<PeerId>,
) {
    let path = Path {
        local: Local::Socket(socket),
        remote,
    };
    let datagram = Datagram { path, ecn, data };
    if let Some(owner) = owners.get(&socket) {
        if let Some(peer) = peers.get_mut(owner) {
            peer.core.handle_datagram(now, datagram);
            busy.insert(*owner);
        }
        return;
    }
    let Some(route) = router.route(socket, remote, &datagram.data) else {
        return;
    };
    let Some(peer) = peers.get_mut(&route.peer) else { return };
    peer.core.handle_datagram(now, datagram);
    busy.insert(route.peer);
    if route.new_tuple && peer.core.is_authenticated(&path) {
        router.learn(socket, remote, route.peer);
    }
}

/// Datagrams that lie side by side in the buffer and go the same way: one system call.
struct Batch {
    path: Path,
    ecn: Ecn,
    start: usize,
    end: usize,
    /// The size of every datagram but the last, which may be shorter.
    segment: usize,
}

impl Batch {
    fn new(transmit: antiphon_sansio::Transmit) -> Self {
        let segment = transmit.segment_size.unwrap_or(transmit.range.len());
        Self {
            path: transmit.path,
            ecn: transmit.ecn,
            start: transmit.range.start,
            end: transmit.range.end,
            segment: segment.max(1),
        }
    }

    /// Takes `next` in, if the kernel can send both in one call. Returns whether it did.
    fn join(&mut self, next: &Self, limit: usize) -> bool {
        let len = self.end - self.start;
        let joins = self.path == next.path
            && self.ecn == next.ecn
            && self.end == next.start
            && len.is_multiple_of(self.segment)
            && next.segment <= self.segment
            && next.end - next.start <= self.segment
            && len / self.segment < limit;
        if joins {
            self.end = next.end;
        }
        joins
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(start: usize, len: usize) -> Batch {
        let path = Path {
            local: Local::Socket(1),
            remote: "192.0.2.1:9".parse().unwrap(),
        };
        Batch {
            path,
            ecn: Ecn::NotEct,
            start,
            end: start + len,
            segment: len,
        }
    }

    #[test]
    fn equal_neighbours_join_and_a_shorter_one_ends_the_run() {
        let mut run = batch(0, 100);
        assert!(run.join(&batch(100, 100), 64), "equal neighbours join");
        assert!(run.join(&batch(200, 60), 64), "a shorter last one joins");
        assert_eq!((run.start, run.end, run.segment), (0, 260, 100));
        assert!(!run.join(&batch(260, 60), 64), "nothing follows a shorter one");
        assert!(!batch(0, 100).join(&batch(100, 101), 64), "a longer one cannot follow");
        assert!(!batch(0, 100).join(&batch(104, 100), 64), "a gap");
        assert!(!batch(0, 100).join(&batch(100, 100), 1), "the kernel's limit");
    }
}
