//! NATs as RFC 4787 names them, firewalls, and the edge of a network without IPv4.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use crate::node::Node;
use crate::packet::{Packet, Transport};

/// On what of the far end something depends (RFC 4787 §4.1, §5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dependence {
    /// On nothing: "endpoint-independent".
    Endpoint,
    /// On the address: "address-dependent".
    Address,
    /// On address and port: "address and port-dependent".
    AddressAndPort,
}

impl Dependence {
    /// What of `remote` counts.
    fn key(self, remote: SocketAddr) -> Option<(IpAddr, u16)> {
        match self {
            Self::Endpoint => None,
            Self::Address => Some((remote.ip(), 0)),
            Self::AddressAndPort => Some((remote.ip(), remote.port())),
        }
    }
}

/// How a NAT behaves, in the terms of RFC 4787 (UDP) and RFC 5382 (TCP).
#[derive(Clone, Debug)]
pub struct NatConfig {
    /// When a socket inside gets another port outside (RFC 4787 §4.1).
    pub mapping: Dependence,
    /// From whom a mapping lets packets in (RFC 4787 §5).
    pub filtering: Dependence,
    /// Whether two sockets inside reach one another by their outer addresses (RFC 4787 §6).
    pub hairpinning: bool,
    /// Whether the inner port is tried first (RFC 4787 §4.2.1).
    pub port_preservation: bool,
    /// The outer ports that it gives out, both ends included.
    pub ports: RangeInclusive<u16>,
    /// A UDP mapping that nothing was sent from for so long is gone (RFC 4787 §4.3, REQ-6: outbound packets refresh). TCP's stay.
    pub timeout: Duration,
    /// Mappings at a time; when all are in use new ones are refused.
    pub max_mappings: usize,
}

impl NatConfig {
    /// With hairpinning, port preservation, and the five minutes that RFC 4787 REQ-5 recommends.
    pub fn new(mapping: Dependence, filtering: Dependence) -> Self {
        Self {
            mapping,
            filtering,
            hairpinning: true,
            port_preservation: true,
            ports: 20_000..=59_999,
            timeout: Duration::from_secs(300),
            max_mappings: 4096,
        }
    }

    /// What older literature (RFC 3489) calls a full cone.
    pub fn full_cone() -> Self {
        Self::new(Dependence::Endpoint, Dependence::Endpoint)
    }

    /// A restricted cone.
    pub fn address_restricted() -> Self {
        Self::new(Dependence::Endpoint, Dependence::Address)
    }

    /// A port-restricted cone: what most homes have.
    pub fn port_restricted() -> Self {
        Self::new(Dependence::Endpoint, Dependence::AddressAndPort)
    }

    /// A symmetric NAT, without port preservation.
    pub fn symmetric() -> Self {
        Self {
            port_preservation: false,
            ..Self::new(Dependence::AddressAndPort, Dependence::AddressAndPort)
        }
    }
}

/// Whose mapping it is: the protocol, the socket inside, and what of the far end its mapping depends on.
type MappingKey = (bool, SocketAddr, Option<(IpAddr, u16)>);

#[derive(Debug)]
struct Mapping {
    key: MappingKey,
    /// Who was sent to, as far as filtering asks.
    permitted: Vec<Option<(IpAddr, u16)>>,
    expires: Instant,
}

/// A network address and port translator with one outer address of each family that it has.
#[derive(Debug)]
pub struct Nat {
    config: NatConfig,
    external: Vec<IpAddr>,
    by_key: BTreeMap<MappingKey, SocketAddr>,
    by_outside: BTreeMap<(bool, SocketAddr), Mapping>,
    next_port: u16,
}

/// Far ends that one mapping remembers; the oldest is forgotten first.
const MAX_PERMITTED: usize = 256;

impl Nat {
    /// A NAT that the rest of the network sees under these addresses.
    pub fn new(config: NatConfig, external: Vec<IpAddr>) -> Self {
        Self {
            next_port: *config.ports.start(),
            config,
            external,
            by_key: BTreeMap::new(),
            by_outside: BTreeMap::new(),
        }
    }

    /// Mappings now, those that have expired unnoticed among them.
    pub fn mappings(&self) -> usize {
        self.by_outside.len()
    }

    fn expire(&mut self, now: Instant) {
        let Self { by_outside, by_key, .. } = self;
        by_outside.retain(|&(is_tcp, _), mapping| {
            let stays = is_tcp || mapping.expires > now;
            if !stays {
                by_key.remove(&mapping.key);
            }
            stays
        });
    }

