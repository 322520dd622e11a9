//! Relayed candidates: allocations on TURN servers, each a virtual socket named `Local::Relay`.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use antiphon_sansio::{BytesMut, Ecn, Local, Path, Transmit, TransmitBuf};
use antiphon_stun::{AddressFamily, Message, Method, is_stun};
use antiphon_turn::{AllocationError, Client, ClientConfig, ClientEvent, is_channel_data};

use crate::agent::Agent;
use crate::candidate::CandidateKind;
use crate::config::ServerTransport;
use crate::event::GatheringState;
use crate::gather::{Base, NOT_REACHED};
use crate::interfaces::Interface;
use crate::io::IoRequest;
use crate::local::NewLocal;
use crate::servers::{MAX_HOPS, Server};

/// The most allocations of one agent.
pub const MAX_ALLOCATIONS: usize = 8;

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
struct Later {
    at: Instant,
    interface: Interface,
    server: Server,
}

/// The agent's allocations.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    list: Vec<Relay>,
    later: Vec<Later>,
    next_id: u32,
}

impl Relays {
    fn get(&self, id: u32) -> Option<&Relay> {
        self.list.iter().find(|relay| relay.id == id)
    }

    fn get_mut(&mut self, id: u32) -> Option<&mut Relay> {
        self.list.iter_mut().find(|relay| relay.id == id)
    }

    /// Whose server sent this, if it is TURN. A Binding response of the same server belongs to gathering.
    pub(crate) fn find(&self, path: Path, data: &[u8]) -> Option<u32> {
        let relay = self
            .list
            .iter()
            .find(|relay| relay.base.local == path.local && relay.server.addr == path.remote)?;
        let is_turn = is_channel_data(data)
            || (is_stun(data) && Message::parse(data).is_ok_and(|m| m.method() != Method::BINDING));
        is_turn.then_some(relay.id)
    }

    /// Whether this interface has an allocation on this server.
    pub(crate) fn is_known(&self, ip: IpAddr, server: &Server) -> bool {
        self.list.iter().any(|relay| {
            relay.base.interface.ip == ip
                && relay.server.addr == server.addr
                && relay.server.url.transport == server.url.transport
                && !relay.client.is_ended()
        })
    }

    /// Whether this server, asked from this interface, had no room a moment ago.
    pub(crate) fn waits_for(&self, ip: IpAddr, server: &Server) -> bool {
        self.later.iter().any(|later| {
            later.interface.ip == ip
                && later.server.addr == server.addr
                && later.server.url.transport == server.url.transport
        })
    }

    pub(crate) fn is_settled(&self) -> bool {
        self.list.iter().all(|relay| relay.client.is_settled())
    }

    pub(crate) fn permit(&mut self, id: u32, peer: IpAddr) {
        if let Some(relay) = self.get_mut(id) {
            relay.client.permit(peer);
        }
    }

    pub(crate) fn bind_channel(&mut self, id: u32, peer: SocketAddr) {
        if let Some(relay) = self.get_mut(id) {
            relay.client.bind_channel(peer);
        }
    }

    pub(crate) fn room(&self, id: u32, peer: SocketAddr) -> (usize, usize) {
        self.get(id).map_or((0, 0), |relay| relay.client.room(peer))
    }

