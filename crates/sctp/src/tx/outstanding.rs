use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use antiphon_sansio::{Serial16, Serial32};
use bytes::Bytes;

use crate::chunk::{Data, Put, Sack, SkippedStream};

/// A chunk counts as lost when a packet sent this many packets after it has arrived: the three reports of
/// RFC 9260 §7.2.4, counted in order of transmission so that they find lost retransmissions as well.
const REORDERING: u64 = 3;
/// A path that reorders by more gets more patience, up to here.
const MAX_REORDERING: u64 = 32;

/// A chunk before its first transmission.
#[derive(Debug)]
pub(crate) struct Outgoing {
    pub(crate) payload: Bytes,
    pub(crate) stream: u16,
    pub(crate) ssn: Serial16,
    pub(crate) ppid: u32,
    pub(crate) flags: u8,
    pub(crate) max_retransmits: Option<u16>,
    pub(crate) expires: Option<Instant>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    InFlight,
    /// Waits for retransmission.
    Lost,
    /// Reported in a gap block.
    Acked,
    /// Given up (RFC 3758 §3.5).
    Abandoned,
}

#[derive(Debug)]
struct Sent {
    chunk: Outgoing,
    state: State,
    transmissions: u32,
    /// The number of the packet that carried it last.
    packet: u64,
    sent_at: Instant,
}

impl Sent {
    fn wire_len(&self) -> usize {
        Data::wire_len(self.chunk.payload.len())
    }

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
    chunks: VecDeque<Sent>,
    /// The extended TSN of `chunks[0]`.
    first: u64,
    /// Transmissions in their order: packet number and TSN. Stale entries are skipped.
    transmissions: VecDeque<(u64, u64)>,
    lost: BTreeSet<u64>,
    /// What gap blocks have reported, first to last, above the cumulative TSN.
    acked: BTreeMap<u64, u64>,
    /// Bytes in flight as on the wire, and of user data alone.
    flight_wire: usize,
    flight_payload: usize,
    next_packet: u64,
    newest_acked_packet: Option<u64>,
    /// How many later packets must have arrived before a chunk counts as lost: learned from chunks that came late, or twice
    /// because we were too quick, and forgotten when T3-rtx runs out.
    reordering: u64,
    /// Advanced.Peer.Ack.Point (RFC 3758 §3.5).
    advanced: u64,
    messages_abandoned: u64,
    retransmissions: u64,
}

impl Outstanding {
    pub(crate) fn new(initial_tsn: Serial32) -> Self {
        let first = (1 << 32) + u64::from(initial_tsn.get());
        Self {
            chunks: VecDeque::new(),
            first,
            transmissions: VecDeque::new(),
            lost: BTreeSet::new(),
            acked: BTreeMap::new(),
            flight_wire: 0,
            flight_payload: 0,
            next_packet: 0,
            newest_acked_packet: None,
            reordering: REORDERING,
            advanced: first - 1,
            messages_abandoned: 0,
            retransmissions: 0,
        }
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
    pub(crate) fn begin_packet(&mut self) {
        self.next_packet += 1;
    }

    /// Gives a new chunk its TSN and writes it.
    #[inline]
    pub(crate) fn send(&mut self, now: Instant, chunk: Outgoing, out: &mut impl Put) {
        let tsn = self.next_tsn();
        write(&chunk, tsn, out);
        let sent = Sent {
            chunk,
            state: State::InFlight,
            transmissions: 1,
            packet: self.next_packet,
            sent_at: now,
        };
        self.flight_wire += sent.wire_len();
        self.flight_payload += sent.chunk.payload.len();
        self.chunks.push_back(sent);
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
        write(&sent.chunk, tsn, out);
        sent.state = State::InFlight;
        sent.transmissions += 1;
        sent.packet = self.next_packet;
        sent.sent_at = now;
        self.flight_wire += sent.wire_len();
        self.flight_payload += sent.chunk.payload.len();
        self.transmissions.push_back((self.next_packet, tsn));
        self.retransmissions += 1;
        tsn == self.first
    }

    fn leave_flight(&mut self, index: usize) {
        let sent = &self.chunks[index];
        debug_assert_eq!(sent.state, State::InFlight);
        self.flight_wire -= sent.wire_len();
        self.flight_payload -= sent.chunk.payload.len();
    }

    /// Takes an acknowledgement. Old ones change nothing. `abandon_tail` is called when a message is given up whose rest is
    /// still in the send queue.
    pub(crate) fn handle_sack(
        &mut self,
        now: Instant,
        sack: &Sack<'_>,
        min_rtt: Option<Duration>,
        mut abandon_tail: impl FnMut(),
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
            min_rtt,
            packet: None,
            sample: None,
            known: self.newest_acked_packet,
            late_by: 0,
        };
        for _ in 0..distance {
            let Some(sent) = self.chunks.front() else { break };
            match sent.state {
                State::InFlight => {
                    acked.bytes += sent.wire_len();
                    newest.see(sent);
                    self.leave_flight(0);
                }
                State::Lost => {
                    acked.bytes += sent.wire_len();
                    newest.see(sent);
                    self.lost.remove(&self.first);
                }
                State::Acked | State::Abandoned => {}
            }
            self.chunks.pop_front();
            self.first += 1;
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
            self.ack_block(first, last, &mut newest, &mut acked);
        }

        let mut patience = self.reordering.max(newest.late_by + 1);
        if self.retransmissions > 0 && sack.duplicate_tsns().next().is_some() {
            patience += 1;
        }
        self.reordering = patience.min(MAX_REORDERING);
        if let Some(packet) = newest.packet {
            self.newest_acked_packet = self.newest_acked_packet.max(Some(packet));
        }
        acked.rtt = newest.sample.map(|(_, rtt)| rtt);
        acked.lost = self.find_losses(now, &mut abandon_tail);
        self.advance();
        Ok(acked)
    }

