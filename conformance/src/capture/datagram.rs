//! What a capture is made of.

use std::net::SocketAddr;
use std::time::Duration;

/// One UDP datagram of a capture, or one packet of a TCP connection (RFC 4571).
#[derive(Clone, Debug)]
pub struct Datagram {
    /// When it was captured, by the capture's own clock.
    pub at: Duration,
    /// The address of who sent it.
    pub source: SocketAddr,
    /// The address that it was sent to.
    pub destination: SocketAddr,
    /// The payload, owned.
    pub payload: Vec<u8>,
}
