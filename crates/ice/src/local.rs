//! Local candidates: how they come about, what the peer is told of them, and how they go.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use antiphon_sansio::Local;

use crate::agent::{Agent, MAX_LOCAL_CANDIDATES};
use crate::candidate::{Candidate, CandidateKind, Protocol, TcpType};
use crate::config::{ServerTransport, TransportPolicy};
use crate::event::Event;

#[derive(Debug)]
pub(crate) struct LocalCandidate {
    pub(crate) id: u64,
    pub(crate) candidate: Candidate,
    /// The base's socket; of TCP candidates a placeholder, see `tcp`.
    pub(crate) local: Local,
    /// The interface: it goes when that goes.
    pub(crate) interface: IpAddr,
    /// The base's address.
    pub(crate) base: SocketAddr,
    /// Where the peer sees it.
    pub(crate) addr: SocketAddr,
    pub(crate) url: Option<String>,
    pub(crate) relay_protocol: Option<ServerTransport>,
    /// Whether pairs are made of it: it is its own base, and the policy allows it.
    pub(crate) pairs: bool,
    pub(crate) local_preference: u16,
}

impl LocalCandidate {
    /// Where the peer sees what is sent from here to come from, before any NAT: of a relayed candidate, whose `base` is the way to
    /// its server, that is the server.
    pub(crate) fn source(&self) -> IpAddr {
        match self.candidate.kind {
            CandidateKind::Relayed => self.addr.ip(),
            _ => self.base.ip(),
        }
    }

    /// The priority of a peer-reflexive candidate that the peer may learn from our checks (RFC 8445 §7.1.1).
    pub(crate) fn reflexive_priority(&self) -> u32 {
        priority(
            CandidateKind::PeerReflexive,
            self.candidate.tcp_type,
            self.local_preference,
        )
    }
}

/// What [`Agent::insert_local`] needs to know.
#[derive(Debug)]
pub(crate) struct NewLocal {
    pub(crate) kind: CandidateKind,
    pub(crate) local: Local,
    pub(crate) interface: IpAddr,
    pub(crate) addr: SocketAddr,
    pub(crate) base: SocketAddr,
    pub(crate) local_preference: u16,
    pub(crate) tcp_type: Option<TcpType>,
    pub(crate) url: Option<String>,
    pub(crate) relay_protocol: Option<ServerTransport>,
    pub(crate) server: Option<IpAddr>,
}

impl NewLocal {
    pub(crate) fn host(
        local: Local,
        interface: IpAddr,
        base: SocketAddr,
        local_preference: u16,
        tcp_type: Option<TcpType>,
    ) -> Self {
        Self {
            kind: CandidateKind::Host,
            local,
            interface,
            addr: base,
            base,
            local_preference,
            tcp_type,
            url: None,
            relay_protocol: None,
            server: None,
        }
    }
}

fn priority(kind: CandidateKind, tcp_type: Option<TcpType>, local_preference: u16) -> u32 {
    match tcp_type {
        Some(tcp_type) => Candidate::compute_tcp_priority(kind, tcp_type, local_preference),
        None => Candidate::compute_priority(kind, local_preference),
    }
}

impl Agent {
    /// Adds a host candidate, under the address that a NAT gives it if the configuration knows one.
    pub(crate) fn insert_host(&mut self, now: Instant, new: NewLocal) {
        let base = new.base;
        let mappings = &self.config.nat_mappings;
        let mapped = |kind| mappings.iter().find_map(|mapping| mapping.map(kind, base));
        let reflexive = mapped(CandidateKind::ServerReflexive);
        let addr = mapped(CandidateKind::Host).unwrap_or(base);
        let besides = NewLocal::host(new.local, new.interface, base, new.local_preference, new.tcp_type);
        self.insert_local(now, NewLocal { addr, ..new });
        // RFC 6544 §5.2: an active candidate has no port that a NAT could keep.
        if let Some(addr) = reflexive
            && besides.tcp_type != Some(TcpType::Active)
        {
            self.insert_local(
                now,
                NewLocal {
                    kind: CandidateKind::ServerReflexive,
                    addr,
                    ..besides
                },
            );
        }
    }

