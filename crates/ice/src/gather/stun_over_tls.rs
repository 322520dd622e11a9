//! STUN servers over TLS (RFC 7064 §3.2). What they see is where a TCP port of ours is mapped to: so each port that
//! listens for ICE asks from itself, and learns its server-reflexive candidates (RFC 6544 §5.1). Of a connection
//! nothing can be learned for UDP.
//!
//! An interface with an active candidate alone asks from any port: such a candidate names no port, and its address is
//! found all the same. The connections stay until a pair is selected, since many a NAT forgets the mapping with the
//! connection.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_sansio::{Local, Path};
use antiphon_stun::{Class, Message, Retransmission, Step, Transaction, TransactionId};

use super::server::Server;
use super::tcp_ends::{TcpEnd, TcpEnds};
use crate::candidate::CandidateKind;
use crate::config::{Config, TransportPolicy};
use crate::context::{Context, NOT_REACHED};
use crate::io::{Framing, IoRequest};
use crate::message::Outgoing;
use crate::notice::{NewLocal, Notice};
use crate::placeholder::DISCARD;

/// The most connections to STUN servers.
pub const MAX_STUN_CONNECTIONS: usize = 16;

/// RFC 8489 §6.2.2: sent once, and waited for as long as the questions over UDP.
const QUESTION: Retransmission = Retransmission {
    rto: Duration::from_millis(500),
    max_requests: 1,
    last_wait: 19,
};

/// A connection to a STUN server, from the port of one of our candidates.
#[derive(Debug)]
struct StunConnection {
    /// The driver's name for it; before it stands the number of the request for it.
    local: Result<Local, u32>,
    /// The placeholder of the candidate that asks.
    end: Local,
    interface: IpAddr,
    server: Server,
    transaction: Option<Transaction>,
}

impl StunConnection {
    fn is_waiting(&self) -> bool {
        self.local.is_err() || self.transaction.is_some()
    }

    fn ask(&mut self, cx: &mut Context, now: Instant) {
        let id = TransactionId::random(&mut cx.rng);
        self.transaction = Some(Transaction::new(now, id, QUESTION));
        if let Ok(local) = self.local {
            let path = Path {
                local,
                remote: self.server.addr,
            };
            cx.push_outgoing(Outgoing::Probe { path, id });
        }
    }

    fn report(&self, cx: &mut Context, code: u16, text: &str) {
        let from = SocketAddr::new(self.interface, 0);
        cx.candidate_error(&self.server.url.to_string(), Some(from), code, text);
    }

