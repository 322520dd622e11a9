//! Messages, put together from their fragments and held until they are read.

use std::collections::{BTreeMap, VecDeque};

use super::partial::Partial;
use super::run::Run;
use super::spares::Spares;
use super::stream::Stream;
use crate::chunk::{Data, Fragment, Number, SkippedMessage, SkippedStream};
use crate::config::MESSAGE_OVERHEAD;
use crate::event::{Ending, Message};
use crate::tsn::Tsn;

/// Unfinished messages that get a buffer of the size that the last one had.
pub(super) const MAX_RESERVED: usize = 4;

/// The message is larger than we take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TooLarge;

/// Puts messages together and holds them until they are read.
#[derive(Debug)]
pub(crate) struct Reassembly {
    /// Boxed: a leaf of the tree has room for eleven, and mostly there are one or two.
    pub(super) streams: BTreeMap<u16, Box<Stream>>,
    /// Incomplete messages by the TSN of their first fragment that is here.
    pub(super) runs: BTreeMap<Tsn, Run>,
    pub(super) max_message: usize,
    /// What has come of an ordered message is handed out from so many bytes on.
    pub(super) point: Option<usize>,
    /// Everything that counts against the receive window.
    pub(super) held: usize,
    /// Whole messages that wait for earlier ones, in all streams.
    waiting: usize,
    /// The part of `held` that cannot be read yet.
    pub(super) unfinished: usize,
    /// Unfinished messages of I-DATA: by stream, whether unordered, and message identifier.
    pub(super) partials: BTreeMap<(u16, bool, u32), Partial>,
    /// The last fragmented message's size: the next one's buffer is made for it.
    pub(super) expected_len: usize,
    pub(super) spares: Spares,
    /// Streams that gained messages and are not announced yet.
    newly_readable: VecDeque<u16>,
    pub(super) bytes_received: u64,
    pub(super) dropped: u64,
}

impl Reassembly {
    pub(crate) fn new(max_message: usize, point: Option<usize>) -> Self {
        Self {
            streams: BTreeMap::new(),
            runs: BTreeMap::new(),
            max_message,
            point,
            held: 0,
            waiting: 0,
            unfinished: 0,
            partials: BTreeMap::new(),
            expected_len: 0,
            spares: Spares::default(),
            newly_readable: VecDeque::new(),
            bytes_received: 0,
            dropped: 0,
        }
    }

    /// Gives back memory that waits for more messages.
    pub(crate) fn give_back(&mut self) {
        self.spares.clear();
        self.newly_readable.shrink_to_fit();
        for stream in self.streams.values_mut() {
            stream.ready.shrink_to_fit();
            stream.held_back.shrink_to_fit();
            if stream.waiting.is_empty() {
                // An empty tree keeps a leaf.
                stream.waiting = BTreeMap::new();
            }
        }
        if self.runs.is_empty() && self.partials.is_empty() {
            self.runs = BTreeMap::new();
            self.partials = BTreeMap::new();
        }
    }

    /// Bytes that count against the receive window.
    #[inline]
    pub(crate) fn held(&self) -> usize {
        self.held
    }

    pub(crate) fn bytes_received(&self) -> u64 {
        self.bytes_received
    }

    /// Chunks and messages dropped because they broke a rule.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether something is held that cannot be read yet.
    pub(crate) fn has_incomplete(&self) -> bool {
        !self.runs.is_empty() || self.waiting > 0 || !self.partials.is_empty()
    }

    /// Messages that have begun and are not complete; of DATA counted as one.
    pub(crate) fn incomplete(&self) -> usize {
        self.partials.len() + usize::from(!self.runs.is_empty() || self.waiting > 0)
    }

    /// What cannot be read yet holds this much.
    pub(crate) fn unfinished(&self) -> usize {
        self.unfinished
    }

