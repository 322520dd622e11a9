//! Nomination (RFC 8445 §8): choosing the pair to use, following the peer's choice, and moving to another one later
//! (draft-thatcher-ice-renomination).

use std::time::{Duration, Instant};

use antiphon_sansio::Local;

use crate::agent::Agent;
use crate::candidate::{CandidateKind, Protocol};
use crate::config::Role;
use crate::event::{ConnectionState, Event, GatheringState};
use crate::pair::{Pair, PeerNomination};
use crate::stats::PairState;

/// Of two pairs that the peer nominated, the better one wins while both nominations are this recent (an aggressive peer
/// nominates all pairs at once); after it the newer one wins (a peer that has moved on).
const NOMINATION_FRESHNESS: Duration = Duration::from_secs(2);

/// How long after a choice a better pair that did not work then is tried again.
const IMPROVE_INTERVAL: Duration = Duration::from_secs(15);

/// How long one such try lasts: a look, and no siege.
pub(crate) const IMPROVE_TIMEOUT: Duration = Duration::from_secs(2);

impl Pair {
    /// Controlled: what the peer's check says about nomination. Repetitions of a nomination are no new ones.
    pub(crate) fn note_nomination(&mut self, now: Instant, use_candidate: bool, number: Option<u32>) {
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
}

impl Agent {
    /// Whether both ends know what a second nomination is.
    pub(crate) fn may_renominate(&self) -> bool {
        self.config.renomination && self.remote_renomination
    }

    /// Controlled: uses the pair if the peer nominated it and it is valid (RFC 8445 §7.3.1.5).
    pub(crate) fn follow_nomination(&mut self, now: Instant, index: usize) {
        let pair = &self.pairs[index];
        let Some(nominated) = &pair.peer_nominated else {
            return;
        };
        if self.role != Role::Controlled || !pair.is_valid() || self.selected == Some(pair.id) {
            return;
        }
        let silent = self.state == ConnectionState::Disconnected || self.weak;
        let current = self.selected.and_then(|id| self.pairs.iter().find(|p| p.id == id));
        let follow = current.is_none_or(|current| {
            let Some(earlier) = &current.peer_nominated else {
                return true;
            };
            let later = nominated.at.saturating_duration_since(earlier.at);
            match nominated.number.cmp(&earlier.number) {
                std::cmp::Ordering::Greater => true,
                std::cmp::Ordering::Less => silent,
                std::cmp::Ordering::Equal => {
                    silent
                        || pair.priority > current.priority
                        || later > NOMINATION_FRESHNESS
                        || (nominated.deliberate && nominated.at >= earlier.at)
                }
            }
        });
        if follow {
            self.select(now, index);
        }
    }

    /// Controlling: nominates when a pair is valid that cannot be bettered, or when waiting has been long enough
    /// (RFC 8445 §8.1.1).
    pub(crate) fn nominate(&mut self, now: Instant) {
        if self.nomination_deadline().is_none() {
            return;
        }
        let Some(index) = self.active() else { return };
        let pair = &self.pairs[index];
        let pending_better = self.pairs.iter().any(|p| p.is_pending() && p.priority > pair.priority);
        let all_known = self.end_of_remote && self.gathering_state() == GatheringState::Complete;
        let local = &self.locals[pair.local].candidate;
        let direct = local.kind == CandidateKind::Host
            && local.protocol == Protocol::Udp
            && self.remotes[pair.remote].candidate.kind != CandidateKind::Relayed;
        let unbeatable = !pending_better && (all_known || direct);
        let waited = self.nomination_deadline().is_some_and(|deadline| deadline <= now);
        // Who has lost its path, or may choose again, does not wait.
        let hurry = self.lost_since.is_some() || self.may_renominate();
        if unbeatable || waited || hurry {
            self.start_nomination(now, index);
        }
    }

    pub(crate) fn start_nomination(&mut self, now: Instant, index: usize) {
        for pair in &mut self.pairs {
            pair.nominating = false;
        }
        self.nominations = self.nominations.wrapping_add(1);
        let number = self.nominations;
        let pair = &mut self.pairs[index];
        pair.nominating = true;
        pair.nominated = false;
        pair.nomination = number;
        pair.rechecks = 0;
        pair.checking_since = Some(now);
        let id = pair.id;
        self.trigger_first(id);
    }

    /// Controlling: a check of this pair succeeded, and it is not the one in use. Moves to it where that helps.
    pub(crate) fn consider_moving(&mut self, now: Instant, index: usize) {
        let pair = &self.pairs[index];
        let Some(selected) = self.selected.and_then(|id| self.pairs.iter().find(|p| p.id == id)) else {
            return;
        };
        if selected.id == pair.id || pair.nominating {
            return;
        }
        let silent = self.state == ConnectionState::Disconnected || self.weak;
        let better = self.may_renominate() && pair.priority > selected.priority;
        let busy = |other: &Pair| other.nominating && other.priority > pair.priority;
        if (silent || better) && !self.pairs.iter().any(busy) {
            self.start_nomination(now, index);
        }
    }

