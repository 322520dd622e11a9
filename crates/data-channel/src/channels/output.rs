//! The way out: messages of the application, and the packets that carry them.

use std::time::{Duration, Instant};

use antiphon_sansio::TransmitBuf;
use antiphon_sctp::{Outgoing, SendOptions};
use bytes::Bytes;

use super::DataChannels;
use crate::channel::{Channel, ChannelId, ChannelState};
use crate::dcep::ppid;
use crate::error::SendError;
use crate::message::{Message, MessageKind};

impl DataChannels {
    /// Queues a message.
    ///
    /// # Errors
    /// [`SendError::NotOpen`] and [`SendError::Closed`] by the channel's state, [`SendError::TooLarge`] beyond
    /// [`Self::max_message_size`], [`SendError::NotUtf8`] of text that is none, and [`SendError::BufferFull`].
    pub fn send(&mut self, now: Instant, channel: ChannelId, message: Message) -> Result<(), SendError> {
        let channel = self.channels.get_mut(&channel).ok_or(SendError::Closed)?;
        let stream = match (channel.state, channel.stream) {
            (ChannelState::Open, Some(stream)) => stream,
            (ChannelState::Connecting, _) => return Err(SendError::NotOpen),
            _ => return Err(SendError::Closed),
        };
        let size = message.data.len();
        if size > self.max_message {
            return Err(SendError::TooLarge {
                size,
                limit: self.max_message,
            });
        }
        if message.kind == MessageKind::Text && std::str::from_utf8(&message.data).is_err() {
            return Err(SendError::NotUtf8);
        }
        // RFC 8831 §6.6: SCTP has no empty messages; one byte stands for none.
        let (ppid, data) = match (message.kind, size) {
            (MessageKind::Text, 0) => (ppid::STRING_EMPTY, Bytes::from_static(&[0])),
            (MessageKind::Binary, 0) => (ppid::BINARY_EMPTY, Bytes::from_static(&[0])),
            (MessageKind::Text, _) => (ppid::STRING, message.data),
            (MessageKind::Binary, _) => (ppid::BINARY, message.data),
        };
        self.association
            .send(now, stream, ppid, data, options(channel))
            .map_err(|error| match error {
                antiphon_sctp::SendError::BufferFull => SendError::BufferFull,
                _ => SendError::Closed,
            })?;
        channel.messages_sent += 1;
        channel.bytes_sent += size as u64;
        Ok(())
    }

    /// Writes one SCTP packet into a new segment of `out` and leaves the segment open, for DTLS to seal; `None` if
    /// there is nothing to send or no room for a segment.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<Outgoing> {
        let wrote = self.association.poll_transmit(now, out);
        self.pump(now);
        wrote
    }
}

/// How the channel's messages are sent.
fn options(channel: &Channel) -> SendOptions {
    SendOptions {
        unordered: !channel.init.ordered && !channel.awaits_ack,
        max_retransmits: channel.init.max_retransmits,
        lifetime: channel
            .init
            .max_packet_life_time
            .map(|milliseconds| Duration::from_millis(milliseconds.into())),
    }
}
