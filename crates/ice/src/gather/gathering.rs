//! The plan of gathering: what is asked of the driver and of servers, and how far that has come.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use antiphon_sansio::{BytesMut, Local, Path, Transmit, TransmitBuf};
use antiphon_stun::Message;

use super::interface::{Base, Interface, PortTry, usable};
use super::names::Names;
use super::probes::Probes;
use super::relays::Relays;
use super::server::{MAX_SERVERS, Server};
use super::sockets::{Refused, Sockets};
use super::stun_over_tls::{StunConnections, has_tcp};
use super::tcp_ends::{TcpEnd, TcpEnds};
use crate::candidate::{Candidate, CandidateKind, Protocol, TcpType};
use crate::config::{ServerKind, ServerTransport, ServerUrl, TransportPolicy};
use crate::context::{Context, NOT_REACHED};
use crate::event::{Event, GatheringState};
use crate::io::{IoEvent, IoRequest};
use crate::notice::{NewLocal, Notice};

/// The name of a server that is being looked up.
#[derive(Debug)]
struct Resolve {
    request: u32,
    server: usize,
    url: ServerUrl,
}

#[derive(Debug)]
pub(crate) struct Gathering {
    state: GatheringState,
    /// The driver was asked for the interfaces.
    listing: bool,
    sockets: Sockets,
    resolves: Vec<Resolve>,
    servers: Vec<Server>,
    probes: Probes,
    relays: Relays,
    names: Names,
    tcp_ends: TcpEnds,
    stun_connections: StunConnections,
}

impl Gathering {
    pub(crate) fn new() -> Self {
        Self {
            state: GatheringState::New,
            listing: false,
            sockets: Sockets::default(),
            resolves: Vec::new(),
            servers: Vec::new(),
            probes: Probes::default(),
            relays: Relays::default(),
            names: Names::default(),
            tcp_ends: TcpEnds::default(),
            stun_connections: StunConnections::default(),
        }
    }

    pub(crate) fn state(&self) -> GatheringState {
        self.state
    }

    /// Begins, unless it has begun. The sockets of before a restart are used on.
    pub(crate) fn begin(&mut self, cx: &mut Context) -> bool {
        let begins = self.state == GatheringState::New;
        if begins {
            self.set_state(cx, GatheringState::Gathering);
        }
        begins
    }

    /// Asks the driver and the servers for candidates.
    pub(crate) fn ask(&mut self, cx: &mut Context, now: Instant) {
        self.listing = true;
        cx.push_io(IoRequest::ListInterfaces {
            watch: cx.config.continual_gathering,
        });
        // A lite agent has host candidates only (RFC 8445 §5.2).
        if cx.config.lite {
            return;
        }
        if self.servers.is_empty() {
            self.find_servers(cx);
        }
        for server in self.servers.clone() {
            self.ask_server(cx, now, &server);
        }
    }

    /// ICE restarts: everything is asked again when it [`begin`](Self::begin)s.
    pub(crate) fn restart(&mut self) {
        self.state = GatheringState::New;
        self.listing = false;
        self.probes.forget(|_| true);
    }

    /// Closes what is open, and gives allocations back.
    pub(crate) fn close(&mut self, cx: &mut Context, now: Instant) {
        self.names.withdraw(cx, |_| true);
        self.tcp_ends.forget(cx, |_| true);
        let mut sockets: Vec<Local> = self.sockets.bases().iter().map(|base| base.local).collect();
        sockets.extend(self.relays.sockets());
        sockets.extend(self.stun_connections.locals());
        // In one-port mode several interfaces may have the same socket.
        sockets.sort_unstable();
        sockets.dedup();
        for socket in sockets {
            cx.push_io(IoRequest::Close(socket));
        }
        let mut relays = std::mem::take(&mut self.relays);
        relays.close(now);
        *self = Self {
            state: self.state,
            relays,
            ..Self::new()
        };
    }

    /// Gathering goes on, for the first time or again.
    fn set_state(&mut self, cx: &mut Context, state: GatheringState) {
        if self.state != state {
            self.state = state;
            cx.push_event(Event::GatheringState(state));
        }
    }

