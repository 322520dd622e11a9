//! The sequence numbers of one source: which came, which are lost, and how regularly they come.

use std::time::Instant;

use antiphon_rtp::rtcp::ReportBlock;

use crate::nack::MAX_AGE;

/// RFC 3550 A.1: a jump ahead of at most this many is loss, more is suspect.
const MAX_DROPOUT: i64 = 3000;
/// RFC 3550 A.1 has 100; today's paths and rates need more.
const MAX_MISORDER: i64 = 1000;
/// Retransmissions come later than disorder.
const MAX_REPAIR_AGE: i64 = MAX_AGE as i64;
/// Duplicates are told apart within this many sequence numbers of the newest.
const WINDOW: u64 = 2048;

const _: () = assert!(MAX_AGE < WINDOW, "what may still come is told from duplicates");

/// What a sequence number means to its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Arrival {
    /// New; the extended sequence number.
    New(u64),
    /// Seen already.
    Duplicate,
    /// Far off; believed when the next one follows it (RFC 3550 A.1).
    Suspect,
    /// The second in a row after a jump: the sender restarted. State before it is void.
    Restart(u64),
}

/// Sequence numbers, loss and jitter of one source (RFC 3550 §6.4.1, A.1, A.3, A.8).
#[derive(Debug, Default)]
pub(crate) struct Reception {
    /// Extended number of the first packet; meaningful once `newest` is.
    base: u64,
    newest: Option<u64>,
    /// After a jump: the number that would confirm it.
    suspect: Option<u16>,
    seen: [u64; (WINDOW / 64) as usize],
    received: u64,
    expected_before: u64,
    received_before: u64,
    transit: Option<u32>,
    /// Jitter in sixteenths of a timestamp unit.
    jitter: u32,
    last_sr: Option<(u32, Instant)>,
}

impl Reception {
    fn bit(&mut self, sequence: u64) -> (&mut u64, u64) {
        let index = sequence % WINDOW;
        (&mut self.seen[(index / 64) as usize], 1 << (index % 64))
    }

    fn start(&mut self, sequence: u16) -> u64 {
        // One cycle up, so that packets from before the first one extend to positive numbers.
        let extended = u64::from(sequence) + 0x1_0000;
        self.base = extended;
        self.newest = Some(extended);
        self.suspect = None;
        self.seen = [0; (WINDOW / 64) as usize];
        self.received = 0;
        self.expected_before = 0;
        self.received_before = 0;
        self.transit = None;
        let (word, bit) = self.bit(extended);
        *word |= bit;
        extended
    }

    /// Takes in a packet of the source itself (`original`), or one that a retransmission brought back. Only originals
    /// count as received: reports speak of the network, not of repairs.
    pub(crate) fn arrive(&mut self, sequence: u16, original: bool) -> Arrival {
        let Some(newest) = self.newest else {
            let extended = self.start(sequence);
            self.received += u64::from(original);
            return Arrival::New(extended);
        };
        let distance = i64::from(sequence.wrapping_sub(newest as u16) as i16);
        let oldest = if original { -MAX_MISORDER } else { -MAX_REPAIR_AGE };
        if !(oldest..=MAX_DROPOUT).contains(&distance) {
            if !original {
                return Arrival::Suspect;
            }
            if self.suspect == Some(sequence) {
                let extended = self.start(sequence);
                self.received = 1;
                return Arrival::Restart(extended);
            }
            self.suspect = Some(sequence.wrapping_add(1));
            return Arrival::Suspect;
        }
        let extended = newest.wrapping_add_signed(distance);
        if distance > 0 {
            for skipped in newest + 1..extended {
                let (word, bit) = self.bit(skipped);
                *word &= !bit;
            }
            self.newest = Some(extended);
        } else {
            let (word, bit) = self.bit(extended);
            if *word & bit != 0 {
                return Arrival::Duplicate;
            }
        }
        let (word, bit) = self.bit(extended);
        *word |= bit;
        self.suspect = None;
        self.received += u64::from(original);
        self.base = self.base.min(extended);
        Arrival::New(extended)
    }

