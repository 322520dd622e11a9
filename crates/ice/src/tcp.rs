//! ICE over TCP (RFC 6544): listeners, connections, and the pairs that wait for one.
//!
//! The path of a pair begins with a connection, and before there is one with a placeholder: a `Local::Tcp` with a number that
//! no driver uses, one for each TCP candidate. Accepted connections belong to the candidate whose listener took them.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_sansio::Local;

use crate::agent::Agent;
use crate::candidate::TcpType;
use crate::interfaces::{Interface, PortTry};
use crate::io::{Framing, IoRequest};
use crate::local::NewLocal;
use crate::stats::PairState;

/// The most TCP connections of one agent for its candidates, accepted ones and those still being opened too.
pub const MAX_CONNECTIONS: usize = 64;

/// The numbers of `Local::Tcp` from here on are the agents' own: drivers name connections by smaller ones.
pub const FIRST_RESERVED_CONNECTION: u32 = 1 << 31;

/// The port that an active candidate names (RFC 6544 §4.5).
const DISCARD: u16 = 9;

/// How long a connection may have no pair that works or is checked.
const IDLE_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Debug)]
struct Listener {
    request: u32,
    interface: Interface,
    tcp_type: TcpType,
    port: PortTry,
    /// The candidate's placeholder.
    end: Local,
    stands: bool,
}

#[derive(Debug)]
struct Connecting {
    request: u32,
    pair: u64,
}

#[derive(Debug)]
struct Connection {
    local: Local,
    interface: IpAddr,
    /// The placeholder of the candidate that it belongs to.
    end: Local,
    idle_since: Instant,
}

#[derive(Debug, Default)]
pub(crate) struct Tcp {
    listeners: Vec<Listener>,
    connecting: Vec<Connecting>,
    connections: Vec<Connection>,
    ends: u32,
}

impl Tcp {
    fn new_end(&mut self) -> Local {
        self.ends = self.ends.wrapping_add(1) % FIRST_RESERVED_CONNECTION;
        Local::Tcp(FIRST_RESERVED_CONNECTION + self.ends)
    }

    pub(crate) fn is_waiting_for_listeners(&self) -> bool {
        self.listeners.iter().any(|listener| !listener.stands)
    }

    /// The end that the candidate of this connection has; of what is no connection, itself.
    pub(crate) fn end_of(&self, local: Local) -> Local {
        let connection = self.connections.iter().find(|connection| connection.local == local);
        connection.map_or(local, |connection| connection.end)
    }

    fn is_full(&self) -> bool {
        self.connections.len() + self.connecting.len() >= MAX_CONNECTIONS
    }

    fn take_connecting(&mut self, request: u32) -> Option<Connecting> {
        let index = self.connecting.iter().position(|c| c.request == request)?;
        Some(self.connecting.swap_remove(index))
    }
}

/// Whether a pair on this end has to be connected before it can be checked.
pub(crate) fn is_placeholder(local: Local) -> bool {
    matches!(local, Local::Tcp(number) if number >= FIRST_RESERVED_CONNECTION)
}

impl Agent {
    pub(crate) fn insert_active(&mut self, now: Instant, interface: Interface) {
        let base = SocketAddr::new(interface.ip, DISCARD);
        let end = self.tcp.new_end();
        let tcp_type = Some(TcpType::Active);
        self.insert_host(
            now,
            NewLocal::host(end, interface.ip, base, interface.local_preference, tcp_type),
        );
        let servers = self.gatherer.servers.clone();
        self.ask_tls_stun(now, end, &servers);
    }

    pub(crate) fn listen(&mut self, interface: Interface, tcp_type: TcpType, port: PortTry) {
        let request = self.next_request();
        let end = self.tcp.new_end();
        self.push_io(IoRequest::ListenTcp {
            request,
            addr: SocketAddr::new(interface.ip, port.port),
        });
        self.tcp.listeners.push(Listener {
            request,
            interface,
            tcp_type,
            port,
            end,
            stands: false,
        });
    }

