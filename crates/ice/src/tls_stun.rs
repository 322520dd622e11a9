//! STUN servers over TLS (RFC 7064 §3.2). What they see is where a TCP port of ours is mapped to: so each port that listens for ICE
//! asks from itself, and learns its server-reflexive candidates (RFC 6544 §5.1). Of a connection nothing can be learned for UDP.
//!
//! An interface with an active candidate alone asks from any port: such a candidate names no port, and its address is found all the
//! same. The connections stay until a pair is selected, since many a NAT forgets the mapping with the connection.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_sansio::{Local, Path};
use antiphon_stun::{Class, Message, Retransmission, Step, Transaction, TransactionId};

use crate::agent::Agent;
use crate::candidate::{CandidateKind, TcpType};
use crate::config::{ServerKind, ServerTransport, TransportPolicy};
use crate::event::GatheringState;
use crate::gather::NOT_REACHED;
use crate::io::{Framing, IoRequest};
use crate::local::NewLocal;
use crate::outgoing::Outgoing;
use crate::servers::Server;

/// The most connections to STUN servers.
pub const MAX_STUN_CONNECTIONS: usize = 16;

/// RFC 8489 §6.2.2: sent once, and waited for as long as the questions over UDP.
const QUESTION: Retransmission = Retransmission {
    rto: Duration::from_millis(500),
    max_requests: 1,
    last_wait: 19,
};

/// The port that an active candidate names (RFC 6544 §4.5).
const DISCARD: u16 = 9;

/// A connection to a STUN server, from the port of one of our candidates.
#[derive(Debug)]
pub(crate) struct StunConnection {
    /// The driver's name for it; before it stands the number of the request for it.
    local: Result<Local, u32>,
    /// Which candidate asks.
    end: Local,
    interface: IpAddr,
    server: Server,
    transaction: Option<Transaction>,
}

impl StunConnection {
    pub(crate) fn local(&self) -> Option<Local> {
        self.local.ok()
    }

    pub(crate) fn is_on(&self, ip: IpAddr) -> bool {
        self.interface == ip
    }

    fn is_waiting(&self) -> bool {
        self.local.is_err() || self.transaction.is_some()
    }

    fn path(&self) -> Option<Path> {
        self.local().map(|local| Path {
            local,
            remote: self.server.addr,
        })
    }
}

fn is_stun_over_tls(server: &Server) -> bool {
    server.url.kind == ServerKind::Stun && server.url.transport == ServerTransport::Tls
}

impl Agent {
    /// Whether any interface can have a TCP candidate.
    pub(crate) fn has_tcp(&self) -> bool {
        let (tcp, types) = (self.config.tcp, self.config.network_types);
        (tcp.active || tcp.passive || tcp.simultaneous_open) && (types.tcp4 || types.tcp6)
    }

    /// Asks these servers about every TCP candidate, as far as they are STUN servers over TLS.
    pub(crate) fn ask_tls_stun_servers(&mut self, now: Instant, servers: &[Server]) {
        let tcp = |kind, tcp_type: Option<TcpType>| kind == CandidateKind::Host && tcp_type.is_some();
        let ends: Vec<Local> = self
            .locals
            .iter()
            .filter(|local| tcp(local.candidate.kind, local.candidate.tcp_type))
            .map(|local| local.local)
            .collect();
        for end in ends {
            self.ask_tls_stun(now, end, servers);
        }
    }

    /// Asks them about the TCP candidate at this end.
    pub(crate) fn ask_tls_stun(&mut self, now: Instant, end: Local, servers: &[Server]) {
        let host = self
            .locals
            .iter()
            .find(|local| local.local == end && local.candidate.kind == CandidateKind::Host);
        let Some(host) = host else { return };
        let (ip, base, active) = (
            host.interface,
            host.base,
            host.candidate.tcp_type == Some(TcpType::Active),
        );
        // What a port that listens learns holds for the active candidate of its interface too (RFC 6544 §5.1).
        let listens = self.config.tcp.passive || self.config.tcp.simultaneous_open;
        let policy = self.config.transport_policy == TransportPolicy::All && !self.config.lite;
        if self.gatherer.state() != GatheringState::Gathering || !policy || (active && listens) {
            return;
        }
        for server in servers
            .iter()
            .filter(|server| is_stun_over_tls(server) && server.fits(ip))
        {
            let known = self
                .gatherer
                .stun_connections
                .iter()
                .position(|known| known.end == end && known.server.url == server.url);
            match known {
                Some(index) if self.gatherer.stun_connections[index].is_waiting() => {}
                Some(index) => self.ask_over_tls(now, index),
                None => self.connect_to_stun(end, ip, if active { 0 } else { base.port() }, server.clone()),
            }
        }
    }

