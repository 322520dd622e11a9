//! The one task that owns sockets and peers by value (docs/architecture.md §7). Nothing here awaits application code.

mod changes;
mod lanes;
pub(crate) mod message;
mod network;
pub(crate) mod peers;
mod reports;
mod requests;
mod router;

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use antiphon_sansio::{Datagram, Local, Path, TransmitBuf};
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use self::message::{Notice, PeerId, Report, Request};
use self::network::Network;
use self::peers::{Peer, Peers};
use self::router::Router;
use crate::environment::Environment;
use crate::error::Error;
use crate::net::socket::{Batch, Scratch};

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
/// What is taken at once of each kind of message.
const MAX_MESSAGES: usize = 64;
/// Reports of the tasks that may wait; the tasks wait beyond that, and with them the streams they read.
const MAX_REPORTS: usize = 1024;
/// Ports that are tried when any will do, until one is free on every interface.
const PORT_TRIES: usize = 16;

/// The driver's ends of the channels that lead to it.
pub(crate) struct Inbox {
    /// Peers of a shared driver. A peer is in here before anything is said about it.
    pub(crate) newcomers: mpsc::Receiver<(PeerId, Box<Peer>)>,
    pub(crate) requests: mpsc::Receiver<(PeerId, Request)>,
    pub(crate) notices: mpsc::UnboundedReceiver<Notice>,
}

/// Messages that were taken and not yet served.
#[derive(Default)]
struct Taken {
    newcomers: Vec<(PeerId, Box<Peer>)>,
    requests: Vec<(PeerId, Request)>,
    notices: Vec<Notice>,
    reports: Vec<Report>,
}

/// Owns the sockets and the peers of one endpoint (one-port mode) or of one peer.
pub(crate) struct Driver {
    environment: Arc<Environment>,
    inbox: Inbox,
    /// Whether a handle may still ask something.
    open: bool,
    reports: mpsc::Receiver<Report>,
    /// Given to the tasks.
    reporting: mpsc::Sender<Report>,
    /// Whether a task passes on word of changing interfaces.
    watching: bool,
    /// What peers were last told of the interfaces.
    told: Vec<IpAddr>,
    network: Network,
    peers: Peers,
    /// In one-port mode: whom a datagram is for.
    router: Router,
    scratch: Scratch,
    out: TransmitBuf,
    sleep: Pin<Box<Sleep>>,
}

