//! The one task that owns sockets and peers by value (docs/architecture.md §7). Nothing here awaits application code.

mod beat;
mod changes;
pub(crate) mod crossing;
pub(crate) mod crossings;
mod forwarding;
pub(crate) mod inbox;
mod lanes;
pub(crate) mod latency;
pub(crate) mod message;
mod net;
mod outgoing;
pub(crate) mod peer;
mod peers;
mod reports;
mod requests;
mod router;
mod share;
mod wire;

use std::cell::RefCell;
use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use antiphon_ice::IoRequest;
use tokio::runtime::{Handle, RuntimeFlavor};
use tokio::sync::mpsc;
use tokio::time::Sleep;

use self::beat::Beat;
use self::forwarding::Forwarding;
use self::inbox::{Receiver, Taken};
use self::message::{PeerId, Report, Request};
use self::net::Net;
use self::outgoing::Outgoing;
use self::peer::Peer;
use self::peers::Peers;
use crate::environment::Environment;
use crate::error::Error;
use crate::net::scratch::Scratch;

/// What all peers together say in one turn, in bytes, before messages and sockets are looked at again.
const TURN_BYTES: usize = 480 * 1024;
/// What one peer says before the others have their turn, if there are others: what the kernel takes in one call.
const SHARE_BYTES: usize = 60_000;
/// Newcomers, and reports, that are taken at once.
const MAX_TAKEN: usize = 1024;
/// Reports of the tasks that may wait; the tasks wait beyond that, and with them the streams they read.
const MAX_REPORTS: usize = 1024;
/// How long a peer whose socket is full is left alone, unless the socket has room earlier.
const PATIENCE: Duration = Duration::from_millis(1);
/// Ports that are tried when any will do, until one is free on every interface.
const PORT_TRIES: usize = 16;

thread_local! {
    /// What a driver needs for one turn. It is empty between turns, so all drivers of a thread share it.
    static MEMORY: RefCell<Memory> = RefCell::new(Memory {
        messages: Messages::default(),
        scratch: Scratch::default(),
        outgoing: Outgoing::new(),
    });
}

/// What a driver needs for one turn.
struct Memory {
    messages: Messages,
    scratch: Scratch,
    outgoing: Outgoing,
}

impl Memory {
    /// What is left of a turn that did not end (a visitor of a machine panicked) is nobody's.
    fn begin(&mut self) {
        let Messages {
            newcomers,
            taken,
            reports,
            order: _,
        } = &mut self.messages;
        newcomers.clear();
        taken.requests.clear();
        taken.notices.clear();
        taken.routing.clear();
        taken.interfaces_changed = false;
        reports.clear();
        self.outgoing.begin();
    }
}

/// Messages that were taken and not yet served.
#[derive(Default)]
struct Messages {
    newcomers: Vec<(PeerId, Box<Peer>)>,
    taken: Taken,
    reports: Vec<Report>,
    /// Whose the requests are, and where each is in the list.
    order: Vec<(PeerId, usize)>,
}

impl Messages {
    /// Serves the requests peer by peer. A forwarder asks packet by packet, each peer in its turn; to go from peer to peer with each
    /// request is to wait for memory each time.
    fn serve_requests(&mut self, peers: &mut Peers, now: Instant) {
        self.order.clear();
        let requests = &mut self.taken.requests;
        let places = requests.iter().enumerate();
        self.order.extend(places.map(|(place, (id, _))| (*id, place)));
        self.order.sort_unstable();
        for whole in self.order.chunk_by(|a, b| a.0 == b.0) {
            let Some(peer) = peers.wake(whole[0].0) else { continue };
            for (_, place) in whole {
                match &mut requests[*place].1 {
                    // Most of them, and as large as they are many: they are not moved once more.
                    Request::SendPacket(transceiver, packet, answer) => {
                        peer.send_packet(*transceiver, packet, answer.take(), now);
                    }
                    // What is left in its place asks nothing.
                    request => peer.serve(std::mem::replace(request, Request::Close), now),
                }
            }
        }
        requests.clear();
    }
}

/// Owns the sockets and the peers of one endpoint (one-port mode) or of one peer.
pub(crate) struct Driver {
    environment: Arc<Environment>,
    inbox: Receiver,
    /// Peers of a shared driver. A peer is in here before anything is said about it.
    newcomers: Option<mpsc::Receiver<(PeerId, Box<Peer>)>>,
    /// Whether a handle may still ask something.
    open: bool,
    /// What tasks report, and what they report it with. Most drivers have none.
    reports: Option<(mpsc::Sender<Report>, mpsc::Receiver<Report>)>,
    /// Whether we hear of changing interfaces.
    watching: bool,
    /// What peers were last told of the interfaces.
    told: Vec<IpAddr>,
    net: Net,
    peers: Peers,
    /// Only a shared driver has routers.
    forwarding: Forwarding,
    sleep: Pin<Box<Sleep>>,
}

