use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Most packets of one source that are asked for at a time.
const MAX_MISSING: usize = 512;
/// A packet is given up after this many requests.
const MAX_REQUESTS: u8 = 10;
/// A gap this long is not worth repairing packet by packet.
const MAX_GAP: u64 = 256;
/// Disorder in the network is given this long to sort itself out.
const REORDER_GRACE: Duration = Duration::from_millis(8);
/// Requests for one packet are never closer than this.
const MIN_INTERVAL: Duration = Duration::from_millis(20);

#[derive(Clone, Copy, Debug)]
struct Missing {
    sequence: u64,
    /// When it was noticed.
    since: Instant,
    /// When to ask next.
    at: Instant,
    requests: u8,
}

/// Which packets of one source to ask for, and when (RFC 4585 §6.2.1).
#[derive(Debug, Default)]
pub(crate) struct NackGenerator {
    /// In order of sequence number.
    missing: VecDeque<Missing>,
    newest: Option<u64>,
    next: Option<Instant>,
}

impl NackGenerator {
    /// A new packet came. Returns `false` if so much is missing that only a new start helps.
    pub(crate) fn arrive(&mut self, now: Instant, sequence: u64) -> bool {
        let Some(newest) = self.newest else {
            self.newest = Some(sequence);
            return true;
        };
        if sequence <= newest {
            if let Ok(index) = self.missing.binary_search_by_key(&sequence, |missing| missing.sequence) {
                self.missing.remove(index);
                self.plan();
            }
            return true;
        }
        self.newest = Some(sequence);
        let gap = sequence - newest - 1;
        if gap > MAX_GAP || self.missing.len() + gap as usize > MAX_MISSING {
            self.missing.clear();
            self.next = None;
            return false;
        }
        if gap > 0 {
            let at = now + REORDER_GRACE;
            self.missing.extend((newest + 1..sequence).map(|sequence| Missing {
                sequence,
                since: now,
                at,
                requests: 0,
            }));
            self.next = Some(self.next.map_or(at, |next| next.min(at)));
        }
        true
    }

    fn plan(&mut self) {
        self.next = self.missing.iter().map(|missing| missing.at).min();
    }

    /// When requests are due.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.next
    }

    /// Moves what is due to `out` (sequence numbers in order) and paces the repeats by the round trip. Returns whether
    /// packets were given up: asked for too often, or older than `max_age`.
    pub(crate) fn take_due(&mut self, now: Instant, rtt: Duration, max_age: Duration, out: &mut Vec<u16>) -> bool {
        out.clear();
        if self.next.is_none_or(|next| next > now) {
            return false;
        }
        let interval = (rtt + rtt / 4).max(MIN_INTERVAL);
        let mut given_up = false;
        self.missing.retain_mut(|missing| {
            if missing.at > now {
                return true;
            }
            if missing.requests == MAX_REQUESTS || now.saturating_duration_since(missing.since) > max_age {
                given_up = true;
                return false;
            }
            out.push(missing.sequence as u16);
            missing.requests += 1;
            missing.at = now + interval;
            true
        });
        self.plan();
        given_up
    }

    /// Forgets everything, as after a restart of the source or a key frame.
    pub(crate) fn reset(&mut self) {
        self.missing.clear();
        self.newest = None;
        self.next = None;
    }

    /// Nothing before `sequence` is wanted any more.
    pub(crate) fn forget_before(&mut self, sequence: u64) {
        while self.missing.front().is_some_and(|missing| missing.sequence < sequence) {
            self.missing.pop_front();
        }
        self.plan();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(40);
    const AGE: Duration = Duration::from_millis(1000);

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn asks_paces_and_gives_up() {
        let now = Instant::now();
        let mut nack = NackGenerator::default();
        let mut out = Vec::new();
        assert!(nack.arrive(now, 65_534) && nack.arrive(now, 65_538));
        assert!(
            !nack.take_due(now, RTT, AGE, &mut out) && out.is_empty(),
            "disorder gets a moment"
        );
        assert!(nack.arrive(now, 65_536));
        let first = nack.next().unwrap();
        nack.take_due(first, RTT, AGE, &mut out);
        assert_eq!(out, [65_535, 1]);
        assert_eq!(nack.next(), Some(first + Duration::from_millis(50)));
        assert!(nack.arrive(first, 65_537));
        let mut requests = 1;
        loop {
            let at = nack.next().unwrap();
            let given_up = nack.take_due(at, RTT, AGE, &mut out);
            if given_up {
                break;
            }
            assert_eq!(out, [65_535]);
            requests += 1;
        }
        assert_eq!((requests, nack.next()), (MAX_REQUESTS, None));
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn is_bounded() {
        let now = Instant::now();
        let mut nack = NackGenerator::default();
        assert!(nack.arrive(now, 1));
        assert!(!nack.arrive(now, MAX_GAP + 3), "one gap too long");
        let mut sequence = 1000;
        nack.reset();
        let mut full = false;
        for _ in 0..10_000 {
            sequence += 100;
            full |= !nack.arrive(now, sequence);
            assert!(nack.missing.len() <= MAX_MISSING);
        }
        assert!(full);
    }
}
