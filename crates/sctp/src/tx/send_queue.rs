use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use antiphon_sansio::Serial16;
use bytes::Bytes;

use super::outstanding::Outgoing;
use crate::chunk::Data;

/// A message that waits.
#[derive(Debug)]
pub(crate) struct Queued {
    pub(crate) data: Bytes,
    pub(crate) ppid: u32,
    pub(crate) unordered: bool,
    pub(crate) max_retransmits: Option<u16>,
    pub(crate) expires: Option<Instant>,
}

#[derive(Debug, Default)]
struct Stream {
    queue: VecDeque<Queued>,
    /// Bytes in `queue`.
    buffered: usize,
    threshold: usize,
    next_ssn: Serial16,
    /// No new messages: a reset has been asked for and is not confirmed.
    resetting: bool,
    /// A `BufferedAmountLow` event waits in the queue.
    announced: bool,
}

/// Messages that wait for their first transmission, by stream; streams take turns, a message at a time.
#[derive(Debug, Default)]
pub(crate) struct SendQueue {
    streams: BTreeMap<u16, Stream>,
    /// Streams with messages, each once. The first one's turn.
    turns: VecDeque<u16>,
    /// The first message of the first stream has been begun; its TSNs must be consecutive (RFC 9260 §6.9).
    begun: bool,
    /// The sequence number of the message that has been begun.
    begun_ssn: Serial16,
    total: usize,
    newly_low: VecDeque<u16>,
    expired: u64,
}

impl SendQueue {
    /// Bytes that wait.
    pub(crate) fn total(&self) -> usize {
        self.total
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
        self.streams.get(&stream).map_or(0, |s| s.buffered)
    }

    pub(crate) fn set_threshold(&mut self, stream: u16, bytes: usize) {
        self.streams.entry(stream).or_default().threshold = bytes;
    }

    pub(crate) fn push(&mut self, id: u16, message: Queued) {
        let stream = self.streams.entry(id).or_default();
        if stream.queue.is_empty() {
            self.turns.push_back(id);
        }
        stream.buffered += message.data.len();
        self.total += message.data.len();
        stream.queue.push_back(message);
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
                s.next_ssn = Serial16::new(0);
                s.threshold = 0;
            }
        }
    }

    /// Whether everything that was queued on the stream has been sent.
    pub(crate) fn is_drained(&self, stream: u16) -> bool {
        self.streams.get(&stream).is_none_or(|s| s.queue.is_empty())
    }

    /// Cuts the next chunk. `room` is what the packet has left for a chunk's payload, `full` what an empty packet has,
    /// `allowed` what the peer's window lets pass.
    #[inline]
    pub(crate) fn next_chunk(&mut self, now: Instant, room: usize, full: usize, allowed: usize) -> Option<Outgoing> {
        if !self.begun {
            self.drop_expired(now);
        }
        let id = *self.turns.front()?;
        let stream = self.streams.get_mut(&id)?;
        let message = stream.queue.front_mut()?;
        let left = message.data.len();
        let whole = left <= room;
        // A message that would fit the next packet whole is not cut, and nobody wants crumbs.
        if !whole && (left <= full || room < full / 2) {
            return None;
        }
        if left.min(room & !3) > allowed {
            return None;
        }
        let mut flags = if message.unordered { Data::UNORDERED } else { 0 };
        if !self.begun {
            flags |= Data::BEGIN;
            self.begun_ssn = Serial16::new(0);
            if !message.unordered {
                self.begun_ssn = stream.next_ssn;
                stream.next_ssn = stream.next_ssn.next();
            }
        }
        let mut chunk = Outgoing {
            payload: Bytes::new(),
            stream: id,
            ssn: self.begun_ssn,
            ppid: message.ppid,
            flags,
            max_retransmits: message.max_retransmits,
            expires: message.expires,
        };
        if whole {
            chunk.flags |= Data::END;
            let message = stream.queue.pop_front().expect("just seen");
            chunk.payload = message.data;
            self.begun = false;
            self.turns.rotate_left(1);
            if stream.queue.is_empty() {
                self.turns.pop_back();
            }
        } else {
            chunk.payload = message.data.split_to(room & !3);
            self.begun = true;
        }
        self.sent(id, chunk.payload.len());
        Some(chunk)
    }

    fn drop_expired(&mut self, now: Instant) {
        while let Some(id) = self.turns.front().copied() {
            let stream = self.streams.get_mut(&id).expect("a stream that waits exists");
            let expired = |message: &Queued| message.expires.is_some_and(|at| at <= now);
            let Some(message) = stream.queue.pop_front_if(|message| expired(message)) else {
                return;
            };
            if stream.queue.is_empty() {
                self.turns.pop_front();
            }
            self.expired += 1;
            self.sent(id, message.data.len());
        }
    }

    /// The message that has been begun is given up: drops the rest of it.
    pub(crate) fn abandon_begun(&mut self) -> bool {
        if !std::mem::take(&mut self.begun) {
            return false;
        }
        let id = *self.turns.front().expect("the stream of a begun message waits");
        let stream = self.streams.get_mut(&id).expect("a stream that waits exists");
        let message = stream.queue.pop_front().expect("a begun message waits");
        self.turns.pop_front();
        if !stream.queue.is_empty() {
            self.turns.push_back(id);
        }
        self.sent(id, message.data.len());
        true
    }

    fn sent(&mut self, id: u16, bytes: usize) {
        let stream = self.streams.get_mut(&id).expect("the caller has it");
        let before = stream.buffered;
        stream.buffered -= bytes;
        self.total -= bytes;
        if before > stream.threshold && stream.buffered <= stream.threshold && !stream.announced {
            stream.announced = true;
            self.newly_low.push_back(id);
        }
    }

    pub(crate) fn poll_low(&mut self) -> Option<u16> {
        self.newly_low.pop_front()
    }

    pub(crate) fn announced(&mut self, stream: u16) {
        if let Some(stream) = self.streams.get_mut(&stream) {
            stream.announced = false;
        }
    }
}
