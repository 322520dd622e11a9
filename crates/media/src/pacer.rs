//! When packets leave: spaced at the rate that the congestion controller gives, and in probes at the rate of the probe.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::congestion::{Probe, ProbeId};

/// Pacing rate while nothing is known, bits a second: the peer gives no feedback to pace by.
const UNKNOWN: f64 = 50_000_000.0;
/// Packets go in bursts this long: few wake-ups, and batches for the driver.
const BURST: Duration = Duration::from_millis(5);
/// What waits leaves within this many seconds, whatever the estimate says: an encoder that ignores it costs loss, not ever more
/// delay.
const MAX_QUEUE: f64 = 0.5;
/// Most probes that wait to be sent.
pub(crate) const MAX_PROBES: usize = 8;

/// Spaces packets of video and retransmissions. Sound passes by, and is only counted.
#[derive(Debug)]
pub(crate) struct Pacer {
    /// When what was sent so far has been paid for.
    paid: Instant,
    /// In the middle of a burst.
    open: bool,
    /// Bits a second.
    rate: Option<u64>,
    /// Probes to send, the first one now.
    probes: VecDeque<Probe>,
    /// Bytes that the first probe has had.
    probed: usize,
}

impl Pacer {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            paid: now,
            open: false,
            rate: None,
            probes: VecDeque::new(),
            probed: 0,
        }
    }

    /// The rate at which packets leave that wait, bits a second; `None` while nothing is known.
    pub(crate) fn set_rate(&mut self, rate: Option<u64>) {
        self.rate = rate;
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

    /// Nothing can be sent that would make up for missing media: the probes cannot be made.
    pub(crate) fn give_up_probes(&mut self) {
        self.probes.clear();
        self.probed = 0;
    }

    /// Whether a packet may leave now.
    #[inline]
    pub(crate) fn ready(&mut self, now: Instant) -> bool {
        if self.paid <= now {
            self.open = true;
        } else if self.paid > now + BURST {
            self.open = false;
        }
        self.open
    }

    /// When a packet may leave, if one waits.
    pub(crate) fn next(&self) -> Instant {
        self.paid
    }

    /// The burst is over because nothing waits any more.
    pub(crate) fn idle(&mut self) {
        self.open = false;
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
        let cost = Duration::from_secs_f64(bytes as f64 * 8.0 / rate.max(10_000.0));
        // No credit for silence.
        self.paid = self.paid.max(now) + cost;
    }
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;

    use super::*;

    #[test]
    fn paces_at_the_rate_in_bursts() {
        let mut now = start();
        let mut pacer = Pacer::new(now);
        pacer.set_rate(Some(8_000_000));
        let (mut sent, mut wakes) = (0, 0);
        while sent < 1000 {
            while sent < 1000 && pacer.ready(now) {
                pacer.sent(now, 1000, 0);
                sent += 1;
            }
            if sent < 1000 {
                assert!(pacer.next() > now, "law 2");
                now = pacer.next();
                wakes += 1;
            }
        }
        // 8 Mbit at 8 Mbit/s; a burst holds about six packets.
        let took = (now - start()).as_secs_f64();
        assert!((0.97..1.01).contains(&took), "{took}");
        assert!((120..220).contains(&wakes), "{wakes}");
    }

    #[test]
    fn a_long_queue_speeds_it_up() {
        let now = start();
        let mut pacer = Pacer::new(now);
        pacer.set_rate(Some(250_000));
        pacer.sent(now, 1000, 1_000_000);
        assert!(pacer.next() - now < Duration::from_millis(1));
    }

    #[test]
    fn a_probe_has_its_own_rate_and_then_is_over() {
        let mut now = start();
        let mut pacer = Pacer::new(now);
        pacer.set_rate(Some(1_000_000));
        for id in 0..20 {
            pacer.probe(Probe {
                id: ProbeId(id),
                rate: 4_000_000,
                bytes: 10_000,
            });
        }
        let mut sent = 0;
        while pacer.probing().is_some() {
            if pacer.ready(now) {
                pacer.sent(now, 1000, 0);
                sent += 1;
            } else {
                now = pacer.next();
            }
        }
        assert_eq!(sent, MAX_PROBES * 10, "as many as may wait, ten packets each");
        // 640 kbit at 4 Mbit/s, less the burst at the end.
        let took = (now - start()).as_secs_f64();
        assert!((0.15..0.162).contains(&took), "{took}");
    }
}