impl Driver {
    pub(crate) fn new(inbox: Receiver, environment: Arc<Environment>) -> Self {
        let beat = Beat::new(environment.made_at);
        Self {
            environment,
            inbox,
            newcomers: None,
            open: true,
            reports: None,
            watching: false,
            told: Vec::new(),
            net: Net::default(),
            peers: Peers::new(beat),
            forwarding: Forwarding::default(),
            sleep: Box::pin(tokio::time::sleep(Duration::ZERO)),
        }
    }

    /// The one peer of a driver that nobody shares.
    pub(crate) fn insert(&mut self, id: PeerId, peer: Box<Peer>) {
        self.peers.insert(id, peer);
    }

    /// For one-port mode: binds the port on every interface before the first of the `newcomers` is there.
    pub(crate) fn share(&mut self, port: u16, newcomers: mpsc::Receiver<(PeerId, Box<Peer>)>) -> Result<(), Error> {
        self.newcomers = Some(newcomers);
        self.net.shared_port = Some(port);
        let any = self.net.shared_port == Some(0);
        let mut tries = if any { PORT_TRIES } else { 1 };
        loop {
            tries -= 1;
            match self.net.bind_shared(&self.environment.addresses()) {
                // The port that the system chose for the first address may be somebody else's on another.
                Err(_) if tries > 0 => {}
                bound => return bound.map_err(|(addr, source)| Error::Bind { addr, source }),
            }
        }
    }

    /// The addresses that are bound now.
    pub(crate) fn addresses(&self) -> Vec<SocketAddr> {
        self.net.addresses()
    }

    /// Runs until the last handle is gone and every peer has said goodbye.
    pub(crate) async fn run(mut self: Box<Self>) {
        // With threads to spare a driver that yields mostly changes threads, which costs more than it saves (measured).
        let alone = matches!(Handle::current().runtime_flavor(), RuntimeFlavor::CurrentThread);
        // Whether readers have just had their turn.
        let mut yielded = false;
        while self.open || !self.peers.is_empty() {
            self.aim_sleep();
            let readers_first = alone && !yielded;
            yielded = poll_fn(|cx| {
                MEMORY.with_borrow_mut(|memory| {
                    memory.begin();
                    ready!(self.poll_work(cx, &mut memory.messages));
                    Poll::Ready(self.turn(memory, readers_first))
                })
            })
            .await;
            if yielded {
                tokio::task::yield_now().await;
            }
        }
    }

    /// Whether a reader was woken and is to run before its peer goes on.
    fn turn(&mut self, memory: &mut Memory, readers_first: bool) -> bool {
        let Memory {
            messages,
            scratch,
            outgoing,
        } = memory;
        let now = Instant::now();
        self.serve_messages(messages, now);
        self.net.receive(&mut self.peers, scratch, now);
        self.peers.expire(now);
        self.forwarding.expire(&mut self.peers, now);
        self.forward(now);
        let (mut woken, mut budget) = (false, TURN_BYTES);
        let mut first_turns = self.peers.busy();
        while first_turns > 0
            && budget > 0
            && let Some(id) = self.peers.next_busy()
        {
            first_turns -= 1;
            // A reader that waited runs first, once: what it answers leaves with the acknowledgement, in one datagram.
            if readers_first && self.forwarding.take_from(id, &mut self.peers, now) {
                self.peers.put_back(id);
                woken = true;
            } else {
                budget = budget.saturating_sub(self.drain(id, budget, outgoing));
            }
        }
        // Those with more to say have another turn, as long as the budget lasts.
        while !woken
            && budget > 0
            && let Some(id) = self.peers.next_busy()
        {
            budget = budget.saturating_sub(self.drain(id, budget, outgoing));
        }
        outgoing.flush(&mut self.net);
        self.forwarding.end_turn(now);
        woken
    }

    /// Hands on what has come for routers before anybody has its turn, so that who gets of it has one turn for all.
    fn forward(&mut self, now: Instant) {
        if self.forwarding.is_empty() {
            return;
        }
        let mut place = 0;
        while let Some(id) = self.peers.busy_at(place) {
            place += 1;
            if self.peers.get_mut(id).is_some_and(|peer| !peer.routers.is_empty()) {
                self.forwarding.take_from(id, &mut self.peers, now);
            }
        }
    }

    fn aim_sleep(&mut self) {
        // Without a deadline the sleep is far away; messages and sockets wake the task.
        let deadlines = [
            self.peers.next_deadline(),
            self.net.next_deadline(),
            self.forwarding.next_deadline(),
        ];
        let at = deadlines.into_iter().flatten().min();
        let at = at.unwrap_or_else(|| Instant::now() + Duration::from_secs(3600));
        // Deadlines mostly move away, packet by packet: waking once too early costs less than setting the timer each time.
        if self.sleep.is_elapsed() || at < self.sleep.deadline().into_std() {
            self.sleep.as_mut().reset(at.into());
        }
    }