    fn connect_to_stun(&mut self, end: Local, interface: IpAddr, from_port: u16, server: Server) {
        if self.gatherer.stun_connections.len() >= MAX_STUN_CONNECTIONS {
            self.counters.over_limit += 1;
            return;
        }
        let request = self.next_request();
        self.push_io(IoRequest::ConnectTcp {
            request,
            from: interface,
            from_port,
            to: server.addr,
            framing: Framing::Turn,
            tls: Some(server.url.host.clone()),
        });
        self.gatherer.stun_connections.push(StunConnection {
            local: Err(request),
            end,
            interface,
            server,
            transaction: None,
        });
    }

    /// Takes the connection that was asked for, if it is one.
    pub(crate) fn stun_connected(&mut self, now: Instant, request: u32, local: Local) -> bool {
        let mut connections = self.gatherer.stun_connections.iter();
        let Some(index) = connections.position(|connection| connection.local == Err(request)) else {
            return false;
        };
        self.gatherer.stun_connections[index].local = Ok(local);
        self.ask_over_tls(now, index);
        true
    }

    fn ask_over_tls(&mut self, now: Instant, index: usize) {
        let id = TransactionId::random(&mut self.rng);
        let connection = &mut self.gatherer.stun_connections[index];
        connection.transaction = Some(Transaction::new(now, id, QUESTION));
        if let Some(path) = connection.path() {
            self.push_outgoing(Outgoing::Probe { path, id });
        }
    }

    /// Takes the refusal of a connection, if it was to a STUN server: its name's next address is tried.
    pub(crate) fn stun_connection_failed(&mut self, request: u32, reason: &str) -> bool {
        let mut connections = self.gatherer.stun_connections.iter();
        let Some(index) = connections.position(|connection| connection.local == Err(request)) else {
            return false;
        };
        let failed = self.gatherer.stun_connections.swap_remove(index);
        self.report_stun(&failed, NOT_REACHED, reason);
        if let Some(next) = failed.server.next_address() {
            let host = self.locals.iter().find(|local| local.local == failed.end);
            let from_port = host.map_or(0, |host| match host.candidate.tcp_type {
                Some(TcpType::Active) => 0,
                _ => host.base.port(),
            });
            self.connect_to_stun(failed.end, failed.interface, from_port, next);
        }
        true
    }

    fn report_stun(&mut self, connection: &StunConnection, code: u16, text: &str) {
        let url = connection.server.url.to_string();
        self.candidate_error(&url, Some(SocketAddr::new(connection.interface, 0)), code, text);
    }

    /// A connection ended. Returns whether it was one to a STUN server.
    pub(crate) fn stun_connection_closed(&mut self, local: Local) -> bool {
        let mut connections = self.gatherer.stun_connections.iter();
        let Some(index) = connections.position(|connection| connection.local == Ok(local)) else {
            return false;
        };
        let closed = self.gatherer.stun_connections.swap_remove(index);
        if closed.is_waiting() {
            self.report_stun(&closed, NOT_REACHED, "the STUN server closed the connection");
        }
        true
    }

    pub(crate) fn handle_tls_stun_timeout(&mut self, now: Instant) {
        let mut index = 0;
        while index < self.gatherer.stun_connections.len() {
            let transaction = &mut self.gatherer.stun_connections[index].transaction;
            let over = transaction
                .as_mut()
                .is_some_and(|transaction| transaction.handle_timeout(now) == Step::TimedOut);
            if !over {
                index += 1;
                continue;
            }
            let silent = self.gatherer.stun_connections.swap_remove(index);
            self.report_stun(&silent, NOT_REACHED, "the STUN server did not answer");
            if let Some(local) = silent.local() {
                self.push_io(IoRequest::Close(local));
            }
        }
    }

