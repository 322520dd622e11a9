//! One channel: what it shall be, what is known of it, and what the set keeps of it.

use antiphon_sansio::Queue;

use crate::message::Piece;

/// How much room stays in a queue that has run empty: what is read as it comes takes no memory each time.
pub(crate) const KEPT: usize = 4;

/// Names a channel for as long as the [`DataChannels`](crate::DataChannels) live; unlike a stream id it is never used
/// again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub(crate) u64);

/// Where a channel stands (W3C `RTCDataChannelState`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ChannelState {
    /// Waits for the association.
    Connecting,
    /// Messages may be sent and read.
    Open,
    /// The streams are being reset.
    Closing,
    /// Both directions are reset, or the association has ended. What has arrived can still be read.
    Closed,
}

/// The importance of a channel (RFC 8831 §6.4); any number may come from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Priority(pub u16);

impl Priority {
    /// Below normal.
    pub const VERY_LOW: Self = Self(128);
    /// Normal.
    pub const LOW: Self = Self(256);
    /// High.
    pub const MEDIUM: Self = Self(512);
    /// Extra high.
    pub const HIGH: Self = Self(1024);
}

impl Default for Priority {
    fn default() -> Self {
        Self::LOW
    }
}

/// What a new channel shall be (W3C `RTCDataChannelInit` and the label).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelInit {
    /// A name for the application; need not be unique.
    pub label: String,
    /// A subprotocol's name; may be empty.
    pub protocol: String,
    /// Whether messages arrive in order.
    pub ordered: bool,
    /// Milliseconds during which a message is (re)transmitted. Not together with `max_retransmits`.
    pub max_packet_life_time: Option<u16>,
    /// How often a message is retransmitted. Not together with `max_packet_life_time`.
    pub max_retransmits: Option<u16>,
    /// `Some(id)`: both applications open the channel with this id, no DCEP is spoken.
    pub negotiated: Option<u16>,
    /// Its importance beside other channels; the peer is told, and uses the same.
    pub priority: Priority,
}

impl Default for ChannelInit {
    fn default() -> Self {
        Self {
            label: String::new(),
            protocol: String::new(),
            ordered: true,
            max_packet_life_time: None,
            max_retransmits: None,
            negotiated: None,
            priority: Priority::default(),
        }
    }
}

impl ChannelInit {
    /// A reliable, ordered channel with this label.
    pub fn new(label: impl Into<String>) -> Self {
        Self {
            label: label.into(),
            ..Self::default()
        }
    }
}

/// What is known of a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChannelInfo {
    /// The stream id; `None` until the DTLS role is known.
    pub id: Option<u16>,
    /// The name that the opener gave it; it need not be unique.
    pub label: String,
    /// The subprotocol's name; may be empty.
    pub protocol: String,
    /// Whether messages arrive in order.
    pub ordered: bool,
    /// Milliseconds during which a message is (re)transmitted; `None` for no limit.
    pub max_packet_life_time: Option<u16>,
    /// How often a message is retransmitted; `None` for no limit.
    pub max_retransmits: Option<u16>,
    /// Whether the applications agreed on the id without DCEP.
    pub negotiated: bool,
    /// Its importance beside other channels, both ways.
    pub priority: Priority,
    /// Where the channel stands now.
    pub state: ChannelState,
    /// Bytes of messages that have not been sent for the first time.
    pub buffered_amount: usize,
    /// At how many buffered bytes, on the way down, `BufferedAmountLow` is told.
    pub buffered_amount_low_threshold: usize,
    /// Messages handed over to be sent.
    pub messages_sent: u64,
    /// Bytes of those messages, without any header.
    pub bytes_sent: u64,
    /// Whole messages that have arrived.
    pub messages_received: u64,
    /// Bytes of user data that have arrived, without any header.
    pub bytes_received: u64,
}

/// What the set keeps of a channel.
#[derive(Debug)]
pub(crate) struct Channel {
    pub(crate) init: ChannelInit,
    pub(crate) state: ChannelState,
    pub(crate) stream: Option<u16>,
    /// Our OPEN has not been acknowledged: everything is sent in order (RFC 8832 §6).
    pub(crate) awaits_ack: bool,
    /// It has been `Open`.
    pub(crate) opened: bool,
    pub(crate) threshold: usize,
    /// Messages to read, and what each holds of the receive window.
    pub(crate) inbox: Queue<(Piece, usize), KEPT>,
    /// The last one in the inbox, or that was in it, goes on.
    pub(crate) in_pieces: bool,
    /// A message was refused: nothing more is taken.
    pub(crate) refuses: bool,
    /// A `Readable` event waits in the queue.
    pub(crate) announced: bool,
    pub(crate) messages_sent: u64,
    pub(crate) bytes_sent: u64,
    pub(crate) messages_received: u64,
    pub(crate) bytes_received: u64,
}

impl Channel {
    pub(crate) fn new(init: ChannelInit) -> Self {
        Self {
            init,
            state: ChannelState::Connecting,
            stream: None,
            awaits_ack: false,
            opened: false,
            threshold: 0,
            inbox: Queue::default(),
            in_pieces: false,
            refuses: false,
            announced: false,
            messages_sent: 0,
            bytes_sent: 0,
            messages_received: 0,
            bytes_received: 0,
        }
    }

    pub(crate) fn info(&self, buffered_amount: usize) -> ChannelInfo {
        ChannelInfo {
            id: self.stream,
            label: self.init.label.clone(),
            protocol: self.init.protocol.clone(),
            ordered: self.init.ordered,
            max_packet_life_time: self.init.max_packet_life_time,
            max_retransmits: self.init.max_retransmits,
            negotiated: self.init.negotiated.is_some(),
            priority: self.init.priority,
            state: self.state,
            buffered_amount,
            buffered_amount_low_threshold: self.threshold,
            messages_sent: self.messages_sent,
            bytes_sent: self.bytes_sent,
            messages_received: self.messages_received,
            bytes_received: self.bytes_received,
        }
    }
}
