//! Transceivers and tracks, as the application sees them.

use std::time::{Duration, Instant};

use antiphon_jsep::{Direction, MediaKind, Transceiver, TransceiverId, TransceiverInit};
use antiphon_media::{Output, Reported};

use crate::connection::PeerConnection;
use crate::error::Error;
use crate::transceivers::encodings::{EncodingId, OutgoingEncoding};
use crate::transceivers::parameters::{RtcRtpSendParameters, check_rids, send_encodings};
use crate::transceivers::table::{MAX_TRANSCEIVERS, with_sending};
use crate::types::{MediaStreamTrack, RtcRtpTransceiverInit};

impl PeerConnection {
    /// `getTransceivers`: direction, mid, codecs and all. Stopped ones are gone.
    pub fn transceivers(&self) -> impl Iterator<Item = &Transceiver> {
        self.signaling.negotiator.transceivers()
    }

    /// One transceiver.
    pub fn transceiver(&self, id: TransceiverId) -> Option<&Transceiver> {
        self.signaling.negotiator.transceiver(id)
    }

    /// `addTransceiver`. Its sender and receiver have its name. Of `send_encodings` sound takes the first, and pictures the first
    /// [`MAX_ENCODINGS`](crate::MAX_ENCODINGS).
    ///
    /// # Errors
    /// When closed, with too many transceivers, or if the track has a sender; [`Error::Encoding`] says what cannot be of the encodings.
    pub fn add_transceiver(&mut self, kind: MediaKind, init: RtcRtpTransceiverInit) -> Result<TransceiverId, Error> {
        self.insert_transceiver(kind, init, false)
    }

    fn insert_transceiver(
        &mut self,
        kind: MediaKind,
        init: RtcRtpTransceiverInit,
        from_add_track: bool,
    ) -> Result<TransceiverId, Error> {
        self.open()?;
        if self.transceivers.rows().len() >= MAX_TRANSCEIVERS {
            return Err(Error::TooMany("transceivers"));
        }
        let negotiator = &self.signaling.negotiator;
        let encodings = send_encodings(kind, init.send_encodings, |codec| negotiator.has_codec(kind, codec))?;
        let sent = encodings.iter().filter_map(|encoding| encoding.rid.as_ref());
        check_rids(sent.chain(&init.receive_rids).map(String::as_str))?;
        if let Some(track) = &init.track_id {
            self.track_is_free(track)?;
        }
        let id = self.signaling.negotiator.add_transceiver(
            kind,
            TransceiverInit {
                direction: init.direction,
                sender: Default::default(),
                receive_rids: init.receive_rids,
                from_add_track,
            },
        );
        let row = self
            .transceivers
            .insert(id, kind, init.track_id, encodings, &mut self.rng);
        let sender = row.signalled_sender(init.streams);
        self.signaling.negotiator.set_sender(id, sender, from_add_track)?;
        self.signaling.check_needed();
        Ok(id)
    }

    /// `addTrack`: takes a transceiver of that kind whose sender has no track and never sent, else makes one.
    ///
    /// # Errors
    /// When closed, with too many transceivers, or if the track has a sender.
    pub fn add_track(&mut self, track: MediaStreamTrack) -> Result<TransceiverId, Error> {
        self.open()?;
        self.track_is_free(&track.id)?;
        let reusable = self.transceivers.rows().iter().find(|row| {
            row.kind == track.kind
                && row.track().is_none()
                && !row.has_sent
                && self
                    .transceiver(row.id)
                    .is_some_and(|transceiver| !transceiver.stopping() && !transceiver.stopped())
        });
        let Some(id) = reusable.map(|row| row.id) else {
            let init = RtcRtpTransceiverInit {
                direction: Direction::SendRecv,
                streams: track.stream_ids,
                track_id: Some(track.id),
                send_encodings: Vec::new(),
                receive_rids: Vec::new(),
            };
            return self.insert_transceiver(track.kind, init, true);
        };
        let row = self.transceivers.row_mut(id)?;
        row.set_track(Some(track.id));
        let sender = row.signalled_sender(track.stream_ids);
        self.signaling.negotiator.set_sender(id, sender, true)?;
        self.switch_sending(id, true)?;
        self.signaling.check_needed();
        Ok(id)
    }

