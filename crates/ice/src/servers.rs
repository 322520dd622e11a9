//! STUN and TURN servers: finding their addresses, asking them, and the ends through which TURN servers are reached.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_sansio::{Local, Path};
use antiphon_stun::{Class, Message, Retransmission, Step, Transaction, TransactionId};

use crate::agent::Agent;
use crate::candidate::CandidateKind;
use crate::config::{ServerKind, ServerTransport, ServerUrl, TransportPolicy};
use crate::event::GatheringState;
use crate::gather::{Base, NOT_REACHED};
use crate::interfaces::Interface;
use crate::io::{Framing, IoRequest};
use crate::local::NewLocal;
use crate::outgoing::Outgoing;
use crate::relay::MAX_ALLOCATIONS;

/// The most addresses of STUN and TURN servers that are asked.
pub const MAX_SERVERS: usize = 16;

/// The most questions to STUN servers.
pub const MAX_PROBES: usize = 64;

/// How often one allocation is tried again from another port (RFC 8656 §7.4), or at another server (RFC 8489 §10).
pub(crate) const MAX_HOPS: u8 = 3;

/// The most addresses of one name and family that are asked, one after another.
const MAX_ADDRESSES: usize = 4;

/// A STUN server has 9.5 s: longer would only hold up whoever waits for the end of gathering.
const PROBE: Retransmission = Retransmission {
    rto: Duration::from_millis(500),
    max_requests: 5,
    last_wait: 4,
};

/// A socket or connection of its own for one allocation.
#[derive(Debug)]
pub(crate) struct RelayBind {
    request: u32,
    pub(crate) interface: Interface,
    server: Server,
}

#[derive(Debug)]
pub(crate) struct Resolve {
    request: u32,
    server: usize,
    url: ServerUrl,
}

/// A server whose address is known.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) url: ServerUrl,
    pub(crate) addr: SocketAddr,
    /// Index into the configuration, for the credentials.
    pub(crate) index: usize,
    /// The name on its certificate, if it is not the URL's.
    pub(crate) domain: Option<String>,
    /// Further addresses of the same name and family, for when this one has no room or does not answer.
    pub(crate) others: Vec<SocketAddr>,
    /// How often this allocation was begun again.
    pub(crate) hops: u8,
}

impl Server {
    fn new(url: ServerUrl, addr: SocketAddr, index: usize) -> Self {
        Self {
            url,
            addr,
            index,
            domain: None,
            others: Vec::new(),
            hops: 0,
        }
    }

    fn is_stream(&self) -> bool {
        self.url.transport != ServerTransport::Udp
    }

    /// The next address of its name, unless it was begun again often enough.
    pub(crate) fn next_address(&self) -> Option<Self> {
        let (&addr, others) = self.others.split_first().filter(|_| self.hops < MAX_HOPS)?;
        Some(Self {
            addr,
            others: others.to_vec(),
            hops: self.hops + 1,
            ..self.clone()
        })
    }

    /// Whether it can be reached from there.
    pub(crate) fn fits(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.addr.is_ipv4() && ip.is_loopback() == self.addr.ip().is_loopback()
    }
}

/// One question to a STUN server from one base.
#[derive(Debug)]
pub(crate) struct Probe {
    pub(crate) base: Base,
    server: SocketAddr,
    url: String,
    pub(crate) transaction: Option<Transaction>,
}

impl Agent {
    pub(crate) fn find_servers(&mut self) {
        let urls: Vec<(usize, ServerUrl)> = self
            .config
            .servers
            .iter()
            .enumerate()
            .flat_map(|(index, server)| server.urls.iter().map(move |url| (index, url.clone())))
            .take(MAX_SERVERS)
            .collect();
        for (index, url) in urls {
            if url.kind == ServerKind::Stun && url.transport != ServerTransport::Udp && !self.has_tcp() {
                let text = "not asked: a STUN server over TLS tells of TCP candidates, and none are gathered";
                self.candidate_error(&url.to_string(), None, NOT_REACHED, text);
            } else if let Ok(ip) = url.host.parse::<IpAddr>() {
                let addr = SocketAddr::new(ip, url.port);
                self.gatherer.servers.push(Server::new(url, addr, index));
            } else {
                let request = self.next_request();
                self.push_io(IoRequest::Resolve {
                    request,
                    host: url.host.clone(),
                    port: url.port,
                });
                self.gatherer.resolves.push(Resolve {
                    request,
                    server: index,
                    url,
                });
            }
        }
    }

    fn take_resolve(&mut self, request: u32) -> Option<Resolve> {
        let index = self.gatherer.resolves.iter().position(|r| r.request == request)?;
        Some(self.gatherer.resolves.swap_remove(index))
    }

