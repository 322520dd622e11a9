//! The check list (RFC 8445 §6.1.2, §6.1.4): which pairs there are, and which is checked next.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use antiphon_sansio::{Local, Path};
use antiphon_stun::TransactionId;

use crate::agent::Agent;
use crate::candidate::TcpType;
use crate::config::Role;
use crate::interfaces::is_link_local;
use crate::nomination::IMPROVE_TIMEOUT;
use crate::outgoing::Outgoing;
use crate::pair::{Check, MAX_PAIRS, Pair, pair_priority};
use crate::stats::PairState;
use crate::tcp::is_placeholder;

/// The longest time between two fresh checks of an unanswered pair.
const MAX_RECHECK_INTERVAL: Duration = Duration::from_millis(1600);

/// How many fresh checks of a pair follow each other at the first interval, before it doubles: what is lost at the start of a
/// session costs the user time, and a pair that answers none of these is probably dead.
const EAGER_RECHECKS: u32 = 4;

/// A nomination that is not answered for this long is given up, and another pair is nominated.
const NOMINATION_TIMEOUT: Duration = Duration::from_secs(5);

impl Agent {
    /// Pairs two candidates, if they can be (RFC 8445 §6.1.2.2), unless that path is in the list.
    pub(crate) fn form_pair(&mut self, local: usize, remote: usize) -> Option<usize> {
        let (l, r) = (&self.locals[local], &self.remotes[remote]);
        if !l.pairs || self.config.lite || l.addr.is_ipv4() != r.addr.is_ipv4() {
            return None;
        }
        // RFC 6544 §6.2: active goes with passive and simultaneous-open with itself. That passive goes with active comes to
        // light when the other end connects.
        let goes_together = matches!(
            (l.candidate.tcp_type, r.candidate.tcp_type),
            (None, None)
                | (Some(TcpType::Active), Some(TcpType::Passive))
                | (Some(TcpType::SimultaneousOpen), Some(TcpType::SimultaneousOpen))
        );
        if !goes_together {
            return None;
        }
        // A loopback address reaches nothing but loopback, and nothing else reaches it.
        if l.source().is_loopback() != r.addr.ip().is_loopback() {
            return None;
        }
        // RFC 8445 §6.1.2.2: link-local only with link-local.
        if let (IpAddr::V6(a), IpAddr::V6(b)) = (l.addr.ip(), r.addr.ip())
            && is_link_local(a) != is_link_local(b)
        {
            return None;
        }
        let path = Path {
            local: l.local,
            remote: r.addr,
        };
        self.insert_pair(local, remote, path)
    }

    pub(crate) fn insert_pair(&mut self, local: usize, remote: usize, path: Path) -> Option<usize> {
        if let Some(index) = self.pair_on(path) {
            return Some(index);
        }
        let (l, r) = (&self.locals[local], &self.remotes[remote]);
        let priority = pair_priority(self.role, l.candidate.priority, r.candidate.priority);
        if self.pairs.len() >= MAX_PAIRS && !self.make_room_for(priority) {
            self.counters.over_limit += 1;
            return None;
        }
        // RFC 8445 §6.1.2.6: one pair of each foundation is checked first.
        let like_it = self.pairs.iter().any(|pair| {
            matches!(pair.state, PairState::Waiting | PairState::InProgress)
                && self.same_foundation(pair, local, remote)
        });
        let state = if like_it { PairState::Frozen } else { PairState::Waiting };
        if let Local::Relay(id) = path.local {
            self.relays.permit(id, path.remote.ip());
        }
        let id = self.next_id();
        let mut pair = Pair::new(id, path, local, remote, priority, state);
        pair.parked = !self.is_wanted(priority);
        self.pairs.push(pair);
        Some(self.pairs.len() - 1)
    }

    /// Whether a new pair is worth checking. Once one is in use, that is when it would be moved to; the others wait until the
    /// one in use falls silent.
    fn is_wanted(&self, priority: u64) -> bool {
        let Some(selected) = self
            .selected
            .and_then(|id| self.pairs.iter().find(|pair| pair.id == id))
        else {
            return true;
        };
        let may_move = self.role == Role::Controlled || self.may_renominate();
        self.config.continual_gathering && may_move && priority > selected.priority
    }

