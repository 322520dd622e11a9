//! Which addresses are listened and relayed on, and the ports of relayed sockets.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::RangeInclusive;

use antiphon_sansio::Rng;

use super::config::{RelayAddress, TurnServerConfig};
use crate::net::socket::{SMALL_BUFFER, Socket};

/// How many ports are tried at random before the range counts as full. With half of the range taken this fails once in
/// 10^19.
const TRIES: usize = 64;

/// Every address of this machine.
pub(super) fn own_addresses() -> io::Result<Vec<IpAddr>> {
    Ok(if_addrs::get_if_addrs()?
        .iter()
        .map(|interface| interface.ip())
        .collect())
}

/// The addresses that a listening address stands for: itself, or for a wildcard every address of its family, so that
/// answers leave from the address that the client asked.
pub(super) fn expand(addr: SocketAddr, own: &[IpAddr]) -> Vec<IpAddr> {
    if !addr.ip().is_unspecified() {
        return vec![addr.ip()];
    }
    let mut found: Vec<IpAddr> = own
        .iter()
        .copied()
        .filter(|ip| ip.is_ipv4() == addr.is_ipv4() && !is_link_local(*ip))
        .collect();
    found.sort();
    found.dedup();
    found
}

fn is_link_local(ip: IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => ip.is_link_local(),
        IpAddr::V6(ip) => ip.is_unicast_link_local(),
    }
}

/// Where relayed sockets are opened: as configured, or what follows from the listening addresses.
pub(super) fn relay_addresses(config: &TurnServerConfig) -> Vec<RelayAddress> {
    if !config.relay.is_empty() {
        return config.relay.clone();
    }
    let mut found: Vec<RelayAddress> = Vec::new();
    for addr in config.listen.iter().chain(&config.tls_listen) {
        let ip = match addr.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => default_route(Ipv4Addr::new(192, 0, 2, 1).into()),
            IpAddr::V6(ip) if ip.is_unspecified() => {
                default_route(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1).into())
            }
            ip => Some(ip),
        };
        if let Some(ip) = ip
            && !found.iter().any(|known| known.bind.is_ipv4() == ip.is_ipv4())
        {
            found.push(RelayAddress { bind: ip, external: ip });
        }
    }
    found
}

/// The address with which this machine would reach `far`. Connecting a UDP socket asks the routing table and sends nothing.
fn default_route(far: IpAddr) -> Option<IpAddr> {
    let any: IpAddr = match far {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0)).ok()?;
    socket.connect((far, 9)).ok()?;
    socket.local_addr().ok().map(|addr| addr.ip())
}

/// Opens a relayed socket on a port drawn at random from the range (RFC 8656 §7.2).
pub(super) fn bind(ip: IpAddr, ports: &RangeInclusive<u16>, rng: &mut Rng) -> Option<Socket> {
    (0..TRIES).find_map(|_| Socket::bind(SocketAddr::new(ip, draw(ports, rng)), SMALL_BUFFER).ok())
}

/// Opens a relayed socket on an even port, and one on the next if that is asked for.
pub(super) fn bind_even(
    ip: IpAddr,
    ports: &RangeInclusive<u16>,
    and_next: bool,
    rng: &mut Rng,
) -> Option<(Socket, Option<Socket>)> {
    (0..TRIES).find_map(|_| {
        let even = draw(ports, rng) & !1;
        if !ports.contains(&even) || (and_next && !ports.contains(&(even + 1))) {
            return None;
        }
        let first = Socket::bind(SocketAddr::new(ip, even), SMALL_BUFFER).ok()?;
        if !and_next {
            return Some((first, None));
        }
        let next = Socket::bind(SocketAddr::new(ip, even + 1), SMALL_BUFFER).ok()?;
        Some((first, Some(next)))
    })
}

fn draw(ports: &RangeInclusive<u16>, rng: &mut Rng) -> u16 {
    let count = u32::from(*ports.end()) - u32::from(*ports.start()) + 1;
    (u32::from(*ports.start()) + rng.below(count)) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ports_stay_in_their_range() {
        let mut rng = Rng::from_u64(1);
        for range in [50_000..=50_000u16, 49_152..=65_535, 1..=2] {
            for _ in 0..100 {
                assert!(range.contains(&draw(&range, &mut rng)));
            }
        }
    }

    #[test]
    fn a_wildcard_is_every_address_of_its_family() {
        let own: Vec<IpAddr> = ["127.0.0.1", "10.0.0.1", "169.254.1.1", "::1", "fe80::1"]
            .map(|ip| ip.parse().unwrap())
            .to_vec();
        let expanded = expand("0.0.0.0:1".parse().unwrap(), &own);
        assert_eq!(
            expanded,
            ["10.0.0.1", "127.0.0.1"].map(|ip| ip.parse::<IpAddr>().unwrap())
        );
        assert_eq!(
            expand("[::]:1".parse().unwrap(), &own),
            ["::1".parse::<IpAddr>().unwrap()]
        );
        assert_eq!(
            expand("192.0.2.1:1".parse().unwrap(), &own),
            ["192.0.2.1".parse::<IpAddr>().unwrap()]
        );
    }
}
