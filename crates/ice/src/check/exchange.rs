//! Connectivity checks (RFC 8445 §7): answering the peer's, and what the answers to ours mean.

use std::net::SocketAddr;
use std::time::Instant;

use antiphon_sansio::Path;
use antiphon_stun::{AttributeType, Check as Verdict, Class, Message, Method};

use super::checks::{Checks, PeerCheck};
use super::consent::Consent;
use super::ids::PairId;
use super::local::LocalCandidate;
use super::pair::Check;
use super::remote::peer_reflexive;
use crate::config::Role;
use crate::context::Context;
use crate::message::{MAX_UNKNOWN, Outcome, Outgoing};
use crate::stats::PairState;

/// Whether a check of the peer agrees with our role.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Settled {
    Agreed,
    PeerMustSwitch,
}

/// The peer's checks.
impl Checks {
    /// RFC 8445 §7.3. Nothing that is not authenticated is answered: an answer would be a way to make us send (V16).
    /// Returns whether it was.
    pub(crate) fn handle_request(&mut self, cx: &mut Context, now: Instant, path: Path, message: &Message<'_>) -> bool {
        let names = message.username().and_then(|name| name.split_once(':'));
        let Some((local, remote)) = names else {
            cx.counters.unauthenticated += 1;
            return false;
        };
        let is_previous = local != self.session.local().ufrag();
        let session = match &self.previous {
            Some(previous) if is_previous && local == previous.session().local().ufrag() => previous.session(),
            _ if is_previous => {
                cx.counters.unauthenticated += 1;
                return false;
            }
            _ => &self.session,
        };
        match message.check_integrity(session.local().key()) {
            Verdict::Valid => {}
            Verdict::Invalid => {
                cx.counters.bad_integrity += 1;
                return false;
            }
            Verdict::Absent => {
                cx.counters.unauthenticated += 1;
                return false;
            }
        }
        let (id, generation) = (message.transaction_id(), session.generation());
        let respond = |outcome| Outgoing::Response {
            path,
            id,
            generation,
            outcome,
        };
        if let Some(outcome) = unknown_attributes(message) {
            cx.counters.unknown_attribute += 1;
            cx.push_outgoing(respond(outcome));
            return true;
        }
        if is_previous {
            cx.push_outgoing(respond(Outcome::Success));
            if let Some(previous) = &mut self.previous {
                previous.note_check(path);
            }
            return true;
        }
        if self.settle_roles(cx, message) == Settled::PeerMustSwitch {
            cx.push_outgoing(respond(Outcome::RoleConflict));
            return true;
        }
        cx.push_outgoing(respond(Outcome::Success));
        let check = PeerCheck {
            priority: message.priority(),
            use_candidate: message.use_candidate(),
            nomination: message.nomination().filter(|_| cx.config.renomination),
        };
        if self.session.remote().is_some_and(|known| known.ufrag() == remote) {
            self.apply_check(cx, now, path, check);
        } else {
            self.remember_early(cx, path, remote, check);
        }
        true
    }

    /// RFC 8445 §7.3.1.1: both ends think they have the same role.
    fn settle_roles(&mut self, cx: &mut Context, message: &Message<'_>) -> Settled {
        // A lite peer is controlled whatever its checks say, if it sends any (some that are full only until they are
        // connected call themselves lite): it would not know what to do with a 487.
        if self.is_remote_lite() && !cx.config.lite {
            return Settled::Agreed;
        }
        // Who sends checks is no lite agent, so a lite one is controlled (RFC 8445 §6.1.1), also while it has offered and the answer
        // is still under way: a 487 would leave two controlled agents, and nobody to nominate.
        if cx.config.lite && message.ice_controlling().is_some() {
            if self.role() == Role::Controlling {
                self.switch_role(cx);
            }
            return Settled::Agreed;
        }
        let peer = match self.role() {
            Role::Controlling => message.ice_controlling(),
            Role::Controlled => message.ice_controlled(),
        };
        let Some(peer) = peer else { return Settled::Agreed };
        cx.counters.role_conflicts += 1;
        let ours_is_larger = self.tie_breaker >= peer;
        // The larger tie-breaker controls.
        if ours_is_larger == (self.role() == Role::Controlling) {
            return Settled::PeerMustSwitch;
        }
        self.switch_role(cx);
        Settled::Agreed
    }

