//! Names of our own (draft-ietf-mmusic-mdns-ice-candidates), and the lookup of the peer's. Both are bounded in time and
//! number (V21).

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use crate::candidate::Candidate;
use crate::context::Context;
use crate::io::IoRequest;
use crate::notice::{MdnsName, Notice};

/// The most `.local` names of one generation that are looked up.
pub const MAX_MDNS_QUERIES: usize = 16;

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
pub(super) struct Names {
    queries: Vec<Query>,
    names: Vec<Name>,
}

impl Names {
    pub(super) fn is_resolving(&self) -> bool {
        !self.queries.is_empty()
    }

    pub(super) fn is_publishing(&self) -> bool {
        self.names
            .iter()
            .any(|name| matches!(name.publication, Publication::Asked { .. }))
    }

    pub(super) fn forget_queries(&mut self) {
        self.queries.clear();
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
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

    pub(super) fn handle_timeout(&mut self, now: Instant) {
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
    pub(super) fn is_published(&self, ip: IpAddr) -> bool {
        self.names
            .iter()
            .any(|name| name.ip == ip && name.publication == Publication::Published)
    }

    /// Looks a `.local` name up. Other names are never looked up: that would tell a stranger's DNS server who we are.
    pub(super) fn look_up(&mut self, cx: &mut Context, now: Instant, name: String, candidate: Candidate) {
        let single_label = name
            .strip_suffix(".local")
            .is_some_and(|label| !label.is_empty() && !label.contains('.'));
        if !single_label || !cx.config.resolve_mdns {
            cx.counters.ignored_candidates += 1;
            return;
        }
        if self.queries.len() >= MAX_MDNS_QUERIES {
            cx.counters.over_limit += 1;
            return;
        }
        let request = cx.next_request();
        cx.push_io(IoRequest::ResolveMdns { request, name });
        self.queries.push(Query {
            request,
            deadline: now + RESOLVE_TIMEOUT,
            candidate,
        });
    }

    /// Takes the answer to a query, if it is one.
    pub(super) fn resolved(&mut self, cx: &mut Context, request: u32, addrs: &[IpAddr]) -> bool {
        let Some(candidate) = self.take_query(request) else {
            return false;
        };
        // One of each family: a name stands for one host candidate.
        let v4 = addrs.iter().find(|ip| ip.is_ipv4());
        let v6 = addrs.iter().find(|ip| ip.is_ipv6());
        for ip in [v4, v6].into_iter().flatten() {
            cx.notify(Notice::Resolved {
                addr: SocketAddr::new(*ip, candidate.port),
                candidate: candidate.clone(),
            });
        }
        true
    }

    /// Takes the refusal of a query or a publication, if it is one.
    pub(super) fn failed(&mut self, request: u32) -> bool {
        if self.take_query(request).is_some() {
            return true;
        }
        let name = self.asked(request);
        let ours = name.is_some();
        if let Some(name) = name {
            name.publication = Publication::Failed;
        }
        ours
    }

    /// The name that stands for an address of ours. One name for each interface and agent, as long as both last: names
    /// that lived longer would let strangers recognise us.
    pub(super) fn name_of(&mut self, cx: &mut Context, now: Instant, ip: IpAddr) -> MdnsName {
        if let Some(known) = self.names.iter().find(|name| name.ip == ip) {
            return MdnsName {
                name: known.name.clone(),
                published: known.publication == Publication::Published,
            };
        }
        let name = format!("{}.local", random_uuid(cx.rng.array()));
        let request = cx.next_request();
        cx.push_io(IoRequest::PublishMdns {
            request,
            name: name.clone(),
            addr: ip,
        });
        self.names.push(Name {
            ip,
            name: name.clone(),
            publication: Publication::Asked {
                request,
                deadline: now + PUBLISH_TIMEOUT,
            },
        });
        MdnsName { name, published: false }
    }

    /// The name is answered for: what was held back can be signalled.
    pub(super) fn published(&mut self, cx: &mut Context, request: u32) {
        if let Some(name) = self.asked(request) {
            name.publication = Publication::Published;
            let name = name.name.clone();
            cx.notify(Notice::Published { name });
        }
    }

    /// Nobody shall be told any more which address this is.
    pub(super) fn withdraw(&mut self, cx: &mut Context, which: impl Fn(IpAddr) -> bool) {
        for gone in self.names.extract_if(.., |name| which(name.ip)) {
            cx.push_io(IoRequest::WithdrawMdns { name: gone.name });
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
