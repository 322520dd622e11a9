//! Congestion control feedback of RFC 8888: arrival times and ECN marks by stream and number, told and heard.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use antiphon_rtp::rtcp::{Ccfb, PacketMetric, write_ccfb};
use antiphon_sansio::{Ecn, Full, Serial16, Unwrapper16, Writer};

use super::history::History;
use super::peer_clock::PeerClock;
use crate::congestion::PacketResult;

/// Most streams whose arrivals are told.
const MAX_STREAMS: usize = 64;
/// Most numbers of one stream between the oldest that was not told and the newest.
const MAX_WINDOW: usize = 1024;
/// Feedback leaves this long after the first packet that it speaks of ...
const INTERVAL: Duration = Duration::from_millis(100);
/// ... or this long, once `BUSY` packets wait. Marks tell of queues of milliseconds: who heeds them must hear of them in less than a round
/// trip. It costs about a hundredth of what is reported on.
const BUSY_INTERVAL: Duration = Duration::from_millis(10);
const BUSY: usize = 8;
/// Most streams in one feedback packet.
const STREAMS: usize = 8;
/// RFC 8888 §3.1: this long ago or longer, in 1/1024 s.
const LONG_AGO: u64 = 0x1ffe;

/// A packet that came: microseconds since the session began, and its mark.
type Arrival = (u64, Ecn);

#[derive(Debug)]
struct Stream {
    ssrc: u32,
    unwrapper: Unwrapper16,
    /// The number of `arrivals[0]`.
    base: u64,
    arrivals: VecDeque<Option<Arrival>>,
    waiting: usize,
}

/// Arrival times by stream and number, until they are fed back.
#[derive(Debug, Default)]
pub(crate) struct Arrivals {
    streams: Vec<Stream>,
    waiting: usize,
    first: Option<Instant>,
    metrics: Vec<Option<PacketMetric>>,
}

impl Arrivals {
    /// A packet came, `micros` microseconds after the session began.
    #[inline]
    pub(crate) fn arrive(&mut self, now: Instant, micros: u64, ssrc: u32, sequence: u16, ecn: Ecn) {
        let stream = match self.streams.iter().position(|stream| stream.ssrc == ssrc) {
            Some(at) => &mut self.streams[at],
            None if self.streams.len() < MAX_STREAMS => {
                self.streams.push(Stream {
                    ssrc,
                    unwrapper: Unwrapper16::default(),
                    base: 0,
                    arrivals: VecDeque::new(),
                    waiting: 0,
                });
                let last = self.streams.len() - 1;
                &mut self.streams[last]
            }
            None => return,
        };
        let before = stream.waiting;
        if stream.arrive(micros, sequence, ecn) {
            // One more, or one alone if the numbers jumped.
            self.waiting = self.waiting + stream.waiting - before;
            self.first.get_or_insert(now);
        }
    }

    /// When feedback is due.
    pub(crate) fn next(&self) -> Option<Instant> {
        let interval = if self.waiting >= BUSY { BUSY_INTERVAL } else { INTERVAL };
        self.first.map(|first| first + interval)
    }

    /// Writes one feedback packet about as much as fits. `micros`: since the session began; `ntp`: the middle of the NTP time now.
    /// Call again while [`Self::next`] is due. Returns whether there was anything to tell.
    pub(crate) fn write(&mut self, sender: u32, micros: u64, ntp: u32, out: &mut Writer<'_>) -> Result<bool, Full> {
        let mut room = out.free().saturating_sub(12);
        let mut heads = [(0, 0, 0, 0); STREAMS];
        let mut count = 0;
        self.metrics.clear();
        for stream in self.streams.iter_mut().filter(|stream| stream.waiting > 0) {
            let most = room.saturating_sub(10) / 2;
            if count == STREAMS || most == 0 {
                break;
            }
            let from = self.metrics.len();
            let begin = stream.base as u16;
            let told = stream.take(most, micros, &mut self.metrics);
            self.waiting -= told;
            let len = self.metrics.len() - from;
            room -= 8 + len.next_multiple_of(2) * 2;
            heads[count] = (stream.ssrc, begin, from, self.metrics.len());
            count += 1;
        }
        if count == 0 {
            self.first = None;
            return if self.waiting == 0 { Ok(false) } else { Err(Full) };
        }
        let mut streams = [(0, 0, &[][..]); STREAMS];
        for (stream, (ssrc, begin, from, to)) in streams.iter_mut().zip(heads) {
            *stream = (ssrc, begin, &self.metrics[from..to]);
        }
        write_ccfb(sender, &streams[..count], ntp, out)?;
        if self.waiting == 0 {
            self.first = None;
        }
        Ok(true)
    }
}

