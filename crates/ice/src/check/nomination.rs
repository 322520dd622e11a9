//! Nomination (RFC 8445 §8): choosing the pair to use, following the peer's choice, and moving to another one later
//! (draft-thatcher-ice-renomination).

use std::cmp::Ordering;
use std::time::{Duration, Instant};

use antiphon_sansio::Local;

use super::consent::Consent;
use super::ids::PairId;
use super::list::CheckList;
use super::pair::Pair;
use crate::candidate::{CandidateKind, Protocol};
use crate::config::{Config, Role};
use crate::context::Context;
use crate::event::Event;
use crate::notice::Notice;
use crate::stats::PairState;

/// Of two pairs that the peer nominated, the better one wins while both nominations are this recent (an aggressive peer
/// nominates all pairs at once); after it the newer one wins (a peer that has moved on).
const NOMINATION_FRESHNESS: Duration = Duration::from_secs(2);

/// How long after a choice a better pair that did not work then is tried again.
const IMPROVE_INTERVAL: Duration = Duration::from_secs(15);

#[derive(Debug, Default)]
pub(super) struct Nomination {
    /// How often we have nominated.
    count: u32,
    /// When the first pair of this generation became valid.
    first_valid: Option<Instant>,
    /// When a better pair than the one in use is tried again.
    improve_at: Option<Instant>,
}

impl Nomination {
    /// The peer has a new generation of candidates.
    pub(super) fn forget_generation(&mut self) {
        self.first_valid = None;
        self.improve_at = None;
    }

    /// There is no pair in use that could be bettered.
    pub(super) fn forget_improvement(&mut self) {
        self.improve_at = None;
    }

    pub(super) fn improve_at(&self) -> Option<Instant> {
        self.improve_at
    }

    /// A pair became valid.
    pub(super) fn note_valid(&mut self, now: Instant) {
        self.first_valid.get_or_insert(now);
    }

    /// Controlled: whether to use this pair, because the peer nominated it and it is valid (RFC 8445 §7.3.1.5).
    /// `silent`: the pair in use does not answer.
    pub(super) fn is_chosen_by_peer(&self, list: &CheckList, id: PairId, silent: bool) -> bool {
        let Some(pair) = list.pair(id) else { return false };
        let Some(nominated) = &pair.peer_nominated else {
            return false;
        };
        if list.role() != Role::Controlled || !pair.is_valid() || list.is_selected(id) {
            return false;
        }
        let Some(current) = list.selected() else { return true };
        let Some(earlier) = &current.peer_nominated else {
            return true;
        };
        let later = nominated.at.saturating_duration_since(earlier.at);
        match nominated.number.cmp(&earlier.number) {
            Ordering::Greater => true,
            Ordering::Less => silent,
            Ordering::Equal => {
                silent
                    || pair.priority > current.priority
                    || later > NOMINATION_FRESHNESS
                    || (nominated.deliberate && nominated.at >= earlier.at)
            }
        }
    }

    /// Controlling: when the best valid pair is nominated, whatever better one is still being checked.
    pub(super) fn deadline(&self, list: &CheckList, config: &Config) -> Option<Instant> {
        let idle = list.role() == Role::Controlling
            && !config.lite
            && list.selected().is_none()
            && !list.pairs().any(|pair| pair.nominating);
        let has_valid = list.pairs().any(Pair::is_valid);
        let first_valid = self.first_valid.filter(|_| idle && has_valid)?;
        Some(first_valid + config.timing.nomination_delay)
    }

    /// Controlling: nominates when a pair is valid that cannot be bettered, or when waiting has been long enough
    /// (RFC 8445 §8.1.1). `all_known`: neither end has more candidates. `lost`: there was a path, and there is none.
    pub(super) fn nominate(
        &mut self,
        list: &mut CheckList,
        config: &Config,
        now: Instant,
        all_known: bool,
        lost: bool,
    ) {
        let Some(deadline) = self.deadline(list, config) else {
            return;
        };
        let Some(pair) = list.active() else { return };
        let Some((local, remote)) = list.candidates(pair) else {
            return;
        };
        let pending_better = list.pairs().any(|p| p.is_pending() && p.priority > pair.priority);
        let direct = local.candidate.kind == CandidateKind::Host
            && local.candidate.protocol == Protocol::Udp
            && remote.candidate.kind != CandidateKind::Relayed;
        let unbeatable = !pending_better && (all_known || direct);
        // Who has lost its path, or may choose again, does not wait.
        let hurry = lost || list.may_renominate(config);
        if unbeatable || deadline <= now || hurry {
            let id = pair.id;
            self.start(list, now, id);
        }
    }

