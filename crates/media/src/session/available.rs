//! What may be sent: the estimate, and what of it is for the media of each sender. What is sent a second time leaves less room.

use std::time::{Duration, Instant};

use crate::allocation::{self, Claim};
use crate::congestion::Demand;
use crate::events::Events;
use crate::senders::Senders;

/// How often the rate is taken.
const PERIOD: Duration = Duration::from_millis(200);
/// How much of it is remembered, in seconds.
const MEMORY: f64 = 0.5;

/// What is wanted is told again when it differs from what was told by more than this part.
const NEWS: u64 = 20;

/// What may be sent.
#[derive(Debug)]
pub(super) struct Available {
    /// What all packets may take together, bits a second; `None` as long as nothing is known.
    pub(super) total: Option<u64>,
    /// What of it was given to media.
    pub(super) allocated: Option<u64>,
    /// What of it is left for media.
    pub(super) media: Option<u64>,
    pub(super) resending: Resending,
    /// When it was last looked at what each sender uses.
    looked: Instant,
    /// What all senders together can use, in bits a second, where the application knows that better than their bounds say.
    pub(super) desired: Option<u64>,
    /// What the controller was told of what is wanted.
    pub(super) demand: Demand,
    /// Used again and again.
    claims: Vec<Claim>,
}

impl Available {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            total: None,
            allocated: None,
            media: None,
            resending: Resending::new(now),
            looked: now,
            desired: None,
            demand: Demand::default(),
            claims: Vec::new(),
        }
    }

    /// Takes a new estimate, and shares it between the senders, who are told. What the controller is to be told of it, if that is new.
    pub(super) fn share(
        &mut self,
        now: Instant,
        total: Option<u64>,
        senders: &mut Senders,
        events: &mut Events,
    ) -> Option<Demand> {
        self.total = total;
        (self.allocated, self.media) = (None, None);
        let total = total? as f64;
        let resent = self.resending.rate(now);
        let repairs = 1.0 + senders.redundancy_overhead();
        // Media at the whole rate beside what is sent again would give a link that drops ever more to drop. Half is left to media:
        // that is what it is all for.
        let media = ((total - resent) / repairs).max(total / 2.0) as u64;
        self.media = Some(media);
        let elapsed = now.saturating_duration_since(self.looked);
        let elapsed = (elapsed >= PERIOD).then_some(elapsed);
        if elapsed.is_some() {
            self.looked = now;
        }
        self.claims.clear();
        for (_, sender, share) in senders.shares() {
            share.look(now, elapsed, sender);
            self.claims.extend(share.claim(now, sender));
        }
        allocation::share(media, &mut self.claims);
        let own = senders.shares().filter(|(.., share)| share.takes_part);
        for ((id, _, share), claim) in own.zip(&self.claims) {
            if let Some(bps) = share.settle(claim) {
                events.push_target(id, bps);
            }
        }
        for (_, sender, share) in senders.shares() {
            share.judge(now, sender);
        }
        let given = self.claims.iter().map(|claim| claim.share);
        let given = given.fold(0, u64::saturating_add).min(media);
        self.allocated = Some(given);
        self.news(given, resent, repairs)
    }

    /// What is wanted by all senders together, with what goes beside their media, if the controller does not know it.
    fn news(&mut self, given: u64, resent: f64, repairs: f64) -> Option<Demand> {
        let beside = |media: u64| (media as f64 * repairs + resent) as u64;
        let bounds = self.claims.iter().map(|claim| claim.max).fold(0, u64::saturating_add);
        let most = self.desired.unwrap_or(bounds);
        let demand = Demand {
            wanted: (most < u64::MAX).then(|| beside(most)),
            allocated: beside(given),
        };
        let differs = |old: u64, new: u64| old.abs_diff(new).saturating_mul(NEWS) > old;
        let wanted = match (self.demand.wanted, demand.wanted) {
            (Some(old), Some(new)) => differs(old, new),
            (old, new) => old.is_some() != new.is_some(),
        };
        if !wanted && !differs(self.demand.allocated, demand.allocated) {
            return None;
        }
        self.demand = demand;
        Some(demand)
    }
}

/// The rate of retransmissions, by the last half second or so.
#[derive(Debug)]
pub(super) struct Resending {
    /// Bytes that were sent again since then.
    bytes: u64,
    since: Instant,
    /// Bits a second.
    rate: f64,
}

impl Resending {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            bytes: 0,
            since: now,
            rate: 0.0,
        }
    }

    /// A packet was sent again.
    #[inline]
    pub(super) fn sent(&mut self, bytes: usize) {
        self.bytes += bytes as u64;
    }

    /// The rate in bits a second.
    pub(super) fn rate(&mut self, now: Instant) -> f64 {
        let elapsed = now.saturating_duration_since(self.since);
        if elapsed >= PERIOD {
            let seconds = elapsed.as_secs_f64();
            let rate = self.bytes as f64 * 8.0 / seconds;
            self.rate += (rate - self.rate) * seconds / (seconds + MEMORY);
            (self.bytes, self.since) = (0, now);
        }
        self.rate
    }
}

#[cfg(test)]
mod tests {
    use antiphon_netsim::start;

    use super::*;

    #[test]
    fn it_follows_within_a_second_or_two() {
        let mut now = start();
        let mut resending = Resending::new(now);
        for _ in 0..40 {
            now += Duration::from_millis(50);
            resending.sent(625);
            resending.rate(now);
        }
        let rate = resending.rate(now);
        assert!((90_000.0..=100_000.0).contains(&rate), "{rate}");
        let rate = resending.rate(now + Duration::from_secs(4));
        assert!(rate < 15_000.0, "{rate}");
    }
}
