//! The TCP and TLS connections of clients: how many there may be, and which are open for nothing.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antiphon_sansio::{Local, Path};
use bytes::Bytes;
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use super::config::TurnServerConfig;
use super::stream::{self, FromStream, MAX_WAITING};

/// How often idle connections are looked for.
const SWEEP: Duration = Duration::from_secs(5);

struct Connection {
    remote: SocketAddr,
    outgoing: mpsc::Sender<Bytes>,
    last_heard: Instant,
}

impl Connection {
    fn path(&self, number: u32) -> Path {
        Path {
            local: Local::Tcp(number),
            remote: self.remote,
        }
    }
}

/// All of them, by the number of `Local::Tcp`.
pub(super) struct Connections {
    open: BTreeMap<u32, Connection>,
    max: usize,
    max_per_address: usize,
    idle: Duration,
    refused: u64,
    next_sweep: Instant,
}

impl Connections {
    pub(super) fn new(config: &TurnServerConfig, now: Instant) -> Self {
        Self {
            open: BTreeMap::new(),
            max: config.max_connections,
            max_per_address: config.max_connections_per_address,
            idle: config.idle_connection,
            refused: 0,
            next_sweep: now + SWEEP,
        }
    }

    /// Has a new connection served by a task of its own, which reports to `server`, if there is room for one.
    pub(super) fn accept(
        &mut self,
        now: Instant,
        number: u32,
        (stream, remote): (TcpStream, SocketAddr),
        acceptor: Option<TlsAcceptor>,
        server: mpsc::Sender<FromStream>,
    ) {
        let same = self.open.values().filter(|c| c.remote.ip() == remote.ip()).count();
        if self.open.len() >= self.max || same >= self.max_per_address {
            self.refused += 1;
            return;
        }
        let (outgoing, waiting) = mpsc::channel(MAX_WAITING);
        let connection = Connection {
            remote,
            outgoing,
            last_heard: now,
        };
        self.open.insert(number, connection);
        tokio::spawn(stream::serve(number, stream, acceptor, server, waiting));
    }

    /// A message came: from whom, if the connection is still one of ours.
    pub(super) fn heard(&mut self, now: Instant, number: u32) -> Option<Path> {
        let connection = self.open.get_mut(&number)?;
        connection.last_heard = now;
        Some(connection.path(number))
    }

    /// Hands over a message to be written; `false` if the client reads too slowly, or is gone.
    pub(super) fn send(&self, number: u32, message: &[u8]) -> bool {
        self.open
            .get(&number)
            .is_some_and(|connection| connection.outgoing.try_send(Bytes::copy_from_slice(message)).is_ok())
    }

    /// A connection ended; `false` if it is none of ours any more.
    pub(super) fn ended(&mut self, number: u32) -> bool {
        self.open.remove(&number).is_some()
    }

    /// Closes connections that are open for nothing: nothing came for a while, and they have no use.
    pub(super) fn sweep(&mut self, now: Instant, has_use: impl Fn(&Path) -> bool) {
        if now < self.next_sweep {
            return;
        }
        self.next_sweep = now + SWEEP;
        let idle = self.idle;
        self.open.retain(|number, connection| {
            now.saturating_duration_since(connection.last_heard) < idle || has_use(&connection.path(*number))
        });
    }

    /// When to look for idle ones, if there are any connections.
    pub(super) fn next_sweep(&self) -> Option<Instant> {
        (!self.open.is_empty()).then_some(self.next_sweep)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// How many were refused for want of room.
    pub(super) fn refused(&self) -> u64 {
        self.refused
    }
}