    /// Takes a new TSN's chunk.
    pub(crate) fn insert(&mut self, fragment: &Fragment<'_>) -> Result<(), TooLarge> {
        if fragment.has(Data::BEGIN) && fragment.has(Data::END) {
            if fragment.payload.len() > self.max_message {
                return Err(TooLarge);
            }
            let message = Message {
                stream: fragment.stream,
                ppid: fragment.ppid,
                data: fragment.bytes(),
                unordered: fragment.has(Data::UNORDERED),
                ending: Ending::End,
            };
            self.held += message.data.len() + MESSAGE_OVERHEAD;
            self.deliver(message, fragment.number);
            return Ok(());
        }
        if let Number::Mid(id) = fragment.number {
            return self.insert_partial(fragment, id);
        }
        let (tsn, begin, end) = (fragment.tsn, fragment.has(Data::BEGIN), fragment.has(Data::END));
        let left = self.runs.range_mut(..tsn).next_back();
        let left = left.filter(|(_, run)| run.next == tsn && !run.end && !begin && run.is_kin(fragment));
        let first = match left {
            Some((first, run)) => {
                let before = run.cost();
                run.push(fragment);
                let added = run.cost() - before;
                self.held += added;
                self.unfinished += added;
                *first
            }
            None => {
                // Many messages that have begun at once shall not each reserve what one will need.
                let expected = if begin && self.runs.len() < MAX_RESERVED {
                    self.expected_len
                } else {
                    0
                };
                let run = Run::new(fragment, expected, &mut self.spares);
                self.held += run.cost();
                self.unfinished += run.cost();
                self.runs.insert(tsn, run);
                tsn
            }
        };
        let next = tsn.next();
        let joins = |run: &Run| !run.begin && !end && run.is_kin(fragment);
        if self.runs.get(&next).is_some_and(joins)
            && let Some(right) = self.runs.remove(&next)
            && let Some(left) = self.runs.get_mut(&first)
        {
            let before = left.cost() + right.cost();
            left.join(right);
            self.held = self.held - before + left.cost();
            self.unfinished = self.unfinished - before + left.cost();
        }
        self.finish_run(first)
    }

    /// Hands out what the run has, if that is a whole message, or enough of one.
    fn finish_run(&mut self, first: Tsn) -> Result<(), TooLarge> {
        let Some(run) = self.runs.get(&first) else {
            return Ok(());
        };
        if run.bytes > self.max_message && !self.is_partial(run.unordered) {
            return Err(TooLarge);
        }
        if !(run.begin && run.end) {
            self.hand_out_run(first);
            return Ok(());
        }
        let Some(run) = self.runs.remove(&first) else {
            return Ok(());
        };
        self.held = self.held - run.cost() + run.bytes + MESSAGE_OVERHEAD;
        self.unfinished -= run.cost();
        self.expect_len(run.bytes);
        let message = Message {
            stream: run.stream,
            ppid: run.ppid,
            data: self.spares.hand_out(run.content.assembled()),
            unordered: run.unordered,
            ending: Ending::End,
        };
        self.deliver(message, run.number);
        Ok(())
    }

    /// Drops fragments that can never become a message. An honest peer has at most one incomplete message that begins
    /// at or below the cumulative TSN, and it ends there.
    #[inline]
    pub(crate) fn sweep(&mut self, cumulative: Tsn) {
        while let Some(entry) = self.runs.first_entry() {
            let hopeful = *entry.key() > cumulative || (entry.get().begin && entry.get().next > cumulative);
            if hopeful {
                return;
            }
            let cost = entry.remove().cost();
            self.held -= cost;
            self.unfinished -= cost;
            self.dropped += 1;
        }
    }

    pub(super) fn deliver(&mut self, message: Message, number: Number) {
        let id = message.stream;
        let stream = self.streams.entry(id).or_default();
        if message.unordered {
            self.bytes_received += message.data.len() as u64;
            if stream.begun.is_some() {
                stream.held_back.push_back(message);
                return;
            }
            stream.ready.push_back(message);
        } else {
            let distance = number.distance_from(stream.next_ssn);
            if distance > 0 {
                let extended = stream.next_ssn + distance as u64;
                let cost = message.data.len() + MESSAGE_OVERHEAD;
                match stream.waiting.insert(extended, message) {
                    None => {
                        self.waiting += 1;
                        self.unfinished += cost;
                    }
                    Some(same) => {
                        let old = same.data.len() + MESSAGE_OVERHEAD;
                        self.unfinished = self.unfinished + cost - old;
                        self.held -= old;
                        self.dropped += 1;
                    }
                }
                return;
            }
            if distance < 0 {
                self.held -= message.data.len() + MESSAGE_OVERHEAD;
                self.dropped += 1;
                return;
            }
            self.bytes_received += message.data.len() as u64;
            stream.ready.push_back(message);
            stream.next_ssn += 1;
            stream.end_partial();
            stream.release_waiting(&mut self.waiting, &mut self.unfinished, &mut self.bytes_received);
            self.hand_out_next(id);
        }
        self.announce(id);
    }

