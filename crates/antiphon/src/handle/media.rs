//! Transceivers through a handle: what they send and receive, and how.

use std::time::Duration;

use antiphon_peer_connection as core;
use core::{
    Direction, EncodingId, Frame, MediaKind, MediaStreamTrack, Output, Packet, RtcRtpTransceiverInit, Transceiver,
    TransceiverId,
};

use crate::driver::message::Request;
use crate::error::Error;
use crate::handle::PeerHandle;

impl PeerHandle {
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
}