    /// Whether a packet of this number would be new, and comes after the first one.
    pub(crate) fn misses(&mut self, sequence: u16) -> bool {
        let Some(newest) = self.newest else { return false };
        let distance = i64::from(sequence.wrapping_sub(newest as u16) as i16);
        if !(-MAX_MISORDER..=MAX_DROPOUT).contains(&distance) {
            return false;
        }
        let extended = newest.wrapping_add_signed(distance);
        if distance > 0 {
            return true;
        }
        let (word, bit) = self.bit(extended);
        *word & bit == 0 && extended > self.base
    }

    /// Whether a number between these two has not come, or came so long ago that nobody knows.
    pub(crate) fn lacks(&self, after: u64, before: u64) -> bool {
        let oldest = self.newest.unwrap_or(0).saturating_sub(WINDOW - 1);
        if after < oldest {
            return after + 1 < before;
        }
        (after + 1..before).any(|sequence| {
            let index = sequence % WINDOW;
            self.seen[(index / 64) as usize] & 1 << (index % 64) == 0
        })
    }

    /// Whether a packet of this number would be believed at once.
    pub(crate) fn is_near(&self, sequence: u16) -> bool {
        let distance = |newest: u64| i64::from(sequence.wrapping_sub(newest as u16) as i16);
        self.newest
            .is_none_or(|newest| (-MAX_MISORDER..=MAX_DROPOUT).contains(&distance(newest)))
    }

    /// Takes the arrival time of a packet, in microseconds since any fixed moment, into the jitter (RFC 3550 A.8).
    #[inline]
    pub(crate) fn time(&mut self, micros: u64, timestamp: u32, clock_rate: u32) {
        // In units of the media clock, modulo 2^32 as timestamps are.
        let parts = (micros % 1_000_000) * u64::from(clock_rate) / 1_000_000;
        let units = ((micros / 1_000_000) as u32)
            .wrapping_mul(clock_rate)
            .wrapping_add(parts as u32);
        let transit = units.wrapping_sub(timestamp);
        if let Some(last) = self.transit.replace(transit) {
            let difference = (transit.wrapping_sub(last) as i32).unsigned_abs();
            // A jump of the sender's clock is not jitter.
            if difference < clock_rate.saturating_mul(10) {
                self.jitter = self.jitter - ((self.jitter + 8) >> 4) + difference;
            }
        }
    }

    /// A sender report came.
    pub(crate) fn sender_report(&mut self, now: Instant, ntp_middle: u32) {
        self.last_sr = Some((ntp_middle, now));
    }

    /// Packets that never came, as far as the source itself is concerned.
    pub(crate) fn lost(&self) -> i64 {
        self.expected() as i64 - self.received as i64
    }

    fn expected(&self) -> u64 {
        self.newest.map_or(0, |newest| newest - self.base + 1)
    }

    /// Jitter in seconds.
    pub(crate) fn jitter(&self, clock_rate: u32) -> f64 {
        f64::from(self.jitter >> 4) / f64::from(clock_rate.max(1))
    }

    /// The block for the next report; loss is counted from the block before. `None` before the first packet.
    pub(crate) fn report(&mut self, now: Instant, ssrc: u32) -> Option<ReportBlock> {
        let newest = self.newest?;
        let (expected, received) = (self.expected(), self.received);
        let expected_interval = expected.saturating_sub(self.expected_before);
        let received_interval = received.saturating_sub(self.received_before);
        self.expected_before = expected;
        self.received_before = received;
        let lost_interval = expected_interval.saturating_sub(received_interval);
        let fraction_lost = (lost_interval * 256)
            .checked_div(expected_interval)
            .unwrap_or(0)
            .min(255) as u8;
        let (last_sr, delay_since_last_sr) = self.last_sr.map_or((0, 0), |(ntp, at)| {
            let delay = now.saturating_duration_since(at).as_micros() * 65_536 / 1_000_000;
            (ntp, u32::try_from(delay).unwrap_or(u32::MAX))
        });
        Some(ReportBlock {
            ssrc,
            fraction_lost,
            cumulative_lost: self.lost().clamp(-0x80_0000, 0x7f_ffff) as i32,
            // RFC 3550 §6.4.1: cycles above the sequence number. Ours begin at one; the wire's at zero.
            highest_sequence: (newest - 0x1_0000) as u32,
            jitter: self.jitter >> 4,
            last_sr,
            delay_since_last_sr,
        })
    }
}

