//! The one task that owns the machine and its sockets.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_sansio::{Datagram, Ecn, Local, Path, Rng, Transmit, TransmitBuf};
use antiphon_turn::{BehaviourSockets, Server, ServerAnswer, ServerRequest};
use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, oneshot};
use tokio_rustls::TlsAcceptor;

use super::config::{RelayAddress, TurnServerConfig};
use super::error::TurnServerError;
use super::relays;
use super::stats::TurnServerStats;
use super::stream::{self, FromStream, MAX_WAITING};
use super::udp::{Readable, Udp};
use crate::net::run::Run;
use crate::net::scratch::Scratch;
use crate::net::socket::LARGE_BUFFER;

/// Batches taken from one socket before the others have their turn.
const MAX_BATCHES: usize = 4;
/// Messages of connections that wait for the server; a connection that sends faster is read slower.
const MAX_INCOMING: usize = 256;
/// The largest message: a datagram of 64 kB in a Data indication.
const MAX_SEGMENT: usize = 66_000;
/// How often idle connections are looked for.
const SWEEP: Duration = Duration::from_secs(5);

/// What handles ask.
pub(super) enum Command {
    Stats(oneshot::Sender<TurnServerStats>),
    /// End when all allocations are gone, or when the time to drain is over, or when nobody waits any more.
    Stop(oneshot::Sender<()>),
}

struct Connection {
    remote: SocketAddr,
    outgoing: mpsc::Sender<Bytes>,
    last_heard: Instant,
}

