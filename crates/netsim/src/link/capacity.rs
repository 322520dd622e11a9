//! How much a link carries, over time.

use std::sync::Arc;
use std::time::Duration;

/// How many bits a second a link carries, IP headers included: the same for ever, in steps, or in a pattern that repeats. Zero is a
/// pause: what is on the link waits. Times count from when the link was made or set.
///
/// ```
/// use std::time::Duration;
/// use antiphon_netsim::Capacity;
///
/// let second = Duration::from_secs(1);
/// let falls = Capacity::steps(&[(0 * second, 2_500_000), (40 * second, 600_000)]);
/// assert_eq!((falls.at(39 * second), falls.at(40 * second)), (2_500_000, 600_000));
/// let gate = Capacity::pulses(5_000_000, second / 5, second / 10);
/// assert_eq!((gate.at(second / 4), gate.at(second / 3)), (0, 5_000_000));
/// assert_eq!(gate.bits(0 * second, 3 * second), 10_000_000.0);
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Capacity {
    /// From which moment on which rate; never empty, the first at zero, in order.
    steps: Arc<[(Duration, u64)]>,
    /// After which it begins again.
    period: Option<Duration>,
}

impl From<u64> for Capacity {
    fn from(rate: u64) -> Self {
        Self::steps(&[(Duration::ZERO, rate)])
    }
}

impl Capacity {
    /// A rate from each of these moments on; before the first of them, its rate too.
    ///
    /// # Panics
    /// If there is none, or they are not in order.
    pub fn steps(steps: &[(Duration, u64)]) -> Self {
        assert!(!steps.is_empty() && steps.is_sorted_by(|a, b| a.0 < b.0), "{steps:?}");
        let mut steps: Arc<[_]> = steps.into();
        if let Some(first) = Arc::get_mut(&mut steps).and_then(|steps| steps.first_mut()) {
            first.0 = Duration::ZERO;
        }
        Self { steps, period: None }
    }

    /// The same steps again after each `period`.
    ///
    /// # Panics
    /// As [`Self::steps`]; if the period is not longer than the steps.
    pub fn repeating(period: Duration, steps: &[(Duration, u64)]) -> Self {
        let once = Self::steps(steps);
        assert!(steps.iter().all(|step| step.0 < period), "{period:?} {steps:?}");
        Self {
            period: Some(period),
            ..once
        }
    }

    /// Open at `rate`, then shut, and so on.
    pub fn pulses(rate: u64, open: Duration, shut: Duration) -> Self {
        Self::repeating(open + shut, &[(Duration::ZERO, rate), (open, 0)])
    }

    /// A trace as Mahimahi has them: each line is a millisecond at which a packet of 1500 bytes may leave; after the last it begins
    /// again. Summed over pieces of `grain`. `None` if it is no such trace.
    pub fn mahimahi(trace: &str, grain: Duration) -> Option<Self> {
        let times: Option<Vec<u64>> = trace.lines().map(|line| line.trim().parse().ok()).collect();
        let times = times?;
        let (grain, end) = (grain.as_millis() as u64, *times.last()?);
        if grain == 0 || end == 0 || !times.is_sorted() {
            return None;
        }
        let mut steps: Vec<(Duration, u64)> = Vec::new();
        let mut rest = times.as_slice();
        for begin in (0..end).step_by(grain as usize) {
            let stop = (begin + grain).min(end);
            // What leaves at the last moment belongs to the last piece.
            let count = rest.partition_point(|time| *time < stop || stop == end);
            rest = &rest[count..];
            steps.push((Duration::from_millis(begin), count as u64 * 12_000_000 / (stop - begin)));
        }
        Some(Self::repeating(Duration::from_millis(end), &steps))
    }

    /// The rate at a moment, how long it stays, and whether it ever changes after that.
    fn piece(&self, at: Duration) -> (u64, Option<Duration>) {
        if let [(_, rate)] = self.steps[..] {
            return (rate, None);
        }
        let phase = match self.period {
            Some(period) => Duration::from_nanos((at.as_nanos() % period.as_nanos()) as u64),
            None => at,
        };
        let next = self.steps.partition_point(|step| step.0 <= phase);
        let rate = self.steps[next - 1].1;
        let until = self.steps.get(next).map(|step| step.0).or(self.period);
        (rate, until.map(|until| until - phase))
    }

    /// The rate at a moment.
    pub fn at(&self, at: Duration) -> u64 {
        self.piece(at).0
    }

    /// The rate at a moment or, in a pause, the one before it (of a pause at the beginning: after it).
    pub(crate) fn nominal(&self, at: Duration) -> u64 {
        let rate = self.at(at);
        if rate > 0 {
            return rate;
        }
        let phase = match self.period {
            Some(period) => Duration::from_nanos((at.as_nanos() % period.as_nanos()) as u64),
            None => at,
        };
        let now = self.steps.partition_point(|step| step.0 <= phase);
        let (past, future) = self.steps.split_at(now);
        let mut around = past.iter().rev().chain(future);
        around.find(|step| step.1 > 0).map_or(0, |step| step.1)
    }

    /// How many bits can pass between two moments.
    pub fn bits(&self, mut from: Duration, to: Duration) -> f64 {
        let mut bits = 0.0;
        while from < to {
            let (rate, lasts) = self.piece(from);
            let piece = lasts.map_or(to - from, |lasts| lasts.min(to - from));
            bits += rate as f64 * piece.as_secs_f64();
            from += piece;
        }
        bits
    }

    /// How long it takes from a moment on until so many bits have passed; `None`: for ever.
    pub(crate) fn time_for(&self, from: Duration, mut bits: f64) -> Option<Duration> {
        if self.steps.iter().all(|step| step.1 == 0) {
            return None;
        }
        let mut at = from;
        loop {
            let (rate, lasts) = self.piece(at);
            let needs = (rate > 0).then(|| Duration::from_secs_f64(bits.max(0.0) / rate as f64));
            match (needs, lasts) {
                (Some(needs), None) => return Some(at + needs - from),
                (Some(needs), Some(lasts)) if needs <= lasts => return Some(at + needs - from),
                (_, Some(lasts)) => {
                    bits -= rate as f64 * lasts.as_secs_f64();
                    at += lasts;
                }
                (None, None) => return None,
            }
        }
    }
}
