//! Which of a machine's addresses become candidates, and under which address.

use std::fmt;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::candidate::{CandidateKind, Protocol};
use crate::error::AddressRangeError;

/// Which host candidates are gathered. All of them, by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NetworkTypes {
    /// Whether there are UDP candidates over IPv4.
    pub udp4: bool,
    /// Whether there are UDP candidates over IPv6.
    pub udp6: bool,
    /// Whether there are TCP candidates over IPv4.
    pub tcp4: bool,
    /// Whether there are TCP candidates over IPv6.
    pub tcp6: bool,
}

impl Default for NetworkTypes {
    fn default() -> Self {
        Self {
            udp4: true,
            udp6: true,
            tcp4: true,
            tcp6: true,
        }
    }
}

impl NetworkTypes {
    pub(crate) fn allows(&self, protocol: Protocol, ip: IpAddr) -> bool {
        match (protocol, ip.is_ipv4()) {
            (Protocol::Udp, true) => self.udp4,
            (Protocol::Udp, false) => self.udp6,
            (Protocol::Tcp, true) => self.tcp4,
            (Protocol::Tcp, false) => self.tcp6,
        }
    }
}

/// Which kinds of TCP candidates are gathered (RFC 6544 §4.1). By default active ones, as browsers have them: they cost
/// nothing before there is something to connect to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TcpCandidates {
    /// Whether we connect to the peer's passive candidates.
    pub active: bool,
    /// Whether we listen: what a server offers to browsers.
    pub passive: bool,
    /// Whether we do both at once (simultaneous open).
    pub simultaneous_open: bool,
}

impl TcpCandidates {
    /// None at all.
    pub const OFF: Self = Self {
        active: false,
        passive: false,
        simultaneous_open: false,
    };
}

impl Default for TcpCandidates {
    fn default() -> Self {
        Self {
            active: true,
            ..Self::OFF
        }
    }
}

/// Addresses with a common beginning, in CIDR notation: `10.0.0.0/8`, `2001:db8::/32`; an address alone stands for
/// itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddressRange {
    network: IpAddr,
    length: u8,
}

impl AddressRange {
    /// Whether the address begins so.
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.network, ip) {
            (IpAddr::V4(network), IpAddr::V4(ip)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.length)).unwrap_or(0);
                (u32::from(network) ^ u32::from(ip)) & mask == 0
            }
            (IpAddr::V6(network), IpAddr::V6(ip)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.length)).unwrap_or(0);
                (u128::from(network) ^ u128::from(ip)) & mask == 0
            }
            _ => false,
        }
    }
}

impl FromStr for AddressRange {
    type Err = AddressRangeError;

    fn from_str(text: &str) -> Result<Self, AddressRangeError> {
        let (address, length) = match text.split_once('/') {
            Some((address, length)) => (address, Some(length)),
            None => (text, None),
        };
        let network: IpAddr = address.parse().map_err(|_| AddressRangeError::Address)?;
        let longest = if network.is_ipv4() { 32 } else { 128 };
        let length = match length {
            Some(length) => length.parse().map_err(|_| AddressRangeError::Length)?,
            None => longest,
        };
        if length > longest {
            return Err(AddressRangeError::Length);
        }
        Ok(Self { network, length })
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.network, self.length)
    }
}

/// An address under which a NAT that we know maps one of ours, port by port: the usual lot of machines in a cloud.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NatMapping {
    /// The interface's address; `None` for every one of the same family.
    pub internal: Option<IpAddr>,
    /// The address that the outside sees.
    pub external: IpAddr,
    /// [`CandidateKind::Host`]: host candidates name the external address instead of their own.
    /// [`CandidateKind::ServerReflexive`]: it becomes a candidate besides, as if a STUN server had told it. Other kinds
    /// do nothing.
    pub kind: CandidateKind,
}

impl NatMapping {
    /// Where this base is seen from outside, if the mapping is its.
    pub(crate) fn map(&self, kind: CandidateKind, base: SocketAddr) -> Option<SocketAddr> {
        let ours = self.internal.is_none_or(|internal| internal == base.ip());
        let fits = ours && self.kind == kind && self.external.is_ipv4() == base.is_ipv4() && !base.ip().is_loopback();
        fits.then(|| SocketAddr::new(self.external, base.port()))
    }
}

/// Whether an IPv6 address is good on its link alone (RFC 4291 §2.5.6).
pub(crate) fn is_link_local(ip: Ipv6Addr) -> bool {
    ip.segments()[0] & 0xffc0 == 0xfe80
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ranges() {
        let range = |text: &str| text.parse::<AddressRange>();
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        assert!(range("10.0.0.0/8").unwrap().contains(ip("10.255.1.2")));
        assert!(!range("10.0.0.0/8").unwrap().contains(ip("11.0.0.0")));
        assert!(range("0.0.0.0/0").unwrap().contains(ip("203.0.113.1")));
        assert!(!range("0.0.0.0/0").unwrap().contains(ip("::1")));
        assert!(range("::/0").unwrap().contains(ip("2001:db8::1")));
        assert!(range("2001:db8::/32").unwrap().contains(ip("2001:db8:ffff::1")));
        assert!(!range("2001:db8::1").unwrap().contains(ip("2001:db8::2")));
        assert_eq!(range("10.0.0.0/33"), Err(AddressRangeError::Length));
        assert_eq!(range("10.0.0.0/x"), Err(AddressRangeError::Length));
        assert_eq!(range("10.0.0/8"), Err(AddressRangeError::Address));
    }

    proptest! {
        #[test]
        fn written_and_read(ip: IpAddr, length in 0u8..=32) {
            let range: AddressRange = format!("{ip}/{length}").parse().unwrap();
            prop_assert_eq!(range.to_string().parse(), Ok(range));
            prop_assert!(range.contains(ip));
        }
    }

    #[test]
    fn a_mapping_is_for_its_own() {
        let mapping = NatMapping {
            internal: None,
            external: "203.0.113.9".parse().unwrap(),
            kind: CandidateKind::Host,
        };
        let base = "10.0.0.1:5000".parse().unwrap();
        assert_eq!(
            mapping.map(CandidateKind::Host, base),
            Some("203.0.113.9:5000".parse().unwrap())
        );
        assert_eq!(mapping.map(CandidateKind::ServerReflexive, base), None);
        assert_eq!(
            mapping.map(CandidateKind::Host, "[2001:db8::1]:1".parse().unwrap()),
            None
        );
        assert_eq!(mapping.map(CandidateKind::Host, "127.0.0.1:1".parse().unwrap()), None);
    }
}
