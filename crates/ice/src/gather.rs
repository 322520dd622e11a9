//! Gathering candidates (RFC 8445 §5.1.1): the plan, and what the driver answers to it.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use antiphon_sansio::Local;

use crate::agent::Agent;
use crate::candidate::{CandidateAddress, CandidateKind, Protocol};
use crate::event::{Event, GatheringState};
use crate::interfaces::{Bind, Interface};
use crate::io::{IoEvent, IoRequest};
use crate::servers::{Probe, RelayBind, Resolve, Server};
use crate::tls_stun::StunConnection;

/// The most interface addresses that become sockets.
pub const MAX_INTERFACES: usize = 16;

/// The code of a W3C `icecandidateerror` when a server was not reached.
pub(crate) const NOT_REACHED: u16 = 701;

#[derive(Clone, Debug)]
pub(crate) struct Base {
    pub(crate) local: Local,
    pub(crate) addr: SocketAddr,
    pub(crate) interface: Interface,
}

/// What two candidates of the same foundation share.
type Foundation = (CandidateKind, Protocol, IpAddr, Option<IpAddr>);

/// The most foundations that are told apart; more share one, which costs speed and nothing else.
const MAX_FOUNDATIONS: usize = 256;

#[derive(Debug)]
pub(crate) struct Gatherer {
    state: GatheringState,
    pub(crate) listing: bool,
    pub(crate) interfaces: Vec<Interface>,
    pub(crate) binds: Vec<Bind>,
    pub(crate) resolves: Vec<Resolve>,
    pub(crate) relay_binds: Vec<RelayBind>,
    /// Sockets and connections that serve an allocation and nothing else.
    pub(crate) relay_sockets: Vec<Local>,
    pub(crate) bases: Vec<Base>,
    pub(crate) servers: Vec<Server>,
    pub(crate) probes: Vec<Probe>,
    pub(crate) stun_connections: Vec<StunConnection>,
    /// Position = foundation (RFC 8445 §5.1.1.3).
    foundations: Vec<Foundation>,
}

impl Default for Gatherer {
    fn default() -> Self {
        Self {
            state: GatheringState::New,
            listing: false,
            interfaces: Vec::new(),
            binds: Vec::new(),
            resolves: Vec::new(),
            relay_binds: Vec::new(),
            relay_sockets: Vec::new(),
            bases: Vec::new(),
            servers: Vec::new(),
            probes: Vec::new(),
            stun_connections: Vec::new(),
            foundations: Vec::new(),
        }
    }
}

impl Gatherer {
    pub(crate) fn state(&self) -> GatheringState {
        self.state
    }

    /// The same number for the same type, transport, base address and server (RFC 8445 §5.1.1.3).
    pub(crate) fn foundation(
        &mut self,
        kind: CandidateKind,
        protocol: Protocol,
        base: IpAddr,
        server: Option<IpAddr>,
    ) -> usize {
        let key = (kind, protocol, base, server);
        let index = self.foundations.iter().position(|known| *known == key);
        index.unwrap_or_else(|| {
            if self.foundations.len() < MAX_FOUNDATIONS {
                self.foundations.push(key);
            }
            self.foundations.len() - 1
        }) + 1
    }

    pub(crate) fn restart(&mut self) {
        self.state = GatheringState::New;
        self.listing = false;
        self.probes.clear();
    }

    pub(crate) fn close(&mut self) {
        self.interfaces.clear();
        self.binds.clear();
        self.resolves.clear();
        self.relay_binds.clear();
        self.relay_sockets.clear();
        self.bases.clear();
        self.probes.clear();
        self.stun_connections.clear();
    }

    /// Every socket in use, each once.
    pub(crate) fn sockets(&self) -> Vec<Local> {
        let mut sockets: Vec<Local> = self.bases.iter().map(|base| base.local).collect();
        sockets.extend(&self.relay_sockets);
        sockets.extend(self.stun_connections.iter().filter_map(StunConnection::local));
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
        self.resume_gathering();
        // After a restart the sockets are there already: their candidates are signalled again, with the new ufrag.
        for index in 0..self.locals.len() {
            let local = &self.locals[index];
            let hidden = matches!(local.candidate.address, CandidateAddress::Name(_));
            if local.pairs && (!hidden || self.mdns.is_published(local.interface)) {
                let candidate = local.candidate.clone();
                self.push_event(Event::LocalCandidate(candidate));
            }
        }
        self.gatherer.listing = true;
        self.push_io(IoRequest::ListInterfaces {
            watch: self.config.continual_gathering,
        });
        // A lite agent has host candidates only (RFC 8445 §5.2).
        if !self.config.lite {
            if self.gatherer.servers.is_empty() {
                self.find_servers();
            }
            for base in self.gatherer.bases.clone() {
                self.ask_servers(now, &base);
            }
            for interface in self.gatherer.interfaces.clone() {
                self.ask_stream_servers(interface);
            }
            let servers = self.gatherer.servers.clone();
            self.ask_tls_stun_servers(now, &servers);
        }
        self.advance(now);
    }

