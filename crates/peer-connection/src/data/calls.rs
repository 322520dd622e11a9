//! Data channels, as the application sees them.

use std::time::Instant;

use antiphon_data_channel::{ChannelId, ChannelInfo, ChannelInit};

use crate::connection::PeerConnection;
use crate::error::Error;
use crate::types::RtcDataChannelInit;

impl PeerConnection {
    /// `createDataChannel`. The first one makes negotiation needed.
    ///
    /// # Errors
    /// When closed; `TypeError` and `OperationError` as the W3C has them.
    pub fn create_data_channel(
        &mut self,
        now: Instant,
        label: &str,
        init: RtcDataChannelInit,
    ) -> Result<ChannelId, Error> {
        self.open()?;
        let negotiated = match (init.negotiated, init.id) {
            (true, Some(id)) => Some(id),
            (true, None) => return Err(Error::ChannelWithoutId),
            (false, _) => None,
        };
        let id = self.data.channels.open(
            now,
            ChannelInit {
                label: label.to_owned(),
                protocol: init.protocol,
                ordered: init.ordered,
                max_packet_life_time: init.max_packet_life_time,
                max_retransmits: init.max_retransmits,
                negotiated,
                priority: init.priority,
            },
        )?;
        self.signaling.negotiator.want_data();
        self.signaling.check_needed();
        Ok(id)
    }

    /// The most that the peer may have on its way to us on data channels, in bytes: for owners who know how much room there is on
    /// the way, as in the kernel's buffer of a socket that many peers share. `usize::MAX`: no such bound, as at the beginning.
    pub fn set_receive_share(&mut self, bytes: usize) {
        self.data.channels.set_receive_share(bytes);
    }

    /// `bufferedAmount`, in bytes.
    pub fn buffered_amount(&self, channel: ChannelId) -> usize {
        self.data.channels.buffered_amount(channel)
    }

    /// `bufferedAmountLowThreshold`, in bytes.
    pub fn set_buffered_amount_low_threshold(&mut self, channel: ChannelId, bytes: usize) {
        self.data.channels.set_buffered_amount_low_threshold(channel, bytes);
    }

    /// Label, id, state and figures of a channel; `None` once it is forgotten.
    pub fn data_channel(&self, channel: ChannelId) -> Option<ChannelInfo> {
        self.data.channels.info(channel)
    }

    /// All channels that were not forgotten, oldest first.
    pub fn data_channels(&self) -> impl Iterator<Item = ChannelId> + '_ {
        self.data.channels.channels()
    }

    /// The largest message that the peer takes, in bytes (`RTCSctpTransport.maxMessageSize`).
    pub fn max_message_size(&self) -> usize {
        self.data.channels.max_message_size()
    }

    /// `RTCDataChannel.close`: what is queued is sent first.
    pub fn close_data_channel(&mut self, now: Instant, channel: ChannelId) {
        self.data.channels.close_channel(now, channel);
    }

    /// Frees a closed channel, unread messages included.
    pub fn forget_data_channel(&mut self, now: Instant, channel: ChannelId) {
        self.data.channels.forget(now, channel);
    }
}
