//! What a probe has shown: the rate at which its packets left, and that at which they arrived.

use std::time::{Duration, Instant};

use super::control::{Probe, ProbeId};
use super::sample::Sample;

/// Most probes of which results are awaited.
pub(crate) const MAX_AWAITED: usize = 8;
/// A probe is forgotten after this long.
const LIFE: Duration = Duration::from_secs(2);
/// A probe whose packets did not leave at this part of its rate shows nothing: there was not enough to send.
const LEAST_RATE: f64 = 0.7;
/// This part of its bytes must have arrived.
const LEAST_BYTES: f64 = 0.8;
/// Fewer packets than this show nothing.
const LEAST_PACKETS: u32 = 4;
/// Who arrives this much faster than he left waited somewhere before.
const MAX_RATIO: f64 = 2.0;
/// A probe must have taken so many times the jitter of single packets.
const SHORTEST: i64 = 3;
/// A path that lets this part of the rate through without a queue carries it.
const CARRIED: f64 = 0.9;

/// What a probe has shown.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Shown {
    /// The path carries this much, bits a second.
    Carried(f64),
    /// The path carries no more than this, bits a second: a queue grew.
    Capacity(f64),
    /// Nothing: too little was sent, or arrived.
    Nothing,
}

/// What is known of the path when a probe is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Known {
    /// When the newest packet left that was reported on, by the terms of [`Sample`].
    pub(crate) reported: i64,
    /// By how much the waits of neighbours differ, microseconds.
    pub(crate) jitter: i64,
    /// The part of the packets that the path loses whatever we send.
    pub(crate) inherent: f64,
}

#[derive(Clone, Copy, Debug)]
struct Awaited {
    probe: Probe,
    asked: Instant,
    packets: u32,
    bytes: usize,
    lost: u32,
    /// When the first packet left and arrived: what the lines count from.
    first: (i64, i64),
    last_sent: i64,
    last_arrival: i64,
    sent: Line,
    arrived: Line,
}

/// A line through moments over the bytes that came before them: its slope is what a byte takes. It makes less of the jitter of a
/// single packet than first and last would.
#[derive(Clone, Copy, Debug, Default)]
struct Line {
    n: f64,
    x: f64,
    y: f64,
    xx: f64,
    xy: f64,
}

impl Line {
    fn point(&mut self, bytes: f64, micros: f64) {
        self.n += 1.0;
        self.x += bytes;
        self.y += micros;
        self.xx += bytes * bytes;
        self.xy += bytes * micros;
    }

    /// Bits a second.
    fn rate(&self) -> Option<f64> {
        let spread = self.n * self.xx - self.x * self.x;
        let slope = (self.n * self.xy - self.x * self.y) / spread;
        (spread > 0.0 && slope > 0.0).then(|| 8e6 / slope)
    }
}

/// The probes of which results are awaited.
#[derive(Debug, Default)]
pub(crate) struct Results {
    awaited: [Option<Awaited>; MAX_AWAITED],
}

impl Results {
    /// A probe was asked for.
    pub(crate) fn asked(&mut self, now: Instant, probe: Probe) {
        let place = probe.id.0 as usize % MAX_AWAITED;
        self.awaited[place] = Some(Awaited {
            probe,
            asked: now,
            packets: 0,
            bytes: 0,
            lost: 0,
            first: (0, 0),
            last_sent: 0,
            last_arrival: 0,
            sent: Line::default(),
            arrived: Line::default(),
        });
    }

    /// Feedback spoke of a packet of a probe.
    pub(crate) fn packet(&mut self, id: ProbeId, sample: &Sample) {
        let place = id.0 as usize % MAX_AWAITED;
        let Some(awaited) = self.awaited[place].as_mut().filter(|awaited| awaited.probe.id == id) else {
            return;
        };
        let Some(arrival) = sample.arrival else {
            awaited.lost += 1;
            return;
        };
        if awaited.packets == 0 {
            awaited.first = (sample.sent, arrival);
            (awaited.last_sent, awaited.last_arrival) = awaited.first;
        }
        let before = awaited.bytes as f64;
        awaited.sent.point(before, (sample.sent - awaited.first.0) as f64);
        awaited.arrived.point(before, (arrival - awaited.first.1) as f64);
        awaited.packets += 1;
        awaited.bytes += sample.bytes;
        awaited.last_sent = awaited.last_sent.max(sample.sent);
        awaited.last_arrival = awaited.last_arrival.max(arrival);
    }

