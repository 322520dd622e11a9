//! `RTCDTMFSender`: keys of a telephone, played beside the sound (W3C webrtc-pc §7).

use std::time::{Duration, Instant};

use antiphon_jsep::TransceiverId;

use crate::connection::PeerConnection;
use crate::error::Error;

impl PeerConnection {
    /// `sender.dtmf.insertDTMF`: plays keys of a telephone by telephone events (RFC 4733), in the place of whatever keys
    /// still wait; one that is being played goes on to its end, and an empty string lets it be the last. `tones` are `0`
    /// to `9`, `*`, `#`, `A` to `D` in either case; at `,` the next one waits for 2 seconds. Each is heard for `duration`,
    /// brought into 40 to 6000 ms, with a silence of `gap` behind it, at least 30 ms. The W3C's defaults are
    /// [`DEFAULT_TONE`](crate::DEFAULT_TONE) and [`DEFAULT_TONE_GAP`](crate::DEFAULT_TONE_GAP). Each key that begins is
    /// told by [`Event::ToneChange`](crate::Event::ToneChange).
    ///
    /// Sound of this sender is left out while a key is heard, and counted as `framesRefused`.
    ///
    /// # Errors
    /// `InvalidStateError` when closed, while the transceiver does not send, or if the peer takes no telephone events;
    /// `InvalidCharacterError` if one of `tones` is no key; [`antiphon_media::Error::TooManyTones`]. Then nothing has
    /// changed.
    pub fn insert_dtmf(
        &mut self,
        now: Instant,
        id: TransceiverId,
        tones: &str,
        duration: Duration,
        gap: Duration,
    ) -> Result<(), Error> {
        self.open()?;
        let sender = self.transceivers.sending(id.into())?;
        Ok(self.media.insert_dtmf(now, sender, tones, duration, gap)?)
    }

    /// `sender.dtmf.canInsertDTMF`: whether [`Self::insert_dtmf`] would be heard.
    pub fn can_insert_dtmf(&self, id: TransceiverId) -> bool {
        let sender = self.transceivers.sending(id.into());
        sender.is_ok_and(|sender| self.media.can_insert_dtmf(sender))
    }

    /// `sender.dtmf.toneBuffer`: the keys that are still to be played.
    pub fn tone_buffer(&self, id: TransceiverId) -> &str {
        let sender = self.transceivers.sending(id.into());
        sender.map_or("", |sender| self.media.tone_buffer(sender))
    }
}
