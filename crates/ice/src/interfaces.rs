//! Interfaces that come and go, and the sockets on them (RFC 8445 §5.1.1.1).

use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::time::Instant;

use antiphon_sansio::Local;

use crate::agent::Agent;
use crate::candidate::{Protocol, TcpType};
use crate::config::TransportPolicy;
use crate::event::GatheringState;
use crate::gather::{Base, MAX_INTERFACES};
use crate::io::IoRequest;
use crate::local::NewLocal;

/// How many ports of a range are tried for one socket.
const MAX_PORT_TRIES: u16 = 100;

/// An interface's address in use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Interface {
    pub(crate) ip: IpAddr,
    pub(crate) local_preference: u16,
}

/// A port that was asked for, and how often.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct PortTry {
    pub(crate) port: u16,
    tries: u16,
}

/// A UDP socket that was asked for.
#[derive(Debug)]
pub(crate) struct Bind {
    pub(crate) request: u32,
    pub(crate) interface: Interface,
    pub(crate) port: PortTry,
}

impl Agent {
    /// The driver listed the interfaces: because we asked, or because they changed.
    pub(crate) fn interfaces_listed(&mut self, now: Instant, addrs: Vec<IpAddr>) {
        let asked = std::mem::take(&mut self.gatherer.listing);
        let watched = self.config.continual_gathering && self.gatherer.state() != GatheringState::New;
        if !asked && !watched {
            return;
        }
        let mut usable: Vec<IpAddr> = Vec::new();
        for ip in addrs {
            if self.is_usable_interface(ip) && !usable.contains(&ip) {
                usable.push(ip);
            }
        }
        let listed: Vec<IpAddr> = interleave(usable).into_iter().take(MAX_INTERFACES).collect();
        // What is new comes first: so there are paths to move to when what is gone goes.
        for (rank, ip) in listed.iter().enumerate() {
            if !self.gatherer.interfaces.iter().any(|known| known.ip == *ip) {
                self.interface_came(now, *ip, rank);
            }
        }
        let gone: Vec<IpAddr> = self
            .gatherer
            .interfaces
            .iter()
            .map(|known| known.ip)
            .filter(|ip| !listed.contains(ip))
            .collect();
        for ip in gone {
            self.interface_went(now, ip);
        }
    }

    fn interface_came(&mut self, now: Instant, ip: IpAddr, rank: usize) {
        self.resume_gathering();
        // RFC 8445 §5.1.2.1: the preference is of one address alone; those that came earlier keep theirs.
        let taken = |preference: &u16| {
            let mut known = self.gatherer.interfaces.iter();
            known.any(|interface| interface.local_preference == *preference)
        };
        let local_preference = (0..u16::MAX - rank as u16)
            .rev()
            .map(|below| below + 1)
            .find(|preference| !taken(preference))
            .unwrap_or(1);
        let interface = Interface { ip, local_preference };
        self.gatherer.interfaces.push(interface);
        let types = self.config.network_types;
        if types.allows(Protocol::Udp, ip) {
            let port = self.first_port();
            self.bind(interface, port);
        } else {
            self.add_active(now, interface);
        }
        if types.allows(Protocol::Tcp, ip) && self.config.transport_policy == TransportPolicy::All {
            let tcp = self.config.tcp;
            // RFC 6544 §4.1: a lite agent has passive candidates only.
            if tcp.passive {
                let port = self.first_port();
                self.listen(interface, TcpType::Passive, port);
            }
            if tcp.simultaneous_open && !self.config.lite {
                let port = self.first_port();
                self.listen(interface, TcpType::SimultaneousOpen, port);
            }
        }
        if !self.config.lite {
            self.ask_stream_servers(interface);
        }
    }

    /// The active candidate comes after the UDP candidate of its interface: what is said first is what simple peers use.
    pub(crate) fn add_active(&mut self, now: Instant, interface: Interface) {
        let config = &self.config;
        let wanted = config.tcp.active && !config.lite && config.transport_policy == TransportPolicy::All;
        if wanted && config.network_types.allows(Protocol::Tcp, interface.ip) {
            self.insert_active(now, interface);
        }
    }

