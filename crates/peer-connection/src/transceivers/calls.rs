//! Transceivers, tracks, and the media that goes in.

use std::time::Instant;

use antiphon_jsep::{Direction, MediaKind, Transceiver, TransceiverId, TransceiverInit};
use antiphon_media::{Frame, Output, Packet, ReceiverId, SenderId};

use crate::connection::PeerConnection;
use crate::error::Error;
use crate::transceivers::table::{Row, sends, with_sending};
use crate::types::{MediaStreamTrack, RtcRtpTransceiverInit};

/// How many transceivers one connection may have.
pub const MAX_TRANSCEIVERS: usize = 512;

impl PeerConnection {
    /// `getTransceivers`: direction, mid, codecs and all. Stopped ones are gone.
    pub fn transceivers(&self) -> impl Iterator<Item = &Transceiver> {
        self.negotiator.transceivers()
    }

    /// One transceiver.
    pub fn transceiver(&self, id: TransceiverId) -> Option<&Transceiver> {
        self.negotiator.transceiver(id)
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
        if self.rows.len() >= MAX_TRANSCEIVERS {
            return Err(Error::TooMany("transceivers"));
        }
        if let Some(track) = &init.track_id {
            self.track_is_free(track)?;
        }
        let (ssrc, rtx_ssrc) = (self.draw_ssrc(), self.draw_ssrc());
        let id = self.negotiator.add_transceiver(
            kind,
            TransceiverInit {
                direction: init.direction,
                sender: Default::default(),
                from_add_track,
            },
        );
        let row = Row {
            id,
            kind,
            track: init.track_id,
            ssrc,
            rtx_ssrc,
            sender: None,
            receiver: None,
            output: self.receive_output,
            has_sent: false,
        };
        self.negotiator
            .set_sender(id, row.signalled_sender(init.streams), from_add_track)?;
        self.rows.push(row);
        self.check_negotiation_needed();
        Ok(id)
    }

    /// `addTrack`: takes a transceiver of that kind whose sender has no track and never sent, else makes one.
    ///
    /// # Errors
    /// When closed, with too many transceivers, or if the track has a sender.
    pub fn add_track(&mut self, track: MediaStreamTrack) -> Result<TransceiverId, Error> {
        self.open()?;
        self.track_is_free(&track.id)?;
        let reusable = self.rows.iter().find(|row| {
            row.kind == track.kind
                && row.track.is_none()
                && !row.has_sent
                && self
                    .negotiator
                    .transceiver(row.id)
                    .is_some_and(|transceiver| !transceiver.stopping() && !transceiver.stopped())
        });
        let Some(id) = reusable.map(|row| row.id) else {
            let init = RtcRtpTransceiverInit {
                direction: Direction::SendRecv,
                streams: track.stream_ids,
                track_id: Some(track.id),
            };
            return self.insert_transceiver(track.kind, init, true);
        };
        if let Some(row) = self.rows.iter_mut().find(|row| row.id == id) {
            row.track = Some(track.id);
            let sender = row.signalled_sender(track.stream_ids);
            self.negotiator.set_sender(id, sender, true)?;
        }
        self.switch_sending(id, true)?;
        self.check_negotiation_needed();
        Ok(id)
    }

    /// `removeTrack`: the transceiver lives on without sending; `add_track` or `set_direction` may use it again.
    ///
    /// # Errors
    /// When closed, or without such a transceiver.
    pub fn remove_track(&mut self, id: TransceiverId) -> Result<(), Error> {
        self.open()?;
        let row = self
            .rows
            .iter_mut()
            .find(|row| row.id == id)
            .ok_or(Error::NoTransceiver)?;
        if row.track.take().is_some() {
            let streams = self
                .negotiator
                .transceiver(id)
                .map(|transceiver| transceiver.sender().streams.clone())
                .unwrap_or_default();
            self.negotiator.set_sender(id, row.signalled_sender(streams), false)?;
        }
        self.switch_sending(id, false)?;
        self.check_negotiation_needed();
        Ok(())
    }

    fn switch_sending(&mut self, id: TransceiverId, send: bool) -> Result<(), Error> {
        let direction = self.transceiver(id).ok_or(Error::NoTransceiver)?.direction();
        self.negotiator.set_direction(id, with_sending(direction, send))?;
        Ok(())
    }

    /// `transceiver.direction`: the next exchange negotiates it.
    ///
    /// # Errors
    /// When closed, or without such a transceiver.
    pub fn set_direction(&mut self, id: TransceiverId, direction: Direction) -> Result<(), Error> {
        self.open()?;
        self.negotiator.set_direction(id, direction)?;
        self.check_negotiation_needed();
        Ok(())
    }

    /// `sender.setStreams`, and the name of the outgoing track (`replaceTrack` changes nothing on the wire).
    ///
    /// # Errors
    /// When closed, or without such a transceiver.
    pub fn set_streams(&mut self, id: TransceiverId, streams: Vec<String>) -> Result<(), Error> {
        self.open()?;
        let row = self.row(id)?;
        self.negotiator.set_sender(id, row.signalled_sender(streams), false)?;
        self.check_negotiation_needed();
        Ok(())
    }

    /// `setCodecPreferences`: encoding names, best first, as [`antiphon_jsep::Negotiator::set_codec_preferences`] has them.
    ///
    /// # Errors
    /// When closed, or without such a transceiver.
    pub fn set_codec_preferences(&mut self, id: TransceiverId, preferences: Vec<String>) -> Result<(), Error> {
        self.open()?;
        self.negotiator.set_codec_preferences(id, preferences)?;
        self.check_negotiation_needed();
        Ok(())
    }