    /// What a valid check of the peer tells us (RFC 8445 §7.3.1.3 to §7.3.1.5), after it was answered.
    pub(super) fn apply_check(&mut self, cx: &mut Context, now: Instant, path: Path, check: PeerCheck) {
        // RFC 7675 §5.1: once consent is gone, a restart alone brings anything back.
        if self.liveness.consent_expired() {
            return;
        }
        let known = self.list.pair_on(path);
        let Some(id) = known.or_else(|| self.peer_reflexive_pair(cx, path, check.priority)) else {
            return;
        };
        let role = self.role();
        let Some(pair) = self.list.pair_mut(id) else { return };
        pair.authenticated = true;
        pair.counts.requests_received += 1;
        pair.counts.responses_sent += 1;
        if role == Role::Controlled {
            pair.note_nomination(now, check.use_candidate, check.nomination);
        }
        if cx.config.lite {
            // A lite agent takes the peer's word for it (RFC 8445 §7.3.2), and its checks for consent (RFC 7675 §5.1).
            pair.state = PairState::Succeeded;
            pair.consent = Some(Consent::new(now));
            self.nomination.note_valid(now);
            self.follow_nomination(cx, now, id);
            return;
        }
        let is_valid = pair.is_valid();
        let limit = cx.config.timing.consent_timeout / 3;
        let answered = pair.consent.as_ref().map(Consent::last_response);
        let stale = answered.is_none_or(|at| now.saturating_duration_since(at) > limit);
        let is_selected = self.list.is_selected(id);
        // The controlled peer checks another pair than the one in use: perhaps it cannot reach us there any more, and
        // cannot nominate what it has instead. Asks at once.
        let selected = self.list.selected().map(|pair| pair.id);
        if role == Role::Controlling
            && !is_selected
            && let Some(consent) = selected.and_then(|id| self.list.pair_mut(id)?.consent.as_mut())
        {
            consent.doubt(now);
        }
        if is_valid && !(check.use_candidate && stale && !is_selected) {
            self.follow_nomination(cx, now, id);
            return;
        }
        // A pair that long ago was valid has to prove itself before it carries data.
        if let Some(pair) = self.list.pair_mut(id)
            && pair.state != PairState::InProgress
        {
            pair.state = PairState::Waiting;
            pair.round.since = None;
        }
        self.list.trigger_first(id);
    }

    /// A check from an address that nobody told us (RFC 8445 §7.3.1.3).
    fn peer_reflexive_pair(&mut self, cx: &mut Context, path: Path, priority: Option<u32>) -> Option<PairId> {
        // A connection belongs to a candidate of its own name.
        let end = self.connections.end_of(path.local);
        // In one-port mode several host candidates share a socket; loopback is no end for what came from elsewhere.
        let fits = |l: &&LocalCandidate| l.local == end && l.pairs && l.addr.is_ipv4() == path.remote.is_ipv4();
        let same_reach = |l: &&LocalCandidate| l.source().is_loopback() == path.remote.ip().is_loopback();
        let locals = self.list.locals();
        let best = locals.iter().find(|l| fits(l) && same_reach(l));
        let local = best.or_else(|| locals.iter().find(fits))?;
        let (local, tcp_type) = (local.id, local.candidate.tcp_type);
        let candidate = peer_reflexive(self.list.remotes().len(), tcp_type, path.remote, priority);
        let known = self.list.remotes().find(candidate.protocol, path.remote);
        let remote = known.or_else(|| self.list.insert_remote(cx, candidate, path.remote))?;
        // Whatever their types and scopes: that a check came through proves that the addresses go together.
        self.list.insert_pair(cx, local, remote, path)
    }

    /// Controlled: uses the pair if the peer nominated it and it is valid (RFC 8445 §7.3.1.5).
    fn follow_nomination(&mut self, cx: &mut Context, now: Instant, id: PairId) {
        let silent = self.liveness.is_silent();
        if self.nomination.is_chosen_by_peer(&self.list, id, silent) {
            self.select(cx, now, id);
        }
    }
}

