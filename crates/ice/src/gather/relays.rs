//! Relayed candidates: allocations on TURN servers, each a virtual socket named `Local::Relay`, and the ends through
//! which the servers are reached.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use antiphon_sansio::{BytesMut, Ecn, Local, Path, Transmit, TransmitBuf};
use antiphon_stun::{AddressFamily, Message, Method, is_stun};
use antiphon_turn::{AllocationError, Client, ClientConfig, ClientEvent, is_channel_data};

use super::interface::{Base, Interface};
use super::server::Server;
use crate::candidate::CandidateKind;
use crate::config::ServerTransport;
use crate::context::{Context, NOT_REACHED};
use crate::io::{Framing, IoRequest};
use crate::notice::{NewLocal, Notice};

/// The most allocations of one agent.
pub const MAX_ALLOCATIONS: usize = 8;

/// A socket or connection of its own for one allocation, which was asked for.
#[derive(Debug)]
struct RelayBind {
    request: u32,
    interface: Interface,
    server: Server,
}

#[derive(Debug)]
struct Relay {
    id: u32,
    base: Base,
    server: Server,
    /// The servers that sent us on to this one (RFC 8489 §10): none of them is asked again.
    asked: Vec<SocketAddr>,
    client: Client,
}

/// A server that had no room for us, and when it is asked again.
#[derive(Debug)]
struct FullServer {
    at: Instant,
    interface: Interface,
    server: Server,
}

/// The agent's allocations.
#[derive(Debug, Default)]
pub(super) struct Relays {
    binds: Vec<RelayBind>,
    list: Vec<Relay>,
    /// Sockets and connections that serve an allocation and nothing else.
    sockets: Vec<Local>,
    full: Vec<FullServer>,
    next_id: u32,
    /// What is left is to give the allocations back.
    closed: bool,
}

impl Relays {
    fn get(&self, id: u32) -> Option<&Relay> {
        self.list.iter().find(|relay| relay.id == id)
    }

    fn get_mut(&mut self, id: u32) -> Option<&mut Relay> {
        self.list.iter_mut().find(|relay| relay.id == id)
    }

    /// Whose server sent this, if it is TURN. A Binding response of the same server belongs to gathering.
    pub(super) fn find(&self, path: Path, data: &[u8]) -> Option<u32> {
        let relay = self
            .list
            .iter()
            .find(|relay| relay.base.local == path.local && relay.server.addr == path.remote)?;
        let is_turn = is_channel_data(data)
            || (is_stun(data) && Message::parse(data).is_ok_and(|m| m.method() != Method::BINDING));
        is_turn.then_some(relay.id)
    }

    /// Whether this server, asked from this interface, has an allocation for us, or is being asked, or had no room a
    /// moment ago.
    fn is_known(&self, ip: IpAddr, server: &Server) -> bool {
        let given =
            |relay: &Relay| relay.base.interface.ip == ip && relay.server.is_same(server) && !relay.client.is_ended();
        let asked = |bind: &RelayBind| bind.interface.ip == ip && bind.server.is_same(server);
        self.list.iter().any(given) || self.binds.iter().any(asked) || self.waits_for(ip, server)
    }

    fn waits_for(&self, ip: IpAddr, server: &Server) -> bool {
        self.full
            .iter()
            .any(|full| full.interface.ip == ip && full.server.is_same(server))
    }

    /// Whether nothing is on its way that may give a candidate.
    pub(super) fn is_settled(&self) -> bool {
        self.binds.is_empty() && self.list.iter().all(|relay| relay.client.is_settled())
    }

    pub(super) fn permit(&mut self, id: u32, peer: IpAddr) {
        if let Some(relay) = self.get_mut(id) {
            relay.client.permit(peer);
        }
    }

    pub(super) fn bind_channel(&mut self, id: u32, peer: SocketAddr) {
        if let Some(relay) = self.get_mut(id) {
            relay.client.bind_channel(peer);
        }
    }

    pub(super) fn room(&self, id: u32, peer: SocketAddr) -> (usize, usize) {
        self.get(id).map_or((0, 0), |relay| relay.client.room(peer))
    }

    /// Wraps the open segment; the path stays a relay's if there is no such allocation.
    pub(super) fn wrap(&mut self, id: u32, path: Path, out: &mut TransmitBuf) -> Path {
        match self.get_mut(id) {
            Some(relay) => {
                relay.client.wrap(path.remote, out);
                Path {
                    local: relay.base.local,
                    remote: relay.server.addr,
                }
            }
            None => path,
        }
    }

