//! How fast a participant may send messages, and ask for exchanges of descriptions.

use std::time::{Duration, Instant};

/// Messages a second of one participant, on average.
const MAX_A_SECOND: u32 = 20;
/// Messages that may come at once: what the page sends when somebody joins, and more.
const MAX_AT_ONCE: u32 = 60;
/// Exchanges that a participant may ask for at once: each is work for the server, and what it changes is work for all others.
const MAX_EXCHANGES: u32 = 10;
/// It may ask for another one in this time.
const EXCHANGE_EVERY: Duration = Duration::from_secs(2);
/// Refusals in a row after which a participant is sent away: it does not listen.
const MAX_REFUSED: u32 = 200;

/// Counts what one participant does.
#[derive(Debug)]
pub(in crate::server) struct Pace {
    /// How much each is later than the one before, on average.
    each: Duration,
    at_once: u32,
    /// When all so far are used up: each makes it one step later.
    due: Instant,
    refused: u32,
}

/// Whether a message may be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::server) enum Verdict {
    /// It may.
    Fits,
    /// It is passed over.
    TooFast,
    /// It is passed over, and who sends it does not stop.
    Flood,
}

impl Pace {
    /// Of messages.
    pub(in crate::server) fn messages(now: Instant) -> Self {
        Self::new(Duration::from_secs(1) / MAX_A_SECOND, MAX_AT_ONCE, now)
    }

    /// Of exchanges that a participant asks for.
    pub(super) fn exchanges(now: Instant) -> Self {
        Self::new(EXCHANGE_EVERY, MAX_EXCHANGES, now)
    }

    fn new(each: Duration, at_once: u32, now: Instant) -> Self {
        Self {
            each,
            at_once,
            due: now,
            refused: 0,
        }
    }

    /// One has come.
    pub(in crate::server) fn take(&mut self, now: Instant) -> Verdict {
        let due = self.due.max(now) + self.each;
        if due > now + self.each * self.at_once {
            self.refused += 1;
            return if self.refused > MAX_REFUSED {
                Verdict::Flood
            } else {
                Verdict::TooFast
            };
        }
        self.due = due;
        self.refused = 0;
        Verdict::Fits
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn some_come_at_once_and_then_so_many_a_second() {
        let start = Instant::now();
        let mut pace = Pace::messages(start);
        for _ in 0..MAX_AT_ONCE {
            assert_eq!(pace.take(start), Verdict::Fits);
        }
        assert_eq!(pace.take(start), Verdict::TooFast);
        let mut taken = 0;
        // A hundred a second for ten seconds.
        for step in 0..1000 {
            let now = start + Duration::from_millis(10) * step;
            taken += u32::from(pace.take(now) == Verdict::Fits);
        }
        assert!((9 * MAX_A_SECOND..=10 * MAX_A_SECOND).contains(&taken), "{taken}");
    }

    #[test]
    fn who_does_not_stop_is_sent_away() {
        let now = Instant::now();
        let mut pace = Pace::messages(now);
        let verdicts: Vec<_> = (0..=MAX_AT_ONCE + MAX_REFUSED).map(|_| pace.take(now)).collect();
        assert_eq!(verdicts.last(), Some(&Verdict::Flood));
        assert!(!verdicts[..verdicts.len() - 1].contains(&Verdict::Flood));
    }

    #[test]
    fn exchanges_are_few() {
        let start = Instant::now();
        let mut pace = Pace::exchanges(start);
        let mut fits = |now| (0..50).filter(|_| pace.take(now) == Verdict::Fits).count();
        assert_eq!(fits(start), 10);
        assert_eq!(fits(start + Duration::from_secs(7)), 3);
    }
}
