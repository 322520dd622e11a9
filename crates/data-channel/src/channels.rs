use std::collections::VecDeque;
use std::time::{Duration, Instant};

use antiphon_sansio::{Rng, TransmitBuf};
use antiphon_sctp::Association;
use bytes::BytesMut;

use crate::{ChannelId, ChannelInfo, ChannelInit, Config, DtlsRole, Event, Message, OpenError, SendError, Stats};

/// All data channels of one transport, and the association that carries them.
#[derive(Debug)]
pub struct DataChannels {
    association: Association,
    events: VecDeque<Event>,
    stats: Stats,
}

impl DataChannels {
    /// Channels that can be opened; nothing is sent before [`Self::start`].
    pub fn new(config: Config, now: Instant, rng: Rng) -> Self {
        Self {
            association: Association::new(config.association, now, rng),
            events: VecDeque::new(),
            stats: Stats::default(),
        }
    }

    /// DTLS is up: connects the association, gives ids to the channels that wait, and opens them.
    ///
    /// `remote_max_message_size` is the peer's `a=max-message-size`: 0 means no limit, 65536 if the attribute is absent
    /// (RFC 8841 §6.1). `remote_port` is its `a=sctp-port`. A second call changes the message size only.
    pub fn start(&mut self, now: Instant, _role: DtlsRole, _remote_max_message_size: usize, _remote_port: u16) {
        self.association.connect(now);
    }

    /// Opens a channel. Before [`Self::start`] its id is not known yet unless it is negotiated.
    pub fn open(&mut self, _now: Instant, _init: ChannelInit) -> Result<ChannelId, OpenError> {
        Err(OpenError::Closed)
    }

    /// Queues a message.
    pub fn send(&mut self, _now: Instant, _channel: ChannelId, _message: Message) -> Result<(), SendError> {
        Err(SendError::Closed)
    }

    /// Takes the channel's next message and gives its bytes back to the receive window.
    pub fn read(&mut self, _channel: ChannelId) -> Option<Message> {
        None
    }

    /// Closes the channel (W3C `close()`): what is queued is sent first, then the streams are reset. Ends with `Closed`.
    pub fn close_channel(&mut self, _now: Instant, _channel: ChannelId) {}

    /// Drops what is left of a closed channel: unread messages and its [`ChannelInfo`].
    pub fn forget(&mut self, _channel: ChannelId) {}

    /// Bytes of the channel's messages that have not been sent for the first time.
    pub fn buffered_amount(&self, _channel: ChannelId) -> usize {
        0
    }

    /// At which buffered amount, on the way down, `BufferedAmountLow` is told. 0 at first.
    pub fn set_buffered_amount_low_threshold(&mut self, _channel: ChannelId, _bytes: usize) {}

    /// What is known of the channel; `None` after [`Self::forget`].
    pub fn info(&self, _channel: ChannelId) -> Option<ChannelInfo> {
        None
    }

    /// Every channel that has not been forgotten, oldest first.
    pub fn channels(&self) -> impl Iterator<Item = ChannelId> + '_ {
        std::iter::empty()
    }

    /// Takes one SCTP packet from DTLS.
    pub fn handle_packet(&mut self, now: Instant, packet: BytesMut) {
        self.association.handle_packet(now, packet);
    }

    /// Runs what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.association.handle_timeout(now);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.association.poll_timeout()
    }

    /// Writes one SCTP packet into a new segment of `out` and leaves the segment open; `false` if there is nothing to send
    /// or no room for a segment.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> bool {
        self.association.poll_transmit(now, out)
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Closes every channel and the association in an orderly way.
    pub fn close(&mut self, now: Instant) {
        self.association.close(now);
    }

    /// Ends everything at once; the peer is told by ABORT. What `RTCPeerConnection.close()` wants.
    pub fn abort(&mut self, now: Instant) {
        self.association.abort(now);
    }

    /// A round-trip time measured by ICE, a hint for the first timers.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.association.set_rtt(rtt);
    }

    /// Changes the largest SCTP packet in bytes.
    pub fn set_max_packet(&mut self, bytes: usize) {
        self.association.set_max_packet(bytes);
    }

    /// The state of the association underneath.
    pub fn association_state(&self) -> antiphon_sctp::State {
        self.association.state()
    }

    /// The largest message in bytes that the peer takes.
    pub fn max_message_size(&self) -> usize {
        0
    }

    /// Figures.
    pub fn stats(&self) -> Stats {
        Stats {
            association: self.association.stats(),
            ..self.stats
        }
    }
}
