//! Whether the peer still agrees to be sent to on one pair (RFC 7675).

use std::time::{Duration, Instant};

use antiphon_sansio::Rng;

use crate::config::Config;

/// How soon an unanswered consent check is followed by the next, while the pair counts as connected.
const RETRY: Duration = Duration::from_millis(500);

/// And after that.
const RETRY_DISCONNECTED: Duration = Duration::from_secs(1);

/// How soon while the peer checks another pair; after three of them others are tried.
const RETRY_DOUBTED: Duration = Duration::from_millis(150);

/// How long the pair in use may leave checks unanswered, besides two round trips, before others are tried.
const WEAK_AFTER: Duration = Duration::from_millis(1200);

/// How long ago a check may have been answered on the pair in use for it not to be asked again when the peer checks
/// another.
const RECENT: Duration = Duration::from_millis(200);

#[derive(Clone, Debug)]
pub(super) struct Consent {
    /// The latest valid answer; consent lasts from here.
    last_response: Instant,
    /// When the latest unanswered request was sent.
    unanswered_since: Option<Instant>,
    /// When to ask next.
    next: Instant,
    /// The peer checks another pair while this one is in use: perhaps it cannot be reached here any more.
    doubted: bool,
}

impl Consent {
    /// It was given now; it is asked for at once.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            last_response: now,
            unanswered_since: None,
            next: now,
            doubted: false,
        }
    }

    /// When to ask after an answer: 0.8 to 1.2 of the interval later (RFC 7675 §5.1), so that agents do not fall into
    /// step. An owner that serves many agents together comes up to a thirtieth late, and is within it still.
    pub(super) fn draw_next(config: &Config, rng: &mut Rng, now: Instant) -> Instant {
        now + config.timing.consent_interval.mul_f64(0.8 + 0.36 * rng.unit())
    }

    pub(super) fn last_response(&self) -> Instant {
        self.last_response
    }

    pub(super) fn is_due(&self, now: Instant) -> bool {
        self.next <= now
    }

    /// When it ends unless an answer comes.
    fn expiry(&self, config: &Config) -> Instant {
        self.last_response + config.timing.consent_timeout
    }

    pub(super) fn is_expired(&self, config: &Config, now: Instant) -> bool {
        self.expiry(config) <= now
    }

    /// When it needs attention.
    pub(super) fn poll_timeout(&self, config: &Config) -> Instant {
        let expiry = self.expiry(config);
        if config.lite { expiry } else { expiry.min(self.next) }
    }

    /// When the pair counts as disconnected.
    pub(super) fn silence_deadline(&self, config: &Config) -> Option<Instant> {
        if config.lite {
            return Some(self.last_response + config.timing.consent_timeout / 2);
        }
        self.unanswered_since
            .map(|since| since + config.timing.disconnected_timeout)
    }

    /// When the pair is silent for long enough to look for another one, without saying so yet: three checks that were
    /// not answered in time.
    pub(super) fn weakness_deadline(&self, rtt: Duration) -> Option<Instant> {
        let after = if self.doubted { 3 * RETRY_DOUBTED } else { WEAK_AFTER };
        Some(self.unanswered_since? + after + 2 * rtt)
    }

    /// It is asked for. `disconnected`: the state says already that nothing is answered.
    pub(super) fn asked(&mut self, now: Instant, rtt: Duration, disconnected: bool) {
        self.unanswered_since.get_or_insert(now);
        let retry = match disconnected {
            true => RETRY_DISCONNECTED,
            false if self.doubted => RETRY_DOUBTED + rtt,
            false => RETRY,
        };
        self.next = now + retry;
    }

    pub(super) fn answered(&mut self, now: Instant, next: Instant) {
        *self = Self { next, ..Self::new(now) };
    }

    /// The controlled peer checks another pair: perhaps it cannot reach us here any more. To be asked at once.
    pub(super) fn doubt(&mut self, now: Instant) {
        if self.unanswered_since.is_none() {
            self.doubted = true;
            self.next = self.next.min(now.max(self.last_response + RECENT));
        }
    }

    pub(super) fn forget_doubt(&mut self) {
        self.doubted = false;
    }
}
