//! The client's side of one request over UDP.

use std::time::{Duration, Instant};

use crate::header::TransactionId;

/// When a request is sent again (RFC 8489 §6.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retransmission {
    /// The time before the first retransmission; doubles each time.
    pub rto: Duration,
    /// Rc: how many times the request is sent in all.
    pub max_requests: u32,
    /// Rm: after the last request the client waits this many first RTOs.
    pub last_wait: u32,
}

impl Default for Retransmission {
    /// 500 ms, Rc = 7, Rm = 16: gives up after 39.5 s.
    fn default() -> Self {
        Self {
            rto: Duration::from_millis(500),
            max_requests: 7,
            last_wait: 16,
        }
    }
}

impl Retransmission {
    /// The time from the first request until the transaction fails.
    pub fn total(&self) -> Duration {
        let doublings = self.max_requests.saturating_sub(1).min(16);
        self.rto * ((1 << doublings) - 1 + self.last_wait)
    }
}

/// What [`Transaction::handle_timeout`] wants done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// Nothing yet.
    Wait,
    /// Send the same request again, the same bytes.
    Retransmit,
    /// No answer came; forget the transaction.
    TimedOut,
}

/// One request on its way. Knows no bytes: the owner keeps or rebuilds the request.
#[derive(Clone, Debug)]
pub struct Transaction {
    id: TransactionId,
    first_sent: Instant,
    deadline: Instant,
    interval: Duration,
    requests: u32,
    retransmission: Retransmission,
}

impl Transaction {
    /// The request is sent for the first time now.
    pub fn new(now: Instant, id: TransactionId, retransmission: Retransmission) -> Self {
        let alone = retransmission.max_requests <= 1;
        let wait = if alone {
            retransmission.rto * retransmission.last_wait
        } else {
            retransmission.rto
        };
        Self {
            id,
            first_sent: now,
            deadline: now + wait,
            interval: retransmission.rto,
            requests: 1,
            retransmission,
        }
    }

    /// Its id; the answer carries it.
    pub fn id(&self) -> TransactionId {
        self.id
    }

    /// When to call [`Self::handle_timeout`].
    pub fn poll_timeout(&self) -> Instant {
        self.deadline
    }

    /// Time went on. At most one step per call; a late call does not send a burst.
    pub fn handle_timeout(&mut self, now: Instant) -> Step {
        if now < self.deadline {
            return Step::Wait;
        }
        if self.requests >= self.retransmission.max_requests {
            return Step::TimedOut;
        }
        self.requests += 1;
        self.interval *= 2;
        let wait = if self.requests == self.retransmission.max_requests {
            self.retransmission.rto * self.retransmission.last_wait
        } else {
            self.interval
        };
        self.deadline = now + wait;
        Step::Retransmit
    }

    /// How many times the request was sent.
    pub fn requests(&self) -> u32 {
        self.requests
    }

    /// The round trip, if the answer comes now; `None` after a retransmission, when it cannot be told (Karn).
    pub fn round_trip(&self, now: Instant) -> Option<Duration> {
        (self.requests == 1).then(|| now.saturating_duration_since(self.first_sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn the_schedule_of_the_rfc() {
        // RFC 8489 §6.2.1: requests at 0, 500, 1500, 3500, 7500, 15500, 31500 ms; failure at 39500 ms.
        let start = Instant::now();
        let mut transaction = Transaction::new(start, TransactionId([0; 12]), Retransmission::default());
        let mut sent = vec![0];
        let failed = loop {
            let at = transaction.poll_timeout();
            let ms = at.duration_since(start).as_millis();
            assert_eq!(transaction.handle_timeout(at - Duration::from_nanos(1)), Step::Wait);
            match transaction.handle_timeout(at) {
                Step::Retransmit => sent.push(ms),
                Step::TimedOut => break ms,
                Step::Wait => unreachable!("the deadline has come"),
            }
        };
        assert_eq!(sent, [0, 500, 1500, 3500, 7500, 15_500, 31_500]);
        assert_eq!(failed, 39_500);
        assert_eq!(Retransmission::default().total(), Duration::from_millis(39_500));
        assert_eq!(transaction.round_trip(start), None);
    }
}
