//! The controller of a session, which exists from the first packet on: most sessions of a server send none, or nothing but data.

use std::time::{Duration, Instant};

use antiphon_sansio::Ecn;

use super::Congestion;
use super::control::{CongestionControl, Demand, Figures, PacketResult, Probe, Sent};

/// A controller that is made when it is told something first. Until then it knows nothing, limits nothing and wants nothing.
#[derive(Debug)]
pub(crate) struct Steering {
    choice: Congestion,
    /// The first, the least and the largest rate, bits a second.
    rates: [u64; 3],
    own: Option<Box<dyn CongestionControl>>,
}

impl Steering {
    pub(crate) fn new(choice: Congestion, start: u64, min: u64, max: u64) -> Self {
        Self {
            choice,
            rates: [start, min, max],
            own: None,
        }
    }

    fn own(&mut self) -> &mut dyn CongestionControl {
        let [start, min, max] = self.rates;
        &mut **self.own.get_or_insert_with(|| self.choice.controller(start, min, max))
    }

    #[inline]
    pub(crate) fn on_sent(&mut self, packet: &Sent) {
        self.own().on_sent(packet);
    }

    pub(crate) fn on_feedback(&mut self, now: Instant, rtt: Duration, results: &[PacketResult]) {
        self.own().on_feedback(now, rtt, results);
    }

    pub(crate) fn on_loss(&mut self, now: Instant, fraction: f64) {
        self.own().on_loss(now, fraction);
    }

    pub(crate) fn on_remb(&mut self, now: Instant, rate: u64) {
        self.own().on_remb(now, rate);
    }

    pub(crate) fn on_demand(&mut self, now: Instant, demand: Demand) {
        if let Some(own) = &mut self.own {
            own.on_demand(now, demand);
        }
    }

    pub(crate) fn on_route_change(&mut self, now: Instant) {
        if let Some(own) = &mut self.own {
            own.on_route_change(now);
        }
    }

    pub(crate) fn on_timeout(&mut self, now: Instant) {
        self.own().on_timeout(now);
    }

    pub(crate) fn next_timeout(&self) -> Option<Instant> {
        self.own.as_ref()?.next_timeout()
    }

    pub(crate) fn target_rate(&self, now: Instant) -> Option<u64> {
        self.own.as_ref()?.target_rate(now)
    }

    pub(crate) fn pacing_rate(&self, now: Instant) -> Option<u64> {
        self.own.as_ref()?.pacing_rate(now)
    }

    pub(crate) fn congestion_window(&self) -> Option<u64> {
        self.own.as_ref()?.congestion_window()
    }

    pub(crate) fn padding_rate(&self, now: Instant) -> u64 {
        self.own.as_ref().map_or(0, |own| own.padding_rate(now))
    }

    pub(crate) fn next_probe(&mut self, now: Instant) -> Option<Probe> {
        self.own.as_mut()?.next_probe(now)
    }

    /// The mark that it wants on what is sent.
    #[inline]
    pub(crate) fn mark(&mut self) -> Ecn {
        self.own().mark()
    }

    /// The name of the one that steers, or will once there is something to steer.
    pub(crate) fn name(&self) -> &'static str {
        self.own.as_ref().map_or(self.choice.name(), |own| own.name())
    }

    pub(crate) fn figures(&self) -> Figures {
        self.own.as_ref().map_or_else(Figures::default, |own| own.figures())
    }
}

/// One that exists already.
impl From<Box<dyn CongestionControl>> for Steering {
    fn from(own: Box<dyn CongestionControl>) -> Self {
        Self {
            choice: Congestion::default(),
            rates: [0; 3],
            own: Some(own),
        }
    }
}
