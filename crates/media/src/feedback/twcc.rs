//! Transport-wide feedback: arrival times by a number that all packets of a transport share, told and heard
//! (draft-holmer-rmcat-transport-wide-cc-extensions-01).

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use antiphon_rtp::rtcp::{TransportFeedback, write_transport_feedback};
use antiphon_sansio::{Full, Serial16, Unwrapper16, Writer};

use super::history::History;
use super::peer_clock::PeerClock;
use crate::congestion::PacketResult;

/// Most transport-wide sequence numbers between the oldest unreported packet and the newest.
const MAX_WINDOW: usize = 2048;
/// A number this far behind what was reported is too old to be told about.
const MAX_LATE: u64 = 256;
/// Feedback leaves this long after the first packet that it speaks of ...
const INTERVAL: Duration = Duration::from_millis(100);
/// ... or this long, once `BUSY` packets wait.
const BUSY_INTERVAL: Duration = Duration::from_millis(50);
const BUSY: usize = 8;
/// Resolution of a delta (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1.5).
const TICK_MICROS: i64 = 250;
/// Resolution of the reference time, in ticks.
const REFERENCE_TICKS: i64 = 64_000 / TICK_MICROS;

/// Arrival times by transport-wide sequence number, until they are fed back.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    unwrapper: Unwrapper16,
    /// The number of `ticks[0]`.
    base: u64,
    /// Arrival since the session began, in ticks.
    ticks: VecDeque<Option<i64>>,
    waiting: usize,
    first: Option<Instant>,
    media: u32,
    feedback_count: u8,
    deltas: Vec<Option<i16>>,
}

impl Arrivals {
    /// A packet of source `media` came, `micros` microseconds after the session began.
    #[inline]
    pub(crate) fn arrive(&mut self, now: Instant, micros: u64, sequence: u16, media: u32) {
        let extended = self.unwrapper.unwrap(Serial16::new(sequence));
        if extended > u64::MAX / 2 {
            // Older than the very first number, seen across zero.
            return;
        }
        let ticks = micros as i64 / TICK_MICROS;
        if self.ticks.is_empty() {
            if self.base != 0 && extended < self.base && self.base - extended > MAX_LATE {
                return;
            }
            // What lies between the last report and this packet is missing, and said to be.
            let gap = extended.wrapping_sub(self.base);
            if self.base == 0 || gap > MAX_WINDOW as u64 {
                self.base = extended;
            }
        }
        if extended < self.base {
            let early = self.base - extended;
            if early > MAX_LATE || self.ticks.len() + early as usize > MAX_WINDOW {
                return;
            }
            for _ in 0..early {
                self.ticks.push_front(None);
            }
            self.base = extended;
        }
        let index = (extended - self.base) as usize;
        if index >= MAX_WINDOW {
            // The sender jumped: start over from here.
            self.ticks.clear();
            self.waiting = 0;
            self.base = extended;
            self.ticks.push_back(Some(ticks));
        } else {
            if index > self.ticks.len() {
                self.ticks.resize(index, None);
            }
            match self.ticks.get_mut(index) {
                None => self.ticks.push_back(Some(ticks)),
                Some(told) if told.is_none() => *told = Some(ticks),
                Some(_) => return,
            }
        }
        self.waiting += 1;
        self.media = media;
        self.first.get_or_insert(now);
    }

    /// When feedback is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        let interval = if self.waiting >= BUSY { BUSY_INTERVAL } else { INTERVAL };
        self.first.map(|first| first + interval)
    }

    /// Writes one feedback packet about as much as fits. Call again while [`Self::next`] is due.
    pub(crate) fn write(&mut self, sender: u32, out: &mut Writer<'_>) -> Result<(), Full> {
        // Header 20 bytes; in the worst case a two-byte delta and 2/7 byte of chunk for each packet.
        let most = out.free().saturating_sub(24) * 7 / 16;
        let Some(first) = self.ticks.iter().copied().flatten().next() else {
            self.first = None;
            return Ok(());
        };
        let reference = first.div_euclid(REFERENCE_TICKS);
        let mut last = reference * REFERENCE_TICKS;
        self.deltas.clear();
        let mut told = 0;
        for ticks in self.ticks.iter().take(most) {
            let delta = match ticks {
                None => None,
                Some(ticks) => match i16::try_from(ticks - last) {
                    Ok(delta) => {
                        last = *ticks;
                        told += 1;
                        Some(delta)
                    }
                    // Too long a pause for one delta: the next feedback has a reference of its own.
                    Err(_) => break,
                },
            };
            self.deltas.push(delta);
        }
        if self.deltas.is_empty() {
            return Err(Full);
        }
        write_transport_feedback(
            sender,
            self.media,
            self.base as u16,
            reference as i32,
            self.feedback_count,
            &self.deltas,
            out,
        )?;
        self.feedback_count = self.feedback_count.wrapping_add(1);
        self.ticks.drain(..self.deltas.len());
        self.base += self.deltas.len() as u64;
        self.waiting -= told;
        if self.waiting == 0 {
            // Losses at the end are told with the packet that shows them.
            self.base += self.ticks.len() as u64;
            self.ticks.clear();
            self.first = None;
        }
        Ok(())
    }
}

/// Reads the peer's feedback on what we sent.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The reference time of the newest feedback, unwrapped from its 24 bits, in 64 ms.
    reference: Option<i64>,
    clock: PeerClock,
}

