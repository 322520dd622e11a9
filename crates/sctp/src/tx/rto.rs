//! The retransmission timeout (RFC 9260 §6.3.1).

use std::time::Duration;

/// The retransmission timeout (RFC 9260 §6.3.1).
#[derive(Debug)]
pub(crate) struct Rto {
    srtt: Option<Duration>,
    rttvar: Duration,
    /// Without backoff.
    base: Duration,
    backoff: u32,
    min: Duration,
    max: Duration,
    max_backoff: Duration,
    min_rtt: Option<Duration>,
    latest: Option<Duration>,
}

impl Rto {
    pub(crate) fn new(initial: Duration, min: Duration, max: Duration, max_backoff: Duration) -> Self {
        Self {
            srtt: None,
            rttvar: Duration::ZERO,
            base: initial.clamp(min, max),
            backoff: 0,
            min,
            max,
            max_backoff,
            min_rtt: None,
            latest: None,
        }
    }

    pub(crate) fn srtt(&self) -> Option<Duration> {
        self.srtt
    }

    pub(crate) fn min_rtt(&self) -> Option<Duration> {
        self.min_rtt
    }

    pub(crate) fn latest(&self) -> Option<Duration> {
        self.latest
    }

    pub(crate) fn current(&self) -> Duration {
        self.backed_off(self.backoff)
    }

    /// The timeout after this many unanswered tries.
    pub(crate) fn backed_off(&self, tries: u32) -> Duration {
        let cap = self.max_backoff.max(self.base);
        self.base.saturating_mul(1 << tries.min(16)).min(cap)
    }

    pub(crate) fn measured(&mut self, rtt: Duration) {
        self.latest = Some(rtt);
        match self.srtt {
            None => {
                self.srtt = Some(rtt);
                self.rttvar = rtt / 2;
            }
            Some(srtt) => {
                self.rttvar = (self.rttvar * 3 + srtt.abs_diff(rtt)) / 4;
                self.srtt = Some((srtt * 7 + rtt) / 8);
            }
        }
        let srtt = self.srtt.unwrap_or(rtt);
        // With a steady round trip the variance goes to nothing, and a repair takes a round trip more: without a floor
        // under what is added to SRTT the timer would always win against it.
        self.base = (srtt + (self.rttvar * 4).max(self.min)).min(self.max);
        self.min_rtt = Some(self.min_rtt.map_or(rtt, |min| min.min(rtt)));
        self.backoff = 0;
    }

    /// What another layer knows of the path; our own measurements win.
    pub(crate) fn hint(&mut self, rtt: Duration) {
        if self.srtt.is_none() {
            self.base = (rtt * 3).clamp(self.min, self.max);
        }
    }

    /// E2 of RFC 9260 §6.3.3.
    pub(crate) fn back_off(&mut self) {
        self.backoff = (self.backoff + 1).min(16);
    }

    pub(crate) fn progress(&mut self) {
        self.backoff = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn follows_the_rfc() {
        let ms = Duration::from_millis;
        let mut rto = Rto::new(ms(500), ms(200), ms(60_000), ms(3000));
        assert_eq!(rto.current(), ms(500));
        rto.measured(ms(100));
        assert_eq!(rto.current(), ms(300), "SRTT + 4 * RTT/2");
        rto.back_off();
        assert_eq!(rto.current(), ms(600));
        rto.measured(ms(100));
        assert_eq!(rto.current(), ms(300), "RTTVAR shrinks, the floor holds");
        for _ in 0..30 {
            rto.back_off();
        }
        assert_eq!(rto.current(), ms(3000));
        for _ in 0..50 {
            rto.measured(ms(1));
        }
        assert!((ms(201)..ms(202)).contains(&rto.current()), "SRTT and the floor");
        let mut hinted = Rto::new(ms(500), ms(200), ms(60_000), ms(3000));
        hinted.hint(ms(20));
        assert_eq!(hinted.current(), ms(200));
    }
}
