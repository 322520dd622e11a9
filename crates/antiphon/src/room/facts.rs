//! What does not change of the objects of a room, and who listens to each. Handles and the room's task share it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use antiphon_cluster::PeerId;
use antiphon_jsep::{Codec, Extension, MediaKind};
use antiphon_peer_connection::{
    MediaCapabilities, Packet, RtcDtlsTransportState, RtcIceConnectionState, RtcSignalingState,
};

use super::events::{Listeners, News};
use crate::router::{Layer, Scores};

/// Why a connection was closed, other than by the application's wish.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum CloseReason {
    /// The client has ended it.
    ByPeer,
    /// Nothing was heard of the client for 30 seconds.
    Silence,
    /// The application said so: `close` was given this text.
    Application(String),
}

impl std::fmt::Display for CloseReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::ByPeer => f.write_str("the client has ended the connection"),
            Self::Silence => f.write_str("nothing was heard of the client for 30 seconds"),
            Self::Application(text) => f.write_str(text),
        }
    }
}

/// How a stream is received or sent, as it was negotiated.
#[derive(Clone, Debug, PartialEq, Default)]
pub struct RtpParameters {
    /// The `a=mid` of its section, once it has one.
    pub mid: Option<String>,
    /// The codecs, the one to use first.
    pub codecs: Vec<Codec>,
    /// The header extensions on the wire.
    pub header_extensions: Vec<Extension>,
    /// The SSRCs that were announced. None: the streams are known by their mid and RIDs.
    pub ssrcs: Vec<u32>,
    /// The RIDs of the simulcast layers, if there are several.
    pub rids: Vec<String>,
    /// The id of the track, as its sender names it.
    pub track: Option<String>,
    /// The ids of the streams that the track belongs to, as its sender names them.
    pub streams: Vec<String>,
}

/// How well a track goes to a peer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Delivery {
    /// The layer that goes on to it; `None` while none does, and of sound.
    pub layer: Option<Layer>,
    /// How well packets arrive, by the client's reports: 0 to 10; `None` before it has reported twice.
    pub score: Option<u8>,
}

/// How one of the tracks does that a peer gets, as [`Peer::deliveries`](super::Peer::deliveries) tells of all at once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SenderDelivery {
    /// The number of the sender.
    pub sender: u64,
    /// Whether it is sound or pictures.
    pub kind: MediaKind,
    /// Its section in the peer's descriptions.
    pub mid: Option<String>,
    /// Which layer goes on, and how well it arrives at the client.
    pub delivery: Delivery,
    /// How well each encoding of its receiver arrives here, from the smallest picture: 0, it has stopped, to 10; `None` before that is known.
    pub encodings: Scores,
    /// Whether nothing of it goes on because the connection does not carry it beside what is more important.
    pub is_starved: bool,
}

/// Gives each object of a server a number that no other has.
#[derive(Clone, Debug, Default)]
pub(super) struct Ids(Arc<AtomicU64>);

impl Ids {
    pub(super) fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::Relaxed) + 1
    }
}

/// What happens in a room.
#[derive(Clone, Debug)]
pub(super) enum RoomNews {
    NewPeer(Arc<PeerFacts>),
    Close,
}

/// What is heard in a room, loudest first.
#[derive(Clone, Debug)]
pub(super) enum Heard {
    Levels(Arc<[(Arc<ReceiverFacts>, i8)]>),
    Close,
}

/// Who leads the talk of a room.
#[derive(Clone, Debug)]
pub(super) enum Leading {
    Speaker(Option<Arc<ReceiverFacts>>),
    Close,
}

/// What happens to a peer.
#[derive(Clone, Debug)]
pub(super) enum PeerNews {
    Capabilities(Arc<MediaCapabilities>),
    NewTransport(Arc<TransportFacts>),
    NewReceiver(Arc<ReceiverFacts>),
    NewSender(Arc<SenderFacts>),
    Details(Arc<str>),
    Said(Arc<str>),
    Close,
}

/// What happens to a connection.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum ConnectionNews {
    Signaling(RtcSignalingState),
    NegotiationNeeded,
    Close(Option<CloseReason>),
}

/// What happens to a transport.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum TransportNews {
    Ice(RtcIceConnectionState),
    Dtls(RtcDtlsTransportState),
    Tuple(String, String),
    Close,
}

/// What happens to a receiver.
#[derive(Clone, Debug)]
pub(super) enum ReceiverNews {
    Parameters(Arc<RtpParameters>),
    Close,
}

/// What a receiver receives.
#[derive(Clone, Debug)]
pub(super) enum Received {
    Packet(Packet),
    Close,
}

/// What happens to a sender.
#[derive(Clone, Debug)]
pub(super) enum SenderNews {
    Parameters(Arc<RtpParameters>),
    Active(bool),
    Close,
}

macro_rules! ends_with_close {
    ($($news:ident,)*) => {
        $(impl News for $news {
            const END: Self = Self::Close;

            fn is_end(&self) -> bool {
                matches!(self, Self::Close)
            }
        })*
    };
}

ends_with_close! { RoomNews, Heard, Leading, PeerNews, TransportNews, ReceiverNews, Received, SenderNews, }

impl News for ConnectionNews {
    const END: Self = Self::Close(None);

    fn is_end(&self) -> bool {
        matches!(self, Self::Close(_))
    }
}

/// A room.
#[derive(Debug)]
pub(super) struct RoomFacts {
    pub(super) id: u64,
    pub(super) worker: usize,
    pub(super) capabilities: Arc<MediaCapabilities>,
    pub(super) news: Listeners<RoomNews>,
    pub(super) heard: Listeners<Heard>,
    pub(super) leading: Listeners<Leading>,
}

impl RoomFacts {
    /// Tells the end.
    pub(super) fn end(&self) {
        self.heard.tell(Heard::Close);
        self.leading.tell(Leading::Close);
        self.news.tell(RoomNews::Close);
    }
}

/// A peer.
#[derive(Debug)]
pub(super) struct PeerFacts {
    pub(super) id: u64,
    pub(super) name: Arc<str>,
    /// Who it is in the cluster, if it is of another node.
    pub(super) remote: Option<PeerId>,
    pub(super) details: Details,
    pub(super) news: Listeners<PeerNews>,
}

/// What the application says of a peer, which it may change.
#[derive(Debug)]
pub(super) struct Details(Mutex<Arc<str>>);

impl Details {
    pub(super) fn new(text: &str) -> Self {
        Self(Mutex::new(text.into()))
    }

    pub(super) fn get(&self) -> Arc<str> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    pub(super) fn set(&self, text: Arc<str>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = text;
    }
}

/// A peer's connection.
#[derive(Debug)]
pub(super) struct ConnectionFacts {
    pub(super) news: Listeners<ConnectionNews>,
}

/// A connection's transport.
#[derive(Debug)]
pub(super) struct TransportFacts {
    pub(super) id: u64,
    pub(super) peer: Arc<PeerFacts>,
    pub(super) news: Listeners<TransportNews>,
}

/// What a peer sends to the room.
#[derive(Debug)]
pub(super) struct ReceiverFacts {
    pub(super) id: u64,
    pub(super) kind: MediaKind,
    pub(super) peer: Arc<PeerFacts>,
    pub(super) news: Listeners<ReceiverNews>,
    pub(super) packets: Listeners<Received>,
}

/// What the room sends to a peer.
#[derive(Debug)]
pub(super) struct SenderFacts {
    pub(super) id: u64,
    pub(super) peer: Arc<PeerFacts>,
    pub(super) receiver: Arc<ReceiverFacts>,
    pub(super) news: Listeners<SenderNews>,
}
