//! Which packets of one source to ask for again, and when (RFC 4585 §6.2.1): at once, or, where a path brings packets in disorder, when
//! what is late would have come.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::time::{Duration, Instant};

use antiphon_sansio::earliest;

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
/// The next packet of a frame is never asked for sooner than this after the one before it.
const MIN_TAIL: Duration = Duration::from_millis(5);
/// Disorder is given no more than this to sort itself out, however few packets come.
const MAX_WAIT: Duration = Duration::from_millis(20);

/// Where more than this share of what is sent is lost, or nobody has told yet, requests are lost too, and each is sent twice: it weighs a few
/// bytes, and whoever answers leaves out what is under way already.
const LOSSY: f64 = 0.01;
/// A second round that is this long is later than the next picture: not worth twice the answers below.
const SHORT: Duration = Duration::from_millis(30);
/// A second round that is this long is a freeze: all that can be done against it is done.
const LONG: Duration = Duration::from_millis(150);
/// Between these shares each answer is sent twice: below it costs more of the rate than it gives, above it takes the rate of the first ones.
const ANSWERED_TWICE: RangeInclusive<f64> = 0.02..=0.08;
/// Requests and answers are sent so often where a round is long.
pub(crate) const MOST_COPIES: u8 = 3;
/// How much later each time, by the round trip, within these: not in the same burst of losses, and well before the answer.
const ECHO_ROUND: u32 = 8;
const ECHO: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(20)];

/// When to ask for a packet again that was asked for: a round trip later, and a little for what waits in pacers and batches.
fn interval(rtt: Duration) -> Duration {
    (rtt + rtt / 8).max(MIN_INTERVAL)
}

/// When what is asked for from now on may come.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Answers {
    /// After so long the first request is answered, ...
    pub(crate) first: Duration,
    /// ... and after so long the last one, or nobody waits any more.
    pub(crate) last: Duration,
}

impl Answers {
    /// `most`: nobody waits longer.
    pub(crate) fn new(rtt: Duration, most: Duration) -> Self {
        let interval = interval(rtt);
        Self {
            first: interval,
            last: (interval * u32::from(MAX_REQUESTS)).min(most),
        }
    }
}

/// The way to who answers, and back.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) rtt: Duration,
    /// The share of what is sent that the peer reports as lost, 0 to 1; `None` before it does.
    pub(crate) lost: Option<f64>,
}

impl Way {
    /// How often each request is sent.
    fn requests(self) -> u8 {
        if self.rtt > LONG {
            return MOST_COPIES;
        }
        1 + u8::from(self.lost.is_none_or(|lost| lost > LOSSY))
    }

    /// How often each answer is sent.
    pub(crate) fn answers(self) -> u8 {
        if self.rtt > LONG {
            return MOST_COPIES;
        }
        let twice = self.lost.is_none_or(|lost| ANSWERED_TWICE.contains(&lost));
        1 + u8::from(self.rtt >= SHORT && twice)
    }

    /// How much later than the one before it each copy of a request is sent.
    fn echo(self) -> Duration {
        let [least, most] = ECHO;
        (self.rtt / ECHO_ROUND).clamp(least, most)
    }
}

#[derive(Clone, Copy, Debug)]
struct Missing {
    sequence: u64,
    /// When it was noticed.
    since: Instant,
    /// When to ask next.
    at: Instant,
    requests: u8,
    /// How often the last request is still to be sent, ...
    echoes: u8,
    /// ... and when the next one is due after that.
    round: Instant,
}

/// Whether the newest frame has ended: the last packet of a frame shows no gap when it is lost, until the next frame comes. So that is
/// not waited for, but asked for when the packets of a frame usually follow each other sooner.
#[derive(Debug)]
struct Tail {
    /// The newest packet and when it came, if its frame goes on behind it.
    open: Option<(u64, Instant)>,
    /// Its next packet is asked for already.
    asked: bool,
    /// How long packets of a frame come one after the other, at most, of late.
    spacing: Duration,
}

