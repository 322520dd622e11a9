//! The delay-based half of GCC: does the queue at the bottleneck grow? (draft-ietf-rmcat-gcc-02 §5, with the least-squares
//! trend over twenty groups that today's senders use in place of its filter.)

use std::collections::VecDeque;

use crate::congestion::sample::Sample;

/// Packets sent within this long of each other count as one group (draft-ietf-rmcat-gcc-02 §5.2), microseconds.
const BURST: i64 = 5_000;
/// Groups in the regression.
const WINDOW: usize = 20;
const SMOOTHING: f64 = 0.9;
const GAIN: f64 = 4.0;
/// First threshold, milliseconds (draft-ietf-rmcat-gcc-02 §5.4: del_var_th(0)).
const THRESHOLD: f64 = 12.5;
const K_UP: f64 = 0.0087;
const K_DOWN: f64 = 0.039;
/// Over-use must last this long, milliseconds (overuse_time_th).
const OVERUSE_TIME: f64 = 10.0;
const MIN_DELTAS: f64 = 60.0;

/// What the queue does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Usage {
    #[default]
    Normal,
    /// It drains.
    Under,
    /// It grows.
    Over,
}

#[derive(Clone, Copy, Debug)]
struct Group {
    first_sent: i64,
    last_sent: i64,
    last_arrival: i64,
}

#[derive(Debug)]
pub(crate) struct Trendline {
    current: Option<Group>,
    previous: Option<Group>,
    deltas: f64,
    accumulated: f64,
    smoothed: f64,
    /// Arrival (ms), smoothed delay (ms).
    points: VecDeque<(f64, f64)>,
    threshold: f64,
    updated: Option<f64>,
    over_for: f64,
    over_count: u32,
    previous_trend: f64,
    usage: Usage,
}

impl Default for Trendline {
    fn default() -> Self {
        Self {
            current: None,
            previous: None,
            deltas: 0.0,
            accumulated: 0.0,
            smoothed: 0.0,
            points: VecDeque::new(),
            threshold: THRESHOLD,
            updated: None,
            over_for: -1.0,
            over_count: 0,
            previous_trend: 0.0,
            usage: Usage::Normal,
        }
    }
}

impl Trendline {
    pub(crate) fn usage(&self) -> Usage {
        self.usage
    }

    /// Takes in a packet that arrived, in order of sending.
    pub(crate) fn packet(&mut self, result: &Sample, arrival: i64) {
        let Some(current) = &mut self.current else {
            self.current = Some(Group {
                first_sent: result.sent,
                last_sent: result.sent,
                last_arrival: arrival,
            });
            return;
        };
        if result.sent < current.first_sent {
            return;
        }
        // A burst that the pacer made, or packets that a queue let go at once: one group.
        let released_together = arrival - current.last_arrival <= BURST
            && (arrival - current.last_arrival) - (result.sent - current.last_sent) < 0
            && arrival - current.last_arrival >= 0
            && result.sent - current.first_sent < 100_000;
        if result.sent - current.first_sent <= BURST || released_together {
            current.last_sent = current.last_sent.max(result.sent);
            current.last_arrival = current.last_arrival.max(arrival);
            return;
        }
        let complete = *current;
        self.current = Some(Group {
            first_sent: result.sent,
            last_sent: result.sent,
            last_arrival: arrival,
        });
        if let Some(previous) = self.previous.replace(complete) {
            let sent = (complete.last_sent - previous.last_sent) as f64 / 1000.0;
            let arrived = (complete.last_arrival - previous.last_arrival) as f64 / 1000.0;
            // Reordered groups, and pauses of the receiver's clock, say nothing about the queue.
            if arrived >= 0.0 && (arrived - sent).abs() < 3000.0 {
                self.delta(sent, arrived, complete.last_arrival as f64 / 1000.0);
            }
        }
    }

    fn delta(&mut self, sent: f64, arrived: f64, now: f64) {
        self.deltas = (self.deltas + 1.0).min(1000.0);
        self.accumulated += arrived - sent;
        self.smoothed = SMOOTHING * self.smoothed + (1.0 - SMOOTHING) * self.accumulated;
        self.points.push_back((now, self.smoothed));
        if self.points.len() > WINDOW {
            self.points.pop_front();
        }
        let trend = if self.points.len() == WINDOW {
            self.slope().unwrap_or(self.previous_trend)
        } else {
            0.0
        };
        self.detect(trend, sent, now);
    }

    fn slope(&self) -> Option<f64> {
        let n = self.points.len() as f64;
        let (x, y) = self
            .points
            .iter()
            .fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
        let (x, y) = (x / n, y / n);
        let (mut above, mut below) = (0.0, 0.0);
        for point in &self.points {
            above += (point.0 - x) * (point.1 - y);
            below += (point.0 - x) * (point.0 - x);
        }
        (below > 0.0).then(|| above / below)
    }

    fn detect(&mut self, trend: f64, sent: f64, now: f64) {
        let modified = self.deltas.min(MIN_DELTAS) * trend * GAIN;
        if modified > self.threshold {
            self.over_for = if self.over_for < 0.0 {
                sent / 2.0
            } else {
                self.over_for + sent
            };
            self.over_count += 1;
            if self.over_for > OVERUSE_TIME && self.over_count > 1 && trend >= self.previous_trend {
                self.over_for = 0.0;
                self.over_count = 0;
                self.usage = Usage::Over;
            }
        } else {
            self.over_for = -1.0;
            self.over_count = 0;
            self.usage = if modified < -self.threshold {
                Usage::Under
            } else {
                Usage::Normal
            };
        }
        self.previous_trend = trend;
        self.adapt(modified, now);
    }

    /// draft-ietf-rmcat-gcc-02 §5.4: the threshold follows the signal slowly, so that a competing TCP flow does not starve us.
    fn adapt(&mut self, modified: f64, now: f64) {
        let last = self.updated.replace(now).unwrap_or(now);
        if modified.abs() > self.threshold + 15.0 {
            return;
        }
        let k = if modified.abs() < self.threshold { K_DOWN } else { K_UP };
        let elapsed = (now - last).clamp(0.0, 100.0);
        self.threshold = (self.threshold + k * (modified.abs() - self.threshold) * elapsed).clamp(6.0, 600.0);
    }
}