    /// There is something to gather, for the first time or again.
    pub(crate) fn resume_gathering(&mut self) {
        if self.gatherer.state != GatheringState::Gathering {
            self.gatherer.state = GatheringState::Gathering;
            self.push_event(Event::GatheringState(GatheringState::Gathering));
        }
    }

    pub(crate) fn candidate_error(&mut self, url: &str, address: Option<SocketAddr>, code: u16, text: &str) {
        self.push_event(Event::CandidateError {
            url: url.to_owned(),
            address,
            code,
            text: text.to_owned(),
        });
    }

    pub(crate) fn handle_driver(&mut self, now: Instant, event: IoEvent) {
        match event {
            IoEvent::Interfaces(addrs) => self.interfaces_listed(now, addrs),
            IoEvent::UdpBound { request, local, addr } => self.socket_bound(now, request, local, addr),
            IoEvent::TcpConnected { request, local, addr } => {
                if !self.relay_end_ready(now, request, local, addr) && !self.stun_connected(now, request, local) {
                    self.connected(now, request, local, addr);
                }
            }
            IoEvent::TcpListening { request, addr } => self.listening(now, request, addr),
            IoEvent::TcpAccepted {
                request,
                local,
                addr,
                remote,
            } => self.accepted(now, request, local, addr, remote),
            IoEvent::MdnsPublished { request } => self.mdns_published(request),
            IoEvent::Resolved { request, addrs } => {
                if !self.mdns_resolved(request, &addrs) {
                    self.server_resolved(now, request, &addrs);
                }
            }
            IoEvent::Failed { request, reason } => self.request_failed(now, request, &reason),
            IoEvent::Closed { local } => self.end_closed(now, local),
        }
    }

    fn request_failed(&mut self, now: Instant, request: u32, reason: &str) {
        if self.mdns_failed(request)
            || self.tcp_failed(request)
            || self.server_failed(request, reason)
            || self.stun_connection_failed(request, reason)
        {
            return;
        }
        if let Some(index) = self.gatherer.binds.iter().position(|bind| bind.request == request) {
            let bind = self.gatherer.binds.swap_remove(index);
            match self.next_port(bind.port) {
                Some(port) => self.bind(bind.interface, port),
                None => self.add_active(now, bind.interface),
            }
        }
    }

    /// A socket or connection is gone. Returns the allocations that go with it.
    pub(crate) fn gatherer_forgets(&mut self, local: Local) -> Vec<u32> {
        self.gatherer.bases.retain(|base| base.local != local);
        self.gatherer.relay_sockets.retain(|socket| *socket != local);
        self.gatherer.probes.retain(|probe| probe.base.local != local);
        self.relays.forget_base(local)
    }

    pub(crate) fn finish_gathering(&mut self) {
        let gatherer = &self.gatherer;
        if gatherer.state == GatheringState::Gathering
            && !gatherer.listing
            && gatherer.binds.is_empty()
            && gatherer.resolves.is_empty()
            && gatherer.relay_binds.is_empty()
            && gatherer.probes.is_empty()
            && !self.is_waiting_for_tls_stun()
            && self.relays.is_settled()
            && !self.tcp.is_waiting_for_listeners()
            && !self.mdns.is_publishing()
        {
            self.gatherer.state = GatheringState::Complete;
            self.push_event(Event::GatheringState(GatheringState::Complete));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foundations_repeat() {
        let mut gatherer = Gatherer::default();
        let (a, b) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let (host, udp) = (CandidateKind::Host, Protocol::Udp);
        let first = gatherer.foundation(host, udp, a, None);
        assert_ne!(gatherer.foundation(host, udp, b, None), first);
        assert_ne!(
            gatherer.foundation(CandidateKind::ServerReflexive, udp, a, Some(b)),
            first
        );
        assert_ne!(gatherer.foundation(host, Protocol::Tcp, a, None), first);
        assert_eq!(gatherer.foundation(host, udp, a, None), first);
    }
}
