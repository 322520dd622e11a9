use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use antiphon_sansio::{Serial16, Serial32};
use bytes::Bytes;

use super::congestion::RateSample;
use super::delivery::{Delivery, Snapshot};
use super::newest::{Newest, probe_repaired, write};
use super::rack::{Rack, Verdict};
use crate::chunk::{Data, InterleavedData, Put, Sack, SkippedMessage, SkippedStream, padded};

/// Which message a chunk belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageKey {
    pub(crate) stream: u16,
    pub(crate) unordered: bool,
    /// Counts the messages of the stream and kind.
    pub(crate) id: u32,
}

/// A chunk before its first transmission.
#[derive(Clone, Debug)]
pub(crate) struct NewChunk {
    pub(crate) payload: Bytes,
    pub(crate) stream: u16,
    /// The stream sequence number; of an unordered message zero.
    pub(crate) ssn: Serial16,
    /// The message's number, the MID if messages are interleaved (RFC 8260 §2.1).
    pub(crate) message_id: u32,
    /// The fragment's number in its message.
    pub(crate) fsn: u32,
    pub(crate) ppid: u32,
    pub(crate) flags: u8,
    pub(crate) max_retransmits: Option<u16>,
    pub(crate) expires: Option<Instant>,
}

impl NewChunk {
    fn key(&self) -> MessageKey {
        MessageKey {
            stream: self.stream,
            unordered: self.flags & Data::UNORDERED != 0,
            id: self.message_id,
        }
    }
}

/// What the sender knows of the path's time.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct PathTime {
    pub(crate) min_rtt: Option<Duration>,
    pub(crate) srtt: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    InFlight,
    /// Waits for retransmission.
    Lost,
    /// Reported in a gap block.
    Acked,
    /// Given up (RFC 3758 §3.5).
    Abandoned,
}

#[derive(Debug)]
pub(super) struct Sent {
    pub(super) chunk: NewChunk,
    pub(super) state: State,
    pub(super) transmissions: u32,
    /// The number of the packet that carried it last.
    pub(super) packet: u64,
    pub(super) sent_at: Instant,
    /// Its last packet was above the base size.
    pub(super) large: bool,
}

impl Sent {
    fn spent(&self, now: Instant) -> bool {
        let tries = self
            .chunk
            .max_retransmits
            .is_some_and(|max| self.transmissions > u32::from(max));
        tries || self.chunk.expires.is_some_and(|at| at <= now)
    }
}

/// What a SACK brought.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Acked {
    /// It is older than what we know: nothing in it counts.
    pub(crate) stale: bool,
    /// Bytes newly acknowledged, as on the wire.
    pub(crate) bytes: usize,
    pub(crate) cumulative_advanced: bool,
    pub(crate) rtt: Option<Duration>,
    /// A loss was found.
    pub(crate) lost: bool,
    /// The last recovery was for nothing.
    pub(crate) spurious: bool,
    /// A round trip is over.
    pub(crate) round_start: bool,
    pub(crate) sample: Option<RateSample>,
    /// Blocks that cannot be true.
    pub(crate) invalid_blocks: bool,
}

/// The SACK cannot be about this association: it acknowledges what was never sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Nonsense;

/// Chunks that have a TSN and are not yet covered by the peer's cumulative TSN ack.
#[derive(Debug)]
pub(crate) struct Outstanding {
    /// By TSN, from `first` on without holes.
    pub(super) chunks: VecDeque<Sent>,
    /// The extended TSN of `chunks[0]`.
    pub(super) first: u64,
    /// Transmissions in their order: packet number and TSN. Stale entries are skipped.
    transmissions: VecDeque<(u64, u64)>,
    pub(super) lost: BTreeSet<u64>,
    /// What gap blocks have reported, first to last, above the cumulative TSN.
    pub(super) acked: BTreeMap<u64, u64>,
    /// I-DATA takes the place of DATA (RFC 8260 §2.2.1).
    interleaved: bool,
    /// Bytes in flight as on the wire, and of user data alone.
    pub(super) flight_wire: usize,
    pub(super) flight_payload: usize,
    /// The number of the newest packet, and what was known when the last ones left, up to it.
    next_packet: u64,
    packets: VecDeque<Snapshot>,
    rack: Rack,
    delivery: Delivery,
    /// When the earliest chunk that waits for its verdict is lost, unless it arrives.
    verdict_due: Option<Instant>,
    /// The chunk that was sent again as a tail loss probe.
    probe: Option<u64>,
    /// Bytes found lost and not yet told to the congestion controller.
    lost_bytes: usize,
    /// Advanced.Peer.Ack.Point (RFC 3758 §3.5).
    pub(super) advanced: u64,
    messages_abandoned: u64,
    retransmissions: u64,
    /// Chunks lost in packets above the base size since the last one in such a packet arrived.
    large_losses: u32,
}

