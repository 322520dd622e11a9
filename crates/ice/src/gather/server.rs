//! A STUN or TURN server whose address is known.

use std::net::{IpAddr, SocketAddr};

use crate::config::{ServerKind, ServerTransport, ServerUrl};

/// The most addresses of STUN and TURN servers that are asked.
pub const MAX_SERVERS: usize = 16;

/// How often one allocation is tried again from another port (RFC 8656 §7.4), or at another server (RFC 8489 §10).
const MAX_HOPS: u8 = 3;

/// The most addresses of one name and family that are asked, one after another.
const MAX_ADDRESSES: usize = 4;

#[derive(Clone, Debug)]
pub(super) struct Server {
    pub(super) url: ServerUrl,
    pub(super) addr: SocketAddr,
    /// Index into the configuration, for the credentials.
    pub(super) index: usize,
    /// The name on its certificate, if it is not the URL's.
    domain: Option<String>,
    /// Further addresses of the same name and family, for when this one has no room or does not answer.
    others: Vec<SocketAddr>,
    /// How often this allocation was begun again.
    hops: u8,
}

impl Server {
    pub(super) fn new(url: ServerUrl, addr: SocketAddr, index: usize) -> Self {
        Self {
            url,
            addr,
            index,
            domain: None,
            others: Vec::new(),
            hops: 0,
        }
    }

    /// The server of this name, one for each family that it has addresses of.
    pub(super) fn resolved(url: &ServerUrl, addrs: &[IpAddr], index: usize) -> Vec<Self> {
        let of_family = |v4: bool| {
            let family = addrs.iter().filter(|ip| ip.is_ipv4() == v4);
            let mut family = family.map(|ip| SocketAddr::new(*ip, url.port)).take(MAX_ADDRESSES);
            family.next().map(|addr| Self {
                others: family.collect(),
                ..Self::new(url.clone(), addr, index)
            })
        };
        [true, false].into_iter().filter_map(of_family).collect()
    }

    pub(super) fn is_stream(&self) -> bool {
        self.url.transport != ServerTransport::Udp
    }

    pub(super) fn is_stun_over_tls(&self) -> bool {
        self.url.kind == ServerKind::Stun && self.url.transport == ServerTransport::Tls
    }

    /// Whether both are the same end of the same transport.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        self.addr == other.addr && self.url.transport == other.url.transport
    }

    /// Whether it can be reached from there.
    pub(super) fn fits(&self, ip: IpAddr) -> bool {
        ip.is_ipv4() == self.addr.is_ipv4() && ip.is_loopback() == self.addr.ip().is_loopback()
    }

    /// The name to verify its certificate against, if it has one.
    pub(super) fn tls_name(&self) -> Option<String> {
        let name = || self.domain.clone().unwrap_or_else(|| self.url.host.clone());
        (self.url.transport == ServerTransport::Tls).then(name)
    }

    /// The same server, begun again; `None` once that was often enough.
    pub(super) fn again(&self) -> Option<Self> {
        (self.hops < MAX_HOPS).then(|| Self {
            hops: self.hops + 1,
            ..self.clone()
        })
    }

    /// The next address of its name, unless it was begun again often enough.
    pub(super) fn next_address(&self) -> Option<Self> {
        let (&addr, others) = self.others.split_first()?;
        Some(Self {
            addr,
            others: others.to_vec(),
            ..self.again()?
        })
    }

    /// The server to which this one sends us on (RFC 8489 §10).
    pub(super) fn redirected(&self, addr: SocketAddr, domain: Option<String>) -> Option<Self> {
        Some(Self {
            addr,
            domain: domain.or_else(|| self.domain.clone()),
            ..self.again()?
        })
    }
}
