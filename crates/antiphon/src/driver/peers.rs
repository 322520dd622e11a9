//! The peers of one driver. Each is a sans-I/O machine with the queues towards its handles.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use antiphon_data_channel::{ChannelId, ChannelInfo, ChannelState};
use antiphon_ice::IoEvent;
use antiphon_peer_connection as core;
use antiphon_sansio::{Datagram, Local};
use core::RtcDataChannelInit;
use tokio::sync::{broadcast, mpsc};

use super::message::{Notice, PeerId, Request, ToDriver};
use crate::channel::DataChannel;
use crate::error::Error;
use crate::event::Event;
use crate::mailbox::{Queue, Waiting};

/// How long a closed peer may take to say goodbye (BYE, SCTP ABORT, close_notify).
const FAREWELL: Duration = Duration::from_secs(2);

/// All peers of a driver, those with something to do, and when the others will have.
#[derive(Default)]
pub(crate) struct Peers {
    map: HashMap<PeerId, Box<Peer>>,
    /// Peers that have something to give; each is in it once.
    busy: Vec<PeerId>,
    deadlines: BTreeSet<(Instant, PeerId)>,
}

impl Peers {
    pub(crate) fn insert(&mut self, id: PeerId, peer: Box<Peer>) {
        self.map.insert(id, peer);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.map.is_empty()
    }

    pub(crate) fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.map.get_mut(&id).map(Box::as_mut)
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (PeerId, &Peer)> {
        self.map.iter().map(|(id, peer)| (*id, peer.as_ref()))
    }

    /// The peer, which is drained next: it is about to have something to do.
    pub(crate) fn wake(&mut self, id: PeerId) -> Option<&mut Peer> {
        let peer = self.map.get_mut(&id)?;
        mark(&mut self.busy, id, peer);
        Some(peer)
    }

    /// Wakes all peers that `chosen` says yes to, which may change them.
    pub(crate) fn wake_where(&mut self, mut chosen: impl FnMut(PeerId, &mut Peer) -> bool) {
        for (id, peer) in &mut self.map {
            if chosen(*id, peer) {
                mark(&mut self.busy, *id, peer);
            }
        }
    }

    /// Tells a peer's machine what became of a request.
    pub(crate) fn tell(&mut self, id: PeerId, event: IoEvent, now: Instant) {
        if let Some(peer) = self.wake(id) {
            peer.core.handle_io(now, event);
        }
    }

    /// Hands a datagram to a peer's machine.
    pub(crate) fn deliver(&mut self, id: PeerId, datagram: Datagram, now: Instant) -> Option<&mut Peer> {
        let peer = self.wake(id)?;
        peer.core.handle_datagram(now, datagram);
        Some(peer)
    }

    /// Lets the machines whose time has come go on.
    pub(crate) fn expire(&mut self, now: Instant) {
        while let Some((at, id)) = self.deadlines.first().copied() {
            if at > now {
                break;
            }
            self.deadlines.pop_first();
            if let Some(peer) = self.wake(id) {
                peer.deadline = None;
                peer.core.handle_timeout(now);
            }
        }
    }

    /// When the next machine's time comes.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.deadlines.first().map(|(at, _)| *at)
    }

    /// Comes back to a peer at `at`.
    pub(crate) fn schedule(&mut self, id: PeerId, at: Option<Instant>) {
        let Some(peer) = self.map.get_mut(&id) else { return };
        if at == peer.deadline {
            return;
        }
        if let Some(before) = std::mem::replace(&mut peer.deadline, at) {
            self.deadlines.remove(&(before, id));
        }
        if let Some(at) = at {
            self.deadlines.insert((at, id));
        }
    }

    /// Whether any peer has something to give.
    pub(crate) fn are_busy(&self) -> bool {
        !self.busy.is_empty()
    }

    /// Exchanges the list of those that have something to give with an empty one.
    pub(crate) fn swap_busy(&mut self, list: &mut Vec<PeerId>) {
        std::mem::swap(list, &mut self.busy);
    }

    /// Puts a peer off whose turn it was: it is drained in the next round.
    pub(crate) fn put_off(&mut self, id: PeerId) {
        self.busy.push(id);
    }

    /// Forgets a peer.
    pub(crate) fn remove(&mut self, id: PeerId) -> Option<Box<Peer>> {
        self.schedule(id, None);
        self.map.remove(&id)
    }
}

