//! What an application holds: each object of a server by a handle that can be cloned. The state is the room's task's.

mod connection;
mod peer;
mod room;
mod server;
mod transport;

pub use connection::{OfferOptions, RtcPeerConnection, RtcPeerConnectionEvent, RtcPeerConnectionOptions};
pub use peer::{Peer, PeerEvent, RtpReceiver, RtpReceiverEvent, RtpSender, RtpSenderEvent};
pub use room::{AudioLevel, Room, RoomEvent};
pub use server::{Server, ServerEvent};
pub use transport::{Transport, TransportEvent};
