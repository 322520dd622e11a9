//! What belongs to one sender or receiver, and what the application tells of its codecs and of its loudspeaker, for statistics alone.

use std::time::Instant;

use antiphon_jsep::TransceiverId;
use antiphon_media::{DecoderFigures, EncoderFigures};

use crate::connection::PeerConnection;
use crate::error::Error;
use crate::stats::playout::AudioPlayoutFigures;
use crate::stats::{RtcStats, RtcStatsReport};
use crate::transceivers::EncodingId;

impl PeerConnection {
    /// `sender.getStats`: the streams that the transceiver sends, and all that these speak of (webrtc-pc §8.6).
    ///
    /// # Errors
    /// [`Error::NoTransceiver`].
    pub fn get_sender_stats(&self, now: Instant, id: TransceiverId) -> Result<RtcStatsReport, Error> {
        let mid = self.transceiver(id).ok_or(Error::NoTransceiver)?.mid();
        let is_its = |entry: &RtcStats| matches!(entry, RtcStats::OutboundRtp(own) if Some(&*own.mid) == mid);
        Ok(self.get_stats(now).selected(is_its))
    }

    /// `receiver.getStats`: the streams that the transceiver receives, and all that these speak of (webrtc-pc §8.6).
    ///
    /// # Errors
    /// [`Error::NoTransceiver`].
    pub fn get_receiver_stats(&self, now: Instant, id: TransceiverId) -> Result<RtcStatsReport, Error> {
        let mid = self.transceiver(id).ok_or(Error::NoTransceiver)?.mid();
        let is_its = |entry: &RtcStats| matches!(entry, RtcStats::InboundRtp(own) if Some(&*own.mid) == mid);
        Ok(self.get_stats(now).selected(is_its))
    }

    /// Tells what the application's encoder has done for an encoding so far, which nobody else knows: statistics show it until more is
    /// told.
    ///
    /// # Errors
    /// [`Error::NotSending`] while the negotiated direction does not let it, [`Error::NoEncoding`] if the peer has not taken this one; or when
    /// closed.
    pub fn report_encoder(
        &mut self,
        now: Instant,
        id: impl Into<EncodingId>,
        figures: EncoderFigures,
    ) -> Result<(), Error> {
        self.open()?;
        let sender = self.transceivers.sending(id.into())?;
        Ok(self.media.report_encoder(now, sender, figures)?)
    }

    /// Tells what the application's decoder has done with the stream `ssrc` so far, which nobody else knows: statistics show it until more
    /// is told.
    ///
    /// # Errors
    /// [`Error::Media`] if no such stream is received; or when closed.
    pub fn report_decoder(&mut self, ssrc: u32, figures: DecoderFigures) -> Result<(), Error> {
        self.open()?;
        Ok(self.media.report_decoder(ssrc, figures)?)
    }

    /// Tells what the application has played of all sound so far, which nobody else knows: statistics show it until more is told.
    ///
    /// # Errors
    /// When closed.
    pub fn report_playout(&mut self, figures: AudioPlayoutFigures) -> Result<(), Error> {
        self.open()?;
        self.playout = Some(Box::new(figures));
        Ok(())
    }
}
