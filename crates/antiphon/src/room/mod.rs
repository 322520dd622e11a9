//! Rooms, as programs for mediasoup 1.x know them: a [`Server`] with workers, [`Room`]s, [`Peer`]s, and for each peer an
//! [`RtcPeerConnection`] whose offers are always the server's.
//!
//! A program gives each participant a [`Peer`] and a connection, and carries three kinds of text between it and the client: the
//! client's capabilities (an offer that the client makes for this alone), our offers, the client's answers. The rest is done by the room:
//! every track that a client sends becomes an [`RtpReceiver`] of its peer, every other peer gets an [`RtpSender`] for it, and
//! [`RtcPeerConnectionEvent::NegotiationNeeded`] says when a client must hear of changes. Packets go from client to client within the
//! worker's driver ([`router`](crate::router)).
//!
//! ```no_run
//! use antiphon::RtcSessionDescription;
//! use antiphon::room::{
//!     Error, OfferOptions, Room, RoomOptions, RtcPeerConnection, RtcPeerConnectionEvent, RtcPeerConnectionOptions, Server,
//!     ServerOptions,
//! };
//!
//! # struct Signalling;
//! # enum Word { Capabilities(String), Answer(String), Gone }
//! # impl Signalling {
//! #     async fn next(&mut self) -> Word { Word::Gone }
//! #     async fn send(&mut self, _: String) {}
//! # }
//! /// One participant, with whatever carries texts to its client.
//! async fn participate(room: &Room, name: &str, mut signalling: Signalling) -> Result<(), Error> {
//!     let peer = room.peer(name).await?;
//!     let pc = RtcPeerConnection::new(RtcPeerConnectionOptions::new(&peer)).await?;
//!     let mut events = pc.events();
//!     loop {
//!         let due = tokio::select! {
//!             word = signalling.next() => match word {
//!                 Word::Capabilities(sdp) => {
//!                     pc.set_capabilities(sdp).await?;
//!                     true // the first offer is made without being asked for
//!                 }
//!                 Word::Answer(sdp) => {
//!                     if pc.set_remote_description(RtcSessionDescription::answer(sdp)).await.is_err() {
//!                         pc.reset().await?;
//!                     }
//!                     false
//!                 }
//!                 Word::Gone => break,
//!             },
//!             event = events.next() => match event {
//!                 Some(event) => event == RtcPeerConnectionEvent::NegotiationNeeded,
//!                 None => break,
//!             },
//!         };
//!         if due {
//!             let offer = match pc.create_offer(OfferOptions::default()).await {
//!                 Err(Error::Busy { .. } | Error::InvalidState { .. }) => continue, // one is under way already
//!                 made => made?,
//!             };
//!             pc.set_local_description(offer).await?;
//!             let offer = pc.local_description().await?.ok_or(Error::Closed("connection"))?;
//!             signalling.send(offer.serialize()).await; // {"type":"offer","sdp":"..."}
//!         }
//!     }
//!     peer.close().await;
//!     Ok(())
//! }
//!
//! # async fn run() -> Result<(), Error> {
//! let server = Server::new(ServerOptions::default()).await?;
//! let room = server.create_room(RoomOptions::browsers()).await?;
//! participate(&room, "alice", Signalling).await?;
//! # Ok(())
//! # }
//! ```
//!
//! # What a client sees
//! - A section that it may send on is `recvonly` in our offer; they come first. A page adds its tracks before it sets our first offer.
//! - A section with a track of somebody else is `sendonly`. Its stream is called `peer-` and [`Peer::id`], and behind that what the
//!   sender's client calls the stream: tracks of one camera are one stream, and streams of two peers never are.
//!   [`RtpSender::rtp_parameters`] has the mid, for programs that tell their pages more.
//! - The server is ICE-lite. Its candidates stand in each offer, and the client's candidates are not asked for.
//!
//! # Ends
//! Every handle can be cloned and dropped at will; what it stands for lives until it is closed. Closing a server closes its rooms, a room
//! its peers, a peer its connection and the senders to others; a client that ends its connection, or of which nothing is heard for
//! 30 seconds, closes its peer. The last handle of a [`Server`] closes it. Listeners hear of each end last.

mod cluster;
mod codecs;
mod dialect;
mod dump;
mod error;
mod events;
mod facts;
mod figures;
mod handles;
mod link;
mod log;
mod negotiation;
mod offer;
mod options;
mod state;
mod worker;

pub use antiphon_cluster::Error as ClusterError;
pub use antiphon_jsep::{Fingerprint, parameter_name};
#[cfg(feature = "nats")]
pub use cluster::NatsOptions;
pub use cluster::{ClusterBus, ClusterCounts, ClusterFigures, ClusterOptions, LocalBus};
pub use codecs::{MAX_MEDIA_CODECS, RoomMediaCodec, RoomMediaKind, RoomOptions};
pub use dump::{
    CrossingDump, PeerDump, PipeDump, ReceiverDump, RoomDump, SenderDump, ServerDump, TransportDump, WorkerDump,
};
pub use error::Error;
pub use events::Events;
pub use facts::{CloseReason, Delivery, RtpParameters, SenderDelivery};
pub use figures::{RoomFigures, ServerFigures, Work};
pub use handles::{
    AudioLevel, OfferOptions, Peer, PeerEvent, Room, RoomEvent, RtcPeerConnection, RtcPeerConnectionEvent,
    RtcPeerConnectionOptions, RtpReceiver, RtpReceiverEvent, RtpSender, RtpSenderEvent, Server, ServerEvent, Transport,
    TransportEvent,
};
pub use log::{LogLevel, LogTag};
pub use options::{MAX_WORKERS, RtcAddress, ServerOptions, ServerSettings, TransportOptions};

/// The longest name of a peer, in bytes.
pub const MAX_NAME: usize = 255;
/// The most peers in one room.
pub const MAX_PEERS: usize = 1024;
/// The most tracks that one peer sends to its room.
pub const MAX_RECEIVERS: usize = 16;
/// The most rooms of one server.
pub const MAX_ROOMS: usize = 16_384;
