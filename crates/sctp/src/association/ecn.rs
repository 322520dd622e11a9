//! Explicit congestion notification (RFC 9260 Appendix B): marks reported by ECNE, answered by CWR.

use std::time::Instant;

use antiphon_sansio::Serial32;

use super::Association;
use crate::tx::congestion::Loss;

/// Both directions.
#[derive(Debug, Default)]
pub(super) struct EcnState {
    /// The newest TSN that came in a marked packet: told until CWR answers it.
    pub(super) to_tell: Option<Serial32>,
    /// The mark that CWR is to answer.
    pub(super) to_answer: Option<Serial32>,
    /// Marks of what was sent up to here have been acted upon.
    slowed_at: u64,
}

impl Association {
    pub(super) fn uses_ecn(&self) -> bool {
        self.config.ecn && self.peer.is_some_and(|peer| peer.capabilities.ecn)
    }

    /// DATA came in a packet with a mark.
    pub(super) fn note_mark(&mut self, tsn: Serial32) {
        self.stats.marks_received += 1;
        if self.ecn.to_tell.is_none_or(|told| tsn.distance_from(told) > 0) {
            self.ecn.to_tell = Some(tsn);
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