impl Outstanding {
    pub(crate) fn new(now: Instant, initial_tsn: Serial32) -> Self {
        let first = (1 << 32) + u64::from(initial_tsn.get());
        Self {
            chunks: VecDeque::new(),
            first,
            transmissions: VecDeque::new(),
            lost: BTreeSet::new(),
            acked: BTreeMap::new(),
            interleaved: false,
            flight_wire: 0,
            flight_payload: 0,
            next_packet: 0,
            packets: VecDeque::new(),
            rack: Rack::default(),
            delivery: Delivery::new(now),
            verdict_due: None,
            probe: None,
            lost_bytes: 0,
            advanced: first - 1,
            messages_abandoned: 0,
            retransmissions: 0,
            large_losses: 0,
        }
    }

    /// Whether chunks are I-DATA.
    pub(crate) fn is_interleaved(&self) -> bool {
        self.interleaved
    }

    /// From now on chunks are I-DATA, or not. Says whether that could still be changed: nothing may be outstanding.
    pub(crate) fn set_interleaved(&mut self, interleaved: bool) -> bool {
        if self.chunks.is_empty() {
            self.interleaved = interleaved;
        }
        self.interleaved == interleaved
    }

    /// Bytes of a chunk before its payload.
    #[inline]
    pub(crate) fn header_len(&self) -> usize {
        if self.interleaved {
            InterleavedData::HEADER_LEN
        } else {
            Data::HEADER_LEN
        }
    }

    /// Bytes of a chunk with `payload` bytes of user data, padding included.
    #[inline]
    pub(crate) fn wire_len(&self, payload: usize) -> usize {
        padded(self.header_len() + payload)
    }

    #[inline]
    pub(crate) fn next_tsn(&self) -> u64 {
        self.first + self.chunks.len() as u64
    }

