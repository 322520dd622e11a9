//! How much a TCP may have on its way: Reno (RFC 5681), CUBIC (RFC 9438), and one that heeds L4S marks (draft-briscoe-iccrg-prague-
//! congestion-control).

use std::time::{Duration, Instant};

use antiphon_sansio::Ecn;

/// RFC 6928: packets of the first flight.
const INITIAL: f64 = 10.0;
/// Fewest packets.
const LEAST: f64 = 2.0;
/// RFC 9438 §5: how steep the cubic is, and what is left after a loss.
const CUBIC: f64 = 0.4;
const CUBIC_BETA: f64 = 0.7;
/// RFC 8257 §4.2: how fast the share of marks is learned.
const GAIN: f64 = 1.0 / 16.0;

/// Which rules a [`Bulk`](crate::Bulk) follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TcpControl {
    /// Reno (RFC 5681), without ECN.
    Reno,
    /// CUBIC (RFC 9438), without ECN.
    Cubic,
    /// As Prague does: ECT(1), reduces by the share of marked packets, and spreads what it sends over the round trip.
    Prague,
}

/// The congestion window.
#[derive(Debug)]
pub(super) struct Window {
    rules: TcpControl,
    /// Packets.
    pub(super) size: f64,
    threshold: f64,
    /// CUBIC: the window before the last reduction, the one that Reno would have, and when it was.
    before: f64,
    reno: f64,
    reduced: Option<Instant>,
    /// Prague: the learned share of marks, those of this round, and when the round ends.
    alpha: f64,
    marked: f64,
    acked: f64,
    round: Instant,
}

impl Window {
    pub(super) fn new(rules: TcpControl, now: Instant) -> Self {
        Self {
            rules,
            size: INITIAL,
            threshold: f64::MAX,
            before: 0.0,
            reno: 0.0,
            reduced: None,
            alpha: 1.0,
            marked: 0.0,
            acked: 0.0,
            round: now,
        }
    }

    pub(super) fn ecn(&self) -> Ecn {
        match self.rules {
            TcpControl::Prague => Ecn::Ect1,
            TcpControl::Reno | TcpControl::Cubic => Ecn::NotEct,
        }
    }

    /// How fast packets leave, in packets a second; `None`: as acknowledgements come.
    pub(super) fn pace(&self, rtt: Duration) -> Option<f64> {
        let faster = if self.size < self.threshold { 2.0 } else { 1.1 };
        (self.rules == TcpControl::Prague).then(|| faster * self.size / rtt.as_secs_f64().max(1e-4))
    }

    /// A packet arrived.
    pub(super) fn on_acked(&mut self, now: Instant, rtt: Duration, marked: bool) {
        if self.rules == TcpControl::Prague {
            self.mark(now, rtt, marked);
        }
        if self.size < self.threshold {
            self.size += 1.0;
            return;
        }
        if self.rules != TcpControl::Cubic {
            self.size += 1.0 / self.size;
            return;
        }
        // RFC 9438 §4.2 to §4.4.
        let since = self
            .reduced
            .map_or(0.0, |at| now.saturating_duration_since(at).as_secs_f64());
        let begin = if self.before > 0.0 {
            self.before * CUBIC_BETA
        } else {
            self.size
        };
        let top = self.before.max(begin);
        let k = ((top - begin) / CUBIC).cbrt();
        let wanted = CUBIC * (since + rtt.as_secs_f64() - k).powi(3) + top;
        self.reno += 3.0 * (1.0 - CUBIC_BETA) / (1.0 + CUBIC_BETA) / self.size;
        let wanted = wanted.clamp(self.size, 1.5 * self.size);
        self.size = (self.size + (wanted - self.size) / self.size).max(self.reno);
    }

    /// RFC 8257 §3.3: once in a round trip the window shrinks by half of the learned share.
    fn mark(&mut self, now: Instant, rtt: Duration, marked: bool) {
        self.acked += 1.0;
        self.marked += f64::from(u8::from(marked));
        if marked && self.size < self.threshold {
            self.threshold = self.size;
        }
        if now >= self.round {
            self.round = now + rtt.max(Duration::from_millis(25));
            let share = self.marked / self.acked;
            self.alpha += GAIN * (share - self.alpha);
            if self.marked > 0.0 {
                self.size = (self.size * (1.0 - self.alpha / 2.0)).max(LEAST);
                self.threshold = self.size;
            }
            (self.marked, self.acked) = (0.0, 0.0);
        }
    }

    /// Packets were lost that were sent after the last reduction.
    pub(super) fn on_lost(&mut self, now: Instant) {
        self.reduced = Some(now);
        let left = if self.rules == TcpControl::Cubic {
            CUBIC_BETA
        } else {
            0.5
        };
        // RFC 9438 §4.7: who loses below the last top makes room for others.
        self.before = if self.size < self.before {
            self.size * (1.0 + CUBIC_BETA) / 2.0
        } else {
            self.size
        };
        self.size = (self.size * left).max(LEAST);
        self.threshold = self.size;
        self.reno = self.size;
    }

    /// Nothing was heard for too long (RFC 5681 §3.1).
    pub(super) fn on_timeout(&mut self, now: Instant) {
        self.on_lost(now);
        self.size = LEAST;
    }
}
