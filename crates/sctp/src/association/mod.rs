use std::collections::VecDeque;
use std::time::{Duration, Instant};

use antiphon_sansio::{Rng, TransmitBuf};
use bytes::{Bytes, BytesMut};

use crate::{Config, Error, Event, Message, SendError, SendOptions, State, Stats};

/// One SCTP association (RFC 9260). It knows no addresses: packets go in and out through the layer below, DTLS.
#[derive(Debug)]
pub struct Association {
    config: Config,
    state: State,
    events: VecDeque<Event>,
    stats: Stats,
    _rng: Rng,
}

impl Association {
    /// An association that waits for the peer's INIT, or for [`Self::connect`].
    pub fn new(config: Config, _now: Instant, rng: Rng) -> Self {
        Self {
            config,
            state: State::Closed,
            events: VecDeque::new(),
            stats: Stats::default(),
            _rng: rng,
        }
    }

    /// Sends INIT. Both ends may: collisions are resolved (RFC 9260 §5.2.1).
    pub fn connect(&mut self, _now: Instant) {
        self.state = State::CookieWait;
    }

    /// Takes one packet from the layer below.
    pub fn handle_packet(&mut self, _now: Instant, _packet: BytesMut) {
        self.stats.packets_dropped += 1;
    }

    /// Runs what is due.
    pub fn handle_timeout(&mut self, _now: Instant) {}

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Writes one packet into a new segment of `out` and leaves the segment open; `false` if there is nothing to send or no
    /// room for a segment.
    pub fn poll_transmit(&mut self, _now: Instant, _out: &mut TransmitBuf) -> bool {
        false
    }

    /// The next event.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Queues a message. It may be sent before the handshake is over: it then leaves with it.
    pub fn send(
        &mut self,
        _now: Instant,
        _stream: u16,
        _ppid: u32,
        _data: Bytes,
        _options: SendOptions,
    ) -> Result<(), SendError> {
        Err(SendError::Closed)
    }

    /// Takes the stream's next message and gives its bytes back to the receive window.
    pub fn read(&mut self, stream: u16) -> Option<Message> {
        let message = self.take(stream)?;
        self.release(&message);
        Some(message)
    }

    /// Takes the stream's next message; its bytes count against the receive window until [`Self::release`].
    pub fn take(&mut self, _stream: u16) -> Option<Message> {
        None
    }

    /// Gives the bytes of a message that was taken back to the receive window. Once per message.
    pub fn release(&mut self, _message: &Message) {}

    /// Bytes of the stream's messages that have not been sent for the first time.
    pub fn buffered_amount(&self, _stream: u16) -> usize {
        0
    }

    /// At which [`Self::buffered_amount`], on the way down, `BufferedAmountLow` is told.
    pub fn set_buffered_amount_low_threshold(&mut self, _stream: u16, _bytes: usize) {}

    /// Resets our outgoing side of the stream once what is queued on it has been sent (RFC 6525 §5.1.2). Until
    /// `OutgoingReset` the stream takes no messages.
    pub fn reset_stream(&mut self, _now: Instant, _stream: u16) {}

    /// Closes in an orderly way: what is queued is delivered first (RFC 9260 §9.2).
    pub fn close(&mut self, _now: Instant) {}

    /// Ends the association at once; the peer is told by ABORT (RFC 9260 §9.1).
    pub fn abort(&mut self, _now: Instant) {
        self.events.push_back(Event::Failed(Error::Aborted));
    }

    /// Where the association stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// A round-trip time measured elsewhere (ICE), taken until the association has measured its own.
    pub fn set_rtt(&mut self, _rtt: Duration) {}

    /// Changes [`Config::max_packet`]. Chunks already sent keep their size.
    pub fn set_max_packet(&mut self, bytes: usize) {
        self.config.max_packet = bytes;
    }

    /// Figures.
    pub fn stats(&self) -> Stats {
        self.stats
    }
}
