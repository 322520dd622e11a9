//! All that is said to a driver: what handles ask, what they say in passing, and what the driver's tasks report.

use std::net::SocketAddr;
use std::time::Instant;

use antiphon_data_channel::{ChannelId, ChannelInfo};
use antiphon_ice::IoEvent;
use antiphon_media::{Frame, Packet};
use antiphon_peer_connection as core;
use antiphon_sfu::router::{ConsumerId, Event as RouterEvent, PeerKey, ProducerId};
use bytes::BytesMut;
use core::{EncodingId, RtcDataChannelInit};
use tokio::net::TcpStream;
use tokio::sync::{broadcast, oneshot};

use super::crossings::Crossings;
use super::latency::Latency;
use crate::error::Error;
use crate::mailbox::Queue;
use crate::net::tcp::Framer;
use crate::wire::Wire;

/// A peer's number within its driver.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct PeerId(pub(crate) u64);

/// A router's number within its driver.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct RouterId(pub(crate) u64);

/// Where the outcome of a request goes. If the peer is gone it is dropped with the request.
pub(crate) type Answer<T> = oneshot::Sender<Result<T, Error>>;
/// What runs on a peer's machine within the driver's task.
pub(crate) type Call = Box<dyn FnOnce(&mut core::PeerConnection, Instant) + Send>;

/// What a handle asks of its peer. What comes for every packet or frame has a name of its own, so that it costs no boxed closure.
pub(crate) enum Request {
    /// Send a frame.
    SendFrame(EncodingId, Frame, Answer<()>),
    /// Forward a packet. Without an answer nobody learns what became of it.
    SendPacket(EncodingId, Packet, Option<Answer<()>>),
    /// Make a data channel whose messages pass through this queue.
    CreateDataChannel {
        label: String,
        init: RtcDataChannelInit,
        queue: Queue,
        answer: Answer<(ChannelId, ChannelInfo)>,
    },
    /// Let datagrams go through this, or past it.
    SetWire(Option<Box<dyn Wire>>, Answer<()>),
    /// Close the connection.
    Close,
    /// Run this on the peer's machine.
    Call(Call),
}

/// What runs on a router within the driver's task.
pub(crate) type RouterCall = Box<dyn FnOnce(&mut dyn Hosting, Instant) + Send>;

/// A router and the peers of its driver, as calls of its handles find them.
pub(crate) trait Hosting {
    /// The router itself.
    fn router(&mut self) -> &mut antiphon_sfu::Router;

    /// How long its packets were on their way.
    fn latency(&self) -> Latency;

    /// Where packets of it go in or come out that no peer sends or gets.
    fn crossings(&mut self) -> &mut Crossings;

    /// A peer takes part in the router from now on. Its name there, and its machine.
    fn join(&mut self, now: Instant, peer: PeerId) -> Result<(PeerKey, &mut core::PeerConnection), Error>;
}

/// A router that was made, and who hears of it.
pub(crate) struct Hosted {
    pub(crate) id: RouterId,
    pub(crate) router: antiphon_sfu::Router,
    pub(crate) events: broadcast::Sender<RouterEvent>,
    /// Packets that went on in this turn.
    pub(crate) moved: u64,
    pub(crate) latency: Latency,
    pub(crate) crossings: Crossings,
}

/// What handles of routers say, and routers of other drivers, in their order. There are as many of the first two as there are routers, and of
/// the last two as there are crossings: each is told once until its router looks.
pub(crate) enum RouterMessage {
    /// A router was made.
    New(Box<Hosted>),
    /// Its last handle is gone.
    Gone(RouterId),
    /// Run this on a router.
    Call(RouterId, RouterCall),
    /// Something has come for a producer without a peer.
    Came(RouterId, ProducerId),
    /// Key frames are asked for of a consumer without a peer.
    Asked(RouterId, ConsumerId),
}

/// What handles say without waiting. Bounded by the handles themselves: a peer is dropped once, and a channel says nothing twice
/// before it was heard.
pub(crate) enum Notice {
    /// The last handle of the peer is gone.
    Dropped(PeerId),
    /// Messages wait in the channel's mailbox.
    Outgoing(PeerId, ChannelId),
    /// The channel's mailbox has room again.
    Drained(PeerId, ChannelId),
    /// The channel is to be closed.
    Close(PeerId, ChannelId),
}

impl Notice {
    pub(crate) fn peer(&self) -> PeerId {
        match self {
            Self::Dropped(peer) | Self::Outgoing(peer, _) | Self::Drained(peer, _) | Self::Close(peer, _) => *peer,
        }
    }
}

/// What the driver's tasks tell it.
pub(crate) enum Report {
    /// The answer to a request of a peer's machine.
    Io(PeerId, IoEvent),
    /// A connection stands.
    Connected {
        id: u32,
        /// Our end's address.
        addr: SocketAddr,
    },
    /// A connection could not be opened.
    ConnectFailed { id: u32, reason: String },
    /// Somebody connected, and asks for one of the peers.
    Accepted { listener: u32, accepted: Box<Accepted> },
    /// A whole message of a connection.
    Message { id: u32, data: BytesMut },
    /// A connection has ended.
    Ended { id: u32 },
}

/// An accepted connection that has asked for somebody.
pub(crate) struct Accepted {
    pub(crate) stream: TcpStream,
    pub(crate) remote: SocketAddr,
    /// Holds what came after the first message.
    pub(crate) framer: Framer,
    /// A Binding request.
    pub(crate) first: BytesMut,
}