/// Puts a peer among those that are drained next.
fn mark(busy: &mut Vec<PeerId>, id: PeerId, peer: &mut Peer) {
    if !std::mem::replace(&mut peer.marked, true) {
        busy.push(id);
    }
}

/// One peer.
pub(crate) struct Peer {
    pub(crate) core: core::PeerConnection,
    /// Where the driver's timer set has this peer.
    deadline: Option<Instant>,
    /// Whether this peer is among those that are drained next.
    marked: bool,
    /// The socket that took its last datagrams.
    pub(crate) sends_on: Option<u32>,
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
    events: mpsc::Sender<Event>,
    /// Events that found the application's queue full.
    events_dropped: Arc<AtomicU64>,
    media: broadcast::Sender<core::Event>,
    channels: BTreeMap<ChannelId, Queue>,
    /// Channels with something to send, here or in the machine.
    sending: BTreeSet<ChannelId>,
    closed_at: Option<Instant>,
}

impl Peer {
    pub(crate) fn new(
        core: core::PeerConnection,
        driver: Weak<ToDriver>,
        events: mpsc::Sender<Event>,
        events_dropped: Arc<AtomicU64>,
        media: broadcast::Sender<core::Event>,
    ) -> Self {
        Self {
            core,
            deadline: None,
            marked: false,
            sends_on: None,
            holds: Vec::new(),
            listens: Vec::new(),
            published: Vec::new(),
            watches: false,
            driver,
            events,
            events_dropped,
            media,
            channels: BTreeMap::new(),
            sending: BTreeSet::new(),
            closed_at: None,
        }
    }

    /// Does what a handle asks.
    pub(crate) fn serve(&mut self, request: Request, now: Instant) {
        match request {
            Request::SendFrame(transceiver, frame, answer) => {
                let sent = self.core.send_frame(now, transceiver, frame);
                let _ = answer.send(sent.map_err(Error::from));
            }
            Request::SendPacket(transceiver, packet, answer) => {
                let sent = self.core.send_rtp(now, transceiver, &packet);
                if let Some(answer) = answer {
                    let _ = answer.send(sent.map_err(Error::from));
                }
            }
            Request::CreateDataChannel {
                label,
                init,
                queue,
                answer,
            } => _ = answer.send(self.create_channel(&label, init, queue, now)),
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

    /// The turn that it was woken for has come.
    pub(crate) fn begin_turn(&mut self) {
        self.marked = false;
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
        self.core.poll_timeout().is_none() || now >= closed_at + FAREWELL
    }

    /// When the driver must come back.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        let machine = self.core.poll_timeout();
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
            match event {
                core::Event::DataChannel(id) => {
                    if let Some(channel) = self.incoming_channel(id) {
                        self.report(Event::DataChannel(channel));
                        self.pump(now, id);
                    }
                }
                core::Event::DataChannelOpen(id) => self.set_state(id, ChannelState::Open),
                core::Event::DataChannelReadable(id) => woken |= self.pump(now, id),
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
                media if is_perishable(&media) => _ = self.media.send(media),
                other => {
                    if let Some(event) = other.map_channel(|_| None) {
                        self.report(event);
                    }
                }
            }
        }
        woken
    }

    fn report(&mut self, event: Event) {
        // Closed: only the event stream was dropped, which is the application's choice.
        if let Err(mpsc::error::TrySendError::Full(lost)) = self.events.try_send(event) {
            tracing::warn!(?lost, "the application takes no events");
            self.events_dropped.fetch_add(1, Ordering::Relaxed);
        }
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
    use core::Event::{Frame, KeyFrameRequested, Packet, TargetBitrate};
    matches!(
        event,
        Frame { .. } | Packet { .. } | KeyFrameRequested(_) | TargetBitrate(_)
    )
}