    /// The next probe that is complete or given up, and what it has shown.
    pub(crate) fn take(&mut self, now: Instant, known: &Known) -> Option<(Probe, Shown)> {
        let done = |awaited: &Awaited| {
            let whole = awaited.bytes >= awaited.probe.bytes;
            let over = awaited.packets + awaited.lost > 0 && known.reported > awaited.last_sent + 20_000;
            whole || over || now.saturating_duration_since(awaited.asked) > LIFE
        };
        let place = self.awaited.iter_mut().find(|place| place.as_ref().is_some_and(done))?;
        let awaited = place.take()?;
        Some((awaited.probe, awaited.shown(known)))
    }

    /// Forgets all of them: they went another way.
    pub(crate) fn clear(&mut self) {
        self.awaited = [None; MAX_AWAITED];
    }
}

impl Awaited {
    fn shown(&self, known: &Known) -> Shown {
        // What the path loses of everything has come through its narrowest place, or would have.
        let lost = f64::from(self.lost) / f64::from(self.lost + self.packets).max(1.0);
        let sent = 1.0 / (1.0 - lost.min(known.inherent));
        let enough = self.bytes as f64 * sent >= LEAST_BYTES * self.probe.bytes as f64;
        let took = self.last_arrival - self.first.1;
        // What jitter makes of so short a time is not the path.
        if !enough || self.packets < LEAST_PACKETS || took < SHORTEST * known.jitter {
            return Shown::Nothing;
        }
        let (Some(send_rate), Some(receive_rate)) = (self.sent.rate(), self.arrived.rate()) else {
            return Shown::Nothing;
        };
        let (send_rate, receive_rate) = (sent * send_rate, sent * receive_rate);
        if send_rate < LEAST_RATE * self.probe.rate as f64 || receive_rate > MAX_RATIO * send_rate {
            return Shown::Nothing;
        }
        if receive_rate < CARRIED * send_rate {
            return Shown::Capacity(receive_rate);
        }
        Shown::Carried(receive_rate.min(send_rate).min(self.probe.rate as f64))
    }
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;

    use super::*;

    /// Sends `packets` of `bytes` each `gap` microseconds; they arrive each `arrival_gap`.
    fn run(packets: i64, bytes: usize, gap: i64, arrival_gap: i64) -> Shown {
        let mut results = Results::default();
        let probe = Probe {
            id: ProbeId(3),
            rate: 2_000_000,
            bytes: 5000,
        };
        results.asked(start(), probe);
        for n in 0..packets {
            let sample = Sample {
                sent: n * gap,
                arrival: Some(70_000 + n * arrival_gap),
                bytes,
            };
            results.packet(ProbeId(3), &sample);
            results.packet(ProbeId(4), &sample);
        }
        let known = Known {
            reported: 1_000_000,
            jitter: 0,
            inherent: 0.0,
        };
        let (taken, shown) = results.take(start(), &known).expect("done");
        assert_eq!((taken, results.take(start(), &known)), (probe, None));
        shown
    }

    #[test]
    fn a_probe_shows_the_lesser_of_two_rates_and_is_refused_below_seven_tenths() {
        // 500 bytes each 2 ms are 2 Mbit/s.
        assert_eq!(run(10, 500, 2000, 2000), Shown::Carried(2_000_000.0));
        assert_eq!(run(10, 500, 2000, 4000), Shown::Capacity(1_000_000.0));
        // 400 packets of little: a tenth of the rate was reached.
        assert_eq!(run(400, 16, 2000, 2000), Shown::Nothing);
        // 1.3 of 2 Mbit/s.
        assert_eq!(run(10, 500, 3076, 3076), Shown::Nothing);
        // They came much faster than they went.
        assert_eq!(run(10, 500, 2000, 900), Shown::Nothing);
        assert_eq!(run(6, 500, 2000, 2000), Shown::Nothing, "too much was lost");
        assert_eq!(run(3, 2000, 8000, 8000), Shown::Nothing, "too few");
    }
}