pub(super) struct Core {
    machine: Server,
    rng: Rng,
    own: Vec<IpAddr>,
    relay: Vec<RelayAddress>,
    relay_ports: RangeInclusive<u16>,
    /// Sockets of clients, by the number of `Local::Socket`.
    listening: Vec<Arc<Udp>>,
    /// By the number of `Local::Relay`.
    relayed: BTreeMap<u32, Arc<Udp>>,
    /// By the number of `Local::Tcp`.
    connections: BTreeMap<u32, Connection>,
    next_number: u32,
    ready: FuturesUnordered<Readable>,
    to_core: mpsc::Sender<FromStream>,
    from_streams: mpsc::Receiver<FromStream>,
    commands: mpsc::Receiver<Command>,
    max_connections: usize,
    max_connections_per_address: usize,
    idle_connection: Duration,
    drain: Duration,
    refused_connections: u64,
    unsent: u64,
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
            listening: Vec::new(),
            relayed: BTreeMap::new(),
            connections: BTreeMap::new(),
            next_number: 0,
            ready: FuturesUnordered::new(),
            to_core,
            from_streams,
            commands,
            max_connections: config.max_connections,
            max_connections_per_address: config.max_connections_per_address,
            idle_connection: config.idle_connection,
            drain: config.drain,
            refused_connections: 0,
            unsent: 0,
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
        let udp = Udp::bind(addr, LARGE_BUFFER).map_err(failed)?;
        let bound = udp.socket.addr();
        let local = Local::Socket(self.listening.len() as u32);
        self.ready.push(udp.clone().readable(local));
        self.listening.push(udp);
        Ok((local, bound))
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
        self.listening.iter().map(|udp| udp.socket.addr()).collect()
    }

    /// Takes connections from `listener`.
    pub(super) fn accept(&self, listener: TcpListener, acceptor: Option<TlsAcceptor>) {
        tokio::spawn(stream::accept(listener, acceptor, self.to_core.clone()));
    }

    /// Serves until told to stop, or until every handle is gone.
    pub(super) async fn run(mut self) {
        let mut out = TransmitBuf::new(4 * MAX_SEGMENT, MAX_SEGMENT);
        let mut scratch = Scratch::default();
        let mut sweep = tokio::time::interval(SWEEP);
        let mut stopping: Option<(Instant, oneshot::Sender<()>)> = None;
        loop {
            self.settle(&mut out);
            if let Some((deadline, waiter)) = &stopping
                && (self.machine.allocations() == 0 || Instant::now() >= *deadline || waiter.is_closed())
            {
                break;
            }
            let next = [
                self.machine.poll_timeout(),
                stopping.as_ref().map(|(deadline, _)| *deadline),
            ];
            let next = next.into_iter().flatten().min();
            let timeout = async {
                match next {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                Some(ready) = self.ready.next() => {
                    if let Some((local, udp)) = ready {
                        self.receive(local, udp, &mut scratch, &mut out);
                    }
                }
                Some(from) = self.from_streams.recv() => self.heard(from),
                () = timeout => self.machine.handle_timeout(Instant::now()),
                _ = sweep.tick() => self.sweep(),
                command = self.commands.recv() => match command {
                    Some(Command::Stats(answer)) => _ = answer.send(self.stats()),
                    Some(Command::Stop(done)) => {
                        self.machine.set_draining();
                        stopping = Some((Instant::now() + self.drain, done));
                    }
                    // Every handle is gone: unless one of them waits for the end, this is it.
                    None if stopping.is_none() => break,
                    None => tokio::time::sleep(Duration::from_millis(50)).await,
                },
            }
        }
        self.machine.close(Instant::now());
        self.settle(&mut out);
        for udp in self.listening.iter().chain(self.relayed.values()) {
            udp.close();
        }
        tracing::info!(counters = ?self.machine.counters(), "TURN server ended");
        if let Some((_, done)) = stopping {
            let _ = done.send(());
        }
    }

    fn stats(&self) -> TurnServerStats {
        TurnServerStats {
            allocations: self.machine.allocations(),
            connections: self.connections.len(),
            refused_connections: self.refused_connections,
            unsent: self.unsent,
            counters: self.machine.counters(),
        }
    }

    fn receive(&mut self, local: Local, udp: Arc<Udp>, scratch: &mut Scratch, out: &mut TransmitBuf) {
        for _ in 0..MAX_BATCHES {
            let now = Instant::now();
            // Whoever sends is somebody: the machine says who may have what.
            let received = udp.socket.receive(scratch, |_, _| true);
            while let Some(batch) = scratch.next_batch() {
                let (remote, ecn) = (batch.remote, batch.ecn);
                let path = Path { local, remote };
                for data in batch.datagrams() {
                    self.machine.handle_datagram(now, Datagram { path, ecn, data });
                }
            }
            self.settle(out);
            match received {
                Ok(received) if !received.more => break,
                Ok(_) => {}
                // ICMP errors of earlier datagrams surface here; the socket itself is fine.
                Err(error) => tracing::debug!(%local, %error, "receive"),
            }
        }
        let open = match local {
            Local::Relay(number) => self.relayed.contains_key(&number),
            _ => true,
        };
        if open {
            self.ready.push(udp.readable(local));
        }
    }

    fn heard(&mut self, from: FromStream) {
        let now = Instant::now();
        match from {
            FromStream::Accepted(stream, remote, acceptor) => self.accepted(now, stream, remote, acceptor),
            FromStream::Message(number, data) => self.take_message(now, number, data),
            FromStream::Closed(number) => {
                if self.connections.remove(&number).is_some() {
                    self.machine.handle_closed(now, Local::Tcp(number));
                }
            }
        }
    }

    fn accepted(&mut self, now: Instant, stream: TcpStream, remote: SocketAddr, acceptor: Option<TlsAcceptor>) {
        let same = self
            .connections
            .values()
            .filter(|c| c.remote.ip() == remote.ip())
            .count();
        if self.connections.len() >= self.max_connections || same >= self.max_connections_per_address {
            self.refused_connections += 1;
            return;
        }
        self.next_number += 1;
        let number = self.next_number;
        let (outgoing, waiting) = mpsc::channel(MAX_WAITING);
        let connection = Connection {
            remote,
            outgoing,
            last_heard: now,
        };
        self.connections.insert(number, connection);
        tokio::spawn(stream::serve(number, stream, acceptor, self.to_core.clone(), waiting));
    }

    fn take_message(&mut self, now: Instant, number: u32, data: BytesMut) {
        let Some(connection) = self.connections.get_mut(&number) else {
            return;
        };
        connection.last_heard = now;
        let path = Path {
            local: Local::Tcp(number),
            remote: connection.remote,
        };
        let ecn = Ecn::NotEct;
        self.machine.handle_datagram(now, Datagram { path, ecn, data });
    }

    /// Closes connections that are open for nothing.
    fn sweep(&mut self) {
        let now = Instant::now();
        let machine = &self.machine;
        self.connections.retain(|number, connection| {
            let path = Path {
                local: Local::Tcp(*number),
                remote: connection.remote,
            };
            now.saturating_duration_since(connection.last_heard) < self.idle_connection || machine.has_allocation(&path)
        });
    }

    /// Does what the machine wants done, until it wants nothing more.
    fn settle(&mut self, out: &mut TransmitBuf) {
        self.serve_requests();
        let now = Instant::now();
        while let Some(transmit) = self.machine.poll_transmit(now, out) {
            self.send(&transmit, out.bytes(0..out.len()));
            out.clear();
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
                ServerRequest::Close(Local::Relay(number)) => {
                    if let Some(udp) = self.relayed.remove(&number) {
                        udp.close();
                    }
                }
                other => tracing::error!(?other, "a request that this driver does not know"),
            }
        }
    }

    fn bind_relay(&mut self, request: u32, ip: IpAddr) -> ServerAnswer {
        let relay = self.relay.iter().find(|relay| relay.external == ip).copied();
        match relay.and_then(|relay| relays::bind(relay.bind, &self.relay_ports, &mut self.rng)) {
            Some(udp) => {
                let (local, addr) = self.relay_opened(udp, ip);
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

    fn relay_opened(&mut self, udp: Arc<Udp>, external: IpAddr) -> (Local, SocketAddr) {
        self.next_number += 1;
        let local = Local::Relay(self.next_number);
        let addr = SocketAddr::new(external, udp.socket.addr().port());
        self.ready.push(udp.clone().readable(local));
        self.relayed.insert(self.next_number, udp);
        (local, addr)
    }

    fn send(&mut self, transmit: &Transmit, buffer: &[u8]) {
        // What the system does not take is lost, as on any link.
        let send = |udp: &Arc<Udp>| {
            let sent = udp.socket.send(&[Run::of(transmit)], buffer);
            sent.runs == 1 && sent.lost == 0
        };
        let sent = match transmit.path.local {
            Local::Socket(number) => self.listening.get(number as usize).is_some_and(send),
            Local::Relay(number) => self.relayed.get(&number).is_some_and(send),
            Local::Tcp(number) => self.connections.get(&number).is_some_and(|c| {
                let bytes = Bytes::copy_from_slice(&buffer[transmit.range.clone()]);
                c.outgoing.try_send(bytes).is_ok()
            }),
        };
        self.unsent += u64::from(!sent);
    }
}
