//! Streams that have to cease, and begin again: the circuit breakers of RFC 8083, told what is sent and what is reported.

use std::time::Instant;

use antiphon_rtp::rtcp::ReportBlock;

use super::Session;
use crate::breaker::{Breaker, CircuitBreaker, Report, Sent, TIMEOUT};
use crate::config::Kind;
use crate::event::{Event, SenderId};
use crate::outbound::Outbound;

/// What the stream itself has sent.
fn sent(sender: &Outbound) -> Sent {
    let count = &sender.count;
    Sent {
        packets: count.packets.saturating_sub(count.rtx_packets),
        bytes: (count.bytes + count.header_bytes).saturating_sub(count.rtx_bytes),
    }
}

impl Session {
    /// The peer speaks of what we send. RFC 8083 §4.1 counts reports alone; but whoever gives feedback on packets, or an estimate, hears us too,
    /// and not all who do so send reports.
    pub(super) fn spoken_of(&mut self) {
        self.reports.unheard.since = None;
        for (_, _, breaker) in self.senders.breakers() {
            breaker.heard();
        }
    }

    /// A report block about a stream of ours came.
    pub(super) fn judge(&mut self, now: Instant, block: &ReportBlock) {
        if !self.config.circuit_breakers {
            return;
        }
        let round_trip = self.rtt.get();
        let Some(id) = self.senders.by_ssrc(block.ssrc) else {
            return;
        };
        let Some((sender, breaker)) = self.senders.watched(id) else {
            return;
        };
        let report = Report {
            at: now,
            highest: block.highest_sequence,
            lost: f64::from(block.fraction_lost) / 256.0,
            sent: sent(sender),
        };
        if let Some(cause) = breaker.report(report, round_trip, sender.config.kind == Kind::Audio) {
            self.cease(id, cause);
        }
    }

    /// Whether a circuit breaker has stopped a sender ([`Event::Ceased`]).
    pub fn has_ceased(&self, id: SenderId) -> bool {
        self.senders.get(id).is_some_and(|sender| sender.ceased)
    }

    /// Looks, with each regular report, who has been sending for too long without a word of the peer, and who may begin again.
    pub(super) fn watch(&mut self, now: Instant) {
        self.begin_again(now, |breaker| breaker.may_begin(now));
        let packets = self.senders.iter().map(|(_, sender)| sender.count.packets).sum();
        let before = std::mem::replace(&mut self.reports.unheard.packets, packets);
        // Whoever was asleep has heard nothing either.
        let looked = self.reports.unheard.looked.replace(now);
        let slept = looked.is_none_or(|at| now.saturating_duration_since(at) > TIMEOUT / 2);
        let unheard = &mut self.reports.unheard.since;
        if packets <= before || slept || !self.config.circuit_breakers {
            *unheard = None;
            return;
        }
        let since = *unheard.get_or_insert(now);
        // RFC 8083 §4.1: a word about any of our streams shows that the way back works.
        if now.saturating_duration_since(since) < TIMEOUT {
            return;
        }
        *unheard = None;
        let ceases = |sender: &Outbound| sender.sends() && sender.count.packets > 0;
        while let Some(id) = self.senders.find(ceases) {
            if let Some((_, breaker)) = self.senders.watched(id) {
                breaker.trip(now, CircuitBreaker::RtcpTimeout, TIMEOUT);
            }
            self.cease(id, CircuitBreaker::RtcpTimeout);
        }
    }

    /// RFC 8083 §4.5: RTP of this stream ceases; reports go on. What waits is dropped.
    fn cease(&mut self, id: SenderId, cause: CircuitBreaker) {
        let Some(sender) = self.senders.get_mut(id) else {
            return;
        };
        sender.drop_queued();
        sender.ceased = true;
        self.events.push(Event::Ceased { sender: id, cause });
        self.senders.wake(id);
        self.senders.reschedule();
    }

    /// Those that ceased and may begin again do so. What was learned of the path before says nothing any more.
    pub(super) fn begin_again(&mut self, now: Instant, may: impl Fn(&Breaker) -> bool) {
        let mut any = false;
        for (id, sender, breaker) in self.senders.breakers() {
            if may(breaker) && breaker.begin(now) {
                sender.ceased = false;
                any = true;
                self.events.push(Event::Restarted { sender: id });
            }
        }
        if any {
            self.controller.on_route_change(now);
        }
    }
}
