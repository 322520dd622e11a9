//! Datagrams and packets, the paths that they take, and the marks that they carry.

use std::fmt;
use std::net::SocketAddr;
use std::ops::Range;

use bytes::BytesMut;

use crate::transmit_buf::TransmitBuf;

/// The local end of a path. The number is the driver's own name for it; machines only compare it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Local {
    /// A UDP socket.
    Socket(u32),
    /// A TCP or TLS connection; datagrams are framed as in RFC 4571.
    Tcp(u32),
    /// An address that a TURN server relays for us.
    Relay(u32),
}

impl fmt::Display for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Socket(id) => write!(f, "socket {id}"),
            Self::Tcp(id) => write!(f, "tcp {id}"),
            Self::Relay(id) => write!(f, "relay {id}"),
        }
    }
}

/// Where a datagram came from, or goes to: one of our ends and the peer's address. What other texts call a five-tuple.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    /// Our end of it.
    pub local: Local,
    /// The peer's address as our end sees it.
    pub remote: SocketAddr,
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.local, self.remote)
    }
}

/// Explicit congestion notification, the two low bits of the traffic class (RFC 3168 §5).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Ecn {
    /// Not ECN-capable, or not known.
    #[default]
    NotEct,
    /// ECN-capable, ECT(1): L4S (RFC 9331).
    Ect1,
    /// ECN-capable, ECT(0).
    Ect0,
    /// Congestion experienced.
    Ce,
}

impl Ecn {
    /// From the two low bits of the traffic class; higher bits are ignored.
    pub fn from_bits(bits: u8) -> Self {
        match bits & 0b11 {
            0b00 => Self::NotEct,
            0b01 => Self::Ect1,
            0b10 => Self::Ect0,
            _ => Self::Ce,
        }
    }

    /// The two bits on the wire.
    pub fn bits(self) -> u8 {
        match self {
            Self::NotEct => 0b00,
            Self::Ect1 => 0b01,
            Self::Ect0 => 0b10,
            Self::Ce => 0b11,
        }
    }
}

/// One datagram from the network, owned by who handles it.
#[derive(Debug)]
pub struct Datagram {
    /// Where it came from.
    pub path: Path,
    /// The ECN mark that it carried.
    pub ecn: Ecn,
    /// The UDP payload (or one RFC 4571 frame). Decrypted in place; payloads handed to the application are cut from it.
    pub data: BytesMut,
}

/// One packet for a machine that knows no addresses (DTLS, SCTP, RTP): what stood inside a datagram, after the layer
/// outside is undone.
#[derive(Debug)]
pub struct Packet {
    /// The ECN mark of the datagram that carried it; it says something of the path, and nothing of who wrote it.
    pub ecn: Ecn,
    /// The bytes, for the machine to keep: it decrypts in place and cuts payloads from them.
    pub data: BytesMut,
}

impl From<Datagram> for Packet {
    /// What is left of a datagram when nobody needs to know any more which way it came.
    fn from(datagram: Datagram) -> Self {
        let Datagram { ecn, data, .. } = datagram;
        Self { ecn, data }
    }
}

impl From<BytesMut> for Packet {
    /// A packet of which no mark is known.
    fn from(data: BytesMut) -> Self {
        Self { ecn: Ecn::NotEct, data }
    }
}

/// What to do with bytes that a machine wrote into a [`TransmitBuf`](crate::TransmitBuf).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transmit {
    /// Where to send it.
    pub path: Path,
    /// Which bytes of the buffer.
    pub range: Range<usize>,
    /// If set, the bytes are a run: several datagrams of this size (the last may be shorter), as GSO takes them. At most
    /// [`TransmitBuf::max_run`](crate::TransmitBuf::max_run) of them, and [`MAX_RUN_BYTES`](crate::MAX_RUN_BYTES) in all.
    pub segment_size: Option<usize>,
    /// The ECN mark to send.
    pub ecn: Ecn,
}

impl Transmit {
    /// The datagrams, one by one, for who cannot send them as one.
    pub fn datagrams<'a>(&self, out: &'a TransmitBuf) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let bytes = out.bytes(self.range.clone());
        let size = self.segment_size.unwrap_or(bytes.len()).max(1);
        // An empty datagram is one too.
        let empty = bytes.is_empty().then_some(bytes);
        empty.into_iter().chain(bytes.chunks(size))
    }
}
