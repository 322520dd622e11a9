use std::time::Instant;

use antiphon_rtp::rtcp::TransportFeedback;

use crate::bandwidth::PacketResult;

/// Packets remembered until feedback speaks of them: at 50 Mbit/s almost a second.
const CAPACITY: usize = 4096;

#[derive(Clone, Copy, Debug)]
struct Sent {
    sequence: u64,
    micros: i64,
    bytes: u32,
    reported: bool,
}

/// What was sent under which transport-wide sequence number (draft-holmer-rmcat-transport-wide-cc-extensions-01).
#[derive(Debug)]
pub(crate) struct History {
    epoch: Instant,
    sent: Vec<Sent>,
    next: u64,
    /// The reference time of the newest feedback, unwrapped from its 24 bits, in 64 ms.
    reference: Option<i64>,
}

impl History {
    pub(crate) fn new(epoch: Instant) -> Self {
        Self {
            epoch,
            sent: Vec::new(),
            // A multiple of the capacity: slots fill from the first on.
            next: CAPACITY as u64,
            reference: None,
        }
    }

    /// The number for the next packet.
    pub(crate) fn next(&self) -> u16 {
        self.next as u16
    }

    /// A packet left under the number that [`Self::next`] gave.
    pub(crate) fn sent(&mut self, now: Instant, bytes: usize) {
        let sent = Sent {
            sequence: self.next,
            micros: now.saturating_duration_since(self.epoch).as_micros() as i64,
            bytes: bytes as u32,
            reported: false,
        };
        let index = self.next as usize % CAPACITY;
        match self.sent.get_mut(index) {
            Some(slot) => *slot = sent,
            None => self.sent.push(sent),
        }
        self.next += 1;
    }

    /// The results that feedback brings for packets that were not acknowledged yet. Bounded by what is remembered, whatever
    /// the feedback claims.
    pub(crate) fn feedback(&mut self, feedback: &TransportFeedback<'_>, out: &mut Vec<PacketResult>) {
        out.clear();
        let newest = self.next - 1;
        let wire = i64::from(feedback.reference_time);
        let reference = match self.reference {
            None => wire,
            Some(last) => last + (((wire - last) << 40) >> 40),
        };
        self.reference = Some(reference);
        let mut arrival = reference * 64_000;
        for status in feedback.statuses().take(CAPACITY) {
            if let Some(delta) = status.delta {
                arrival += i64::from(delta) * 250;
            }
            let behind = u64::from((newest as u16).wrapping_sub(status.sequence));
            let Some(sequence) = newest.checked_sub(behind) else {
                continue;
            };
            let Some(sent) = self.sent.get_mut(sequence as usize % CAPACITY) else {
                continue;
            };
            if sent.sequence != sequence || sent.reported {
                continue;
            }
            // A packet told lost may still be told to have come: only an arrival is final.
            sent.reported = status.delta.is_some();
            out.push(PacketResult {
                sent: sent.micros,
                arrival: status.delta.is_some().then_some(arrival),
                bytes: sent.bytes as usize,
            });
        }
    }
}