impl Stream {
    /// Notes an arrival. `false`: it has been told of, came twice, or is too old.
    fn arrive(&mut self, micros: u64, sequence: u16, ecn: Ecn) -> bool {
        let number = self.unwrapper.unwrap(Serial16::new(sequence));
        if number > u64::MAX / 2 {
            // Older than the very first number, seen across zero.
            return false;
        }
        let gap = number.saturating_sub(self.base);
        if self.arrivals.is_empty() && (self.base == 0 || gap > MAX_WINDOW as u64) {
            self.base = number;
        }
        if number < self.base {
            return false;
        }
        let mut index = (number - self.base) as usize;
        if index >= MAX_WINDOW {
            // The sender jumped: start over from here.
            self.arrivals.clear();
            self.waiting = 0;
            self.base = number;
            index = 0;
        }
        if index >= self.arrivals.len() {
            self.arrivals.resize(index + 1, None);
        }
        let Some(place) = self.arrivals.get_mut(index).filter(|place| place.is_none()) else {
            return false;
        };
        *place = Some((micros, ecn));
        self.waiting += 1;
        true
    }

    /// Moves at most `most` numbers into `metrics`; returns how many of them came.
    fn take(&mut self, most: usize, now: u64, metrics: &mut Vec<Option<PacketMetric>>) -> usize {
        let mut told = 0;
        let count = self.arrivals.len().min(most);
        for arrival in self.arrivals.drain(..count) {
            metrics.push(arrival.map(|(micros, ecn)| {
                told += 1;
                let offset = now.saturating_sub(micros) * 1024 / 1_000_000;
                PacketMetric {
                    ecn,
                    arrival_offset: Some(offset.min(LONG_AGO) as u16),
                }
            }));
        }
        self.base += count as u64;
        self.waiting -= told;
        told
    }
}

/// Reads the peer's feedback on what we sent.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    /// The time of the newest feedback, unwrapped, in 1/65536 s.
    timestamp: Option<i64>,
    clock: PeerClock,
    /// How many came.
    pub(crate) messages: u64,
}

