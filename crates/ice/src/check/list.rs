//! The check list (RFC 8445 §6.1.2, §6.1.4): which candidates and pairs there are, which pair is checked next, and
//! which is in use.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::time::Instant;

use antiphon_sansio::{Local, Path};

use super::ids::{LocalId, PairId, RemoteId};
use super::local::{LocalCandidate, Locals};
use super::pair::{Pair, pair_priority};
use super::remote::{Inserted, RemoteCandidate, Remotes, is_reachable};
use crate::candidate::{Candidate, TcpType};
use crate::config::{Config, Role};
use crate::context::Context;
use crate::filter::is_link_local;
use crate::notice::{NewLocal, Notice};
use crate::stats::PairState;

/// The most pairs in the check list (RFC 8445 §6.1.2.5).
pub const MAX_PAIRS: usize = 100;

#[derive(Debug)]
pub(super) struct CheckList {
    role: Role,
    /// The peer knows what a second nomination is.
    remote_renomination: bool,
    locals: Locals,
    remotes: Remotes,
    /// In the order of their ids: new ones are larger.
    pairs: Vec<Pair>,
    /// Pairs whose check was triggered (RFC 8445 §6.1.4.1); none is in it twice.
    triggered: VecDeque<PairId>,
    /// The pair that is nominated, and used. It is in `pairs`.
    selected: Option<PairId>,
}

impl CheckList {
    pub(super) fn new(role: Role) -> Self {
        Self {
            role,
            remote_renomination: false,
            locals: Locals::default(),
            remotes: Remotes::default(),
            pairs: Vec::new(),
            triggered: VecDeque::new(),
            selected: None,
        }
    }

    pub(super) fn role(&self) -> Role {
        self.role
    }

    pub(super) fn set_role(&mut self, role: Role) {
        if self.role != role {
            self.role = role;
            self.recompute_priorities();
        }
    }

    pub(super) fn set_remote_renomination(&mut self, renomination: bool) {
        self.remote_renomination = renomination;
    }

    /// Whether both ends know what a second nomination is.
    pub(super) fn may_renominate(&self, config: &Config) -> bool {
        config.renomination && self.remote_renomination
    }

    pub(super) fn locals(&self) -> &Locals {
        &self.locals
    }

    pub(super) fn locals_mut(&mut self) -> &mut Locals {
        &mut self.locals
    }

    pub(super) fn remotes(&self) -> &Remotes {
        &self.remotes
    }

    /// The candidates of a pair.
    pub(super) fn candidates(&self, pair: &Pair) -> Option<(&LocalCandidate, &RemoteCandidate)> {
        Some((self.locals.get(pair.local)?, self.remotes.get(pair.remote)?))
    }

    pub(super) fn pairs(&self) -> impl Iterator<Item = &Pair> {
        self.pairs.iter()
    }

    pub(super) fn pairs_mut(&mut self) -> impl Iterator<Item = &mut Pair> {
        self.pairs.iter_mut()
    }

    fn index(&self, id: PairId) -> Option<usize> {
        self.pairs.binary_search_by_key(&id, |pair| pair.id).ok()
    }

    pub(super) fn pair(&self, id: PairId) -> Option<&Pair> {
        self.index(id).map(|index| &self.pairs[index])
    }

    pub(super) fn pair_mut(&mut self, id: PairId) -> Option<&mut Pair> {
        let index = self.index(id)?;
        self.pairs.get_mut(index)
    }

    pub(super) fn pair_on(&self, path: Path) -> Option<PairId> {
        self.pairs().find(|pair| pair.path == path).map(|pair| pair.id)
    }

    /// The nominated pair.
    pub(super) fn selected(&self) -> Option<&Pair> {
        self.selected.and_then(|id| self.pair(id))
    }

    pub(super) fn is_selected(&self, id: PairId) -> bool {
        self.selected == Some(id)
    }

    /// Changes the nominated pair. Returns whether it was another.
    pub(super) fn select(&mut self, id: PairId) -> bool {
        self.selected.replace(id) != Some(id)
    }

    pub(super) fn deselect(&mut self) {
        self.selected = None;
    }

    /// The pair in use: the nominated one, else the best valid one.
    pub(super) fn active(&self) -> Option<&Pair> {
        if self.selected.is_some() {
            return self.selected();
        }
        self.pairs()
            .filter(|pair| pair.is_valid())
            .max_by_key(|pair| pair.priority)
    }

