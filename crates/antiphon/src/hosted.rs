//! One peer within the driver: the sans-I/O machine and the queues towards its handles.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use antiphon_data_channel::{ChannelId, ChannelState};
use antiphon_peer_connection as core;
use antiphon_sansio::Local;
use tokio::sync::{broadcast, mpsc};

use crate::channel::{DataChannel, Queue};
use crate::event::{self, Event};
use crate::handle::{PeerHandle, Shared};
use crate::mailbox::Waiting;

/// One peer.
pub(crate) struct Hosted {
    pub(crate) core: core::PeerConnection,
    /// Where the driver's timer set has this peer.
    pub(crate) deadline: Option<Instant>,
    /// Whether this peer is among those that are drained next.
    pub(crate) marked: bool,
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
    shared: Weak<Shared>,
    events: mpsc::Sender<Event>,
    /// Events that found the application's queue full.
    events_dropped: Arc<AtomicU64>,
    media: broadcast::Sender<core::Event>,
    channels: BTreeMap<ChannelId, Queue>,
    /// Channels with something to send, here or in the machine.
    sending: BTreeSet<ChannelId>,
    closed_at: Option<Instant>,
}

impl Hosted {
    pub(crate) fn new(
        core: core::PeerConnection,
        shared: Weak<Shared>,
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
            shared,
            events,
            events_dropped,
            media,
            channels: BTreeMap::new(),
            sending: BTreeSet::new(),
            closed_at: None,
        }
    }

    /// Closes: the machine still says goodbye.
    pub(crate) fn close(&mut self, now: Instant) {
        if self.closed_at.is_none() {
            self.closed_at = Some(now);
            self.core.close(now);
        }
    }

    /// The last handle is gone.
    pub(crate) fn abandon(&mut self, now: Instant) {
        self.close(now);
    }

    /// Whether the peer is closed and has said all it had to say, or took too long over it.
    pub(crate) fn is_finished(&self, now: Instant, farewell: Duration) -> bool {
        let Some(closed_at) = self.closed_at else { return false };
        // Handles that remain keep their queues, and get an error from every further call.
        self.core.poll_timeout().is_none() || now >= closed_at + farewell
    }

    /// When the driver must come back.
    pub(crate) fn next_deadline(&self, farewell: Duration) -> Option<Instant> {
        let machine = self.core.poll_timeout();
        match self.closed_at {
            None => machine,
            Some(at) => Some(machine.map_or(at + farewell, |m| m.min(at + farewell))),
        }
    }

    /// Makes the handle of a channel that exists in the machine.
    pub(crate) fn open_channel(&mut self, peer: PeerHandle, id: ChannelId) -> Option<DataChannel> {
        let info = self.core.data_channel(id)?;
        let (channel, queue) = DataChannel::new(peer, id, info.label, info.protocol);
        self.channels.insert(id, queue);
        if info.state == ChannelState::Open {
            self.set_state(id, ChannelState::Open);
        }
        Some(channel)
    }

    /// Hands over everything that the machine reports. Whether a channel's reader waited for one message.
    pub(crate) fn dispatch(&mut self, now: Instant) -> bool {
        let mut woken = false;
        while let Some(event) = self.core.poll_event() {
            match event {
                core::Event::DataChannel(id) => {
                    let Some(shared) = self.shared.upgrade() else { continue };
                    if let Some(channel) = self.open_channel(PeerHandle::new(shared), id) {
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
                media if event::is_perishable(&media) => _ = self.media.send(media),
                other => {
                    if let Some(event) = event::from_core(other) {
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
    pub(crate) fn pump(&mut self, now: Instant, id: ChannelId) -> bool {
        self.pump_or_all(now, id, false)
    }

    fn pump_or_all(&mut self, now: Instant, id: ChannelId, all: bool) -> bool {
        let queue = self.channels.get(&id);
        queue.is_some_and(|queue| queue.mailbox.pump(all, || self.core.read_piece(now, id)))
    }

    /// Moves messages from the channel's mailbox into SCTP while there is room.
    pub(crate) fn hand_over(&mut self, now: Instant, id: ChannelId) {
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
    pub(crate) fn close_channel(&mut self, now: Instant, id: ChannelId) {
        if let Some(queue) = self.channels.get_mut(&id) {
            queue.closing = true;
            self.hand_over(now, id);
        }
    }
}
