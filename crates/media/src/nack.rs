//! Which packets of one source to ask for again, and when (RFC 4585 §6.2.1): at once, or, where a path brings packets in disorder, when
//! what is late would have come.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Most packets of one source that are asked for at a time.
const MAX_MISSING: usize = 1000;
/// A gap of more numbers than this is an outage: a key frame is there sooner than all of them.
const MAX_GAP: u64 = 256;
/// What is so many numbers behind the newest has no place any more.
pub(crate) const MAX_AGE: u64 = 2047;
/// A packet is given up after this many requests.
const MAX_REQUESTS: u8 = 10;
/// Requests for one packet are never closer than this.
const MIN_INTERVAL: Duration = Duration::from_millis(20);
/// Disorder is given no more than this to sort itself out, however few packets come.
const MAX_WAIT: Duration = Duration::from_millis(20);

/// Where more than this share of what is sent is lost, so are requests, and each is sent twice: it costs little, and whoever answers leaves
/// out what is under way already.
const LOSSY: f64 = 0.02;
/// How much later the second time, by the round trip, within these: not in the same burst of losses, and well before the answer.
const ECHO_ROUND: u32 = 8;
const ECHO: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(20)];

/// When a request is sent a second time, on a path that loses this share of what is sent to who answers.
fn echo(rtt: Duration, lost: f64) -> Option<Duration> {
    let [least, most] = ECHO;
    (lost > LOSSY).then(|| (rtt / ECHO_ROUND).clamp(least, most))
}

/// When to ask for a packet again that was asked for: a round trip later, and a little for what waits in pacers and batches.
fn interval(rtt: Duration) -> Duration {
    (rtt + rtt / 8).max(MIN_INTERVAL)
}

/// How long a packet may still come that is asked for from now on, at most `most`: until the last request is answered.
pub(crate) fn patience(rtt: Duration, most: Duration) -> Duration {
    (interval(rtt) * u32::from(MAX_REQUESTS)).min(most)
}

/// The way to who answers, and back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) rtt: Duration,
    /// The share of what is sent that the peer reports as lost, 0 to 1.
    pub(crate) lost: f64,
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    sequence: u64,
    /// When it was noticed.
    since: Instant,
    /// When to ask next.
    at: Instant,
    requests: u8,
    /// The last request is to be sent a second time, and only then the next one, at this time.
    echo: Option<Instant>,
}

/// Which packets of one source to ask for, and when.
#[derive(Debug, Default)]
pub(crate) struct NackGenerator {
    /// In order of sequence number.
    missing: VecDeque<Missing>,
    newest: Option<u64>,
    next: Option<Instant>,
    /// What became of the last gaps; allocated when something comes late.
    disorder: Option<Box<Disorder>>,
}

impl NackGenerator {
    /// A new packet came: an `original`, or what was sent again or recovered. Returns `false` if so much is missing that only a new start
    /// helps.
    pub(crate) fn arrive(&mut self, now: Instant, sequence: u64, original: bool) -> bool {
        let Some(newest) = self.newest else {
            self.newest = Some(sequence);
            return true;
        };
        if sequence <= newest {
            if let Ok(index) = self.missing.binary_search_by_key(&sequence, |missing| missing.sequence) {
                self.missing.remove(index);
                self.plan();
            }
            self.note(if original { newest - sequence } else { 0 });
            return true;
        }
        self.newest = Some(sequence);
        while self
            .missing
            .front()
            .is_some_and(|missing| missing.sequence + MAX_AGE < sequence)
        {
            self.missing.pop_front();
        }
        let gap = sequence - newest - 1;
        if gap > MAX_GAP || self.missing.len() + gap as usize > MAX_MISSING {
            self.missing.clear();
            self.next = None;
            return false;
        }
        let distance = self.disorder.as_ref().map_or(0, |disorder| disorder.median());
        if gap > 0 {
            let at = if distance > 0 { now + MAX_WAIT } else { now };
            self.missing.extend((newest + 1..sequence).map(|sequence| Missing {
                sequence,
                since: now,
                at,
                requests: 0,
                echo: None,
            }));
        }
        if distance > 0 {
            self.call_up(now, sequence.saturating_sub(distance + 1));
        }
        self.plan();
        true
    }

