//! Controlled delay (RFC 8289).

use std::time::{Duration, Instant};

use super::line::{Held, Line, mark};

/// RFC 8289 §4.4: a queue of no more than this is none.
const MTU: usize = 1500;

/// RFC 8289 §5.3.
#[derive(Debug)]
pub(super) struct CoDel {
    /// When the wait will have been too long for an interval.
    first_above: Option<Instant>,
    drop_next: Instant,
    count: u32,
    last_count: u32,
    dropping: bool,
}

impl CoDel {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            first_above: None,
            drop_next: now,
            count: 0,
            last_count: 0,
            dropping: false,
        }
    }

    /// The next packet, and whether all have waited too long for an interval (`dodequeue` of RFC 8289 §5.5).
    fn next<T>(
        &mut self,
        now: Instant,
        (target, interval): (Duration, Duration),
        line: &mut Line<T>,
    ) -> (Option<Held<T>>, bool) {
        let Some(held) = line.pop() else {
            self.first_above = None;
            return (None, false);
        };
        if now.saturating_duration_since(held.since) < target || line.bytes() + held.packet.ip_len() <= MTU {
            self.first_above = None;
            return (Some(held), false);
        }
        let too_long = match self.first_above {
            None => {
                self.first_above = Some(now + interval);
                false
            }
            Some(at) => now >= at,
        };
        (Some(held), too_long)
    }

    /// RFC 8289 §5.5. What is capable of ECN is marked where another is dropped.
    pub(super) fn pop<T>(
        &mut self,
        now: Instant,
        times: (Duration, Duration),
        line: &mut Line<T>,
        dropped: &mut Vec<Held<T>>,
    ) -> Option<Held<T>> {
        let interval = times.1;
        let (mut next, mut too_long) = self.next(now, times, line);
        if self.dropping {
            if !too_long {
                self.dropping = false;
            }
            while self.dropping && now >= self.drop_next {
                let Some(mut held) = next.take() else { break };
                self.count += 1;
                if mark(&mut held.packet) {
                    self.drop_next += law(interval, self.count);
                    return Some(held);
                }
                dropped.push(held);
                (next, too_long) = self.next(now, times, line);
                if too_long {
                    self.drop_next += law(interval, self.count);
                } else {
                    self.dropping = false;
                }
            }
            return next;
        }
        if !too_long {
            return next;
        }
        let mut held = next?;
        let result = if mark(&mut held.packet) {
            Some(held)
        } else {
            dropped.push(held);
            self.next(now, times, line).0
        };
        self.dropping = true;
        // Begins at the rate of drops that controlled the queue last time, if that was not long ago.
        let delta = self.count - self.last_count;
        let recent = now.saturating_duration_since(self.drop_next) < 16 * interval;
        self.count = if recent && delta > 1 { delta } else { 1 };
        self.drop_next = now + law(interval, self.count);
        self.last_count = self.count;
        result
    }
}

/// RFC 8289 §5.4: the gaps shrink with the root of their number.
fn law(interval: Duration, count: u32) -> Duration {
    interval.div_f64(f64::from(count.max(1)).sqrt())
}
