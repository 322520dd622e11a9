//! Gathering candidates (RFC 8445 §5.1.1), each part of it in a room of its own.

mod gathering;
mod interface;
mod names;
mod probes;
mod relays;
mod server;
mod sockets;
mod stun_over_tls;
mod tcp_ends;

pub(crate) use gathering::Gathering;
pub use interface::MAX_INTERFACES;
pub use names::MAX_MDNS_QUERIES;
pub use probes::MAX_PROBES;
pub use relays::MAX_ALLOCATIONS;
pub use server::MAX_SERVERS;
pub use stun_over_tls::MAX_STUN_CONNECTIONS;
