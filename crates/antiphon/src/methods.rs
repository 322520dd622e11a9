//! The methods of W3C `RTCPeerConnection` on a [`PeerHandle`]: each runs on the machine within the driver's task.

use antiphon_peer_connection as core;
use core::stats::RtcStatsReport;
use core::{
    Direction, Frame, MediaKind, MediaStreamTrack, Output, Packet, RtcDataChannelInit, RtcIceCandidateInit,
    RtcIceConnectionState, RtcIceGatheringState, RtcOfferOptions, RtcPeerConnectionState, RtcRtpTransceiverInit,
    RtcSessionDescription, RtcSignalingState, Transceiver, TransceiverId,
};

use tokio::sync::oneshot;

use crate::Error;
use crate::channel::DataChannel;
use crate::driver::Ask;
use crate::handle::PeerHandle;

/// Every method fails with [`Error::Closed`] once the connection is closed and gone, and otherwise with [`Error::Peer`] as the
/// machine's method of that name says.
#[allow(clippy::missing_errors_doc)] // said once, above
impl PeerHandle {
    /// `createOffer`.
    pub async fn create_offer(&self, options: RtcOfferOptions) -> Result<RtcSessionDescription, Error> {
        Ok(self.call(move |pc, _| pc.create_offer(options)).await??)
    }

    /// `createAnswer`.
    pub async fn create_answer(&self) -> Result<RtcSessionDescription, Error> {
        Ok(self.call(|pc, _| pc.create_answer()).await??)
    }

    /// `setLocalDescription`; `None` makes the offer or answer that the state calls for.
    pub async fn set_local_description(&self, description: Option<RtcSessionDescription>) -> Result<(), Error> {
        Ok(self
            .call(move |pc, now| pc.set_local_description(now, description))
            .await??)
    }

    /// `setRemoteDescription`. Candidates that came before it are applied with it.
    pub async fn set_remote_description(&self, description: RtcSessionDescription) -> Result<(), Error> {
        Ok(self
            .call(move |pc, now| pc.set_remote_description(now, description))
            .await??)
    }

    /// `addIceCandidate`; `None`, or an empty candidate, means that no more will come.
    pub async fn add_ice_candidate(&self, candidate: Option<RtcIceCandidateInit>) -> Result<(), Error> {
        Ok(self.call(move |pc, now| pc.add_ice_candidate(now, candidate)).await??)
    }

    /// `localDescription`, with the candidates gathered so far.
    pub async fn local_description(&self) -> Result<Option<RtcSessionDescription>, Error> {
        self.call(|pc, _| pc.local_description()).await
    }

    /// `remoteDescription`.
    pub async fn remote_description(&self) -> Result<Option<RtcSessionDescription>, Error> {
        self.call(|pc, _| pc.remote_description()).await
    }

    /// `signalingState`.
    pub async fn signaling_state(&self) -> Result<RtcSignalingState, Error> {
        self.call(|pc, _| pc.signaling_state()).await
    }

    /// `iceGatheringState`.
    pub async fn ice_gathering_state(&self) -> Result<RtcIceGatheringState, Error> {
        self.call(|pc, _| pc.ice_gathering_state()).await
    }

    /// `iceConnectionState`.
    pub async fn ice_connection_state(&self) -> Result<RtcIceConnectionState, Error> {
        self.call(|pc, _| pc.ice_connection_state()).await
    }

    /// `connectionState`.
    pub async fn connection_state(&self) -> Result<RtcPeerConnectionState, Error> {
        self.call(|pc, _| pc.connection_state()).await
    }

    /// `restartIce`.
    pub async fn restart_ice(&self) -> Result<(), Error> {
        self.call(|pc, _| pc.restart_ice()).await
    }

    /// `getStats`.
    pub async fn get_stats(&self) -> Result<RtcStatsReport, Error> {
        self.call(|pc, now| pc.get_stats(now)).await
    }

    /// `addTransceiver`.
    pub async fn add_transceiver(&self, kind: MediaKind, init: RtcRtpTransceiverInit) -> Result<TransceiverId, Error> {
        Ok(self.call(move |pc, _| pc.add_transceiver(kind, init)).await??)
    }

    /// `addTrack`.
    pub async fn add_track(&self, track: MediaStreamTrack) -> Result<TransceiverId, Error> {
        Ok(self.call(move |pc, _| pc.add_track(track)).await??)
    }