    pub(crate) fn cumulative_ack(&self) -> u64 {
        self.first - 1
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    #[inline]
    pub(crate) fn len(&self) -> usize {
        self.chunks.len()
    }

    #[inline]
    pub(crate) fn in_flight(&self) -> usize {
        self.flight_wire
    }

    #[inline]
    pub(crate) fn payload_in_flight(&self) -> usize {
        self.flight_payload
    }

    pub(crate) fn messages_abandoned(&self) -> u64 {
        self.messages_abandoned
    }

    pub(crate) fn retransmissions(&self) -> u64 {
        self.retransmissions
    }

    #[inline]
    pub(crate) fn has_lost(&self) -> bool {
        !self.lost.is_empty()
    }

    /// All chunks written from now on belong to the next packet.
    #[inline]
    pub(crate) fn begin_packet(&mut self, now: Instant) {
        self.next_packet += 1;
        let snapshot = self.delivery.snapshot(now, self.flight_wire);
        self.packets.push_back(snapshot);
    }

    #[inline]
    fn snapshot(&self, packet: u64) -> Option<&Snapshot> {
        let back = usize::try_from(self.next_packet - packet).ok()?;
        self.packets.get(self.packets.len().checked_sub(back + 1)?)
    }

    /// Nothing waits and the window has room.
    #[inline]
    pub(crate) fn app_limited(&mut self) {
        self.delivery.app_limited(self.flight_wire);
    }

    /// When [`Self::look_for_losses`] has something to find, if nothing arrives.
    pub(crate) fn verdict_due(&self) -> Option<Instant> {
        self.verdict_due
    }

    /// Bytes found lost since the last call.
    pub(crate) fn take_lost_bytes(&mut self) -> usize {
        std::mem::take(&mut self.lost_bytes)
    }

    /// Gives a new chunk its TSN and writes it.
    #[inline]
    pub(crate) fn send(&mut self, now: Instant, chunk: NewChunk, out: &mut impl Put) {
        let tsn = self.next_tsn();
        write(&chunk, self.interleaved, tsn, out);
        self.flight_wire += self.wire_len(chunk.payload.len());
        self.flight_payload += chunk.payload.len();
        self.chunks.push_back(Sent {
            chunk,
            state: State::InFlight,
            transmissions: 1,
            packet: self.next_packet,
            sent_at: now,
            large: false,
        });
        self.transmissions.push_back((self.next_packet, tsn));
    }

    /// The payload size of the chunk to retransmit next.
    #[inline]
    pub(crate) fn next_lost_len(&self) -> Option<usize> {
        let tsn = self.lost.first()?;
        Some(self.chunks[(tsn - self.first) as usize].chunk.payload.len())
    }

    /// Writes the chunk to retransmit next.
    /// Returns whether it is the earliest one outstanding.
    pub(crate) fn retransmit(&mut self, now: Instant, out: &mut impl Put) -> bool {
        let Some(tsn) = self.lost.pop_first() else { return false };
        let sent = &mut self.chunks[(tsn - self.first) as usize];
        // The peer shall not wait with its answer (RFC 7053).
        sent.chunk.flags |= Data::IMMEDIATE;
        write(&sent.chunk, self.interleaved, tsn, out);
        sent.state = State::InFlight;
        sent.transmissions += 1;
        sent.packet = self.next_packet;
        sent.sent_at = now;
        sent.large = false;
        let payload = sent.chunk.payload.len();
        self.flight_wire += self.wire_len(payload);
        self.flight_payload += payload;
        self.transmissions.push_back((self.next_packet, tsn));
        self.retransmissions += 1;
        self.rack.retransmitted(tsn);
        tsn == self.first
    }

    /// The packet that was just written is above the base size: what becomes of its chunks tells of the path.
    pub(crate) fn packet_was_large(&mut self) {
        for (packet, tsn) in self.transmissions.iter().rev() {
            if *packet != self.next_packet {
                break;
            }
            self.chunks[(tsn - self.first) as usize].large = true;
        }
    }

    /// Chunks lost in packets above the base size, with none arriving between them.
    pub(crate) fn large_losses(&self) -> u32 {
        self.large_losses
    }

    pub(crate) fn forget_large_losses(&mut self) {
        self.large_losses = 0;
    }

    fn leave_flight(&mut self, index: usize) {
        let sent = &self.chunks[index];
        debug_assert_eq!(sent.state, State::InFlight);
        let payload = sent.chunk.payload.len();
        self.flight_wire -= self.wire_len(payload);
        self.flight_payload -= payload;
    }

    /// A tail loss probe (RFC 8985 §7): the newest chunk in flight shall be sent once more, although nothing says that it is
    /// lost. Does nothing if that would give up a message of limited reliability.
    pub(crate) fn probe_tail(&mut self, now: Instant) -> bool {
        if !self.lost.is_empty() {
            return false;
        }
        let newest = self.chunks.iter().rposition(|sent| sent.state == State::InFlight);
        let Some(index) = newest.filter(|index| !self.chunks[*index].spent(now)) else {
            return false;
        };
        self.leave_flight(index);
        self.chunks[index].state = State::Lost;
        let tsn = self.first + index as u64;
        self.lost.insert(tsn);
        self.probe = Some(tsn);
        true
    }

    /// Takes an acknowledgement. Old ones change nothing. `abandon_tail` is called when a message is given up whose rest may
    /// still be in the send queue.
    pub(crate) fn handle_sack(
        &mut self,
        now: Instant,
        sack: &Sack<'_>,
        time: PathTime,
        mut abandon_tail: impl FnMut(MessageKey),
    ) -> Result<Acked, Nonsense> {
        let distance = sack
            .cumulative_tsn
            .distance_from(Serial32::new(self.cumulative_ack() as u32));
        if distance < 0 {
            return Ok(Acked {
                stale: true,
                ..Acked::default()
            });
        }
        let cumulative = self.cumulative_ack() + distance as u64;
        if cumulative >= self.next_tsn() {
            return Err(Nonsense);
        }
        let mut acked = Acked {
            cumulative_advanced: distance > 0,
            ..Acked::default()
        };
        let mut newest = Newest {
            now,
            min_rtt: time.min_rtt,
            packet: None,
            sample: None,
            known: self.rack.newest_packet(),
        };
        for _ in 0..distance {
            let Some(sent) = self.chunks.pop_front() else { break };
            let tsn = self.first;
            self.first += 1;
            if matches!(sent.state, State::InFlight | State::Lost) {
                let wire = self.wire_len(sent.chunk.payload.len());
                if sent.state == State::InFlight {
                    self.flight_wire -= wire;
                    self.flight_payload -= sent.chunk.payload.len();
                } else {
                    self.lost.remove(&tsn);
                }
                acked.bytes += wire;
                if sent.large {
                    self.large_losses = 0;
                }
                newest.see(tsn, &sent, &mut self.rack);
                acked.lost |= probe_repaired(&mut self.probe, tsn, &sent, sack, &newest);
            }
        }
        while let Some(entry) = self.acked.first_entry()
            && *entry.key() <= cumulative
        {
            let last = entry.remove();
            if last > cumulative {
                self.acked.insert(cumulative + 1, last);
            }
        }
        self.advanced = self.advanced.max(cumulative);

        let mut previous = cumulative;
        for block in sack.gap_blocks() {
            let (first, last) = (cumulative + u64::from(block.start), cumulative + u64::from(block.end));
            // Blocks ascend and do not touch the cumulative TSN or what was never sent (RFC 9260 §3.3.4).
            if first <= previous || first > last || last >= self.next_tsn() {
                acked.invalid_blocks = true;
                break;
            }
            previous = last;
            self.ack_block(first, last, sack, &mut newest, &mut acked);
        }
        if self.retransmissions > 0 {
            for duplicate in sack.duplicate_tsns() {
                let distance = duplicate.distance_from(Serial32::new(cumulative as u32));
                let tsn = cumulative.wrapping_add_signed(i64::from(distance));
                self.rack.duplicate(tsn, time.min_rtt.unwrap_or_default());
            }
        }

        if let Some((packet, sent_at)) = newest.packet {
            self.rack.arrived(packet, now.saturating_duration_since(sent_at));
        }
        self.delivery.acked(acked.bytes);
        if let Some(snapshot) = newest.packet.and_then(|(packet, _)| self.snapshot(packet)).copied() {
            (acked.sample, acked.round_start) = self.delivery.sample(now, &snapshot, time.min_rtt);
        }
        acked.rtt = newest.sample.map(|(_, rtt)| rtt);
        acked.lost |= self.look_for_losses(now, time, &mut abandon_tail);
        acked.spurious = self.rack.take_spurious();
        self.advance();
        Ok(acked)
    }

    /// Marks `first..=last` acknowledged. Costs what is new in it, not what it covers.
    fn ack_block(&mut self, first: u64, last: u64, sack: &Sack<'_>, newest: &mut Newest, acked: &mut Acked) {
        let mut cursor = first;
        let (mut start, mut end) = (first, last);
        if let Some((known_first, known_last)) = self.acked.range(..=first).next_back()
            && *known_last + 1 >= first
        {
            if *known_last >= last {
                return;
            }
            start = *known_first;
            cursor = cursor.max(known_last + 1);
        }
        while cursor <= last {
            let known = self.acked.range(cursor..=last).next().map(|(a, b)| (*a, *b));
            let stop = known.map_or(last + 1, |(known_first, _)| known_first);
            for tsn in cursor..stop {
                self.ack_one(tsn, sack, newest, acked);
            }
            cursor = stop;
            if let Some((known_first, known_last)) = known {
                self.acked.remove(&known_first);
                end = end.max(known_last);
                cursor = known_last + 1;
            }
        }
        if let Some(next_last) = self.acked.remove(&(end + 1)) {
            end = next_last;
        }
        self.acked.insert(start, end);
    }

    fn ack_one(&mut self, tsn: u64, sack: &Sack<'_>, newest: &mut Newest, acked: &mut Acked) {
        let index = (tsn - self.first) as usize;
        match self.chunks[index].state {
            State::InFlight => self.leave_flight(index),
            State::Lost => {
                self.lost.remove(&tsn);
            }
            State::Acked | State::Abandoned => return,
        }
        acked.bytes += self.wire_len(self.chunks[index].chunk.payload.len());
        let sent = &mut self.chunks[index];
        if sent.large {
            self.large_losses = 0;
        }
        newest.see(tsn, sent, &mut self.rack);
        acked.lost |= probe_repaired(&mut self.probe, tsn, sent, sack, newest);
        sent.state = State::Acked;
    }

    /// Finds what is lost by now (RFC 8985 §6.2).
    pub(crate) fn look_for_losses(
        &mut self,
        now: Instant,
        time: PathTime,
        abandon_tail: &mut impl FnMut(MessageKey),
    ) -> bool {
        self.verdict_due = None;
        let (min_rtt, srtt) = (time.min_rtt.unwrap_or_default(), time.srtt.unwrap_or_default());
        let mut found = false;
        while let Some((packet, tsn)) = self.transmissions.front().copied() {
            if tsn >= self.first {
                let sent = &self.chunks[(tsn - self.first) as usize];
                if sent.state == State::InFlight && sent.packet == packet {
                    match self.rack.judge(now, packet, sent.sent_at, min_rtt, srtt) {
                        Verdict::Fine => break,
                        Verdict::Wait(until) => {
                            self.verdict_due = Some(until);
                            break;
                        }
                        Verdict::Lost => {
                            found = true;
                            self.lose(now, tsn, abandon_tail);
                        }
                    }
                }
            }
            self.transmissions.pop_front();
        }
        let oldest = self
            .transmissions
            .front()
            .map_or(self.next_packet + 1, |(packet, _)| *packet);
        while (self.packets.len() as u64) > self.next_packet + 1 - oldest {
            self.packets.pop_front();
        }
        found
    }

    fn lose(&mut self, now: Instant, tsn: u64, abandon_tail: &mut impl FnMut(MessageKey)) {
        let index = (tsn - self.first) as usize;
        self.leave_flight(index);
        let bytes = self.wire_len(self.chunks[index].chunk.payload.len());
        self.lost_bytes += bytes;
        self.delivery.lost(bytes);
        self.rack.found_lost();
        self.large_losses += u32::from(self.chunks[index].large);
        self.chunks[index].state = State::Lost;
        self.lost.insert(tsn);
        if self.chunks[index].spent(now)
            && let Some(key) = self.abandon(tsn)
        {
            abandon_tail(key);
        }
    }

    /// A recovery begins with what is found lost from now on, or was just found.
    pub(crate) fn recovery_begins(&mut self, timed_out: bool) {
        self.rack.recovery_begins(timed_out);
        for _ in 0..self.lost.len() {
            self.rack.found_lost();
        }
    }

    /// Everything in flight is lost: T3-rtx has run out (RFC 9260 §6.3.3). `reneged`: what gap blocks reported is not believed
    /// any longer either (RFC 9260 §6.2.1, the peer may have dropped it).
    pub(crate) fn lose_all(&mut self, now: Instant, reneged: bool, mut abandon_tail: impl FnMut(MessageKey)) {
        self.transmissions.clear();
        self.verdict_due = None;
        self.probe = None;
        if reneged {
            self.acked.clear();
        }
        let mut tsn = self.first;
        while tsn < self.next_tsn() {
            let index = (tsn - self.first) as usize;
            match self.chunks[index].state {
                State::InFlight => self.lose(now, tsn, &mut abandon_tail),
                State::Acked if reneged => {
                    self.chunks[index].state = State::Lost;
                    self.lost.insert(tsn);
                }
                _ => {}
            }
            tsn += 1;
        }
        self.advance();
    }

    /// The timeout was for nothing: what was not sent again meanwhile counts as in flight, as it was.
    pub(crate) fn revive(&mut self) {
        let mut revived = Vec::new();
        for tsn in std::mem::take(&mut self.lost) {
            let index = (tsn - self.first) as usize;
            let sent = &mut self.chunks[index];
            sent.state = State::InFlight;
            let (payload, packet) = (sent.chunk.payload.len(), sent.packet);
            self.flight_wire += self.wire_len(payload);
            self.flight_payload += payload;
            revived.push((packet, tsn));
        }
        revived.extend(self.transmissions.drain(..));
        revived.sort_unstable();
        self.transmissions = revived.into();
    }

    /// Gives up messages whose time is over and that wait for retransmission.
    pub(crate) fn drop_spent(&mut self, now: Instant, mut abandon_tail: impl FnMut(MessageKey)) {
        while let Some(tsn) = self.lost.first().copied() {
            if !self.chunks[(tsn - self.first) as usize].spent(now) {
                break;
            }
            if let Some(key) = self.abandon(tsn) {
                abandon_tail(key);
            }
        }
        self.advance();
    }

    /// Gives up the whole message that `tsn` belongs to (RFC 3758 §3.5 A). Returns its key if its rest is still in the send
    /// queue.
    fn abandon(&mut self, tsn: u64) -> Option<MessageKey> {
        let mut index = (tsn - self.first) as usize;
        let key = self.chunks[index].chunk.key();
        // Other messages' fragments may lie between, if messages are interleaved.
        let mut begin = index;
        while begin > 0 && self.chunks[index].chunk.flags & Data::BEGIN == 0 {
            begin -= 1;
            if self.chunks[begin].chunk.key() == key {
                index = begin;
            }
        }
        self.messages_abandoned += 1;
        loop {
            let Some(sent) = self.chunks.get(index) else {
                // A TSN of its own stands for the rest, so that the peer can be told even if it has all that was sent.
                let known = self.chunks.iter().rfind(|sent| sent.chunk.key() == key);
                let known = known.expect("the message has a chunk");
                let placeholder = NewChunk {
                    payload: Bytes::new(),
                    flags: known.chunk.flags & Data::UNORDERED | Data::END,
                    ..known.chunk
                };
                let sent_at = known.sent_at;
                self.chunks.push_back(Sent {
                    chunk: placeholder,
                    state: State::Abandoned,
                    transmissions: 0,
                    packet: 0,
                    sent_at,
                    large: false,
                });
                return Some(key);
            };
            if sent.chunk.key() != key {
                index += 1;
                continue;
            }
            match sent.state {
                State::InFlight => self.leave_flight(index),
                State::Lost => {
                    self.lost.remove(&(self.first + index as u64));
                }
                State::Acked | State::Abandoned => {}
            }
            let sent = &mut self.chunks[index];
            sent.state = State::Abandoned;
            sent.chunk.payload = Bytes::new();
            if sent.chunk.flags & Data::END != 0 {
                return None;
            }
            index += 1;
        }
    }

    /// Moves the Advanced.Peer.Ack.Point over what is given up (RFC 3758 §3.5 C2).
    fn advance(&mut self) {
        let abandoned = |tsn: u64| {
            let sent = self.chunks.get((tsn - self.first) as usize);
            sent.is_some_and(|sent| sent.state == State::Abandoned)
        };
        let mut advanced = self.advanced.max(self.cumulative_ack());
        while abandoned(advanced + 1) {
            advanced += 1;
        }
        self.advanced = advanced;
    }

    /// Whether the peer is to be told of given-up messages.
    #[inline]
    pub(crate) fn wants_forward(&self) -> bool {
        self.advanced > self.cumulative_ack()
    }

    pub(crate) fn advanced(&self) -> u64 {
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
        for tsn in self.first..=self.advanced {
            let chunk = &self.chunks[(tsn - self.first) as usize].chunk;
            if let Some((stream, number)) = name(chunk) {
                if streams.len() == max_streams && !streams.contains_key(&stream) {
                    break;
                }
                streams.insert(stream, number);
            }
            last = tsn;
        }
        (Serial32::new(last as u32), streams)
    }
}