    pub(super) fn active_mut(&mut self) -> Option<&mut Pair> {
        let id = self.active()?.id;
        self.pair_mut(id)
    }

    /// The peer's next generation has candidates of its own.
    pub(super) fn forget_remotes(&mut self) {
        self.remotes.clear();
        self.forget_pairs();
    }

    pub(super) fn forget_pairs(&mut self) {
        self.pairs.clear();
        self.triggered.clear();
        self.selected = None;
    }

    /// Takes a pair out, which is to outlive this generation.
    pub(super) fn take(&mut self, id: PairId) -> Option<Pair> {
        self.index(id).map(|index| self.pairs.remove(index))
    }

    fn recompute_priorities(&mut self) {
        for pair in &mut self.pairs {
            if let (Some(local), Some(remote)) = (self.locals.get(pair.local), self.remotes.get(pair.remote)) {
                pair.priority = pair_priority(self.role, local.candidate.priority, remote.candidate.priority);
            }
        }
    }
}

/// Candidates come and go.
impl CheckList {
    /// Adds a local candidate, reports it and pairs it.
    pub(super) fn insert_local(&mut self, cx: &mut Context, new: NewLocal, ufrag: &str) -> Option<LocalId> {
        let id = self.locals.insert(cx, new, ufrag)?;
        for remote in self.remotes.ids() {
            self.form_pair(cx, id, remote);
        }
        Some(id)
    }

    /// Adds a remote candidate unless it is known or unusable, and pairs it.
    pub(super) fn insert_remote(
        &mut self,
        cx: &mut Context,
        candidate: Candidate,
        addr: SocketAddr,
    ) -> Option<RemoteId> {
        if !is_reachable(&candidate, addr) {
            cx.counters.ignored_candidates += 1;
            return None;
        }
        if self.remotes.is_full() && self.remotes.find(candidate.protocol, addr).is_none() {
            self.evict_remote();
        }
        match self.remotes.insert(cx, candidate, addr) {
            Inserted::Refused => None,
            Inserted::Known(id) => Some(id),
            Inserted::Signalled(id) => {
                self.recompute_priorities();
                Some(id)
            }
            Inserted::New(id) => {
                let locals: Vec<LocalId> = self.locals.iter().map(|local| local.id).collect();
                for local in locals {
                    self.form_pair(cx, local, id);
                }
                Some(id)
            }
        }
    }

    /// Makes room for a candidate of a peer that has moved a hundred times: drops the one that was heard of longest
    /// ago, of those on which nothing works any more. What has never been checked stays: a flood drives nothing out.
    fn evict_remote(&mut self) {
        let dead = |id: RemoteId| {
            let mut pairs = self.pairs().filter(|pair| pair.remote == id).peekable();
            pairs.peek()?;
            let mut last = None;
            for pair in pairs {
                let answered = pair.consent.as_ref().map(|consent| consent.last_response());
                let hopeless = pair.state == PairState::Failed || (answered.is_some() && !pair.is_valid());
                if !hopeless || self.is_selected(pair.id) {
                    return None;
                }
                last = last.max(answered);
            }
            Some((last, id))
        };
        if let Some((_, gone)) = self.remotes.ids().into_iter().filter_map(dead).min() {
            self.remotes.remove(gone);
            self.pairs.retain(|pair| pair.remote != gone);
            self.forget_absent();
        }
    }

    /// Drops the candidates whose end is gone, and with them their pairs. Returns whether the pair in use is among
    /// them.
    pub(super) fn forget_locals(&mut self, cx: &mut Context, gone: impl Fn(&LocalCandidate) -> bool) -> bool {
        let before = self.active().map(|pair| pair.id);
        if !self.locals.forget(cx, gone) {
            return false;
        }
        let locals = &self.locals;
        self.pairs.retain(|pair| locals.get(pair.local).is_some());
        self.forget_absent();
        before.is_some_and(|id| self.pair(id).is_none())
    }

    /// Pairs are gone: they are neither checked nor used any more.
    fn forget_absent(&mut self) {
        let mut triggered = std::mem::take(&mut self.triggered);
        triggered.retain(|id| self.index(*id).is_some());
        self.triggered = triggered;
        self.selected = self.selected.filter(|id| self.index(*id).is_some());
    }
}

/// Pairs are formed.
impl CheckList {
    /// Pairs two candidates, if they can be (RFC 8445 §6.1.2.2), unless that path is in the list.
    fn form_pair(&mut self, cx: &mut Context, local: LocalId, remote: RemoteId) {
        let (Some(l), Some(r)) = (self.locals.get(local), self.remotes.get(remote)) else {
            return;
        };
        if cx.config.lite || !go_together(l, r) {
            return;
        }
        let path = Path {
            local: l.local,
            remote: r.addr,
        };
        self.insert_pair(cx, local, remote, path);
    }

