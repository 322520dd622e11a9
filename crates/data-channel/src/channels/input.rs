//! The way in: packets of the peer, and what they bring to the application.

use std::time::Instant;

use antiphon_sansio::Packet;
use antiphon_sctp::{Ending, SendOptions};
use bytes::Bytes;

use super::{DataChannels, MAX_EVENTS, Slot};
use crate::channel::{Channel, ChannelId, ChannelInit, ChannelState};
use crate::dcep::{Dcep, ppid};
use crate::event::Event;
use crate::message::{Message, MessageKind, Piece};

impl DataChannels {
    /// Takes one SCTP packet from DTLS.
    pub fn handle_packet(&mut self, now: Instant, packet: Packet) {
        self.association.handle_packet(now, packet);
        self.pump(now);
    }

    /// Takes what the association has to tell.
    pub(super) fn pump(&mut self, now: Instant) {
        while let Some(event) = self.association.poll_event() {
            match event {
                antiphon_sctp::Event::Connected => self.handle_connected(now),
                antiphon_sctp::Event::Readable(stream) => self.drain(now, stream),
                antiphon_sctp::Event::BufferedAmountLow(stream) => self.handle_low(stream),
                antiphon_sctp::Event::IncomingReset(stream) => self.handle_incoming_reset(now, stream),
                antiphon_sctp::Event::OutgoingReset { stream, ok } => {
                    if let Some(slot) = self.slots.get_mut(&stream) {
                        slot.outgoing_reset = true;
                        // A peer that cannot reset streams, or denies it, will not reset its side either.
                        slot.incoming_reset |= !ok;
                        if !ok {
                            self.awaited.remove(&stream);
                        }
                    }
                    self.free_if_reset(now, stream);
                }
                antiphon_sctp::Event::Closed => self.finish(now, Ok(())),
                antiphon_sctp::Event::Failed(error) => self.finish(now, Err(error)),
                _ => {}
            }
        }
        self.close_held();
    }

    fn handle_connected(&mut self, now: Instant) {
        self.connected = true;
        self.events.push_back(Event::Connected);
        let limit = self.stream_limit();
        let waiting: Vec<ChannelId> = self.channels.keys().copied().collect();
        for id in waiting {
            let channel = &self.channels[&id];
            match channel.stream {
                _ if channel.state != ChannelState::Connecting => {}
                Some(stream) if stream < limit => self.set_open(id),
                // The peer grants fewer streams than the channel needs (RFC 8831 §6.4).
                Some(stream) => {
                    self.slots.remove(&stream);
                    self.set_closed(now, id);
                }
                None => {}
            }
        }
    }

    fn handle_low(&mut self, stream: u16) {
        let Some(id) = self.slots.get(&stream).and_then(|slot| slot.channel) else {
            return;
        };
        // The OPEN that leaves the queue is no concern of the application.
        if self.channels.get(&id).is_some_and(|channel| channel.messages_sent > 0) {
            self.events.push_back(Event::BufferedAmountLow(id));
        }
    }

    /// Takes the stream's messages. They hold the receive window until they are read.
    fn drain(&mut self, now: Instant, stream: u16) {
        // The peer is done with the stream and uses it anew, before it has answered our reset: its OPEN waits for that.
        while self.slots.get(&stream).is_none_or(|slot| !slot.incoming_reset) {
            let Some(message) = self.association.take(stream) else {
                return;
            };
            let held = message.data.len();
            if message.ppid == ppid::DCEP && message.ending == Ending::End {
                self.association.release(now, held);
                self.handle_dcep(now, stream, &message.data);
            } else if !self.deliver(stream, message) {
                self.association.release(now, held);
                self.stats.messages_invalid += 1;
            }
        }
    }