    pub(crate) fn server_resolved(&mut self, now: Instant, request: u32, addrs: &[IpAddr]) {
        let Some(resolve) = self.take_resolve(request) else {
            return;
        };
        if addrs.is_empty() {
            let text = "the host name has no address";
            self.candidate_error(&resolve.url.to_string(), None, NOT_REACHED, text);
        }
        for v4 in [true, false] {
            let family = addrs.iter().filter(|ip| ip.is_ipv4() == v4);
            let mut family = family
                .map(|ip| SocketAddr::new(*ip, resolve.url.port))
                .take(MAX_ADDRESSES);
            let Some(addr) = family.next() else { continue };
            if self.gatherer.servers.len() >= MAX_SERVERS {
                self.counters.over_limit += 1;
                return;
            }
            let server = Server {
                others: family.collect(),
                ..Server::new(resolve.url.clone(), addr, resolve.server)
            };
            self.gatherer.servers.push(server.clone());
            for base in self.gatherer.bases.clone() {
                self.ask_server(now, &base, &server);
            }
            for interface in self.gatherer.interfaces.clone() {
                self.ask_stream_server(interface, &server);
            }
            self.ask_tls_stun_servers(now, std::slice::from_ref(&server));
        }
    }

    /// Takes the refusal of a request that had to do with a server, if it is one.
    pub(crate) fn server_failed(&mut self, request: u32, reason: &str) -> bool {
        if let Some(resolve) = self.take_resolve(request) {
            self.candidate_error(&resolve.url.to_string(), None, NOT_REACHED, reason);
            return true;
        }
        let mut waiting = self.gatherer.relay_binds.iter();
        let Some(index) = waiting.position(|bind| bind.request == request) else {
            return false;
        };
        let bind = self.gatherer.relay_binds.swap_remove(index);
        let from = SocketAddr::new(bind.interface.ip, 0);
        self.candidate_error(&bind.server.url.to_string(), Some(from), NOT_REACHED, reason);
        if bind.server.is_stream()
            && let Some(next) = bind.server.next_address()
        {
            self.reach(bind.interface, &next);
        }
        true
    }

    /// Asks the servers that are reached over UDP.
    pub(crate) fn ask_servers(&mut self, now: Instant, base: &Base) {
        for server in self.gatherer.servers.clone() {
            self.ask_server(now, base, &server);
        }
    }

    /// Asks those that are reached over TCP or TLS, through connections of their own.
    pub(crate) fn ask_stream_servers(&mut self, interface: Interface) {
        for server in self.gatherer.servers.clone() {
            self.ask_stream_server(interface, &server);
        }
    }

    fn ask_stream_server(&mut self, interface: Interface, server: &Server) {
        let gathering = self.gatherer.state() == GatheringState::Gathering;
        if gathering && server.is_stream() && server.fits(interface.ip) && server.url.kind == ServerKind::Turn {
            self.reach(interface, server);
        }
    }

    fn ask_server(&mut self, now: Instant, base: &Base, server: &Server) {
        if self.gatherer.state() != GatheringState::Gathering || server.is_stream() || !server.fits(base.addr.ip()) {
            return;
        }
        match server.url.kind {
            ServerKind::Stun => self.probe(base, server),
            ServerKind::Turn if self.config.shared_sockets => {
                // The allocation's own socket has no host candidate, so our address is asked for as of a STUN server.
                if self.config.transport_policy == TransportPolicy::All {
                    self.probe(base, server);
                }
                self.reach(base.interface, server);
            }
            ServerKind::Turn => self.allocate(now, base, server),
        }
    }

    /// Asks for an end through which to reach a TURN server, and nothing else.
    pub(crate) fn reach(&mut self, interface: Interface, server: &Server) {
        let ip = interface.ip;
        let waiting = |bind: &RelayBind| {
            bind.interface.ip == ip
                && bind.server.addr == server.addr
                && bind.server.url.transport == server.url.transport
        };
        if self.relays.is_known(ip, server)
            || self.relays.waits_for(ip, server)
            || self.gatherer.relay_binds.iter().any(waiting)
        {
            return;
        }
        if self.gatherer.relay_binds.len() >= MAX_ALLOCATIONS {
            self.counters.over_limit += 1;
            return;
        }
        let request = self.next_request();
        self.push_io(if server.is_stream() {
            let name = || server.domain.clone().unwrap_or_else(|| server.url.host.clone());
            IoRequest::ConnectTcp {
                request,
                from: ip,
                from_port: 0,
                to: server.addr,
                framing: Framing::Turn,
                tls: (server.url.transport == ServerTransport::Tls).then(name),
            }
        } else {
            IoRequest::BindUdp {
                request,
                addr: SocketAddr::new(ip, 0),
                exclusive: true,
            }
        });
        self.gatherer.relay_binds.push(RelayBind {
            request,
            interface,
            server: server.clone(),
        });
    }