    pub(crate) fn nomination_deadline(&self) -> Option<Instant> {
        let idle = self.role == Role::Controlling
            && !self.config.lite
            && self.selected.is_none()
            && !self.pairs.iter().any(|pair| pair.nominating);
        let has_valid = self.pairs.iter().any(Pair::is_valid);
        (idle && has_valid).then(|| self.first_valid.map(|at| at + self.config.nomination_delay))?
    }

    /// The peer has confirmed our nomination of this pair, be it the first time or by a consent check.
    pub(crate) fn select_again(&mut self, now: Instant, index: usize) {
        if self.selected != Some(self.pairs[index].id) {
            self.select(now, index);
        }
    }

    /// Uses this pair from now on (RFC 8445 §8.1.1, §8.1.2): the checks of the others stop, and the pair of before a restart
    /// is let go.
    pub(crate) fn select(&mut self, now: Instant, index: usize) {
        let is_first = self.selected.is_none() && self.lost_since.is_none();
        self.previous = None;
        self.lost_since = None;
        self.weak = false;
        self.triggered.clear();
        let (id, priority) = (self.pairs[index].id, self.pairs[index].priority);
        let keeps_better = self.config.continual_gathering && self.may_renominate();
        for (other, pair) in self.pairs.iter_mut().enumerate() {
            pair.nominating = false;
            if other != index {
                pair.nominated = false;
            }
            if other != index && pair.is_pending() && !(keeps_better && pair.priority > priority) {
                pair.state = PairState::Frozen;
                pair.parked = true;
                pair.checking_since = None;
                pair.recheck_at = None;
            }
        }
        let pair = &mut self.pairs[index];
        pair.nominated = true;
        pair.consent.get_or_insert_with(|| Self::new_consent(now));
        let changed = self.selected.replace(id) != Some(id);
        let path = pair.path;
        let event = Event::SelectedPair {
            path,
            local: self.locals[pair.local].candidate.clone(),
            remote: self.remotes[pair.remote].candidate.clone(),
        };
        if changed {
            if let Local::Relay(relay) = path.local {
                self.relays.bind_channel(relay, path.remote);
            }
            self.push_event(event);
        }
        self.improve_at = self.next_improvement(now);
        if is_first {
            self.take_better(now, priority);
        }
    }

    /// Controlling: a better pair than the first choice may have become valid while that was being nominated.
    fn take_better(&mut self, now: Instant, priority: u64) {
        if self.role != Role::Controlling || !self.may_renominate() {
            return;
        }
        let best = (0..self.pairs.len())
            .filter(|&index| self.pairs[index].is_valid() && self.pairs[index].priority > priority)
            .max_by_key(|&index| self.pairs[index].priority);
        if let Some(index) = best {
            self.start_nomination(now, index);
        }
    }

    /// When a better pair than the one in use may be tried again: the hiccup that made us leave it may be over.
    fn next_improvement(&self, now: Instant) -> Option<Instant> {
        let selected = self.selected.and_then(|id| self.pairs.iter().find(|p| p.id == id))?;
        let possible = self.config.continual_gathering && self.may_renominate() && self.role == Role::Controlling;
        let better = |pair: &Pair| pair.priority > selected.priority;
        (possible && self.pairs.iter().any(better)).then_some(now + IMPROVE_INTERVAL)
    }

    /// Tries the best pair that is better than the one in use, of those that were tried least often.
    pub(crate) fn improve(&mut self, now: Instant) {
        if self.improve_at.is_none_or(|at| at > now) {
            return;
        }
        self.improve_at = self.next_improvement(now);
        let Some(selected) = self.selected.and_then(|id| self.pairs.iter().find(|p| p.id == id)) else {
            return;
        };
        let priority = selected.priority;
        let best = (0..self.pairs.len())
            .filter(|&index| self.pairs[index].priority > priority && self.pairs[index].state != PairState::InProgress)
            .min_by_key(|&index| {
                let pair = &self.pairs[index];
                (pair.improvements, std::cmp::Reverse(pair.priority))
            });
        if let Some(index) = best
            && self.improve_at.is_some()
        {
            let pair = &mut self.pairs[index];
            pair.fail();
            pair.state = PairState::Waiting;
            pair.brief = true;
            pair.improvements += 1;
            let id = pair.id;
            self.trigger(id);
        }
    }
}