impl Driver {
    pub(crate) fn new(inbox: Inbox, environment: Arc<Environment>, shared_port: Option<u16>) -> Self {
        let (reporting, reports) = mpsc::channel(MAX_REPORTS);
        Self {
            environment,
            inbox,
            open: true,
            reports,
            reporting,
            watching: false,
            told: Vec::new(),
            network: Network::new(shared_port),
            peers: Peers::default(),
            router: Router::default(),
            scratch: Scratch::default(),
            out: TransmitBuf::new(TRANSMIT_BYTES, MAX_DATAGRAM),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    /// In one-port mode: binds the port on every interface before the first peer comes.
    pub(crate) fn bind_shared(&mut self) -> Result<(), Error> {
        let any = self.network.shared_port == Some(0);
        let mut tries = if any { PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            match self.network.bind_shared(&self.environment.addresses()) {
                // The port that the system chose for the first address may be somebody else's on another.
                Err(_) if tries > 0 => {}
                bound => return bound.map_err(|(addr, source)| Error::Bind { addr, source }),
            }
        }
    }

    /// The addresses that are bound now.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.network.addresses()
    }

    /// Runs until the last handle is gone and every peer has said goodbye.
    pub(crate) async fn run(mut self) {
        let mut taken = Taken::default();
        let mut busy = Vec::new();
        // With threads to spare a driver that yields mostly changes threads, which costs more than it saves (measured).
        let alone = matches!(Handle::current().runtime_flavor(), RuntimeFlavor::CurrentThread);
        // Whether readers have just had their turn.
        let mut yielded = false;
        while self.open || !self.peers.is_empty() {
            self.aim_sleep();
            poll_fn(|cx| self.poll_work(cx, &mut taken)).await;
            let now = Instant::now();
            self.serve_messages(&mut taken, now);
            self.receive(now);
            self.peers.expire(now);
            self.peers.swap_busy(&mut busy);
            let mut woken = false;
            for id in busy.drain(..) {
                // A reader that waited runs first, once: what it answers leaves with the acknowledgement, in one datagram.
                if alone && !yielded && self.peers.get_mut(id).is_some_and(|peer| peer.dispatch(now)) {
                    self.peers.put_off(id);
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
        // Without a deadline the sleep is far away; messages and sockets wake the task.
        let at = self.peers.next_deadline();
        let at = at.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        let at = self.network.resting.values().copied().fold(at, Instant::min);
        // Deadlines mostly move away, packet by packet: waking once too early costs less than setting the timer each time.
        if self.sleep.is_elapsed() || at < self.sleep.deadline().into_std() {
            self.sleep.as_mut().reset(at.into());
        }
    }

    /// Ready when there is anything to do. Registers every source that has nothing.
    fn poll_work(&mut self, cx: &mut Context<'_>, taken: &mut Taken) -> Poll<()> {
        let inbox = &mut self.inbox;
        // Draining one peer may have marked another.
        let mut ready = self.peers.are_busy();
        // Of channels whose senders are gone nothing comes: that is no work.
        let newcomers = inbox.newcomers.poll_recv_many(cx, &mut taken.newcomers, MAX_MESSAGES);
        ready |= matches!(newcomers, Poll::Ready(1..));
        if self.open {
            match inbox.requests.poll_recv_many(cx, &mut taken.requests, MAX_MESSAGES) {
                Poll::Ready(0) => {
                    self.open = false;
                    ready = true;
                }
                Poll::Ready(_) => ready = true,
                Poll::Pending => {}
            }
        }
        let notices = inbox.notices.poll_recv_many(cx, &mut taken.notices, MAX_MESSAGES);
        ready |= matches!(notices, Poll::Ready(1..));
        ready |= self
            .reports
            .poll_recv_many(cx, &mut taken.reports, MAX_MESSAGES)
            .is_ready();
        ready |= self.network.poll_ready(cx);
        ready |= self.sleep.as_mut().poll(cx).is_ready();
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }

    fn serve_messages(&mut self, taken: &mut Taken, now: Instant) {
        // Every peer that the other messages speak of was in its channel before them, and must be known first.
        while let Ok(newcomer) = self.inbox.newcomers.try_recv() {
            taken.newcomers.push(newcomer);
        }
        for (id, peer) in taken.newcomers.drain(..) {
            self.peers.insert(id, peer);
        }
        for (id, request) in taken.requests.drain(..) {
            if let Some(peer) = self.peers.wake(id) {
                peer.serve(request, now);
            }
        }
        for notice in taken.notices.drain(..) {
            if let Some(peer) = self.peers.wake(notice.peer()) {
                peer.hear(notice, now);
            }
        }
        for report in taken.reports.drain(..) {
            self.reported(report, now);
        }
    }

    /// Takes what the kernel holds, within bounds, and hands it to its peers.
    fn receive(&mut self, now: Instant) {
        self.receive_lanes(now);
        let Network {
            sockets,
            owners,
            resting,
            lanes,
            ..
        } = &mut self.network;
        let (peers, router, scratch) = (&mut self.peers, &mut self.router, &mut self.scratch);
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
            let local = Local::Socket(*id);
            let (mut batches, mut strange_batches, mut refused) = (0, 0, 0);
            let patience = if lanes.are_open(*id) {
                MAX_BATCHES
            } else {
                MAX_STRANGE_BATCHES
            };
            while batches < MAX_BATCHES && strange_batches < patience {
                let wanted = |remote, datagram: &[u8]| expects(peers, router, owner, Path { local, remote }, datagram);
                let received = match queued.socket.receive(scratch, wanted) {
                    Ok(received) => received,
                    Err(error) => {
                        // ICMP errors of earlier sends surface here; consent decides about the path, not one of these.
                        tracing::debug!(local = %queued.addr(), %error, "receive");
                        break;
                    }
                };
                refused += received.refused;
                match received.wanted {
                    0 => strange_batches += 1,
                    _ => batches += 1,
                }
                deliver_all(scratch, peers, router, owner, local, now);
                if !received.more {
                    break;
                }
            }
            router.unrouted += refused as u64;
            if batches == 0 && refused > 0 {
                resting.insert(*id, now + REST);
            }
            if owner.is_none() && refused >= CROWD {
                lanes.crowded(now, *id, &queued.socket, router);
            }
        }
    }

    /// The same for the queues that peers of a crowded socket have of their own.
    fn receive_lanes(&mut self, now: Instant) {
        let (peers, router, scratch) = (&mut self.peers, &mut self.router, &mut self.scratch);
        for lane in self.network.lanes.iter() {
            let local = Local::Socket(lane.socket);
            for _ in 0..MAX_BATCHES {
                let wanted = |remote, datagram: &[u8]| expects(peers, router, None, Path { local, remote }, datagram);
                let Ok(received) = lane.io.receive(scratch, wanted) else {
                    break;
                };
                deliver_all(scratch, peers, router, None, local, now);
                if !received.more {
                    break;
                }
            }
        }
        self.network.lanes.expire(now);
    }

    /// Takes everything that a peer has to give: requests, datagrams, events, and its next deadline.
    fn drain(&mut self, id: PeerId, now: Instant) {
        let Some(peer) = self.peers.get_mut(id) else { return };
        if self.network.shared_port.is_some() {
            self.router.add_ufrag(peer.core.local_ufrag(), id);
        }
        peer.hand_over_all(now);
        while let Some(request) = self.peers.get_mut(id).and_then(|peer| peer.core.poll_io()) {
            self.serve(id, request, now);
        }
        let Some(peer) = self.peers.get_mut(id) else { return };
        // What it was told just now it has not been woken for: it goes on here.
        peer.begin_turn();
        // What this reads opens the window towards the peer: the acknowledgement then says so.
        peer.dispatch(now);
        let mut more = false;
        for _ in 0..MAX_ROUNDS {
            more = self.transmit(id, now);
            if !more {
                break;
            }
        }
        let Some(peer) = self.peers.get_mut(id) else { return };
        peer.dispatch(now);
        if peer.is_finished(now) {
            self.forget(id);
        } else {
            let at = if more { Some(now) } else { peer.next_deadline() };
            self.peers.schedule(id, at);
        }
    }

    /// Sends one buffer full; says whether there may be more.
    fn transmit(&mut self, id: PeerId, now: Instant) -> bool {
        let (network, out) = (&mut self.network, &mut self.out);
        let Some(peer) = self.peers.get_mut(id) else {
            return false;
        };
        // Who sends on a socket whose kernel buffer is full waits for it; peers of other sockets go on.
        if peer.sends_on.is_some_and(|socket| network.is_blocked(socket)) {
            return false;
        }
        out.clear();
        let mut open: Option<Batch> = None;
        let mut more = true;
        while out.has_room() {
            let Some(next) = peer.core.poll_transmit(now, out) else {
                more = false;
                break;
            };
            if next.segment_size.is_none() && network.is_shared(next.path.local) {
                self.router.sent(id, out.bytes(next.range.clone()));
            }
            let next = Batch::new(next);
            let limit = network.segment_limit(next.path);
            if open.as_mut().is_some_and(|open| open.join(&next, limit)) {
                continue;
            }
            if let Some(full) = open.replace(next) {
                peer.sends_on = network.send(&full, out.bytes(full.range())).or(peer.sends_on);
            }
        }
        if let Some(last) = open {
            peer.sends_on = network.send(&last, out.bytes(last.range())).or(peer.sends_on);
        }
        more
    }

    /// The peer is gone, and with it all that was its own.
    fn forget(&mut self, id: PeerId) {
        let Some(peer) = self.peers.remove(id) else { return };
        self.router.forget(id);
        for local in &peer.holds {
            self.network.close(*local);
        }
        for (_, listener) in &peer.listens {
            self.network.stop_listening(*listener);
        }
        for name in &peer.published {
            self.environment.responder().withdraw(name.clone());
        }
    }
}

/// Whether a datagram may be for a peer; if not it is dropped before it costs anything more.
fn expects(peers: &mut Peers, router: &Router, owner: Option<PeerId>, path: Path, datagram: &[u8]) -> bool {
    if datagram.is_empty() {
        return false;
    }
    match (owner, path.local) {
        (Some(owner), _) => peers
            .get_mut(owner)
            .is_some_and(|peer| peer.core.expects(&path, datagram)),
        (None, Local::Socket(socket)) => router.expects(socket, path.remote, datagram),
        (None, _) => false,
    }
}

/// Hands what was received at `local` to its peers.
fn deliver_all(
    scratch: &mut Scratch,
    peers: &mut Peers,
    router: &mut Router,
    owner: Option<PeerId>,
    local: Local,
    now: Instant,
) {
    while let Some((remote, ecn, data)) = scratch.next_datagram() {
        let path = Path { local, remote };
        let datagram = Datagram { path, ecn, data };
        if let Some(owner) = owner {
            peers.deliver(owner, datagram, now);
            continue;
        }
        let Local::Socket(socket) = local else { continue };
        let Some(route) = router.route(socket, remote, &datagram.data) else {
            continue;
        };
        let peer = peers.deliver(route.peer, datagram, now);
        if route.new_tuple && peer.is_some_and(|peer| peer.core.is_authenticated(&path)) {
            router.learn(socket, remote, route.peer);
        }
    }
}
