//! One peer of a driver: its sans-I/O machine, and the queues towards its handles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Weak;
use std::time::{Duration, Instant};

use antiphon_data_channel::{ChannelId, ChannelInfo, ChannelState};
use antiphon_media::Packet;
use antiphon_peer_connection as core;
use antiphon_sansio::Local;
use core::{EncodingId, RtcDataChannelInit};

use super::inbox::ToDriver;
use super::message::{Answer, Notice, PeerId, Request, RouterId};
use crate::channel::DataChannel;
use crate::error::Error;
use crate::event::Event;
use crate::events::EventSender;
use crate::mailbox::{Queue, Waiting};
use crate::wire::Wire;

/// How long a closed peer may take to say goodbye (BYE, SCTP ABORT, close_notify).
const FAREWELL: Duration = Duration::from_secs(2);

/// Turns in which a machine is asked what it wants of the world, after something that may lead to a wish: in the first for what came
/// of it, and in the second for what came of the datagrams of the first.
const ASKED: u8 = 2;

/// Where a peer stands among the others of its driver.
#[derive(Debug, Default)]
pub(super) struct Place {
    /// Its number, and its place in the table of peers: given when it is put there.
    pub(super) id: PeerId,
    pub(super) slot: u32,
    /// When its machine wants to go on.
    pub(super) wanted: Option<Instant>,
    /// When it goes on: then, or on the next [`Beat`](super::beat::Beat).
    pub(super) deadline: Option<Instant>,
    /// The earliest entry of the driver's heap of deadlines that stands for it: never later than the deadline.
    pub(super) entry: Option<Instant>,
    /// Whether it is among those that are drained next.
    pub(super) marked: bool,
    /// The turn of a socket in which it was heard last, and the period of a shared one.
    pub(super) heard: u64,
    pub(super) counted: u64,
}

/// One peer. What each turn looks at comes first, side by side, and the machine has in front what each packet looks at.
#[repr(C)]
pub(crate) struct Peer {
    /// Where the driver's schedule has it.
    pub(super) place: Place,
    /// The socket that took its last datagrams.
    pub(crate) sends_on: Option<u32>,
    /// So many turns more it is asked what it wants of the world. Media alone makes no wishes, and to ask is to fetch memory.
    asked: u8,
    closed_at: Option<Instant>,
    /// What its datagrams go through.
    pub(super) wire: Option<Box<dyn Wire>>,
    /// Channels with something to send, here or in the machine.
    sending: BTreeSet<ChannelId>,
    /// The routers that it takes part in.
    pub(super) routers: Vec<RouterId>,
    pub(crate) core: core::PeerConnection,
    /// Its local user fragment, as the router of a shared port knows it.
    pub(super) routed_ufrag: String,
    /// Sockets and connections that are this peer's own.
    pub(crate) holds: Vec<Local>,
    /// Its requests to listen, and the listeners that serve them.
    pub(crate) listens: Vec<(u32, u32)>,
    /// The names that are answered for on its behalf.
    pub(crate) published: Vec<String>,
    /// Whether it wants to know of interfaces that come and go.
    pub(crate) watches: bool,
    /// For the handles of channels that the other end opens.
    driver: Weak<ToDriver>,
    events: EventSender,
    channels: BTreeMap<ChannelId, Queue>,
}

impl Peer {
    pub(crate) fn new(core: core::PeerConnection, driver: Weak<ToDriver>, events: EventSender) -> Self {
        Self {
            core,
            place: Place::default(),
            routed_ufrag: String::new(),
            asked: ASKED,
            sends_on: None,
            holds: Vec::new(),
            listens: Vec::new(),
            published: Vec::new(),
            watches: false,
            wire: None,
            routers: Vec::new(),
            driver,
            events,
            channels: BTreeMap::new(),
            sending: BTreeSet::new(),
            closed_at: None,
        }
    }

    /// Something happened that may lead it to want something of the world, or to change its name.
    pub(super) fn may_want(&mut self) {
        self.asked = ASKED;
    }