    pub(crate) fn listening(&mut self, now: Instant, request: u32, addr: SocketAddr) {
        let known = self.tcp.listeners.iter_mut().find(|l| l.request == request);
        let Some(listener) = known.filter(|_| !addr.ip().is_unspecified()) else {
            self.push_io(IoRequest::CloseListener { request });
            return;
        };
        listener.stands = true;
        let (end, interface, tcp_type) = (listener.end, listener.interface, listener.tcp_type);
        let new = NewLocal::host(end, interface.ip, addr, interface.local_preference, Some(tcp_type));
        self.insert_host(now, new);
        let servers = self.gatherer.servers.clone();
        self.ask_tls_stun(now, end, &servers);
    }

    /// Opens the connection of a pair whose turn has come (RFC 6544 §7.1).
    pub(crate) fn connect(&mut self, now: Instant, index: usize) {
        if self.tcp.is_full() {
            self.counters.over_limit += 1;
            self.pairs[index].fail();
            return;
        }
        let request = self.next_request();
        let pair = &mut self.pairs[index];
        let local = &self.locals[pair.local];
        pair.state = PairState::InProgress;
        pair.checking_since = Some(now);
        pair.recheck_at = None;
        let simultaneous = local.candidate.tcp_type == Some(TcpType::SimultaneousOpen);
        let connect = IoRequest::ConnectTcp {
            request,
            from: local.interface,
            from_port: if simultaneous { local.base.port() } else { 0 },
            to: pair.path.remote,
            framing: Framing::Rfc4571,
            tls: None,
        };
        let pair = pair.id;
        self.tcp.connecting.push(Connecting { request, pair });
        self.push_io(connect);
    }

    pub(crate) fn is_connecting(&self, pair: u64) -> bool {
        self.tcp.connecting.iter().any(|connecting| connecting.pair == pair)
    }

    /// The connection that [`connect`](Self::connect) asked for stands.
    pub(crate) fn connected(&mut self, now: Instant, request: u32, local: Local, _addr: SocketAddr) {
        let pair = self.tcp.take_connecting(request).map(|connecting| connecting.pair);
        let index = pair.and_then(|id| self.pairs.iter().position(|pair| pair.id == id));
        // The pair may be gone, or have failed, or have been reached by a connection of the other end.
        let usable = index.filter(|&index| is_placeholder(self.pairs[index].path.local) && !is_placeholder(local));
        match usable {
            Some(index) => self.adopt(now, index, local),
            None => self.push_io(IoRequest::Close(local)),
        }
    }

    fn adopt(&mut self, now: Instant, index: usize, local: Local) {
        let pair = &mut self.pairs[index];
        let candidate = &self.locals[pair.local];
        self.tcp.connections.push(Connection {
            local,
            interface: candidate.interface,
            end: candidate.local,
            idle_since: now,
        });
        pair.path.local = local;
        let id = pair.id;
        self.trigger(id);
    }

    /// Somebody connected to a listener of ours. Nothing is known of who it is before a valid check comes.
    pub(crate) fn accepted(&mut self, now: Instant, request: u32, local: Local, _addr: SocketAddr, remote: SocketAddr) {
        let listener = self.tcp.listeners.iter().find(|listener| listener.request == request);
        let Some(listener) = listener.filter(|_| !self.tcp.is_full() && !is_placeholder(local)) else {
            self.counters.over_limit += 1;
            self.push_io(IoRequest::Close(local));
            return;
        };
        let (end, interface) = (listener.end, listener.interface.ip);
        // Of a simultaneous open one end may see an attempt of its own and the other a connection that it accepted.
        let awaited = self.pairs.iter().position(|pair| {
            pair.path.local == end && pair.path.remote == remote && pair.state == PairState::InProgress
        });
        if let Some(index) = awaited {
            self.adopt(now, index, local);
            return;
        }
        self.tcp.connections.push(Connection {
            local,
            interface,
            end,
            idle_since: now,
        });
    }