    /// Marks `first..=last` acknowledged. Costs what is new in it, not what it covers.
    fn ack_block(&mut self, first: u64, last: u64, newest: &mut Newest, acked: &mut Acked) {
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
                self.ack_one(tsn, newest, acked);
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

    fn ack_one(&mut self, tsn: u64, newest: &mut Newest, acked: &mut Acked) {
        let index = (tsn - self.first) as usize;
        let sent = &self.chunks[index];
        match sent.state {
            State::InFlight => self.leave_flight(index),
            State::Lost => {
                self.lost.remove(&tsn);
            }
            State::Acked | State::Abandoned => return,
        }
        let sent = &mut self.chunks[index];
        newest.see(sent);
        acked.bytes += sent.wire_len();
        sent.state = State::Acked;
    }

    fn find_losses(&mut self, now: Instant, abandon_tail: &mut impl FnMut()) -> bool {
        let Some(newest) = self.newest_acked_packet else {
            return false;
        };
        let mut found = false;
        while let Some((packet, tsn)) = self.transmissions.front().copied() {
            let live = tsn >= self.first && {
                let sent = &self.chunks[(tsn - self.first) as usize];
                sent.state == State::InFlight && sent.packet == packet
            };
            if live {
                if packet + self.reordering > newest {
                    break;
                }
                found = true;
                self.lose(now, tsn, abandon_tail);
            }
            self.transmissions.pop_front();
        }
        found
    }

    fn lose(&mut self, now: Instant, tsn: u64, abandon_tail: &mut impl FnMut()) {
        let index = (tsn - self.first) as usize;
        self.leave_flight(index);
        self.chunks[index].state = State::Lost;
        self.lost.insert(tsn);
        if self.chunks[index].spent(now) && self.abandon(tsn) {
            abandon_tail();
        }
    }

    /// Everything in flight is lost: T3-rtx has run out (RFC 9260 §6.3.3). `reneged`: what gap blocks reported is not believed
    /// any longer either (RFC 9260 §6.2.1, the peer may have dropped it).
    pub(crate) fn lose_all(&mut self, now: Instant, reneged: bool, mut abandon_tail: impl FnMut()) {
        self.transmissions.clear();
        self.reordering = REORDERING;
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

    /// Gives up messages whose time is over and that wait for retransmission.
    pub(crate) fn drop_spent(&mut self, now: Instant, mut abandon_tail: impl FnMut()) {
        while let Some(tsn) = self.lost.first().copied() {
            if !self.chunks[(tsn - self.first) as usize].spent(now) {
                break;
            }
            if self.abandon(tsn) {
                abandon_tail();
            }
        }
        self.advance();
    }

    /// Gives up the whole message that `tsn` belongs to (RFC 3758 §3.5 A). Returns whether its rest is still in the send queue.
    fn abandon(&mut self, tsn: u64) -> bool {
        let mut index = (tsn - self.first) as usize;
        while index > 0 && self.chunks[index].chunk.flags & Data::BEGIN == 0 {
            index -= 1;
        }
        self.messages_abandoned += 1;
        loop {
            let Some(sent) = self.chunks.get(index) else {
                // A TSN of its own stands for the rest, so that the peer can be told even if it has all that was sent.
                let last = self.chunks.back().expect("the message has a chunk");
                let placeholder = Outgoing {
                    payload: Bytes::new(),
                    flags: last.chunk.flags & Data::UNORDERED | Data::END,
                    ..last.chunk
                };
                self.chunks.push_back(Sent {
                    chunk: placeholder,
                    state: State::Abandoned,
                    transmissions: 0,
                    packet: 0,
                    sent_at: last.sent_at,
                });
                return true;
            };
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
                return false;
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
        let mut streams = BTreeMap::new();
        let mut last = self.cumulative_ack();
        for tsn in self.first..=self.advanced {
            let chunk = &self.chunks[(tsn - self.first) as usize].chunk;
            if chunk.flags & Data::UNORDERED == 0 {
                if streams.len() == max_streams && !streams.contains_key(&chunk.stream) {
                    break;
                }
                streams.insert(chunk.stream, chunk.ssn);
            }
            last = tsn;
        }
        let skipped = streams.into_iter();
        let skipped = skipped.map(|(stream, ssn)| SkippedStream { stream, ssn }).collect();
        (Serial32::new(last as u32), skipped)
    }
}

#[cfg(test)]
impl Outstanding {
    /// Counts everything anew and compares.
    pub(crate) fn check_books(&self) {
        let flying = || self.chunks.iter().filter(|sent| sent.state == State::InFlight);
        assert_eq!(self.flight_wire, flying().map(Sent::wire_len).sum::<usize>());
        assert_eq!(
            self.flight_payload,
            flying().map(|s| s.chunk.payload.len()).sum::<usize>()
        );
        let tsns = |state| {
            let numbered = (self.first..).zip(&self.chunks);
            numbered
                .filter(move |(_, sent)| sent.state == state)
                .map(|(tsn, _)| tsn)
        };
        assert!(tsns(State::Lost).eq(self.lost.iter().copied()));
        // Gap blocks may cover what is given up as well.
        let known: BTreeSet<u64> = self.acked.iter().flat_map(|(first, last)| *first..=*last).collect();
        assert!(tsns(State::Acked).all(|tsn| known.contains(&tsn)));
        assert!(known.iter().all(|tsn| *tsn >= self.first && *tsn < self.next_tsn()));
        assert!(
            tsns(State::InFlight)
                .chain(tsns(State::Lost))
                .all(|tsn| !known.contains(&tsn))
        );
        let ranges: Vec<_> = self.acked.iter().collect();
        assert!(ranges.windows(2).all(|pair| pair[0].1 + 1 < *pair[1].0), "ranges touch");
        assert!(self.advanced >= self.cumulative_ack() && self.advanced < self.next_tsn());
    }
}

/// The newest transmission that a SACK acknowledges.
struct Newest {
    now: Instant,
    min_rtt: Option<Duration>,
    packet: Option<u64>,
    sample: Option<(u64, Duration)>,
    /// The newest packet that was acknowledged before.
    known: Option<u64>,
    /// By how many packets a chunk that was sent once came late.
    late_by: u64,
}

impl Newest {
    #[inline]
    fn see(&mut self, sent: &Sent) {
        let elapsed = self.now.saturating_duration_since(sent.sent_at);
        let first_try = sent.transmissions == 1;
        if first_try && let Some(known) = self.known {
            self.late_by = self.late_by.max(known.saturating_sub(sent.packet));
        }
        // The acknowledgement of a chunk that was sent twice says nothing of which one arrived (Karn), unless it comes
        // sooner than the path allows for the second.
        if first_try || self.min_rtt.is_some_and(|min| elapsed >= min) {
            self.packet = self.packet.max(Some(sent.packet));
        }
        // A chunk that was already believed lost has waited for other chunks' acknowledgements: its time is not the path's.
        if first_try && sent.state == State::InFlight && self.sample.is_none_or(|(packet, _)| packet <= sent.packet) {
            self.sample = Some((sent.packet, elapsed));
        }
    }
}

#[inline]
fn write(chunk: &Outgoing, tsn: u64, out: &mut impl Put) {
    Data {
        flags: chunk.flags,
        tsn: Serial32::new(tsn as u32),
        stream: chunk.stream,
        ssn: chunk.ssn,
        ppid: chunk.ppid,
        payload: &chunk.payload,
    }
    .write(out);
}