    /// Whether it is asked in this turn what it wants.
    pub(super) fn is_asked(&mut self) -> bool {
        let is_asked = self.asked > 0 || self.closed_at.is_some();
        self.asked = self.asked.saturating_sub(1);
        is_asked
    }

    /// Forwards a packet.
    pub(super) fn send_packet(&mut self, id: EncodingId, packet: &Packet, answer: Option<Answer<()>>, now: Instant) {
        let sent = self.core.send_rtp(now, id, packet);
        if let Some(answer) = answer {
            let _ = answer.send(sent.map_err(Error::from));
        }
    }

    /// Does what a handle asks.
    pub(crate) fn serve(&mut self, request: Request, now: Instant) {
        if !matches!(request, Request::SendFrame(..) | Request::SendPacket(..)) {
            self.may_want();
        }
        match request {
            Request::SendFrame(id, frame, answer) => {
                let sent = self.core.send_frame(now, id, frame);
                let _ = answer.send(sent.map_err(Error::from));
            }
            Request::SendPacket(id, packet, answer) => self.send_packet(id, &packet, answer, now),
            Request::CreateDataChannel {
                label,
                init,
                queue,
                answer,
            } => _ = answer.send(self.create_channel(&label, init, queue, now)),
            Request::SetWire(wire, answer) => {
                self.set_wire(wire);
                let _ = answer.send(Ok(()));
            }
            Request::Close => self.close(now),
            Request::Call(call) => call(&mut self.core, now),
        }
    }

    /// Hears what a handle says in passing.
    pub(crate) fn hear(&mut self, notice: Notice, now: Instant) {
        match notice {
            Notice::Dropped(_) => self.close(now),
            Notice::Outgoing(_, channel) => self.hand_over(now, channel),
            Notice::Drained(_, channel) => _ = self.pump(now, channel),
            Notice::Close(_, channel) => self.close_channel(now, channel),
        }
    }

    /// Closes: the machine still says goodbye.
    fn close(&mut self, now: Instant) {
        if self.closed_at.is_none() {
            self.closed_at = Some(now);
            self.core.close(now);
        }
    }

    /// Whether the peer is closed and has said all it had to say, or took too long over it.
    pub(crate) fn is_finished(&self, now: Instant) -> bool {
        let Some(closed_at) = self.closed_at else { return false };
        // Handles that remain keep their queues, and get an error from every further call.
        (self.core.poll_timeout().is_none() && self.next_on_wire().is_none()) || now >= closed_at + FAREWELL
    }

