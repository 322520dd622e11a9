//! Relayed candidates: allocations on TURN servers, each a virtual socket named `Local::Relay`.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use antiphon_sansio::{BytesMut, Dscp, Ecn, Local, Path, Transmit, TransmitBuf};
use antiphon_stun::{AddressFamily, Message, Method, is_stun};
use antiphon_turn::{AllocationError, Client, ClientConfig, ClientEvent, is_channel_data};

use crate::agent::{Agent, NewLocal};
use crate::candidate::CandidateKind;
use crate::event::Event;
use crate::gather::{Base, Server};

/// The most allocations of one agent.
pub const MAX_ALLOCATIONS: usize = 8;

#[derive(Debug)]
struct Relay {
    id: u32,
    base: Base,
    server: SocketAddr,
    url: String,
    client: Client,
}

/// The agent's allocations.
#[derive(Debug, Default)]
pub(crate) struct Relays {
    list: Vec<Relay>,
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
            .find(|relay| relay.base.local == path.local && relay.server == path.remote)?;
        let is_turn = is_channel_data(data)
            || (is_stun(data) && Message::parse(data).is_ok_and(|m| m.method() != Method::BINDING));
        is_turn.then_some(relay.id)
    }

    /// Whether this interface has an allocation on this server.
    pub(crate) fn is_known(&self, ip: IpAddr, server: SocketAddr) -> bool {
        self.list
            .iter()
            .any(|relay| relay.base.addr.ip() == ip && relay.server == server)
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
                    remote: relay.server,
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
                remote: relay.server,
            },
            range: out.finish(),
            segment_size: None,
            ecn: Ecn::NotEct,
            dscp: Dscp::default(),
        })
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        for relay in &mut self.list {
            relay.client.handle_timeout(now);
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        self.list.iter().filter_map(|relay| relay.client.poll_timeout()).min()
    }

    pub(crate) fn close(&mut self, now: Instant) {
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
}

impl Agent {
    pub(crate) fn allocate(&mut self, now: Instant, base: &Base, server: &Server) {
        let known = |relay: &Relay| relay.base.local == base.local && relay.server == server.addr;
        if self.relays.list.iter().any(known) {
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
        let rng = self.rng.fork_numbered("turn", u64::from(id));
        self.relays.list.push(Relay {
            id,
            base: base.clone(),
            server: server.addr,
            url: server.url.to_string(),
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
            self.relay_ended(id);
        }
    }

    fn handle_relay_event(&mut self, _now: Instant, index: usize, event: ClientEvent) {
        let relay = &self.relays.list[index];
        let (id, base, url, server) = (relay.id, relay.base.clone(), relay.url.clone(), relay.server);
        match event {
            ClientEvent::Allocated { relayed, mapped } => {
                // RFC 8656 §7.3: the answer tells what a STUN server would.
                let useful = mapped != base.addr && mapped.is_ipv4() == base.addr.is_ipv4();
                if useful && self.gatherer.is_base(base.local) {
                    self.insert_local(NewLocal {
                        kind: CandidateKind::ServerReflexive,
                        local: base.local,
                        addr: mapped,
                        base: base.addr,
                        local_preference: base.local_preference,
                        url: Some(url.clone()),
                        server: Some(server.ip()),
                    });
                }
                self.insert_local(NewLocal {
                    kind: CandidateKind::Relayed,
                    local: Local::Relay(id),
                    addr: relayed,
                    base: mapped,
                    local_preference: base.local_preference,
                    url: Some(url),
                    server: Some(server.ip()),
                });
            }
            ClientEvent::Failed(error) => {
                let (code, text) = match error {
                    AllocationError::Refused { code, reason } => (code, reason),
                    other => (701, other.to_string()),
                };
                self.push_event(Event::CandidateError {
                    url,
                    address: Some(base.addr),
                    code,
                    text,
                });
            }
            // The pair's checks will fail by themselves.
            _ => {}
        }
    }

    /// The allocation is gone, and with it every pair that used it.
    fn relay_ended(&mut self, id: u32) {
        let local = Local::Relay(id);
        let in_use = self
            .locals
            .iter()
            .any(|candidate| candidate.local == local && candidate.pairs);
        if in_use {
            self.socket_closed(local);
        }
    }
}
