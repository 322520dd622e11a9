//! The books of what was sent: each chunk that has a TSN, until the peer's cumulative TSN ack covers it.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use antiphon_sansio::Serial32;

use super::delivery::{Delivery, Snapshot};
use super::rack::Rack;
use super::sent::{MessageKey, NewChunk, Sent, Whereabouts};
use crate::chunk::{Data, InterleavedData, Put, padded};
use crate::tsn::Tsn;

/// Chunks that have a TSN and are not yet covered by the peer's cumulative TSN ack.
#[derive(Debug)]
pub(crate) struct Outstanding {
    /// By TSN, from `first` on without holes.
    pub(super) chunks: VecDeque<Sent>,
    /// The TSN of `chunks[0]`.
    pub(super) first: Tsn,
    /// Transmissions in their order: packet number and TSN. Stale entries are skipped.
    pub(super) transmissions: VecDeque<(u64, Tsn)>,
    pub(super) lost: BTreeSet<Tsn>,
    /// What gap blocks have reported, first to last, above the cumulative TSN.
    pub(super) acked: BTreeMap<Tsn, Tsn>,
    /// I-DATA takes the place of DATA (RFC 8260 §2.2.1).
    interleaved: bool,
    /// Bytes in flight as on the wire, and of user data alone.
    pub(super) flight_wire: usize,
    pub(super) flight_payload: usize,
    /// The number of the newest packet, and what was known when the last ones left, up to it.
    pub(super) next_packet: u64,
    pub(super) packets: VecDeque<Snapshot>,
    pub(super) rack: Rack,
    pub(super) delivery: Delivery,
    /// When the earliest chunk that waits for its verdict is lost, unless it arrives.
    pub(super) verdict_due: Option<Instant>,
    /// The chunk that was sent again as a tail loss probe.
    pub(super) probe: Option<Tsn>,
    /// Bytes found lost and not yet told to the congestion controller.
    pub(super) lost_bytes: usize,
    /// Advanced.Peer.Ack.Point (RFC 3758 §3.5).
    pub(super) advanced: Tsn,
    pub(super) messages_abandoned: u64,
    /// Messages given up whose rest may still be in the send queue.
    pub(super) abandoned: Vec<MessageKey>,
    pub(super) retransmissions: u64,
    /// Chunks lost in packets above the base size since the last one in such a packet arrived.
    pub(super) large_losses: u32,
}