    /// Wraps the open segment; the path stays a relay's if there is no such allocation.
    pub(crate) fn wrap(&mut self, id: u32, path: Path, out: &mut TransmitBuf) -> Path {
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

    pub(crate) fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Transmit> {
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

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for relay in &mut self.list {
            relay.client.handle_timeout(now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let later = self.later.iter().map(|later| later.at);
        self.list
            .iter()
            .filter_map(|relay| relay.client.poll_timeout())
            .chain(later)
            .min()
    }

    pub(crate) fn close(&mut self, now: Instant) {
        self.later.clear();
        for relay in &mut self.list {
            relay.client.close(now);
        }
    }

    /// Forgets the allocations that were reached through this socket, and names them.
    pub(crate) fn forget_base(&mut self, local: Local) -> Vec<u32> {
        let (gone, kept): (Vec<Relay>, Vec<Relay>) = std::mem::take(&mut self.list)
            .into_iter()
            .partition(|relay| relay.base.local == local);
        self.list = kept;
        gone.iter().map(|relay| relay.id).collect()
    }

    /// The servers that are reached through this end, from where, and whether they gave an allocation.
    pub(crate) fn reached_through(&self, local: Local) -> Vec<(Interface, Server, bool)> {
        self.list
            .iter()
            .filter(|relay| relay.base.local == local)
            .map(|relay| {
                (
                    relay.base.interface,
                    relay.server.clone(),
                    relay.client.relayed().is_some(),
                )
            })
            .collect()
    }

    /// Forgets the allocations of this interface; names them, and the sockets through which they were reached.
    pub(crate) fn forget_interface(&mut self, ip: IpAddr) -> (Vec<u32>, Vec<Local>) {
        self.later.retain(|later| later.interface.ip != ip);
        let (gone, kept): (Vec<Relay>, Vec<Relay>) = std::mem::take(&mut self.list)
            .into_iter()
            .partition(|relay| relay.base.interface.ip == ip);
        self.list = kept;
        gone.iter().map(|relay| (relay.id, relay.base.local)).unzip()
    }
}

impl Agent {
    pub(crate) fn allocate(&mut self, now: Instant, base: &Base, server: &Server) {
        self.allocate_after(now, base, server, Vec::new());
    }

    fn allocate_after(&mut self, now: Instant, base: &Base, server: &Server, asked: Vec<SocketAddr>) {
        let known = |relay: &Relay| relay.base.local == base.local && relay.server.addr == server.addr;
        if self.relays.list.iter().any(known) || self.relays.waits_for(base.interface.ip, server) {
            return;
        }
        if self.relays.list.len() >= MAX_ALLOCATIONS {
            self.counters.over_limit += 1;
            return;
        }
        let id = self.relays.next_id;
        self.relays.next_id += 1;
        let credentials = &self.config.servers[server.index];
        let mut config = ClientConfig::new(credentials.username.clone(), credentials.credential.clone());
        config.family = base.addr.is_ipv6().then_some(AddressFamily::V6);
        config.additional_ipv6 = self.config.relay_both_families && base.addr.is_ipv4();
        if server.url.transport != ServerTransport::Udp {
            config = config.over_stream();
        }
        let rng = self.rng.fork_numbered("turn", u64::from(id));
        self.relays.list.push(Relay {
            id,
            base: base.clone(),
            server: server.clone(),
            asked,
            client: Client::new(config, now, rng),
        });
    }

    pub(crate) fn handle_relay_packet(
        &mut self,
        now: Instant,
        id: u32,
        data: BytesMut,
    ) -> Option<(SocketAddr, BytesMut)> {
        let received = self.relays.get_mut(id)?.client.handle_message(now, data);
        if received.is_none() {
            self.collect_relay_events(now);
            self.advance(now);
        }
        received
    }

    pub(crate) fn collect_relay_events(&mut self, now: Instant) {
        let mut index = 0;
        while index < self.relays.list.len() {
            while let Some(event) = self.relays.list[index].client.poll_event() {
                self.handle_relay_event(now, index, event);
            }
            index += 1;
        }
        if self.is_closed() {
            return;
        }
        let ended: Vec<u32> = self
            .relays
            .list
            .iter()
            .filter(|r| r.client.is_ended())
            .map(|r| r.id)
            .collect();
        for id in ended {
            self.relay_ended(now, id);
        }
    }

    fn handle_relay_event(&mut self, now: Instant, index: usize, event: ClientEvent) {
        let relay = &self.relays.list[index];
        let (id, base, server) = (relay.id, relay.base.clone(), relay.server.clone());
        match event {
            ClientEvent::Allocated { relayed, mapped } => self.allocated(now, id, &base, &server, relayed, mapped),
            ClientEvent::Failed(AllocationError::Refused { code: 437, .. })
                if server.hops < MAX_HOPS && !self.is_closed() =>
            {
                // RFC 8656 §7.4: somebody has an allocation from this address and port, or the server has forgotten ours:
                // another port, then.
                self.again(
                    base,
                    Server {
                        hops: server.hops + 1,
                        ..server
                    },
                );
            }
            ClientEvent::Failed(error) => {
                let (code, text) = match &error {
                    AllocationError::Refused { code, reason } => (*code, reason.clone()),
                    other => (NOT_REACHED, other.to_string()),
                };
                self.candidate_error(&server.url.to_string(), Some(base.addr), code, &text);
                self.ask_elsewhere(now, base, server, &error);
            }
            ClientEvent::Redirected { server: to, domain } => self.redirected(now, index, to, domain),
            // The pair's checks will fail by themselves.
            _ => {}
        }
    }

    fn allocated(
        &mut self,
        now: Instant,
        id: u32,
        base: &Base,
        server: &Server,
        relayed: SocketAddr,
        mapped: SocketAddr,
    ) {
        let (interface, preference) = (base.interface.ip, base.interface.local_preference);
        let url = server.url.to_string();
        // RFC 8656 §7.3: the answer tells what a STUN server would.
        let useful = mapped != base.addr && mapped.is_ipv4() == base.addr.is_ipv4();
        if useful && self.gatherer.is_base(base.local) {
            self.insert_local(
                now,
                NewLocal {
                    kind: CandidateKind::ServerReflexive,
                    addr: mapped,
                    url: Some(url.clone()),
                    server: Some(server.addr.ip()),
                    ..NewLocal::host(base.local, interface, base.addr, preference, None)
                },
            );
        }
        // Every hop of data through a stream waits for what was lost before it: the way over UDP is better.
        let preference = match server.url.transport {
            ServerTransport::Udp => preference,
            ServerTransport::Tcp => preference / 2,
            ServerTransport::Tls => preference / 4,
        };
        self.insert_local(
            now,
            NewLocal {
                kind: CandidateKind::Relayed,
                addr: relayed,
                url: Some(url),
                relay_protocol: Some(server.url.transport),
                server: Some(server.addr.ip()),
                ..NewLocal::host(Local::Relay(id), interface, mapped, preference, None)
            },
        );
    }

    /// Another try from another port.
    fn again(&mut self, base: Base, server: Server) {
        if let Some(socket) = self
            .gatherer
            .relay_sockets
            .iter()
            .position(|local| *local == base.local)
        {
            self.gatherer.relay_sockets.swap_remove(socket);
            self.push_io(IoRequest::Close(base.local));
        }
        self.reach(base.interface, &server);
    }

    /// RFC 8656 §7.4: what one server has no room for, another may have; where there is no other, the same after a minute.
    fn ask_elsewhere(&mut self, now: Instant, base: Base, server: Server, error: &AllocationError) {
        let full = error.retry_after();
        if self.is_closed() || (full.is_none() && *error != AllocationError::TimedOut) {
            return;
        }
        if let Some(next) = server.next_address() {
            self.resume_gathering();
            if server.url.transport == ServerTransport::Udp {
                self.allocate(now, &base, &next);
            } else {
                self.again(base, next);
            }
        } else if let Some(wait) = full
            && self.config.continual_gathering
            && server.hops < MAX_HOPS
            && self.relays.later.len() < MAX_ALLOCATIONS
        {
            self.relays.later.push(Later {
                at: now + wait,
                interface: base.interface,
                server: Server {
                    hops: server.hops + 1,
                    ..server
                },
            });
        }
    }

    /// Asks the servers that had no room a minute ago.
    pub(crate) fn ask_full_servers(&mut self, now: Instant) {
        let due = |later: &Later| later.at <= now;
        while let Some(index) = self.relays.later.iter().position(due) {
            let Later { interface, server, .. } = self.relays.later.swap_remove(index);
            // Before it gathers anew it asks nobody, and then everybody.
            if self.gathering_state() != GatheringState::New && self.gatherer.interfaces.contains(&interface) {
                self.resume_gathering();
                self.reach(interface, &server);
            }
        }
    }

    /// The connection to a TURN server ended, and with it the allocation. One that worked is asked for again.
    pub(crate) fn server_hung_up(&mut self, interface: Interface, server: Server, granted: bool) {
        let again = granted
            && self.config.continual_gathering
            && server.hops < MAX_HOPS
            && self.gatherer.interfaces.contains(&interface);
        if again {
            self.resume_gathering();
            self.reach(
                interface,
                &Server {
                    hops: server.hops + 1,
                    ..server
                },
            );
        } else {
            let from = SocketAddr::new(interface.ip, 0);
            let text = "the connection to the TURN server ended";
            self.candidate_error(&server.url.to_string(), Some(from), NOT_REACHED, text);
        }
    }

    /// RFC 8489 §10. The other server is asked over the same transport; never one that was asked already.
    fn redirected(&mut self, now: Instant, index: usize, to: SocketAddr, domain: Option<String>) {
        let relay = &self.relays.list[index];
        let mut asked = relay.asked.clone();
        asked.push(relay.server.addr);
        let mut server = Server {
            addr: to,
            hops: relay.server.hops + 1,
            ..relay.server.clone()
        };
        server.domain = domain.or(server.domain);
        let base = relay.base.clone();
        let ip = to.ip();
        let sane = to.is_ipv4() == base.addr.is_ipv4()
            && ip.is_loopback() == base.addr.ip().is_loopback()
            && !ip.is_unspecified()
            && !ip.is_multicast()
            && to.port() != 0;
        if !sane || asked.contains(&to) || server.hops > MAX_HOPS || self.is_closed() {
            let text = "the server names another one that cannot be asked";
            self.candidate_error(&server.url.to_string(), Some(base.addr), 300, text);
        } else if server.url.transport == ServerTransport::Udp {
            self.allocate_after(now, &base, &server, asked);
        } else {
            self.again(base, server);
        }
    }

    /// The allocation is gone, and with it every pair that used it.
    fn relay_ended(&mut self, now: Instant, id: u32) {
        let relay = Local::Relay(id);
        let Some(index) = self.relays.list.iter().position(|relay| relay.id == id) else {
            return;
        };
        let base = self.relays.list.swap_remove(index).base.local;
        // Its socket goes too, if it served nothing else.
        if let Some(socket) = self.gatherer.relay_sockets.iter().position(|local| *local == base)
            && !self.relays.list.iter().any(|relay| relay.base.local == base)
        {
            self.gatherer.relay_sockets.swap_remove(socket);
            self.push_io(IoRequest::Close(base));
        }
        self.forget_locals(now, |candidate| candidate.local == relay);
        self.forget_previous_on(relay);
    }
}