    fn translate(&mut self, now: Instant, mut packet: Packet, to_ipv4: bool) -> Option<Packet> {
        self.expire(now);
        if !self.config.hairpinning && self.external.contains(&packet.destination.ip()) {
            return None;
        }
        let is_tcp = packet.transport != Transport::Udp;
        let key = (is_tcp, packet.source, self.config.mapping.key(packet.destination));
        let outside = match self.by_key.get(&key) {
            Some(outside) => *outside,
            None if self.by_outside.len() >= self.config.max_mappings => return None,
            None => {
                let outside = self.allocate(is_tcp, packet.source, to_ipv4)?;
                self.by_key.insert(key, outside);
                let mapping = Mapping {
                    key,
                    permitted: Vec::new(),
                    expires: now,
                };
                self.by_outside.insert((is_tcp, outside), mapping);
                outside
            }
        };
        let mapping = self.by_outside.get_mut(&(is_tcp, outside))?;
        mapping.expires = now + self.config.timeout;
        let remote = self.config.filtering.key(packet.destination);
        if !mapping.permitted.contains(&remote) {
            if mapping.permitted.len() == MAX_PERMITTED {
                mapping.permitted.remove(0);
            }
            mapping.permitted.push(remote);
        }
        packet.source = outside;
        Some(packet)
    }

    fn allocate(&mut self, is_tcp: bool, inside: SocketAddr, to_ipv4: bool) -> Option<SocketAddr> {
        let ip = *self.external.iter().find(|ip| ip.is_ipv4() == to_ipv4)?;
        let free = |port: u16| !self.by_outside.contains_key(&(is_tcp, SocketAddr::new(ip, port)));
        if self.config.port_preservation && self.config.ports.contains(&inside.port()) && free(inside.port()) {
            return Some(SocketAddr::new(ip, inside.port()));
        }
        let (first, last) = (*self.config.ports.start(), *self.config.ports.end());
        let count = u32::from(last - first) + 1;
        let offset = u32::from(self.next_port - first);
        let port = (0..count)
            .map(|n| first + ((offset + n) % count) as u16)
            .find(|port| free(*port))?;
        self.next_port = if port == last { first } else { port + 1 };
        Some(SocketAddr::new(ip, port))
    }
}

impl Node for Nat {
    fn addresses(&self) -> Vec<IpAddr> {
        self.external.clone()
    }

    fn outbound(&mut self, now: Instant, packet: Packet) -> Option<Packet> {
        let to_ipv4 = packet.source.is_ipv4();
        self.translate(now, packet, to_ipv4)
    }

    fn inbound(&mut self, now: Instant, mut packet: Packet) -> Option<Packet> {
        self.expire(now);
        let is_tcp = packet.transport != Transport::Udp;
        let mapping = self.by_outside.get(&(is_tcp, packet.destination))?;
        let remote = self.config.filtering.key(packet.source);
        if !mapping.permitted.contains(&remote) {
            return None;
        }
        packet.destination = mapping.key.1;
        Some(packet)
    }
}

/// What a firewall lets out. What comes in must answer something.
#[derive(Clone, Debug)]
pub struct FirewallConfig {
    /// Whether UDP goes out at all.
    pub udp: bool,
    /// The TCP ports that are reached outside; `None`: all.
    pub tcp_ports: Option<Vec<u16>>,
}

/// A stateful firewall in front of a NAT of its own, as companies have them: the NAT is port-restricted.
#[derive(Debug)]
pub struct Firewall {
    config: FirewallConfig,
    nat: Nat,
}

impl Firewall {
    /// A firewall that the rest of the network sees under these addresses.
    pub fn new(config: FirewallConfig, external: Vec<IpAddr>) -> Self {
        Self {
            config,
            nat: Nat::new(NatConfig::port_restricted(), external),
        }
    }
}

impl Node for Firewall {
    fn addresses(&self) -> Vec<IpAddr> {
        self.nat.addresses()
    }

    fn outbound(&mut self, now: Instant, packet: Packet) -> Option<Packet> {
        let passes = match packet.transport {
            Transport::Udp => self.config.udp,
            Transport::Tcp(_) => {
                let ports = self.config.tcp_ports.as_ref();
                ports.is_none_or(|ports| ports.contains(&packet.destination.port()))
            }
        };
        if passes { self.nat.outbound(now, packet) } else { None }
    }

    fn inbound(&mut self, now: Instant, packet: Packet) -> Option<Packet> {
        self.nat.inbound(now, packet)
    }
}

/// The well-known prefix of RFC 6052 §2.1.
const NAT64_PREFIX: [u16; 6] = [0x64, 0xff9b, 0, 0, 0, 0];

/// What a host without IPv4 sees of an IPv4 host through a [`Nat64`] (RFC 6052 §2.2). DNS64 answers with this (RFC 6147).
pub fn nat64(ip: Ipv4Addr) -> Ipv6Addr {
    let [a, b, c, d] = ip.octets();
    let [p0, p1, p2, p3, p4, p5] = NAT64_PREFIX;
    Ipv6Addr::new(
        p0,
        p1,
        p2,
        p3,
        p4,
        p5,
        u16::from_be_bytes([a, b]),
        u16::from_be_bytes([c, d]),
    )
}

