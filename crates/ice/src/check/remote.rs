//! Remote candidates: signalled ones, and those that checks reveal.

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};

use super::ids::RemoteId;
use crate::candidate::{Candidate, CandidateKind, Protocol, TcpType};
use crate::context::Context;
use crate::stats::CandidateStats;

/// The most remote candidates of one generation, signalled and peer-reflexive together.
pub const MAX_REMOTE_CANDIDATES: usize = 100;

#[derive(Debug)]
pub(super) struct RemoteCandidate {
    pub(super) candidate: Candidate,
    /// Where it is. `candidate` keeps the name if it came with one, so that statistics do not reveal the address.
    pub(super) addr: SocketAddr,
}

/// What became of a candidate that was to be added.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Inserted {
    New(RemoteId),
    Known(RemoteId),
    /// It turns out that what we learnt from a check was signalled, so its priority changed.
    Signalled(RemoteId),
    /// It cannot be used, or there is no room.
    Refused,
}

/// All of them.
#[derive(Debug, Default)]
pub(super) struct Remotes {
    /// Boxed: a leaf of the tree has room for eleven, and mostly there are fewer.
    list: BTreeMap<RemoteId, Box<RemoteCandidate>>,
}

impl Remotes {
    pub(super) fn get(&self, id: RemoteId) -> Option<&RemoteCandidate> {
        self.list.get(&id).map(Box::as_ref)
    }

    pub(super) fn ids(&self) -> Vec<RemoteId> {
        self.list.keys().copied().collect()
    }

    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.list.len() >= MAX_REMOTE_CANDIDATES
    }

    pub(super) fn clear(&mut self) {
        self.list.clear();
    }

    pub(super) fn remove(&mut self, id: RemoteId) {
        self.list.remove(&id);
    }

    pub(super) fn find(&self, protocol: Protocol, addr: SocketAddr) -> Option<RemoteId> {
        let mut list = self.list.iter();
        let known = list.find(|(_, remote)| remote.addr == addr && remote.candidate.protocol == protocol);
        known.map(|(id, _)| *id)
    }

    pub(super) fn insert(&mut self, cx: &mut Context, candidate: Candidate, addr: SocketAddr) -> Inserted {
        if let Some(id) = self.find(candidate.protocol, addr) {
            // RFC 8838 §11.4: what we learnt from a check turns out to have been signalled.
            if let Some(known) = self.list.get_mut(&id)
                && known.candidate.kind == CandidateKind::PeerReflexive
                && candidate.kind != CandidateKind::PeerReflexive
            {
                known.candidate = candidate;
                return Inserted::Signalled(id);
            }
            return Inserted::Known(id);
        }
        if self.is_full() {
            cx.counters.over_limit += 1;
            return Inserted::Refused;
        }
        let id = RemoteId(cx.next_id());
        self.list.insert(id, Box::new(RemoteCandidate { candidate, addr }));
        Inserted::New(id)
    }

    pub(super) fn stats(&self) -> Vec<CandidateStats> {
        let stats = |id: &RemoteId, remote: &RemoteCandidate| CandidateStats {
            id: id.0,
            candidate: remote.candidate.clone(),
            url: None,
            relay_protocol: None,
        };
        self.list.iter().map(|(id, remote)| stats(id, remote)).collect()
    }
}

/// A candidate of the peer's that a check revealed (RFC 8445 §7.3.1.3): it goes with a candidate of ours of type `own`.
pub(super) fn peer_reflexive(
    number: usize,
    own: Option<TcpType>,
    addr: SocketAddr,
    priority: Option<u32>,
) -> Candidate {
    // RFC 6544 §7.3: of the type that goes with ours.
    let tcp_type = own.map(|own| match own {
        TcpType::Active => TcpType::Passive,
        TcpType::Passive => TcpType::Active,
        TcpType::SimultaneousOpen => TcpType::SimultaneousOpen,
    });
    Candidate {
        foundation: format!("prflx{number}"),
        component: 1,
        protocol: if own.is_some() { Protocol::Tcp } else { Protocol::Udp },
        priority: priority.unwrap_or_else(|| Candidate::compute_priority(CandidateKind::PeerReflexive, 0)),
        address: addr.ip().into(),
        port: addr.port(),
        kind: CandidateKind::PeerReflexive,
        related: None,
        tcp_type,
        ufrag: None,
        extensions: Vec::new(),
    }
}

/// Whether we send to this candidate at all (RFC 8445 §19: candidates are a way to make us attack others).
pub(super) fn is_reachable(candidate: &Candidate, addr: SocketAddr) -> bool {
    let ip_ok = match addr.ip() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast() && ip.to_ipv4_mapped().is_none(),
    };
    ip_ok && addr.port() != 0 && may_connect(candidate, addr)
}

/// Whether we open a TCP connection there because a peer says so. To the ports of system services but HTTP's we do not,
/// as browsers do not: the three-way handshake and the first bytes alone may mean something to who listens there.
fn may_connect(candidate: &Candidate, addr: SocketAddr) -> bool {
    match candidate.tcp_type {
        None | Some(TcpType::Active) => true,
        Some(TcpType::Passive | TcpType::SimultaneousOpen) => addr.port() >= 1024 || matches!(addr.port(), 80 | 443),
    }
}
