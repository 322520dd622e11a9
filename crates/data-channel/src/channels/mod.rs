//! All data channels of one transport: opened, closed, and asked about.

mod input;
mod output;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use antiphon_sansio::{Queue, Rng};
use antiphon_sctp::{Association, SendOptions};

use crate::channel::{Channel, ChannelId, ChannelInfo, ChannelInit, ChannelState, KEPT};
use crate::config::{Config, Start};
use crate::dcep::{Dcep, ppid};
use crate::error::OpenError;
use crate::event::{Event, Stats};
use crate::ids::IdPool;

/// Closed channels that wait for [`DataChannels::forget`]. Beyond that the oldest is forgotten.
const MAX_CLOSED: usize = 256;
/// Events that wait. Beyond that the peer's new channels are refused.
const MAX_EVENTS: usize = 4096;
/// Channels that we close at a time: the peer has still to reset its side of so many streams. libwebrtc puts all that
/// it has to reset into one request; one of more than 578 streams exceeds its largest packet, is never sent, and no
/// channel closes any more.
const MAX_AWAITED_RESETS: usize = 512;
/// The peer's limit on messages until it is known: what an absent `a=max-message-size` means (RFC 8841 §6.1).
const DEFAULT_MAX_MESSAGE: usize = 65_536;

/// Who has a stream. A stream is free again only when both of its directions have been reset (RFC 8831 §6.7).
#[derive(Debug, Default)]
struct Slot {
    /// None if the peer opened something that we refused.
    channel: Option<ChannelId>,
    /// Our side's reset has been asked for.
    closing: bool,
    outgoing_reset: bool,
    incoming_reset: bool,
    /// The peer has used the stream anew and reset it again, all before its answer to our reset reached us. Applies to
    /// the channel whose OPEN waits.
    reset_again: bool,
}

/// All data channels of one transport, and the association that carries them.
// What is asked for with every packet, even where there is no channel, comes first.
#[derive(Debug)]
#[repr(C)]
pub struct DataChannels {
    events: Queue<Event, KEPT>,
    association: Association,
    max_channels: usize,
    ids: Option<IdPool>,
    connected: bool,
    ended: bool,
    /// How the association ended: in an orderly way, or by what.
    end: Option<Result<(), antiphon_sctp::Error>>,
    /// Boxed: a leaf of the tree has room for eleven, and mostly there are one or two.
    channels: BTreeMap<ChannelId, Box<Channel>>,
    slots: BTreeMap<u16, Slot>,
    /// Streams that have ever been somebody's.
    used: BTreeSet<u16>,
    closed: VecDeque<ChannelId>,
    /// Streams that we reset first, and the peer has still to reset.
    awaited: BTreeSet<u16>,
    /// Channels that we are to close when there are fewer of those.
    held: VecDeque<ChannelId>,
    next_id: u64,
    max_message: usize,
    send_buffer: usize,
    stats: Stats,
}

impl DataChannels {
    /// Channels that can be opened; nothing is sent before [`Self::start`].
    pub fn new(config: Config, now: Instant, rng: Rng) -> Self {
        Self {
            send_buffer: config.association.send_buffer,
            association: Association::new(config.association, now, rng),
            max_channels: config.max_channels,
            ids: None,
            connected: false,
            ended: false,
            end: None,
            channels: BTreeMap::new(),
            slots: BTreeMap::new(),
            used: BTreeSet::new(),
            closed: VecDeque::new(),
            awaited: BTreeSet::new(),
            held: VecDeque::new(),
            next_id: 0,
            max_message: DEFAULT_MAX_MESSAGE,
            events: Queue::default(),
            stats: Stats::default(),
        }
    }

    /// DTLS is up: connects the association, gives ids to the channels that wait, and opens them. A second call changes
    /// the message size only.
    pub fn start(&mut self, now: Instant, start: Start) {
        // W3C `maxMessageSize`: what the peer takes, and what fits our send buffer.
        self.max_message = match start.remote_max_message_size {
            0 => self.send_buffer,
            limit => limit.min(self.send_buffer),
        };
        if self.ids.is_some() || self.ended {
            return;
        }
        self.ids = Some(IdPool::new(start.dtls_client));
        let waiting: Vec<ChannelId> = self.channels.keys().copied().collect();
        for id in waiting {
            let channel = &self.channels[&id];
            if channel.state == ChannelState::Connecting && self.give_stream(now, id).is_err() {
                self.set_closed(now, id);
            }
        }
        self.association.set_remote_port(start.remote_port);
        self.association.connect(now);
        self.pump(now);
    }

