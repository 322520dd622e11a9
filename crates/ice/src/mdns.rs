//! `.local` names (draft-ietf-mmusic-mdns-ice-candidates): those of the peer are resolved, ours are published. Both are
//! bounded in time and number (V21).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::agent::{Agent, MAX_MDNS_QUERIES};
use crate::candidate::{Candidate, CandidateAddress, CandidateKind};
use crate::event::Event;
use crate::io::IoRequest;

/// How long a `.local` name may take to resolve.
const RESOLVE_TIMEOUT: Duration = Duration::from_secs(10);

/// How long the publication of a name may take before its candidates are not signalled at all.
const PUBLISH_TIMEOUT: Duration = Duration::from_secs(3);

#[derive(Debug)]
struct Query {
    request: u32,
    deadline: Instant,
    candidate: Candidate,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Publication {
    Asked {
        request: u32,
        deadline: Instant,
    },
    Published,
    /// Its candidates stay unknown to the peer, who can still learn them from our checks.
    Failed,
}

#[derive(Debug)]
struct Name {
    ip: IpAddr,
    name: String,
    publication: Publication,
}

/// Names asked for, and names of our own.
#[derive(Debug, Default)]
pub(crate) struct Mdns {
    queries: Vec<Query>,
    names: Vec<Name>,
}

impl Mdns {
    pub(crate) fn is_resolving(&self) -> bool {
        !self.queries.is_empty()
    }

    pub(crate) fn is_publishing(&self) -> bool {
        self.names
            .iter()
            .any(|name| matches!(name.publication, Publication::Asked { .. }))
    }

    pub(crate) fn forget_queries(&mut self) {
        self.queries.clear();
    }

    pub(crate) fn poll_timeout(&self) -> Option<Instant> {
        let publications = self.names.iter().filter_map(|name| match name.publication {
            Publication::Asked { deadline, .. } => Some(deadline),
            _ => None,
        });
        self.queries
            .iter()
            .map(|query| query.deadline)
            .chain(publications)
            .min()
    }

    pub(crate) fn handle_timeout(&mut self, now: Instant) {
        self.queries.retain(|query| query.deadline > now);
        for name in &mut self.names {
            if matches!(name.publication, Publication::Asked { deadline, .. } if deadline <= now) {
                name.publication = Publication::Failed;
            }
        }
    }

    fn take_query(&mut self, request: u32) -> Option<Candidate> {
        let index = self.queries.iter().position(|query| query.request == request)?;
        Some(self.queries.swap_remove(index).candidate)
    }

    fn asked(&mut self, request: u32) -> Option<&mut Name> {
        self.names
            .iter_mut()
            .find(|name| matches!(name.publication, Publication::Asked { request: asked, .. } if asked == request))
    }

    /// Whether what stands for this address was published.
    pub(crate) fn is_published(&self, ip: IpAddr) -> bool {
        self.names
            .iter()
            .any(|name| name.ip == ip && name.publication == Publication::Published)
    }
}

impl Agent {
    /// Looks a `.local` name up. Other names are never looked up: that would tell a stranger's DNS server who we are.
    pub(crate) fn resolve_mdns(&mut self, now: Instant, name: String, candidate: Candidate) {
        let single_label = name
            .strip_suffix(".local")
            .is_some_and(|label| !label.is_empty() && !label.contains('.'));
        if !single_label || !self.config.resolve_mdns {
            self.counters.ignored_candidates += 1;
            return;
        }
        if self.mdns.queries.len() >= MAX_MDNS_QUERIES {
            self.counters.over_limit += 1;
            return;
        }
        let request = self.next_request();
        self.push_io(IoRequest::ResolveMdns { request, name });
        self.mdns.queries.push(Query {
            request,
            deadline: now + RESOLVE_TIMEOUT,
            candidate,
        });
    }

    /// Takes the answer to a query, if it is one.
    pub(crate) fn mdns_resolved(&mut self, request: u32, addrs: &[IpAddr]) -> bool {
        let Some(candidate) = self.mdns.take_query(request) else {
            return false;
        };
        // One of each family: a name stands for one host candidate.
        let v4 = addrs.iter().find(|ip| ip.is_ipv4());
        let v6 = addrs.iter().find(|ip| ip.is_ipv6());
        for ip in [v4, v6].into_iter().flatten() {
            let addr = SocketAddr::new(*ip, candidate.port);
            self.insert_remote(candidate.clone(), addr);
        }
        true
    }

    /// Takes the refusal of a query or a publication, if it is one.
    pub(crate) fn mdns_failed(&mut self, request: u32) -> bool {
        if self.mdns.take_query(request).is_some() {
            return true;
        }
        let name = self.mdns.asked(request);
        let ours = name.is_some();
        if let Some(name) = name {
            name.publication = Publication::Failed;
        }
        ours
    }

    /// The name that stands for an address of ours, and whether it may be signalled already. One name for each interface and
    /// agent, as long as both last: names that lived longer would let strangers recognise us.
    pub(crate) fn name_of(&mut self, now: Instant, ip: IpAddr) -> (String, bool) {
        if let Some(known) = self.mdns.names.iter().find(|name| name.ip == ip) {
            return (known.name.clone(), known.publication == Publication::Published);
        }
        let name = format!("{}.local", random_uuid(self.rng.array()));
        let request = self.next_request();
        self.push_io(IoRequest::PublishMdns {
            request,
            name: name.clone(),
            addr: ip,
        });
        self.mdns.names.push(Name {
            ip,
            name: name.clone(),
            publication: Publication::Asked {
                request,
                deadline: now + PUBLISH_TIMEOUT,
            },
        });
        (name, false)
    }

    /// The name is answered for: what was held back can be signalled.
    pub(crate) fn mdns_published(&mut self, request: u32) {
        let Some(name) = self.mdns.asked(request) else { return };
        name.publication = Publication::Published;
        let name = name.name.clone();
        for index in 0..self.locals.len() {
            let candidate = &self.locals[index].candidate;
            let hidden = matches!(&candidate.address, CandidateAddress::Name(own) if *own == name);
            if hidden && candidate.kind == CandidateKind::Host {
                let candidate = candidate.clone();
                self.push_event(Event::LocalCandidate(candidate));
            }
        }
    }

    /// Nobody shall be told any more which address this is.
    pub(crate) fn withdraw_names(&mut self, which: impl Fn(IpAddr) -> bool) {
        let (gone, kept): (Vec<Name>, Vec<Name>) = std::mem::take(&mut self.mdns.names)
            .into_iter()
            .partition(|name| which(name.ip));
        self.mdns.names = kept;
        for name in gone {
            self.push_io(IoRequest::WithdrawMdns { name: name.name });
        }
    }
}

/// A version 4 UUID (RFC 9562 §5.4), as the draft wants for names.
fn random_uuid(random: [u8; 16]) -> String {
    let mut bytes = random;
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    format!(
        "{}-{}-{}-{}-{}",
        &hex[..8],
        &hex[8..12],
        &hex[12..16],
        &hex[16..20],
        &hex[20..]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_random_uuids() {
        assert_eq!(random_uuid([0xff; 16]), "ffffffff-ffff-4fff-bfff-ffffffffffff");
        assert_eq!(random_uuid([0; 16]), "00000000-0000-4000-8000-000000000000");
    }
}
