//! What handles ask of the driver, and what its tasks tell it.

use std::net::SocketAddr;
use std::time::Instant;

use antiphon_data_channel::ChannelId;
use antiphon_ice::IoEvent;
use antiphon_jsep::TransceiverId;
use antiphon_media::{Frame, Packet};
use bytes::BytesMut;
use tokio::sync::oneshot;

use crate::Error;
use crate::hosted::Hosted;
use crate::router::PeerId;
use crate::tcp::Accepted;

/// What runs on a peer within the driver's task.
pub(crate) type Visit = Box<dyn FnOnce(&mut Hosted, Instant) + Send>;
/// Where the outcome of a call goes.
pub(crate) type Answer = oneshot::Sender<Result<(), Error>>;

/// What a handle asks of the driver. If the peer is gone it is dropped, and with it the sender of its answer.
pub(crate) enum Command {
    /// A new peer.
    Add(PeerId, Box<Hosted>),
    /// Something for one peer.
    Ask(PeerId, Ask),
}

/// What a handle asks of one peer. Calls that come for every packet or frame have names of their own, so that they
/// cost no boxed closure.
pub(crate) enum Ask {
    /// Send a frame.
    Frame(TransceiverId, Frame, Answer),
    /// Forward a packet. Without an answer nobody learns what became of it.
    Packet(TransceiverId, Packet, Option<Answer>),
    /// Run this.
    Visit(Visit),
}

impl Ask {
    pub(crate) fn run(self, peer: &mut Hosted, now: Instant) {
        match self {
            Self::Frame(transceiver, frame, answer) => {
                let sent = peer.core.send_frame(now, transceiver, frame);
                let _ = answer.send(sent.map_err(Error::from));
            }
            Self::Packet(transceiver, packet, answer) => {
                let sent = peer.core.send_rtp(now, transceiver, &packet);
                if let Some(answer) = answer {
                    let _ = answer.send(sent.map_err(Error::from));
                }
            }
            Self::Visit(visit) => visit(peer, now),
        }
    }
}

/// What handles say without waiting. Bounded by the handles themselves: a peer is dropped once, and a channel says nothing twice
/// before it was heard.
pub(crate) enum Word {
    /// The last handle of the peer is gone.
    Dropped(PeerId),
    /// Messages wait in the channel's mailbox.
    Outgoing(PeerId, ChannelId),
    /// The channel's mailbox has room again.
    Drained(PeerId, ChannelId),
    /// The channel is to be closed.
    Close(PeerId, ChannelId),
}

impl Word {
    pub(crate) fn peer(&self) -> PeerId {
        match self {
            Self::Dropped(peer) | Self::Outgoing(peer, _) | Self::Drained(peer, _) | Self::Close(peer, _) => *peer,
        }
    }

    pub(crate) fn run(self, peer: &mut Hosted, now: Instant) {
        match self {
            Self::Dropped(_) => peer.abandon(now),
            Self::Outgoing(_, channel) => peer.hand_over(now, channel),
            Self::Drained(_, channel) => _ = peer.pump(now, channel),
            Self::Close(_, channel) => peer.close_channel(now, channel),
        }
    }
}

/// What the driver's tasks tell it.
pub(crate) enum Arrival {
    /// The answer to a request of a peer.
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
    /// The machine's addresses may have changed.
    InterfacesChanged,
}
