//! The one task that owns the machine and its sockets.

use std::future::{Future, poll_fn};
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use antiphon_sansio::{Datagram, Ecn, Local, Path, Rng, Transmit, TransmitBuf};
use antiphon_turn::{BehaviourSockets, Server, ServerAnswer, ServerRequest};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};
use tokio::task::coop;
use tokio::time::Sleep;
use tokio_rustls::TlsAcceptor;

use super::config::{RelayAddress, TurnServerConfig};
use super::connections::Connections;
use super::error::TurnServerError;
use super::relays;
use super::sockets::Sockets;
use super::stats::TurnServerStats;
use super::stream::{self, FromStream};
use crate::net::scratch::Scratch;
use crate::net::socket::{LARGE_BUFFER, Socket};

/// System calls that take from one socket before the others have their turn.
const MAX_BATCHES: usize = 4;
/// Datagrams that are taken before what became of them is sent; with what one more system call gives, the machine has
/// room for them.
const MAX_TAKEN: usize = 512;
/// Messages of connections that wait for the server; a connection that sends faster is read slower.
const MAX_INCOMING: usize = 256;
/// The same, of those that are taken at once.
const MAX_MESSAGES: usize = 64;
/// The longest message: an answer, or a datagram in a Data indication.
const MAX_SEGMENT: usize = 2048;
/// What is sent at once, in bytes.
const TRANSMIT_BYTES: usize = 128 * 1024;
/// How long a task without anything to wait for sleeps.
const LONG: Duration = Duration::from_secs(3600);

/// What handles ask.
pub(super) enum Command {
    Stats(oneshot::Sender<TurnServerStats>),
    /// End when all allocations are gone, or when the time to drain is over, or when nobody waits any more.
    Stop(oneshot::Sender<()>),
}

pub(super) struct Core {
    machine: Server,
    rng: Rng,
    own: Vec<IpAddr>,
    relay: Vec<RelayAddress>,
    relay_ports: RangeInclusive<u16>,
    sockets: Sockets,
    /// Of sockets and of connections: no number means two in turn.
    next_number: u32,
    connections: Connections,
    to_core: mpsc::Sender<FromStream>,
    from_streams: mpsc::Receiver<FromStream>,
    commands: mpsc::Receiver<Command>,
    /// Whether a handle may still ask something.
    open: bool,
    stopping: Option<Stopping>,
    drain: Duration,
    unsent: u64,
    scratch: Scratch,
    out: TransmitBuf,
    sleep: Pin<Box<Sleep>>,
}

/// The end is near.
struct Stopping {
    /// At the latest.
    deadline: Instant,
    /// Who waits for it.
    waiter: oneshot::Sender<()>,
}

/// What came, and was not looked at yet.
#[derive(Default)]
struct Taken {
    from_streams: Vec<FromStream>,
    commands: Vec<Command>,
    ready: Vec<Local>,
}

impl Core {
    pub(super) fn new(
        config: &TurnServerConfig,
        rng: Rng,
        commands: mpsc::Receiver<Command>,
    ) -> Result<Self, TurnServerError> {
        let own = relays::own_addresses().map_err(TurnServerError::Interfaces)?;
        let relay = relays::relay_addresses(config);
        let mut server = config.server.clone();
        server.relay_addrs = relay.iter().map(|relay| relay.external).collect();
        server.own_addrs.extend(&own);
        server.own_addrs.extend(relay.iter().map(|relay| relay.bind));
        // quinn-udp sets DF on every datagram.
        server.dont_fragment = true;
        let (to_core, from_streams) = mpsc::channel(MAX_INCOMING);
        Ok(Self {
            machine: Server::new(server, Instant::now(), rng.fork("turn server")),
            rng: rng.fork("relayed ports"),
            own,
            relay,
            relay_ports: config.relay_ports.clone(),
            sockets: Sockets::default(),
            next_number: 0,
            connections: Connections::new(config, Instant::now()),
            to_core,
            from_streams,
            commands,
            open: true,
            stopping: None,
            drain: config.drain,
            unsent: 0,
            scratch: Scratch::default(),
            out: TransmitBuf::new(TRANSMIT_BYTES, MAX_SEGMENT),
            sleep: Box::pin(tokio::time::sleep(LONG)),
        })
    }

    /// Binds UDP on every address that `addr` stands for, all on one port, and says which.
    pub(super) fn listen_udp(&mut self, addr: SocketAddr) -> Result<u16, TurnServerError> {
        let mut port = addr.port();
        for ip in relays::expand(addr, &self.own) {
            port = self.listen_one(SocketAddr::new(ip, port))?.1.port();
        }
        Ok(port)
    }

