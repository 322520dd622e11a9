//! What an agent asks of the world besides datagrams, and the answers.

use std::net::{IpAddr, SocketAddr};

use antiphon_sansio::Local;

/// How messages lie in a TCP or TLS stream. The machines write it on the way out; on the way in the driver splits the
/// stream and hands over whole messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Framing {
    /// A length of two bytes before each message (RFC 4571, for ICE-TCP: RFC 6544 §10.1). [`Deframer`](crate::Deframer)
    /// splits it, and takes the length off.
    Rfc4571,
    /// STUN messages and padded ChannelData back to back (RFC 8656 §2.1). `antiphon_turn::StreamFramer` splits it.
    Turn,
}

/// A request to the driver. Each `request` number is answered once, by an [`IoEvent`] with the same number.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoRequest {
    /// List the addresses of this machine's interfaces; answered by [`IoEvent::Interfaces`].
    ListInterfaces {
        /// Whether the driver answers again, unasked, whenever the set changes.
        watch: bool,
    },
    /// Make a UDP socket on this address; answered by [`IoEvent::UdpBound`]. In one-port mode the driver answers with
    /// its shared socket, and with the address under which that socket is reached through this interface.
    BindUdp {
        /// The number that names the request in its answer.
        request: u32,
        /// The interface's address and the configured port, mostly 0.
        addr: SocketAddr,
        /// Whether no other agent may be given the same socket, in one-port mode neither: a TURN server tells its
        /// clients apart by their address alone.
        exclusive: bool,
    },
    /// Open a TCP connection, with TLS over it if asked for; answered by [`IoEvent::TcpConnected`] when both stand.
    ConnectTcp {
        /// The number that names the request in its answer.
        request: u32,
        /// The interface's address.
        from: IpAddr,
        /// The port, 0 for any. A simultaneous open (RFC 6544 §4.5) names the port on which the same agent listens, so
        /// the socket needs the options that allow sharing it.
        from_port: u16,
        /// The address and port of the other end.
        to: SocketAddr,
        /// How to split what comes in.
        framing: Framing,
        /// The name to verify the server's certificate against; `None` for plain TCP.
        tls: Option<String>,
    },
    /// Listen for TCP connections of passive and simultaneous-open candidates, framed as in RFC 4571; answered by
    /// [`IoEvent::TcpListening`], and then by an [`IoEvent::TcpAccepted`] with the same number for each connection.
    ListenTcp {
        /// The number that names the request in its answers.
        request: u32,
        /// The interface's address and the configured port, mostly 0.
        addr: SocketAddr,
    },
    /// Accept no more connections for this [`ListenTcp`](Self::ListenTcp).
    CloseListener {
        /// The number of the request to listen.
        request: u32,
    },
    /// Look up a name of a STUN or TURN server; answered by [`IoEvent::Resolved`].
    Resolve {
        /// The number that names the request in its answer.
        request: u32,
        /// The name of the server, as its URL has it.
        host: String,
        /// The port, for resolvers that want one.
        port: u16,
    },
    /// Look up a `.local` name by multicast DNS (RFC 6762); answered by [`IoEvent::Resolved`]. Never ask unicast DNS.
    ResolveMdns {
        /// The number that names the request in its answer.
        request: u32,
        /// The name, ending in `.local`.
        name: String,
    },
    /// Answer questions for this `.local` name by multicast DNS, until it is withdrawn; answered by
    /// [`IoEvent::MdnsPublished`].
    PublishMdns {
        /// The number that names the request in its answer.
        request: u32,
        /// The name, ending in `.local`.
        name: String,
        /// The address that it stands for.
        addr: IpAddr,
    },
    /// Answer no more questions for this name.
    WithdrawMdns {
        /// The name that was published.
        name: String,
    },
    /// Close this end, or, in one-port mode, forget that this agent used it.
    Close(Local),
}

impl IoRequest {
    /// The number under which an answer is awaited, if one is. A driver that does not serve a request answers it by
    /// [`IoEvent::Failed`] with this number, or the agent waits for ever.
    pub fn awaits(&self) -> Option<u32> {
        match *self {
            Self::BindUdp { request, .. }
            | Self::ConnectTcp { request, .. }
            | Self::ListenTcp { request, .. }
            | Self::Resolve { request, .. }
            | Self::ResolveMdns { request, .. }
            | Self::PublishMdns { request, .. } => Some(request),
            Self::ListInterfaces { .. } | Self::CloseListener { .. } | Self::WithdrawMdns { .. } | Self::Close(_) => {
                None
            }
        }
    }
}

/// The driver's answer to an [`IoRequest`].
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum IoEvent {
    /// The addresses of this machine's interfaces, best first: all of them, each time.
    Interfaces(Vec<IpAddr>),
    /// The socket is there.
    UdpBound {
        /// The number of the request that is answered.
        request: u32,
        /// The driver's name for the socket; datagrams come and go with it. Several agents, and several requests of one
        /// agent, may be given the same.
        local: Local,
        /// The address under which the socket is reached: never the unspecified address.
        addr: SocketAddr,
    },
    /// The connection stands.
    TcpConnected {
        /// The number of the request that is answered.
        request: u32,
        /// The driver's name for the connection, a `Local::Tcp`. A number that this agent has not seen before.
        local: Local,
        /// The address of our end.
        addr: SocketAddr,
    },
    /// The listener stands.
    TcpListening {
        /// The number of the request that is answered.
        request: u32,
        /// The address under which it is reached: never the unspecified address.
        addr: SocketAddr,
    },
    /// Somebody connected to a listener.
    TcpAccepted {
        /// The number of the request to listen.
        request: u32,
        /// The driver's name for the connection, a `Local::Tcp`.
        local: Local,
        /// The address of our end.
        addr: SocketAddr,
        /// The address of the other end.
        remote: SocketAddr,
    },
    /// The name is answered for.
    MdnsPublished {
        /// The number of the request that is answered.
        request: u32,
    },
    /// The name has these addresses; none means that it does not exist.
    Resolved {
        /// The number of the request that is answered.
        request: u32,
        /// The addresses of the name, in the order of the resolver.
        addrs: Vec<IpAddr>,
    },
    /// The request failed; also a listener that ends, and what the driver cannot do at all.
    Failed {
        /// The number of the request that is answered.
        request: u32,
        /// What went wrong, for people to read.
        reason: String,
    },
    /// A socket is gone, for instance with its interface, or a connection ended.
    Closed {
        /// The socket or connection.
        local: Local,
    },
}
