//! A TCP connection as the model has it, and what a host hears of it.

use std::net::SocketAddr;
use std::time::Duration;

use antiphon_sansio::{BytesMut, Local};

use crate::ids::HostId;

/// What happened to a connection, for the host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TcpEvent {
    /// A connection of ours stands.
    Connected {
        /// Our own name for this end of it.
        connection: Local,
    },
    /// Nobody listens there.
    Refused {
        /// As [`Network::connect_tcp`](crate::Network::connect_tcp) named it.
        connection: Local,
    },
    /// Somebody connected.
    Accepted {
        /// Our own name for this end of it.
        connection: Local,
        /// The listener's address.
        addr: SocketAddr,
        /// The other end's address as seen here.
        remote: SocketAddr,
    },
    /// Bytes came.
    Data {
        /// Our own name for this end of it.
        connection: Local,
        /// The other end's address as seen here.
        remote: SocketAddr,
        /// What came, in order, without a boundary that means anything.
        bytes: BytesMut,
    },
    /// The other end closed.
    Closed {
        /// Our own name for this end of it.
        connection: Local,
    },
}

/// One end: its number is `2 * connection`, for who opened it, or one more.
#[derive(Debug)]
pub(crate) struct End {
    pub(crate) host: HostId,
    pub(crate) addr: SocketAddr,
    /// The other end as seen from here.
    pub(crate) remote: SocketAddr,
    pub(crate) open: bool,
}

/// A connection: the second end is there once a listener has taken it.
#[derive(Debug)]
pub(crate) struct Connection {
    pub(crate) ends: [Option<End>; 2],
    pub(crate) established: bool,
    /// Both ends opened at once: the other end's attempt, which is the same connection (RFC 9293 §3.5).
    pub(crate) crossed: Option<u32>,
}

/// TCP's own way to mend losses, as much as matters: what is lost is there so much later.
pub(crate) const REPAIR: Duration = Duration::from_millis(200);
