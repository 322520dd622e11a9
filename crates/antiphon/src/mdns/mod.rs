//! Multicast DNS (RFC 6762) for candidates that hide addresses behind `.local` names: one-shot questions, and a responder for
//! our own names.

mod packet;
mod resolver;
mod responder;

pub(crate) use resolver::resolve;
pub(crate) use responder::Responder;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use tokio::net::UdpSocket;

const PORT: u16 = 5353;
const GROUP_V4: Ipv4Addr = Ipv4Addr::new(224, 0, 0, 251);
const GROUP_V6: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 0xfb);
/// RFC 6762 §17: no message is longer.
const MAX_MESSAGE: usize = 9000;

/// An interface as multicast names it: IPv4 by an address, IPv6 by a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Link {
    V4(Ipv4Addr),
    V6(u32),
}

impl Link {
    /// One for each interface and family of `found`.
    fn all(found: &[if_addrs::Interface]) -> Vec<Self> {
        let mut links: Vec<Self> = Vec::new();
        for interface in found {
            let link = match interface.ip() {
                IpAddr::V4(ip) => Self::V4(ip),
                IpAddr::V6(_) => match interface.index {
                    Some(index) => Self::V6(index),
                    None => continue,
                },
            };
            if !links.contains(&link) {
                links.push(link);
            }
        }
        links
    }

    fn group(self) -> SocketAddr {
        match self {
            Self::V4(_) => SocketAddr::new(GROUP_V4.into(), PORT),
            Self::V6(_) => SocketAddr::new(GROUP_V6.into(), PORT),
        }
    }

    /// Makes multicast of `socket` leave by this interface.
    fn choose(self, socket: &socket2::SockRef<'_>) -> io::Result<()> {
        match self {
            Self::V4(ip) => socket.set_multicast_if_v4(&ip),
            Self::V6(index) => socket.set_multicast_if_v6(index),
        }
    }
}

/// A UDP socket on `port` of all addresses of one family. Others on this machine may have the same port.
fn bind(ipv6: bool, port: u16) -> io::Result<UdpSocket> {
    let domain = if ipv6 {
        socket2::Domain::IPV6
    } else {
        socket2::Domain::IPV4
    };
    let socket = socket2::Socket::new(domain, socket2::Type::DGRAM, Some(socket2::Protocol::UDP))?;
    socket.set_nonblocking(true)?;
    if port != 0 {
        socket.set_reuse_address(true)?;
        #[cfg(unix)]
        socket.set_reuse_port(true)?;
    }
    // RFC 6762 §11: 255, so that receivers see that nothing was forwarded. Peers on this machine hear us too.
    let any: IpAddr = if ipv6 {
        socket.set_only_v6(true)?;
        socket.set_multicast_loop_v6(true)?;
        socket.set_multicast_hops_v6(255)?;
        socket.set_unicast_hops_v6(255)?;
        Ipv6Addr::UNSPECIFIED.into()
    } else {
        socket.set_multicast_loop_v4(true)?;
        socket.set_multicast_ttl_v4(255)?;
        socket.set_ttl_v4(255)?;
        Ipv4Addr::UNSPECIFIED.into()
    };
    socket.bind(&SocketAddr::new(any, port).into())?;
    UdpSocket::from_std(socket.into())
}
