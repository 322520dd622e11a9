//! What a SACK does to the books.

use std::time::{Duration, Instant};

use super::congestion::RateSample;
use super::outstanding::Outstanding;
use super::rack::Rack;
use super::sent::{PathTime, Sent, Whereabouts};
use crate::chunk::Sack;
use crate::tsn::Tsn;

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
pub(crate) struct NeverSent;

/// The newest transmission that a SACK acknowledges.
struct Newest {
    now: Instant,
    min_rtt: Option<Duration>,
    packet: Option<(u64, Instant)>,
    sample: Option<(u64, Duration)>,
    /// The newest packet that was acknowledged before.
    known: Option<u64>,
}

impl Newest {
    /// Whether what arrived must have been sent before the chunk's last transmission: the time is too short for that.
    #[inline]
    fn is_earlier(&self, sent: &Sent) -> bool {
        let elapsed = self.now.saturating_duration_since(sent.sent_at);
        sent.transmissions > 1 && self.min_rtt.is_some_and(|min| elapsed < min)
    }

    #[inline]
    fn see(&mut self, tsn: Tsn, sent: &Sent, rack: &mut Rack) {
        let elapsed = self.now.saturating_duration_since(sent.sent_at);
        let first_try = sent.transmissions == 1;
        if first_try && self.known.is_some_and(|known| sent.packet < known) {
            rack.came_late(elapsed);
        }
        let was_lost = sent.state == Whereabouts::Lost;
        if (first_try && was_lost) || self.is_earlier(sent) {
            rack.was_not_lost(tsn);
        }
        // The acknowledgement of a chunk that was sent twice says nothing of which one arrived (Karn), unless it comes
        // sooner than the path allows for the second.
        if (first_try || self.min_rtt.is_some_and(|min| elapsed >= min))
            && self.packet.is_none_or(|(packet, _)| packet < sent.packet)
        {
            self.packet = Some((sent.packet, sent.sent_at));
        }
        // A chunk that was already believed lost has waited for other chunks' acknowledgements: its time is not the
        // path's.
        if first_try && !was_lost && self.sample.is_none_or(|(packet, _)| packet <= sent.packet) {
            self.sample = Some((sent.packet, elapsed));
        }
    }
}

/// Whether a tail loss probe has repaired a loss (RFC 8985 §7.4): it arrived, and what it repeated did not.
fn probe_repaired(probe: &mut Option<Tsn>, tsn: Tsn, sent: &Sent, sack: &Sack<'_>, newest: &Newest) -> bool {
    if *probe != Some(tsn) {
        return false;
    }
    *probe = None;
    let was_sent = sent.state == Whereabouts::InFlight && sent.transmissions > 1;
    let twice = sack.duplicate_tsns().any(|duplicate| duplicate == tsn.wire());
    was_sent && !twice && !newest.is_earlier(sent)
}