    /// Whether something was asked that may give a candidate.
    fn is_busy(&self) -> bool {
        self.listing
            || self.sockets.is_waiting()
            || !self.resolves.is_empty()
            || !self.probes.is_empty()
            || self.stun_connections.is_waiting()
            || !self.relays.is_settled()
            || self.tcp_ends.is_waiting()
            || self.names.is_publishing()
    }

    /// What follows from everything that happened. `has_selected`: a pair is selected.
    pub(crate) fn advance(&mut self, cx: &mut Context, has_selected: bool) {
        if has_selected && self.state == GatheringState::Complete {
            self.stun_connections.close(cx);
        }
        match self.state {
            GatheringState::Gathering if !self.is_busy() => {
                self.sockets.give_back();
                self.tcp_ends.give_back();
                self.set_state(cx, GatheringState::Complete);
            }
            // Another server is asked instead of one that let us down.
            GatheringState::Complete if self.is_busy() => self.set_state(cx, GatheringState::Gathering),
            _ => {}
        }
    }

    pub(crate) fn handle_timeout(&mut self, cx: &mut Context, now: Instant) {
        self.names.handle_timeout(now);
        self.probes.handle_timeout(cx, now);
        self.stun_connections.handle_timeout(cx, now);
        // Before it gathers anew it asks nobody, and then everybody.
        let nobody: &[Interface] = &[];
        let interfaces = match self.state {
            GatheringState::New => nobody,
            _ => self.sockets.interfaces(),
        };
        self.relays.ask_full_servers(cx, now, interfaces);
        self.relays.handle_timeout(cx, now);
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        [
            self.relays.poll_timeout(),
            self.names.poll_timeout(),
            self.probes.poll_timeout(),
            self.stun_connections.poll_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// An answer of the driver.
    pub(crate) fn handle_io(&mut self, cx: &mut Context, now: Instant, event: IoEvent) {
        match event {
            IoEvent::Interfaces(addrs) => self.interfaces_listed(cx, now, addrs),
            IoEvent::UdpBound { request, local, addr } => self.socket_bound(cx, now, request, local, addr),
            IoEvent::TcpListening { request, addr } => {
                if let Some(end) = self.tcp_ends.listening(cx, request, addr) {
                    self.insert_tcp_end(cx, now, end);
                }
            }
            IoEvent::MdnsPublished { request } => self.names.published(cx, request),
            IoEvent::Resolved { request, addrs } => {
                if !self.names.resolved(cx, request, &addrs) {
                    self.server_resolved(cx, now, request, &addrs);
                }
            }
            IoEvent::Failed { request, reason } => self.request_failed(cx, now, request, &reason),
            IoEvent::Closed { local } => self.end_closed(cx, local),
            // Connections may be the check list's: see `connected` and `listener`.
            IoEvent::TcpConnected { .. } | IoEvent::TcpAccepted { .. } => {}
        }
    }

    fn request_failed(&mut self, cx: &mut Context, now: Instant, request: u32, reason: &str) {
        if self.names.failed(request)
            || self.tcp_ends.failed(cx, request)
            || self.relays.end_failed(cx, request, reason)
            || self.stun_connections.failed(cx, request, reason, &self.tcp_ends)
        {
            return;
        }
        if let Some(resolve) = self.take_resolve(request) {
            cx.candidate_error(&resolve.url.to_string(), None, NOT_REACHED, reason);
        } else if let Some(Refused::NoSocket(interface)) = self.sockets.failed(cx, request) {
            self.add_active(cx, now, interface);
        }
    }

    /// Takes a connection that serves to reach a server, if it is one.
    pub(crate) fn connected(
        &mut self,
        cx: &mut Context,
        now: Instant,
        request: u32,
        local: Local,
        addr: SocketAddr,
    ) -> bool {
        self.relays.end_ready(cx, request, local, addr) || self.stun_connections.connected(cx, now, request, local)
    }

    /// The placeholder and the interface of this listener.
    pub(crate) fn listener(&self, request: u32) -> Option<(Local, IpAddr)> {
        self.tcp_ends.listener(request)
    }

    /// A socket, or a connection to a server, is gone.
    fn end_closed(&mut self, cx: &mut Context, local: Local) {
        if self.stun_connections.closed(cx, local) {
            return;
        }
        self.sockets.forget(local);
        self.probes.forget(|base| base.local == local);
        let mut ends = self.relays.end_closed(cx, local, self.sockets.interfaces());
        ends.push(local);
        cx.notify(Notice::Gone { ends, interface: None });
    }
}

/// Interfaces and sockets.
impl Gathering {
    /// The driver listed the interfaces: because we asked, or because they changed.
    fn interfaces_listed(&mut self, cx: &mut Context, now: Instant, addrs: Vec<IpAddr>) {
        let asked = std::mem::take(&mut self.listing);
        let watched = cx.config.continual_gathering && self.state != GatheringState::New;
        if !asked && !watched {
            return;
        }
        let listed = usable(&cx.config, addrs);
        // What is new comes first: so there are paths to move to when what is gone goes.
        for (rank, ip) in listed.iter().enumerate() {
            if let Some(interface) = self.sockets.add_interface(*ip, rank) {
                self.interface_came(cx, now, interface);
            }
        }
        let known = self.sockets.interfaces().iter().map(|known| known.ip);
        let gone: Vec<IpAddr> = known.filter(|ip| !listed.contains(ip)).collect();
        for ip in gone {
            self.interface_went(cx, ip);
        }
    }

    fn interface_came(&mut self, cx: &mut Context, now: Instant, interface: Interface) {
        self.set_state(cx, GatheringState::Gathering);
        let ip = interface.ip;
        let types = cx.config.network_types;
        if types.allows(Protocol::Udp, ip) {
            let port = PortTry::first(&cx.config, &mut cx.rng);
            self.sockets.bind(cx, interface, port);
        } else {
            self.add_active(cx, now, interface);
        }
        if types.allows(Protocol::Tcp, ip) && cx.config.transport_policy == TransportPolicy::All {
            let tcp = cx.config.tcp;
            // RFC 6544 §4.1: a lite agent has passive candidates only.
            if tcp.passive {
                let port = PortTry::first(&cx.config, &mut cx.rng);
                self.tcp_ends.listen(cx, interface, TcpType::Passive, port);
            }
            if tcp.simultaneous_open && !cx.config.lite {
                let port = PortTry::first(&cx.config, &mut cx.rng);
                self.tcp_ends.listen(cx, interface, TcpType::SimultaneousOpen, port);
            }
        }
        if !cx.config.lite {
            for server in self.servers.clone() {
                self.ask_stream_server(cx, interface, &server);
            }
        }
    }

    fn interface_went(&mut self, cx: &mut Context, ip: IpAddr) {
        self.probes.forget(|base| base.interface.ip == ip);
        let mut closed = self.sockets.forget_interface(ip);
        let (relays, sockets) = self.relays.forget_interface(ip);
        closed.extend(sockets);
        closed.extend(self.stun_connections.forget_interface(ip));
        closed.sort_unstable();
        closed.dedup();
        self.tcp_ends.forget(cx, |other| other == ip);
        for end in &closed {
            cx.push_io(IoRequest::Close(*end));
        }
        cx.notify(Notice::Gone {
            ends: relays.into_iter().chain(closed).collect(),
            interface: Some(ip),
        });
        self.names.withdraw(cx, |name| name == ip);
    }

    fn socket_bound(&mut self, cx: &mut Context, now: Instant, request: u32, local: Local, addr: SocketAddr) {
        if self.relays.end_ready(cx, request, local, addr) {
            return;
        }
        let Some((interface, base)) = self.sockets.bound(request, local, addr) else {
            cx.push_io(IoRequest::Close(local));
            return;
        };
        if base.is_some() {
            let Interface { ip, local_preference } = interface;
            self.insert_host(cx, now, NewLocal::host(local, ip, addr, local_preference, None));
        }
        self.add_active(cx, now, interface);
        if let Some(base) = base.filter(|_| !cx.config.lite) {
            for server in self.servers.clone() {
                self.ask_datagram_server(cx, &base, &server);
            }
        }
    }

    /// The active candidate comes after the UDP candidate of its interface: what is said first is what simple peers
    /// use.
    fn add_active(&mut self, cx: &mut Context, now: Instant, interface: Interface) {
        let config = &cx.config;
        let wanted = config.tcp.active && !config.lite && config.transport_policy == TransportPolicy::All;
        if wanted && config.network_types.allows(Protocol::Tcp, interface.ip) {
            let end = self.tcp_ends.add_active(interface);
            self.insert_tcp_end(cx, now, end);
        }
    }

    fn insert_tcp_end(&mut self, cx: &mut Context, now: Instant, end: TcpEnd) {
        self.insert_host(cx, now, end.host());
        if self.state == GatheringState::Gathering {
            self.stun_connections.ask(cx, now, &end, &self.servers);
        }
    }

    /// A host candidate, under the address that a NAT gives it if the configuration knows one.
    fn insert_host(&mut self, cx: &mut Context, now: Instant, new: NewLocal) {
        let base = new.base;
        let mapped = |kind| {
            let mut mappings = cx.config.nat_mappings.iter();
            mappings.find_map(|mapping| mapping.map(kind, base))
        };
        let reflexive = mapped(CandidateKind::ServerReflexive);
        let addr = mapped(CandidateKind::Host).unwrap_or(base);
        let besides = NewLocal::host(new.local, new.interface, base, new.local_preference, new.tcp_type);
        // What a NAT shows instead needs no hiding, nor what the peer is not told of.
        let hidden = cx.config.hide_host_addresses && addr == base;
        let named = hidden && cx.config.transport_policy == TransportPolicy::All;
        let name = named.then(|| self.names.name_of(cx, now, new.interface));
        cx.notify(Notice::Found(NewLocal { addr, name, ..new }));
        // RFC 6544 §5.2: an active candidate has no port that a NAT could keep.
        if let Some(addr) = reflexive
            && besides.tcp_type != Some(TcpType::Active)
        {
            cx.notify(Notice::Found(NewLocal {
                kind: CandidateKind::ServerReflexive,
                addr,
                ..besides
            }));
        }
    }
}

/// Servers.
impl Gathering {
    fn find_servers(&mut self, cx: &mut Context) {
        let servers = cx.config.servers.iter().enumerate();
        let urls: Vec<(usize, ServerUrl)> = servers
            .flat_map(|(index, server)| server.urls.iter().map(move |url| (index, url.clone())))
            .take(MAX_SERVERS)
            .collect();
        for (index, url) in urls {
            if url.kind == ServerKind::Stun && url.transport != ServerTransport::Udp && !has_tcp(&cx.config) {
                let text = "not asked: a STUN server over TLS tells of TCP candidates, and none are gathered";
                cx.candidate_error(&url.to_string(), None, NOT_REACHED, text);
            } else if let Ok(ip) = url.host.parse::<IpAddr>() {
                let addr = SocketAddr::new(ip, url.port);
                self.servers.push(Server::new(url, addr, index));
            } else {
                let request = cx.next_request();
                cx.push_io(IoRequest::Resolve {
                    request,
                    host: url.host.clone(),
                    port: url.port,
                });
                self.resolves.push(Resolve {
                    request,
                    server: index,
                    url,
                });
            }
        }
    }

    fn take_resolve(&mut self, request: u32) -> Option<Resolve> {
        let index = self.resolves.iter().position(|r| r.request == request)?;
        Some(self.resolves.swap_remove(index))
    }

    fn server_resolved(&mut self, cx: &mut Context, now: Instant, request: u32, addrs: &[IpAddr]) {
        let Some(resolve) = self.take_resolve(request) else {
            return;
        };
        if addrs.is_empty() {
            let text = "the host name has no address";
            cx.candidate_error(&resolve.url.to_string(), None, NOT_REACHED, text);
        }
        for server in Server::resolved(&resolve.url, addrs, resolve.server) {
            if self.servers.len() >= MAX_SERVERS {
                cx.counters.over_limit += 1;
                return;
            }
            self.servers.push(server.clone());
            self.ask_server(cx, now, &server);
        }
    }

    /// Asks one server from everywhere.
    fn ask_server(&mut self, cx: &mut Context, now: Instant, server: &Server) {
        for base in self.sockets.bases().to_vec() {
            self.ask_datagram_server(cx, &base, server);
        }
        for interface in self.sockets.interfaces().to_vec() {
            self.ask_stream_server(cx, interface, server);
        }
        if self.state == GatheringState::Gathering {
            for end in self.tcp_ends.iter() {
                self.stun_connections.ask(cx, now, end, std::slice::from_ref(server));
            }
        }
    }

    /// Asks a TURN server over TCP or TLS, through a connection of its own.
    fn ask_stream_server(&mut self, cx: &mut Context, interface: Interface, server: &Server) {
        let gathering = self.state == GatheringState::Gathering;
        if gathering && server.is_stream() && server.fits(interface.ip) && server.url.kind == ServerKind::Turn {
            self.relays.reach(cx, interface, server);
        }
    }

    /// Asks a server over UDP.
    fn ask_datagram_server(&mut self, cx: &mut Context, base: &Base, server: &Server) {
        if self.state != GatheringState::Gathering || server.is_stream() || !server.fits(base.addr.ip()) {
            return;
        }
        match server.url.kind {
            ServerKind::Stun => self.probes.ask(base, server),
            ServerKind::Turn if cx.config.shared_sockets => {
                // The allocation's own socket has no host candidate, so our address is asked for as of a STUN server.
                if cx.config.transport_policy == TransportPolicy::All {
                    self.probes.ask(base, server);
                }
                self.relays.reach(cx, base.interface, server);
            }
            ServerKind::Turn => self.relays.allocate(cx, base, server),
        }
    }

    pub(crate) fn has_queued_probe(&self) -> bool {
        self.probes.has_queued()
    }

    /// Sends the next question that waits for a slot of the pacer. Returns whether there was one.
    pub(crate) fn send_queued_probe(&mut self, cx: &mut Context, now: Instant) -> bool {
        self.probes.send_queued(cx, now)
    }

    /// Takes an answer of a STUN server, if it is one.
    pub(crate) fn handle_response(&mut self, cx: &mut Context, path: Path, message: &Message<'_>) -> bool {
        self.probes.handle_response(cx, path, message)
    }

    /// Takes what came over a connection to a STUN server, if it came over one.
    pub(crate) fn handle_stun_over_tls(&mut self, cx: &mut Context, path: Path, data: &[u8]) -> bool {
        self.stun_connections.handle_message(cx, path, data, &self.tcp_ends)
    }
}

/// Names.
impl Gathering {
    /// Whether `.local` names are being looked up.
    pub(crate) fn is_resolving(&self) -> bool {
        self.names.is_resolving()
    }

    pub(crate) fn look_up(&mut self, cx: &mut Context, now: Instant, name: String, candidate: Candidate) {
        self.names.look_up(cx, now, name, candidate);
    }

    pub(crate) fn forget_queries(&mut self) {
        self.names.forget_queries();
    }

    /// Whether what stands for this address was published.
    pub(crate) fn is_published(&self, ip: IpAddr) -> bool {
        self.names.is_published(ip)
    }
}

/// Allocations.
impl Gathering {
    /// Whose server sent this, if it is TURN.
    pub(crate) fn find_relay(&self, path: Path, data: &[u8]) -> Option<u32> {
        self.relays.find(path, data)
    }

    /// A packet of that server's. What a peer sent through it comes back, with the peer's address.
    pub(crate) fn handle_relay_packet(
        &mut self,
        cx: &mut Context,
        now: Instant,
        relay: u32,
        data: BytesMut,
    ) -> Option<(SocketAddr, BytesMut)> {
        self.relays.handle_packet(cx, now, relay, data)
    }

    pub(crate) fn permit(&mut self, relay: u32, peer: IpAddr) {
        self.relays.permit(relay, peer);
    }

    pub(crate) fn bind_channel(&mut self, relay: u32, peer: SocketAddr) {
        self.relays.bind_channel(relay, peer);
    }

    pub(crate) fn relay_room(&self, relay: u32, peer: SocketAddr) -> (usize, usize) {
        self.relays.room(relay, peer)
    }

    /// Wraps the open segment; the path stays a relay's if there is no such allocation.
    pub(crate) fn wrap_for_relay(&mut self, relay: u32, path: Path, out: &mut TransmitBuf) -> Path {
        self.relays.wrap(relay, path, out)
    }

    pub(crate) fn poll_relay_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        self.relays.poll_transmit(now, out)
    }
}