    /// `removeTrack`.
    pub async fn remove_track(&self, transceiver: TransceiverId) -> Result<(), Error> {
        Ok(self.call(move |pc, _| pc.remove_track(transceiver)).await??)
    }

    /// `getTransceivers`.
    pub async fn transceivers(&self) -> Result<Vec<Transceiver>, Error> {
        self.call(|pc, _| pc.transceivers().cloned().collect()).await
    }

    /// Sets `RTCRtpTransceiver.direction`.
    pub async fn set_direction(&self, transceiver: TransceiverId, direction: Direction) -> Result<(), Error> {
        Ok(self
            .call(move |pc, _| pc.set_direction(transceiver, direction))
            .await??)
    }

    /// `RTCRtpTransceiver.setCodecPreferences`, by name, best first.
    pub async fn set_codec_preferences(&self, transceiver: TransceiverId, names: Vec<String>) -> Result<(), Error> {
        Ok(self
            .call(move |pc, _| pc.set_codec_preferences(transceiver, names))
            .await??)
    }

    /// `RTCRtpTransceiver.stop`.
    pub async fn stop_transceiver(&self, transceiver: TransceiverId) -> Result<(), Error> {
        Ok(self.call(move |pc, _| pc.stop_transceiver(transceiver)).await??)
    }

    /// Whether a receiver hands out whole frames or packets.
    pub async fn set_receive_output(&self, transceiver: TransceiverId, output: Output) -> Result<(), Error> {
        Ok(self
            .call(move |pc, _| pc.set_receive_output(transceiver, output))
            .await??)
    }

    /// The payload type negotiated for a codec's name, for [`Self::send_frame`].
    pub async fn payload_type(&self, transceiver: TransceiverId, codec: &str) -> Result<Option<u8>, Error> {
        let codec = codec.to_owned();
        self.call(move |pc, _| pc.payload_type(transceiver, &codec)).await
    }

    /// Sends one encoded frame: a picture, or a packet's worth of sound.
    pub async fn send_frame(&self, transceiver: TransceiverId, frame: Frame) -> Result<(), Error> {
        self.ask_for(|answer| Ask::Frame(transceiver, frame, answer)).await
    }

    /// Forwards a packet of another connection's receiver.
    pub async fn send_rtp(&self, transceiver: TransceiverId, packet: Packet) -> Result<(), Error> {
        self.ask_for(|answer| Ask::Packet(transceiver, packet, Some(answer)))
            .await
    }

    /// Forwards a packet of another connection's receiver without waiting for anything, as a forwarding unit does for each of
    /// many viewers. Returns whether it was taken: it is not while the connection's queue of 1024 calls is full, nor once the
    /// connection is gone. What the connection itself drops shows in its statistics.
    pub fn forward_rtp(&self, transceiver: TransceiverId, packet: Packet) -> bool {
        self.try_ask(Ask::Packet(transceiver, packet, None))
    }

    /// Asks the peer for a key frame.
    pub async fn request_key_frame(&self, transceiver: TransceiverId) -> Result<(), Error> {
        Ok(self.call(move |pc, _| pc.request_key_frame(transceiver)).await??)
    }

    /// The bandwidth estimate for all that we send, in bits a second, once there is one.
    pub async fn target_bitrate(&self) -> Result<Option<u64>, Error> {
        self.call(|pc, _| pc.target_bitrate()).await
    }

    /// `createDataChannel`.
    pub async fn create_data_channel(&self, label: &str, init: RtcDataChannelInit) -> Result<DataChannel, Error> {
        let (answer, answered) = oneshot::channel();
        let (peer, label) = (self.clone(), label.to_owned());
        self.visit(move |hosted, now| {
            let made = hosted.core.create_data_channel(now, &label, init).map_err(Error::from);
            let _ = answer.send(made.and_then(|id| hosted.open_channel(peer, id).ok_or(Error::Closed)));
        })
        .await;
        answered.await.map_err(|_| Error::Closed)?
    }

    /// `close`. Returns at once; what is left to say to the peer is still said.
    pub async fn close(&self) {
        self.visit(|hosted, now| hosted.close(now)).await;
    }

    /// Runs `visit` on the sans-I/O machine, for what this handle has no method for.
    pub async fn with<T: Send + 'static>(
        &self,
        visit: impl FnOnce(&mut core::PeerConnection, std::time::Instant) -> T + Send + 'static,
    ) -> Result<T, Error> {
        self.call(visit).await
    }
}