    pub(super) fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
        let relay = self
            .list
            .iter_mut()
            .find_map(|relay| relay.client.poll_transmit(now, out).then_some(relay))?;
        Some(Transmit {
            path: Path {
                local: relay.base.local,
                remote: relay.server.addr,
            },
            range: out.finish(),
            segment_size: None,
            ecn: Ecn::NotEct,
        })
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let asked_again = self.full.iter().map(|full| full.at);
        self.list
            .iter()
            .filter_map(|relay| relay.client.poll_timeout())
            .chain(asked_again)
            .min()
    }

    /// Time went on, for the allocations that there are.
    pub(super) fn handle_timeout(&mut self, cx: &mut Context, now: Instant) {
        for relay in &mut self.list {
            relay.client.handle_timeout(now);
        }
        self.collect_events(cx, now);
    }

    /// Asks the servers that had no room a minute ago, from the interfaces that are still there.
    pub(super) fn ask_full_servers(&mut self, cx: &mut Context, now: Instant, interfaces: &[Interface]) {
        let due = |full: &FullServer| full.at <= now;
        while let Some(index) = self.full.iter().position(due) {
            let FullServer { interface, server, .. } = self.full.swap_remove(index);
            if interfaces.contains(&interface) {
                self.reach(cx, interface, &server);
            }
        }
    }

    /// Gives the allocations back.
    pub(super) fn close(&mut self, now: Instant) {
        self.closed = true;
        self.binds.clear();
        self.full.clear();
        self.sockets.clear();
        for relay in &mut self.list {
            relay.client.close(now);
        }
    }

    /// The sockets and connections that serve an allocation and nothing else.
    pub(super) fn sockets(&self) -> &[Local] {
        &self.sockets
    }

    /// Asks for an end through which to reach a TURN server, and nothing else.
    pub(super) fn reach(&mut self, cx: &mut Context, interface: Interface, server: &Server) {
        if self.is_known(interface.ip, server) {
            return;
        }
        if self.binds.len() >= MAX_ALLOCATIONS {
            cx.counters.over_limit += 1;
            return;
        }
        let request = cx.next_request();
        cx.push_io(if server.is_stream() {
            IoRequest::ConnectTcp {
                request,
                from: interface.ip,
                from_port: 0,
                to: server.addr,
                framing: Framing::Turn,
                tls: server.tls_name(),
            }
        } else {
            IoRequest::BindUdp {
                request,
                addr: SocketAddr::new(interface.ip, 0),
                exclusive: true,
            }
        });
        self.binds.push(RelayBind {
            request,
            interface,
            server: server.clone(),
        });
    }

    fn take_bind(&mut self, request: u32) -> Option<RelayBind> {
        let index = self.binds.iter().position(|bind| bind.request == request)?;
        Some(self.binds.swap_remove(index))
    }

    /// Takes the end that [`reach`](Self::reach) asked for, if it is one.
    pub(super) fn end_ready(&mut self, cx: &mut Context, request: u32, local: Local, addr: SocketAddr) -> bool {
        let Some(bind) = self.take_bind(request) else {
            return false;
        };
        let base = Base {
            local,
            addr,
            interface: bind.interface,
        };
        self.sockets.push(local);
        self.allocate(cx, &base, &bind.server);
        true
    }

    /// Takes the refusal of such an end, if it is one.
    pub(super) fn end_failed(&mut self, cx: &mut Context, request: u32, reason: &str) -> bool {
        let Some(bind) = self.take_bind(request) else {
            return false;
        };
        let from = SocketAddr::new(bind.interface.ip, 0);
        cx.candidate_error(&bind.server.url.to_string(), Some(from), NOT_REACHED, reason);
        if bind.server.is_stream()
            && let Some(next) = bind.server.next_address()
        {
            self.reach(cx, bind.interface, &next);
        }
        true
    }

    /// Asks this server for an allocation, through this socket or connection.
    pub(super) fn allocate(&mut self, cx: &mut Context, base: &Base, server: &Server) {
        self.allocate_after(cx, base, server, Vec::new());
    }

    fn allocate_after(&mut self, cx: &mut Context, base: &Base, server: &Server, asked: Vec<SocketAddr>) {
        let known = |relay: &Relay| relay.base.local == base.local && relay.server.addr == server.addr;
        if self.list.iter().any(known) || self.waits_for(base.interface.ip, server) {
            return;
        }
        if self.list.len() >= MAX_ALLOCATIONS {
            cx.counters.over_limit += 1;
            return;
        }
        let id = self.next_id;
        self.next_id += 1;
        let credentials = &cx.config.servers[server.index];
        let mut config = ClientConfig::new(credentials.username.clone(), credentials.credential.clone());
        config.family = base.addr.is_ipv6().then_some(AddressFamily::V6);
        config.additional_ipv6 = cx.config.relay_both_families && base.addr.is_ipv4();
        if server.is_stream() {
            config = config.over_stream();
        }
        let rng = cx.rng.fork_numbered("turn", u64::from(id));
        self.list.push(Relay {
            id,
            base: base.clone(),
            server: server.clone(),
            asked,
            client: Client::new(config, rng),
        });
    }

    /// A packet of a server's. What a peer sent through it comes back, with the peer's address.
    pub(super) fn handle_packet(
        &mut self,
        cx: &mut Context,
        now: Instant,
        id: u32,
        data: BytesMut,
    ) -> Option<(SocketAddr, BytesMut)> {
        let received = self.get_mut(id)?.client.handle_message(now, data);
        if received.is_none() {
            self.collect_events(cx, now);
        }
        received
    }

    fn collect_events(&mut self, cx: &mut Context, now: Instant) {
        let mut index = 0;
        while index < self.list.len() {
            while let Some(event) = self.list[index].client.poll_event() {
                self.handle_event(cx, now, index, event);
            }
            index += 1;
        }
        while !self.closed
            && let Some(index) = self.list.iter().position(|relay| relay.client.is_ended())
        {
            self.ended(cx, index);
        }
    }

    fn handle_event(&mut self, cx: &mut Context, now: Instant, index: usize, event: ClientEvent) {
        let relay = &self.list[index];
        match event {
            ClientEvent::Allocated { relayed, mapped } => self.allocated(cx, index, relayed, mapped),
            ClientEvent::Failed(error) => {
                let (base, server) = (relay.base.clone(), relay.server.clone());
                // RFC 8656 §7.4: somebody has an allocation from this address and port, or the server has forgotten
                // ours: another port, then.
                if let AllocationError::Refused { code: 437, .. } = error
                    && !self.closed
                    && let Some(again) = server.again()
                {
                    self.again(cx, &base, &again);
                    return;
                }
                let (code, text) = match &error {
                    AllocationError::Refused { code, reason } => (*code, reason.clone()),
                    other => (NOT_REACHED, other.to_string()),
                };
                cx.candidate_error(&server.url.to_string(), Some(base.addr), code, &text);
                self.ask_elsewhere(cx, now, &base, &server, &error);
            }
            ClientEvent::Redirected { server: to, domain } => self.redirected(cx, index, to, domain),
            // The pair's checks will fail by themselves.
            _ => {}
        }
    }

    fn allocated(&mut self, cx: &mut Context, index: usize, relayed: SocketAddr, mapped: SocketAddr) {
        let Relay { id, base, server, .. } = &self.list[index];
        let Interface { ip, local_preference } = base.interface;
        let url = server.url.to_string();
        // RFC 8656 §7.3: the answer tells what a STUN server would. Of a socket that serves an allocation alone there
        // is no use.
        let useful = mapped != base.addr && mapped.is_ipv4() == base.addr.is_ipv4();
        if useful && !self.sockets.contains(&base.local) {
            cx.notify(Notice::Found(NewLocal {
                kind: CandidateKind::ServerReflexive,
                addr: mapped,
                url: Some(url.clone()),
                server: Some(server.addr.ip()),
                ..NewLocal::host(base.local, ip, base.addr, local_preference, None)
            }));
        }
        // Every hop of data through a stream waits for what was lost before it: the way over UDP is better.
        let local_preference = match server.url.transport {
            ServerTransport::Udp => local_preference,
            ServerTransport::Tcp => local_preference / 2,
            ServerTransport::Tls => local_preference / 4,
        };
        cx.notify(Notice::Found(NewLocal {
            kind: CandidateKind::Relayed,
            addr: relayed,
            url: Some(url),
            relay_protocol: Some(server.url.transport),
            server: Some(server.addr.ip()),
            ..NewLocal::host(Local::Relay(*id), ip, mapped, local_preference, None)
        }));
    }

    /// Another try from another port.
    fn again(&mut self, cx: &mut Context, base: &Base, server: &Server) {
        self.close_socket(cx, base.local);
        self.reach(cx, base.interface, server);
    }

    fn close_socket(&mut self, cx: &mut Context, local: Local) {
        if let Some(index) = self.sockets.iter().position(|socket| *socket == local) {
            self.sockets.swap_remove(index);
            cx.push_io(IoRequest::Close(local));
        }
    }

    /// RFC 8656 §7.4: what one server has no room for, another may have; where there is no other, the same after a
    /// minute.
    fn ask_elsewhere(&mut self, cx: &mut Context, now: Instant, base: &Base, server: &Server, error: &AllocationError) {
        let full = error.retry_after();
        if self.closed || (full.is_none() && *error != AllocationError::TimedOut) {
            return;
        }
        if let Some(next) = server.next_address() {
            if server.is_stream() {
                self.again(cx, base, &next);
            } else {
                self.allocate(cx, base, &next);
            }
        } else if let Some(wait) = full
            && cx.config.continual_gathering
            && let Some(again) = server.again()
            && self.full.len() < MAX_ALLOCATIONS
        {
            self.full.push(FullServer {
                at: now + wait,
                interface: base.interface,
                server: again,
            });
        }
    }

    /// RFC 8489 §10. The other server is asked over the same transport; never one that was asked already.
    fn redirected(&mut self, cx: &mut Context, index: usize, to: SocketAddr, domain: Option<String>) {
        let relay = &self.list[index];
        let base = relay.base.clone();
        let mut asked = relay.asked.clone();
        asked.push(relay.server.addr);
        let ip = to.ip();
        let sane = to.is_ipv4() == base.addr.is_ipv4()
            && ip.is_loopback() == base.addr.ip().is_loopback()
            && !ip.is_unspecified()
            && !ip.is_multicast()
            && to.port() != 0
            && !asked.contains(&to)
            && !self.closed;
        match relay.server.redirected(to, domain).filter(|_| sane) {
            Some(server) if server.is_stream() => self.again(cx, &base, &server),
            Some(server) => self.allocate_after(cx, &base, &server, asked),
            None => {
                let text = "the server names another one that cannot be asked";
                cx.candidate_error(&relay.server.url.to_string(), Some(base.addr), 300, text);
            }
        }
    }

    /// The allocation is gone, and with it every pair that used it.
    fn ended(&mut self, cx: &mut Context, index: usize) {
        let relay = self.list.swap_remove(index);
        // Its socket goes too, if it served nothing else.
        let base = relay.base.local;
        if !self.list.iter().any(|other| other.base.local == base) {
            self.close_socket(cx, base);
        }
        cx.notify(Notice::Gone {
            ends: vec![Local::Relay(relay.id)],
            interface: None,
        });
    }

    /// Forgets the allocations that were reached through this socket or connection, which is gone, and names them. One
    /// that worked through a connection is asked for again.
    pub(super) fn end_closed(&mut self, cx: &mut Context, local: Local, interfaces: &[Interface]) -> Vec<Local> {
        self.sockets.retain(|socket| *socket != local);
        let gone: Vec<Relay> = self.list.extract_if(.., |relay| relay.base.local == local).collect();
        if let Local::Tcp(_) = local {
            for relay in &gone {
                self.server_hung_up(cx, relay, interfaces);
            }
        }
        gone.iter().map(|relay| Local::Relay(relay.id)).collect()
    }

    fn server_hung_up(&mut self, cx: &mut Context, relay: &Relay, interfaces: &[Interface]) {
        let (interface, server) = (relay.base.interface, &relay.server);
        let worked = relay.client.relayed().is_some() && cx.config.continual_gathering;
        let again = server.again().filter(|_| worked && interfaces.contains(&interface));
        match again {
            Some(again) => self.reach(cx, interface, &again),
            None => {
                let from = SocketAddr::new(interface.ip, 0);
                let text = "the connection to the TURN server ended";
                cx.candidate_error(&server.url.to_string(), Some(from), NOT_REACHED, text);
            }
        }
    }

    /// Forgets the allocations of this interface. Names them, and the sockets through which they were reached.
    pub(super) fn forget_interface(&mut self, ip: IpAddr) -> (Vec<Local>, Vec<Local>) {
        self.binds.retain(|bind| bind.interface.ip != ip);
        self.full.retain(|full| full.interface.ip != ip);
        let gone = self.list.extract_if(.., |relay| relay.base.interface.ip == ip);
        let (relays, sockets): (Vec<Local>, Vec<Local>) =
            gone.map(|relay| (Local::Relay(relay.id), relay.base.local)).unzip();
        self.sockets.retain(|socket| !sockets.contains(socket));
        (relays, sockets)
    }
}