fn behind_nat64(ip: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(ip) = ip else { return None };
    let segments = ip.segments();
    let embedded = u32::from(segments[6]) << 16 | u32::from(segments[7]);
    (segments[..6] == NAT64_PREFIX).then(|| Ipv4Addr::from(embedded))
}

/// The edge of a network that has only IPv6: IPv6 passes as it is, IPv4 hosts are reached through a prefix (RFC 6146). It maps
/// independently of the endpoint and filters by address and port.
#[derive(Debug)]
pub struct Nat64 {
    nat: Nat,
    inside: Vec<IpAddr>,
}

impl Nat64 {
    /// Translates to `external`; the rest of the network reaches the hosts behind it by their own addresses, `inside`.
    pub fn new(external: Ipv4Addr, inside: Vec<Ipv6Addr>) -> Self {
        Self {
            nat: Nat::new(NatConfig::port_restricted(), vec![external.into()]),
            inside: inside.into_iter().map(IpAddr::from).collect(),
        }
    }
}

impl Node for Nat64 {
    fn addresses(&self) -> Vec<IpAddr> {
        [self.nat.addresses(), self.inside.clone()].concat()
    }

    fn outbound(&mut self, now: Instant, mut packet: Packet) -> Option<Packet> {
        let Some(target) = behind_nat64(packet.destination.ip()) else {
            return packet.destination.is_ipv6().then_some(packet);
        };
        packet.destination.set_ip(target.into());
        // The table asks which family the outer address is of: that of the far end.
        self.nat.translate(now, packet, true)
    }

    fn inbound(&mut self, now: Instant, packet: Packet) -> Option<Packet> {
        let IpAddr::V4(source) = packet.source.ip() else {
            return Some(packet);
        };
        let mut packet = self.nat.inbound(now, packet)?;
        packet.source.set_ip(nat64(source).into());
        Some(packet)
    }
}

#[cfg(test)]
mod tests {
    use antiphon_sansio::Ecn;

    use super::*;

    fn packet(source: &str, destination: &str) -> Packet {
        Packet {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
            ecn: Ecn::NotEct,
            transport: Transport::Udp,
            data: vec![1],
        }
    }

    fn nat(config: NatConfig) -> (Nat, Instant) {
        (Nat::new(config, vec!["198.51.100.1".parse().unwrap()]), crate::start())
    }

    const INSIDE: &str = "10.0.0.2:5000";

    /// RFC 4787 REQ-1 and §4.1: the outer port for three far ends.
    #[test]
    fn mapping() {
        for (dependence, ports) in [
            (Dependence::Endpoint, [0, 0, 0]),
            (Dependence::Address, [0, 0, 1]),
            (Dependence::AddressAndPort, [0, 1, 2]),
        ] {
            let (mut nat, now) = nat(NatConfig::new(dependence, Dependence::Endpoint));
            let seen = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"]
                .map(|to| nat.outbound(now, packet(INSIDE, to)).unwrap().source.port());
            let mut known: Vec<u16> = Vec::new();
            let kinds = seen.map(|port| {
                known.iter().position(|k| *k == port).unwrap_or_else(|| {
                    known.push(port);
                    known.len() - 1
                })
            });
            assert_eq!(kinds, ports, "{dependence:?}");
        }
    }

    /// RFC 4787 REQ-8 and §5: who is let in after one packet to 192.0.2.1:1.
    #[test]
    fn filtering() {
        for (dependence, passes) in [
            (Dependence::Endpoint, [true, true, true]),
            (Dependence::Address, [true, true, false]),
            (Dependence::AddressAndPort, [true, false, false]),
        ] {
            let (mut nat, now) = nat(NatConfig::new(Dependence::Endpoint, dependence));
            let outside = nat
                .outbound(now, packet(INSIDE, "192.0.2.1:1"))
                .unwrap()
                .source
                .to_string();
            let seen = ["192.0.2.1:1", "192.0.2.1:2", "192.0.2.2:1"].map(|from| {
                let inner = nat.inbound(now, packet(from, &outside));
                assert!(
                    inner
                        .as_ref()
                        .is_none_or(|packet| packet.destination.to_string() == INSIDE)
                );
                inner.is_some()
            });
            assert_eq!(seen, passes, "{dependence:?}");
            assert!(nat.inbound(now, packet("192.0.2.1:1", "198.51.100.1:19999")).is_none());
        }
    }

