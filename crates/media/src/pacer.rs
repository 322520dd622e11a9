//! When packets leave: spaced at the rate that the congestion controller gives, and in probes at the rate of the probe.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::congestion::{Probe, ProbeId};

/// Pacing rate while nothing is known, bits a second: the peer gives no feedback to pace by.
const UNKNOWN: f64 = 50_000_000.0;
/// Packets go in bursts this long: few wake-ups, and batches for the driver.
const BURST: Duration = Duration::from_millis(5);
/// A burst has no more bytes than this: a shallow queue takes it.
const MAX_BURST: f64 = 12_000.0;
/// Bursts of a probe: it is its rate that shall be seen, not that of a burst.
const PROBE_BURST: Duration = Duration::from_millis(1);
/// A timer fires late, and whoever is woken may have to wait for the processor: so much of what they missed is made up for.
const LATE: Duration = Duration::from_millis(5);
/// What waits leaves within this many seconds, whatever the estimate says: an encoder that ignores it costs loss, not ever more
/// delay.
const MAX_QUEUE: f64 = 2.0;
/// With more on its way than the window one packet leaves in this time, so that something can be reported on.
const KEEPALIVE: Duration = Duration::from_millis(500);
/// Most probes that wait to be sent.
pub(crate) const MAX_PROBES: usize = 8;

/// Spaces packets of video and retransmissions. Sound passes by, and is only counted.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// When what was sent so far has been paid for.
    paid: Instant,
    /// In the middle of a burst.
    open: bool,
    /// Something waits for its time.
    waits: bool,
    /// Bits a second.
    rate: Option<u64>,
    /// How long a burst is at this rate.
    burst: Duration,
    /// How many bytes may be on their way.
    window: Option<u64>,
    /// When the last packet left.
    last: Instant,
    /// The least rate at which something leaves, bits a second, and when what has left at that rate is paid for.
    padding: u64,
    padded: Instant,
    /// Probes to send, the first one now.
    probes: VecDeque<Probe>,
    /// Bytes that the first probe has had.
    probed: usize,
    gather: Gather,
}

/// What comes alone leaves at once. What comes soon after waits until others have come that leave with it: one call of the system sends
/// them all, and the other end wakes up once.
#[derive(Debug)]
struct Gather {
    /// So long after a burst began the next one begins.
    pause: Duration,
    /// When the last burst began.
    began: Instant,
    /// It was over because nothing waited any more: what comes now is gathered.
    over: bool,
    /// Bytes that have come since.
    bytes: usize,
}

impl Gather {
    /// Until when what waits is held back; `None`: it is not.
    #[inline]
    fn until(&self) -> Option<Instant> {
        (self.over && (self.bytes as f64) < MAX_BURST).then(|| self.began + self.pause)
    }
}

impl Pacer {
    /// `gather`: how long after a burst began the next one begins, if fewer bytes wait than a burst has.
    pub(crate) fn new(now: Instant, gather: Duration) -> Self {
        Self {
            paid: now,
            open: false,
            waits: false,
            rate: None,
            burst: BURST,
            window: None,
            last: now,
            padding: 0,
            padded: now,
            probes: VecDeque::new(),
            probed: 0,
            gather: Gather {
                pause: gather,
                began: now,
                over: false,
                bytes: 0,
            },
        }
    }

    /// So many bytes have come to wait.
    #[inline]
    pub(crate) fn came(&mut self, bytes: usize) {
        self.gather.bytes = self.gather.bytes.saturating_add(bytes);
    }

    /// Something waits that is not to be held back until others come: who asked for it has waited already.
    pub(crate) fn hurry(&mut self) {
        self.gather.over = false;
    }

    /// The rate at which packets leave that wait, bits a second (`None` while nothing is known), the bytes that may be on their
    /// way, and the least rate at which something leaves.
    pub(crate) fn set(&mut self, rate: Option<u64>, window: Option<u64>, padding: u64) {
        let bits = rate.map_or(UNKNOWN, |rate| rate as f64).max(10_000.0);
        self.burst = BURST.min(Duration::from_secs_f64(MAX_BURST * 8.0 / bits));
        self.rate = rate;
        self.window = window;
        self.padding = padding;
    }

    /// Takes a probe to send after those before it. One too many is left out.
    pub(crate) fn probe(&mut self, probe: Probe) {
        if self.probes.len() < MAX_PROBES {
            self.probes.push_back(probe);
        }
    }

    /// The probe that the next packet is part of.
    #[inline]
    pub(crate) fn probing(&self) -> Option<ProbeId> {
        self.probes.front().map(|probe| probe.id)
    }

    /// Whether something is to leave though no media waits.
    #[inline]
    pub(crate) fn wants_padding(&self) -> bool {
        self.padding > 0 || !self.probes.is_empty()
    }