    fn listen_one(&mut self, addr: SocketAddr) -> Result<(Local, SocketAddr), TurnServerError> {
        let failed = |source| TurnServerError::Bind {
            transport: "udp",
            addr,
            source,
        };
        let socket = Socket::bind(addr, LARGE_BUFFER).map_err(failed)?;
        let bound = socket.addr();
        Ok((self.sockets.listen(socket), bound))
    }

    /// Binds what NAT behaviour discovery needs besides the first listening socket.
    pub(super) fn listen_alternate(&mut self, alternate: SocketAddr) -> Result<(), TurnServerError> {
        let Some(first) = self.udp_addrs().first().copied() else {
            return Ok(());
        };
        let second = self.listen_one(SocketAddr::new(first.ip(), alternate.port()))?;
        let third = self.listen_one(SocketAddr::new(alternate.ip(), first.port()))?;
        let fourth = self.listen_one(alternate)?;
        let sockets = [(Local::Socket(0), first), second, third, fourth];
        self.machine.set_behaviour_sockets(BehaviourSockets { sockets });
        Ok(())
    }

    /// The addresses of the UDP sockets.
    pub(super) fn udp_addrs(&self) -> Vec<SocketAddr> {
        self.sockets.listening()
    }

    /// Takes connections from `listener`.
    pub(super) fn accept(&self, listener: TcpListener, acceptor: Option<TlsAcceptor>) {
        tokio::spawn(stream::accept(listener, acceptor, self.to_core.clone()));
    }

    /// Serves until told to stop, or until every handle is gone.
    pub(super) async fn run(mut self) {
        let mut taken = Taken::default();
        loop {
            self.settle();
            if self.is_over(Instant::now()) {
                break;
            }
            self.aim_sleep();
            poll_fn(|cx| self.poll_work(cx, &mut taken)).await;
            let now = Instant::now();
            self.machine.handle_timeout(now);
            self.connections.sweep(now, |path| self.machine.has_allocation(path));
            for command in taken.commands.drain(..) {
                self.obey(command, now);
            }
            for from in taken.from_streams.drain(..) {
                self.hear(from, now);
            }
            self.receive(&mut taken.ready);
        }
        self.machine.close();
        self.settle();
        tracing::info!(counters = ?self.machine.counters(), "TURN server ended");
        if let Some(Stopping { waiter, .. }) = self.stopping {
            let _ = waiter.send(());
        }
    }

    /// Whether nobody waits for anything any more.
    fn is_over(&self, now: Instant) -> bool {
        match &self.stopping {
            Some(Stopping { deadline, waiter }) => {
                self.machine.allocations() == 0 || now >= *deadline || waiter.is_closed()
            }
            None => !self.open,
        }
    }

    fn aim_sleep(&mut self) {
        let deadline = self.stopping.as_ref().map(|stopping| stopping.deadline);
        let deadlines = [self.machine.poll_timeout(), deadline, self.connections.next_sweep()];
        let at = deadlines.into_iter().flatten().min();
        let at = at.unwrap_or_else(|| Instant::now() + LONG);
        // Deadlines mostly move away: waking once too early costs less than setting the timer each time.
        if self.sleep.is_elapsed() || at < self.sleep.deadline().into_std() {
            self.sleep.as_mut().reset(at.into());
        }
    }

    /// Ready when there is anything to do. Registers every source that has nothing.
    fn poll_work(&mut self, cx: &mut Context<'_>, taken: &mut Taken) -> Poll<()> {
        // The sockets then seem to have nothing, and want to be looked at all the same: other tasks are to have their
        // turn.
        if !coop::has_budget_remaining() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let mut ready = self.sockets.poll_ready(cx, &mut taken.ready).is_ready();
        let streams = &mut self.from_streams;
        ready |= streams
            .poll_recv_many(cx, &mut taken.from_streams, MAX_MESSAGES)
            .is_ready();
        if self.open
            && let Poll::Ready(command) = self.commands.poll_recv(cx)
        {
            ready = true;
            self.open = command.is_some();
            taken.commands.extend(command);
        }
        if let Some(stopping) = &mut self.stopping {
            ready |= stopping.waiter.poll_closed(cx).is_ready();
        }
        ready |= self.sleep.as_mut().poll(cx).is_ready();
        if ready { Poll::Ready(()) } else { Poll::Pending }
    }

    fn obey(&mut self, command: Command, now: Instant) {
        match command {
            Command::Stats(answer) => _ = answer.send(self.stats()),
            Command::Stop(waiter) => {
                self.machine.set_draining();
                let deadline = now + self.drain;
                self.stopping = Some(Stopping { deadline, waiter });
            }
        }
    }

    fn stats(&self) -> TurnServerStats {
        TurnServerStats {
            allocations: self.machine.allocations(),
            connections: self.connections.len(),
            refused_connections: self.connections.refused(),
            unsent: self.unsent,
            counters: self.machine.counters(),
        }
    }