impl Outstanding {
    /// Takes an acknowledgement. Old ones change nothing.
    pub(crate) fn handle_sack(&mut self, now: Instant, sack: &Sack<'_>, time: PathTime) -> Result<Acked, NeverSent> {
        let cumulative = self.cumulative_ack().nearest(sack.cumulative_tsn);
        if cumulative < self.cumulative_ack() {
            return Ok(Acked {
                stale: true,
                ..Acked::default()
            });
        }
        if cumulative >= self.next_tsn() {
            return Err(NeverSent);
        }
        let mut acked = Acked {
            cumulative_advanced: cumulative > self.cumulative_ack(),
            ..Acked::default()
        };
        let mut newest = Newest {
            now,
            min_rtt: time.min_rtt,
            packet: None,
            sample: None,
            known: self.rack.newest_packet(),
        };
        self.ack_up_to(cumulative, sack, &mut newest, &mut acked);
        self.ack_blocks(cumulative, sack, &mut newest, &mut acked);
        if self.retransmissions > 0 {
            for duplicate in sack.duplicate_tsns() {
                let tsn = cumulative.nearest(duplicate);
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
        acked.lost |= self.look_for_losses(now, time);
        acked.spurious = self.rack.take_spurious();
        self.advance();
        Ok(acked)
    }

    /// The cumulative TSN ack covers everything up to here.
    fn ack_up_to(&mut self, cumulative: Tsn, sack: &Sack<'_>, newest: &mut Newest, acked: &mut Acked) {
        while self.first <= cumulative {
            let Some(sent) = self.chunks.pop_front() else { break };
            let tsn = self.first;
            self.first = tsn.next();
            let payload = sent.chunk.payload.len();
            match sent.state {
                Whereabouts::InFlight => self.leave_flight(payload),
                Whereabouts::Lost => _ = self.lost.remove(&tsn),
                Whereabouts::Acked | Whereabouts::Abandoned => continue,
            }
            acked.bytes += self.wire_len(payload);
            if sent.large {
                self.large_losses = 0;
            }
            newest.see(tsn, &sent, &mut self.rack);
            acked.lost |= probe_repaired(&mut self.probe, tsn, &sent, sack, newest);
        }
        while let Some(entry) = self.acked.first_entry()
            && *entry.key() <= cumulative
        {
            let last = entry.remove();
            if last > cumulative {
                self.acked.insert(cumulative.next(), last);
            }
        }
        self.advanced = self.advanced.max(cumulative);
    }

    fn ack_blocks(&mut self, cumulative: Tsn, sack: &Sack<'_>, newest: &mut Newest, acked: &mut Acked) {
        let mut previous = cumulative;
        for block in sack.gap_blocks() {
            let first = cumulative.plus(u64::from(block.start));
            let last = cumulative.plus(u64::from(block.end));
            // Blocks ascend and do not touch the cumulative TSN or what was never sent (RFC 9260 §3.3.4).
            if first <= previous || first > last || last >= self.next_tsn() {
                acked.invalid_blocks = true;
                break;
            }
            previous = last;
            self.ack_block(first, last, sack, newest, acked);
        }
    }

    /// Marks `first..=last` acknowledged. Costs what is new in it, not what it covers.
    fn ack_block(&mut self, first: Tsn, last: Tsn, sack: &Sack<'_>, newest: &mut Newest, acked: &mut Acked) {
        let mut cursor = first;
        let (mut start, mut end) = (first, last);
        if let Some((known_first, known_last)) = self.acked.range(..=first).next_back()
            && known_last.next() >= first
        {
            if *known_last >= last {
                return;
            }
            start = *known_first;
            cursor = cursor.max(known_last.next());
        }
        while cursor <= last {
            let known = self.acked.range(cursor..=last).next().map(|(a, b)| (*a, *b));
            let stop = known.map_or(last.next(), |(known_first, _)| known_first);
            while cursor < stop {
                self.ack_one(cursor, sack, newest, acked);
                cursor = cursor.next();
            }
            if let Some((known_first, known_last)) = known {
                self.acked.remove(&known_first);
                end = end.max(known_last);
                cursor = known_last.next();
            }
        }
        if let Some(next_last) = self.acked.remove(&end.next()) {
            end = next_last;
        }
        self.acked.insert(start, end);
    }

    fn ack_one(&mut self, tsn: Tsn, sack: &Sack<'_>, newest: &mut Newest, acked: &mut Acked) {
        let Some(sent) = self.chunks.get_mut(tsn.index(self.first)) else {
            return;
        };
        let before = sent.state;
        if matches!(before, Whereabouts::Acked | Whereabouts::Abandoned) {
            return;
        }
        if sent.large {
            self.large_losses = 0;
        }
        newest.see(tsn, sent, &mut self.rack);
        acked.lost |= probe_repaired(&mut self.probe, tsn, sent, sack, newest);
        sent.state = Whereabouts::Acked;
        let payload = sent.chunk.payload.len();
        if before == Whereabouts::InFlight {
            self.leave_flight(payload);
        } else {
            self.lost.remove(&tsn);
        }
        acked.bytes += self.wire_len(payload);
    }
}