impl Default for Tail {
    /// Nothing is known of how packets follow each other: at first nothing is asked for.
    fn default() -> Self {
        Self {
            open: None,
            asked: false,
            spacing: MAX_WAIT,
        }
    }
}

impl Tail {
    /// The newest packet has come as it was sent first.
    fn heard(&mut self, now: Instant, sequence: u64, ends: bool) {
        if let Some((before, at)) = self.open
            && before + 1 == sequence
        {
            self.spacing = now.saturating_duration_since(at).max(self.spacing * 31 / 32);
        }
        (self.open, self.asked) = ((!ends).then_some((sequence, now)), false);
    }

    /// When the next packet is asked for, if it has not come.
    fn due(&self) -> Option<Instant> {
        let wait = (3 * self.spacing).max(MIN_TAIL);
        let (_, at) = self.open.filter(|_| !self.asked && wait <= MAX_WAIT)?;
        Some(at + wait)
    }
}

/// Which packets of one source to ask for, and when.
#[derive(Debug, Default)]
pub(crate) struct NackGenerator {
    /// In order of sequence number.
    missing: VecDeque<Missing>,
    newest: Option<u64>,
    next: Option<Instant>,
    tail: Tail,
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
                echoes: 0,
                round: at,
            }));
        }
        if distance > 0 {
            self.call_up(now, sequence.saturating_sub(distance + 1));
        }
        self.plan();
        true
    }

    /// A packet of media that has just come as it was sent first says whether its frame `ends` with it.
    pub(crate) fn note_end(&mut self, now: Instant, sequence: u64, ends: bool) {
        if self.newest == Some(sequence) {
            self.tail.heard(now, sequence, ends);
        }
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
        earliest([self.next, self.tail.due()])
    }

    /// The frame should have gone on by now: asks for its next packet.
    fn ask_for_tail(&mut self, now: Instant) {
        let Some(newest) = self.newest.filter(|_| self.tail.due().is_some_and(|at| at <= now)) else {
            return;
        };
        self.tail.asked = true;
        if self.missing.len() == MAX_MISSING || self.disorder.as_ref().is_some_and(|disorder| disorder.median() > 0) {
            return;
        }
        self.newest = Some(newest + 1);
        self.missing.push_back(Missing {
            sequence: newest + 1,
            since: now,
            at: now,
            requests: 0,
            echoes: 0,
            round: now,
        });
        self.next = Some(self.next.map_or(now, |next| next.min(now)));
    }

    /// Moves what is due to `out` (sequence numbers in order) and paces the repeats by the round trip. Returns whether
    /// packets were given up: asked for too often, or older than `max_age`.
    pub(crate) fn take_due(&mut self, now: Instant, path: Way, max_age: Duration, out: &mut Vec<u16>) -> bool {
        out.clear();
        self.ask_for_tail(now);
        let newest = self.newest;
        if self.next.is_none_or(|next| next > now) {
            return false;
        }
        let (interval, echoes, echo) = (interval(path.rtt), path.requests() - 1, path.echo());
        let mut given_up = false;
        self.missing.retain_mut(|missing| {
            if missing.at > now {
                return true;
            }
            if missing.echoes > 0 {
                out.push(missing.sequence as u16);
                missing.echoes -= 1;
                missing.at = if missing.echoes > 0 { now + echo } else { missing.round };
                return true;
            }
            if missing.requests == MAX_REQUESTS || now.saturating_duration_since(missing.since) > max_age {
                // Nothing came behind the newest: nobody knows whether there was one.
                given_up |= newest != Some(missing.sequence);
                return false;
            }
            out.push(missing.sequence as u16);
            missing.requests += 1;
            (missing.echoes, missing.round) = (echoes, now + interval);
            missing.at = if echoes > 0 { now + echo } else { missing.round };
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
    const WAY: Way = Way {
        rtt: RTT,
        lost: Some(0.0),
    };
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
                assert_eq!(
                    at,
                    now + Answers::new(RTT, AGE).last,
                    "the last request may have been answered"
                );
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
    fn where_requests_are_lost_too_or_a_round_is_long_each_is_sent_again() {
        let now = antiphon_netsim::start();
        let (short, long) = (RTT, 5 * RTT);
        for (rtt, lost, expected) in [
            (short, Some(0.01), [0, 45, 90, 135]),
            (short, Some(0.05), [0, 5, 45, 50]),
            (short, None, [0, 5, 45, 50]),
            (long, Some(0.0), [0, 20, 40, 225]),
        ] {
            let mut nack = NackGenerator::default();
            nack.arrive(now, 10, true);
            nack.arrive(now, 12, true);
            let asked = [(); 4].map(|()| {
                let (at, mut out) = (nack.next().unwrap(), Vec::new());
                nack.take_due(at, Way { rtt, lost }, AGE, &mut out);
                assert_eq!(out, [11]);
                (at - now).as_millis()
            });
            assert_eq!(asked, expected);
        }
    }

    #[test]
    fn answers_are_copied_where_they_are_lost_and_a_second_round_is_late() {
        let answers = |rtt: u64, lost| {
            let rtt = Duration::from_millis(rtt);
            Way { rtt, lost }.answers()
        };
        assert_eq!([20, 50, 200].map(|rtt| answers(rtt, Some(0.0))), [1, 1, 3]);
        assert_eq!([20, 50, 200].map(|rtt| answers(rtt, Some(0.05))), [1, 2, 3]);
        assert_eq!([20, 50, 200].map(|rtt| answers(rtt, None)), [1, 2, 3]);
        assert_eq!([20, 50, 200].map(|rtt| answers(rtt, Some(0.3))), [1, 1, 3]);
    }

    #[test]
    fn the_end_of_a_frame_is_asked_for_before_the_next_one_comes() {
        let ms = Duration::from_millis(1);
        let now = antiphon_netsim::start();
        let mut nack = NackGenerator::default();
        let hear = |nack: &mut NackGenerator, at: u32, sequence: u64, ends: bool| {
            nack.arrive(now + at * ms, sequence, true);
            nack.note_end(now + at * ms, sequence, ends);
        };
        hear(&mut nack, 0, 0, false);
        hear(&mut nack, 0, 1, false);
        assert_eq!(nack.next(), None, "nobody knows yet how they come");
        for sequence in 2..200 {
            hear(&mut nack, 0, sequence, false);
        }
        hear(&mut nack, 0, 200, true);
        assert_eq!(nack.next(), None);
        hear(&mut nack, 30, 201, false);
        hear(&mut nack, 34, 202, false);
        // Three times as long as the packets of a frame are usually apart.
        assert_eq!(nack.next(), Some(now + 46 * ms));
        assert!(due(&mut nack, now + 45 * ms).is_empty());
        assert_eq!(due(&mut nack, now + 46 * ms), [203]);
        // There was one, and it comes back: the frame is whole.
        assert!(nack.arrive(now + 80 * ms, 203, false));
        assert_eq!(nack.next(), None);
        hear(&mut nack, 90, 204, false);
        assert_eq!(
            nack.next(),
            Some(now + 102 * ms),
            "a repair says nothing of how they come"
        );
        // Where packets of a frame come far apart, a gap shows no loss.
        hear(&mut nack, 100, 205, false);
        assert_eq!(nack.next(), None);
        for sequence in 206..250 {
            hear(&mut nack, 100, sequence, false);
        }
        assert!(nack.next().is_some(), "until they come together again");
        // What was asked for on suspicion alone, and never comes, costs no key frame.
        let mut out = Vec::new();
        while let Some(at) = nack.next() {
            assert!(!nack.take_due(at, WAY, AGE, &mut out));
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
