//! Messages that are given up (RFC 3758), and what the peer is told of them.

use std::collections::BTreeMap;
use std::time::Instant;

use antiphon_sansio::Serial32;
use bytes::Bytes;

use super::outstanding::Outstanding;
use super::sent::{MessageKey, NewChunk, Sent, Whereabouts};
use crate::chunk::{Data, SkippedMessage, SkippedStream};
use crate::tsn::Tsn;

impl Outstanding {
    /// Gives up messages whose time is over and that wait for retransmission.
    pub(crate) fn drop_spent(&mut self, now: Instant) {
        while let Some(tsn) = self.lost.first().copied()
            && self.sent(tsn).is_some_and(|sent| sent.spent(now))
        {
            self.abandon(tsn);
        }
        self.advance();
    }

    /// Gives up the whole message that `tsn` belongs to (RFC 3758 §3.5 A).
    pub(super) fn abandon(&mut self, tsn: Tsn) {
        let at = tsn.index(self.first);
        let Some(key) = self.chunks.get(at).map(|sent| sent.chunk.key()) else {
            return;
        };
        self.messages_abandoned += 1;
        let mut index = self.beginning_of(at, key);
        while let Some(sent) = self.chunks.get_mut(index) {
            let this = index;
            index += 1;
            if sent.chunk.key() != key {
                continue;
            }
            let before = std::mem::replace(&mut sent.state, Whereabouts::Abandoned);
            let payload = std::mem::take(&mut sent.chunk.payload).len();
            let is_last = sent.chunk.flags & Data::END != 0;
            match before {
                Whereabouts::InFlight => self.leave_flight(payload),
                Whereabouts::Lost => _ = self.lost.remove(&self.first.plus(this as u64)),
                Whereabouts::Acked | Whereabouts::Abandoned => {}
            }
            if is_last {
                return;
            }
        }
        self.abandoned.push(key);
        self.stand_in(key);
    }

    /// Where the message's first chunk is, or the first of those that are still here. Other messages' fragments may lie
    /// between, if messages are interleaved.
    fn beginning_of(&self, at: usize, key: MessageKey) -> usize {
        let mut index = at;
        for (before, sent) in self.chunks.range(..at).enumerate().rev() {
            if self
                .chunks
                .get(index)
                .is_some_and(|sent| sent.chunk.flags & Data::BEGIN != 0)
            {
                break;
            }
            if sent.chunk.key() == key {
                index = before;
            }
        }
        index
    }

    /// A TSN of its own stands for the rest of the message, so that the peer can be told even if it has all that was
    /// sent.
    fn stand_in(&mut self, key: MessageKey) {
        let Some(known) = self.chunks.iter().rfind(|sent| sent.chunk.key() == key) else {
            return;
        };
        let placeholder = NewChunk {
            payload: Bytes::new(),
            flags: known.chunk.flags & Data::UNORDERED | Data::END,
            ..known.chunk
        };
        let sent_at = known.sent_at;
        self.chunks.push_back(Sent {
            chunk: placeholder,
            state: Whereabouts::Abandoned,
            transmissions: 0,
            packet: 0,
            sent_at,
            large: false,
        });
    }

    /// Moves the Advanced.Peer.Ack.Point over what is given up (RFC 3758 §3.5 C2).
    pub(super) fn advance(&mut self) {
        let abandoned = |tsn: Tsn| self.sent(tsn).is_some_and(|sent| sent.state == Whereabouts::Abandoned);
        let mut advanced = self.advanced.max(self.cumulative_ack());
        while abandoned(advanced.next()) {
            advanced = advanced.next();
        }
        self.advanced = advanced;
    }

    /// Whether the peer is to be told of given-up messages.
    #[inline]
    pub(crate) fn wants_forward(&self) -> bool {
        self.advanced > self.cumulative_ack()
    }

    pub(crate) fn advanced(&self) -> Tsn {
        self.advanced
    }

    /// What FORWARD TSN says, naming at most `max_streams` streams.
    pub(crate) fn forward(&self, max_streams: usize) -> (Serial32, Vec<SkippedStream>) {
        let (last, skipped) = self.skipped(max_streams, |chunk| {
            (chunk.flags & Data::UNORDERED == 0).then_some(((chunk.stream, false), chunk.ssn))
        });
        let skipped = skipped.into_iter();
        let skipped = skipped
            .map(|((stream, _), ssn)| SkippedStream { stream, ssn })
            .collect();
        (last, skipped)
    }

    /// What I-FORWARD-TSN says (RFC 8260 §2.3.1), naming at most `max_streams` streams.
    pub(crate) fn forward_interleaved(&self, max_streams: usize) -> (Serial32, Vec<SkippedMessage>) {
        let (last, skipped) = self.skipped(max_streams, |chunk| {
            let key = chunk.key();
            Some(((key.stream, key.unordered), key.id))
        });
        let messages = skipped.into_iter().map(|((stream, unordered), id)| SkippedMessage {
            stream,
            unordered,
            message_id: Serial32::new(id),
        });
        (last, messages.collect())
    }

    fn skipped<T>(
        &self,
        max_streams: usize,
        name: impl Fn(&NewChunk) -> Option<((u16, bool), T)>,
    ) -> (Serial32, BTreeMap<(u16, bool), T>) {
        let mut streams = BTreeMap::new();
        let mut last = self.cumulative_ack();
        let given_up = usize::try_from(self.advanced.above(last)).unwrap_or(usize::MAX);
        for sent in self.chunks.iter().take(given_up) {
            if let Some((stream, number)) = name(&sent.chunk) {
                if streams.len() == max_streams && !streams.contains_key(&stream) {
                    break;
                }
                streams.insert(stream, number);
            }
            last = last.next();
        }
        (last.wire(), streams)
    }
}