    fn deliver(&mut self, stream: u16, message: antiphon_sctp::Message) -> bool {
        let antiphon_sctp::Message { ppid, data, ending, .. } = message;
        let held = data.len();
        let Some(id) = self.slots.get(&stream).and_then(|slot| slot.channel) else {
            return false;
        };
        let Some(channel) = self.channels.get_mut(&id) else {
            return false;
        };
        if channel.refuses {
            return false;
        }
        let begins = !std::mem::replace(&mut channel.in_pieces, ending == Ending::More);
        let whole = begins && ending == Ending::End;
        let (kind, data) = match ppid {
            ppid::STRING if !whole || std::str::from_utf8(&data).is_ok() => (MessageKind::Text, data),
            ppid::BINARY => (MessageKind::Binary, data),
            ppid::STRING_EMPTY => (MessageKind::Text, Bytes::new()),
            ppid::BINARY_EMPTY => (MessageKind::Binary, Bytes::new()),
            _ => return false,
        };
        channel.messages_received += u64::from(ending == Ending::End);
        channel.bytes_received += data.len() as u64;
        let piece = Piece {
            kind,
            data,
            begins,
            ending,
        };
        channel.inbox.push_back((piece, held));
        if !channel.announced {
            channel.announced = true;
            self.events.push_back(Event::Readable(id));
        }
        true
    }

    fn handle_dcep(&mut self, now: Instant, stream: u16, bytes: &[u8]) {
        match Dcep::parse(bytes) {
            Some(Dcep::Ack) => {
                let owner = self.slots.get(&stream).and_then(|slot| slot.channel);
                match owner.and_then(|id| self.channels.get_mut(&id)) {
                    Some(channel) if channel.awaits_ack => channel.awaits_ack = false,
                    _ => self.stats.messages_invalid += 1,
                }
            }
            Some(Dcep::Open(init)) if !self.slots.contains_key(&stream) => self.handle_open(now, stream, init),
            _ => self.stats.messages_invalid += 1,
        }
    }

    fn handle_open(&mut self, now: Instant, stream: u16, init: ChannelInit) {
        // RFC 8832 §6: the peer opens ids of its own parity only. What breaks that, or comes too much, is closed again.
        let wrong_parity = self.ids.as_ref().is_none_or(|ids| ids.is_ours(stream));
        let too_many = self.live_channels() >= self.max_channels || self.events.len() >= MAX_EVENTS;
        if wrong_parity || too_many || stream >= self.stream_limit() {
            self.stats.messages_invalid += 1;
            self.occupy(stream, Slot::default());
            self.reset_our_side(stream);
            return;
        }
        // RFC 8832 §5.1: the priority holds for both directions.
        self.association.set_weight(stream, init.priority.0);
        let mut channel = Channel::new(init);
        channel.stream = Some(stream);
        let id = self.add(channel);
        let slot = Slot {
            channel: Some(id),
            ..Slot::default()
        };
        self.occupy(stream, slot);
        // The send buffer may be full: then the ACK is missing, and the peer keeps sending in order, which does no
        // harm.
        let ack = Dcep::Ack.write();
        let _ = self
            .association
            .send(now, stream, ppid::DCEP, ack, SendOptions::default());
        self.events.push_back(Event::Incoming(id));
        self.set_open(id);
    }

    fn handle_incoming_reset(&mut self, now: Instant, stream: u16) {
        self.drain(now, stream);
        // The peer closes a negotiated channel that we never opened. Without our reset its end would stay closing for
        // ever. (A stream that was somebody's is another matter: a peer that resets twice must not lose its next
        // channel.)
        if !self.used.contains(&stream) && !self.slots.contains_key(&stream) {
            self.slots.insert(stream, Slot::default());
        }
        let Some(slot) = self.slots.get_mut(&stream) else {
            return;
        };
        if slot.incoming_reset {
            slot.reset_again = true;
            return;
        }
        slot.incoming_reset = true;
        self.awaited.remove(&stream);
        let owner = slot.channel;
        if let Some(id) = owner
            && let Some(channel) = self.channels.get_mut(&id)
            && matches!(channel.state, ChannelState::Open | ChannelState::Connecting)
        {
            channel.state = ChannelState::Closing;
            self.events.push_back(Event::Closing(id));
        }
        // RFC 8831 §6.7: the other side answers with a reset of its own.
        self.reset_our_side(stream);
        self.free_if_reset(now, stream);
    }

