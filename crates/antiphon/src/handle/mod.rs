//! The async handles of a peer connection. Each method runs on the sans-I/O machine within the driver's task.

mod frames;
mod media;

use std::future::poll_fn;
use std::sync::Arc;
use std::time::Instant;

use antiphon_peer_connection as core;
use core::stats::RtcStatsReport;
use core::{
    RtcDataChannelInit, RtcDtlsTransportState, RtcIceCandidateInit, RtcIceConnectionState, RtcIceGatheringState,
    RtcOfferOptions, RtcPeerConnectionState, RtcSctpTransportState, RtcSessionDescription, RtcSignalingState,
};
use tokio::sync::oneshot;

use crate::channel::DataChannel;
use crate::driver::inbox::ToDriver;
use crate::driver::message::{Answer, Request};
use crate::error::Error;
use crate::event::Event;
use crate::events::EventReceiver;
use crate::mailbox::Queue;
use crate::wire::Wire;

/// A cloneable handle of a peer connection: every method of W3C `RTCPeerConnection` but the event stream.
#[derive(Clone)]
pub struct PeerHandle {
    driver: Arc<ToDriver>,
}

impl std::fmt::Debug for PeerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerHandle").field("id", &self.driver.peer.0).finish()
    }
}

impl PeerHandle {
    pub(crate) fn new(driver: Arc<ToDriver>) -> Self {
        Self { driver }
    }

    /// The way to its driver.
    pub(crate) fn driver(&self) -> &ToDriver {
        &self.driver
    }

    /// Asks something of the peer; nothing happens if the peer is gone.
    async fn request(&self, request: Request) {
        self.driver.inbox.ask(self.driver.peer, request).await;
    }

    /// Asks something of the peer and waits for what became of it.
    async fn ask<T>(&self, request: impl FnOnce(Answer<T>) -> Request) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.request(request(answer)).await;
        answered.await.map_err(|_| Error::Closed)?
    }

    /// Runs `visit` on the sans-I/O machine and returns what it returns.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        visit: impl FnOnce(&mut core::PeerConnection, Instant) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let call = Box::new(move |pc: &mut core::PeerConnection, now| _ = answer.send(visit(pc, now)));
        self.request(Request::Call(call)).await;
        answered.await.map_err(|_| Error::Closed)
    }
}

