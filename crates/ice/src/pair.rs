//! Candidate pairs and the check list (RFC 8445 §6.1.2).

use std::time::{Duration, Instant};

use antiphon_sansio::Path;
use antiphon_stun::TransactionId;

use crate::config::Role;
use crate::stats::{PairState, Traffic};

/// The most pairs in the check list (RFC 8445 §6.1.2.5).
pub const MAX_PAIRS: usize = 100;

/// Answers awaited for one pair; an older check is forgotten when a newer one needs the place. Enough for fresh checks every
/// Ta on a path with a round trip of 400 ms; later ones are so far apart that an answer over a satellite finds its check.
pub(crate) const MAX_OUTSTANDING: usize = 8;

/// One check on its way.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Check {
    pub(crate) id: TransactionId,
    pub(crate) sent: Instant,
    pub(crate) use_candidate: bool,
    pub(crate) role: Role,
}

/// The checks on their way for one pair, oldest first.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outstanding {
    checks: [Option<Check>; MAX_OUTSTANDING],
}

impl Outstanding {
    pub(crate) fn push(&mut self, check: Check) {
        self.checks.rotate_left(1);
        self.checks[MAX_OUTSTANDING - 1] = Some(check);
    }

    pub(crate) fn take(&mut self, id: TransactionId) -> Option<Check> {
        self.checks
            .iter_mut()
            .find(|slot| slot.is_some_and(|check| check.id == id))
            .and_then(Option::take)
    }

    pub(crate) fn clear(&mut self) {
        self.checks = [None; MAX_OUTSTANDING];
    }
}

/// Whether the peer still agrees to be sent to (RFC 7675).
#[derive(Clone, Debug)]
pub(crate) struct Consent {
    /// The latest valid answer; consent lasts from here.
    pub(crate) last_response: Instant,
    /// When the latest unanswered request was sent.
    pub(crate) unanswered_since: Option<Instant>,
    /// When to ask next.
    pub(crate) next: Instant,
    /// The peer checks another pair while this one is in use: perhaps it cannot be reached here any more.
    pub(crate) doubted: bool,
}

/// The peer's nomination of a pair, as the controlled end sees it.
#[derive(Clone, Debug)]
pub(crate) struct PeerNomination {
    /// When it came for the first time.
    pub(crate) at: Instant,
    /// What NOMINATION said; 0 without it.
    pub(crate) number: u32,
    /// It was chosen, and not nominated with every check.
    pub(crate) deliberate: bool,
}

/// A local and a remote candidate, which is the same as a path: pairs whose local candidates share a base would send the
/// same datagrams, so only one of them is kept (RFC 8445 §6.1.2.4).
#[derive(Clone, Debug)]
pub(crate) struct Pair {
    pub(crate) id: u64,
    pub(crate) path: Path,
    /// Indices into the agent's candidates.
    pub(crate) local: usize,
    pub(crate) remote: usize,
    pub(crate) priority: u64,
    pub(crate) state: PairState,
    /// A Binding message with a valid MESSAGE-INTEGRITY came in on this path.
    pub(crate) authenticated: bool,
    /// Controlling: the next check carries USE-CANDIDATE, until one is answered.
    pub(crate) nominating: bool,
    /// Controlling: which of our nominations this is.
    pub(crate) nomination: u32,
    /// Controlled: the peer's last nomination of it.
    pub(crate) peer_nominated: Option<PeerNomination>,
    /// Controlled: a check without USE-CANDIDATE came since.
    pub(crate) plain_check: bool,
    /// How often it was tried because it would be better than the pair in use.
    pub(crate) improvements: u32,
    /// Such a try, which ends soon.
    pub(crate) brief: bool,
    /// It is not checked unless the pair in use falls silent.
    pub(crate) parked: bool,
    pub(crate) nominated: bool,
    pub(crate) outstanding: Outstanding,
    /// When the checks of this round began; a round ends in success or after `check_timeout`.
    pub(crate) checking_since: Option<Instant>,
    /// When an unanswered check may be followed by a fresh one.
    pub(crate) recheck_at: Option<Instant>,
    pub(crate) recheck_interval: Duration,
    /// Fresh checks of this round that were not answered.
    pub(crate) rechecks: u32,
    pub(crate) consent: Option<Consent>,
    pub(crate) rtt: Option<Duration>,
    pub(crate) last_rtt: Option<Duration>,
    pub(crate) total_rtt: Duration,
    pub(crate) traffic: Traffic,
    pub(crate) requests_received: u64,
    pub(crate) requests_sent: u64,
    pub(crate) responses_received: u64,
    pub(crate) responses_sent: u64,
    pub(crate) consent_requests_sent: u64,
}