    /// Adds a local candidate, reports it and pairs it. Returns whether it was new.
    pub(crate) fn insert_local(&mut self, now: Instant, new: NewLocal) -> bool {
        let NewLocal {
            kind,
            local,
            interface,
            addr,
            base,
            local_preference,
            tcp_type,
            url,
            relay_protocol,
            server,
        } = new;
        // RFC 8445 §5.1.3: the same address on the same base is redundant.
        let known = |l: &LocalCandidate| {
            l.addr == addr
                && l.candidate.tcp_type == tcp_type
                && (l.local == local || l.candidate.kind == CandidateKind::Host)
        };
        if self.locals.iter().any(known) {
            return false;
        }
        if self.locals.len() >= MAX_LOCAL_CANDIDATES {
            self.counters.over_limit += 1;
            return false;
        }
        let relay_only = self.config.transport_policy == TransportPolicy::Relay;
        let usable = !relay_only || kind == CandidateKind::Relayed;
        let hides = self.config.hide_host_addresses;
        let related = match kind {
            CandidateKind::Host => None,
            // W3C `iceTransportPolicy: relay` hides our addresses from the peer.
            CandidateKind::Relayed if relay_only => Some(SocketAddr::new(unspecified(base.ip()), 0)),
            // draft-ietf-mmusic-mdns-ice-candidates §3.1.1.4: the base of a reflexive candidate would give it away.
            CandidateKind::ServerReflexive | CandidateKind::PeerReflexive if hides => {
                Some(SocketAddr::new(unspecified(base.ip()), 9))
            }
            _ => Some(base),
        };
        // What a NAT shows instead needs no hiding.
        let name =
            (hides && usable && kind == CandidateKind::Host && addr == base).then(|| self.name_of(now, interface));
        let (address, announced) = match name {
            Some((name, published)) => (crate::CandidateAddress::Name(name), published),
            None => (addr.ip().into(), true),
        };
        let protocol = if tcp_type.is_some() {
            Protocol::Tcp
        } else {
            Protocol::Udp
        };
        let candidate = Candidate {
            foundation: self.gatherer.foundation(kind, protocol, base.ip(), server).to_string(),
            component: 1,
            protocol,
            priority: priority(kind, tcp_type, local_preference),
            address,
            port: addr.port(),
            kind,
            related,
            tcp_type,
            ufrag: Some(self.session.local.credentials.ufrag.clone()),
            extensions: Vec::new(),
        };
        let id = self.next_id();
        self.locals.push(LocalCandidate {
            id,
            candidate: candidate.clone(),
            local,
            interface,
            base,
            addr,
            url,
            relay_protocol,
            pairs: usable && matches!(kind, CandidateKind::Host | CandidateKind::Relayed),
            local_preference,
        });
        if usable && announced && kind != CandidateKind::PeerReflexive {
            self.push_event(Event::LocalCandidate(candidate));
        }
        let index = self.locals.len() - 1;
        for remote in 0..self.remotes.len() {
            self.form_pair(index, remote);
        }
        true
    }

    /// Drops the candidates whose end is gone, and with them their pairs. If the selected pair is among them, every other path
    /// is tried at once.
    pub(crate) fn forget_locals(&mut self, now: Instant, gone: impl Fn(&LocalCandidate) -> bool) {
        let mut kept = 0;
        let places: Vec<Option<usize>> = self
            .locals
            .iter()
            .map(|local| {
                (!gone(local)).then(|| {
                    kept += 1;
                    kept - 1
                })
            })
            .collect();
        if kept == self.locals.len() {
            return;
        }
        for (index, place) in places.iter().enumerate() {
            if place.is_none() && self.locals[index].candidate.kind != CandidateKind::PeerReflexive {
                let candidate = self.locals[index].candidate.clone();
                self.push_event(Event::LocalCandidateGone(candidate));
            }
        }
        self.locals.retain(|local| !gone(local));
        let before = self.active().map(|index| self.pairs[index].id);
        self.pairs.retain_mut(|pair| match places[pair.local] {
            Some(place) => {
                pair.local = place;
                true
            }
            None => false,
        });
        let pairs = &self.pairs;
        self.triggered.retain(|id| pairs.iter().any(|pair| pair.id == *id));
        let alive = |id: &u64| pairs.iter().any(|pair| pair.id == *id);
        self.selected = self.selected.filter(alive);
        if before.is_some_and(|id| !alive(&id)) {
            self.path_lost(now);
        }
    }

    /// A socket or connection, or an allocation, is gone.
    pub(crate) fn end_closed(&mut self, now: Instant, local: Local) {
        if let Local::Tcp(_) = local
            && (self.connection_closed(now, local) || self.stun_connection_closed(local))
        {
            return;
        }
        let reached = match local {
            Local::Tcp(_) => self.relays.reached_through(local),
            _ => Vec::new(),
        };
        let relays = self.gatherer_forgets(local);
        for (interface, server, granted) in reached {
            self.server_hung_up(interface, server, granted);
        }
        self.forget_locals(now, |candidate| {
            candidate.local == local || matches!(candidate.local, Local::Relay(id) if relays.contains(&id))
        });
        self.forget_previous_on(local);
        for relay in relays {
            self.forget_previous_on(Local::Relay(relay));
        }
    }

    pub(crate) fn forget_previous_on(&mut self, local: Local) {
        let there = |previous: &crate::agent::Previous| previous.pair.path.local == local;
        if self.previous.as_ref().is_some_and(there) {
            self.previous = None;
        }
    }
}

pub(crate) fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}