    /// Takes the refusal of a request of ours, if it is one.
    pub(crate) fn tcp_failed(&mut self, request: u32) -> bool {
        if let Some(connecting) = self.tcp.take_connecting(request) {
            let waiting = |pair: &&mut crate::pair::Pair| pair.id == connecting.pair && is_placeholder(pair.path.local);
            if let Some(pair) = self.pairs.iter_mut().find(waiting) {
                pair.fail();
            }
            return true;
        }
        let Some(index) = self.tcp.listeners.iter().position(|l| l.request == request) else {
            return false;
        };
        let listener = self.tcp.listeners.swap_remove(index);
        if !listener.stands
            && let Some(port) = self.next_port(listener.port)
        {
            self.listen(listener.interface, listener.tcp_type, port);
        }
        true
    }

    /// A connection ended. Its pair can be connected again, if we are the end that connects. Returns whether it was one of
    /// these.
    pub(crate) fn connection_closed(&mut self, now: Instant, local: Local) -> bool {
        let Some(index) = self.tcp.connections.iter().position(|c| c.local == local) else {
            return false;
        };
        let end = self.tcp.connections.swap_remove(index).end;
        self.forget_previous_on(local);
        let in_use = self.active().map(|index| self.pairs[index].id);
        let Some(index) = self.pairs.iter().position(|pair| pair.path.local == local) else {
            return true;
        };
        let pair = &mut self.pairs[index];
        pair.fail();
        pair.authenticated = false;
        pair.nominated = false;
        pair.path.local = end;
        let id = pair.id;
        if self.selected == Some(id) {
            self.selected = None;
        }
        if in_use == Some(id) {
            self.path_lost(now);
        }
        true
    }

    /// The connections of an interface that is gone, which are forgotten; its listeners are closed.
    pub(crate) fn connections_of(&mut self, ip: IpAddr) -> Vec<Local> {
        let (gone, kept): (Vec<Listener>, Vec<Listener>) = std::mem::take(&mut self.tcp.listeners)
            .into_iter()
            .partition(|listener| listener.interface.ip == ip);
        self.tcp.listeners = kept;
        for listener in gone {
            self.push_io(IoRequest::CloseListener {
                request: listener.request,
            });
        }
        let (gone, kept): (Vec<Connection>, Vec<Connection>) = std::mem::take(&mut self.tcp.connections)
            .into_iter()
            .partition(|connection| connection.interface == ip);
        self.tcp.connections = kept;
        gone.into_iter().map(|connection| connection.local).collect()
    }

    /// Closes what no pair uses: strangers' connections, and those whose checks failed.
    pub(crate) fn sweep_connections(&mut self, now: Instant) {
        let mut index = 0;
        while index < self.tcp.connections.len() {
            let connection = &self.tcp.connections[index];
            if self.is_idle(connection) {
                if connection.idle_since + IDLE_TIMEOUT <= now {
                    let local = self.tcp.connections.swap_remove(index).local;
                    self.push_io(IoRequest::Close(local));
                    continue;
                }
            } else {
                self.tcp.connections[index].idle_since = now;
            }
            index += 1;
        }
    }

    fn is_idle(&self, connection: &Connection) -> bool {
        let uses =
            |pair: &crate::pair::Pair| pair.path.local == connection.local && !matches!(pair.state, PairState::Failed);
        let previous = self.previous.as_ref();
        !self.pairs.iter().any(uses) && !previous.is_some_and(|previous| uses(&previous.pair))
    }

    pub(crate) fn tcp_timeout(&self) -> Option<Instant> {
        self.tcp
            .connections
            .iter()
            .filter(|connection| self.is_idle(connection))
            .map(|connection| connection.idle_since + IDLE_TIMEOUT)
            .min()
    }

    pub(crate) fn close_tcp(&mut self) {
        let tcp = std::mem::take(&mut self.tcp);
        for connection in tcp.connections {
            self.push_io(IoRequest::Close(connection.local));
        }
        for listener in tcp.listeners {
            self.push_io(IoRequest::CloseListener {
                request: listener.request,
            });
        }
    }
}
