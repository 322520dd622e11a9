//! What an agent asks of the world besides datagrams, and the answers.

use std::net::{IpAddr, SocketAddr};

use antiphon_sansio::Local;

/// A request to the driver. Each `request` number is answered once, by an [`IoEvent`] with the same number.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoRequest {
    /// List the addresses of this machine's interfaces; answered by [`IoEvent::Interfaces`].
    ListInterfaces,
    /// Make a UDP socket on this address; answered by [`IoEvent::UdpBound`]. In one-port mode the driver answers with its
    /// shared socket, and with the address under which that socket is reached through this interface.
    BindUdp {
        /// Names the request in the answer.
        request: u32,
        /// The interface's address and the configured port, mostly 0.
        addr: SocketAddr,
        /// Whether no other agent may be given the same socket, in one-port mode neither: a TURN server tells its clients
        /// apart by their address alone.
        exclusive: bool,
    },
    /// Look up a name of a STUN or TURN server; answered by [`IoEvent::Resolved`].
    Resolve {
        /// Names the request in the answer.
        request: u32,
        /// The name.
        host: String,
        /// The port, for resolvers that want one.
        port: u16,
    },
    /// Look up a `.local` name by multicast DNS (RFC 6762); answered by [`IoEvent::Resolved`]. Never ask unicast DNS.
    ResolveMdns {
        /// Names the request in the answer.
        request: u32,
        /// The name, ending in `.local`.
        name: String,
    },
    /// Close this end, or, in one-port mode, forget that this agent used it.
    Close(Local),
}

/// The driver's answer to an [`IoRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoEvent {
    /// The addresses of this machine's interfaces, best first.
    Interfaces(Vec<IpAddr>),
    /// The socket is there.
    UdpBound {
        /// The request's number.
        request: u32,
        /// The driver's name for the socket; datagrams come and go with it. Several agents, and several requests of one
        /// agent, may be given the same.
        local: Local,
        /// The address under which the socket is reached: never the unspecified address.
        addr: SocketAddr,
    },
    /// The name has these addresses; none means that it does not exist.
    Resolved {
        /// The request's number.
        request: u32,
        /// The addresses.
        addrs: Vec<IpAddr>,
    },
    /// The request failed.
    Failed {
        /// The request's number.
        request: u32,
        /// For people.
        reason: String,
    },
    /// A socket is gone, for instance with its interface.
    Closed {
        /// The socket.
        local: Local,
    },
}
