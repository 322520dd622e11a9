//! How fast a participant may send messages.

use std::time::{Duration, Instant};

/// Messages a second of one participant, on average.
const MAX_A_SECOND: u32 = 20;
/// Messages that may come at once: what the page sends when somebody joins, and more.
const MAX_AT_ONCE: u32 = 60;
/// Refusals in a row after which a participant is sent away: it does not listen.
const MAX_REFUSED: u32 = 200;

/// Counts the messages of one participant.
#[derive(Debug)]
pub(in crate::server) struct Pace {
    /// When all messages so far are used up: each makes it one step later.
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
    pub(in crate::server) fn new(now: Instant) -> Self {
        Self { due: now, refused: 0 }
    }

    /// A message has come.
    pub(in crate::server) fn take(&mut self, now: Instant) -> Verdict {
        let each = Duration::from_secs(1) / MAX_A_SECOND;
        let due = self.due.max(now) + each;
        if due > now + each * MAX_AT_ONCE {
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
        let mut pace = Pace::new(start);
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
        let mut pace = Pace::new(now);
        let verdicts: Vec<_> = (0..=MAX_AT_ONCE + MAX_REFUSED).map(|_| pace.take(now)).collect();
        assert_eq!(verdicts.last(), Some(&Verdict::Flood));
        assert!(!verdicts[..verdicts.len() - 1].contains(&Verdict::Flood));
    }
}
