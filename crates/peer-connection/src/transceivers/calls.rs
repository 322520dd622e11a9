//! Transceivers and tracks, as the application sees them.

use std::time::Instant;

use antiphon_jsep::{Direction, MediaKind, Transceiver, TransceiverId, TransceiverInit};
use antiphon_media::Output;

use crate::connection::PeerConnection;
use crate::error::Error;
use crate::transceivers::table::{MAX_TRANSCEIVERS, with_sending};
use crate::types::{MediaStreamTrack, RtcRtpEncodingParameters, RtcRtpSendParameters, RtcRtpTransceiverInit};

impl PeerConnection {
    /// `getTransceivers`: direction, mid, codecs and all. Stopped ones are gone.
    pub fn transceivers(&self) -> impl Iterator<Item = &Transceiver> {
        self.signaling.negotiator.transceivers()
    }

    /// One transceiver.
    pub fn transceiver(&self, id: TransceiverId) -> Option<&Transceiver> {
        self.signaling.negotiator.transceiver(id)
    }

    /// `addTransceiver`. Its sender and receiver have its name.
    ///
    /// # Errors
    /// When closed, with too many transceivers, or if the track has a sender.
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
        if init.send_encodings.len() > 1 {
            return Err(Error::Simulcast);
        }
        // W3C: the only encoding has no RID.
        let encodings: Vec<_> = init
            .send_encodings
            .into_iter()
            .map(|encoding| RtcRtpEncodingParameters { rid: None, ..encoding })
            .collect();
        if let Some(track) = &init.track_id {
            self.track_is_free(track)?;
        }
        let id = self.signaling.negotiator.add_transceiver(
            kind,
            TransceiverInit {
                direction: init.direction,
                sender: Default::default(),
                from_add_track,
            },
        );
        let row = self
            .transceivers
            .insert(id, kind, init.track_id, &encodings, &mut self.rng);
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
                && row.track.is_none()
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
            };
            return self.insert_transceiver(track.kind, init, true);
        };
        let row = self.transceivers.row_mut(id)?;
        row.track = Some(track.id);
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
        if row.track.take().is_some() {
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

    /// `sender.setStreams`, and the name of the outgoing track (`replaceTrack` changes nothing on the wire).
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

    /// Chooses what the receiver hands out: frames, packets or nothing. May change at any time.
    ///
    /// # Errors
    /// Without such a transceiver.
    pub fn set_receive_output(&mut self, id: TransceiverId, output: Output) -> Result<(), Error> {
        self.transceivers.set_output(id, output, &mut self.media)
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
        Ok(self.transceivers.row_mut(id)?.parameters())
    }

    /// `setParameters` of the sender: priority, bounds and whether it is sent, from now on and without an exchange. What one does not get
    /// goes to the others.
    ///
    /// # Errors
    /// When closed, or without such a transceiver; [`Error::Parameters`] if they are not those that [`Self::get_parameters`] gave last, with
    /// other values alone. Then nothing has changed.
    pub fn set_parameters(
        &mut self,
        now: Instant,
        id: TransceiverId,
        parameters: RtcRtpSendParameters,
    ) -> Result<(), Error> {
        self.open()?;
        let sends = self
            .transceiver(id)
            .is_some_and(|transceiver| transceiver.current_direction().is_some_and(Direction::sends));
        let row = self.transceivers.row_mut(id)?;
        row.set_parameters(parameters)?;
        row.bring_into_force(now, sends, &mut self.media);
        Ok(())
    }

    /// What a transceiver may send, in bits a second, payload and RTP headers: its share of the bandwidth estimate, of which what repairs media
    /// and what is sent a second time is taken first. 0: there is too little for it. `None` before the peer's first feedback, and while
    /// nothing is sent.
    pub fn target_bitrate(&self, id: TransceiverId) -> Option<u64> {
        let sender = self.transceivers.row(id).ok()?.sender()?;
        self.media.target_bitrate(sender)
    }

    fn track_is_free(&self, track: &str) -> Result<(), Error> {
        if self
            .transceivers
            .rows()
            .iter()
            .any(|row| row.track.as_deref() == Some(track))
        {
            return Err(Error::TrackInUse);
        }
        Ok(())
    }
}
