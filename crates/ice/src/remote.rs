//! Remote candidates: signalled ones, and those that checks reveal.

use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use crate::agent::{Agent, MAX_REMOTE_CANDIDATES};
use crate::candidate::{Candidate, CandidateAddress, CandidateKind, Protocol, TcpType};
use crate::stats::PairState;

#[derive(Debug)]
pub(crate) struct RemoteCandidate {
    pub(crate) id: u64,
    pub(crate) candidate: Candidate,
    /// Where it is. `candidate` keeps the name if it came with one, so that statistics do not reveal the address.
    pub(crate) addr: SocketAddr,
}

impl RemoteCandidate {
    pub(crate) fn is_at(&self, protocol: Protocol, addr: SocketAddr) -> bool {
        self.addr == addr && self.candidate.protocol == protocol
    }
}

impl Agent {
    /// A candidate of the peer came by signalling. One that names another user fragment, another component than 1, or an
    /// address that cannot be is counted and ignored; so are those beyond [`MAX_REMOTE_CANDIDATES`].
    pub fn add_remote_candidate(&mut self, now: Instant, candidate: Candidate) {
        if self.is_closed() {
            return;
        }
        if self.session.remote.is_none() {
            if self.waiting_candidates.len() < MAX_REMOTE_CANDIDATES {
                self.waiting_candidates.push(candidate);
            } else {
                self.counters.over_limit += 1;
            }
            return;
        }
        self.accept_remote_candidate(now, candidate);
        self.advance(now);
    }

    /// A candidate of the peer was not handed in, for nobody here knows its kind ([`CandidateError::Unknown`](crate::CandidateError)):
    /// it is counted.
    pub fn ignore_remote_candidate(&mut self) {
        self.counters.ignored_candidates += 1;
    }

    /// The peer has no more candidates in this generation (RFC 8838 §13).
    pub fn end_of_remote_candidates(&mut self, now: Instant) {
        self.end_of_remote = true;
        self.advance(now);
    }

    pub(crate) fn accept_remote_candidate(&mut self, now: Instant, candidate: Candidate) {
        // RFC 8838 §11: a candidate of another generation is not paired with this one's.
        let wrong_generation = match (&candidate.ufrag, self.remote_credentials()) {
            (Some(ufrag), Some(remote)) => *ufrag != remote.ufrag,
            _ => false,
        };
        // RFC 6544 §4.5: a TCP candidate says who connects.
        let complete = (candidate.protocol == Protocol::Tcp) == candidate.tcp_type.is_some();
        if wrong_generation || candidate.component != 1 || !complete {
            self.counters.ignored_candidates += 1;
            return;
        }
        match &candidate.address {
            CandidateAddress::Ip(ip) => {
                let addr = SocketAddr::new(*ip, candidate.port);
                self.insert_remote(candidate, addr);
            }
            CandidateAddress::Name(name) => self.resolve_mdns(now, name.clone(), candidate),
        }
    }

    /// Adds a remote candidate unless it is known or unusable, and pairs it. Returns its index.
    pub(crate) fn insert_remote(&mut self, candidate: Candidate, addr: SocketAddr) -> Option<usize> {
        if !is_reachable(addr) || !may_connect(&candidate, addr) {
            self.counters.ignored_candidates += 1;
            return None;
        }
        let protocol = candidate.protocol;
        if let Some(index) = self.remotes.iter().position(|remote| remote.is_at(protocol, addr)) {
            let known = &mut self.remotes[index];
            // RFC 8838 §11.4: what we learnt from a check turns out to have been signalled.
            if known.candidate.kind == CandidateKind::PeerReflexive && candidate.kind != CandidateKind::PeerReflexive {
                known.candidate = candidate;
                self.recompute_priorities();
            }
            return Some(index);
        }
        if self.remotes.len() >= MAX_REMOTE_CANDIDATES && !self.evict_remote() {
            self.counters.over_limit += 1;
            return None;
        }
        let id = self.next_id();
        self.remotes.push(RemoteCandidate { id, candidate, addr });
        let index = self.remotes.len() - 1;
        for local in 0..self.locals.len() {
            self.form_pair(local, index);
        }
        Some(index)
    }
}

impl Agent {
    /// Makes room for a candidate of a peer that has moved a hundred times: drops the one that was heard of longest ago, of
    /// those on which nothing works any more. What has never been checked stays: a flood drives nothing out.
    fn evict_remote(&mut self) -> bool {
        let dead = |index: usize| {
            let mut pairs = self.pairs.iter().filter(|pair| pair.remote == index).peekable();
            pairs.peek()?;
            let mut last = None;
            for pair in pairs {
                let answered = pair.consent.as_ref().map(|consent| consent.last_response);
                let hopeless = pair.state == PairState::Failed || (answered.is_some() && !pair.is_valid());
                if !hopeless || self.selected == Some(pair.id) {
                    return None;
                }
                last = last.max(answered);
            }
            Some((last, index))
        };
        let Some((_, gone)) = (0..self.remotes.len()).filter_map(dead).min() else {
            return false;
        };
        self.remotes.remove(gone);
        self.pairs.retain(|pair| pair.remote != gone);
        for pair in &mut self.pairs {
            if pair.remote > gone {
                pair.remote -= 1;
            }
        }
        let pairs = &self.pairs;
        self.triggered.retain(|id| pairs.iter().any(|pair| pair.id == *id));
        true
    }
}

/// Whether a candidate of a peer can be sent to at all (RFC 8445 §19: candidates are a way to make us attack others).
fn is_reachable(addr: SocketAddr) -> bool {
    let ip_ok = match addr.ip() {
        IpAddr::V4(ip) => !ip.is_unspecified() && !ip.is_multicast() && !ip.is_broadcast(),
        IpAddr::V6(ip) => !ip.is_unspecified() && !ip.is_multicast() && ip.to_ipv4_mapped().is_none(),
    };
    ip_ok && addr.port() != 0
}

/// Whether we open a TCP connection there because a peer says so. To the ports of system services but HTTP's we do not, as
/// browsers do not: the three-way handshake and the first bytes alone may mean something to who listens there.
fn may_connect(candidate: &Candidate, addr: SocketAddr) -> bool {
    match candidate.tcp_type {
        None | Some(TcpType::Active) => true,
        Some(TcpType::Passive | TcpType::SimultaneousOpen) => addr.port() >= 1024 || matches!(addr.port(), 80 | 443),
    }
}