/// Counts microseconds from a beginning. Packets come in runs of the same moment, so the last answer is kept: the
/// difference of two instants costs more than all else that is done with it.
#[derive(Debug)]
pub(crate) struct Elapsed {
    beginning: Instant,
    asked: Instant,
    micros: u64,
}

impl Elapsed {
    pub(crate) fn since(beginning: Instant) -> Self {
        Self {
            beginning,
            asked: beginning,
            micros: 0,
        }
    }

    /// The microseconds from the beginning to `now`; 0 before it.
    #[inline]
    pub(crate) fn micros(&mut self, now: Instant) -> u64 {
        if now != self.asked {
            let elapsed = now.saturating_duration_since(self.beginning);
            self.asked = now;
            self.micros = elapsed.as_secs() * 1_000_000 + u64::from(elapsed.subsec_micros());
        }
        self.micros
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn loss_duplicates_and_wrap() {
        let mut reception = Reception::default();
        let mut new = 0;
        for sequence in (65_500..65_536).chain(0..40) {
            if sequence % 10 != 3 {
                assert!(matches!(reception.arrive(sequence as u16, true), Arrival::New(_)));
                new += 1;
            }
        }
        assert_eq!(reception.arrive(39, true), Arrival::Duplicate);
        assert_eq!(reception.lost(), 76 - new);
        assert_eq!(reception.arrive(3, false), Arrival::New(0x2_0003), "a repair is new");
        assert_eq!(reception.arrive(3, true), Arrival::Duplicate);
        assert_eq!(reception.lost(), 76 - new, "a repair does not count as received");
    }

    #[test]
    fn report_block() {
        let now = antiphon_netsim::start();
        let mut reception = Reception::default();
        assert_eq!(reception.report(now, 7), None);
        for sequence in 0..100u16 {
            if sequence % 4 != 1 {
                reception.arrive(sequence, true);
            }
        }
        reception.sender_report(now, 0xabcd);
        let block = reception.report(now + Duration::from_millis(1500), 7).unwrap();
        assert_eq!(
            (block.fraction_lost, block.cumulative_lost, block.highest_sequence),
            (64, 25, 99)
        );
        assert_eq!((block.last_sr, block.delay_since_last_sr), (0xabcd, 98_304));
        let block = reception.report(now, 7).unwrap();
        assert_eq!((block.fraction_lost, block.cumulative_lost), (0, 25));
    }

    #[test]
    fn a_jump_needs_a_second_packet() {
        let mut reception = Reception::default();
        reception.arrive(10, true);
        assert_eq!(reception.arrive(30_000, true), Arrival::Suspect);
        assert_eq!(
            reception.arrive(11, true),
            Arrival::New(0x1_000b),
            "a stray packet changes nothing"
        );
        assert_eq!(reception.arrive(30_000, true), Arrival::Suspect);
        assert_eq!(reception.arrive(30_001, true), Arrival::Restart(30_001 + 0x1_0000));
        assert_eq!(reception.lost(), 0);
    }

    #[test]
    fn jitter_of_a_steady_alternation() {
        let mut reception = Reception::default();
        // 20 ms packets that are alternately on time and 5 ms late: the mean difference is 5 ms.
        for n in 0..2000u32 {
            let late = if n % 2 == 1 { 5 } else { 0 };
            let micros = u64::from(n * 20 + late) * 1000;
            reception.time(micros, n * 960, 48_000);
        }
        let jitter = reception.jitter(48_000);
        assert!((0.0045..0.0055).contains(&jitter), "{jitter}");
    }
}