    pub(super) fn insert_pair(
        &mut self,
        cx: &mut Context,
        local: LocalId,
        remote: RemoteId,
        path: Path,
    ) -> Option<PairId> {
        if let Some(known) = self.pair_on(path) {
            return Some(known);
        }
        let (l, r) = (self.locals.get(local)?, self.remotes.get(remote)?);
        let priority = pair_priority(self.role, l.candidate.priority, r.candidate.priority);
        if self.pairs.len() >= MAX_PAIRS && !self.make_room_for(priority) {
            cx.counters.over_limit += 1;
            return None;
        }
        // RFC 8445 §6.1.2.6: one pair of each foundation is checked first.
        let like_it = self.pairs().any(|pair| {
            matches!(pair.state, PairState::Waiting | PairState::InProgress)
                && self.same_foundation((pair.local, pair.remote), (local, remote))
        });
        let state = if like_it { PairState::Frozen } else { PairState::Waiting };
        if let Local::Relay(relay) = path.local {
            let peer = path.remote.ip();
            cx.notify(Notice::Permit { relay, peer });
        }
        let id = PairId(cx.next_id());
        let mut pair = Pair::new(id, path, (local, remote), priority, state);
        pair.parked = !self.is_wanted(&cx.config, priority);
        if self.pairs.len() == self.pairs.capacity() {
            // By a half and not to the double: mostly there are few, and each is large.
            self.pairs.reserve_exact(self.pairs.len().div_ceil(2).max(1));
        }
        self.pairs.push(pair);
        Some(id)
    }

    /// Whether a new pair is worth checking. Once one is in use, that is when it would be moved to; the others wait
    /// until the one in use falls silent.
    fn is_wanted(&self, config: &Config, priority: u64) -> bool {
        let Some(selected) = self.selected() else {
            return true;
        };
        let may_move = self.role == Role::Controlled || self.may_renominate(config);
        config.continual_gathering && may_move && priority > selected.priority
    }

    /// Drops the worst pair that nothing is known of, if it is worse than `priority` (RFC 8445 §6.1.2.5).
    fn make_room_for(&mut self, priority: u64) -> bool {
        let unknown = self.pairs().filter(|pair| !pair.is_valid() && !pair.authenticated);
        let worst = unknown.min_by_key(|pair| pair.priority);
        match worst.filter(|worst| worst.priority < priority).map(|worst| worst.id) {
            Some(id) => {
                self.pairs.retain(|pair| pair.id != id);
                self.forget_absent();
                true
            }
            None => false,
        }
    }

    fn same_foundation(&self, one: (LocalId, RemoteId), other: (LocalId, RemoteId)) -> bool {
        let local = |id| self.locals.get(id).map(|local| &local.candidate.foundation);
        let remote = |id| self.remotes.get(id).map(|remote| &remote.candidate.foundation);
        local(one.0) == local(other.0) && remote(one.1) == remote(other.1)
    }

    /// RFC 8445 §7.2.5.3.3: what shares the foundation of a pair that works will probably work too.
    pub(super) fn unfreeze_like(&mut self, id: PairId) {
        let Some(like) = self.pair(id).map(|pair| (pair.local, pair.remote)) else {
            return;
        };
        let frozen = self.pairs().filter(|pair| pair.state == PairState::Frozen);
        let alike = frozen.filter(|pair| self.same_foundation((pair.local, pair.remote), like));
        let alike: Vec<PairId> = alike.map(|pair| pair.id).collect();
        for id in alike {
            if let Some(pair) = self.pair_mut(id) {
                pair.state = PairState::Waiting;
            }
        }
    }
}

/// The order of checks.
impl CheckList {
    pub(super) fn trigger(&mut self, id: PairId) {
        if !self.triggered.contains(&id) {
            self.triggered.push_back(id);
        }
    }

    /// Like [`trigger`](Self::trigger), before all others: nominations, and pairs on which the peer was heard just now,
    /// do not wait behind a search for any path at all.
    pub(super) fn trigger_first(&mut self, id: PairId) {
        self.triggered.retain(|known| *known != id);
        self.triggered.push_front(id);
    }

    pub(super) fn has_triggered(&self) -> bool {
        !self.triggered.is_empty()
    }