    /// `removeTrack`: the transceiver lives on without sending; `add_track` or `set_direction` may use it again.
    ///
    /// # Errors
    /// When closed, or without such a transceiver.
    pub fn remove_track(&mut self, id: TransceiverId) -> Result<(), Error> {
        self.open()?;
        let row = self.transceivers.row_mut(id)?;
        if row.track().is_some() {
            row.set_track(None);
            let negotiator = &mut self.signaling.negotiator;
            let streams = negotiator
                .transceiver(id)
                .map(|transceiver| transceiver.sender().streams.clone())
                .unwrap_or_default();
            negotiator.set_sender(id, row.signalled_sender(streams), false)?;
        }
        self.switch_sending(id, false)?;
        self.signaling.check_needed();
        Ok(())
    }

    fn switch_sending(&mut self, id: TransceiverId, send: bool) -> Result<(), Error> {
        let direction = self.transceiver(id).ok_or(Error::NoTransceiver)?.direction();
        self.signaling
            .negotiator
            .set_direction(id, with_sending(direction, send))?;
        Ok(())
    }

    /// `transceiver.direction`: the next exchange negotiates it.
    ///
    /// # Errors
    /// When closed, or without such a transceiver.
    pub fn set_direction(&mut self, id: TransceiverId, direction: Direction) -> Result<(), Error> {
        self.open()?;
        self.signaling.negotiator.set_direction(id, direction)?;
        self.signaling.check_needed();
        Ok(())
    }

    /// `sender.replaceTrack`: from now on the transceiver sends this track, and the peer hears nothing of the change: the next frame
    /// follows in time on the last. `None`: nothing is sent until there is a track again; the direction stays as it is.
    ///
    /// # Errors
    /// When closed, or without such a transceiver; [`Error::TrackKind`] if the track is of the other kind. Then nothing has changed.
    pub fn replace_track(
        &mut self,
        now: Instant,
        id: TransceiverId,
        track: Option<MediaStreamTrack>,
    ) -> Result<(), Error> {
        self.open()?;
        let row = self.transceivers.row_mut(id)?;
        if track.as_ref().is_some_and(|track| track.kind != row.kind) {
            return Err(Error::TrackKind);
        }
        row.replace_track(track.map(|track| track.id));
        row.bring_into_force(now, &mut self.media);
        let senders = row.encodings.iter().filter_map(|own| own.sender);
        for sender in senders {
            // It is there as long as its row.
            let _ = self.media.change_source(sender);
        }
        Ok(())
    }

    /// `sender.setStreams`.
    ///
    /// # Errors
    /// When closed, or without such a transceiver.
    pub fn set_streams(&mut self, id: TransceiverId, streams: Vec<String>) -> Result<(), Error> {
        self.open()?;
        let sender = self.transceivers.row(id)?.signalled_sender(streams);
        self.signaling.negotiator.set_sender(id, sender, false)?;
        self.signaling.check_needed();
        Ok(())
    }

    /// `setCodecPreferences`: encoding names, best first, as [`antiphon_jsep::Negotiator::set_codec_preferences`] has
    /// them.
    ///
    /// # Errors
    /// When closed, or without such a transceiver.
    pub fn set_codec_preferences(&mut self, id: TransceiverId, preferences: Vec<String>) -> Result<(), Error> {
        self.open()?;
        self.signaling.negotiator.set_codec_preferences(id, preferences)?;
        self.signaling.check_needed();
        Ok(())
    }

    /// `transceiver.stop`: at once for our part, for the peer with the next exchange.
    ///
    /// # Errors
    /// When closed, or without such a transceiver.
    pub fn stop_transceiver(&mut self, id: TransceiverId) -> Result<(), Error> {
        self.open()?;
        let gone = self.signaling.negotiator.stop(id)?;
        if gone {
            self.transceivers.remove(id, &mut self.media);
        } else {
            self.transceivers.silence(id, &mut self.media);
        }
        self.signaling.check_needed();
        Ok(())
    }

    /// Chooses what the receiver hands out: frames and sound when they are due, frames or packets as they come, or nothing. May change at
    /// any time.
    ///
    /// # Errors
    /// Without such a transceiver.
    pub fn set_receive_output(&mut self, id: TransceiverId, output: Output) -> Result<(), Error> {
        self.transceivers.set_output(id, output, &mut self.media)
    }

    /// `receiver.jitterBufferTarget` (webrtc-extensions): the delay that the application wants at least where media is played
    /// ([`Output::Playout`]), up to four seconds; `None`: as little as the network allows.
    ///
    /// # Errors
    /// Without such a transceiver; `RangeError` if it is more than four seconds. Then nothing has changed.
    pub fn set_jitter_buffer_target(&mut self, id: TransceiverId, target: Option<Duration>) -> Result<(), Error> {
        self.transceivers.set_jitter_buffer_target(id, target, &mut self.media)
    }

