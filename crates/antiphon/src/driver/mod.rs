//! The one task that owns sockets and peers by value (docs/architecture.md §7). Nothing here awaits application code.

mod batch;
mod changes;
mod command;
mod lanes;
mod output;
mod serve;

pub(crate) use command::{Answer, Arrival, Ask, Command, Word};

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use antiphon_sansio::{Datagram, Ecn, Local, Path, TransmitBuf};
use bytes::BytesMut;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use self::lanes::Lanes;
use crate::hosted::Hosted;
use crate::router::{PeerId, Router};
use crate::socket::{Scratch, Socket};
use crate::system::System;
use crate::tcp::{Connection, Listener};

/// One round of output: at most this many bytes, so that a busy peer shares the task with the others, and one GSO call takes it.
const TRANSMIT_BYTES: usize = 60_000;
/// Room for one datagram in the transmit buffer. Machines keep to their own, smaller, MTU.
const MAX_DATAGRAM: usize = 1500;
/// Rounds of output per peer before the others have their turn.
const MAX_ROUNDS: usize = 8;
/// Datagram batches taken from one socket before the others have their turn: those with something for a peer, and those of
/// strangers alone, which cost next to nothing each and must not stand in the way of the rest.
const MAX_BATCHES: usize = 4;
const MAX_STRANGE_BATCHES: usize = 64;
/// A socket at which nobody but strangers came is not looked at for a while: they can wait in the kernel, and what they cost is then
/// the reading alone. To wake for each of them costs several times that (measured).
const REST: Duration = Duration::from_millis(1);
/// Strangers that came in one turn to a shared socket, whose peers then get queues of their own in the kernel.
const CROWD: usize = 64;
/// Commands, and words of the tasks, taken at once.
const MAX_COMMANDS: usize = 64;
/// Words of the tasks that may wait; the tasks wait beyond that, and with them the streams they read.
const MAX_ARRIVALS: usize = 1024;
/// How long a closed peer may take to say goodbye (BYE, SCTP ABORT, close_notify).
const FAREWELL: Duration = Duration::from_secs(2);

/// Owns the sockets and the peers of one endpoint (one-port mode) or of one peer.
pub(crate) struct Driver {
    system: Arc<System>,
    commands: mpsc::Receiver<Command>,
    words: mpsc::UnboundedReceiver<Word>,
    arrivals: mpsc::Receiver<Arrival>,
    /// Given to the tasks.
    arriving: mpsc::Sender<Arrival>,
    /// In one-port mode: every socket is bound to this port (0 until the first is bound) and shared by all peers.
    shared_port: Option<u16>,
    sockets: BTreeMap<u32, Socket>,
    by_address: HashMap<IpAddr, u32>,
    next_socket: u32,
    owners: HashMap<u32, PeerId>,
    connections: HashMap<u32, Connection>,
    next_connection: u32,
    listeners: HashMap<u32, Listener>,
    listening_on: HashMap<IpAddr, u32>,
    next_listener: u32,
    /// Whether a task passes on word of changing interfaces.
    watching: bool,
    /// What peers were last told of the interfaces.
    told: Vec<IpAddr>,
    peers: HashMap<PeerId, Box<Hosted>>,
    deadlines: BTreeSet<(Instant, PeerId)>,
    router: Router,
    scratch: Scratch,
    /// Sockets that are not looked at before this.
    resting: HashMap<u32, Instant>,
    lanes: Lanes,
    out: TransmitBuf,
    sleep: Pin<Box<Sleep>>,
    /// Peers that have something to give; each is in it once.
    busy: Vec<PeerId>,
}

impl Driver {
    pub(crate) fn new(
        commands: mpsc::Receiver<Command>,
        words: mpsc::UnboundedReceiver<Word>,
        system: Arc<System>,
        shared_port: Option<u16>,
    ) -> Self {
        let (arriving, arrivals) = mpsc::channel(MAX_ARRIVALS);
        Self {
            system,
            commands,
            words,
            arrivals,
            arriving,
            shared_port,
            sockets: BTreeMap::new(),
            by_address: HashMap::new(),
            next_socket: 0,
            owners: HashMap::new(),
            connections: HashMap::new(),
            next_connection: 0,
            listeners: HashMap::new(),
            listening_on: HashMap::new(),
            next_listener: 0,
            watching: false,
            told: Vec::new(),
            peers: HashMap::new(),
            deadlines: BTreeSet::new(),
            router: Router::default(),
            scratch: Scratch::default(),
            resting: HashMap::new(),
            lanes: Lanes::default(),
            out: TransmitBuf::new(TRANSMIT_BYTES, MAX_DATAGRAM),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
            busy: Vec::new(),
        }
    }