    fn interface_went(&mut self, now: Instant, ip: IpAddr) {
        let gatherer = &mut self.gatherer;
        gatherer.interfaces.retain(|interface| interface.ip != ip);
        gatherer.binds.retain(|bind| bind.interface.ip != ip);
        gatherer.relay_binds.retain(|bind| bind.interface.ip != ip);
        gatherer.probes.retain(|probe| probe.base.interface.ip != ip);
        let asking = gatherer
            .stun_connections
            .extract_if(.., |connection| connection.is_on(ip));
        let asking: Vec<Local> = asking.filter_map(|connection| connection.local()).collect();
        let (gone, kept): (Vec<Base>, Vec<Base>) = std::mem::take(&mut gatherer.bases)
            .into_iter()
            .partition(|base| base.interface.ip == ip);
        gatherer.bases = kept;
        let mut ends: Vec<Local> = gone.iter().map(|base| base.local).collect();
        // In one-port mode another interface may have the same socket.
        ends.retain(|end| !gatherer.bases.iter().any(|base| base.local == *end));
        let (relays, sockets) = self.relays.forget_interface(ip);
        self.gatherer.relay_sockets.retain(|socket| !sockets.contains(socket));
        ends.extend(sockets);
        ends.extend(asking);
        ends.extend(self.connections_of(ip));
        ends.sort_unstable();
        ends.dedup();
        self.forget_locals(now, |candidate| {
            candidate.interface == ip || matches!(candidate.local, Local::Relay(id) if relays.contains(&id))
        });
        for end in ends {
            self.forget_previous_on(end);
            self.push_io(IoRequest::Close(end));
        }
        for relay in relays {
            self.forget_previous_on(Local::Relay(relay));
        }
        self.withdraw_names(|name| name == ip);
    }

    /// The port to ask for first.
    fn first_port(&mut self) -> PortTry {
        let port = match &self.config.port_range {
            Some(range) if self.config.port == 0 && !range.is_empty() => {
                let count = u32::from(range.end() - range.start()) + 1;
                range.start() + self.rng.below(count) as u16
            }
            _ => self.config.port,
        };
        PortTry { port, tries: 1 }
    }

    /// The port to ask for after one that is taken.
    pub(crate) fn next_port(&self, last: PortTry) -> Option<PortTry> {
        let range = self.config.port_range.as_ref()?;
        let count = range.end().checked_sub(*range.start())?.saturating_add(1);
        if self.config.port != 0 || last.tries >= count.min(MAX_PORT_TRIES) {
            return None;
        }
        let port = if last.port >= *range.end() {
            *range.start()
        } else {
            last.port + 1
        };
        Some(PortTry {
            port,
            tries: last.tries + 1,
        })
    }

    pub(crate) fn bind(&mut self, interface: Interface, port: PortTry) {
        let request = self.next_request();
        self.push_io(IoRequest::BindUdp {
            request,
            addr: SocketAddr::new(interface.ip, port.port),
            exclusive: false,
        });
        self.gatherer.binds.push(Bind {
            request,
            interface,
            port,
        });
    }

    pub(crate) fn socket_bound(&mut self, now: Instant, request: u32, local: Local, addr: SocketAddr) {
        if self.relay_end_ready(now, request, local, addr) {
            return;
        }
        let Some(index) = self.gatherer.binds.iter().position(|bind| bind.request == request) else {
            self.push_io(IoRequest::Close(local));
            return;
        };
        let interface = self.gatherer.binds.swap_remove(index).interface;
        let known = self
            .gatherer
            .bases
            .iter()
            .any(|base| base.local == local && base.addr == addr);
        if known || addr.ip().is_unspecified() {
            self.add_active(now, interface);
            return;
        }
        let base = Base { local, addr, interface };
        self.gatherer.bases.push(base.clone());
        let (ip, local_preference) = (interface.ip, interface.local_preference);
        self.insert_host(now, NewLocal::host(local, ip, addr, local_preference, None));
        self.add_active(now, interface);
        if !self.config.lite {
            self.ask_servers(now, &base);
        }
    }

    fn is_usable_interface(&self, ip: IpAddr) -> bool {
        let config = &self.config;
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
}

pub(crate) fn is_link_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfe80
}

/// Alternates the families, IPv6 first, so that neither waits behind a long list of the other (RFC 8421 §4); loopback last.
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
