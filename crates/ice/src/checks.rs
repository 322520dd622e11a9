//! Connectivity checks (RFC 8445 §7): sending them, answering them, and what their answers mean.

use std::net::IpAddr;
use std::time::{Duration, Instant};

use antiphon_sansio::{Local, Path};
use antiphon_stun::{AttributeType, Check as Verdict, Class, Message, Method, TransactionId};

use crate::agent::{Agent, EarlyCheck, LocalCandidate, MAX_EARLY_CHECKS, NewLocal};
use crate::candidate::{Candidate, CandidateKind, Protocol};
use crate::config::Role;
use crate::event::{ConnectionState, Event};
use crate::gather::is_link_local;
use crate::outgoing::{MAX_UNKNOWN, Outcome, Outgoing};
use crate::pair::{Check, MAX_PAIRS, Pair, pair_priority};
use crate::stats::PairState;

/// The longest time between two fresh checks of an unanswered pair.
const MAX_RECHECK_INTERVAL: Duration = Duration::from_millis(1600);

/// How many fresh checks of a pair follow each other at the first interval, before it doubles: what is lost at the start of a
/// session costs the user time, and a pair that answers none of these is probably dead.
const EAGER_RECHECKS: u32 = 4;

/// A nomination that is not answered for this long is given up, and another pair is nominated.
const NOMINATION_TIMEOUT: Duration = Duration::from_secs(5);

/// Of two pairs that the peer nominated, the better one wins while both nominations are this recent (an aggressive peer
/// nominates all pairs at once); after it the newer one wins (a peer that has moved on).
const NOMINATION_FRESHNESS: Duration = Duration::from_secs(2);

impl Agent {
    /// Pairs two candidates, if they can be (RFC 8445 §6.1.2.2), unless that path is in the list.
    pub(crate) fn form_pair(&mut self, local: usize, remote: usize) -> Option<usize> {
        let (l, r) = (&self.locals[local], &self.remotes[remote]);
        if !l.pairs || self.config.lite || l.addr.is_ipv4() != r.addr.is_ipv4() {
            return None;
        }
        // A loopback address reaches nothing but loopback, and nothing else reaches it.
        if l.addr.ip().is_loopback() != r.addr.ip().is_loopback() {
            return None;
        }
        // RFC 8445 §6.1.2.2: link-local only with link-local.
        if let (IpAddr::V6(a), IpAddr::V6(b)) = (l.addr.ip(), r.addr.ip())
            && is_link_local(a) != is_link_local(b)
        {
            return None;
        }
        self.insert_pair(local, remote)
    }