impl Pair {
    pub(crate) fn new(id: u64, path: Path, local: usize, remote: usize, priority: u64, state: PairState) -> Self {
        Self {
            id,
            path,
            local,
            remote,
            priority,
            state,
            authenticated: false,
            nominating: false,
            nomination: 0,
            peer_nominated: None,
            plain_check: false,
            improvements: 0,
            brief: false,
            parked: false,
            nominated: false,
            outstanding: Outstanding::default(),
            checking_since: None,
            recheck_at: None,
            recheck_interval: Duration::ZERO,
            rechecks: 0,
            consent: None,
            rtt: None,
            last_rtt: None,
            total_rtt: Duration::ZERO,
            traffic: Traffic::default(),
            requests_received: 0,
            requests_sent: 0,
            responses_received: 0,
            responses_sent: 0,
            consent_requests_sent: 0,
        }
    }

    pub(crate) fn is_valid(&self) -> bool {
        self.state == PairState::Succeeded
    }

    /// Whether a check of it may still succeed.
    pub(crate) fn is_pending(&self) -> bool {
        matches!(
            self.state,
            PairState::Frozen | PairState::Waiting | PairState::InProgress
        )
    }

    /// Whether unanswered checks are followed by fresh ones.
    pub(crate) fn wants_recheck(&self) -> bool {
        self.state == PairState::InProgress || (self.nominating && !self.nominated)
    }

    pub(crate) fn fail(&mut self) {
        self.state = PairState::Failed;
        self.nominating = false;
        self.brief = false;
        self.outstanding.clear();
        self.checking_since = None;
        self.recheck_at = None;
    }
}

/// RFC 8445 §6.1.2.3: `2^32 * min(G, D) + 2 * max(G, D) + (G > D)`, G the controlling agent's candidate priority.
pub(crate) fn pair_priority(role: Role, local: u32, remote: u32) -> u64 {
    let (g, d) = match role {
        Role::Controlling => (local, remote),
        Role::Controlled => (remote, local),
    };
    // A peer may say more than the 2^31 - 1 that RFC 8445 §5.1.2 allows.
    (u64::from(g.min(d)) << 32).saturating_add(2 * u64::from(g.max(d)) + u64::from(g > d))
}

/// The slots of RFC 8445 §14.2: on average one new transaction per Ta, with a few in reserve after a pause, so that the
/// first checks of a session do not wait for each other.
#[derive(Clone, Debug)]
pub(crate) struct Pacer {
    interval: Duration,
    reserve: Duration,
    /// The time at which the reserve will be full again.
    full_at: Option<Instant>,
}

impl Pacer {
    pub(crate) fn new(interval: Duration, burst: u32) -> Self {
        // RFC 8445 §14.2: Ta is 5 ms at least.
        let interval = interval.max(Duration::from_millis(5));
        Self {
            interval,
            reserve: interval * burst.saturating_sub(1),
            full_at: None,
        }
    }

    /// When the next transaction may start, if not at once.
    pub(crate) fn earliest(&self) -> Option<Instant> {
        self.full_at.and_then(|at| at.checked_sub(self.reserve))
    }