impl PeerHandle {
    /// `createOffer`.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn create_offer(&self, options: RtcOfferOptions) -> Result<RtcSessionDescription, Error> {
        Ok(self.call(move |pc, _| pc.create_offer(options)).await??)
    }

    /// `createAnswer`.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn create_answer(&self) -> Result<RtcSessionDescription, Error> {
        Ok(self.call(|pc, _| pc.create_answer()).await??)
    }

    /// `setLocalDescription`; `None` makes the offer or answer that the state calls for.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn set_local_description(&self, description: Option<RtcSessionDescription>) -> Result<(), Error> {
        Ok(self
            .call(move |pc, now| pc.set_local_description(now, description))
            .await??)
    }

    /// `setRemoteDescription`. Candidates that came before it are applied with it.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn set_remote_description(&self, description: RtcSessionDescription) -> Result<(), Error> {
        Ok(self
            .call(move |pc, now| pc.set_remote_description(now, description))
            .await??)
    }

    /// `addIceCandidate`; `None`, or an empty candidate, means that no more will come.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn add_ice_candidate(&self, candidate: Option<RtcIceCandidateInit>) -> Result<(), Error> {
        Ok(self.call(move |pc, now| pc.add_ice_candidate(now, candidate)).await??)
    }

    /// `localDescription`, with the candidates gathered so far.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn local_description(&self) -> Result<Option<RtcSessionDescription>, Error> {
        self.call(|pc, _| pc.local_description()).await
    }

    /// `remoteDescription`.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn remote_description(&self) -> Result<Option<RtcSessionDescription>, Error> {
        self.call(|pc, _| pc.remote_description()).await
    }

    /// `currentLocalDescription`: as agreed last, with the candidates gathered so far.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn current_local_description(&self) -> Result<Option<RtcSessionDescription>, Error> {
        self.call(|pc, _| pc.current_local_description()).await
    }

    /// `pendingLocalDescription`: not agreed yet, with the candidates gathered so far.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn pending_local_description(&self) -> Result<Option<RtcSessionDescription>, Error> {
        self.call(|pc, _| pc.pending_local_description()).await
    }

    /// `currentRemoteDescription`: as agreed last.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn current_remote_description(&self) -> Result<Option<RtcSessionDescription>, Error> {
        self.call(|pc, _| pc.current_remote_description()).await
    }

    /// `pendingRemoteDescription`: not agreed yet.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn pending_remote_description(&self) -> Result<Option<RtcSessionDescription>, Error> {
        self.call(|pc, _| pc.pending_remote_description()).await
    }

    /// `canTrickleIceCandidates`: whether the peer takes candidates later than its description; `None` before there is one.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn can_trickle_ice_candidates(&self) -> Result<Option<bool>, Error> {
        self.call(|pc, _| pc.can_trickle_ice_candidates()).await
    }

    /// `signalingState`.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn signaling_state(&self) -> Result<RtcSignalingState, Error> {
        self.call(|pc, _| pc.signaling_state()).await
    }

    /// `iceGatheringState`.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn ice_gathering_state(&self) -> Result<RtcIceGatheringState, Error> {
        self.call(|pc, _| pc.ice_gathering_state()).await
    }

    /// `iceConnectionState`.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn ice_connection_state(&self) -> Result<RtcIceConnectionState, Error> {
        self.call(|pc, _| pc.ice_connection_state()).await
    }

    /// `connectionState`.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn connection_state(&self) -> Result<RtcPeerConnectionState, Error> {
        self.call(|pc, _| pc.connection_state()).await
    }

    /// `RTCDtlsTransport.state`.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn dtls_state(&self) -> Result<RtcDtlsTransportState, Error> {
        self.call(|pc, _| pc.dtls_state()).await
    }

    /// `rtpHeaderEncryptionNegotiated`: whether RTP header extensions and CSRCs are sent encrypted.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn rtp_header_encryption_negotiated(&self) -> Result<bool, Error> {
        self.call(|pc, _| pc.rtp_header_encryption_negotiated()).await
    }

    /// `RTCSctpTransport.state`; `None` before data channels are negotiated.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn sctp_state(&self) -> Result<Option<RtcSctpTransportState>, Error> {
        self.call(|pc, _| pc.sctp_state()).await
    }

    /// `restartIce`.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn restart_ice(&self) -> Result<(), Error> {
        self.call(|pc, _| pc.restart_ice()).await
    }

    /// `getStats`.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn get_stats(&self) -> Result<RtcStatsReport, Error> {
        self.call(|pc, now| pc.get_stats(now)).await
    }

    /// `createDataChannel`.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn create_data_channel(&self, label: &str, init: RtcDataChannelInit) -> Result<DataChannel, Error> {
        let (queue, receiver) = Queue::new();
        let label = label.to_owned();
        let (id, info) = self
            .ask(|answer| Request::CreateDataChannel {
                label,
                init,
                queue,
                answer,
            })
            .await?;
        Ok(DataChannel::new(self.driver.clone(), id, info, receiver))
    }

    /// Lets all UDP datagrams of this peer go through `wire` from now on, both ways, or past it again: an emulated link, for tests and for
    /// teaching. TCP goes past it. What is on a wire that is taken away is lost.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn set_wire(&self, wire: Option<Box<dyn Wire>>) -> Result<(), Error> {
        self.ask(|answer| Request::SetWire(wire, answer)).await
    }

    /// `close`. Returns at once; what is left to say to the peer is still said.
    pub async fn close(&self) {
        self.request(Request::Close).await;
    }

    /// Runs `visit` on the sans-I/O machine, for what this handle has no method for.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn with<T: Send + 'static>(
        &self,
        visit: impl FnOnce(&mut core::PeerConnection, Instant) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.call(visit).await
    }
}

/// A peer connection (W3C `RTCPeerConnection`): the handle and the stream of its events.
///
/// It derefs to [`PeerHandle`], which can be cloned and moved to other tasks. Dropping the last handle closes the peer.
#[derive(Debug)]
pub struct PeerConnection {
    handle: PeerHandle,
    events: EventReceiver,
}

impl std::ops::Deref for PeerConnection {
    type Target = PeerHandle;

    fn deref(&self) -> &PeerHandle {
        &self.handle
    }
}

impl PeerConnection {
    pub(crate) fn new(handle: PeerHandle, events: EventReceiver) -> Self {
        Self { handle, events }
    }

    /// A handle to be moved elsewhere.
    pub fn handle(&self) -> PeerHandle {
        self.handle.clone()
    }

    /// The next event; `None` once the connection is closed and everything has been told.
    ///
    /// Media that is not taken in time is dropped, oldest first: see [`Self::media_dropped`]. Of the other events 1024 wait; only
    /// an application that leaves so many behind loses newer ones: see [`Self::events_dropped`].
    /// Cancel safe.
    pub async fn next_event(&mut self) -> Option<Event> {
        poll_fn(|cx| self.events.poll_next(cx)).await
    }

    /// Events other than media that were dropped because 1024 waited.
    pub fn events_dropped(&self) -> u64 {
        self.events.events_dropped()
    }

    /// Frames, packets and hints that were dropped because nobody took them in time.
    pub fn media_dropped(&self) -> u64 {
        self.events.media_dropped()
    }
}
