//! What stands between hosts and the rest of the network: the trait of NATs and firewalls.

use std::fmt;
use std::net::IpAddr;
use std::time::Instant;

use crate::packet::Packet;

/// Something between hosts and the rest of the network that sees every packet: a NAT, a firewall.
pub trait Node: fmt::Debug + Send {
    /// Addresses that the rest of the network reaches this node by; packets to them come to [`Self::inbound`]. Asked once, when the
    /// node is added.
    fn addresses(&self) -> Vec<IpAddr>;

    /// A packet from a host behind this node. `None` drops it.
    fn outbound(&mut self, now: Instant, packet: Packet) -> Option<Packet>;

    /// A packet for one of [`Self::addresses`], to be readdressed to a host behind this node. `None` drops it.
    fn inbound(&mut self, now: Instant, packet: Packet) -> Option<Packet>;
}