    /// Both directions are reset: the channel is closed and its stream free (RFC 8831 §6.7).
    fn free_if_reset(&mut self, now: Instant, stream: u16) {
        let both = |slot: &Slot| slot.outgoing_reset && slot.incoming_reset;
        if !self.slots.get(&stream).is_some_and(both) {
            return;
        }
        let Some(slot) = self.slots.remove(&stream) else { return };
        if let Some(ids) = &mut self.ids {
            ids.give_back(stream);
        }
        if let Some(id) = slot.channel
            && self.channels.contains_key(&id)
        {
            self.set_closed(now, id);
        }
        self.drain(now, stream);
        if slot.reset_again {
            self.handle_incoming_reset(now, stream);
        }
    }

    fn finish(&mut self, now: Instant, end: Result<(), antiphon_sctp::Error>) {
        self.ended = true;
        self.connected = false;
        // Messages that have arrived can still be read.
        let streams: Vec<u16> = self.slots.keys().copied().collect();
        for stream in streams {
            while let Some(message) = self.association.take(stream) {
                self.deliver(stream, message);
            }
        }
        self.slots.clear();
        self.awaited.clear();
        self.held.clear();
        let ids: Vec<ChannelId> = self.channels.keys().copied().collect();
        for id in ids {
            if self.channels.contains_key(&id) {
                self.set_closed(now, id);
            }
        }
        self.events.push_back(match end.clone() {
            Ok(()) => Event::Disconnected,
            Err(error) => Event::Failed(error),
        });
        self.end = Some(end);
    }

    /// The next event.
    #[inline]
    pub fn poll_event(&mut self) -> Option<Event> {
        // Owners ask with each packet of media too.
        if self.events.is_empty() {
            return None;
        }
        self.next_event()
    }

    fn next_event(&mut self) -> Option<Event> {
        let event = self.events.pop_front()?;
        if let Event::Readable(id) = event
            && let Some(channel) = self.channels.get_mut(&id)
        {
            channel.announced = false;
        }
        Some(event)
    }

    /// Takes the channel's next message and gives its bytes back to the receive window.
    ///
    /// A message that comes in pieces (`partial_delivery` of the association's configuration) is refused: the channel
    /// is closed, and what has come of it and after it is dropped. [`Self::read_piece`] takes it.
    pub fn read(&mut self, now: Instant, channel: ChannelId) -> Option<Message> {
        let found = self.channels.get_mut(&channel)?;
        if found.inbox.front().is_some_and(|(piece, _)| !piece.is_whole()) {
            self.refuse(now, channel);
            return None;
        }
        let piece = self.read_piece(now, channel)?;
        Some(Message {
            kind: piece.kind,
            data: piece.data,
        })
    }

    /// Takes the channel's next message, or what has come of one that is too large to wait for, and gives its bytes
    /// back to the receive window: so messages of any size pass, and never more of one is held than the receive buffer
    /// has room for. Only ordered messages beyond `max_receive_message` come in pieces, and only with
    /// `partial_delivery`.
    pub fn read_piece(&mut self, now: Instant, channel: ChannelId) -> Option<Piece> {
        let (piece, held) = self.channels.get_mut(&channel)?.inbox.pop_front()?;
        self.association.release(now, held);
        Some(piece)
    }

    fn refuse(&mut self, now: Instant, id: ChannelId) {
        let Some(found) = self.channels.get_mut(&id) else {
            return;
        };
        found.refuses = true;
        for (_, held) in std::mem::take(&mut found.inbox) {
            self.association.release(now, held);
        }
        self.stats.messages_refused += 1;
        self.close_channel(now, id);
    }
}