    /// Opens a channel. Before [`Self::start`] its id is not known yet unless it is negotiated; it opens when the
    /// association is up.
    ///
    /// # Errors
    /// [`OpenError::TooLong`] and [`OpenError::TwoLimits`] of what nobody can open, [`OpenError::InvalidId`] and
    /// [`OpenError::IdInUse`] of a negotiated id, [`OpenError::NoFreeId`] when there are too many, and
    /// [`OpenError::Closed`].
    pub fn open(&mut self, now: Instant, init: ChannelInit) -> Result<ChannelId, OpenError> {
        if init.label.len() > usize::from(u16::MAX) || init.protocol.len() > usize::from(u16::MAX) {
            return Err(OpenError::TooLong);
        }
        if init.max_packet_life_time.is_some() && init.max_retransmits.is_some() {
            return Err(OpenError::TwoLimits);
        }
        if self.ended {
            return Err(OpenError::Closed);
        }
        if let Some(id) = init.negotiated {
            if id >= self.stream_limit() {
                return Err(OpenError::InvalidId);
            }
            if self.slots.contains_key(&id) {
                return Err(OpenError::IdInUse);
            }
        }
        if self.live_channels() >= self.max_channels {
            return Err(OpenError::NoFreeId);
        }
        let id = self.add(Channel::new(init));
        if self.ids.is_some() || self.channels[&id].init.negotiated.is_some() {
            if let Err(error) = self.give_stream(now, id) {
                self.channels.remove(&id);
                return Err(error);
            }
            if self.connected {
                self.set_open(id);
            }
        }
        Ok(id)
    }

    fn live_channels(&self) -> usize {
        self.channels.len() - self.closed.len()
    }

    /// Ids below this exist.
    fn stream_limit(&self) -> u16 {
        self.association.outgoing_streams().unwrap_or(u16::MAX)
    }

    fn add(&mut self, channel: Channel) -> ChannelId {
        let id = ChannelId(self.next_id);
        self.next_id += 1;
        self.channels.insert(id, Box::new(channel));
        id
    }

    /// Gives the channel its stream and announces it to the peer.
    fn give_stream(&mut self, now: Instant, id: ChannelId) -> Result<(), OpenError> {
        let limit = self.stream_limit();
        let Some(channel) = self.channels.get_mut(&id) else {
            return Err(OpenError::Closed);
        };
        let stream = match (channel.stream, channel.init.negotiated, &mut self.ids) {
            (Some(_), ..) => return Ok(()),
            (None, Some(stream), _) => stream,
            (None, None, Some(ids)) => {
                let slots = &self.slots;
                ids.take(limit, |id| slots.contains_key(&id))
                    .ok_or(OpenError::NoFreeId)?
            }
            (None, None, None) => return Ok(()),
        };
        if channel.init.negotiated.is_none() {
            let open = Dcep::Open(channel.init.clone()).write();
            let reliable = SendOptions::default();
            self.association
                .send(now, stream, ppid::DCEP, open, reliable)
                .map_err(|_| OpenError::NoFreeId)?;
            channel.awaits_ack = true;
        }
        channel.stream = Some(stream);
        self.association.set_weight(stream, channel.init.priority.0);
        self.association
            .set_buffered_amount_low_threshold(stream, channel.threshold);
        let slot = Slot {
            channel: Some(id),
            ..Slot::default()
        };
        self.occupy(stream, slot);
        Ok(())
    }

    fn occupy(&mut self, stream: u16, slot: Slot) {
        self.slots.insert(stream, slot);
        self.used.insert(stream);
    }

    /// Closes the channel (W3C `close()`): what is queued is sent first, then the streams are reset. Ends with
    /// `Closed`.
    pub fn close_channel(&mut self, now: Instant, channel: ChannelId) {
        let Some(found) = self.channels.get_mut(&channel) else {
            return;
        };
        if matches!(found.state, ChannelState::Closing | ChannelState::Closed) {
            return;
        }
        match found.stream {
            Some(_) if !self.ended && self.ids.is_some() => {
                found.state = ChannelState::Closing;
                self.held.push_back(channel);
                self.close_held();
            }
            stream => {
                if let Some(stream) = stream {
                    self.slots.remove(&stream);
                }
                self.set_closed(now, channel);
            }
        }
    }

    /// Closes channels whose turn has come.
    fn close_held(&mut self) {
        while self.awaited.len() < MAX_AWAITED_RESETS
            && let Some(id) = self.held.pop_front()
        {
            let stream = self.channels.get(&id).and_then(|channel| channel.stream);
            // The peer may have closed it meanwhile, and the stream be another's.
            let Some(stream) =
                stream.filter(|stream| self.slots.get(stream).is_some_and(|slot| slot.channel == Some(id)))
            else {
                continue;
            };
            if !self.slots[&stream].closing {
                self.awaited.insert(stream);
                self.reset_our_side(stream);
            }
        }
    }

    fn reset_our_side(&mut self, stream: u16) {
        if let Some(slot) = self.slots.get_mut(&stream)
            && !slot.closing
        {
            slot.closing = true;
            self.association.reset_stream(stream);
        }
    }

    /// Drops what is left of a closed channel: unread messages and its [`ChannelInfo`].
    pub fn forget(&mut self, now: Instant, channel: ChannelId) {
        if let Some(at) = self.closed.iter().position(|id| *id == channel) {
            self.closed.remove(at);
            self.drop_channel(now, channel);
        }
    }