    /// Ready when there is anything to do. Registers every source that has nothing.
    fn poll_work(&mut self, cx: &mut Context<'_>, messages: &mut Messages) -> Poll<()> {
        // The last turn may have left some over.
        let mut ready = self.peers.busy() > 0;
        // Of channels whose senders are gone nothing comes: that is no work.
        if let Some(newcomers) = &mut self.newcomers {
            let came = newcomers.poll_recv_many(cx, &mut messages.newcomers, MAX_TAKEN);
            ready |= matches!(came, Poll::Ready(1..));
        }
        if self.open {
            let something = self.inbox.poll_take(cx, &mut messages.taken);
            self.open = something.is_some();
            ready |= something.unwrap_or(true);
        }
        if let Some((_, reports)) = &mut self.reports {
            ready |= reports.poll_recv_many(cx, &mut messages.reports, MAX_TAKEN).is_ready();
        }
        ready |= self.net.poll_ready(cx);
        ready |= self.sleep.as_mut().poll(cx).is_ready();
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }

    fn serve_messages(&mut self, messages: &mut Messages, now: Instant) {
        // Every peer that the other messages speak of was in its channel before them, and must be known first.
        if let Some(newcomers) = &mut self.newcomers {
            while let Ok(newcomer) = newcomers.try_recv() {
                messages.newcomers.push(newcomer);
            }
        }
        for (id, peer) in messages.newcomers.drain(..) {
            self.peers.insert(id, peer);
        }
        messages.serve_requests(&mut self.peers, now);
        for notice in messages.taken.notices.drain(..) {
            if let Some(peer) = self.peers.wake(notice.peer()) {
                peer.hear(notice, now);
            }
        }
        for message in messages.taken.routing.drain(..) {
            self.forwarding.hear(message, &mut self.peers, now);
        }
        for report in messages.reports.drain(..) {
            self.reported(report, now);
        }
        if messages.taken.interfaces_changed {
            self.interfaces_changed(now);
        }
    }

    /// What a task reports with.
    fn reporting(&mut self) -> mpsc::Sender<Report> {
        let (reporting, _) = self.reports.get_or_insert_with(|| mpsc::channel(MAX_REPORTS));
        reporting.clone()
    }

    /// Takes what a peer has to give: requests, events, its share of the `budget` in datagrams, and its next deadline. How many bytes
    /// it gave.
    fn drain(&mut self, id: PeerId, budget: usize, outgoing: &mut Outgoing) -> usize {
        let now = Instant::now();
        let share = (budget / (self.peers.busy() + 1)).max(SHARE_BYTES);
        let Some(peer) = self.peers.get_mut(id) else { return 0 };
        peer.hand_over_all(now);
        let is_asked = peer.is_asked();
        while is_asked && let Some(request) = self.peers.get_mut(id).and_then(|peer| peer.core.poll_io()) {
            if matches!(request, IoRequest::Close(_)) {
                // What it said last still leaves.
                outgoing.flush(&mut self.net);
            }
            self.serve(id, request, now);
        }
        let Some((peer, router)) = self.peers.begin_turn(id, is_asked && self.net.shared_port.is_some()) else {
            return 0;
        };
        peer.let_through(now, &mut self.net, id, router);
        // What this reads opens the window towards the peer: the acknowledgement then says so.
        self.forwarding.take_from(id, &mut self.peers, now);
        let Some((peer, router)) = self.peers.with_router(id) else {
            return 0;
        };
        let (mut given, mut more) = (0, false);
        let is_blocked = loop {
            if !outgoing.has_room() {
                outgoing.flush(&mut self.net);
            }
            // Who sends on a socket whose kernel buffer is full waits for it; peers of other sockets go on.
            if peer.sends_on.is_some_and(|socket| self.net.is_blocked(socket)) {
                break true;
            }
            if given >= share {
                more = true;
                break false;
            }
            let Some(transmit) = peer.core.poll_transmit(now, &mut outgoing.buffer) else {
                break false;
            };
            given += transmit.range.len();
            if transmit.segment_size.is_none() && self.net.is_shared(transmit.path.local) {
                router.sent(id, outgoing.buffer.bytes(transmit.range.clone()));
            }
            if peer.wires(now, &transmit, &outgoing.buffer) {
                continue;
            }
            peer.sends_on = outgoing.add(&transmit, &mut self.net).or(peer.sends_on);
        };
        self.forwarding.take_from(id, &mut self.peers, now);
        let Some(peer) = self.peers.get_mut(id) else {
            return given;
        };
        if peer.is_finished(now) {
            outgoing.flush(&mut self.net);
            self.forget(id, now);
            return given;
        }
        let mut at = peer.next_deadline();
        if is_blocked {
            // What is due waits for the socket, and is not asked for again and again.
            at = at.map(|at| at.max(now + PATIENCE));
        }
        self.peers.schedule(id, at, now);
        if more {
            self.peers.wake(id);
        }
        given
    }

    /// The peer is gone, and with it all that was its own.
    fn forget(&mut self, id: PeerId, now: Instant) {
        let Some(peer) = self.peers.remove(id) else { return };
        self.forwarding
            .forget(peer.place.slot, &peer.routers, &mut self.peers, now);
        for local in &peer.holds {
            self.net.close(*local);
        }
        for (_, listener) in &peer.listens {
            self.net.stop_listening(*listener);
        }
        for name in &peer.published {
            self.environment.responder().withdraw(name.clone());
        }
    }
}
