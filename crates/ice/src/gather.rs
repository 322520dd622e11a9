//! Gathering candidates (RFC 8445 §5.1.1): interfaces, sockets, STUN servers, and TURN servers through `relay`.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_sansio::{Local, Path};
use antiphon_stun::{Class, Message, Retransmission, Step, Transaction, TransactionId};

use crate::agent::{Agent, NewLocal};
use crate::candidate::CandidateKind;
use crate::config::{ServerKind, ServerTransport, ServerUrl, TransportPolicy};
use crate::event::{Event, GatheringState};
use crate::io::{IoEvent, IoRequest};
use crate::outgoing::Outgoing;
use crate::relay::MAX_ALLOCATIONS;

/// The most interface addresses that become sockets.
pub const MAX_INTERFACES: usize = 16;

/// The most addresses of STUN and TURN servers that are asked.
pub const MAX_SERVERS: usize = 16;

/// The most questions to STUN servers.
pub const MAX_PROBES: usize = 64;

/// The code of a W3C `icecandidateerror` when a server was not reached.
const NOT_REACHED: u16 = 701;

/// A STUN server has 9.5 s: longer would only hold up whoever waits for the end of gathering.
const PROBE: Retransmission = Retransmission {
    rto: Duration::from_millis(500),
    max_requests: 5,
    last_wait: 4,
};

#[derive(Debug)]
struct Bind {
    request: u32,
    local_preference: u16,
    ip: IpAddr,
}

/// A socket of its own for one allocation.
#[derive(Debug)]
struct RelayBind {
    request: u32,
    ip: IpAddr,
    local_preference: u16,
    server: Server,
}

#[derive(Debug)]
struct Resolve {
    request: u32,
    server: usize,
    url: ServerUrl,
}

#[derive(Clone, Debug)]
pub(crate) struct Base {
    pub(crate) local: Local,
    pub(crate) addr: SocketAddr,
    pub(crate) local_preference: u16,
}

/// A server whose address is known.
#[derive(Clone, Debug)]
pub(crate) struct Server {
    pub(crate) url: ServerUrl,
    pub(crate) addr: SocketAddr,
    /// Index into the configuration, for the credentials.
    pub(crate) index: usize,
}

/// One question to a STUN server from one base.
#[derive(Debug)]
struct Probe {
    base: Base,
    server: SocketAddr,
    url: String,
    transaction: Option<Transaction>,
}

#[derive(Debug)]
pub(crate) struct Gatherer {
    state: GatheringState,
    listing: bool,
    binds: Vec<Bind>,
    resolves: Vec<Resolve>,
    relay_binds: Vec<RelayBind>,
    /// Sockets that serve an allocation and nothing else.
    relay_sockets: Vec<Local>,
    bases: Vec<Base>,
    servers: Vec<Server>,
    probes: Vec<Probe>,
    /// Position = foundation (RFC 8445 §5.1.1.3).
    foundations: Vec<(CandidateKind, IpAddr, Option<IpAddr>)>,
}

impl Default for Gatherer {
    fn default() -> Self {
        Self {
            state: GatheringState::New,
            listing: false,
            binds: Vec::new(),
            resolves: Vec::new(),
            relay_binds: Vec::new(),
            relay_sockets: Vec::new(),
            bases: Vec::new(),
            servers: Vec::new(),
            probes: Vec::new(),
            foundations: Vec::new(),
        }
    }
}

impl Gatherer {
    pub(crate) fn state(&self) -> GatheringState {
        self.state
    }

    /// The same number for the same type, base address and server (RFC 8445 §5.1.1.3).
    pub(crate) fn foundation(&mut self, kind: CandidateKind, base: IpAddr, server: Option<IpAddr>) -> usize {
        let key = (kind, base, server);
        let index = self.foundations.iter().position(|known| *known == key);
        index.unwrap_or_else(|| {
            self.foundations.push(key);
            self.foundations.len() - 1
        }) + 1
    }

    pub(crate) fn restart(&mut self) {
        self.state = GatheringState::New;
        self.listing = false;
        self.probes.clear();
    }

    pub(crate) fn close(&mut self) {
        self.binds.clear();
        self.resolves.clear();
        self.relay_binds.clear();
        self.relay_sockets.clear();
        self.bases.clear();
        self.probes.clear();
    }

    /// Every socket in use, each once.
    pub(crate) fn sockets(&self) -> Vec<Local> {
        let mut sockets: Vec<Local> = self.bases.iter().map(|base| base.local).collect();
        sockets.extend(&self.relay_sockets);
        sockets.sort_unstable();
        sockets.dedup();
        sockets
    }