    /// When the driver must come back.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let machine = [self.core.poll_timeout(), self.next_on_wire()]
            .into_iter()
            .flatten()
            .min();
        match self.closed_at {
            None => machine,
            Some(at) => Some(machine.map_or(at + FAREWELL, |m| m.min(at + FAREWELL))),
        }
    }

    fn create_channel(
        &mut self,
        label: &str,
        init: RtcDataChannelInit,
        queue: Queue,
        now: Instant,
    ) -> Result<(ChannelId, ChannelInfo), Error> {
        let id = self.core.create_data_channel(now, label, init)?;
        let info = self.open_channel(id, queue).ok_or(Error::Closed)?;
        Ok((id, info))
    }

    /// Messages of a channel that exists in the machine pass through `queue` from now on.
    fn open_channel(&mut self, id: ChannelId, queue: Queue) -> Option<ChannelInfo> {
        let info = self.core.data_channel(id)?;
        self.channels.insert(id, queue);
        if info.state == ChannelState::Open {
            self.set_state(id, ChannelState::Open);
        }
        Some(info)
    }

    /// The handle of a channel that the other end has opened.
    fn incoming_channel(&mut self, id: ChannelId) -> Option<DataChannel> {
        let driver = self.driver.upgrade()?;
        let (queue, receiver) = Queue::new();
        let info = self.open_channel(id, queue)?;
        Some(DataChannel::new(driver, id, info, receiver))
    }

    /// Hands over everything that the machine reports. Whether a channel's reader waited for one message.
    pub(crate) fn dispatch(&mut self, now: Instant) -> bool {
        let mut woken = false;
        while let Some(event) = self.core.poll_event() {
            woken |= self.report(event, now);
        }
        woken
    }

    /// Hands over one event. Whether a channel's reader waited for it.
    pub(super) fn report(&mut self, event: core::Event, now: Instant) -> bool {
        match event {
            core::Event::DataChannel(id) => {
                if let Some(channel) = self.incoming_channel(id) {
                    self.events.send(Event::DataChannel(channel));
                    self.pump(now, id);
                }
            }
            core::Event::DataChannelOpen(id) => self.set_state(id, ChannelState::Open),
            core::Event::DataChannelReadable(id) => return self.pump(now, id),
            // The mailboxes are told after each round, whatever the amount.
            core::Event::DataChannelBufferedAmountLow(_) => {}
            core::Event::DataChannelClosing(id) => self.set_state(id, ChannelState::Closing),
            core::Event::DataChannelClosed(id) => {
                self.pump_or_all(now, id, true);
                self.set_state(id, ChannelState::Closed);
                self.channels.remove(&id);
                self.core.forget_data_channel(now, id);
            }
            // A reader who is behind loses the oldest, and is told how many.
            media if is_perishable(&media) => self.events.send_media(media),
            other => {
                if let Some(event) = other.map_channel(|_| None) {
                    self.events.send(event);
                }
            }
        }
        false
    }

    fn set_state(&mut self, id: ChannelId, state: ChannelState) {
        let Some(queue) = self.channels.get(&id) else { return };
        if state == ChannelState::Open {
            queue.mailbox.open(self.core.max_message_size());
        } else {
            queue.mailbox.refuse();
        }
        queue.state.send_replace(state);
    }

    /// Moves messages from SCTP into the channel's mailbox while there is room. Whether a reader waited for this one.
    fn pump(&mut self, now: Instant, id: ChannelId) -> bool {
        self.pump_or_all(now, id, false)
    }

    fn pump_or_all(&mut self, now: Instant, id: ChannelId, all: bool) -> bool {
        let queue = self.channels.get(&id);
        queue.is_some_and(|queue| queue.mailbox.pump(all, || self.core.read_piece(now, id)))
    }

    /// Moves messages from the channel's mailbox into SCTP while there is room.
    fn hand_over(&mut self, now: Instant, id: ChannelId) {
        if self.hand_over_one(now, id) {
            self.sending.insert(id);
        }
    }

    /// The same for all channels that had something to send.
    pub(crate) fn hand_over_all(&mut self, now: Instant) {
        let mut sending = std::mem::take(&mut self.sending);
        sending.retain(|id| self.hand_over_one(now, *id));
        self.sending = sending;
    }

    /// Whether something of this channel still waits.
    fn hand_over_one(&mut self, now: Instant, id: ChannelId) -> bool {
        let Some(queue) = self.channels.get_mut(&id) else {
            return false;
        };
        let waiting = queue.mailbox.hand_over(now, id, &mut self.core);
        if queue.closing && waiting != Waiting::Here {
            queue.closing = false;
            self.core.close_data_channel(now, id);
        }
        waiting != Waiting::Nowhere
    }

    /// Closes a channel behind what waits to be sent.
    fn close_channel(&mut self, now: Instant, id: ChannelId) {
        if let Some(queue) = self.channels.get_mut(&id) {
            queue.closing = true;
            self.hand_over(now, id);
        }
    }
}

/// Whether an event is worth little once a newer one of its kind has come: dropped oldest first when nobody takes it. These are
/// also the ones that a peer can cause without end.
fn is_perishable(event: &core::Event) -> bool {
    use core::Event::{Frame, KeyFrameRequested, Packet, Sound, TargetBitrate, Tone};
    matches!(
        event,
        Frame { .. } | Sound { .. } | Packet { .. } | Tone { .. } | KeyFrameRequested(_) | TargetBitrate { .. }
    )
}