    pub(crate) fn is_ready(&self, now: Instant) -> bool {
        self.full_at.is_none_or(|at| at <= now + self.reserve)
    }

    pub(crate) fn take(&mut self, now: Instant) {
        let from = self.full_at.map_or(now, |at| at.max(now));
        self.full_at = Some(from + self.interval);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_agents_compute_the_same_priority() {
        let (a, b) = (2_130_706_431, 1_694_498_815);
        assert_eq!(
            pair_priority(Role::Controlling, a, b),
            pair_priority(Role::Controlled, b, a)
        );
        assert_ne!(
            pair_priority(Role::Controlling, a, b),
            pair_priority(Role::Controlling, b, a)
        );
        assert_eq!(pair_priority(Role::Controlling, 2, 1), (1 << 32) + 4 + 1);
        // The largest priorities do not overflow.
        assert!(pair_priority(Role::Controlled, u32::MAX, u32::MAX) > u64::MAX - (1 << 32));
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn pacing_holds_on_average() {
        let start = Instant::now();
        let ta = Duration::from_millis(50);
        let mut pacer = Pacer::new(ta, 3);
        let mut sent = 0;
        let mut now = start;
        while now <= start + Duration::from_secs(1) {
            while pacer.is_ready(now) {
                pacer.take(now);
                sent += 1;
            }
            assert!(pacer.earliest().unwrap() > now);
            now += Duration::from_millis(1);
        }
        assert_eq!(sent, 3 + 20);
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn nominations_and_their_repetitions() {
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let path = Path {
            local: antiphon_sansio::Local::Socket(0),
            remote: "192.0.2.1:1".parse().unwrap(),
        };
        let fresh = || Pair::new(1, path, 0, 0, 1, PairState::Waiting);
        let seen = |pair: &Pair| {
            let nomination = pair.peer_nominated.as_ref().unwrap();
            (nomination.at, nomination.number, nomination.deliberate)
        };
        // An aggressive peer: USE-CANDIDATE in every check.
        let mut pair = fresh();
        pair.note_nomination(at(1), true, None);
        pair.note_nomination(at(2), true, None);
        assert_eq!(seen(&pair), (at(1), 0, false));
        // A regular one: first it checks, then it chooses, and chooses once more after it had left.
        let mut pair = fresh();
        pair.note_nomination(at(1), false, None);
        assert!(pair.peer_nominated.is_none());
        pair.note_nomination(at(2), true, None);
        pair.note_nomination(at(3), true, None);
        assert_eq!(seen(&pair), (at(2), 0, true));
        pair.note_nomination(at(4), false, None);
        pair.note_nomination(at(5), true, None);
        assert_eq!(seen(&pair), (at(5), 0, true));
        // libwebrtc with renomination: NOMINATION without USE-CANDIDATE, until it is acknowledged.
        let mut pair = fresh();
        pair.note_nomination(at(1), false, Some(3));
        pair.note_nomination(at(2), false, Some(3));
        assert_eq!(seen(&pair), (at(1), 3, true));
        pair.note_nomination(at(3), false, Some(5));
        assert_eq!(seen(&pair), (at(3), 5, true));
        // An old one that was overtaken does not count back.
        pair.note_nomination(at(4), false, Some(4));
        assert_eq!(seen(&pair), (at(3), 5, true));
    }

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn the_oldest_check_is_forgotten() {
        let now = Instant::now();
        let mut outstanding = Outstanding::default();
        for n in 0..=MAX_OUTSTANDING as u8 {
            outstanding.push(Check {
                id: TransactionId([n; 12]),
                sent: now,
                use_candidate: false,
                role: Role::Controlling,
            });
        }
        assert!(outstanding.take(TransactionId([0; 12])).is_none());
        assert!(outstanding.take(TransactionId([1; 12])).is_some());
        assert!(outstanding.take(TransactionId([1; 12])).is_none());
    }
}
