//! The hook of encoded transforms: `sender.transform` and `receiver.transform` (W3C webrtc-encoded-transform §3).

use antiphon_jsep::TransceiverId;
use antiphon_media::FrameTransform;

use crate::connection::PeerConnection;
use crate::error::Error;
use crate::transceivers::encodings::EncodingId;

impl PeerConnection {
    /// `sender.transform`: lets `transform` see each frame before it is cut into packets, in the place of the one before it;
    /// `None`: no more. It is there as long as the sender is. Each of several encodings has one of its own.
    ///
    /// # Errors
    /// [`Error::NotSending`] before it is negotiated that the transceiver sends, or when closed.
    pub fn set_sender_transform(
        &mut self,
        id: impl Into<EncodingId>,
        transform: Option<Box<dyn FrameTransform>>,
    ) -> Result<(), Error> {
        self.open()?;
        let sender = self.transceivers.sending(id.into())?;
        Ok(self.media.set_sender_transform(sender, transform)?)
    }

    /// `receiver.transform`: lets `transform` see each whole frame before the application does; `None`: no more. Who
    /// takes packets has no frames.
    ///
    /// # Errors
    /// [`Error::NotReceiving`] before it is negotiated that the transceiver receives, or when closed.
    pub fn set_receiver_transform(
        &mut self,
        id: TransceiverId,
        transform: Option<Box<dyn FrameTransform>>,
    ) -> Result<(), Error> {
        self.open()?;
        let receiver = self.transceivers.row(id)?.receiver.ok_or(Error::NotReceiving)?;
        Ok(self.media.set_receiver_transform(receiver, transform)?)
    }
}
