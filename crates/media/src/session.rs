use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use antiphon_sansio::{ClockAnchor, Ecn, Rng, TransmitBuf};
use bytes::BytesMut;

use crate::config::{Config, Output, ReceiverConfig, SenderConfig};
use crate::error::Error;
use crate::event::{Event, Frame, Packet, PacketKind, ReceiverId, SenderId};
use crate::stats::{Dropped, Stats};

/// All RTP of one transport: what a BUNDLE group sends and receives.
///
/// Knows no addresses and no keys. Input is RTP and RTCP after SRTP; output is written into an open segment, which the
/// caller protects and finishes.
#[derive(Debug)]
pub struct Session {
    config: Config,
    anchor: ClockAnchor,
    rng: Rng,
    next_id: u32,
    senders: BTreeMap<SenderId, SenderConfig>,
    receivers: BTreeMap<ReceiverId, ReceiverConfig>,
    events: VecDeque<Event>,
    dropped: Dropped,
    closed: bool,
}

impl Session {
    /// A session without streams. `anchor` gives sender reports their wall-clock time.
    pub fn new(config: Config, now: Instant, anchor: ClockAnchor, rng: Rng) -> Self {
        let _ = now;
        Self {
            config,
            anchor,
            rng,
            next_id: 0,
            senders: BTreeMap::new(),
            receivers: BTreeMap::new(),
            events: VecDeque::new(),
            dropped: Dropped::default(),
            closed: false,
        }
    }

    /// Adds an outgoing stream, active at once.
    pub fn add_sender(&mut self, now: Instant, config: SenderConfig) -> Result<SenderId, Error> {
        let _ = (now, &self.anchor, &self.rng);
        if self.closed {
            return Err(Error::Closed);
        }
        if self.senders.values().any(|sender| sender.ssrc == config.ssrc) {
            return Err(Error::SsrcInUse);
        }
        let id = SenderId(self.next_id);
        self.next_id += 1;
        self.senders.insert(id, config);
        Ok(id)
    }

    /// Replaces what was negotiated for a sender; an unchanged SSRC keeps sequence, ring and statistics.
    pub fn update_sender(&mut self, now: Instant, id: SenderId, config: SenderConfig) -> Result<(), Error> {
        let _ = now;
        *self.senders.get_mut(&id).ok_or(Error::UnknownId)? = config;
        Ok(())
    }

    /// Lets a sender send or not, as the negotiated direction says.
    pub fn set_sender_active(&mut self, now: Instant, id: SenderId, active: bool) -> Result<(), Error> {
        let _ = (now, active);
        self.senders.get(&id).map(|_| ()).ok_or(Error::UnknownId)
    }

    /// Ends an outgoing stream; RTCP BYE follows.
    pub fn remove_sender(&mut self, now: Instant, id: SenderId) -> Result<(), Error> {
        let _ = now;
        self.senders.remove(&id).map(|_| ()).ok_or(Error::UnknownId)
    }

    /// Adds an incoming media section.
    pub fn add_receiver(&mut self, now: Instant, config: ReceiverConfig) -> Result<ReceiverId, Error> {
        let _ = now;
        if self.closed {
            return Err(Error::Closed);
        }
        let id = ReceiverId(self.next_id);
        self.next_id += 1;
        self.receivers.insert(id, config);
        Ok(id)
    }

    /// Replaces what was negotiated for a receiver; its sources live on.
    pub fn update_receiver(&mut self, now: Instant, id: ReceiverId, config: ReceiverConfig) -> Result<(), Error> {
        let _ = now;
        *self.receivers.get_mut(&id).ok_or(Error::UnknownId)? = config;
        Ok(())
    }

    /// Chooses between frames and packets; may change at any time.
    pub fn set_output(&mut self, id: ReceiverId, output: Output) -> Result<(), Error> {
        self.receivers.get_mut(&id).ok_or(Error::UnknownId)?.output = output;
        Ok(())
    }

    /// Ends an incoming media section; its sources are forgotten.
    pub fn remove_receiver(&mut self, now: Instant, id: ReceiverId) -> Result<(), Error> {
        let _ = now;
        self.receivers.remove(&id).map(|_| ()).ok_or(Error::UnknownId)
    }

    /// Changes the largest RTP packet (bytes before SRTP) for frames that are sent from now on.
    pub fn set_max_packet_size(&mut self, bytes: usize) {
        self.config.max_packet_size = bytes;
    }

    /// Whether feedback may be reduced-size (`a=rtcp-rsize`).
    pub fn set_reduced_size(&mut self, reduced_size: bool) {
        self.config.reduced_size = reduced_size;
    }

    /// Takes one RTP packet after SRTP.
    pub fn handle_rtp(&mut self, now: Instant, ecn: Ecn, data: BytesMut) {
        let _ = (now, ecn, data);
        self.dropped.unrouted += 1;
    }

    /// Takes one RTCP packet after SRTP, compound or reduced-size.
    pub fn handle_rtcp(&mut self, now: Instant, data: BytesMut) {
        let _ = (now, data);
        self.dropped.malformed_rtcp += 1;
    }

    /// Packetises one frame and queues it. All of it is taken, or an error says why none was.
    pub fn send_frame(&mut self, now: Instant, id: SenderId, frame: Frame) -> Result<(), Error> {
        let _ = (now, frame);
        self.senders.get(&id).ok_or(Error::UnknownId)?;
        Err(Error::Inactive)
    }

    /// Forwards one packet of another session (or receiver): SSRC, sequence number and timestamp are rewritten so that the
    /// outgoing stream stays continuous when the source changes. `packet.payload_type` must be one of the sender's.
    pub fn send_rtp(&mut self, now: Instant, id: SenderId, packet: &Packet) -> Result<(), Error> {
        let _ = (now, packet);
        self.senders.get(&id).ok_or(Error::UnknownId)?;
        Err(Error::Inactive)
    }

    /// Asks every source of the receiver for a key frame (PLI, or FIR if only that was negotiated). Repeated requests are
    /// merged while one is under way.
    pub fn request_key_frame(&mut self, now: Instant, id: ReceiverId) -> Result<(), Error> {
        let _ = now;
        self.receivers.get(&id).map(|_| ()).ok_or(Error::UnknownId)
    }

    /// The newest bandwidth estimate, bits a second; `None` until the peer sent congestion feedback.
    pub fn target_bitrate(&self) -> Option<u64> {
        None
    }

    /// Writes the next packet into a new segment of `out` and leaves the segment open. `None`: nothing is due, or `out` has
    /// no room (then no segment is open).
    pub fn poll_transmit(&mut self, now: Instant, out: &mut TransmitBuf) -> Option<PacketKind> {
        let _ = (now, out);
        None
    }

    /// What happened. Media events are bounded; the oldest go first, counted.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// When to call [`Self::handle_timeout`], or poll for a paced packet.
    pub fn poll_timeout(&self) -> Option<Instant> {
        None
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        let _ = now;
    }

    /// Says goodbye for every stream (RTCP BYE); poll until drained.
    pub fn close(&mut self, now: Instant) {
        let _ = now;
        self.closed = true;
    }

    /// What was counted so far.
    pub fn stats(&self, now: Instant) -> Stats {
        let _ = now;
        Stats {
            dropped: self.dropped,
            ..Stats::default()
        }
    }
}
