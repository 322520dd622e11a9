//! Messages that wait for their first transmission, and how they become chunks.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use antiphon_sansio::Serial16;
use bytes::Bytes;

use super::schedule::{Scheduler, Turn, Turns};
use super::sent::{MessageKey, NewChunk};
use crate::chunk::Data;
use crate::config::MESSAGE_OVERHEAD;

/// A message that waits.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) data: Bytes,
    pub(crate) ppid: u32,
    pub(crate) unordered: bool,
    pub(crate) max_retransmits: Option<u16>,
    pub(crate) expires: Option<Instant>,
}

/// How messages become chunks: the payload of the largest chunk, and of one piece of a message that is larger.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cut {
    pub(crate) whole: usize,
    pub(crate) piece: usize,
}

/// A message of which some is sent.
#[derive(Clone, Copy, Debug)]
struct Begun {
    ssn: Serial16,
    message_id: u32,
    /// The next fragment's number.
    fsn: u32,
}

#[derive(Debug, Default)]
struct Stream {
    /// With the ticket of each.
    queue: VecDeque<(u64, Queued)>,
    buffered: Buffered,
    next_ssn: Serial16,
    /// The next message's number, of ordered and of unordered messages.
    next_ids: [u32; 2],
    begun: Option<Begun>,
    turn: Turn,
    /// No new messages: a reset has been asked for and is not confirmed.
    resetting: bool,
}

/// What waits in one queue, and when the application is told that it is little.
#[derive(Debug, Default)]
struct Buffered {
    bytes: usize,
    threshold: usize,
    /// A `BufferedAmountLow` event waits.
    announced: bool,
}

impl Buffered {
    /// So many bytes have left. Says whether the application is to be told that little is left.
    #[inline]
    fn sent(&mut self, bytes: usize) -> bool {
        let before = self.bytes;
        self.bytes -= bytes;
        let becomes_low = before > self.threshold && self.bytes <= self.threshold && !self.announced;
        self.announced |= becomes_low;
        becomes_low
    }
}

/// Messages that wait for their first transmission, by stream. Who is next, the scheduler says.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    /// Boxed: a leaf of the tree has room for eleven, and mostly there are one or two.
    streams: BTreeMap<u16, Box<Stream>>,
    turns: Turns,
    /// Chunks of different messages may alternate (I-DATA).
    interleaved: bool,
    /// Without interleaving: the stream whose message has been begun; its TSNs must be consecutive (RFC 9260 §6.9).
    current: Option<u16>,
    total: usize,
    messages: usize,
    newly_low: VecDeque<u16>,
    expired: u64,
}

impl SendQueue {
    pub(crate) fn new(scheduler: Scheduler) -> Self {
        Self {
            turns: Turns::new(scheduler),
            ..Self::default()
        }
    }

    pub(crate) fn set_interleaved(&mut self, interleaved: bool) {
        self.interleaved = interleaved;
    }

    /// Gives back memory that messages took which have left.
    pub(crate) fn give_back(&mut self) {
        for stream in self.streams.values_mut() {
            stream.queue.shrink_to_fit();
        }
        self.turns.give_back();
        self.newly_low.shrink_to_fit();
    }

    /// Bytes that wait.
    pub(crate) fn total(&self) -> usize {
        self.total
    }

    /// What it costs to keep the messages that wait, besides their bytes.
    pub(crate) fn overhead(&self) -> usize {
        self.messages * MESSAGE_OVERHEAD
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.turns.is_empty()
    }

    /// Messages dropped before any of their bytes was sent.
    pub(crate) fn expired(&self) -> u64 {
        self.expired
    }

    pub(crate) fn buffered(&self, stream: u16) -> usize {
        self.streams.get(&stream).map_or(0, |s| s.buffered.bytes)
    }

    pub(crate) fn set_threshold(&mut self, stream: u16, bytes: usize) {
        self.streams.entry(stream).or_default().buffered.threshold = bytes;
    }

    pub(crate) fn set_weight(&mut self, stream: u16, weight: u16) {
        self.streams.entry(stream).or_default().turn.weight = weight;
    }

    pub(crate) fn push(&mut self, id: u16, message: Queued) {
        let stream = self.streams.entry(id).or_default();
        let (ticket, len) = (self.turns.ticket(), message.data.len());
        stream.buffered.bytes += len;
        self.total += len;
        self.messages += 1;
        stream.queue.push_back((ticket, message));
        if stream.queue.len() == 1 {
            self.turns.enter(id, &mut stream.turn, ticket, len);
        }
    }

    pub(crate) fn is_resetting(&self, stream: u16) -> bool {
        self.streams.get(&stream).is_some_and(|s| s.resetting)
    }

    pub(crate) fn begin_reset(&mut self, stream: u16) {
        self.streams.entry(stream).or_default().resetting = true;
    }

    /// The reset is confirmed (`ok`) or denied.
    pub(crate) fn end_reset(&mut self, stream: u16, ok: bool) {
        if let Some(s) = self.streams.get_mut(&stream) {
            s.resetting = false;
            if ok {
                // RFC 8260 §2.3.3: message identifiers begin anew as well.
                s.next_ssn = Serial16::new(0);
                s.next_ids = [0; 2];
                s.buffered.threshold = 0;
                let empty = s.queue.is_empty() && !s.buffered.announced;
                if empty {
                    self.streams.remove(&stream);
                }
            }
        }
    }

