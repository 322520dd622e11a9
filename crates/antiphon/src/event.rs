//! What a peer connection reports to the application.

use crate::channel::DataChannel;

/// What happened, in order: the W3C events of `RTCPeerConnection` and of the objects below it. Of data channels
/// [`Event::DataChannel`](antiphon_peer_connection::Event::DataChannel) alone comes here; the rest is for their handles.
///
/// When nobody takes them in time, `Frame`, `Sound`, `Packet`, `Tone`, `KeyFrameRequested` and `TargetBitrate` are dropped oldest first; the others
/// only once 1024 of them wait, newest first and counted.
pub type Event = antiphon_peer_connection::Event<DataChannel>;