    /// Runs until the last handle is gone and every peer has said goodbye.
    pub(crate) async fn run(mut self) {
        let mut commands = Vec::with_capacity(MAX_COMMANDS);
        let mut words = Vec::with_capacity(MAX_COMMANDS);
        let mut arrivals = Vec::with_capacity(MAX_COMMANDS);
        let mut busy = Vec::new();
        let mut open = true;
        // With threads to spare a driver that yields mostly changes threads, which costs more than it saves (measured).
        let alone = matches!(Handle::current().runtime_flavor(), RuntimeFlavor::CurrentThread);
        // Whether readers have just had their turn.
        let mut yielded = false;
        while open || !self.peers.is_empty() {
            self.aim_sleep();
            poll_fn(|cx| self.poll_work(cx, &mut commands, &mut words, &mut arrivals, &mut open)).await;
            let now = Instant::now();
            for command in commands.drain(..) {
                match command {
                    Command::Add(id, peer) => _ = self.peers.insert(id, peer),
                    Command::Ask(id, ask) => {
                        if let Some(peer) = self.peers.get_mut(&id) {
                            ask.run(peer, now);
                            mark(&mut self.busy, id, peer);
                        }
                        continue;
                    }
                }
            }
            for word in words.drain(..) {
                let id = word.peer();
                if let Some(peer) = self.peers.get_mut(&id) {
                    word.run(peer, now);
                    mark(&mut self.busy, id, peer);
                }
            }
            for arrival in arrivals.drain(..) {
                self.arrived(arrival, now);
            }
            self.receive(now);
            self.expire(now);
            std::mem::swap(&mut busy, &mut self.busy);
            let mut woken = false;
            for id in busy.drain(..) {
                // A reader that waited runs first, once: what it answers leaves with the acknowledgement, in one datagram.
                if alone && !yielded && self.peers.get_mut(&id).is_some_and(|peer| peer.dispatch(now)) {
                    self.busy.push(id);
                    woken = true;
                } else {
                    self.drain(id, Instant::now());
                }
            }
            yielded = woken;
            if woken {
                tokio::task::yield_now().await;
            }
        }
    }

    fn aim_sleep(&mut self) {
        // Without a deadline the sleep is far away; commands and sockets wake the task.
        let at = self
            .deadlines
            .first()
            .map_or_else(|| Instant::now() + Duration::from_secs(3600), |(at, _)| *at);
        let at = self.resting.values().copied().fold(at, Instant::min);
        // Deadlines mostly move away, packet by packet: waking once too early costs less than setting the timer each time.
        if self.sleep.is_elapsed() || at < self.sleep.deadline().into_std() {
            self.sleep.as_mut().reset(at.into());
        }
    }

    /// Ready when there is anything to do. Registers every source that has nothing.
    fn poll_work(
        &mut self,
        cx: &mut Context<'_>,
        commands: &mut Vec<Command>,
        words: &mut Vec<Word>,
        arrivals: &mut Vec<Arrival>,
        open: &mut bool,
    ) -> Poll<()> {
        // Draining one peer may have marked another.
        let mut ready = !self.busy.is_empty();
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
        // Without handles nobody says anything: that is no work.
        ready |= matches!(self.words.poll_recv_many(cx, words, MAX_COMMANDS), Poll::Ready(1..));
        ready |= self.arrivals.poll_recv_many(cx, arrivals, MAX_COMMANDS).is_ready();
        for (id, socket) in &self.sockets {
            if !self.resting.contains_key(id) {
                ready |= socket.poll_ready(cx).is_ready();
            }
        }
        ready |= self.lanes.poll_ready(cx);
        ready |= self.sleep.as_mut().poll(cx).is_ready();
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }

