//! Local candidates: what the peer is told of those that gathering and checks find.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use antiphon_sansio::Local;

use super::ids::LocalId;
use crate::candidate::{Candidate, CandidateAddress, CandidateKind, Protocol, TcpType};
use crate::config::{ServerTransport, TransportPolicy};
use crate::context::Context;
use crate::event::Event;
use crate::notice::NewLocal;
use crate::stats::CandidateStats;

/// The most local candidates of one generation.
pub const MAX_LOCAL_CANDIDATES: usize = 64;

/// The most foundations that are told apart; more share one, which costs speed and nothing else.
const MAX_FOUNDATIONS: usize = 256;

/// What two candidates of the same foundation share.
type Foundation = (CandidateKind, Protocol, IpAddr, Option<IpAddr>);

#[derive(Debug)]
pub(super) struct LocalCandidate {
    pub(super) id: LocalId,
    pub(super) candidate: Candidate,
    /// The base's socket; of TCP candidates a placeholder.
    pub(super) local: Local,
    /// The interface: it goes when that goes.
    pub(super) interface: IpAddr,
    /// The base's address.
    pub(super) base: SocketAddr,
    /// Where the peer sees it.
    pub(super) addr: SocketAddr,
    url: Option<String>,
    relay_protocol: Option<ServerTransport>,
    /// Whether pairs are made of it: it is its own base, and the policy allows it.
    pub(super) pairs: bool,
    local_preference: u16,
}

impl LocalCandidate {
    /// Where the peer sees what is sent from here to come from, before any NAT: of a relayed candidate, whose `base` is
    /// the way to its server, that is the server.
    pub(super) fn source(&self) -> IpAddr {
        match self.candidate.kind {
            CandidateKind::Relayed => self.addr.ip(),
            _ => self.base.ip(),
        }
    }

    /// The priority of a peer-reflexive candidate that the peer may learn from our checks (RFC 8445 §7.1.1).
    pub(super) fn reflexive_priority(&self) -> u32 {
        priority(
            CandidateKind::PeerReflexive,
            self.candidate.tcp_type,
            self.local_preference,
        )
    }

    /// The candidate that the peer sees this one as (RFC 8445 §7.2.5.3.1); `None` if it is no news.
    pub(super) fn seen_as(&self, mapped: SocketAddr) -> Option<NewLocal> {
        let tcp_type = self.candidate.tcp_type;
        // The port of an active candidate is that of each connection (RFC 6544 §4.5).
        let active = tcp_type == Some(TcpType::Active) && self.base.ip() == mapped.ip();
        let same = self.addr == mapped || self.base == mapped || active;
        if same || mapped.is_ipv4() != self.addr.is_ipv4() {
            return None;
        }
        Some(NewLocal {
            kind: CandidateKind::PeerReflexive,
            addr: mapped,
            ..NewLocal::host(self.local, self.interface, self.base, self.local_preference, tcp_type)
        })
    }

    fn is_signalled(&self) -> bool {
        self.candidate.kind != CandidateKind::PeerReflexive
    }
}