impl Outstanding {
    pub(crate) fn new(now: Instant, initial_tsn: Serial32) -> Self {
        let first = Tsn::initial(initial_tsn);
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
            advanced: first.previous(),
            messages_abandoned: 0,
            abandoned: Vec::new(),
            retransmissions: 0,
            large_losses: 0,
        }
    }

    /// Gives back memory, if all that was sent has been acknowledged.
    pub(crate) fn give_back(&mut self) {
        if self.chunks.is_empty() {
            self.chunks = VecDeque::new();
            self.transmissions.shrink_to_fit();
            self.packets.shrink_to_fit();
            self.lost = BTreeSet::new();
            self.acked = BTreeMap::new();
            self.abandoned.shrink_to_fit();
            self.rack.give_back();
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
    pub(crate) fn next_tsn(&self) -> Tsn {
        self.first.plus(self.chunks.len() as u64)
    }

    pub(crate) fn cumulative_ack(&self) -> Tsn {
        self.first.previous()
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
    pub(super) fn snapshot(&self, packet: u64) -> Option<&Snapshot> {
        let back = usize::try_from(self.next_packet - packet).ok()?;
        self.packets.get(self.packets.len().checked_sub(back + 1)?)
    }

    /// Nothing waits and the window has room.
    #[inline]
    pub(crate) fn app_limited(&mut self) {
        self.delivery.app_limited(self.flight_wire);
    }

    /// A message that was given up, and whose rest may still be in the send queue.
    #[inline]
    pub(crate) fn poll_abandoned(&mut self) -> Option<MessageKey> {
        self.abandoned.pop()
    }

    #[inline]
    pub(super) fn sent(&self, tsn: Tsn) -> Option<&Sent> {
        self.chunks.get(tsn.index(self.first))
    }

    #[inline]
    pub(super) fn sent_mut(&mut self, tsn: Tsn) -> Option<&mut Sent> {
        self.chunks.get_mut(tsn.index(self.first))
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
        self.enter_flight(chunk.payload.len());
        self.chunks.push_back(Sent {
            chunk,
            state: Whereabouts::InFlight,
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
        self.sent(*tsn).map(|sent| sent.chunk.payload.len())
    }

    /// Writes the chunk to retransmit next. Returns whether it is the earliest one outstanding.
    pub(crate) fn retransmit(&mut self, now: Instant, out: &mut impl Put) -> bool {
        let (packet, interleaved) = (self.next_packet, self.interleaved);
        let Some(tsn) = self.lost.pop_first() else { return false };
        let Some(sent) = self.sent_mut(tsn) else { return false };
        // The peer shall not wait with its answer (RFC 7053).
        sent.chunk.flags |= Data::IMMEDIATE;
        write(&sent.chunk, interleaved, tsn, out);
        sent.state = Whereabouts::InFlight;
        sent.transmissions += 1;
        sent.packet = packet;
        sent.sent_at = now;
        sent.large = false;
        let payload = sent.chunk.payload.len();
        self.enter_flight(payload);
        self.transmissions.push_back((packet, tsn));
        self.retransmissions += 1;
        self.rack.retransmitted(tsn);
        tsn == self.first
    }

    /// The packet that was just written is above the base size: what becomes of its chunks tells of the path.
    pub(crate) fn packet_was_large(&mut self) {
        let written = self.transmissions.iter().rev();
        for (_, tsn) in written.take_while(|(packet, _)| *packet == self.next_packet) {
            if let Some(sent) = self.chunks.get_mut(tsn.index(self.first)) {
                sent.large = true;
            }
        }
    }

    /// Chunks lost in packets above the base size, with none arriving between them.
    pub(crate) fn large_losses(&self) -> u32 {
        self.large_losses
    }

    pub(crate) fn forget_large_losses(&mut self) {
        self.large_losses = 0;
    }

    #[inline]
    pub(super) fn enter_flight(&mut self, payload: usize) {
        self.flight_wire += self.wire_len(payload);
        self.flight_payload += payload;
    }

    #[inline]
    pub(super) fn leave_flight(&mut self, payload: usize) {
        self.flight_wire -= self.wire_len(payload);
        self.flight_payload -= payload;
    }

    /// A tail loss probe (RFC 8985 §7): the newest chunk in flight shall be sent once more, although nothing says that
    /// it is lost. Does nothing if that would give up a message of limited reliability.
    pub(crate) fn probe_tail(&mut self, now: Instant) -> bool {
        if !self.lost.is_empty() {
            return false;
        }
        let mut newest_first = self.chunks.iter_mut().enumerate().rev();
        let Some((index, sent)) = newest_first.find(|(_, sent)| sent.state == Whereabouts::InFlight) else {
            return false;
        };
        if sent.spent(now) {
            return false;
        }
        sent.state = Whereabouts::Lost;
        let payload = sent.chunk.payload.len();
        self.leave_flight(payload);
        let tsn = self.first.plus(index as u64);
        self.lost.insert(tsn);
        self.probe = Some(tsn);
        true
    }
}

#[inline]
fn write(chunk: &NewChunk, interleaved: bool, tsn: Tsn, out: &mut impl Put) {
    let tsn = tsn.wire();
    if !interleaved {
        Data {
            flags: chunk.flags,
            tsn,
            stream: chunk.stream,
            ssn: chunk.ssn,
            ppid: chunk.ppid,
            payload: &chunk.payload,
        }
        .write(out);
        return;
    }
    let first = chunk.flags & Data::BEGIN != 0;
    InterleavedData {
        flags: chunk.flags,
        tsn,
        stream: chunk.stream,
        reserved: 0,
        message_id: Serial32::new(chunk.message_id),
        ppid_or_fsn: if first { chunk.ppid } else { chunk.fsn },
        payload: &chunk.payload,
    }
    .write(out);
}