    fn start(&mut self, list: &mut CheckList, now: Instant, id: PairId) {
        for pair in list.pairs_mut() {
            pair.nominating = false;
        }
        self.count = self.count.wrapping_add(1);
        if let Some(pair) = list.pair_mut(id) {
            pair.start_nomination(now, self.count);
            list.trigger_first(id);
        }
    }

    /// Controlling: a check of this pair succeeded, and it is not the one in use. Moves to it where that helps.
    pub(super) fn consider_moving(
        &mut self,
        list: &mut CheckList,
        config: &Config,
        now: Instant,
        id: PairId,
        silent: bool,
    ) {
        let (Some(pair), Some(selected)) = (list.pair(id), list.selected()) else {
            return;
        };
        if selected.id == pair.id || pair.nominating {
            return;
        }
        let better = list.may_renominate(config) && pair.priority > selected.priority;
        let busy = |other: &Pair| other.nominating && other.priority > pair.priority;
        if (silent || better) && !list.pairs().any(busy) {
            self.start(list, now, id);
        }
    }

    /// Uses this pair from now on (RFC 8445 §8.1.1, §8.1.2): the checks of the others stop. `is_first`: there was none
    /// before.
    pub(super) fn select(&mut self, cx: &mut Context, list: &mut CheckList, now: Instant, id: PairId, is_first: bool) {
        let Some(priority) = list.pair(id).map(|pair| pair.priority) else {
            return;
        };
        list.forget_triggered();
        let keeps_better = cx.config.continual_gathering && list.may_renominate(&cx.config);
        for pair in list.pairs_mut() {
            pair.nominating = false;
            pair.nominated = pair.id == id;
            if pair.id == id {
                pair.consent.get_or_insert_with(|| Consent::new(now));
            } else if pair.is_pending() && !(keeps_better && pair.priority > priority) {
                pair.park();
            }
        }
        if list.select(id) {
            report(cx, list);
        }
        self.improve_at = next_improvement(list, &cx.config, now);
        if is_first {
            self.take_better(list, &cx.config, now, priority);
        }
    }

    /// Controlling: a better pair than the first choice may have become valid while that was being nominated.
    fn take_better(&mut self, list: &mut CheckList, config: &Config, now: Instant, priority: u64) {
        if list.role() != Role::Controlling || !list.may_renominate(config) {
            return;
        }
        let better = list.pairs().filter(|pair| pair.is_valid() && pair.priority > priority);
        if let Some(id) = better.max_by_key(|pair| pair.priority).map(|pair| pair.id) {
            self.start(list, now, id);
        }
    }

    /// Tries the best pair that is better than the one in use, of those that were tried least often.
    pub(super) fn improve(&mut self, list: &mut CheckList, config: &Config, now: Instant) {
        if self.improve_at.is_none_or(|at| at > now) {
            return;
        }
        self.improve_at = next_improvement(list, config, now);
        let Some(selected) = list.selected().filter(|_| self.improve_at.is_some()) else {
            return;
        };
        let better = list
            .pairs()
            .filter(|pair| pair.priority > selected.priority && pair.state != PairState::InProgress);
        let best = better.min_by_key(|pair| (pair.improvements, std::cmp::Reverse(pair.priority)));
        if let Some(id) = best.map(|pair| pair.id)
            && let Some(pair) = list.pair_mut(id)
        {
            pair.try_to_improve();
            list.trigger(id);
        }
    }
}

/// When a better pair than the one in use may be tried again: the hiccup that made us leave it may be over.
fn next_improvement(list: &CheckList, config: &Config, now: Instant) -> Option<Instant> {
    let selected = list.selected()?;
    let possible = config.continual_gathering && list.may_renominate(config) && list.role() == Role::Controlling;
    let better = |pair: &Pair| pair.priority > selected.priority;
    (possible && list.pairs().any(better)).then_some(now + IMPROVE_INTERVAL)
}

/// Tells the owner and the allocation of the pair that was selected.
fn report(cx: &mut Context, list: &CheckList) {
    let Some(pair) = list.selected() else { return };
    let Some((local, remote)) = list.candidates(pair) else {
        return;
    };
    if let Local::Relay(relay) = pair.path.local {
        let peer = pair.path.remote;
        cx.notify(Notice::BindChannel { relay, peer });
    }
    cx.push_event(Event::SelectedPair {
        path: pair.path,
        local: local.candidate.clone(),
        remote: remote.candidate.clone(),
    });
}
