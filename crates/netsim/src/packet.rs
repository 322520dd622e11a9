//! What travels: UDP datagrams and TCP segments.

use std::net::SocketAddr;

use antiphon_sansio::Ecn;

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
    /// Where it says it comes from; a NAT rewrites it on the way out.
    pub source: SocketAddr,
    /// Where it goes; a NAT rewrites it on the way in.
    pub destination: SocketAddr,
    /// Its ECN mark, which a full link may change to CE.
    pub ecn: Ecn,
    /// Which protocol carries it: UDP or TCP.
    pub transport: Transport,
    /// The payload: what stands behind the UDP or TCP header.
    pub data: Vec<u8>,
}

impl Packet {
    /// Size with IP and UDP headers, in bytes.
    pub fn ip_len(&self) -> usize {
        let headers = if self.destination.is_ipv4() { 28 } else { 48 };
        headers + self.data.len()
    }
}

/// What a packet of TCP is for; the bytes are the packet's data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Segment {
    /// Which connection it belongs to, as the network numbers them.
    pub connection: u32,
    /// What it does to that connection.
    pub kind: SegmentKind,
}

/// The kinds of segments that the model has. Nothing of a connection is lost or reordered once it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SegmentKind {
    /// Opens.
    Syn,
    /// Agrees.
    SynAck,
    /// Refuses, or says that the connection is no more.
    Reset,
    /// Bytes.
    Data,
    /// No more bytes.
    Fin,
}
