//! What the owner of the channels is told, and the figures.

use crate::channel::ChannelId;

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// The association is up.
    Connected,
    /// The peer has opened a channel. `Open` follows.
    Incoming(ChannelId),
    /// Messages may be sent.
    Open(ChannelId),
    /// There is something to [`read`](crate::DataChannels::read).
    Readable(ChannelId),
    /// The buffered amount has fallen to the threshold.
    BufferedAmountLow(ChannelId),
    /// The peer has begun to close the channel. What has arrived can still be read.
    Closing(ChannelId),
    /// The channel is closed. Unread messages can be read until [`forget`](crate::DataChannels::forget).
    Closed(ChannelId),
    /// The association ended in an orderly way; every channel is closed.
    Disconnected,
    /// The association failed; every channel is closed.
    Failed(antiphon_sctp::Error),
}

/// Figures since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Channels that reached `Open`.
    pub channels_opened: u64,
    /// Channels that were open and reached `Closed`.
    pub channels_closed: u64,
    /// Messages and control messages from the peer that broke a rule and were dropped.
    pub messages_invalid: u64,
    /// Messages that came in pieces and were refused by [`read`](crate::DataChannels::read); each has closed its
    /// channel.
    pub messages_refused: u64,
    /// The association's figures.
    pub association: antiphon_sctp::Stats,
}
