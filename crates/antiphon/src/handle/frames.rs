//! What is seen of the streams of one transceiver through a handle: its statistics, and each whole frame on its way.

use antiphon_peer_connection as core;
use core::stats::RtcStatsReport;
use core::{EncodingId, TransceiverId};

use crate::error::Error;
use crate::handle::PeerHandle;

impl PeerHandle {
    /// `RTCRtpSender.getStats`: of what a transceiver sends.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn get_sender_stats(&self, transceiver: TransceiverId) -> Result<RtcStatsReport, Error> {
        Ok(self
            .call(move |pc, now| pc.get_sender_stats(now, transceiver))
            .await??)
    }

    /// `RTCRtpReceiver.getStats`: of what a transceiver receives.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn get_receiver_stats(&self, transceiver: TransceiverId) -> Result<RtcStatsReport, Error> {
        Ok(self
            .call(move |pc, now| pc.get_receiver_stats(now, transceiver))
            .await??)
    }

    /// `RTCRtpSender.transform`: lets `transform` see each frame before it is cut into packets; `None`: no more. It is called within the
    /// driver, so it should be quick.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn set_sender_transform(
        &self,
        id: impl Into<EncodingId>,
        transform: Option<Box<dyn core::FrameTransform>>,
    ) -> Result<(), Error> {
        let id = id.into();
        Ok(self.call(move |pc, _| pc.set_sender_transform(id, transform)).await??)
    }

    /// `RTCRtpReceiver.transform`: lets `transform` see each whole frame before the application does; `None`: no more. It is called within
    /// the driver, so it should be quick.
    ///
    /// # Errors
    /// [`Error::Closed`] once the connection is gone; [`Error::Peer`] as the method of [`core::PeerConnection`] says.
    pub async fn set_receiver_transform(
        &self,
        transceiver: TransceiverId,
        transform: Option<Box<dyn core::FrameTransform>>,
    ) -> Result<(), Error> {
        Ok(self
            .call(move |pc, _| pc.set_receiver_transform(transceiver, transform))
            .await??)
    }
}