    /// Whether candidates are paired on this socket; one that serves an allocation alone has none.
    pub(crate) fn is_base(&self, local: Local) -> bool {
        self.bases.iter().any(|base| base.local == local)
    }

    pub(crate) fn has_queued_probe(&self) -> bool {
        self.probes.iter().any(|probe| probe.transaction.is_none())
    }
}

impl Agent {
    /// Begins to gather. Does nothing while gathering and after it; after a [`restart`](Self::restart) it gathers anew.
    pub fn gather(&mut self, now: Instant) {
        if self.is_closed() || self.gatherer.state != GatheringState::New {
            return;
        }
        self.gatherer.state = GatheringState::Gathering;
        self.push_event(Event::GatheringState(GatheringState::Gathering));
        // After a restart the sockets are there already: their candidates are signalled again, with the new ufrag.
        for index in 0..self.locals.len() {
            let local = &self.locals[index];
            if local.pairs {
                let candidate = local.candidate.clone();
                self.push_event(Event::LocalCandidate(candidate));
            }
        }
        self.gatherer.listing = true;
        self.push_io(IoRequest::ListInterfaces { watch: false });
        // A lite agent has host candidates only (RFC 8445 §5.2).
        if !self.config.lite {
            if self.gatherer.servers.is_empty() {
                self.find_servers();
            }
            for base in self.gatherer.bases.clone() {
                self.ask_servers(now, &base);
            }
        }
        self.advance(now);
    }