    /// Takes what waits in these sockets, within bounds, and sends what becomes of it.
    fn receive(&mut self, ready: &mut Vec<Local>) {
        let mut taken = 0;
        for local in ready.drain(..) {
            let mut batches = 0;
            while let Some(datagrams) = self.sockets.receive(local, &mut self.scratch) {
                let now = Instant::now();
                while let Some(batch) = self.scratch.next_batch() {
                    let path = Path {
                        local,
                        remote: batch.remote,
                    };
                    let (data, stride) = batch.into_parts();
                    self.machine.handle_datagrams(now, path, data, stride);
                }
                taken += datagrams;
                if taken >= MAX_TAKEN {
                    self.settle();
                    taken = 0;
                }
                batches += 1;
                if batches == MAX_BATCHES {
                    self.sockets.note(local);
                    break;
                }
            }
        }
    }

    fn hear(&mut self, from: FromStream, now: Instant) {
        match from {
            FromStream::Accepted(stream, remote, acceptor) => {
                let number = self.next_number();
                let server = self.to_core.clone();
                self.connections.accept(now, number, (stream, remote), acceptor, server);
            }
            FromStream::Message(number, data) => {
                if let Some(path) = self.connections.heard(now, number) {
                    let ecn = Ecn::NotEct;
                    self.machine.handle_datagram(now, Datagram { path, ecn, data });
                }
            }
            FromStream::Closed(number) => {
                if self.connections.ended(number) {
                    self.machine.handle_closed(Local::Tcp(number));
                }
            }
        }
    }

    fn next_number(&mut self) -> u32 {
        self.next_number += 1;
        self.next_number
    }

    /// Does what the machine wants done, until it wants nothing more.
    fn settle(&mut self) {
        self.serve_requests();
        loop {
            while let Some(transmit) = self.machine.poll_transmit(&mut self.out) {
                self.send(&transmit);
            }
            self.unsent += self.sockets.flush(self.out.bytes(0..self.out.len()));
            let was_full = !self.out.has_room();
            self.out.clear();
            if !was_full {
                break;
            }
        }
        self.serve_requests();
    }

    fn serve_requests(&mut self) {
        while let Some(request) = self.machine.poll_io() {
            match request {
                ServerRequest::BindRelay { request, ip } => {
                    let answer = self.bind_relay(request, ip);
                    self.machine.handle_io(Instant::now(), answer);
                }
                ServerRequest::BindEven { request, ip, and_next } => {
                    let answer = self.bind_even(request, ip, and_next);
                    self.machine.handle_io(Instant::now(), answer);
                }
                ServerRequest::Close(Local::Relay(number)) => self.sockets.close_relay(number),
                other => tracing::error!(?other, "a request that this driver does not know"),
            }
        }
    }

    fn bind_relay(&mut self, request: u32, ip: IpAddr) -> ServerAnswer {
        let relay = self.relay.iter().find(|relay| relay.external == ip).copied();
        match relay.and_then(|relay| relays::bind(relay.bind, &self.relay_ports, &mut self.rng)) {
            Some(socket) => {
                let (local, addr) = self.relay_opened(socket, ip);
                ServerAnswer::Bound { request, local, addr }
            }
            None => ServerAnswer::Failed { request },
        }
    }

    fn bind_even(&mut self, request: u32, ip: IpAddr, and_next: bool) -> ServerAnswer {
        let relay = self.relay.iter().find(|relay| relay.external == ip).copied();
        match relay.and_then(|relay| relays::bind_even(relay.bind, &self.relay_ports, and_next, &mut self.rng)) {
            Some((even, None)) => {
                let (local, addr) = self.relay_opened(even, ip);
                ServerAnswer::Bound { request, local, addr }
            }
            Some((even, Some(next))) => ServerAnswer::BoundPair {
                request,
                even: self.relay_opened(even, ip),
                next: self.relay_opened(next, ip),
            },
            None => ServerAnswer::Failed { request },
        }
    }

    fn relay_opened(&mut self, socket: Socket, external: IpAddr) -> (Local, SocketAddr) {
        let addr = SocketAddr::new(external, socket.addr().port());
        let number = self.next_number();
        (self.sockets.relay(number, socket), addr)
    }

    /// Sends it, on a stream now, and otherwise when the sockets are flushed.
    fn send(&mut self, transmit: &Transmit) {
        let lost = match transmit.path.local {
            // A stream knows no datagrams, but there are clients that take what one TLS record holds for one message
            // (those of coturn): each message has a record of its own.
            Local::Tcp(number) => {
                let messages = transmit.datagrams(&self.out);
                messages
                    .filter(|message| !self.connections.send(number, message))
                    .count()
            }
            Local::Socket(_) | Local::Relay(_) if self.sockets.send(transmit) => 0,
            Local::Socket(_) | Local::Relay(_) => transmit.datagrams(&self.out).count(),
        };
        self.unsent += lost as u64;
    }
}