    /// RFC 4787 REQ-6: packets that go out keep a mapping, packets that come in do not.
    #[test]
    fn timeout() {
        let (mut nat, start) = nat(NatConfig {
            timeout: Duration::from_secs(30),
            ..NatConfig::full_cone()
        });
        let outside = nat
            .outbound(start, packet("10.0.0.2:25000", "192.0.2.1:1"))
            .unwrap()
            .source
            .to_string();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(nat.inbound(at(29), packet("192.0.2.1:1", &outside)).is_some());
        assert!(
            nat.inbound(at(30), packet("192.0.2.1:1", &outside)).is_none(),
            "what came in did not help"
        );
        assert_eq!(nat.mappings(), 0);
        nat.outbound(at(40), packet("10.0.0.2:25000", "192.0.2.1:1")).unwrap();
        nat.outbound(at(65), packet("10.0.0.2:25000", "192.0.2.1:1")).unwrap();
        assert!(nat.inbound(at(90), packet("192.0.2.1:1", &outside)).is_some());
    }

    /// RFC 4787 REQ-9, and what happens without it; REQ-3: no two sockets share an outer port; bounded.
    #[test]
    fn hairpin_ports_and_bounds() {
        let (mut nat, now) = nat(NatConfig {
            max_mappings: 3,
            ..NatConfig::full_cone()
        });
        let first = nat.outbound(now, packet(INSIDE, "192.0.2.1:1")).unwrap().source;
        assert!(nat.outbound(now, packet("10.0.0.3:7", &first.to_string())).is_some());
        let (one, other) = ("10.0.0.3:25000", "10.0.0.4:25000");
        let one = nat.outbound(now, packet(one, "192.0.2.1:1")).unwrap().source;
        assert_eq!(one.port(), 25_000, "the inner port is kept");
        assert!(
            nat.outbound(now, packet(other, "192.0.2.1:1")).is_none(),
            "the table is full"
        );
        let (mut nat, now) = self::nat(NatConfig {
            hairpinning: false,
            ..NatConfig::full_cone()
        });
        assert!(nat.outbound(now, packet(INSIDE, "198.51.100.1:20000")).is_none());
        let kept = ["10.0.0.3:25000", "10.0.0.4:25000"]
            .map(|from| nat.outbound(now, packet(from, "192.0.2.1:1")).unwrap().source);
        assert_ne!(kept[0], kept[1]);
    }

    #[test]
    fn nat64_translates_what_is_under_its_prefix() {
        let inside: Ipv6Addr = "2001:db8::2".parse().unwrap();
        let mut nat = Nat64::new("198.51.100.1".parse().unwrap(), vec![inside]);
        let now = crate::start();
        let server = nat64("192.0.2.1".parse().unwrap());
        assert_eq!(server.to_string(), "64:ff9b::c000:201");
        let outer = nat
            .outbound(now, packet("[2001:db8::2]:25000", &format!("[{server}]:3478")))
            .unwrap();
        assert_eq!(
            (outer.source.to_string(), outer.destination.to_string()),
            ("198.51.100.1:25000".into(), "192.0.2.1:3478".into())
        );
        let inner = nat
            .inbound(now, packet("192.0.2.1:3478", "198.51.100.1:25000"))
            .unwrap();
        assert_eq!(
            (inner.source.to_string(), inner.destination.to_string()),
            (format!("[{server}]:3478"), "[2001:db8::2]:25000".into())
        );
        assert!(
            nat.inbound(now, packet("192.0.2.2:3478", "198.51.100.1:25000"))
                .is_none()
        );
        let native = packet("[2001:db8::2]:1", "[2001:db8:1::1]:2");
        assert_eq!(nat.outbound(now, native.clone()), Some(native));
        assert!(
            nat.outbound(now, packet("10.0.0.2:1", "192.0.2.1:1")).is_none(),
            "there is no IPv4 here"
        );
    }

    #[test]
    fn firewalls() {
        let external = vec!["198.51.100.1".parse().unwrap()];
        let now = crate::start();
        let syn = |to: &str| Packet {
            transport: Transport::Tcp(crate::Segment {
                connection: 0,
                kind: crate::SegmentKind::Syn,
            }),
            ..packet(INSIDE, to)
        };
        let mut all = Firewall::new(
            FirewallConfig {
                udp: false,
                tcp_ports: None,
            },
            external.clone(),
        );
        assert!(all.outbound(now, packet(INSIDE, "192.0.2.1:3478")).is_none());
        assert!(all.outbound(now, syn("192.0.2.1:3478")).is_some());
        let mut web = Firewall::new(
            FirewallConfig {
                udp: false,
                tcp_ports: Some(vec![443]),
            },
            external,
        );
        assert!(web.outbound(now, syn("192.0.2.1:3478")).is_none());
        assert!(web.outbound(now, syn("192.0.2.1:443")).is_some());
    }
}
