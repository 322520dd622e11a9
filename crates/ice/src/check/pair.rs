//! One candidate pair: how its checks go (RFC 8445 §6.1.2.6), who nominated it, and what was measured on it.

use std::time::{Duration, Instant};

use antiphon_sansio::{Path, Rng};
use antiphon_stun::TransactionId;

use super::consent::Consent;
use super::ids::{LocalId, PairId, RemoteId};
use crate::config::{Config, Role};
use crate::message::Outgoing;
use crate::stats::{PairState, PairStats, Traffic};

/// Answers awaited for one pair; an older check is forgotten when a newer one needs the place. Enough for fresh checks
/// every Ta on a path with a round trip of 400 ms; later ones are so far apart that an answer over a satellite finds
/// its check.
const MAX_UNANSWERED: usize = 8;

/// The longest time between two fresh checks of an unanswered pair.
const MAX_RECHECK_INTERVAL: Duration = Duration::from_millis(1600);

/// How many fresh checks of a pair follow each other at the first interval, before it doubles: what is lost at the
/// start of a session costs the user time, and a pair that answers none of these is probably dead.
const EAGER_RECHECKS: u32 = 4;

/// A nomination that is not answered for this long is given up, and another pair is nominated.
const NOMINATION_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a try of a pair that would be better than the one in use lasts: a look, and no siege.
const IMPROVE_TIMEOUT: Duration = Duration::from_secs(2);

/// One check on its way.
#[derive(Clone, Copy, Debug)]
pub(super) struct Check {
    pub(super) id: TransactionId,
    pub(super) sent: Instant,
    pub(super) use_candidate: bool,
    pub(super) role: Role,
}

/// As whom a check is sent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asker {
    /// Whose credentials it carries.
    pub(super) generation: u32,
    pub(super) role: Role,
    pub(super) tie_breaker: u64,
}

/// The checks on their way for one pair, oldest first.
#[derive(Clone, Debug, Default)]
pub(super) struct Unanswered {
    checks: Vec<Check>,
}

impl Unanswered {
    pub(super) fn push(&mut self, check: Check) {
        if self.checks.len() == MAX_UNANSWERED {
            self.checks.remove(0);
        }
        // Mostly there is one, and four would be asked for.
        self.checks.reserve_exact(1);
        self.checks.push(check);
    }

    pub(super) fn take(&mut self, id: TransactionId) -> Option<Check> {
        let index = self.checks.iter().position(|check| check.id == id)?;
        Some(self.checks.remove(index))
    }

    pub(super) fn clear(&mut self) {
        self.checks = Vec::new();
    }
}

/// A round of checks, which ends in success or after `check_timeout`.
#[derive(Clone, Debug, Default)]
pub(super) struct Round {
    /// When it began.
    pub(super) since: Option<Instant>,
    /// When an unanswered check may be followed by a fresh one.
    pub(super) recheck_at: Option<Instant>,
    interval: Duration,
    /// Fresh checks of this round that were not answered.
    rechecks: u32,
    /// A try of a pair that would be better than the one in use, which ends soon.
    brief: bool,
}

/// The peer's nomination of a pair, as the controlled end sees it.
#[derive(Clone, Debug)]
pub(super) struct PeerNomination {
    /// When it came for the first time.
    pub(super) at: Instant,
    /// What NOMINATION said; 0 without it.
    pub(super) number: u32,
    /// It was chosen, and not nominated with every check.
    pub(super) deliberate: bool,
}

/// Round trips of checks.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct RoundTrips {
    pub(super) smoothed: Option<Duration>,
    pub(super) last: Option<Duration>,
    pub(super) total: Duration,
}

/// How many checks went and came.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) requests_received: u64,
    pub(super) requests_sent: u64,
    pub(super) responses_received: u64,
    pub(super) responses_sent: u64,
    pub(super) consent_requests_sent: u64,
}

/// A local and a remote candidate, which is the same as a path: pairs whose local candidates share a base would send
/// the same datagrams, so only one of them is kept (RFC 8445 §6.1.2.4).
#[derive(Clone, Debug)]
pub(super) struct Pair {
    pub(super) id: PairId,
    pub(super) path: Path,
    pub(super) local: LocalId,
    pub(super) remote: RemoteId,
    pub(super) priority: u64,
    pub(super) state: PairState,
    /// A Binding message with a valid MESSAGE-INTEGRITY came in on this path.
    pub(super) authenticated: bool,
    /// Controlling: the next check carries USE-CANDIDATE, until one is answered.
    pub(super) nominating: bool,
    /// Controlling: which of our nominations this is.
    pub(super) nomination: u32,
    /// Controlled: the peer's last nomination of it.
    pub(super) peer_nominated: Option<PeerNomination>,
    /// Controlled: a check without USE-CANDIDATE came since.
    plain_check: bool,
    pub(super) nominated: bool,
    /// How often it was tried because it would be better than the pair in use.
    pub(super) improvements: u32,
    /// It is not checked unless the pair in use falls silent.
    pub(super) parked: bool,
    /// A TCP connection is being opened for it.
    pub(super) connecting: bool,
    pub(super) unanswered: Unanswered,
    pub(super) round: Round,
    pub(super) consent: Option<Consent>,
    pub(super) rtt: RoundTrips,
    pub(super) counts: Counts,
}