    /// Takes the end that [`reach`](Self::reach) asked for, if it is one.
    pub(crate) fn relay_end_ready(&mut self, now: Instant, request: u32, local: Local, addr: SocketAddr) -> bool {
        let mut waiting = self.gatherer.relay_binds.iter();
        let Some(index) = waiting.position(|bind| bind.request == request) else {
            return false;
        };
        let bind = self.gatherer.relay_binds.swap_remove(index);
        let base = Base {
            local,
            addr,
            interface: bind.interface,
        };
        self.gatherer.relay_sockets.push(local);
        self.allocate(now, &base, &bind.server);
        true
    }

    fn probe(&mut self, base: &Base, server: &Server) {
        let asked = |probe: &Probe| probe.base.local == base.local && probe.server == server.addr;
        if self.gatherer.probes.iter().any(asked) || self.gatherer.probes.len() >= MAX_PROBES {
            return;
        }
        self.gatherer.probes.push(Probe {
            base: base.clone(),
            server: server.addr,
            url: server.url.to_string(),
            transaction: None,
        });
    }

    /// Sends the next question that waits for a slot. Returns whether there was one.
    pub(crate) fn send_queued_probe(&mut self, now: Instant) -> bool {
        let Some(index) = self
            .gatherer
            .probes
            .iter()
            .position(|probe| probe.transaction.is_none())
        else {
            return false;
        };
        let id = TransactionId::random(&mut self.rng);
        let probe = &mut self.gatherer.probes[index];
        probe.transaction = Some(Transaction::new(now, id, PROBE));
        let path = Path {
            local: probe.base.local,
            remote: probe.server,
        };
        self.push_outgoing(Outgoing::Probe { path, id });
        true
    }

    pub(crate) fn handle_probe_timeout(&mut self, now: Instant) {
        let mut index = 0;
        while index < self.gatherer.probes.len() {
            let probe = &mut self.gatherer.probes[index];
            let step = probe.transaction.as_mut().map_or(Step::Wait, |t| t.handle_timeout(now));
            match (step, &probe.transaction) {
                (Step::Retransmit, Some(transaction)) => {
                    let path = Path {
                        local: probe.base.local,
                        remote: probe.server,
                    };
                    let id = transaction.id();
                    self.push_outgoing(Outgoing::Probe { path, id });
                }
                (Step::TimedOut, _) => {
                    let probe = self.gatherer.probes.swap_remove(index);
                    let text = "the STUN server did not answer";
                    self.candidate_error(&probe.url, Some(probe.base.addr), NOT_REACHED, text);
                    continue;
                }
                _ => {}
            }
            index += 1;
        }
    }

    pub(crate) fn probe_timeout(&self) -> Option<Instant> {
        self.gatherer
            .probes
            .iter()
            .filter_map(|probe| probe.transaction.as_ref().map(Transaction::poll_timeout))
            .min()
    }

    /// Takes an answer of a STUN server, if it is one.
    pub(crate) fn handle_probe_response(&mut self, now: Instant, path: Path, message: &Message<'_>) -> bool {
        let Some(index) = self.gatherer.probes.iter().position(|probe| {
            probe.base.local == path.local
                && probe.server == path.remote
                && probe
                    .transaction
                    .as_ref()
                    .is_some_and(|t| t.id() == message.transaction_id())
        }) else {
            return false;
        };
        let probe = self.gatherer.probes.swap_remove(index);
        if message.class() == Class::Error {
            let error = message.error_code();
            let code = error.map_or(NOT_REACHED, |error| error.code);
            let text = error.map_or("the STUN server refused", |error| error.reason());
            self.candidate_error(&probe.url, Some(probe.base.addr), code, text);
        } else if let Some(mapped) = message.xor_mapped_address().or_else(|| message.mapped_address()) {
            let plausible = mapped.is_ipv4() == probe.base.addr.is_ipv4() && !mapped.ip().is_unspecified();
            if plausible && mapped.port() != 0 {
                let Base { local, addr, interface } = probe.base;
                let new = NewLocal::host(local, interface.ip, addr, interface.local_preference, None);
                self.insert_local(
                    now,
                    NewLocal {
                        kind: CandidateKind::ServerReflexive,
                        addr: mapped,
                        url: Some(probe.url),
                        server: Some(path.remote.ip()),
                        ..new
                    },
                );
            }
        }
        true
    }
}