    /// What is missing up to this number has been waited for long enough.
    fn call_up(&mut self, now: Instant, last: u64) {
        let unasked = self.missing.iter_mut().rev();
        let unasked = unasked.take_while(|missing| missing.requests == 0);
        for missing in unasked.filter(|missing| missing.sequence <= last) {
            missing.at = missing.at.min(now);
        }
    }

    /// A packet that was missed has come, so many numbers behind the newest; 0: it was lost, and came back.
    fn note(&mut self, distance: u64) {
        if distance > 0 || self.disorder.is_some() {
            self.disorder.get_or_insert_default().note(distance);
        }
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
    pub(crate) fn take_due(&mut self, now: Instant, path: Way, max_age: Duration, out: &mut Vec<u16>) -> bool {
        let rtt = path.rtt;
        out.clear();
        if self.next.is_none_or(|next| next > now) {
            return false;
        }
        let interval = interval(rtt);
        let echo = echo(rtt, path.lost);
        let mut given_up = false;
        self.missing.retain_mut(|missing| {
            if missing.at > now {
                return true;
            }
            if let Some(next) = missing.echo.take() {
                out.push(missing.sequence as u16);
                missing.at = next;
                return true;
            }
            if missing.requests == MAX_REQUESTS || now.saturating_duration_since(missing.since) > max_age {
                given_up = true;
                return false;
            }
            out.push(missing.sequence as u16);
            missing.requests += 1;
            missing.at = now + echo.unwrap_or(interval);
            missing.echo = echo.map(|_| now + interval);
            true
        });
        self.plan();
        given_up
    }

    /// Forgets everything, as after a restart of the source.
    pub(crate) fn reset(&mut self) {
        *self = Self::default();
    }

    /// Nothing before `sequence` is wanted any more.
    pub(crate) fn forget_before(&mut self, sequence: u64) {
        let before = self.missing.len();
        while self.missing.front().is_some_and(|missing| missing.sequence < sequence) {
            self.missing.pop_front();
        }
        if self.missing.len() != before {
            self.plan();
        }
    }
}

/// How many of the last gaps are remembered.
const REMEMBERED: usize = 128;
/// Distances told apart; the last stands for itself and all above.
const DISTANCES: usize = 10;

/// Of the packets that came after others: how many numbers late each was. Those that were lost and came back count as not late at all,
/// so that a path that loses more than it reorders is asked at once.
#[derive(Debug)]
struct Disorder {
    distances: [u8; REMEMBERED],
    next: usize,
    counts: [u8; DISTANCES],
}

impl Default for Disorder {
    /// None are remembered.
    fn default() -> Self {
        Self {
            distances: [0; REMEMBERED],
            next: 0,
            counts: [0; DISTANCES],
        }
    }
}

impl Disorder {
    fn note(&mut self, distance: u64) {
        let distance = distance.min(DISTANCES as u64 - 1) as u8;
        let place = self.next % REMEMBERED;
        if self.next >= REMEMBERED {
            let before = usize::from(self.distances[place]);
            self.counts[before] = self.counts[before].saturating_sub(1);
        }
        self.distances[place] = distance;
        self.counts[usize::from(distance)] += 1;
        // Behind the first round only the place matters.
        self.next += 1;
        if self.next == 2 * REMEMBERED {
            self.next = REMEMBERED;
        }
    }

