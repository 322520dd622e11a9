use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use antiphon_sansio::Ecn;

use crate::tcp::Segment;

/// Which protocol a packet is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// A UDP datagram.
    Udp,
    /// A segment of a TCP connection.
    Tcp(Segment),
}

/// A UDP datagram or a TCP segment on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Packet {
    /// Where it says it comes from.
    pub source: SocketAddr,
    /// Where it goes.
    pub destination: SocketAddr,
    /// Its ECN mark.
    pub ecn: Ecn,
    /// UDP or TCP.
    pub transport: Transport,
    /// The payload.
    pub data: Vec<u8>,
}

impl Packet {
    /// Size with IP and UDP headers, in bytes.
    pub fn ip_len(&self) -> usize {
        let headers = if self.destination.is_ipv4() { 28 } else { 48 };
        headers + self.data.len()
    }
}

/// Something between hosts and the rest of the network that sees every packet: a NAT, a firewall.
pub trait Node: fmt::Debug {
    /// Addresses that the rest of the network reaches this node by; packets to them come to [`Self::inbound`]. Asked once, when the
    /// node is added.
    fn addresses(&self) -> Vec<IpAddr>;

    /// A packet from a host behind this node. `None` drops it.
    fn outbound(&mut self, now: Instant, packet: Packet) -> Option<Packet>;

    /// A packet for one of [`Self::addresses`], to be readdressed to a host behind this node. `None` drops it.
    fn inbound(&mut self, now: Instant, packet: Packet) -> Option<Packet>;
}