    fn close(self, cx: &mut Context) {
        if let Ok(local) = self.local {
            cx.push_io(IoRequest::Close(local));
        }
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct StunConnections {
    list: Vec<StunConnection>,
}

/// Whether any interface can have a TCP candidate.
pub(super) fn has_tcp(config: &Config) -> bool {
    let (tcp, types) = (config.tcp, config.network_types);
    (tcp.active || tcp.passive || tcp.simultaneous_open) && (types.tcp4 || types.tcp6)
}

impl StunConnections {
    pub(super) fn is_waiting(&self) -> bool {
        self.list.iter().any(StunConnection::is_waiting)
    }

    /// The connections that stand.
    pub(super) fn locals(&self) -> impl Iterator<Item = Local> {
        self.list.iter().filter_map(|connection| connection.local.ok())
    }

    /// Asks these servers about the TCP candidate at this end, as far as they are STUN servers over TLS.
    pub(super) fn ask(&mut self, cx: &mut Context, now: Instant, end: &TcpEnd, servers: &[Server]) {
        // What a port that listens learns holds for the active candidate of its interface too (RFC 6544 §5.1).
        let listens = cx.config.tcp.passive || cx.config.tcp.simultaneous_open;
        let policy = cx.config.transport_policy == TransportPolicy::All && !cx.config.lite;
        if !policy || (end.is_active() && listens) {
            return;
        }
        let ip = end.interface.ip;
        let fitting = servers
            .iter()
            .filter(|server| server.is_stun_over_tls() && server.fits(ip));
        for server in fitting {
            let mut known = self.list.iter_mut();
            match known.find(|known| known.end == end.local && known.server.url == server.url) {
                Some(connection) if connection.is_waiting() => {}
                Some(connection) => connection.ask(cx, now),
                None => self.connect(cx, end.local, ip, end.port(), server.clone()),
            }
        }
    }

    fn connect(&mut self, cx: &mut Context, end: Local, interface: IpAddr, from_port: u16, server: Server) {
        if self.list.len() >= MAX_STUN_CONNECTIONS {
            cx.counters.over_limit += 1;
            return;
        }
        let request = cx.next_request();
        cx.push_io(IoRequest::ConnectTcp {
            request,
            from: interface,
            from_port,
            to: server.addr,
            framing: Framing::Turn,
            tls: Some(server.url.host.clone()),
        });
        self.list.push(StunConnection {
            local: Err(request),
            end,
            interface,
            server,
            transaction: None,
        });
    }

    /// Takes the connection that was asked for, if it is one.
    pub(super) fn connected(&mut self, cx: &mut Context, now: Instant, request: u32, local: Local) -> bool {
        let mut connections = self.list.iter_mut();
        let Some(connection) = connections.find(|connection| connection.local == Err(request)) else {
            return false;
        };
        connection.local = Ok(local);
        connection.ask(cx, now);
        true
    }

    /// Takes the refusal of a connection, if it was to a STUN server: its name's next address is tried.
    pub(super) fn failed(&mut self, cx: &mut Context, request: u32, reason: &str, ends: &TcpEnds) -> bool {
        let mut connections = self.list.iter();
        let Some(index) = connections.position(|connection| connection.local == Err(request)) else {
            return false;
        };
        let failed = self.list.swap_remove(index);
        failed.report(cx, NOT_REACHED, reason);
        if let Some(next) = failed.server.next_address() {
            let from_port = ends.find(failed.end).map_or(0, TcpEnd::port);
            self.connect(cx, failed.end, failed.interface, from_port, next);
        }
        true
    }

    /// A connection ended. Returns whether it was one to a STUN server.
    pub(super) fn closed(&mut self, cx: &mut Context, local: Local) -> bool {
        let Some(index) = self.position(local) else {
            return false;
        };
        let closed = self.list.swap_remove(index);
        if closed.is_waiting() {
            closed.report(cx, NOT_REACHED, "the STUN server closed the connection");
        }
        true
    }

    fn position(&self, local: Local) -> Option<usize> {
        self.list.iter().position(|connection| connection.local == Ok(local))
    }

    pub(super) fn handle_timeout(&mut self, cx: &mut Context, now: Instant) {
        let over = |connection: &mut StunConnection| {
            let transaction = connection.transaction.as_mut();
            transaction.is_some_and(|transaction| transaction.handle_timeout(now) == Step::TimedOut)
        };
        for silent in self.list.extract_if(.., over) {
            silent.report(cx, NOT_REACHED, "the STUN server did not answer");
            silent.close(cx);
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let transactions = self
            .list
            .iter()
            .filter_map(|connection| connection.transaction.as_ref());
        transactions.map(Transaction::poll_timeout).min()
    }

    /// Takes what came over a connection to a STUN server, if it came over one: nothing but the answer is of any use.
    pub(super) fn handle_message(&mut self, cx: &mut Context, path: Path, data: &[u8], ends: &TcpEnds) -> bool {
        let Some(index) = self.position(path.local) else {
            return false;
        };
        let connection = &mut self.list[index];
        let asked = connection.transaction.as_ref().map(Transaction::id);
        let message = Message::parse(data).ok();
        let answer = message.filter(|message| {
            matches!(message.class(), Class::Success | Class::Error) && Some(message.transaction_id()) == asked
        });
        let Some(answer) = answer else {
            cx.counters.unexpected_response += 1;
            return true;
        };
        connection.transaction = None;
        if answer.class() == Class::Error {
            let error = answer.error_code();
            let code = error.map_or(NOT_REACHED, |error| error.code);
            let text = error.map_or("the STUN server refused", |error| error.reason());
            let refused = self.list.swap_remove(index);
            refused.report(cx, code, text);
            refused.close(cx);
            return true;
        }
        let mapped = answer.xor_mapped_address().or_else(|| answer.mapped_address());
        let plausible = |mapped: &SocketAddr| !mapped.ip().is_unspecified() && mapped.port() != 0;
        if let Some(mapped) = mapped.filter(plausible) {
            let url = connection.server.url.to_string();
            tell_of_reflexive(cx, connection.end, mapped, &url, path.remote.ip(), ends);
        }
        true
    }

    /// Forgets the connections from this interface, and names them.
    pub(super) fn forget_interface(&mut self, ip: IpAddr) -> Vec<Local> {
        let gone = self.list.extract_if(.., |connection| connection.interface == ip);
        gone.filter_map(|connection| connection.local.ok()).collect()
    }

    /// Closes them all: no mapping is waited for any more.
    pub(super) fn close(&mut self, cx: &mut Context) {
        for connection in self.list.drain(..) {
            connection.close(cx);
        }
    }
}

/// The candidate of this end, and the active one of its interface, as the server sees them.
fn tell_of_reflexive(cx: &mut Context, end: Local, mapped: SocketAddr, url: &str, server: IpAddr, ends: &TcpEnds) {
    let Some(asked) = ends.find(end) else { return };
    let ip = asked.interface.ip;
    let seen = ends.iter().filter(|other| {
        let same = other.local == end || (other.is_active() && other.interface.ip == ip);
        same && other.base.is_ipv4() == mapped.is_ipv4()
    });
    for other in seen {
        let port = if other.is_active() { DISCARD } else { mapped.port() };
        cx.notify(Notice::Found(NewLocal {
            kind: CandidateKind::ServerReflexive,
            addr: SocketAddr::new(mapped.ip(), port),
            url: Some(url.to_owned()),
            server: Some(server),
            ..other.host()
        }));
    }
}