    /// Whether everything that was queued on the stream has been sent.
    pub(crate) fn is_drained(&self, stream: u16) -> bool {
        self.streams.get(&stream).is_none_or(|s| s.queue.is_empty())
    }

    /// Cuts the next chunk. `room` is what the packet has left for a chunk's payload, `allowed` what the peer's window
    /// lets pass.
    #[inline]
    pub(crate) fn next_chunk(&mut self, now: Instant, room: usize, cut: Cut, allowed: usize) -> Option<NewChunk> {
        let id = self.choose(now)?;
        let interleaved = self.interleaved;
        let stream = self.streams.get_mut(&id)?;
        let (_, message) = stream.queue.front_mut()?;
        let left = message.data.len();
        let whole = left <= room.min(cut.whole);
        let room = room.min(cut.piece);
        // A message that would fit the next packet whole is not cut, and nobody wants crumbs. Otherwise packets are
        // filled: one that is shorter than those before it ends their run, and what follows takes another system call.
        if !whole && (left <= cut.whole || room < cut.piece / 4) {
            return None;
        }
        if left.min(room & !3) > allowed {
            return None;
        }
        let mut flags = if message.unordered { Data::UNORDERED } else { 0 };
        let len = if whole { left } else { room & !3 };
        let becomes_low = stream.buffered.sent(len);
        let begun = match &mut stream.begun {
            Some(begun) => begun,
            none => {
                flags |= Data::BEGIN;
                let mut ssn = Serial16::new(0);
                if !message.unordered {
                    ssn = stream.next_ssn;
                    stream.next_ssn = ssn.next();
                }
                let next_id = &mut stream.next_ids[usize::from(message.unordered)];
                let message_id = *next_id;
                *next_id = next_id.wrapping_add(1);
                none.insert(Begun {
                    ssn,
                    message_id,
                    fsn: 0,
                })
            }
        };
        let mut chunk = NewChunk {
            payload: Bytes::new(),
            stream: id,
            ssn: begun.ssn,
            message_id: begun.message_id,
            fsn: begun.fsn,
            ppid: message.ppid,
            flags,
            max_retransmits: message.max_retransmits,
            expires: message.expires,
        };
        begun.fsn = begun.fsn.wrapping_add(1);
        if whole {
            chunk.flags |= Data::END;
            chunk.payload = std::mem::take(&mut message.data);
            stream.queue.pop_front();
            stream.begun = None;
            self.current = None;
            self.messages -= 1;
        } else {
            chunk.payload = message.data.split_to(len);
            self.current = (!interleaved).then_some(id);
        }
        if whole || interleaved {
            self.turns.served(&stream.turn);
            Self::requeue(&mut self.turns, interleaved, cut.piece, id, stream);
        }
        self.total -= len;
        if becomes_low {
            self.newly_low.push_back(id);
        }
        Some(chunk)
    }

    /// Whose turn it is. Drops what has become too old meanwhile.
    #[inline]
    fn choose(&mut self, now: Instant) -> Option<u16> {
        if self.current.is_some() {
            return self.current;
        }
        loop {
            let id = self.turns.first()?;
            let stream = self.streams.get_mut(&id)?;
            if stream.begun.is_some() {
                return Some(id);
            }
            let expired = |(_, message): &mut (u64, Queued)| message.expires.is_some_and(|at| at <= now);
            let Some((_, message)) = stream.queue.pop_front_if(expired) else {
                return Some(id);
            };
            self.turns.leave(id, &mut stream.turn);
            Self::requeue(&mut self.turns, self.interleaved, usize::MAX, id, stream);
            self.expired += 1;
            self.messages -= 1;
            self.sent(id, message.data.len());
        }
    }

    /// The stream's next place.
    #[inline]
    fn requeue(turns: &mut Turns, interleaved: bool, full: usize, id: u16, stream: &mut Stream) {
        match stream.queue.front() {
            None => turns.leave(id, &mut stream.turn),
            // The only stream keeps its place.
            Some(_) if turns.first() == Some(id) && !turns.is_contended() => {}
            Some((ticket, message)) => {
                let len = message.data.len();
                let bytes = if interleaved { len.min(full) } else { len };
                turns.enter(id, &mut stream.turn, *ticket, bytes);
            }
        }
    }

    /// The message is given up: drops the rest of it, if it waits here.
    pub(crate) fn abandon_begun(&mut self, key: MessageKey) -> bool {
        let Some(stream) = self.streams.get_mut(&key.stream) else {
            return false;
        };
        let unordered = stream.queue.front().map(|(_, message)| message.unordered);
        let is_it = |begun: &mut Begun| begun.message_id == key.id && unordered == Some(key.unordered);
        if stream.begun.take_if(is_it).is_none() {
            return false;
        }
        let Some((_, message)) = stream.queue.pop_front() else {
            return false;
        };
        self.turns.leave(key.stream, &mut stream.turn);
        Self::requeue(&mut self.turns, self.interleaved, usize::MAX, key.stream, stream);
        self.current = None;
        self.messages -= 1;
        self.sent(key.stream, message.data.len());
        true
    }

    #[inline]
    fn sent(&mut self, id: u16, bytes: usize) {
        let Some(stream) = self.streams.get_mut(&id) else {
            return;
        };
        self.total -= bytes;
        if stream.buffered.sent(bytes) {
            self.newly_low.push_back(id);
        }
    }

    pub(crate) fn poll_low(&mut self) -> Option<u16> {
        self.newly_low.pop_front()
    }

    pub(crate) fn announced(&mut self, stream: u16) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.buffered.announced = false;
        }
    }
}