    /// Takes what the kernel holds, within bounds, and hands it to its peers.
    fn receive(&mut self, now: Instant) {
        let Self {
            sockets,
            scratch,
            resting,
            lanes,
            router,
            peers,
            owners,
            busy,
            ..
        } = self;
        resting.retain(|_, until| *until > now);
        for lane in lanes.iter() {
            for _ in 0..MAX_BATCHES {
                let wanted = |remote, datagram: &[u8]| router.expects(lane.socket, remote, datagram);
                let Ok(received) = lane.io.receive(scratch, wanted) else {
                    break;
                };
                while let Some((remote, ecn, data)) = scratch.next_datagram() {
                    deliver(router, peers, None, (lane.socket, remote), ecn, data, now, busy);
                }
                if !received.more {
                    break;
                }
            }
        }
        lanes.expire(now);
        for (id, socket) in sockets.iter_mut() {
            if socket.is_blocked() {
                socket.flush();
                // Peers that were held back go on.
                if !socket.is_blocked() {
                    for (peer_id, peer) in peers.iter_mut().filter(|(_, peer)| peer.sends_on == Some(*id)) {
                        mark(busy, *peer_id, peer);
                    }
                }
            }
            if resting.contains_key(id) {
                continue;
            }
            let owner = owners.get(id).copied();
            let (mut batches, mut strange_batches, mut refused) = (0, 0, 0);
            let patience = if lanes.are_open(*id) {
                MAX_BATCHES
            } else {
                MAX_STRANGE_BATCHES
            };
            while batches < MAX_BATCHES && strange_batches < patience {
                let wanted = |remote, datagram: &[u8]| expects(router, peers, owner, (*id, remote), datagram);
                let received = match socket.receive(scratch, wanted) {
                    Ok(received) => received,
                    Err(error) => {
                        // ICMP errors of earlier sends surface here; consent decides about the path, not one of these.
                        tracing::debug!(local = %socket.addr(), %error, "receive");
                        break;
                    }
                };
                refused += received.refused;
                match received.wanted {
                    0 => strange_batches += 1,
                    _ => batches += 1,
                }
                while let Some((remote, ecn, data)) = scratch.next_datagram() {
                    deliver(router, peers, owner, (*id, remote), ecn, data, now, busy);
                }
                if !received.more {
                    break;
                }
            }
            router.unrouted += refused as u64;
            if batches == 0 && refused > 0 {
                resting.insert(*id, now + REST);
            }
            if owner.is_none() && refused >= CROWD {
                lanes.crowded(now, *id, socket, router);
            }
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some((at, id)) = self.deadlines.first().copied() {
            if at > now {
                break;
            }
            self.deadlines.pop_first();
            if let Some(peer) = self.peers.get_mut(&id) {
                peer.deadline = None;
                peer.core.handle_timeout(now);
                mark(&mut self.busy, id, peer);
            }
        }
    }

    /// Takes everything that a peer has to give: requests, datagrams, events, and its next deadline.
    fn drain(&mut self, id: PeerId, now: Instant) {
        let Some(mut peer) = self.peers.remove(&id) else { return };
        peer.marked = false;
        if self.shared_port.is_some() {
            self.router.add_ufrag(peer.core.local_ufrag(), id);
        }
        peer.hand_over_all(now);
        while let Some(request) = peer.core.poll_io() {
            self.serve(id, &mut peer, request, now);
        }
        // What this reads opens the window towards the peer: the acknowledgement then says so.
        peer.dispatch(now);
        let mut more = false;
        for _ in 0..MAX_ROUNDS {
            more = self.transmit(id, &mut peer, now);
            if !more {
                break;
            }
        }
        peer.dispatch(now);
        if peer.is_finished(now, FAREWELL) {
            self.forget(id, &mut peer);
            return;
        }
        let wanted = if more { Some(now) } else { peer.next_deadline(FAREWELL) };
        if wanted != peer.deadline {
            if let Some(before) = peer.deadline {
                self.deadlines.remove(&(before, id));
            }
            peer.deadline = wanted;
            if let Some(at) = wanted {
                self.deadlines.insert((at, id));
            }
        }
        self.peers.insert(id, peer);
    }

    /// The peer is gone, and with it all that was its own.
    fn forget(&mut self, id: PeerId, peer: &mut Hosted) {
        if let Some(at) = peer.deadline.take() {
            self.deadlines.remove(&(at, id));
        }
        self.router.forget(id);
        for local in std::mem::take(&mut peer.holds) {
            self.let_go(local);
        }
        for (_, listener) in std::mem::take(&mut peer.listens) {
            self.stop_listening(listener);
        }
        for name in std::mem::take(&mut peer.published) {
            self.system.responder().withdraw(name);
        }
    }
}

/// Puts a peer among those that are drained next.
fn mark(busy: &mut Vec<PeerId>, id: PeerId, peer: &mut Hosted) {
    if !peer.marked {
        peer.marked = true;
        busy.push(id);
    }
}

/// Whether a datagram may be for a peer; if not it is dropped before it costs anything more.
fn expects(
    router: &Router,
    peers: &mut HashMap<PeerId, Box<Hosted>>,
    owner: Option<PeerId>,
    (socket, remote): (u32, SocketAddr),
    datagram: &[u8],
) -> bool {
    let Some(owner) = owner else {
        return router.expects(socket, remote, datagram);
    };
    let path = Path {
        local: Local::Socket(socket),
        remote,
    };
    peers
        .get_mut(&owner)
        .is_some_and(|peer| peer.core.expects(&path, datagram))
}

/// Hands one datagram to its peer.
#[allow(clippy::too_many_arguments)] // the parts of a driver that is borrowed elsewhere
fn deliver(
    router: &mut Router,
    peers: &mut HashMap<PeerId, Box<Hosted>>,
    owner: Option<PeerId>,
    (socket, remote): (u32, SocketAddr),
    ecn: Ecn,
    data: BytesMut,
    now: Instant,
    busy: &mut Vec<PeerId>,
) {
    let path = Path {
        local: Local::Socket(socket),
        remote,
    };
    let datagram = Datagram { path, ecn, data };
    if let Some(owner) = owner {
        if let Some(peer) = peers.get_mut(&owner) {
            peer.core.handle_datagram(now, datagram);
            mark(busy, owner, peer);
        }
        return;
    }
    let Some(route) = router.route(socket, remote, &datagram.data) else {
        return;
    };
    let Some(peer) = peers.get_mut(&route.peer) else { return };
    peer.core.handle_datagram(now, datagram);
    mark(busy, route.peer, peer);
    if route.new_tuple && peer.core.is_authenticated(&path) {
        router.learn(socket, remote, route.peer);
    }
}