    /// The payload type under which this codec (`VP8`, `opus` ...) may be sent, if it is negotiated.
    pub fn payload_type(&self, id: TransceiverId, codec: &str) -> Option<u8> {
        let send = self.transceiver(id)?.send()?;
        send.codecs
            .iter()
            .find(|own| own.name.eq_ignore_ascii_case(codec))
            .map(|own| own.payload_type)
    }

    /// `getParameters` of the sender: what [`Self::set_parameters`] takes back.
    ///
    /// # Errors
    /// When closed, or without such a transceiver.
    pub fn get_parameters(&mut self, id: TransceiverId) -> Result<RtcRtpSendParameters, Error> {
        self.open()?;
        let negotiator = &self.signaling.negotiator;
        let row = self.transceivers.row_mut(id)?;
        Ok(row.parameters(negotiator.transceiver(id), &negotiator.config().cname))
    }

    /// `setParameters` of the sender: what its encodings say, from now on and without an exchange. What one does not get goes to the
    /// others; what of one that is made inactive still waits is dropped.
    ///
    /// # Errors
    /// When closed, or without such a transceiver; [`Error::NoParameters`] if [`Self::get_parameters`] gave none since the last call,
    /// [`Error::Parameters`] if they are not those with other values alone, [`Error::Encoding`] if a value is out of its range. Then
    /// nothing has changed.
    pub fn set_parameters(
        &mut self,
        now: Instant,
        id: TransceiverId,
        parameters: RtcRtpSendParameters,
    ) -> Result<(), Error> {
        self.open()?;
        let negotiator = &self.signaling.negotiator;
        let transceiver = negotiator.transceiver(id);
        let row = self.transceivers.row_mut(id)?;
        let kind = row.kind;
        let other_codec = row.set_parameters(parameters, |codec| match transceiver.and_then(Transceiver::send) {
            Some(send) => send.codecs.iter().any(|own| own.is_named(codec)),
            None => negotiator.has_codec(kind, codec),
        })?;
        // Another codec is another set of payload types.
        if let (true, Some(transceiver)) = (other_codec, transceiver)
            && let Some(send) = transceiver.send()
        {
            let mid = transceiver.mid().unwrap_or_default();
            self.transceivers.reconfigure(now, id, mid, send, &mut self.media);
        }
        self.transceivers.row(id)?.bring_into_force(now, &mut self.media);
        Ok(())
    }

    /// The streams that a transceiver sends, and for each what its encoder has to know: whether it is wanted, how large, how fast, with
    /// which codec.
    ///
    /// # Errors
    /// Without such a transceiver.
    pub fn encodings(&self, id: TransceiverId) -> Result<Vec<OutgoingEncoding>, Error> {
        let row = self.transceivers.row(id)?;
        Ok(row.outgoing(self.transceiver(id), &self.media).collect())
    }

    /// What an encoding may send, in bits a second, payload and RTP headers: its share of the bandwidth estimate, of which what repairs media
    /// and what is sent a second time is taken first. 0: there is too little for it. `None` before the peer's first feedback, and while
    /// nothing is sent.
    pub fn target_bitrate(&self, id: impl Into<EncodingId>) -> Option<u64> {
        let id = id.into();
        let sender = self.transceivers.row(id.transceiver).ok()?.sender(id.rid)?;
        self.media.target_bitrate(sender)
    }

    /// What the peer has reported on an encoding so far: what arrived of it, and what did not. `None` before the first report.
    pub fn reported(&self, id: impl Into<EncodingId>) -> Option<Reported> {
        let id = id.into();
        let sender = self.transceivers.row(id.transceiver).ok()?.sender(id.rid)?;
        self.media.reported(sender)
    }

    /// What all encodings together may send, in bits a second, payload and RTP headers: what the bandwidth estimate leaves after what repairs
    /// media and what is sent a second time. For who shares it out by himself, as a forwarder does. `None` before the peer's first
    /// feedback.
    pub fn media_bitrate(&self) -> Option<u64> {
        self.media.media_bitrate()
    }

    /// What all encodings together could send, in bits a second, payload and RTP headers: the path is asked whether it carries so much.
    /// `None`, the default: what the bounds of the encodings say. For who shares out [`Self::media_bitrate`] by himself, as a forwarder
    /// does.
    pub fn set_desired_bitrate(&mut self, now: Instant, desired: Option<u64>) {
        self.media.set_desired_bitrate(now, desired);
    }

    fn track_is_free(&self, track: &str) -> Result<(), Error> {
        if self.transceivers.rows().iter().any(|row| row.track() == Some(track)) {
            return Err(Error::TrackInUse);
        }
        Ok(())
    }
}