    pub(super) fn announce(&mut self, id: u16) {
        if let Some(stream) = self.streams.get_mut(&id)
            && !stream.announced
            && !stream.ready.is_empty()
        {
            stream.announced = true;
            self.newly_readable.push_back(id);
        }
    }

    /// A stream to announce as readable.
    #[inline]
    pub(crate) fn poll_readable(&mut self) -> Option<u16> {
        self.newly_readable.pop_front()
    }

    /// The announcement has been handed over: the next message makes a new one.
    pub(crate) fn announced(&mut self, id: u16) {
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.announced = false;
        }
    }

    /// The stream's next message. It counts until [`Self::release`].
    pub(crate) fn take(&mut self, id: u16) -> Option<Message> {
        self.streams.get_mut(&id)?.ready.pop_front()
    }

    pub(crate) fn release(&mut self, bytes: usize) {
        self.held = self.held.saturating_sub(bytes + MESSAGE_OVERHEAD);
    }

    /// The peer has given up everything up to `cumulative` (RFC 3758 §3.6).
    pub(crate) fn forward(&mut self, cumulative: Tsn, skipped: impl Iterator<Item = SkippedStream>) {
        while let Some(entry) = self.runs.first_entry()
            && *entry.key() <= cumulative
        {
            let cost = entry.remove().cost();
            self.held -= cost;
            self.unfinished -= cost;
        }
        for SkippedStream { stream, ssn } in skipped {
            self.skip(stream, Number::Ssn(ssn));
        }
    }

    /// The peer has given up messages that were interleaved (RFC 8260 §2.3.1).
    pub(crate) fn forward_interleaved(&mut self, skipped: impl Iterator<Item = SkippedMessage>) {
        for SkippedMessage {
            stream,
            unordered,
            message_id,
        } in skipped
        {
            self.drop_partials(stream, Some((unordered, message_id)));
            if !unordered {
                self.skip(stream, Number::Mid(message_id));
            }
        }
    }

    /// Everything of the stream up to this number is given up.
    fn skip(&mut self, id: u16, number: Number) {
        let stream = self.streams.entry(id).or_default();
        let distance = number.distance_from(stream.next_ssn);
        if distance < 0 {
            return;
        }
        let next = stream.next_ssn + distance as u64 + 1;
        self.held += stream.give_up(id);
        // What has arrived whole below the skipped number is still good.
        while let Some(entry) = stream.waiting.first_entry()
            && *entry.key() < next
        {
            let message = entry.remove();
            self.waiting -= 1;
            self.unfinished -= message.data.len() + MESSAGE_OVERHEAD;
            self.bytes_received += message.data.len() as u64;
            stream.ready.push_back(message);
        }
        stream.next_ssn = next;
        stream.release_waiting(&mut self.waiting, &mut self.unfinished, &mut self.bytes_received);
        self.hand_out_next(id);
        self.announce(id);
    }

    /// The peer starts the stream's numbers anew (RFC 6525 §5.2.2).
    pub(crate) fn reset(&mut self, id: u16) {
        self.drop_partials(id, None);
        let mut given_up = 0;
        if let Some(stream) = self.streams.get_mut(&id) {
            stream.next_ssn = 0;
            given_up = stream.give_up(id);
            self.held += given_up;
            for (_, message) in std::mem::take(&mut stream.waiting) {
                self.waiting -= 1;
                self.unfinished -= message.data.len() + MESSAGE_OVERHEAD;
                self.held -= message.data.len() + MESSAGE_OVERHEAD;
                self.dropped += 1;
            }
        }
        if given_up > 0 {
            self.announce(id);
        }
    }

    pub(crate) fn reset_all(&mut self) -> Vec<u16> {
        let ids: Vec<u16> = self.streams.keys().copied().collect();
        ids.iter().for_each(|id| self.reset(*id));
        ids
    }
}