    fn find_servers(&mut self) {
        let urls: Vec<(usize, ServerUrl)> = self
            .config
            .servers
            .iter()
            .enumerate()
            .flat_map(|(index, server)| server.urls.iter().map(move |url| (index, url.clone())))
            .take(MAX_SERVERS)
            .collect();
        for (index, url) in urls {
            if url.transport != ServerTransport::Udp {
                self.candidate_error(
                    &url.to_string(),
                    None,
                    NOT_REACHED,
                    "only UDP servers are supported so far",
                );
            } else if let Ok(ip) = url.host.parse::<IpAddr>() {
                let addr = SocketAddr::new(ip, url.port);
                self.gatherer.servers.push(Server { url, addr, index });
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

    fn candidate_error(&mut self, url: &str, address: Option<SocketAddr>, code: u16, text: &str) {
        self.push_event(Event::CandidateError {
            url: url.to_owned(),
            address,
            code,
            text: text.to_owned(),
        });
    }

    pub(crate) fn handle_gather_io(&mut self, now: Instant, event: IoEvent) {
        match event {
            IoEvent::Interfaces(addrs) => self.bind_interfaces(addrs),
            IoEvent::UdpBound { request, local, addr } => self.socket_bound(now, request, local, addr),
            IoEvent::Resolved { request, addrs } => self.server_resolved(now, request, &addrs),
            IoEvent::Failed { request, reason } => {
                self.gatherer.binds.retain(|bind| bind.request != request);
                self.gatherer.relay_binds.retain(|bind| bind.request != request);
                if let Some(resolve) = self.take_resolve(request) {
                    self.candidate_error(&resolve.url.to_string(), None, NOT_REACHED, &reason);
                }
            }
            IoEvent::Closed { local } => self.socket_closed(local),
            // Nobody asked for it: a connection that nothing is known of is not kept.
            IoEvent::TcpConnected { local, .. } | IoEvent::TcpAccepted { local, .. } => {
                self.push_io(IoRequest::Close(local));
            }
            IoEvent::TcpListening { request, .. } => self.push_io(IoRequest::CloseListener { request }),
            IoEvent::MdnsPublished { .. } => {}
        }
    }

    fn bind_interfaces(&mut self, addrs: Vec<IpAddr>) {
        if !std::mem::take(&mut self.gatherer.listing) {
            return;
        }
        let mut usable: Vec<IpAddr> = Vec::new();
        for ip in addrs {
            if self.is_usable_interface(ip) && !usable.contains(&ip) {
                usable.push(ip);
            }
        }
        for (rank, ip) in interleave(usable).into_iter().take(MAX_INTERFACES).enumerate() {
            let bound = self.gatherer.bases.iter().any(|base| base.addr.ip() == ip);
            if bound || self.gatherer.binds.iter().any(|bind| bind.ip == ip) {
                continue;
            }
            let request = self.next_request();
            self.push_io(IoRequest::BindUdp {
                request,
                addr: SocketAddr::new(ip, self.config.port),
                exclusive: false,
            });
            self.gatherer.binds.push(Bind {
                request,
                local_preference: u16::MAX - rank as u16,
                ip,
            });
        }
    }

    fn is_usable_interface(&self, ip: IpAddr) -> bool {
        if ip.is_unspecified() || ip.is_multicast() {
            return false;
        }
        if ip.is_loopback() {
            return self.config.include_loopback;
        }
        match ip {
            IpAddr::V4(ip) => !ip.is_link_local() || self.config.include_link_local,
            // RFC 8445 §5.1.1.1: no site-local (deprecated), IPv4-compatible or IPv4-mapped addresses.
            IpAddr::V6(ip) => {
                let deprecated = ip.segments()[0] & 0xffc0 == 0xfec0;
                let compatible = ip.to_ipv4().is_some();
                !deprecated && !compatible && (!is_link_local(ip) || self.config.include_link_local)
            }
        }
    }

    fn socket_bound(&mut self, now: Instant, request: u32, local: Local, addr: SocketAddr) {
        if let Some(index) = self
            .gatherer
            .relay_binds
            .iter()
            .position(|bind| bind.request == request)
        {
            let bind = self.gatherer.relay_binds.swap_remove(index);
            let base = Base {
                local,
                addr,
                local_preference: bind.local_preference,
            };
            self.gatherer.relay_sockets.push(local);
            self.allocate(now, &base, &bind.server);
            return;
        }
        let Some(index) = self.gatherer.binds.iter().position(|bind| bind.request == request) else {
            self.push_io(IoRequest::Close(local));
            return;
        };
        let bind = self.gatherer.binds.swap_remove(index);
        let known = self
            .gatherer
            .bases
            .iter()
            .any(|base| base.local == local && base.addr == addr);
        if known || addr.ip().is_unspecified() {
            return;
        }
        let base = Base {
            local,
            addr,
            local_preference: bind.local_preference,
        };
        self.gatherer.bases.push(base.clone());
        self.insert_local(NewLocal {
            kind: CandidateKind::Host,
            local,
            addr,
            base: addr,
            local_preference: base.local_preference,
            url: None,
            server: None,
        });
        if !self.config.lite {
            self.ask_servers(now, &base);
        }
    }

    pub(crate) fn socket_closed(&mut self, local: Local) {
        self.gatherer.bases.retain(|base| base.local != local);
        self.gatherer.relay_sockets.retain(|socket| *socket != local);
        self.gatherer.probes.retain(|probe| probe.base.local != local);
        for relay in self.relays.forget_base(local) {
            self.socket_closed(Local::Relay(relay));
        }
        for candidate in self.locals.iter_mut().filter(|candidate| candidate.local == local) {
            candidate.pairs = false;
        }
        for pair in self.pairs.iter_mut().filter(|pair| pair.path.local == local) {
            pair.fail();
            if self.selected == Some(pair.id) {
                self.selected = None;
            }
        }
        if self
            .previous
            .as_ref()
            .is_some_and(|previous| previous.pair.path.local == local)
        {
            self.previous = None;
        }
    }

    fn take_resolve(&mut self, request: u32) -> Option<Resolve> {
        let index = self.gatherer.resolves.iter().position(|r| r.request == request)?;
        Some(self.gatherer.resolves.swap_remove(index))
    }

    fn server_resolved(&mut self, now: Instant, request: u32, addrs: &[IpAddr]) {
        let Some(resolve) = self.take_resolve(request) else {
            return;
        };
        if addrs.is_empty() {
            self.candidate_error(
                &resolve.url.to_string(),
                None,
                NOT_REACHED,
                "the host name has no address",
            );
        }
        let v4 = addrs.iter().find(|ip| ip.is_ipv4());
        let v6 = addrs.iter().find(|ip| ip.is_ipv6());
        for ip in [v4, v6].into_iter().flatten() {
            if self.gatherer.servers.len() >= MAX_SERVERS {
                self.counters.over_limit += 1;
                return;
            }
            let server = Server {
                addr: SocketAddr::new(*ip, resolve.url.port),
                url: resolve.url.clone(),
                index: resolve.server,
            };
            self.gatherer.servers.push(server.clone());
            for base in self.gatherer.bases.clone() {
                self.ask_server(now, &base, &server);
            }
        }
    }

    fn ask_servers(&mut self, now: Instant, base: &Base) {
        for server in self.gatherer.servers.clone() {
            self.ask_server(now, base, &server);
        }
    }

    fn ask_server(&mut self, now: Instant, base: &Base, server: &Server) {
        if self.gatherer.state != GatheringState::Gathering
            || base.addr.is_ipv4() != server.addr.is_ipv4()
            || base.addr.ip().is_loopback() != server.addr.ip().is_loopback()
        {
            return;
        }
        match server.url.kind {
            ServerKind::Stun => self.probe(base, server),
            ServerKind::Turn if self.config.shared_sockets => {
                // The allocation's own socket has no host candidate, so our address is asked for as of a STUN server.
                if self.config.transport_policy == TransportPolicy::All {
                    self.probe(base, server);
                }
                let ip = base.addr.ip();
                let binding = |bind: &RelayBind| bind.ip == ip && bind.server.addr == server.addr;
                let known = self.relays.is_known(ip, server.addr) || self.gatherer.relay_binds.iter().any(binding);
                if known || self.gatherer.relay_binds.len() >= MAX_ALLOCATIONS {
                    return;
                }
                let request = self.next_request();
                self.push_io(IoRequest::BindUdp {
                    request,
                    addr: SocketAddr::new(ip, 0),
                    exclusive: true,
                });
                self.gatherer.relay_binds.push(RelayBind {
                    request,
                    ip,
                    local_preference: base.local_preference,
                    server: server.clone(),
                });
            }
            ServerKind::Turn => self.allocate(now, base, server),
        }
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

    pub(crate) fn handle_gather_timeout(&mut self, now: Instant) {
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

    pub(crate) fn gather_timeout(&self) -> Option<Instant> {
        self.gatherer
            .probes
            .iter()
            .filter_map(|probe| probe.transaction.as_ref().map(Transaction::poll_timeout))
            .min()
    }

    /// Takes an answer of a STUN server, if it is one.
    pub(crate) fn handle_probe_response(&mut self, path: Path, message: &Message<'_>) -> bool {
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
                self.insert_local(NewLocal {
                    kind: CandidateKind::ServerReflexive,
                    local: probe.base.local,
                    addr: mapped,
                    base: probe.base.addr,
                    local_preference: probe.base.local_preference,
                    url: Some(probe.url),
                    server: Some(path.remote.ip()),
                });
            }
        }
        true
    }

    pub(crate) fn finish_gathering(&mut self) {
        let gatherer = &self.gatherer;
        if gatherer.state == GatheringState::Gathering
            && !gatherer.listing
            && gatherer.binds.is_empty()
            && gatherer.resolves.is_empty()
            && gatherer.relay_binds.is_empty()
            && gatherer.probes.is_empty()
            && self.relays.is_settled()
        {
            self.gatherer.state = GatheringState::Complete;
            self.push_event(Event::GatheringState(GatheringState::Complete));
        }
    }
}

pub(crate) fn is_link_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfe80
}

/// Alternates the families, IPv6 first, so that neither waits behind a long list of the other (RFC 8421 §4); loopback last.
fn interleave(addrs: Vec<IpAddr>) -> Vec<IpAddr> {
    let (loopback, rest): (Vec<IpAddr>, Vec<IpAddr>) = addrs.into_iter().partition(IpAddr::is_loopback);
    let (v6, v4): (Vec<IpAddr>, Vec<IpAddr>) = rest.into_iter().partition(IpAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut all = Vec::new();
    loop {
        let pair = [v6.next(), v4.next()];
        if pair == [None, None] {
            break;
        }
        all.extend(pair.into_iter().flatten());
    }
    all.extend(loopback);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate() {
        let list = |texts: &[&str]| -> Vec<IpAddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        assert_eq!(
            interleave(list(&[
                "127.0.0.1",
                "10.0.0.1",
                "10.0.0.2",
                "10.0.0.3",
                "2001:db8::1",
                "::1"
            ])),
            list(&["2001:db8::1", "10.0.0.1", "10.0.0.2", "10.0.0.3", "127.0.0.1", "::1"])
        );
    }

    #[test]
    fn foundations_repeat() {
        let mut gatherer = Gatherer::default();
        let (a, b) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let first = gatherer.foundation(CandidateKind::Host, a, None);
        assert_ne!(gatherer.foundation(CandidateKind::Host, b, None), first);
        assert_ne!(gatherer.foundation(CandidateKind::ServerReflexive, a, Some(b)), first);
        assert_eq!(gatherer.foundation(CandidateKind::Host, a, None), first);
    }
}
