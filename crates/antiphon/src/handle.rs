//! The async handles of a peer connection. Each method runs on the sans-I/O machine within the driver's task.

use std::future::poll_fn;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_peer_connection as core;
use core::stats::RtcStatsReport;
use core::{
    Direction, EncodingId, Frame, MediaKind, MediaStreamTrack, Output, Packet, RtcDataChannelInit,
    RtcDtlsTransportState, RtcIceCandidateInit, RtcIceConnectionState, RtcIceGatheringState, RtcOfferOptions,
    RtcPeerConnectionState, RtcRtpTransceiverInit, RtcSctpTransportState, RtcSessionDescription, RtcSignalingState,
    Transceiver, TransceiverId,
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

    /// `addTransceiver`.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn add_transceiver(&self, kind: MediaKind, init: RtcRtpTransceiverInit) -> Result<TransceiverId, Error> {
        Ok(self.call(move |pc, _| pc.add_transceiver(kind, init)).await??)
    }

    /// `addTrack`.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn add_track(&self, track: MediaStreamTrack) -> Result<TransceiverId, Error> {
        Ok(self.call(move |pc, _| pc.add_track(track)).await??)
    }

    /// `removeTrack`.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn remove_track(&self, transceiver: TransceiverId) -> Result<(), Error> {
        Ok(self.call(move |pc, _| pc.remove_track(transceiver)).await??)
    }

    /// `getTransceivers`.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn transceivers(&self) -> Result<Vec<Transceiver>, Error> {
        self.call(|pc, _| pc.transceivers().cloned().collect()).await
    }

    /// Sets `RTCRtpTransceiver.direction`.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn set_direction(&self, transceiver: TransceiverId, direction: Direction) -> Result<(), Error> {
        Ok(self
            .call(move |pc, _| pc.set_direction(transceiver, direction))
            .await??)
    }

    /// `RTCRtpSender.setStreams`: the streams that what we send belongs to, by id.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn set_streams(&self, transceiver: TransceiverId, streams: Vec<String>) -> Result<(), Error> {
        Ok(self.call(move |pc, _| pc.set_streams(transceiver, streams)).await??)
    }

    /// `RTCRtpTransceiver.setCodecPreferences`, by name, best first.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn set_codec_preferences(&self, transceiver: TransceiverId, names: Vec<String>) -> Result<(), Error> {
        Ok(self
            .call(move |pc, _| pc.set_codec_preferences(transceiver, names))
            .await??)
    }

    /// `RTCRtpTransceiver.stop`.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn stop_transceiver(&self, transceiver: TransceiverId) -> Result<(), Error> {
        Ok(self.call(move |pc, _| pc.stop_transceiver(transceiver)).await??)
    }

    /// Whether a receiver hands out media when it is to be played, whole frames or packets.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn set_receive_output(&self, transceiver: TransceiverId, output: Output) -> Result<(), Error> {
        Ok(self
            .call(move |pc, _| pc.set_receive_output(transceiver, output))
            .await??)
    }

    /// `RTCRtpReceiver.jitterBufferTarget`: the delay that is wanted at least where media is played, up to four seconds.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn set_jitter_buffer_target(
        &self,
        transceiver: TransceiverId,
        target: Option<Duration>,
    ) -> Result<(), Error> {
        Ok(self
            .call(move |pc, _| pc.set_jitter_buffer_target(transceiver, target))
            .await??)
    }

    /// The payload type negotiated for a codec's name, for [`Self::send_frame`].
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn payload_type(&self, transceiver: TransceiverId, codec: &str) -> Result<Option<u8>, Error> {
        let codec = codec.to_owned();
        self.call(move |pc, _| pc.payload_type(transceiver, &codec)).await
    }

    /// Sends one encoded frame: a picture of video, or a packet's worth of audio. Where a transceiver has several encodings, `id` says
    /// which it is a frame of; a transceiver alone stands for the first that the peer takes.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn send_frame(&self, id: impl Into<EncodingId>, frame: Frame) -> Result<(), Error> {
        let id = id.into();
        self.ask(|answer| Request::SendFrame(id, frame, answer)).await
    }

    /// Forwards a packet of another connection's receiver.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn send_rtp(&self, id: impl Into<EncodingId>, packet: Packet) -> Result<(), Error> {
        let id = id.into();
        self.ask(|answer| Request::SendPacket(id, packet, Some(answer))).await
    }

    /// Forwards a packet of another connection's receiver without waiting for anything, as a forwarding unit does for each of
    /// many viewers. Returns whether it was taken: it is not while the connection's queue of 1024 calls is full (16 384 for all on
    /// one port), nor once the connection is gone. What the connection itself drops shows in its statistics.
    pub fn forward_rtp(&self, id: impl Into<EncodingId>, packet: Packet) -> bool {
        let request = Request::SendPacket(id.into(), packet, None);
        self.driver.inbox.try_ask(self.driver.peer, request)
    }

    /// Asks the peer for a key frame.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn request_key_frame(&self, transceiver: TransceiverId) -> Result<(), Error> {
        Ok(self.call(move |pc, _| pc.request_key_frame(transceiver)).await??)
    }

    /// Asks the peer for a key frame of one incoming source, as its packets name it: of one encoding, where there are several.
    ///
    /// # Errors
    /// As [`Self::request_key_frame`].
    pub async fn request_key_frame_of(&self, transceiver: TransceiverId, ssrc: u32) -> Result<(), Error> {
        Ok(self
            .call(move |pc, _| pc.request_key_frame_of(transceiver, ssrc))
            .await??)
    }

    /// `RTCDTMFSender.insertDTMF`: plays keys of a telephone beside the sound, each for `duration` with a silence of `gap`
    /// behind it; [`core::PeerConnection::insert_dtmf`] says which. [`Event::ToneChange`](core::Event::ToneChange) tells each.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn insert_dtmf(
        &self,
        transceiver: TransceiverId,
        tones: &str,
        duration: Duration,
        gap: Duration,
    ) -> Result<(), Error> {
        let tones = tones.to_owned();
        Ok(self
            .call(move |pc, now| pc.insert_dtmf(now, transceiver, &tones, duration, gap))
            .await??)
    }

    /// `RTCDTMFSender.canInsertDTMF`: whether the transceiver sends sound to a peer that takes telephone events.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn can_insert_dtmf(&self, transceiver: TransceiverId) -> Result<bool, Error> {
        self.call(move |pc, _| pc.can_insert_dtmf(transceiver)).await
    }

    /// `RTCDTMFSender.toneBuffer`: the keys that are still to be played.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn tone_buffer(&self, transceiver: TransceiverId) -> Result<String, Error> {
        self.call(move |pc, _| pc.tone_buffer(transceiver).to_owned()).await
    }

    /// What an encoding may send, in bits a second, once there is an estimate: its share of it. 0: there is too little for it.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone.
    pub async fn target_bitrate(&self, id: impl Into<EncodingId>) -> Result<Option<u64>, Error> {
        let id = id.into();
        self.call(move |pc, _| pc.target_bitrate(id)).await
    }

    /// The streams that a transceiver sends, and for each what its encoder has to know: whether it is wanted, how large, how fast, with
    /// which codec. Look again after an exchange, after [`Self::set_parameters`], and when an event speaks of one of them.
    ///
    /// Three encodings of one camera, each with an encoder of its own:
    ///
    /// ```
    /// use std::collections::HashMap;
    /// use antiphon::{
    ///     Direction, EncodingId, Error, Event, Frame, MediaKind, OutgoingEncoding, PeerConnection, RtcRtpEncodingParameters,
    ///     RtcRtpTransceiverInit,
    /// };
    ///
    /// /// Whatever encodes pictures.
    /// struct Encoder { bitrate: u64, wants_key_frame: bool }
    /// # struct Picture { timestamp: u32 }
    /// impl Encoder {
    ///     fn new(encoding: &OutgoingEncoding) -> Self {
    ///         // `scale_resolution_down_by` is 4, 2 and 1: a quarter, a half and all of each side.
    ///         Self { bitrate: encoding.target_bitrate.unwrap_or(300_000), wants_key_frame: true }
    ///     }
    ///     fn encode(&mut self, picture: &Picture) -> Vec<u8> {
    ///         # _ = (self.bitrate, std::mem::take(&mut self.wants_key_frame), picture);
    ///         vec![0; 1000]
    ///     }
    /// }
    ///
    /// # async fn next_picture() -> Picture { Picture { timestamp: 0 } }
    /// # async fn signal(pc: &PeerConnection) {}
    /// async fn send(mut pc: PeerConnection) -> Result<(), Error> {
    ///     let init = RtcRtpTransceiverInit {
    ///         send_encodings: ["q", "h", "f"].map(RtcRtpEncodingParameters::layer).into(),
    ///         ..RtcRtpTransceiverInit::new(Direction::SendOnly)
    ///     };
    ///     let video = pc.add_transceiver(MediaKind::Video, init).await?;
    ///     signal(&pc).await; // offer and answer
    ///     let mut encoders: HashMap<EncodingId, Encoder> = HashMap::new();
    ///     loop {
    ///         tokio::select! {
    ///             event = pc.next_event() => match event {
    ///                 Some(Event::KeyFrameRequested(id)) => {
    ///                     encoders.entry(id).and_modify(|own| own.wants_key_frame = true);
    ///                 }
    ///                 Some(Event::TargetBitrate { encoding, bps }) => {
    ///                     encoders.entry(encoding).and_modify(|own| own.bitrate = bps);
    ///                 }
    ///                 Some(_) => {}
    ///                 None => return Ok(()),
    ///             },
    ///             picture = next_picture() => for encoding in pc.encodings(video).await? {
    ///                 // Not taken by the peer, inactive, or too little bandwidth: nothing is made for nobody.
    ///                 if let (true, Some(codec)) = (encoding.is_wanted(), &encoding.codec) {
    ///                     let encoder = encoders.entry(encoding.id).or_insert_with(|| Encoder::new(&encoding));
    ///                     let frame = Frame::new(codec.payload_type, picture.timestamp, encoder.encode(&picture));
    ///                     pc.send_frame(encoding.id, frame).await?;
    ///                 } else {
    ///                     encoders.remove(&encoding.id); // when it is wanted again, it begins with a key frame
    ///                 }
    ///             },
    ///         }
    ///     }
    /// }
    /// ```
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn encodings(&self, transceiver: TransceiverId) -> Result<Vec<core::OutgoingEncoding>, Error> {
        Ok(self.call(move |pc, _| pc.encodings(transceiver)).await??)
    }

    /// `RTCRtpSender.replaceTrack`: the transceiver sends another track from now on, or with `None` nothing, without an exchange.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn replace_track(
        &self,
        transceiver: TransceiverId,
        track: Option<MediaStreamTrack>,
    ) -> Result<(), Error> {
        Ok(self
            .call(move |pc, now| pc.replace_track(now, transceiver, track))
            .await??)
    }

    /// `RTCRtpSender.getParameters`: how a transceiver sends, for [`Self::set_parameters`].
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn get_parameters(&self, transceiver: TransceiverId) -> Result<core::RtcRtpSendParameters, Error> {
        Ok(self.call(move |pc, _| pc.get_parameters(transceiver)).await??)
    }

    /// `RTCRtpSender.setParameters`: what the encodings say, from now on and without an exchange.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn set_parameters(
        &self,
        transceiver: TransceiverId,
        parameters: core::RtcRtpSendParameters,
    ) -> Result<(), Error> {
        Ok(self
            .call(move |pc, now| pc.set_parameters(now, transceiver, parameters))
            .await??)
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
