//! Interfaces and the sockets on them (RFC 8445 §5.1.1.1): which addresses are used, in which order, and on which
//! ports.

use std::net::{IpAddr, SocketAddr};

use antiphon_sansio::{Local, Rng};

use crate::config::Config;
use crate::filter::is_link_local;

/// The most interface addresses that become sockets.
pub const MAX_INTERFACES: usize = 16;

/// How many ports of a range are tried for one socket.
const MAX_PORT_TRIES: u16 = 100;

/// An interface's address in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Interface {
    pub(super) ip: IpAddr,
    pub(super) local_preference: u16,
}

/// A socket on which candidates are paired, or one that serves an allocation alone.
#[derive(Clone, Debug)]
pub(super) struct Base {
    pub(super) local: Local,
    pub(super) addr: SocketAddr,
    pub(super) interface: Interface,
}

/// A port that was asked for, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PortTry {
    port: u16,
    tries: u16,
}

impl PortTry {
    /// The port to ask for first.
    pub(super) fn first(config: &Config, rng: &mut Rng) -> Self {
        let port = match &config.port_range {
            Some(range) if config.port == 0 && !range.is_empty() => {
                let count = u32::from(range.end() - range.start()) + 1;
                range.start() + rng.below(count) as u16
            }
            _ => config.port,
        };
        Self { port, tries: 1 }
    }

    /// The port to ask for after this one, which is taken.
    pub(super) fn next(self, config: &Config) -> Option<Self> {
        let range = config.port_range.as_ref()?;
        let count = range.end().checked_sub(*range.start())?.saturating_add(1);
        if config.port != 0 || self.tries >= count.min(MAX_PORT_TRIES) {
            return None;
        }
        let port = if self.port >= *range.end() {
            *range.start()
        } else {
            self.port + 1
        };
        Some(Self {
            port,
            tries: self.tries + 1,
        })
    }

    pub(super) fn on(self, ip: IpAddr) -> SocketAddr {
        SocketAddr::new(ip, self.port)
    }
}

/// Of the addresses that the driver listed, those that are used, in the order of their preference.
pub(super) fn usable(config: &Config, addrs: Vec<IpAddr>) -> Vec<IpAddr> {
    let mut usable: Vec<IpAddr> = Vec::new();
    for ip in addrs {
        if is_usable(config, ip) && !usable.contains(&ip) {
            usable.push(ip);
        }
    }
    interleave(usable).into_iter().take(MAX_INTERFACES).collect()
}

fn is_usable(config: &Config, ip: IpAddr) -> bool {
    let allowed = config.allowed_addresses.is_empty() || config.allowed_addresses.iter().any(|r| r.contains(ip));
    if !allowed || config.denied_addresses.iter().any(|range| range.contains(ip)) {
        return false;
    }
    if ip.is_unspecified() || ip.is_multicast() {
        return false;
    }
    if ip.is_loopback() {
        return config.include_loopback;
    }
    match ip {
        IpAddr::V4(ip) => !ip.is_link_local() || config.include_link_local,
        // RFC 8445 §5.1.1.1: no site-local (deprecated), IPv4-compatible or IPv4-mapped addresses.
        IpAddr::V6(ip) => {
            let deprecated = ip.segments()[0] & 0xffc0 == 0xfec0;
            let compatible = ip.to_ipv4().is_some();
            !deprecated && !compatible && (!is_link_local(ip) || config.include_link_local)
        }
    }
}

/// Alternates the families, IPv6 first, so that neither waits behind a long list of the other (RFC 8421 §4); loopback
/// last.
fn interleave(addrs: Vec<IpAddr>) -> Vec<IpAddr> {
    let (loopback, rest): (Vec<IpAddr>, Vec<IpAddr>) = addrs.into_iter().partition(IpAddr::is_loopback);
    let (v6, v4): (Vec<IpAddr>, Vec<IpAddr>) = rest.into_iter().partition(IpAddr::is_ipv6);
    let (mut v6, mut v4) = (v6.into_iter(), v4.into_iter());
    let mut all = Vec::new();
    loop {
        let pair = [v6.next(), v4.next()];
        if pair == [None, None] {
            break;
        }
        all.extend(pair.into_iter().flatten());
    }
    all.extend(loopback);
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn families_alternate() {
        let list = |texts: &[&str]| -> Vec<IpAddr> { texts.iter().map(|text| text.parse().unwrap()).collect() };
        assert_eq!(
            interleave(list(&[
                "127.0.0.1",
                "10.0.0.1",
                "10.0.0.2",
                "10.0.0.3",
                "2001:db8::1",
                "::1"
            ])),
            list(&["2001:db8::1", "10.0.0.1", "10.0.0.2", "10.0.0.3", "127.0.0.1", "::1"])
        );
    }
}