impl Heard {
    /// Puts what the feedback says of packets that were not acknowledged yet into `results`. Bounded by `allowance`, whatever the
    /// feedback claims: one word of it can speak of thousands of packets, so what a datagram may have us look at is counted.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        feedback: &TransportFeedback<'_>,
        history: &mut History,
        allowance: &mut usize,
        results: &mut Vec<PacketResult>,
    ) {
        results.clear();
        let wire = i64::from(feedback.reference_time);
        let reference = match self.reference {
            None => wire,
            Some(last) => last + (((wire - last) << 40) >> 40),
        };
        self.reference = Some(reference);
        let mut ticks = reference * REFERENCE_TICKS;
        for status in feedback.statuses().take(*allowance) {
            *allowance -= 1;
            let arrival = status.delta.map(|delta| {
                ticks += i64::from(delta);
                self.clock.at(now, ticks * TICK_MICROS)
            });
            results.extend(history.report_number(status.sequence, arrival));
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;
    use antiphon_rtp::rtcp::{Packet, packets};
    use antiphon_sansio::Ecn;
    use proptest::prelude::*;

    use super::super::history::{CAPACITY, Leaving};
    use super::*;

    fn leaving(bytes: usize, numbered: bool) -> Leaving {
        Leaving {
            bytes,
            ecn: Ecn::NotEct,
            numbered,
            padding: false,
            probe: None,
            ssrc: 1,
            sequence: 0,
        }
    }

    fn told(arrivals: &mut Arrivals) -> Vec<(u16, i64)> {
        let mut all = Vec::new();
        while arrivals.next().is_some() {
            let mut buffer = [0; 400];
            let mut out = Writer::new(&mut buffer);
            arrivals.write(1, &mut out).unwrap();
            let Some(Ok(Packet::TransportFeedback(feedback))) = packets(out.finish()).next() else {
                panic!()
            };
            let mut ticks = i64::from(feedback.reference_time) * REFERENCE_TICKS;
            for status in feedback.statuses() {
                if let Some(delta) = status.delta {
                    ticks += i64::from(delta);
                    all.push((status.sequence, ticks));
                }
            }
        }
        all
    }

    proptest! {
        #[test]
        fn every_arrival_is_told_once(first: u16, steps in prop::collection::vec((1u16..5, 0u64..30_000), 1..900)) {
            let epoch = start();
            let mut arrivals = Arrivals::default();
            let (mut sequence, mut micros) = (first, 0);
            let mut expected = Vec::new();
            let mut seen = Vec::new();
            for (n, (step, wait)) in steps.into_iter().enumerate() {
                sequence = sequence.wrapping_add(step);
                micros += wait;
                arrivals.arrive(epoch + Duration::from_micros(micros), micros, sequence, 9);
                expected.push((sequence, micros as i64 / TICK_MICROS));
                if n % 300 == 299 {
                    seen.extend(told(&mut arrivals));
                }
            }
            seen.extend(told(&mut arrivals));
            prop_assert_eq!(seen, expected);
        }

        #[test]
        fn any_sequence_is_bounded(numbers in prop::collection::vec(any::<u16>(), 0..500)) {
            let epoch = start();
            let mut arrivals = Arrivals::default();
            for (n, sequence) in numbers.into_iter().enumerate() {
                arrivals.arrive(epoch + Duration::from_millis(n as u64), n as u64 * 1000, sequence, 9);
                prop_assert!(arrivals.ticks.len() <= MAX_WINDOW);
                if n % 50 == 49 {
                    told(&mut arrivals);
                }
            }
        }
    }

    #[test]
    fn v23_a_datagram_of_feedback_on_everything_costs_a_look_at_what_is_remembered() {
        // 65535 packets that did not come, in runs of 8191: forty bytes.
        let mut one = vec![0x8f, 205, 0, 9, 0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0xff, 0xff, 0, 0, 0, 0];
        one.extend([0x1f, 0xff].repeat(8));
        one.extend([0, 7, 0, 0]);
        let datagram = one.repeat(30);
        let now = start();
        let mut history = History::new(start());
        for _ in 0..CAPACITY {
            history.sent(now, &leaving(1000, true));
        }
        let (mut heard, mut allowance, mut looked_at, mut results) = (Heard::default(), CAPACITY, 0, Vec::new());
        let mut parsed = 0;
        for packet in packets(&datagram) {
            let Ok(Packet::TransportFeedback(feedback)) = packet else {
                panic!("{packet:?}")
            };
            assert_eq!(feedback.status_count, 65_535);
            let before = allowance;
            heard.take(now, &feedback, &mut history, &mut allowance, &mut results);
            looked_at += before - allowance;
            parsed += 1;
        }
        assert_eq!((parsed, looked_at, allowance), (30, CAPACITY, 0));
    }

    #[test]
    fn numbers_lead_to_packets_whether_or_not_all_bear_one() {
        let now = start();
        let mut history = History::new(start());
        for n in 0..3 * CAPACITY {
            history.sent(now, &leaving(n, n % 3 == 0));
        }
        let newest = (CAPACITY - 1) as u16;
        let result = history.report_number(newest, Some(now)).unwrap();
        assert_eq!(result.sent.bytes, 3 * usize::from(newest));
        assert_eq!(history.report_number(newest, Some(now)), None, "once only");
        assert_eq!(history.report_number(7, Some(now)), None, "forgotten");
        assert_eq!(history.report_number(newest + 1, None), None, "never sent");
    }
}