    /// Nothing can be sent that would make up for missing media: the probes cannot be made.
    pub(crate) fn give_up_probes(&mut self) {
        self.probes.clear();
        self.probed = 0;
        self.padding = 0;
    }

    /// Whether more is on its way than may be.
    fn is_held(&self, in_flight: u64) -> bool {
        self.window.is_some_and(|window| in_flight > window)
    }

    /// Whether what waits is held back until others come: a quick look.
    #[inline]
    pub(crate) fn gathers(&self, now: Instant) -> bool {
        !self.open && self.probes.is_empty() && self.gather.until().is_some_and(|until| now < until)
    }

    /// Whether a packet may leave now, with so many bytes on their way.
    #[inline]
    pub(crate) fn ready(&mut self, now: Instant, in_flight: u64) -> bool {
        if self.is_held(in_flight) && now < self.last + KEEPALIVE {
            (self.open, self.waits) = (false, false);
            return false;
        }
        let burst = if self.probes.is_empty() {
            self.burst
        } else {
            PROBE_BURST
        };
        if self.paid <= now {
            if self.gathers(now) {
                return false;
            }
            if !self.open {
                self.gather.began = now;
                self.open = true;
            }
        } else if self.paid > now + burst {
            self.open = false;
        }
        self.waits |= !self.open;
        self.open
    }

    /// When a packet may leave, if one waits.
    pub(crate) fn next(&self, in_flight: u64) -> Instant {
        if self.is_held(in_flight) {
            return self.paid.max(self.last + KEEPALIVE);
        }
        match self.gather.until() {
            Some(until) if self.probes.is_empty() => self.paid.max(until),
            _ => self.paid,
        }
    }

    /// When padding leaves though no media does; `None`: none is wanted.
    pub(crate) fn next_padding(&self, in_flight: u64) -> Option<Instant> {
        (self.padding > 0).then(|| self.padded.max(self.next(in_flight)))
    }

    /// The burst is over because nothing waits any more.
    #[inline]
    pub(crate) fn idle(&mut self) {
        (self.open, self.waits) = (false, false);
        (self.gather.over, self.gather.bytes) = (true, 0);
    }

    /// A packet left; `queued` bytes of its sender still wait.
    #[inline]
    pub(crate) fn sent(&mut self, now: Instant, bytes: usize, queued: usize) {
        let rate = match self.probes.front() {
            Some(probe) => {
                let rate = probe.rate as f64;
                self.probed += bytes;
                if self.probed >= probe.bytes {
                    self.probes.pop_front();
                    self.probed = 0;
                }
                rate
            }
            None => {
                let rate = self.rate.map_or(UNKNOWN, |rate| rate as f64);
                rate.max(queued as f64 * 8.0 / MAX_QUEUE)
            }
        };
        let cost = Duration::from_nanos((bytes as f64 * 8e9 / rate.max(10_000.0)) as u64);
        // No credit for silence, but for having come too late.
        let late = if self.waits { LATE } else { Duration::ZERO };
        self.paid = (self.paid + late).max(now) - late + cost;
        self.waits &= self.paid < now;
        self.last = now;
        if self.padding > 0 {
            self.padded = self.padded.max(now) + Duration::from_secs_f64(bytes as f64 * 8.0 / self.padding as f64);
        }
    }
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;

    use super::*;

    #[test]
    fn paces_at_the_rate_in_bursts() {
        let mut now = start();
        let mut pacer = Pacer::new(now, Duration::ZERO);
        pacer.set(Some(8_000_000), None, 0);
        let (mut sent, mut wakes) = (0, 0);
        while sent < 1000 {
            while sent < 1000 && pacer.ready(now, 0) {
                pacer.sent(now, 1000, 0);
                sent += 1;
            }
            if sent < 1000 {
                assert!(pacer.next(0) > now, "law 2");
                now = pacer.next(0);
                wakes += 1;
            }
        }
        // 8 Mbit at 8 Mbit/s; a burst holds about six packets.
        let took = (now - start()).as_secs_f64();
        assert!((0.97..1.01).contains(&took), "{took}");
        assert!((120..220).contains(&wakes), "{wakes}");
    }