    pub(crate) fn tls_stun_timeout(&self) -> Option<Instant> {
        let connections = self.gatherer.stun_connections.iter();
        let transactions = connections.filter_map(|connection| connection.transaction.as_ref());
        transactions.map(Transaction::poll_timeout).min()
    }

    /// Takes what came over a connection to a STUN server, if it came over one: nothing but the answer is of any use.
    pub(crate) fn handle_tls_stun_message(&mut self, now: Instant, path: Path, data: &[u8]) -> bool {
        let mut connections = self.gatherer.stun_connections.iter();
        let Some(index) = connections.position(|connection| connection.local == Ok(path.local)) else {
            return false;
        };
        let connection = &mut self.gatherer.stun_connections[index];
        let asked = connection.transaction.as_ref().map(Transaction::id);
        let message = Message::parse(data).ok();
        let answer = message.filter(|message| {
            matches!(message.class(), Class::Success | Class::Error) && Some(message.transaction_id()) == asked
        });
        let Some(answer) = answer else {
            self.counters.unexpected_response += 1;
            return true;
        };
        connection.transaction = None;
        if answer.class() == Class::Error {
            let error = answer.error_code();
            let code = error.map_or(NOT_REACHED, |error| error.code);
            let text = error.map_or("the STUN server refused", |error| error.reason());
            let refused = self.gatherer.stun_connections.swap_remove(index);
            self.report_stun(&refused, code, text);
            self.push_io(IoRequest::Close(path.local));
            return true;
        }
        let (end, url) = (connection.end, connection.server.url.to_string());
        let mapped = answer.xor_mapped_address().or_else(|| answer.mapped_address());
        let plausible = |mapped: &SocketAddr| !mapped.ip().is_unspecified() && mapped.port() != 0;
        if let Some(mapped) = mapped.filter(plausible) {
            self.insert_tcp_reflexive(now, end, mapped, &url, path.remote.ip());
        }
        true
    }

    /// The candidate of this end, and the active one of its interface, as the server sees them.
    fn insert_tcp_reflexive(&mut self, now: Instant, end: Local, mapped: SocketAddr, url: &str, server: IpAddr) {
        let Some(asked) = self.locals.iter().find(|local| local.local == end) else {
            return;
        };
        let interface = asked.interface;
        let found: Vec<NewLocal> = self
            .locals
            .iter()
            .filter(|local| {
                let active = local.candidate.tcp_type == Some(TcpType::Active) && local.interface == interface;
                local.candidate.kind == CandidateKind::Host && (local.local == end || active)
            })
            .filter(|local| local.base.is_ipv4() == mapped.is_ipv4())
            .map(|local| {
                let tcp_type = local.candidate.tcp_type;
                let port = match tcp_type {
                    Some(TcpType::Active) => DISCARD,
                    _ => mapped.port(),
                };
                NewLocal {
                    kind: CandidateKind::ServerReflexive,
                    addr: SocketAddr::new(mapped.ip(), port),
                    url: Some(url.to_owned()),
                    server: Some(server),
                    ..NewLocal::host(local.local, interface, local.base, local.local_preference, tcp_type)
                }
            })
            .collect();
        for new in found {
            self.insert_local(now, new);
        }
    }

    /// Closes the connections once a pair is selected and gathering is over: no mapping is waited for any more.
    pub(crate) fn sweep_stun_connections(&mut self) {
        let done = self.selected.is_some() && self.gatherer.state() == GatheringState::Complete;
        if !done || self.gatherer.stun_connections.is_empty() {
            return;
        }
        for connection in std::mem::take(&mut self.gatherer.stun_connections) {
            if let Some(local) = connection.local() {
                self.push_io(IoRequest::Close(local));
            }
        }
    }

    pub(crate) fn is_waiting_for_tls_stun(&self) -> bool {
        self.gatherer.stun_connections.iter().any(StunConnection::is_waiting)
    }
}