impl Heard {
    /// Puts what the feedback says of packets that were not acknowledged yet into `results`, in the order in which they were sent.
    /// Bounded by `allowance`, whatever the feedback claims.
    pub(crate) fn take(
        &mut self,
        now: Instant,
        feedback: &Ccfb<'_>,
        history: &mut History,
        allowance: &mut usize,
        results: &mut Vec<PacketResult>,
    ) {
        results.clear();
        self.messages += 1;
        let wire = i64::from(feedback.timestamp);
        let timestamp = self.timestamp.map_or(wire, |last| {
            last + i64::from(feedback.timestamp.wrapping_sub(last as u32) as i32)
        });
        self.timestamp = Some(timestamp);
        let told_at = timestamp * 15_625 / 1024;
        let mut several = 0;
        for stream in feedback.streams() {
            several += 1;
            let mut sequence = stream.begin_sequence;
            for metric in stream.metrics() {
                if *allowance == 0 {
                    return;
                }
                *allowance -= 1;
                let arrival = metric.map(|metric| {
                    let offset = i64::from(metric.arrival_offset.unwrap_or(0));
                    self.clock.at(now, told_at - offset * 15_625 / 16)
                });
                let ecn = metric.map_or(Ecn::NotEct, |metric| metric.ecn);
                results.extend(history.report_sequence(stream.ssrc, sequence, arrival, ecn));
                sequence = sequence.wrapping_add(1);
            }
        }
        if several > 1 {
            results.sort_unstable_by_key(|result| result.sent.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;
    use antiphon_rtp::rtcp::{Packet, packets};
    use proptest::prelude::*;

    use super::super::history::{CAPACITY, Leaving};
    use super::*;

    fn leaving(ssrc: u32, sequence: u16) -> Leaving {
        Leaving {
            bytes: 1000,
            ecn: Ecn::Ect1,
            numbered: false,
            padding: false,
            probe: None,
            ssrc,
            sequence,
        }
    }

    #[test]
    fn what_came_is_told_and_heard_with_its_marks() {
        let (now, mut history, mut arrivals) = (start(), History::new(start()), Arrivals::default());
        history.by_stream(true);
        for n in 0..40u16 {
            for ssrc in [7, 9] {
                history.sent(now, &leaving(ssrc, 65_520u16.wrapping_add(n)));
                if n % 5 != 3 {
                    let ecn = if n % 2 == 0 { Ecn::Ce } else { Ecn::Ect1 };
                    arrivals.arrive(now, 20_000 + 1000 * u64::from(n), ssrc, 65_520u16.wrapping_add(n), ecn);
                }
            }
        }
        assert_eq!(arrivals.next(), Some(now + BUSY_INTERVAL));
        let (mut heard, mut results, mut all) = (Heard::default(), Vec::new(), Vec::new());
        while arrivals.next().is_some() {
            let mut buffer = [0; 120];
            let mut out = Writer::new(&mut buffer);
            arrivals.write(1, 60_000, 0xffff_fff0, &mut out).unwrap();
            let Some(Ok(Packet::Ccfb(feedback))) = packets(out.finish()).next() else {
                panic!("no feedback")
            };
            heard.take(now, &feedback, &mut history, &mut 1000, &mut results);
            all.append(&mut results);
        }
        assert_eq!(all.len(), 80);
        assert_eq!(all.iter().filter(|result| result.arrival.is_none()).count(), 16);
        let first = all[0].arrival.unwrap();
        for result in &all {
            let n = result.sent.id.0 / 2;
            let Some(arrival) = result.arrival else {
                assert_eq!(n % 5, 3);
                continue;
            };
            let after = (arrival - first).as_micros() as u64;
            assert!(after.abs_diff(1000 * n) <= 1000, "{after} {n}");
            assert_eq!(result.ecn == Ecn::Ce, n % 2 == 0);
        }
        assert_eq!(history.in_flight(), 0);
    }

    #[test]
    fn v23_feedback_on_everything_costs_a_look_at_what_is_remembered() {
        let now = start();
        let mut history = History::new(start());
        history.by_stream(true);
        for n in 0..500 {
            history.sent(now, &leaving(1, n));
        }
        let metrics = vec![None; 10_000];
        let mut buffer = vec![0; 60_000];
        let mut out = Writer::new(&mut buffer);
        let streams: Vec<_> = (0..2).map(|_| (1, 0, &metrics[..])).collect();
        write_ccfb(1, &streams, 0, &mut out).unwrap();
        let Some(Ok(Packet::Ccfb(feedback))) = packets(out.finish()).next() else {
            panic!()
        };
        let (mut allowance, mut results) = (CAPACITY, Vec::new());
        Heard::default().take(now, &feedback, &mut history, &mut allowance, &mut results);
        assert_eq!((allowance, results.len()), (0, 500));
    }

    proptest! {
        #[test]
        fn any_arrivals_are_bounded(numbers in prop::collection::vec((any::<u16>(), 0u32..100), 0..500)) {
            let mut arrivals = Arrivals::default();
            for (n, (sequence, ssrc)) in numbers.into_iter().enumerate() {
                arrivals.arrive(start(), n as u64, ssrc, sequence, Ecn::Ce);
                prop_assert!(arrivals.streams.len() <= MAX_STREAMS);
                prop_assert!(arrivals.streams.iter().all(|stream| stream.arrivals.len() <= MAX_WINDOW));
                let waiting: usize = arrivals.streams.iter().map(|stream| stream.waiting).sum();
                prop_assert_eq!(waiting, arrivals.streams.iter().flat_map(|stream| &stream.arrivals).flatten().count());
            }
            let mut rounds = 0;
            while arrivals.next().is_some() {
                let mut buffer = [0; 200];
                arrivals.write(1, 1000, 0, &mut Writer::new(&mut buffer)).unwrap();
                rounds += 1;
                prop_assert!(rounds < 2000);
            }
        }
    }
}