/// Answers to our checks.
impl Checks {
    /// RFC 8445 §7.2.5. Only an answer to a check of ours, from where it was sent to, with a valid MESSAGE-INTEGRITY
    /// counts. Returns whether it was one.
    pub(crate) fn handle_response(
        &mut self,
        cx: &mut Context,
        now: Instant,
        path: Path,
        message: &Message<'_>,
    ) -> bool {
        if message.method() != Method::BINDING {
            cx.counters.unexpected_response += 1;
            return false;
        }
        if let Some(previous) = &mut self.previous
            && previous.handle_response(cx, now, path, message)
        {
            return true;
        }
        let Some(id) = self.list.pair_on(path) else {
            cx.counters.unexpected_response += 1;
            return false;
        };
        let remote = self.session.remote();
        let verdict = remote.map_or(Verdict::Absent, |remote| message.check_integrity(remote.key()));
        if verdict != Verdict::Valid {
            cx.counters.bad_integrity += 1;
            return false;
        }
        let pair = self.list.pair_mut(id);
        let Some(check) = pair.and_then(|pair| pair.unanswered.take(message.transaction_id())) else {
            cx.counters.unexpected_response += 1;
            return false;
        };
        match message.class() {
            Class::Success => self.check_succeeded(cx, now, id, &check, message),
            _ => self.check_refused(cx, id, &check, message),
        }
        true
    }

    fn check_refused(&mut self, cx: &mut Context, id: PairId, check: &Check, message: &Message<'_>) {
        let code = message.error_code().map_or(0, |error| error.code);
        if code == 487 {
            // RFC 8445 §7.2.5.1: switch, unless we have since, and check again in the new role.
            cx.counters.role_conflicts += 1;
            if check.role == self.role() {
                self.tie_breaker = cx.rng.u64();
                self.switch_role(cx);
            }
            self.list.trigger(id);
        } else if !self.list.is_selected(id)
            && let Some(pair) = self.list.pair_mut(id)
        {
            pair.fail();
        }
    }

    fn check_succeeded(&mut self, cx: &mut Context, now: Instant, id: PairId, check: &Check, message: &Message<'_>) {
        let next = Consent::draw_next(&cx.config, &mut cx.rng, now);
        let Some(pair) = self.list.pair_mut(id) else { return };
        // An answer alone tells that somebody is there: the source of a request can be forged, by whoever knows our
        // password.
        if pair.counts.responses_received == 0
            && let Some(contacts) = &cx.config.contacts
        {
            contacts.answered(now, pair.path.remote.ip());
        }
        pair.answered(now, check, next);
        pair.state = PairState::Succeeded;
        if !pair.nominating {
            pair.round.since = None;
        }
        self.nomination.note_valid(now);
        if !self.has_selected() {
            self.list.unfreeze_like(id);
        }
        if let Some(mapped) = message.xor_mapped_address() {
            self.discover_reflexive(cx, id, mapped);
        }
        match self.role() {
            Role::Controlling if check.use_candidate && check.role == Role::Controlling => {
                self.nomination_confirmed(cx, now, id);
            }
            Role::Controlling => {
                let silent = self.liveness.is_silent();
                self.nomination
                    .consider_moving(&mut self.list, &cx.config, now, id, silent);
            }
            Role::Controlled => self.follow_nomination(cx, now, id),
        }
    }

    /// The peer has confirmed our nomination of this pair, be it the first time or by a consent check.
    fn nomination_confirmed(&mut self, cx: &mut Context, now: Instant, id: PairId) {
        let is_selected = self.list.is_selected(id);
        let has_selected = self.has_selected();
        let Some(pair) = self.list.pair_mut(id) else { return };
        // An answer on the pair that we have left says nothing new.
        let chosen = std::mem::take(&mut pair.nominating);
        if chosen || is_selected || !has_selected {
            pair.round.since = None;
            if !is_selected {
                self.select(cx, now, id);
            }
        }
    }

    /// The peer saw us under an address that we did not know (RFC 8445 §7.2.5.3.1).
    fn discover_reflexive(&mut self, cx: &mut Context, id: PairId, mapped: SocketAddr) {
        let pair = self.list.pair(id);
        let own = pair.and_then(|pair| self.list.locals().get(pair.local));
        let Some(new) = own.and_then(|own| own.seen_as(mapped)) else {
            return;
        };
        let known = self.list.locals().find(&new);
        let ufrag = self.session.local().ufrag();
        let found = known.or_else(|| self.list.insert_local(cx, new, ufrag));
        // The valid pair is made of the address that the peer saw (§7.2.5.3.2); its path and its place stay the same.
        if let Some(found) = found
            && let Some(pair) = self.list.pair_mut(id)
        {
            pair.local = found;
        }
    }
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
