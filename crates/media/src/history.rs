use std::time::Instant;

use antiphon_rtp::rtcp::TransportFeedback;

use crate::bandwidth::PacketResult;

/// Packets remembered until feedback speaks of them: at 50 Mbit/s almost a second.
pub(crate) const CAPACITY: usize = 4096;

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

    /// The results that feedback brings for packets that were not acknowledged yet. Bounded by `allowance`, whatever the feedback
    /// claims: one word of it can speak of thousands of packets, so what a datagram may have us look at is counted.
    pub(crate) fn feedback(
        &mut self,
        feedback: &TransportFeedback<'_>,
        allowance: &mut usize,
        out: &mut Vec<PacketResult>,
    ) {
        out.clear();
        let newest = self.next - 1;
        let wire = i64::from(feedback.reference_time);
        let reference = match self.reference {
            None => wire,
            Some(last) => last + (((wire - last) << 40) >> 40),
        };
        self.reference = Some(reference);
        let mut arrival = reference * 64_000;
        for status in feedback.statuses().take(*allowance) {
            *allowance -= 1;
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn v23_a_datagram_of_feedback_on_everything_costs_a_look_at_what_is_remembered() {
        // 65535 packets that did not come, in runs of 8191: forty bytes.
        let mut one = vec![0x8f, 205, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
        one.extend([0x1f, 0xff].repeat(8));
        one.extend([0, 7, 0, 0]);
        let datagram = one.repeat(30);
        let now = Instant::now();
        let mut history = History::new(now);
        for _ in 0..CAPACITY {
            history.sent(now, 1000);
        }
        let (mut allowance, mut looked_at, mut results) = (CAPACITY, 0, Vec::new());
        let mut parsed = 0;
        for packet in antiphon_rtp::rtcp::packets(&datagram) {
            let Ok(antiphon_rtp::rtcp::Packet::TransportFeedback(feedback)) = packet else {
                panic!("{packet:?}")
            };
            assert_eq!(feedback.status_count, 65_535);
            let before = allowance;
            history.feedback(&feedback, &mut allowance, &mut results);
            looked_at += before - allowance;
            parsed += 1;
        }
        assert_eq!((parsed, looked_at, allowance), (30, CAPACITY, 0));
    }
}