    /// Half of them were no later than this.
    fn median(&self) -> u64 {
        let all: u32 = self.counts.iter().map(|count| u32::from(*count)).sum();
        let mut up_to = 0;
        let found = self.counts.iter().position(|count| {
            up_to += u32::from(*count);
            2 * up_to >= all
        });
        found.unwrap_or(0) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const RTT: Duration = Duration::from_millis(40);
    const WAY: Way = Way { rtt: RTT, lost: 0.0 };
    const AGE: Duration = Duration::from_millis(1000);

    fn due(nack: &mut NackGenerator, now: Instant) -> Vec<u16> {
        let mut out = Vec::new();
        nack.take_due(now, WAY, AGE, &mut out);
        out
    }

    #[test]
    fn asks_at_once_and_again_each_round_trip_and_gives_up() {
        let now = antiphon_netsim::start();
        let mut nack = NackGenerator::default();
        let mut out = Vec::new();
        assert!(nack.arrive(now, 65_534, true) && nack.arrive(now, 65_538, true));
        assert!(
            nack.arrive(now, 65_536, true),
            "what came in one batch is not asked for"
        );
        assert_eq!(nack.next(), Some(now));
        nack.take_due(now, WAY, AGE, &mut out);
        assert_eq!(out, [65_535, 1]);
        assert_eq!(nack.next(), Some(now + Duration::from_millis(45)));
        assert!(nack.arrive(now, 65_537, false));
        let mut requests = 1;
        loop {
            let at = nack.next().unwrap();
            let given_up = nack.take_due(at, WAY, AGE, &mut out);
            if given_up {
                assert_eq!(at, now + patience(RTT, AGE), "the last request may have been answered");
                break;
            }
            assert_eq!(out, [65_535]);
            requests += 1;
        }
        assert_eq!((requests, nack.next()), (MAX_REQUESTS, None));
    }

    #[test]
    fn where_packets_come_in_disorder_half_of_it_is_waited_for() {
        let now = antiphon_netsim::start();
        let mut nack = NackGenerator::default();
        let mut sequence = 10;
        nack.arrive(now, sequence, true);
        // Each fourth packet comes three numbers late, and nothing is lost.
        for round in 0..100 {
            for step in [2, 3, 4] {
                nack.arrive(now, sequence + step, true);
                assert!(round < 5 || due(&mut nack, now).is_empty(), "{round} {step}");
            }
            nack.arrive(now, sequence + 1, true);
            sequence += 4;
        }
        // Now one is lost: asked for when it is later than those were, ...
        nack.arrive(now, sequence + 2, true);
        nack.arrive(now, sequence + 3, true);
        assert!(due(&mut nack, now).is_empty());
        assert_eq!(nack.next(), Some(now + MAX_WAIT), "... or after a moment");
        nack.arrive(now, sequence + 4, true);
        assert!(due(&mut nack, now).is_empty());
        nack.arrive(now, sequence + 5, true);
        assert_eq!(due(&mut nack, now), [sequence as u16 + 1]);
        // Where most are lost, nobody waits.
        for _ in 0..REMEMBERED {
            sequence += 10;
            nack.arrive(now, sequence, true);
            nack.arrive(now, sequence - 1, false);
        }
        sequence += 10;
        nack.arrive(now, sequence + 2, true);
        assert!(due(&mut nack, now).contains(&(sequence as u16 + 1)));
    }

    #[test]
    fn where_requests_are_lost_too_each_is_sent_twice() {
        let now = antiphon_netsim::start();
        for (lost, expected) in [(0.01, [0, 45, 90, 135]), (0.05, [0, 5, 45, 50])] {
            let mut nack = NackGenerator::default();
            nack.arrive(now, 10, true);
            nack.arrive(now, 12, true);
            let asked = [(); 4].map(|()| {
                let (at, mut out) = (nack.next().unwrap(), Vec::new());
                nack.take_due(at, Way { rtt: RTT, lost }, AGE, &mut out);
                assert_eq!(out, [11]);
                (at - now).as_millis()
            });
            assert_eq!(asked, expected);
        }
    }

    #[test]
    fn is_bounded() {
        let now = antiphon_netsim::start();
        let mut nack = NackGenerator::default();
        assert!(nack.arrive(now, 1, true));
        assert!(!nack.arrive(now, MAX_GAP + 3, true), "one gap too long");
        let mut sequence = 1000;
        nack.reset();
        let mut full = false;
        for _ in 0..10_000 {
            sequence += 100;
            full |= !nack.arrive(now, sequence, true);
            assert!(nack.missing.len() <= MAX_MISSING);
            assert!(
                nack.missing
                    .front()
                    .is_none_or(|first| first.sequence + MAX_AGE >= sequence)
            );
        }
        assert!(full);
    }
}