    fn insert_pair(&mut self, local: usize, remote: usize) -> Option<usize> {
        let (l, r) = (&self.locals[local], &self.remotes[remote]);
        let path = Path {
            local: l.local,
            remote: r.addr,
        };
        if let Some(index) = self.pair_on(path) {
            return Some(index);
        }
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
        self.pairs.push(Pair::new(id, path, local, remote, priority, state));
        Some(self.pairs.len() - 1)
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

    fn same_foundation(&self, pair: &Pair, local: usize, remote: usize) -> bool {
        let (l, r) = (&self.locals[pair.local], &self.remotes[pair.remote]);
        l.candidate.foundation == self.locals[local].candidate.foundation
            && r.candidate.foundation == self.remotes[remote].candidate.foundation
    }

    pub(crate) fn handle_message(&mut self, now: Instant, path: Path, message: &Message<'_>) {
        if message.check_fingerprint() == Verdict::Invalid {
            self.counters.bad_fingerprint += 1;
            return;
        }
        match message.class() {
            Class::Request if message.method() == Method::BINDING => self.handle_request(now, path, message),
            Class::Success | Class::Error => self.handle_response(now, path, message),
            // RFC 8445 §11: a Binding indication is a keepalive, and says nothing.
            Class::Indication => {}
            Class::Request => self.counters.unauthenticated += 1,
        }
    }

    /// RFC 8445 §7.3. Nothing that is not authenticated is answered: an answer would be a way to make us send (V16).
    fn handle_request(&mut self, now: Instant, path: Path, message: &Message<'_>) {
        let names = message.username().and_then(|name| name.split_once(':'));
        let Some((local, remote)) = names else {
            self.counters.unauthenticated += 1;
            return;
        };
        let is_previous = local != self.session.local.credentials.ufrag;
        let session = match &self.previous {
            Some(previous) if is_previous && local == previous.session.local.credentials.ufrag => &previous.session,
            _ if is_previous => {
                self.counters.unauthenticated += 1;
                return;
            }
            _ => &self.session,
        };
        match message.check_integrity(&session.local.key) {
            Verdict::Valid => {}
            Verdict::Invalid => {
                self.counters.bad_integrity += 1;
                return;
            }
            Verdict::Absent => {
                self.counters.unauthenticated += 1;
                return;
            }
        }
        let (id, generation) = (message.transaction_id(), session.generation);
        let respond = |outcome| Outgoing::Response {
            path,
            id,
            generation,
            outcome,
        };
        if let Some(outcome) = unknown_attributes(message) {
            self.counters.unknown_attribute += 1;
            self.push_outgoing(respond(outcome));
            return;
        }
        if is_previous {
            self.push_outgoing(respond(Outcome::Success));
            if let Some(previous) = &mut self.previous
                && previous.pair.path == path
            {
                previous.pair.authenticated = true;
                previous.pair.requests_received += 1;
                previous.pair.responses_sent += 1;
            }
            return;
        }
        if self.settle_roles(message) == Settled::PeerMustSwitch {
            self.push_outgoing(respond(Outcome::RoleConflict));
            return;
        }
        self.push_outgoing(respond(Outcome::Success));
        let priority = message.priority();
        let use_candidate = message.use_candidate();
        let known_peer = self.remote_credentials().is_some_and(|known| known.ufrag == remote);
        if known_peer {
            self.apply_check(now, path, priority, use_candidate);
        } else {
            self.remember_early(path, remote, priority, use_candidate);
        }
    }

    /// The check was answered, but who sent it is known only when its description comes (RFC 8445 §7.3, trickle ICE).
    fn remember_early(&mut self, path: Path, ufrag: &str, priority: Option<u32>, use_candidate: bool) {
        if let Some(known) = self
            .early
            .iter_mut()
            .find(|check| check.path == path && check.ufrag == ufrag)
        {
            known.use_candidate |= use_candidate;
        } else if self.early.len() < MAX_EARLY_CHECKS {
            self.early.push(EarlyCheck {
                path,
                ufrag: ufrag.to_owned(),
                priority,
                use_candidate,
            });
        } else {
            self.counters.over_limit += 1;
        }
    }

    /// RFC 8445 §7.3.1.1: both ends think they have the same role.
    fn settle_roles(&mut self, message: &Message<'_>) -> Settled {
        let peer = match self.role {
            Role::Controlling => message.ice_controlling(),
            Role::Controlled => message.ice_controlled(),
        };
        let Some(peer) = peer else { return Settled::Agreed };
        self.counters.role_conflicts += 1;
        let ours_is_larger = self.tie_breaker >= peer;
        // The larger tie-breaker controls.
        if ours_is_larger == (self.role == Role::Controlling) {
            return Settled::PeerMustSwitch;
        }
        self.switch_role();
        Settled::Agreed
    }

    fn switch_role(&mut self) {
        self.role = self.role.opposite();
        self.recompute_priorities();
        for pair in &mut self.pairs {
            pair.nominating = false;
        }
        self.push_event(Event::RoleChanged(self.role));
    }

    /// What a valid check of the peer tells us (RFC 8445 §7.3.1.3 to §7.3.1.5), after it was answered.
    pub(crate) fn apply_check(&mut self, now: Instant, path: Path, priority: Option<u32>, use_candidate: bool) {
        // RFC 7675 §5.1: once consent is gone, a restart alone brings anything back.
        if self.consent_expired {
            return;
        }
        let Some(index) = self.pair_on(path).or_else(|| self.peer_reflexive_pair(path, priority)) else {
            return;
        };
        let lite = self.config.lite;
        let pair = &mut self.pairs[index];
        pair.authenticated = true;
        pair.requests_received += 1;
        pair.responses_sent += 1;
        if use_candidate && self.role == Role::Controlled {
            pair.peer_nominated = Some(now);
        }
        if lite {
            // A lite agent takes the peer's word for it (RFC 8445 §7.3.2), and its checks for consent (RFC 7675 §5.1).
            pair.state = PairState::Succeeded;
            pair.consent = Some(Self::new_consent(now));
            self.first_valid.get_or_insert(now);
            self.follow_nomination(now, index);
            return;
        }
        let limit = self.config.consent_timeout / 3;
        let since = |at: Instant| now.saturating_duration_since(at);
        let stale = pair
            .consent
            .as_ref()
            .is_none_or(|consent| since(consent.last_response) > limit);
        if pair.is_valid() && !(use_candidate && stale && self.selected != Some(pair.id)) {
            self.follow_nomination(now, index);
            return;
        }
        // A pair that long ago was valid has to prove itself before it carries data.
        if pair.state != PairState::InProgress {
            pair.state = PairState::Waiting;
            pair.checking_since = None;
        }
        let id = pair.id;
        self.trigger(id);
    }

    /// A check from an address that nobody told us (RFC 8445 §7.3.1.3).
    fn peer_reflexive_pair(&mut self, path: Path, priority: Option<u32>) -> Option<usize> {
        // In one-port mode several host candidates share a socket; loopback is no end for what came from elsewhere.
        let fits = |l: &LocalCandidate| l.local == path.local && l.pairs && l.addr.is_ipv4() == path.remote.is_ipv4();
        let same_reach = |l: &LocalCandidate| l.addr.ip().is_loopback() == path.remote.ip().is_loopback();
        let best = self.locals.iter().position(|l| fits(l) && same_reach(l));
        let local = best.or_else(|| self.locals.iter().position(fits))?;
        let candidate = Candidate {
            foundation: format!("prflx{}", self.remotes.len()),
            component: 1,
            protocol: Protocol::Udp,
            priority: priority.unwrap_or_else(|| Candidate::compute_priority(CandidateKind::PeerReflexive, 0)),
            address: path.remote.ip().into(),
            port: path.remote.port(),
            kind: CandidateKind::PeerReflexive,
            related: None,
            tcp_type: None,
            ufrag: None,
            extensions: Vec::new(),
        };
        let remote = match self.remotes.iter().position(|remote| remote.addr == path.remote) {
            Some(known) => known,
            None => self.insert_remote(candidate, path.remote)?,
        };
        // Not `form_pair`: that a check came through proves that the addresses go together.
        self.insert_pair(local, remote)
    }

    /// Controlled: uses the pair if the peer nominated it and it is valid (RFC 8445 §7.3.1.5).
    fn follow_nomination(&mut self, now: Instant, index: usize) {
        let pair = &self.pairs[index];
        let Some(nominated_at) = pair.peer_nominated else {
            return;
        };
        if self.role != Role::Controlled || !pair.is_valid() || self.selected == Some(pair.id) {
            return;
        }
        let current = self.selected.and_then(|id| self.pairs.iter().find(|p| p.id == id));
        let follow = current.is_none_or(|current| {
            let outdated = current
                .peer_nominated
                .is_none_or(|at| nominated_at.saturating_duration_since(at) > NOMINATION_FRESHNESS);
            let silent = self.state == ConnectionState::Disconnected;
            pair.priority > current.priority || outdated || silent
        });
        if follow {
            self.select(now, index);
        }
    }

    /// RFC 8445 §7.2.5. Only an answer to a check of ours, from where it was sent to, with a valid MESSAGE-INTEGRITY counts.
    fn handle_response(&mut self, now: Instant, path: Path, message: &Message<'_>) {
        if message.method() != Method::BINDING {
            self.counters.unexpected_response += 1;
            return;
        }
        if self.handle_probe_response(path, message) {
            return;
        }
        let id = message.transaction_id();
        if let Some(previous) = &mut self.previous
            && previous.pair.path == path
            && let Some(remote) = &previous.session.remote
            && message.check_integrity(&remote.key) == Verdict::Valid
            && let Some(check) = previous.pair.outstanding.take(id)
        {
            if message.class() == Class::Success {
                let next = now + self.draw_consent_interval();
                if let Some(previous) = &mut self.previous {
                    previous.pair.answered(now, &check, next);
                }
            }
            return;
        }
        let Some(index) = self.pair_on(path) else {
            self.counters.unexpected_response += 1;
            return;
        };
        let verdict = match &self.session.remote {
            Some(remote) => message.check_integrity(&remote.key),
            None => Verdict::Absent,
        };
        if verdict != Verdict::Valid {
            self.counters.bad_integrity += 1;
            return;
        }
        let Some(check) = self.pairs[index].outstanding.take(id) else {
            self.counters.unexpected_response += 1;
            return;
        };
        match message.class() {
            Class::Success => self.check_succeeded(now, index, &check, message),
            _ => self.check_refused(index, &check, message),
        }
    }

    fn check_refused(&mut self, index: usize, check: &Check, message: &Message<'_>) {
        let code = message.error_code().map_or(0, |error| error.code);
        if code == 487 {
            // RFC 8445 §7.2.5.1: switch, unless we have since, and check again in the new role.
            self.counters.role_conflicts += 1;
            if check.role == self.role {
                self.tie_breaker = self.rng.u64();
                self.switch_role();
            }
            let id = self.pairs[index].id;
            self.trigger(id);
        } else if self.selected != Some(self.pairs[index].id) {
            self.pairs[index].fail();
        }
    }

    fn check_succeeded(&mut self, now: Instant, index: usize, check: &Check, message: &Message<'_>) {
        let next = now + self.draw_consent_interval();
        let pair = &mut self.pairs[index];
        pair.answered(now, check, next);
        pair.state = PairState::Succeeded;
        pair.checking_since = None;
        let (id, local, remote) = (pair.id, pair.local, pair.remote);
        self.first_valid.get_or_insert(now);
        if let Some(mapped) = message.xor_mapped_address() {
            self.discover_reflexive(index, mapped);
        }
        // RFC 8445 §7.2.5.3.3: what shares its foundation will probably work too.
        for other in 0..self.pairs.len() {
            let frozen = self.pairs[other].state == PairState::Frozen;
            if frozen && self.selected.is_none() && self.same_foundation(&self.pairs[other], local, remote) {
                self.pairs[other].state = PairState::Waiting;
            }
        }
        match self.role {
            Role::Controlling if check.use_candidate && check.role == Role::Controlling => {
                self.pairs[index].nominated = true;
                if self.selected.is_none() || self.state == ConnectionState::Disconnected {
                    self.select(now, index);
                }
            }
            // The nominated pair is silent and this one answers: move.
            Role::Controlling if self.state == ConnectionState::Disconnected && self.selected != Some(id) => {
                self.start_nomination(now, index);
            }
            Role::Controlling => {}
            Role::Controlled => self.follow_nomination(now, index),
        }
    }

    /// The peer saw us under an address that we did not know (RFC 8445 §7.2.5.3.1).
    fn discover_reflexive(&mut self, index: usize, mapped: std::net::SocketAddr) {
        let pair = &self.pairs[index];
        let own = &self.locals[pair.local];
        if own.addr == mapped || mapped.is_ipv4() != own.addr.is_ipv4() {
            return;
        }
        let known = self
            .locals
            .iter()
            .position(|l| l.local == own.local && l.addr == mapped);
        let new = NewLocal {
            kind: CandidateKind::PeerReflexive,
            local: own.local,
            addr: mapped,
            base: own.addr,
            local_preference: own.local_preference,
            url: None,
            server: None,
        };
        let found = known.or_else(|| self.insert_local(new).then(|| self.locals.len() - 1));
        // The valid pair is made of the address that the peer saw (§7.2.5.3.2); its path and its place stay the same.
        if let Some(found) = found {
            self.pairs[index].local = found;
        }
    }

    pub(crate) fn trigger(&mut self, id: u64) {
        if !self.triggered.contains(&id) {
            self.triggered.push_back(id);
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
        let all_known = self.end_of_remote && self.gathering_state() == crate::GatheringState::Complete;
        let direct = self.locals[pair.local].candidate.kind == CandidateKind::Host
            && self.remotes[pair.remote].candidate.kind != CandidateKind::Relayed;
        let unbeatable = !pending_better && (all_known || direct);
        let waited = self.nomination_deadline().is_some_and(|deadline| deadline <= now);
        if unbeatable || waited {
            self.start_nomination(now, index);
        }
    }

    fn start_nomination(&mut self, now: Instant, index: usize) {
        let pair = &mut self.pairs[index];
        pair.nominating = true;
        pair.nominated = false;
        pair.rechecks = 0;
        pair.checking_since = Some(now);
        let id = pair.id;
        self.trigger(id);
    }

    fn nomination_deadline(&self) -> Option<Instant> {
        let idle = self.role == Role::Controlling
            && !self.config.lite
            && self.selected.is_none()
            && !self.pairs.iter().any(|pair| pair.nominating);
        let has_valid = self.pairs.iter().any(Pair::is_valid);
        (idle && has_valid).then(|| self.first_valid.map(|at| at + self.config.nomination_delay))?
    }

    /// Uses this pair from now on (RFC 8445 §8.1.1, §8.1.2): the checks of the others stop, and the pair of before a restart
    /// is let go.
    pub(crate) fn select(&mut self, now: Instant, index: usize) {
        self.previous = None;
        self.triggered.clear();
        let id = self.pairs[index].id;
        for (other, pair) in self.pairs.iter_mut().enumerate() {
            pair.nominating = false;
            if other != index && pair.is_pending() {
                pair.state = PairState::Frozen;
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
    }

    /// Sends what the pacer allows, in the order of RFC 8445 §6.1.4.2.
    pub(crate) fn run_checks(&mut self, now: Instant) {
        while self.pacer.is_ready(now) && self.send_next(now) {
            self.pacer.take(now);
        }
    }

    fn send_next(&mut self, now: Instant) -> bool {
        while let Some(id) = self.triggered.pop_front() {
            if let Some(index) = self.pairs.iter().position(|pair| pair.id == id) {
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
        let stopped = self.selected.is_some() || self.consent_expired;
        if stopped || self.session.remote.is_none() || self.config.lite {
            return None;
        }
        let best = |state| {
            (0..self.pairs.len())
                .filter(|&index| self.pairs[index].state == state)
                .max_by_key(|&index| self.pairs[index].priority)
        };
        best(PairState::Waiting).or_else(|| {
            (0..self.pairs.len())
                .filter(|&index| {
                    let pair = &self.pairs[index];
                    pair.state == PairState::Frozen
                        && !self.pairs.iter().any(|other| {
                            other.state == PairState::InProgress && self.same_foundation(other, pair.local, pair.remote)
                        })
                })
                .max_by_key(|&index| self.pairs[index].priority)
        })
    }

    fn send_check(&mut self, now: Instant, index: usize) {
        let first_interval = self.config.recheck_interval;
        let pair = &mut self.pairs[index];
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
        pair.recheck_at = Some(now + pair.recheck_interval);
        pair.requests_sent += 1;
        self.send_request(now, index);
    }

    /// Sends a check or a consent check on a pair of this generation, with a transaction id of its own: it costs nothing more
    /// than a retransmission (RFC 8445 §14.3 leaves it to the agent), and its answer tells the round trip.
    pub(crate) fn send_request(&mut self, now: Instant, index: usize) {
        let id = TransactionId::random(&mut self.rng);
        let role = self.role;
        let pair = &mut self.pairs[index];
        let use_candidate = role == Role::Controlling && (pair.nominating || self.selected == Some(pair.id));
        pair.outstanding.push(Check {
            id,
            sent: now,
            use_candidate,
            role,
        });
        let preference = self.locals[pair.local].local_preference;
        let check = Outgoing::Check {
            path: pair.path,
            id,
            generation: self.session.generation,
            // RFC 8445 §7.1.1: the priority of a peer-reflexive candidate that the peer may learn from it.
            priority: Candidate::compute_priority(CandidateKind::PeerReflexive, preference),
            role,
            use_candidate,
        };
        self.push_outgoing(check);
    }

    /// Gives up on what was not answered for too long.
    pub(crate) fn expire_checks(&mut self, now: Instant) {
        let timeout = self.config.check_timeout;
        for pair in &mut self.pairs {
            let Some(since) = pair.checking_since else { continue };
            if (pair.state == PairState::InProgress && since + timeout <= now)
                || (pair.is_valid() && pair.nominating && since + NOMINATION_TIMEOUT <= now)
            {
                pair.fail();
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
                    consider(since + self.config.check_timeout);
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

impl Pair {
    /// A valid answer came: that is consent, too (RFC 7675 §5.1).
    fn answered(&mut self, now: Instant, check: &Check, next: Instant) {
        self.authenticated = true;
        self.responses_received += 1;
        let sample = now.saturating_duration_since(check.sent);
        self.total_rtt += sample;
        self.rtt = Some(self.rtt.map_or(sample, |rtt| (rtt * 7 + sample) / 8));
        // While a nomination is on its way, only an answer to it ends its repetition.
        if check.use_candidate || !self.nominating {
            self.recheck_at = None;
        }
        let consent = self.consent.get_or_insert_with(|| Agent::new_consent(now));
        consent.last_response = now;
        consent.unanswered_since = None;
        consent.next = next;
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Agreed,
    PeerMustSwitch,
}

fn unknown_attributes(message: &Message<'_>) -> Option<Outcome> {
    let mut kinds = [AttributeType(0); MAX_UNKNOWN];
    let mut count = 0;
    for (slot, kind) in kinds.iter_mut().zip(message.unknown_required()) {
        *slot = kind;
        count += 1;
    }
    (count > 0).then_some(Outcome::Unknown(kinds, count))
}
