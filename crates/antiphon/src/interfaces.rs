//! The machine's own addresses.

use std::net::IpAddr;

/// Which of the machine's addresses become candidates.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct InterfaceFilter {
    /// Loopback addresses too. Browsers gather none of their own, but reach ours: the page of `antiphon serve` relies on it.
    pub loopback: bool,
    /// IPv6 addresses too.
    pub ipv6: bool,
    /// If set, these addresses and no others.
    pub only: Option<Vec<IpAddr>>,
}

impl Default for InterfaceFilter {
    fn default() -> Self {
        Self {
            loopback: false,
            ipv6: true,
            only: None,
        }
    }
}

impl InterfaceFilter {
    fn takes(&self, address: IpAddr) -> bool {
        if let Some(only) = &self.only {
            return only.contains(&address);
        }
        if address.is_loopback() {
            return self.loopback && (self.ipv6 || address.is_ipv4());
        }
        match address {
            IpAddr::V4(v4) => !v4.is_link_local() && !v4.is_unspecified(),
            // A link-local address means nothing without its scope, and deprecated site-local ones (RFC 8421 §3) go unused.
            IpAddr::V6(v6) => self.ipv6 && !v6.is_unicast_link_local() && v6.segments()[0] & 0xffc0 != 0xfec0,
        }
    }
}

/// The addresses that pass `filter`, in a stable order: IPv4 before IPv6, loopback last.
pub(crate) fn addresses(filter: &InterfaceFilter) -> Vec<IpAddr> {
    let found = match if_addrs::get_if_addrs() {
        Ok(found) => found,
        Err(error) => {
            tracing::warn!(%error, "cannot list the interfaces");
            Vec::new()
        }
    };
    let mut addresses: Vec<IpAddr> = found
        .iter()
        .map(if_addrs::Interface::ip)
        .filter(|a| filter.takes(*a))
        .collect();
    addresses.sort_by_key(|a| (a.is_loopback(), a.is_ipv6(), *a));
    addresses.dedup();
    addresses
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filter_by_kind() {
        let filter = InterfaceFilter::default();
        let takes = |text: &str| filter.takes(text.parse().unwrap());
        assert!(takes("192.0.2.1") && takes("2001:db8::1"));
        assert!(
            !takes("127.0.0.1") && !takes("::1") && !takes("fe80::1") && !takes("169.254.3.4") && !takes("fec0::1")
        );
        let filter = InterfaceFilter {
            loopback: true,
            ipv6: false,
            only: None,
        };
        assert!(filter.takes("127.0.0.1".parse().unwrap()) && !filter.takes("::1".parse().unwrap()));
    }
}