    #[test]
    fn what_comes_soon_after_a_burst_leaves_with_others() {
        const PAUSE: Duration = Duration::from_millis(4);
        let begin = start();
        let mut pacer = Pacer::new(begin, PAUSE);
        let send = |pacer: &mut Pacer, now| {
            let mut sent = 0;
            for _ in 0..3 {
                if pacer.ready(now, 0) {
                    pacer.sent(now, 1000, 0);
                    sent += 1;
                }
            }
            pacer.idle();
            sent
        };
        pacer.came(3000);
        assert_eq!(send(&mut pacer, begin), 3, "the first at once");
        let soon = begin + PAUSE / 4;
        pacer.came(1000);
        assert!(!pacer.ready(soon, 0));
        assert_eq!(pacer.next(0), begin + PAUSE, "law 2");
        assert_eq!(send(&mut pacer, begin + PAUSE), 3);
        // What fills a burst does not wait, nor what was asked for, nor what is part of a probe.
        let mut now = begin + PAUSE;
        for hurry in [
            |pacer: &mut Pacer| pacer.came(12_000),
            |pacer: &mut Pacer| pacer.hurry(),
            |pacer: &mut Pacer| {
                pacer.probe(Probe {
                    id: ProbeId(0),
                    rate: 50_000_000,
                    bytes: 1000,
                });
            },
        ] {
            now += PAUSE / 2;
            assert!(!pacer.ready(now, 0));
            hurry(&mut pacer);
            assert!(pacer.next(0) <= now);
            assert_eq!(send(&mut pacer, now), 3);
        }
        now += PAUSE;
        assert!(pacer.ready(now, 0), "what comes after a pause leaves at once");
    }

    #[test]
    fn a_long_queue_speeds_it_up() {
        let now = start();
        let mut pacer = Pacer::new(now, Duration::ZERO);
        pacer.set(Some(250_000), None, 0);
        pacer.sent(now, 1000, 1_000_000);
        assert!(pacer.next(0) - now <= Duration::from_millis(2));
    }

    #[test]
    fn a_probe_has_its_own_rate_and_then_is_over() {
        let mut now = start();
        let mut pacer = Pacer::new(now, Duration::ZERO);
        pacer.set(Some(1_000_000), None, 0);
        for id in 0..20 {
            pacer.probe(Probe {
                id: ProbeId(id),
                rate: 4_000_000,
                bytes: 10_000,
            });
        }
        let mut sent = 0;
        while pacer.probing().is_some() {
            if pacer.ready(now, 0) {
                pacer.sent(now, 1000, 0);
                sent += 1;
            } else {
                now = pacer.next(0);
            }
        }
        assert_eq!(sent, MAX_PROBES * 10, "as many as may wait, ten packets each");
        // 640 kbit at 4 Mbit/s, less the burst at the end.
        let took = (now - start()).as_secs_f64();
        assert!((0.15..0.162).contains(&took), "{took}");
    }

    #[test]
    fn late_timers_do_not_slow_it_down() {
        // Rates of a probe, and of what is no probe; how late each wake-up is, microseconds; and what comes of the rate.
        for (probe, late, part) in [
            (true, 1500, 0.97),
            (false, 1500, 0.97),
            (true, 4000, 0.95),
            (false, 20_000, 0.3),
        ] {
            let mut now = start();
            let mut pacer = Pacer::new(now, Duration::ZERO);
            pacer.set(Some(4_000_000), None, 0);
            if probe {
                pacer.probe(Probe {
                    id: ProbeId(0),
                    rate: 4_000_000,
                    bytes: 100_000,
                });
            }
            let mut sent = 0;
            while sent < 100 {
                if pacer.ready(now, 0) {
                    pacer.sent(now, 1000, 0);
                    sent += 1;
                } else {
                    now = pacer.next(0) + Duration::from_micros(late);
                }
            }
            let took = (now - start()).as_secs_f64();
            assert!(took <= 0.2 / part && took > 0.19, "{probe} {late}: {took}");
        }
        // Who had nothing to send has no credit.
        let mut now = start();
        let mut pacer = Pacer::new(now, Duration::ZERO);
        pacer.set(Some(1_000_000), None, 0);
        pacer.sent(now, 1000, 0);
        pacer.idle();
        now += Duration::from_secs(1);
        assert!(pacer.ready(now, 0));
        pacer.sent(now, 1000, 0);
        assert_eq!(pacer.next(0), now + Duration::from_millis(8));
    }

    #[test]
    fn with_too_much_on_its_way_one_packet_in_half_a_second_leaves() {
        let mut now = start();
        let mut pacer = Pacer::new(now, Duration::ZERO);
        pacer.set(Some(8_000_000), Some(10_000), 0);
        assert!(pacer.ready(now, 10_000));
        pacer.sent(now, 1000, 0);
        now += Duration::from_millis(100);
        assert!(!pacer.ready(now, 10_001));
        assert_eq!(pacer.next(10_001), start() + KEEPALIVE);
        now = start() + KEEPALIVE;
        assert!(pacer.ready(now, 10_001));
        pacer.sent(now, 1000, 0);
        assert!(!pacer.ready(now, 11_001));
        assert!(pacer.ready(now + Duration::from_millis(1), 9000), "there was feedback");
    }

    #[test]
    fn a_burst_at_a_high_rate_has_few_packets() {
        let now = start();
        let mut pacer = Pacer::new(now, Duration::ZERO);
        pacer.set(Some(50_000_000), None, 0);
        let mut burst = 0;
        while pacer.ready(now, 0) {
            pacer.sent(now, 1200, 0);
            burst += 1;
        }
        assert_eq!(burst, 11);
    }
}