    /// `transceiver.stop`: at once for our part, for the peer with the next exchange.
    ///
    /// # Errors
    /// When closed, or without such a transceiver.
    pub fn stop_transceiver(&mut self, id: TransceiverId) -> Result<(), Error> {
        self.open()?;
        let gone = self.negotiator.stop(id)?;
        if gone {
            self.remove_row(id);
        } else if let Some(row) = self.rows.iter_mut().find(|row| row.id == id) {
            // W3C "stop sending and receiving": RTCP BYE now, not when the exchange has ended.
            if let Some(sender) = row.sender.take() {
                self.by_sender.remove(&sender);
                let _ = self.media.remove_sender(sender);
            }
            if let Some(receiver) = row.receiver.take() {
                self.by_receiver.remove(&receiver);
                let _ = self.media.remove_receiver(receiver);
            }
        }
        self.check_negotiation_needed();
        Ok(())
    }

    /// Chooses what the receiver hands out: frames, packets or nothing. May change at any time.
    ///
    /// # Errors
    /// Without such a transceiver.
    pub fn set_receive_output(&mut self, id: TransceiverId, output: Output) -> Result<(), Error> {
        let row = self
            .rows
            .iter_mut()
            .find(|row| row.id == id)
            .ok_or(Error::NoTransceiver)?;
        row.output = output;
        if let Some(receiver) = row.receiver {
            self.media.set_output(receiver, output)?;
        }
        Ok(())
    }

    /// The payload type under which this codec (`VP8`, `opus` ...) may be sent, if it is negotiated.
    pub fn payload_type(&self, id: TransceiverId, codec: &str) -> Option<u8> {
        let send = self.transceiver(id)?.send()?;
        send.codecs
            .iter()
            .find(|own| own.name.eq_ignore_ascii_case(codec))
            .map(|own| own.payload_type)
    }

    /// Sends one encoded frame: a picture, or a packet's worth of sound.
    ///
    /// # Errors
    /// [`Error::NotSending`] while the negotiated direction does not let it; [`Error::Media`] if it is not taken.
    pub fn send_frame(&mut self, now: Instant, id: TransceiverId, frame: Frame) -> Result<(), Error> {
        let sender = self.sending(id)?;
        Ok(self.media.send_frame(now, sender, frame)?)
    }

    /// Forwards a packet of another connection's receiver: SSRC, sequence number and timestamp are rewritten.
    /// `packet.payload_type` must be one that is negotiated for sending here.
    ///
    /// # Errors
    /// As for [`Self::send_frame`].
    pub fn send_rtp(&mut self, now: Instant, id: TransceiverId, packet: &Packet) -> Result<(), Error> {
        let sender = self.sending(id)?;
        Ok(self.media.send_rtp(now, sender, packet)?)
    }

    /// Asks the peer for a key frame.
    ///
    /// # Errors
    /// [`Error::NotReceiving`].
    pub fn request_key_frame(&mut self, id: TransceiverId) -> Result<(), Error> {
        self.open()?;
        let receiver = self.row(id)?.receiver.ok_or(Error::NotReceiving)?;
        Ok(self.media.request_key_frame(receiver)?)
    }

    /// The bandwidth estimate for all that we send, in bits a second; `None` before the peer's first feedback.
    pub fn target_bitrate(&self) -> Option<u64> {
        self.media.target_bitrate()
    }

    fn sending(&self, id: TransceiverId) -> Result<SenderId, Error> {
        self.open()?;
        let sender = self.row(id)?.sender.ok_or(Error::NotSending)?;
        let current = self.transceiver(id).and_then(Transceiver::current_direction);
        if current.is_some_and(sends) {
            Ok(sender)
        } else {
            Err(Error::NotSending)
        }
    }

    fn row(&self, id: TransceiverId) -> Result<&Row, Error> {
        self.rows.iter().find(|row| row.id == id).ok_or(Error::NoTransceiver)
    }

    fn track_is_free(&self, track: &str) -> Result<(), Error> {
        if self.rows.iter().any(|row| row.track.as_deref() == Some(track)) {
            return Err(Error::TrackInUse);
        }
        Ok(())
    }

    /// A random SSRC that no sender of ours has (RFC 3550 §8.1).
    pub(crate) fn draw_ssrc(&mut self) -> u32 {
        loop {
            let ssrc = self.rng.u32();
            let used = self.rows.iter().any(|row| row.ssrc == ssrc || row.rtx_ssrc == ssrc);
            if ssrc != 0 && !used {
                return ssrc;
            }
        }
    }

    /// Takes a transceiver out of the table, with its sender and receiver.
    pub(crate) fn remove_row(&mut self, id: TransceiverId) {
        let Some(at) = self.rows.iter().position(|row| row.id == id) else {
            return;
        };
        let row = self.rows.remove(at);
        if let Some(sender) = row.sender {
            self.by_sender.remove(&sender);
            let _ = self.media.remove_sender(sender);
        }
        if let Some(receiver) = row.receiver {
            self.by_receiver.remove(&receiver);
            let _ = self.media.remove_receiver(receiver);
        }
    }

    pub(crate) fn transceiver_of_receiver(&self, id: ReceiverId) -> Option<TransceiverId> {
        self.by_receiver.get(&id).copied()
    }

    pub(crate) fn transceiver_of_sender(&self, id: SenderId) -> Option<TransceiverId> {
        self.by_sender.get(&id).copied()
    }
}
