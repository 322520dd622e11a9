//! What is taken for lost, and when.

use std::time::Instant;

use super::outstanding::Outstanding;
use super::rack::Verdict;
use super::sent::{PathTime, Whereabouts};
use crate::tsn::Tsn;

impl Outstanding {
    /// Finds what is lost by now (RFC 8985 §6.2).
    pub(crate) fn look_for_losses(&mut self, now: Instant, time: PathTime) -> bool {
        self.verdict_due = None;
        let (min_rtt, srtt) = (time.min_rtt.unwrap_or_default(), time.srtt.unwrap_or_default());
        let mut found = false;
        while let Some((packet, tsn)) = self.transmissions.front().copied() {
            if let Some(sent) = self.sent(tsn)
                && sent.state == Whereabouts::InFlight
                && sent.packet == packet
            {
                match self.rack.judge(now, packet, sent.sent_at, min_rtt, srtt) {
                    Verdict::Fine => break,
                    Verdict::Wait(until) => {
                        self.verdict_due = Some(until);
                        break;
                    }
                    Verdict::Lost => {
                        found = true;
                        self.lose(now, tsn);
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

    fn lose(&mut self, now: Instant, tsn: Tsn) {
        let Some(sent) = self.chunks.get_mut(tsn.index(self.first)) else {
            return;
        };
        debug_assert_eq!(sent.state, Whereabouts::InFlight);
        sent.state = Whereabouts::Lost;
        self.large_losses += u32::from(sent.large);
        let (payload, spent) = (sent.chunk.payload.len(), sent.spent(now));
        self.leave_flight(payload);
        let bytes = self.wire_len(payload);
        self.lost_bytes += bytes;
        self.delivery.lost(bytes);
        self.rack.found_lost();
        self.lost.insert(tsn);
        if spent {
            self.abandon(tsn);
        }
    }

    /// A recovery begins with what is found lost from now on, or was just found.
    pub(crate) fn recovery_begins(&mut self, timed_out: bool) {
        self.rack.recovery_begins(timed_out);
        for _ in 0..self.lost.len() {
            self.rack.found_lost();
        }
    }

    /// Everything in flight is lost: T3-rtx has run out (RFC 9260 §6.3.3). `reneged`: what gap blocks reported is not
    /// believed any longer either (RFC 9260 §6.2.1, the peer may have dropped it).
    pub(crate) fn lose_all(&mut self, now: Instant, reneged: bool) {
        self.transmissions.clear();
        self.verdict_due = None;
        self.probe = None;
        if reneged {
            self.acked.clear();
        }
        // Giving up a message may add a TSN.
        let mut index = 0;
        while let Some(sent) = self.chunks.get_mut(index) {
            let tsn = self.first.plus(index as u64);
            match sent.state {
                Whereabouts::InFlight => self.lose(now, tsn),
                Whereabouts::Acked if reneged => {
                    sent.state = Whereabouts::Lost;
                    self.lost.insert(tsn);
                }
                _ => {}
            }
            index += 1;
        }
        self.advance();
    }

    /// The timeout was for nothing: what was not sent again meanwhile counts as in flight, as it was.
    pub(crate) fn revive(&mut self) {
        let mut revived = Vec::new();
        for tsn in std::mem::take(&mut self.lost) {
            let Some(sent) = self.sent_mut(tsn) else { continue };
            sent.state = Whereabouts::InFlight;
            let (payload, packet) = (sent.chunk.payload.len(), sent.packet);
            self.enter_flight(payload);
            revived.push((packet, tsn));
        }
        revived.extend(self.transmissions.drain(..));
        revived.sort_unstable();
        self.transmissions = revived.into();
    }
}