    /// Drops the worst pair that nothing is known of, if it is worse than `priority` (RFC 8445 §6.1.2.5).
    fn make_room_for(&mut self, priority: u64) -> bool {
        let worst = (0..self.pairs.len())
            .filter(|&index| !self.pairs[index].is_valid() && !self.pairs[index].authenticated)
            .min_by_key(|&index| self.pairs[index].priority);
        match worst {
            Some(index) if self.pairs[index].priority < priority => {
                let id = self.pairs.swap_remove(index).id;
                self.triggered.retain(|triggered| *triggered != id);
                true
            }
            _ => false,
        }
    }

    pub(crate) fn same_foundation(&self, pair: &Pair, local: usize, remote: usize) -> bool {
        let (l, r) = (&self.locals[pair.local], &self.remotes[pair.remote]);
        l.candidate.foundation == self.locals[local].candidate.foundation
            && r.candidate.foundation == self.remotes[remote].candidate.foundation
    }

    pub(crate) fn trigger(&mut self, id: u64) {
        if !self.triggered.contains(&id) {
            self.triggered.push_back(id);
        }
    }

    /// Like [`trigger`](Self::trigger), before all others: nominations, and pairs on which the peer was heard just now, do not
    /// wait behind a search for any path at all.
    pub(crate) fn trigger_first(&mut self, id: u64) {
        self.triggered.retain(|known| *known != id);
        self.triggered.push_front(id);
    }

    /// Sends what the pacer allows, in the order of RFC 8445 §6.1.4.2.
    pub(crate) fn run_checks(&mut self, now: Instant) {
        while self.pacer.is_ready(now) && self.send_next(now) {
            self.pacer.take(now);
        }
    }

    fn send_next(&mut self, now: Instant) -> bool {
        while let Some(id) = self.triggered.pop_front() {
            if let Some(index) = self.pairs.iter().position(|pair| pair.id == id)
                && !self.is_connecting(id)
            {
                self.send_check(now, index);
                return true;
            }
        }
        if self.send_queued_probe(now) {
            return true;
        }
        let next = self.next_ordinary().or_else(|| {
            (0..self.pairs.len())
                .filter(|&i| self.pairs[i].wants_recheck() && self.pairs[i].recheck_at.is_some_and(|at| at <= now))
                .min_by_key(|&i| self.pairs[i].recheck_at)
        });
        match next {
            Some(index) => {
                self.send_check(now, index);
                true
            }
            None => false,
        }
    }

    /// The best waiting pair, else the best frozen one of a foundation that nothing else is checked for.
    fn next_ordinary(&self) -> Option<usize> {
        if self.consent_expired || self.session.remote.is_none() || self.config.lite {
            return None;
        }
        let best = |state| {
            (0..self.pairs.len())
                .filter(|&index| self.pairs[index].state == state && !self.pairs[index].parked)
                .max_by_key(|&index| self.pairs[index].priority)
        };
        best(PairState::Waiting).or_else(|| {
            (0..self.pairs.len())
                .filter(|&index| {
                    let pair = &self.pairs[index];
                    pair.state == PairState::Frozen
                        && !pair.parked
                        && !self.pairs.iter().any(|other| {
                            other.state == PairState::InProgress && self.same_foundation(other, pair.local, pair.remote)
                        })
                })
                .max_by_key(|&index| self.pairs[index].priority)
        })
    }

    /// Whether a check of this pair would be one too many for its target, and when to come back then.
    fn must_wait(&mut self, now: Instant, index: usize) -> Option<Instant> {
        let pair = &self.pairs[index];
        // Who was heard there with a valid MESSAGE-INTEGRITY wants to be checked.
        if pair.authenticated {
            return None;
        }
        let again = self.config.contacts.as_ref()?.take(now, pair.path.remote.ip()).err();
        self.counters.postponed_checks += u64::from(again.is_some());
        again
    }