impl Pair {
    pub(super) fn new(
        id: PairId,
        path: Path,
        (local, remote): (LocalId, RemoteId),
        priority: u64,
        state: PairState,
    ) -> Self {
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
            nominated: false,
            improvements: 0,
            parked: false,
            connecting: false,
            unanswered: Unanswered::default(),
            round: Round::default(),
            consent: None,
            rtt: RoundTrips::default(),
            counts: Counts::default(),
        }
    }

    pub(super) fn is_valid(&self) -> bool {
        self.state == PairState::Succeeded
    }

    /// Whether a check of it may still succeed.
    pub(super) fn is_pending(&self) -> bool {
        matches!(
            self.state,
            PairState::Frozen | PairState::Waiting | PairState::InProgress
        )
    }

    /// Whether unanswered checks are followed by fresh ones.
    pub(super) fn wants_recheck(&self) -> bool {
        self.state == PairState::InProgress || (self.nominating && !self.nominated)
    }

    pub(super) fn fail(&mut self) {
        self.state = PairState::Failed;
        self.nominating = false;
        self.unanswered.clear();
        self.round.brief = false;
        self.end_round();
    }

    /// It is to be checked anew, whatever is known of it.
    pub(super) fn retry(&mut self) {
        self.fail();
        self.state = PairState::Waiting;
        self.parked = false;
    }

    /// It is to be checked anew for a short time, because it would be better than the pair in use.
    pub(super) fn try_to_improve(&mut self) {
        self.fail();
        self.state = PairState::Waiting;
        self.round.brief = true;
        self.improvements += 1;
    }

    /// It waits until the pair in use falls silent.
    pub(super) fn park(&mut self) {
        self.state = PairState::Frozen;
        self.parked = true;
        self.end_round();
    }

    pub(super) fn end_round(&mut self) {
        self.round.since = None;
        self.round.recheck_at = None;
    }

    /// It has to prove itself, with a round of checks of its own unless one goes on.
    pub(super) fn begin_round(&mut self, now: Instant) {
        if self.state != PairState::InProgress {
            self.state = PairState::InProgress;
            self.round.since = Some(now);
            self.round.rechecks = 0;
        }
    }

    /// A check of it must wait until then.
    pub(super) fn postpone(&mut self, now: Instant, until: Instant) {
        self.begin_round(now);
        self.round.recheck_at = Some(until);
    }

    /// A check of it goes out. `repeats`: what is lost is not repeated by the transport.
    pub(super) fn check_sent(&mut self, config: &Config, now: Instant, repeats: bool) {
        if !self.is_valid() {
            self.begin_round(now);
        }
        self.round.interval = match self.round.rechecks {
            0..EAGER_RECHECKS => config.timing.recheck_interval,
            _ => (self.round.interval * 2).min(MAX_RECHECK_INTERVAL),
        };
        self.round.rechecks += 1;
        self.round.recheck_at = repeats.then(|| now + self.round.interval);
        self.counts.requests_sent += 1;
    }

    /// Controlling: it is nominated, for the time of this number.
    pub(super) fn start_nomination(&mut self, now: Instant, number: u32) {
        self.nominating = true;
        self.nominated = false;
        self.nomination = number;
        self.round.rechecks = 0;
        self.round.since = Some(now);
    }

    /// Until when an answer is awaited.
    pub(super) fn deadline(&self, config: &Config) -> Option<Instant> {
        let since = self.round.since?;
        if self.state == PairState::InProgress {
            let timeout = if self.round.brief {
                IMPROVE_TIMEOUT
            } else {
                config.timing.check_timeout
            };
            return Some(since + timeout);
        }
        (self.is_valid() && self.nominating).then_some(since + NOMINATION_TIMEOUT)
    }

    /// Controlled: what the peer's check says about nomination. Repetitions of a nomination are no new ones.
    pub(super) fn note_nomination(&mut self, now: Instant, use_candidate: bool, number: Option<u32>) {
        if !use_candidate && number.is_none() {
            self.plain_check = true;
            return;
        }
        let number = number.unwrap_or(0);
        // Who checked first and nominates now has chosen; who nominates with every check (RFC 5245 §8.1.1.2) has not.
        let deliberate = self.plain_check || number > 0;
        let repeated = |known: &PeerNomination| !self.plain_check && number <= known.number;
        if !self.peer_nominated.as_ref().is_some_and(repeated) {
            self.peer_nominated = Some(PeerNomination {
                at: now,
                number: number.max(self.peer_nominated.as_ref().map_or(0, |known| known.number)),
                deliberate,
            });
        }
        self.plain_check = false;
    }

    /// A check of it, whose answer is awaited from now on, with a transaction id of its own: it costs nothing more than a
    /// retransmission (RFC 8445 §14.3 leaves it to the agent), and its answer tells the round trip. `priority` is that of a
    /// peer-reflexive candidate that the peer may learn from it (RFC 8445 §7.1.1).
    pub(super) fn new_check(
        &mut self,
        rng: &mut Rng,
        now: Instant,
        asker: Asker,
        priority: u32,
        use_candidate: bool,
        nomination: Option<u32>,
    ) -> Outgoing {
        let Asker {
            generation,
            role,
            tie_breaker,
        } = asker;
        let id = TransactionId::random(rng);
        self.unanswered.push(Check {
            id,
            sent: now,
            use_candidate,
            role,
        });
        Outgoing::Check {
            path: self.path,
            id,
            generation,
            priority,
            role,
            tie_breaker,
            use_candidate,
            nomination,
        }
    }

    /// Consent is asked for with a check of its own.
    pub(super) fn asked_for_consent(&mut self, now: Instant, disconnected: bool) {
        self.counts.consent_requests_sent += 1;
        let rtt = self.rtt.smoothed.unwrap_or_default();
        if let Some(consent) = &mut self.consent {
            consent.asked(now, rtt, disconnected);
        }
    }

    /// A valid answer came: that is consent, too (RFC 7675 §5.1), to be asked for again at `next`.
    pub(super) fn answered(&mut self, now: Instant, check: &Check, next: Instant) {
        self.authenticated = true;
        self.counts.responses_received += 1;
        let sample = now.saturating_duration_since(check.sent);
        self.rtt.total += sample;
        self.rtt.last = Some(sample);
        let smoothed = self.rtt.smoothed;
        self.rtt.smoothed = Some(smoothed.map_or(sample, |rtt| (rtt * 7 + sample) / 8));
        // While a nomination is on its way, only an answer to it ends its repetition.
        if check.use_candidate || !self.nominating {
            self.round.recheck_at = None;
        }
        self.consent
            .get_or_insert_with(|| Consent::new(now))
            .answered(now, next);
    }

    /// When the pair is silent for long enough to look for another one.
    pub(super) fn weakness_deadline(&self) -> Option<Instant> {
        let rtt = self.rtt.smoothed.unwrap_or_default();
        self.consent.as_ref()?.weakness_deadline(rtt)
    }

    pub(super) fn stats(&self, selected: bool, traffic: Traffic) -> PairStats {
        PairStats {
            id: self.id.0,
            path: self.path,
            local: self.local.0,
            remote: self.remote.0,
            state: self.state,
            nominated: self.nominated,
            selected,
            priority: self.priority,
            requests_received: self.counts.requests_received,
            requests_sent: self.counts.requests_sent,
            responses_received: self.counts.responses_received,
            responses_sent: self.counts.responses_sent,
            consent_requests_sent: self.counts.consent_requests_sent,
            traffic,
            current_round_trip_time: self.rtt.last,
            total_round_trip_time: self.rtt.total,
        }
    }
}

