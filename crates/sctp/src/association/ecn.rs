//! Explicit congestion notification (RFC 9260 Appendix B): marks reported by ECNE, answered by CWR.

use std::time::Instant;

use antiphon_sansio::{BytesMut, Ecn, Serial32};

use super::Association;
use crate::tx::congestion::Loss;

/// Both directions.
#[derive(Debug, Default)]
pub(super) struct EcnState {
    /// The packet that was written last carries DATA, and may be marked.
    sent_capable: bool,
    /// The packet that is being handled is marked.
    pub(super) marked: bool,
    /// The newest TSN that came in a marked packet: told until CWR answers it.
    pub(super) to_tell: Option<Serial32>,
    /// The mark that CWR is to answer.
    pub(super) to_answer: Option<Serial32>,
    /// Marks of what was sent up to here have been acted upon.
    slowed_at: u64,
}

impl Association {
    /// As [`Self::handle_packet`], of a datagram that arrived with this mark. Marks count if both ends have
    /// [`Config::ecn`](crate::Config::ecn).
    pub fn handle_packet_with_ecn(&mut self, now: Instant, ecn: Ecn, packet: BytesMut) {
        self.ecn.marked = ecn == Ecn::Ce && self.uses_ecn();
        self.handle_packet(now, packet);
        self.ecn.marked = false;
    }

    /// How the datagram is to be marked that holds the packet written last: ECN-capable if it carries DATA, and both ends have
    /// [`Config::ecn`](crate::Config::ecn).
    pub fn ecn(&self) -> Ecn {
        if self.ecn.sent_capable { Ecn::Ect0 } else { Ecn::NotEct }
    }

    pub(super) fn uses_ecn(&self) -> bool {
        self.config.ecn && self.peer.is_some_and(|peer| peer.capabilities.ecn)
    }

    pub(super) fn packet_carries_data(&mut self, data: bool) {
        self.ecn.sent_capable = data && self.uses_ecn();
    }

    /// DATA came in the packet that is being handled.
    #[inline]
    pub(super) fn note_mark(&mut self, tsn: Serial32) {
        if self.ecn.marked {
            self.stats.marks_received += 1;
            if self.ecn.to_tell.is_none_or(|told| tsn.distance_from(told) > 0) {
                self.ecn.to_tell = Some(tsn);
            }
        }
    }

    /// The peer tells of a mark: the answer is that to a loss, once for each window.
    pub(super) fn handle_ecne(&mut self, now: Instant, tsn: Serial32) {
        if !self.uses_ecn() {
            self.stats.chunks_invalid += 1;
            return;
        }
        let acked = self.outstanding.cumulative_ack();
        let distance = tsn.distance_from(Serial32::new(acked as u32));
        let extended = acked.wrapping_add_signed(i64::from(distance));
        if extended >= self.outstanding.next_tsn() {
            // Never sent.
            self.stats.chunks_invalid += 1;
            return;
        }
        self.ecn.to_answer = Some(tsn);
        if extended > self.ecn.slowed_at {
            self.ecn.slowed_at = self.outstanding.next_tsn() - 1;
            self.stats.marks_answered += 1;
            if self.recovery.is_none() {
                self.congestion.on_mark(&Loss {
                    now,
                    in_flight: self.outstanding.in_flight(),
                });
                self.update_pace(now);
            }
        }
    }

    pub(super) fn handle_cwr(&mut self, tsn: Serial32) {
        self.ecn.to_tell = self.ecn.to_tell.filter(|told| told.distance_from(tsn) > 0);
    }
}