    fn send_check(&mut self, now: Instant, index: usize) {
        let first_interval = self.config.recheck_interval;
        let again = self.must_wait(now, index);
        let pair = &mut self.pairs[index];
        pair.parked = false;
        if let Some(again) = again {
            if pair.state != PairState::InProgress {
                pair.state = PairState::InProgress;
                pair.checking_since = Some(now);
                pair.rechecks = 0;
            }
            pair.recheck_at = Some(again);
            return;
        }
        if is_placeholder(pair.path.local) {
            self.connect(now, index);
            return;
        }
        if !pair.is_valid() && pair.state != PairState::InProgress {
            pair.state = PairState::InProgress;
            pair.checking_since = Some(now);
            pair.rechecks = 0;
        }
        pair.recheck_interval = match pair.rechecks {
            0..EAGER_RECHECKS => first_interval,
            _ => (pair.recheck_interval * 2).min(MAX_RECHECK_INTERVAL),
        };
        pair.rechecks += 1;
        // RFC 6544 §7.1: TCP itself repeats what is lost.
        let unreliable = !matches!(pair.path.local, Local::Tcp(_));
        pair.recheck_at = unreliable.then(|| now + pair.recheck_interval);
        pair.requests_sent += 1;
        self.send_request(now, index);
    }

    /// Sends a check or a consent check on a pair of this generation, with a transaction id of its own: it costs nothing more
    /// than a retransmission (RFC 8445 §14.3 leaves it to the agent), and its answer tells the round trip.
    pub(crate) fn send_request(&mut self, now: Instant, index: usize) {
        let id = TransactionId::random(&mut self.rng);
        let role = self.role;
        let renominates = self.may_renominate();
        let pair = &mut self.pairs[index];
        let use_candidate = role == Role::Controlling && (pair.nominating || self.selected == Some(pair.id));
        pair.outstanding.push(Check {
            id,
            sent: now,
            use_candidate,
            role,
        });
        let check = Outgoing::Check {
            path: pair.path,
            id,
            generation: self.session.generation,
            // RFC 8445 §7.1.1: the priority of a peer-reflexive candidate that the peer may learn from it.
            priority: self.locals[pair.local].reflexive_priority(),
            role,
            use_candidate,
            nomination: (use_candidate && renominates).then_some(pair.nomination),
        };
        self.push_outgoing(check);
    }

    /// Gives up on what was not answered for too long.
    pub(crate) fn expire_checks(&mut self, now: Instant) {
        let timeout = self.config.check_timeout;
        for pair in &mut self.pairs {
            let Some(since) = pair.checking_since else { continue };
            let timeout = if pair.brief { IMPROVE_TIMEOUT } else { timeout };
            if pair.state == PairState::InProgress && since + timeout <= now {
                pair.fail();
            } else if pair.is_valid() && pair.nominating && since + NOMINATION_TIMEOUT <= now {
                // The pair in use stays in use: consent judges it.
                if self.selected == Some(pair.id) {
                    pair.nominating = false;
                    pair.checking_since = None;
                    pair.recheck_at = None;
                } else {
                    pair.fail();
                }
            }
        }
    }

    /// When checks need attention. Right after `advance` all of it lies ahead.
    pub(crate) fn check_timeout(&self) -> Option<Instant> {
        let slot = self.pacer.earliest();
        let waits_for_slot =
            !self.triggered.is_empty() || self.gatherer.has_queued_probe() || self.next_ordinary().is_some();
        let mut next = waits_for_slot.then_some(slot).flatten();
        let mut consider = |at: Instant| next = Some(next.map_or(at, |known: Instant| known.min(at)));
        for pair in &self.pairs {
            if pair.wants_recheck()
                && let Some(at) = pair.recheck_at
            {
                consider(slot.map_or(at, |slot| at.max(slot)));
            }
            if let Some(since) = pair.checking_since {
                if pair.state == PairState::InProgress {
                    consider(
                        since
                            + if pair.brief {
                                IMPROVE_TIMEOUT
                            } else {
                                self.config.check_timeout
                            },
                    );
                } else if pair.is_valid() && pair.nominating {
                    consider(since + NOMINATION_TIMEOUT);
                }
            }
        }
        if let Some(deadline) = self.nomination_deadline() {
            consider(deadline);
        }
        next
    }
}