fn priority(kind: CandidateKind, tcp_type: Option<TcpType>, local_preference: u16) -> u32 {
    match tcp_type {
        Some(tcp_type) => Candidate::compute_tcp_priority(kind, tcp_type, local_preference),
        None => Candidate::compute_priority(kind, local_preference),
    }
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Locals {
    /// Boxed: a leaf of the tree has room for eleven, and mostly there are two.
    list: BTreeMap<LocalId, Box<LocalCandidate>>,
    /// Position = foundation (RFC 8445 §5.1.1.3).
    foundations: Vec<Foundation>,
}

impl Locals {
    pub(super) fn get(&self, id: LocalId) -> Option<&LocalCandidate> {
        self.list.get(&id).map(Box::as_ref)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &LocalCandidate> {
        self.list.values().map(Box::as_ref)
    }

    /// The same number for the same type, transport, base address and server (RFC 8445 §5.1.1.3).
    fn foundation(&mut self, key: Foundation) -> usize {
        let index = self.foundations.iter().position(|known| *known == key);
        index.unwrap_or_else(|| {
            if self.foundations.len() < MAX_FOUNDATIONS {
                self.foundations.push(key);
            }
            self.foundations.len() - 1
        }) + 1
    }

    /// Adds a candidate, unless it is redundant, and reports it.
    pub(super) fn insert(&mut self, cx: &mut Context, new: NewLocal, ufrag: &str) -> Option<LocalId> {
        // RFC 8445 §5.1.3: the same address on the same base is redundant.
        let redundant = |l: &LocalCandidate| {
            l.addr == new.addr
                && l.candidate.tcp_type == new.tcp_type
                && (l.local == new.local || l.candidate.kind == CandidateKind::Host)
        };
        if self.iter().any(redundant) {
            return None;
        }
        if self.list.len() >= MAX_LOCAL_CANDIDATES {
            cx.counters.over_limit += 1;
            return None;
        }
        let (kind, base) = (new.kind, new.base);
        let usable = cx.config.transport_policy == TransportPolicy::All || kind == CandidateKind::Relayed;
        let protocol = match new.tcp_type {
            Some(_) => Protocol::Tcp,
            None => Protocol::Udp,
        };
        let related = related(cx, kind, base);
        let (address, announced) = match new.name {
            Some(name) => (CandidateAddress::Name(name.name), name.published),
            None => (new.addr.ip().into(), true),
        };
        let candidate = Candidate {
            foundation: self.foundation((kind, protocol, base.ip(), new.server)).to_string(),
            component: 1,
            protocol,
            priority: priority(kind, new.tcp_type, new.local_preference),
            address,
            port: new.addr.port(),
            kind,
            related,
            tcp_type: new.tcp_type,
            ufrag: Some(ufrag.to_owned()),
            extensions: Vec::new(),
        };
        if usable && announced && kind != CandidateKind::PeerReflexive {
            cx.push_event(Event::LocalCandidate(candidate.clone()));
        }
        let id = LocalId(cx.next_id());
        let local = LocalCandidate {
            id,
            candidate,
            local: new.local,
            interface: new.interface,
            base,
            addr: new.addr,
            url: new.url,
            relay_protocol: new.relay_protocol,
            pairs: usable && matches!(kind, CandidateKind::Host | CandidateKind::Relayed),
            local_preference: new.local_preference,
        };
        self.list.insert(id, Box::new(local));
        Some(id)
    }

    /// Whether somebody tells of this candidate already.
    pub(super) fn find(&self, new: &NewLocal) -> Option<LocalId> {
        let same =
            |l: &&LocalCandidate| l.local == new.local && l.addr == new.addr && l.candidate.tcp_type == new.tcp_type;
        self.iter().find(same).map(|l| l.id)
    }

    /// ICE restarts. What a NAT that we know maps lasts as long as its base; what servers and peers said has to be
    /// asked again.
    pub(super) fn restart(&mut self, ufrag: &str) {
        self.list.retain(|_, l| {
            matches!(l.candidate.kind, CandidateKind::Host | CandidateKind::Relayed)
                || (l.candidate.kind == CandidateKind::ServerReflexive && l.url.is_none())
        });
        for local in self.list.values_mut() {
            local.candidate.ufrag = Some(ufrag.to_owned());
        }
    }

    /// Signals the candidates of before a restart again, of those that hide behind a name the published ones.
    pub(super) fn announce_again(&self, cx: &mut Context, is_published: impl Fn(IpAddr) -> bool) {
        for local in self.iter() {
            let hidden = matches!(local.candidate.address, CandidateAddress::Name(_));
            if local.pairs && (!hidden || is_published(local.interface)) {
                cx.push_event(Event::LocalCandidate(local.candidate.clone()));
            }
        }
    }

    /// Signals what waited for the publication of its name.
    pub(super) fn announce_name(&self, cx: &mut Context, name: &str) {
        for local in self.iter() {
            let hidden = matches!(&local.candidate.address, CandidateAddress::Name(own) if own == name);
            if hidden && local.candidate.kind == CandidateKind::Host {
                cx.push_event(Event::LocalCandidate(local.candidate.clone()));
            }
        }
    }

    /// Drops the candidates whose end is gone, and reports it. Returns whether there was one.
    pub(super) fn forget(&mut self, cx: &mut Context, gone: impl Fn(&LocalCandidate) -> bool) -> bool {
        let before = self.list.len();
        self.list.retain(|_, local| {
            let gone = gone(local);
            if gone && local.is_signalled() {
                cx.push_event(Event::LocalCandidateGone(local.candidate.clone()));
            }
            !gone
        });
        self.list.len() < before
    }

    pub(super) fn stats(&self) -> Vec<CandidateStats> {
        let stats = |local: &LocalCandidate| CandidateStats {
            id: local.id.0,
            candidate: local.candidate.clone(),
            url: local.url.clone(),
            relay_protocol: local.relay_protocol,
        };
        self.iter().map(stats).collect()
    }
}

/// What the peer is told of the base.
fn related(cx: &Context, kind: CandidateKind, base: SocketAddr) -> Option<SocketAddr> {
    match kind {
        CandidateKind::Host => None,
        // W3C `iceTransportPolicy: relay` hides our addresses from the peer.
        CandidateKind::Relayed if cx.config.transport_policy == TransportPolicy::Relay => {
            Some(SocketAddr::new(unspecified(base.ip()), 0))
        }
        // draft-ietf-mmusic-mdns-ice-candidates §3.1.1.4: the base of a reflexive candidate would give it away.
        CandidateKind::ServerReflexive | CandidateKind::PeerReflexive if cx.config.hide_host_addresses => {
            Some(SocketAddr::new(unspecified(base.ip()), 9))
        }
        _ => Some(base),
    }
}

fn unspecified(like: IpAddr) -> IpAddr {
    match like {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foundations_repeat() {
        let mut locals = Locals::default();
        let (a, b) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
        let (host, udp) = (CandidateKind::Host, Protocol::Udp);
        let first = locals.foundation((host, udp, a, None));
        assert_ne!(locals.foundation((host, udp, b, None)), first);
        assert_ne!(
            locals.foundation((CandidateKind::ServerReflexive, udp, a, Some(b))),
            first
        );
        assert_ne!(locals.foundation((host, Protocol::Tcp, a, None)), first);
        assert_eq!(locals.foundation((host, udp, a, None)), first);
    }
}