    fn drop_channel(&mut self, now: Instant, id: ChannelId) {
        if let Some(channel) = self.channels.remove(&id) {
            for (_, held) in channel.inbox {
                self.association.release(now, held);
            }
        }
    }

    fn set_open(&mut self, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        channel.state = ChannelState::Open;
        channel.opened = true;
        self.stats.channels_opened += 1;
        self.events.push_back(Event::Open(id));
    }

    fn set_closed(&mut self, now: Instant, id: ChannelId) {
        let Some(channel) = self.channels.get_mut(&id) else {
            return;
        };
        if channel.state == ChannelState::Closed {
            return;
        }
        channel.state = ChannelState::Closed;
        self.stats.channels_closed += u64::from(channel.opened);
        self.events.push_back(Event::Closed(id));
        self.closed.push_back(id);
        if self.closed.len() > MAX_CLOSED
            && let Some(oldest) = self.closed.pop_front()
        {
            self.drop_channel(now, oldest);
        }
    }

    /// Bytes of the channel's messages that have not been sent for the first time.
    pub fn buffered_amount(&self, channel: ChannelId) -> usize {
        match self.channels.get(&channel) {
            Some(channel) if channel.state != ChannelState::Closed => {
                channel.stream.map_or(0, |s| self.association.buffered_amount(s))
            }
            _ => 0,
        }
    }

    /// At which buffered amount, on the way down, `BufferedAmountLow` is told. 0 at first.
    pub fn set_buffered_amount_low_threshold(&mut self, channel: ChannelId, bytes: usize) {
        let Some(channel) = self.channels.get_mut(&channel) else {
            return;
        };
        channel.threshold = bytes;
        if let (Some(stream), false) = (channel.stream, channel.state == ChannelState::Closed) {
            self.association.set_buffered_amount_low_threshold(stream, bytes);
        }
    }

    /// What is known of the channel; `None` after [`Self::forget`].
    pub fn info(&self, channel: ChannelId) -> Option<ChannelInfo> {
        let found = self.channels.get(&channel)?;
        Some(found.info(self.buffered_amount(channel)))
    }

    /// Where the channel stands; `None` after [`Self::forget`].
    pub fn state(&self, channel: ChannelId) -> Option<ChannelState> {
        self.channels.get(&channel).map(|channel| channel.state)
    }

    /// Every channel that has not been forgotten, oldest first.
    pub fn channels(&self) -> impl Iterator<Item = ChannelId> + '_ {
        self.channels.keys().copied()
    }

    /// Runs what is due.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.association.handle_timeout(now);
        self.pump(now);
    }

    /// When [`Self::handle_timeout`] wants to be called.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.association.poll_timeout()
    }

    /// Closes the association in an orderly way: what is queued is delivered first. Ends with `Closed` for every
    /// channel and
    /// `Disconnected`.
    pub fn close(&mut self, now: Instant) {
        self.association.close(now);
        self.pump(now);
    }

    /// Ends everything at once; the peer is told by ABORT. What `RTCPeerConnection.close()` wants.
    pub fn abort(&mut self, now: Instant) {
        self.association.abort();
        self.pump(now);
    }

    /// A round-trip time measured by ICE, a hint for the first timers.
    pub fn set_rtt(&mut self, rtt: Duration) {
        self.association.set_rtt(rtt);
    }

    /// The most that may be on its way to us, in bytes: see [`Association::set_receive_share`].
    pub fn set_receive_share(&mut self, bytes: usize) {
        self.association.set_receive_share(bytes);
    }

    /// Changes the largest SCTP packet in bytes.
    pub fn set_max_packet(&mut self, bytes: usize) {
        self.association.set_max_packet(bytes);
    }

    /// Changes the largest SCTP packet in bytes that path MTU discovery tries.
    pub fn set_probe_up_to(&mut self, bytes: usize) {
        self.association.set_probe_up_to(bytes);
    }

    /// The layers below use another path from now on.
    pub fn path_changed(&mut self) {
        self.association.path_changed();
    }

    /// The state of the association underneath.
    pub fn association_state(&self) -> antiphon_sctp::State {
        self.association.state()
    }

    /// Whether messages travel in I-DATA chunks (RFC 8260); false until the handshake has settled it.
    pub fn is_interleaved(&self) -> bool {
        self.association.is_interleaved()
    }

    /// How the association ended; `Ok` in an orderly way (SCTP SHUTDOWN). `None` before.
    pub fn end(&self) -> Option<&Result<(), antiphon_sctp::Error>> {
        self.end.as_ref()
    }

    /// How many channels the peer lets us open in all (W3C `maxChannels`); known once the association is up.
    pub fn max_channels(&self) -> Option<u16> {
        self.association.outgoing_streams()
    }

    /// The largest message in bytes: what the peer takes, and what fits the send buffer.
    pub fn max_message_size(&self) -> usize {
        self.max_message
    }

    /// Figures.
    pub fn stats(&self) -> Stats {
        Stats {
            association: self.association.stats(),
            ..self.stats
        }
    }
}
