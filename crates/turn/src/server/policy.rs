//! To whom a server relays. Everything inside is closed by default: a relay must not be a way around a firewall.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Which peers a server relays to.
///
/// Denied in any case: unspecified, multicast, broadcast, link-local, reserved and documentation addresses, and IPv6 addresses
/// that carry an IPv4 address which is denied (mapped, compatible, NAT64, 6to4, Teredo).
#[derive(Clone, Debug, Default)]
pub struct PeerPolicy {
    /// Allows the loopback interface. For tests: whoever may allocate then reaches every service of this machine.
    pub allow_loopback: bool,
    /// Allows private networks (RFC 1918, RFC 6598, RFC 4193). For servers inside such a network.
    pub allow_private: bool,
    /// Further networks that are denied: an address and how many of its leading bits count.
    pub denied: Vec<(IpAddr, u8)>,
}

impl PeerPolicy {
    /// Whether the server relays to this address.
    pub fn allows(&self, ip: IpAddr) -> bool {
        let listed = self.denied.iter().any(|(network, bits)| contains(*network, *bits, ip));
        !listed
            && match ip {
                IpAddr::V4(ip) => self.allows_v4(ip),
                IpAddr::V6(ip) => self.allows_v6(ip),
            }
    }

    fn allows_v4(&self, ip: Ipv4Addr) -> bool {
        let [a, b, c, _] = ip.octets();
        if ip.is_loopback() {
            return self.allow_loopback;
        }
        if ip.is_private() || (a == 100 && b & 0xc0 == 64) {
            return self.allow_private;
        }
        // 0.0.0.0/8, 169.254.0.0/16, 192.0.0.0/24, 198.18.0.0/15, multicast and all above it.
        let never = a == 0
            || ip.is_link_local()
            || (a, b, c) == (192, 0, 0)
            || (a == 198 && b & 0xfe == 18)
            || ip.is_documentation()
            || a >= 224;
        !never
    }

    fn allows_v6(&self, ip: Ipv6Addr) -> bool {
        if ip.is_loopback() {
            return self.allow_loopback;
        }
        let segments = ip.segments();
        if ip.is_unspecified() || ip.is_multicast() {
            return false;
        }
        // A mapped or compatible address reaches an IPv4 host through an IPv6 socket: never meant by an honest peer.
        if segments[..5] == [0; 5] || (segments[..4] == [0; 4] && segments[4] == 0xffff) {
            return false;
        }
        let embedded = |high: u16, low: u16| {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            self.allows(IpAddr::V4(Ipv4Addr::new(a, b, c, d)))
        };
        match segments {
            // NAT64 (RFC 6052, RFC 8215).
            [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
            [0x64, 0xff9b, ..] => false,
            // 6to4 (RFC 3056).
            [0x2002, high, low, ..] => embedded(high, low),
            // Teredo (RFC 4380), documentation, discard-only.
            [0x2001, 0, ..] | [0x2001, 0xdb8, ..] | [0x100, 0, 0, 0, ..] => false,
            // Link-local, and site-local of old.
            [first, ..] if first & 0xff80 == 0xfe80 => false,
            // Unique local (RFC 4193).
            [first, ..] if first & 0xfe00 == 0xfc00 => self.allow_private,
            _ => true,
        }
    }
}

fn contains(network: IpAddr, bits: u8, ip: IpAddr) -> bool {
    let prefix = |bits: u8, width: u8, a: u128, b: u128| {
        let shift = u32::from(width.saturating_sub(bits));
        a.checked_shr(shift) == b.checked_shr(shift)
    };
    match (network, ip) {
        (IpAddr::V4(network), IpAddr::V4(ip)) => {
            prefix(bits, 32, u128::from(u32::from(network)), u128::from(u32::from(ip)))
        }
        (IpAddr::V6(network), IpAddr::V6(ip)) => prefix(bits, 128, network.into(), ip.into()),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn v17_every_way_inside_is_closed() {
        let policy = PeerPolicy::default();
        for ip in [
            "0.0.0.0",
            "0.1.2.3",
            "127.0.0.1",
            "127.255.0.1",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "100.64.0.1",
            "169.254.169.254",
            "192.0.0.8",
            "192.0.2.1",
            "198.18.0.1",
            "198.19.255.255",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::127.0.0.1",
            "::ffff:127.0.0.1",
            "::ffff:8.8.8.8",
            "::ffff:0:127.0.0.1",
            "64:ff9b::127.0.0.1",
            "64:ff9b::10.0.0.1",
            "64:ff9b:1::10.0.0.1",
            "2002:7f00:1::1",
            "2002:a00:1::",
            "2001:0:1::1",
            "2001:db8::1",
            "100::1",
            "fe80::1",
            "febf::1",
            "fec0::1",
            "fc00::1",
            "fd12:3456::1",
            "ff02::1",
        ] {
            assert!(!policy.allows(ip.parse().unwrap()), "{ip}");
        }
        for ip in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "2606:4700::1",
            "64:ff9b::8.8.8.8",
            "2002:808:808::1",
        ] {
            assert!(policy.allows(ip.parse().unwrap()), "{ip}");
        }
    }

    #[test]
    fn what_can_be_opened_and_closed() {
        let policy = PeerPolicy {
            allow_loopback: true,
            allow_private: true,
            denied: vec![("10.1.0.0".parse().unwrap(), 16), ("2606:4700::".parse().unwrap(), 32)],
        };
        for (ip, allowed) in [
            ("127.0.0.1", true),
            ("::1", true),
            ("10.0.0.1", true),
            ("10.1.2.3", false),
            ("fd00::1", true),
            ("2606:4700::9", false),
            ("2606:4701::9", true),
            ("::ffff:10.0.0.1", false),
            ("169.254.169.254", false),
        ] {
            assert_eq!(policy.allows(ip.parse().unwrap()), allowed, "{ip}");
        }
        let everything = PeerPolicy {
            denied: vec![("0.0.0.0".parse().unwrap(), 0)],
            ..PeerPolicy::default()
        };
        assert!(!everything.allows("8.8.8.8".parse().unwrap()));
    }
}