/// RFC 8445 §6.1.2.3: `2^32 * min(G, D) + 2 * max(G, D) + (G > D)`, G the controlling agent's candidate priority.
pub(super) fn pair_priority(role: Role, local: u32, remote: u32) -> u64 {
    let (g, d) = match role {
        Role::Controlling => (local, remote),
        Role::Controlled => (remote, local),
    };
    // A peer may say more than the 2^31 - 1 that RFC 8445 §5.1.2 allows.
    (u64::from(g.min(d)) << 32).saturating_add(2 * u64::from(g.max(d)) + u64::from(g > d))
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
    fn nominations_and_their_repetitions() {
        let start = antiphon_netsim::start();
        let at = |seconds| start + Duration::from_secs(seconds);
        let path = Path {
            local: antiphon_sansio::Local::Socket(0),
            remote: "192.0.2.1:1".parse().unwrap(),
        };
        let fresh = || Pair::new(PairId(1), path, (LocalId(0), RemoteId(0)), 1, PairState::Waiting);
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
    fn the_oldest_check_is_forgotten() {
        let now = antiphon_netsim::start();
        let mut unanswered = Unanswered::default();
        for n in 0..=MAX_UNANSWERED as u8 {
            unanswered.push(Check {
                id: TransactionId([n; 12]),
                sent: now,
                use_candidate: false,
                role: Role::Controlling,
            });
        }
        assert!(unanswered.take(TransactionId([0; 12])).is_none());
        assert!(unanswered.take(TransactionId([1; 12])).is_some());
        assert!(unanswered.take(TransactionId([1; 12])).is_none());
    }
}