    pub(super) fn forget_triggered(&mut self) {
        self.triggered.clear();
    }

    pub(super) fn next_triggered(&mut self) -> Option<PairId> {
        while let Some(id) = self.triggered.pop_front() {
            if self.pair(id).is_some_and(|pair| !pair.connecting) {
                return Some(id);
            }
        }
        None
    }

    /// The best waiting pair, else the best frozen one of a foundation that nothing else is checked for.
    pub(super) fn next_ordinary(&self) -> Option<PairId> {
        let in_state = |state| self.pairs().filter(move |pair| pair.state == state && !pair.parked);
        let best = in_state(PairState::Waiting)
            .max_by_key(|pair| pair.priority)
            .or_else(|| {
                in_state(PairState::Frozen)
                    .filter(|pair| {
                        let like_it = |other: &Pair| {
                            other.state == PairState::InProgress
                                && self.same_foundation((other.local, other.remote), (pair.local, pair.remote))
                        };
                        !self.pairs().any(like_it)
                    })
                    .max_by_key(|pair| pair.priority)
            });
        best.map(|pair| pair.id)
    }

    /// The pair whose last check has been unanswered for longest.
    pub(super) fn next_recheck(&self, now: Instant) -> Option<PairId> {
        self.pairs()
            .filter(|pair| pair.wants_recheck() && pair.round.recheck_at.is_some_and(|at| at <= now))
            .min_by_key(|pair| pair.round.recheck_at)
            .map(|pair| pair.id)
    }

    /// Gives up on what was not answered for too long.
    pub(super) fn expire_checks(&mut self, config: &Config, now: Instant) {
        let selected = self.selected;
        for pair in &mut self.pairs {
            if pair.deadline(config).is_none_or(|deadline| deadline > now) {
                continue;
            }
            // The pair in use stays in use: consent judges it.
            if pair.is_valid() && selected == Some(pair.id) {
                pair.nominating = false;
                pair.end_round();
            } else {
                pair.fail();
            }
        }
    }

    /// When checks need attention; those that wait for a slot of the pacer get one at `slot`, or at once.
    pub(super) fn poll_timeout(&self, config: &Config, slot: Option<Instant>) -> Option<Instant> {
        let rechecks = self.pairs().filter(|pair| pair.wants_recheck());
        let rechecks = rechecks.filter_map(|pair| pair.round.recheck_at);
        let rechecks = rechecks.map(|at| slot.map_or(at, |slot| at.max(slot)));
        let deadlines = self.pairs().filter_map(|pair| pair.deadline(config));
        rechecks.chain(deadlines).min()
    }

    /// Every path but `kept` is tried again, so that there is somewhere to go when one answers.
    pub(super) fn look_for_another(&mut self, kept: Option<PairId>) {
        let mut others: Vec<&mut Pair> = self.pairs.iter_mut().filter(|pair| Some(pair.id) != kept).collect();
        // Which answered last will most likely answer now.
        others.sort_by_key(|pair| {
            let answered = pair.consent.as_ref().map(|consent| consent.last_response());
            std::cmp::Reverse((answered, pair.priority))
        });
        for pair in others {
            pair.retry();
            if !self.triggered.contains(&pair.id) {
                self.triggered.push_back(pair.id);
            }
        }
    }
}

/// Whether two candidates make a pair (RFC 8445 §6.1.2.2).
fn go_together(l: &LocalCandidate, r: &RemoteCandidate) -> bool {
    if !l.pairs || l.addr.is_ipv4() != r.addr.is_ipv4() {
        return false;
    }
    // RFC 6544 §6.2: active goes with passive and simultaneous-open with itself. That passive goes with active comes to
    // light when the other end connects.
    let types_fit = matches!(
        (l.candidate.tcp_type, r.candidate.tcp_type),
        (None, None)
            | (Some(TcpType::Active), Some(TcpType::Passive))
            | (Some(TcpType::SimultaneousOpen), Some(TcpType::SimultaneousOpen))
    );
    // A loopback address reaches nothing but loopback, and nothing else reaches it.
    let loopback_fits = l.source().is_loopback() == r.addr.ip().is_loopback();
    // RFC 8445 §6.1.2.2: link-local only with link-local.
    let scopes_fit = match (l.addr.ip(), r.addr.ip()) {
        (IpAddr::V6(a), IpAddr::V6(b)) => is_link_local(a) == is_link_local(b),
        _ => true,
    };
    types_fit && loopback_fits && scopes_fit
}
