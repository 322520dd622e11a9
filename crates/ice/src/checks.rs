//! Connectivity checks (RFC 8445 §7): sending them, answering them, and what their answers mean.

use std::time::{Duration, Instant};

use antiphon_sansio::Path;
use antiphon_stun::{AttributeType, Check as Verdict, Class, Message, Method};

use crate::agent::{Agent, EarlyCheck, MAX_EARLY_CHECKS};
use crate::candidate::{Candidate, CandidateKind, Protocol, TcpType};
use crate::config::Role;
use crate::event::Event;
use crate::local::{LocalCandidate, NewLocal};
use crate::outgoing::{MAX_UNKNOWN, Outcome, Outgoing};
use crate::pair::{Check, Pair};
use crate::stats::PairState;

/// What a valid check of the peer says.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Said {
    pub(crate) priority: Option<u32>,
    pub(crate) use_candidate: bool,
    /// NOMINATION, of a peer that renominates.
    pub(crate) nomination: Option<u32>,
}

/// How long ago a check may have been answered on the pair in use for it not to be asked again when the peer checks another.
const RECENT: Duration = Duration::from_millis(200);

impl Agent {
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
        let said = Said {
            priority: message.priority(),
            use_candidate: message.use_candidate(),
            nomination: message.nomination().filter(|_| self.config.renomination),
        };
        let known_peer = self.remote_credentials().is_some_and(|known| known.ufrag == remote);
        if known_peer {
            self.apply_check(now, path, said);
        } else {
            self.remember_early(path, remote, said);
        }
    }

    /// The check was answered, but who sent it is known only when its description comes (RFC 8445 §7.3, trickle ICE).
    fn remember_early(&mut self, path: Path, ufrag: &str, said: Said) {
        if let Some(known) = self
            .early
            .iter_mut()
            .find(|check| check.path == path && check.ufrag == ufrag)
        {
            known.said.use_candidate |= said.use_candidate;
            known.said.nomination = known.said.nomination.max(said.nomination);
        } else if self.early.len() < MAX_EARLY_CHECKS {
            self.early.push(EarlyCheck {
                path,
                ufrag: ufrag.to_owned(),
                said,
            });
        } else {
            self.counters.over_limit += 1;
        }
    }

    /// RFC 8445 §7.3.1.1: both ends think they have the same role.
    fn settle_roles(&mut self, message: &Message<'_>) -> Settled {
        // A lite peer is controlled whatever its checks say, if it sends any (some that are full only until they are connected
        // call themselves lite): it would not know what to do with a 487.
        if self.remote_lite && !self.config.lite {
            return Settled::Agreed;
        }
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
    pub(crate) fn apply_check(&mut self, now: Instant, path: Path, said: Said) {
        // RFC 7675 §5.1: once consent is gone, a restart alone brings anything back.
        if self.consent_expired {
            return;
        }
        let Some(index) = self
            .pair_on(path)
            .or_else(|| self.peer_reflexive_pair(path, said.priority))
        else {
            return;
        };
        let lite = self.config.lite;
        let role = self.role;
        let pair = &mut self.pairs[index];
        pair.authenticated = true;
        pair.requests_received += 1;
        pair.responses_sent += 1;
        if role == Role::Controlled {
            pair.note_nomination(now, said.use_candidate, said.nomination);
        }
        if lite {
            // A lite agent takes the peer's word for it (RFC 8445 §7.3.2), and its checks for consent (RFC 7675 §5.1).
            pair.state = PairState::Succeeded;
            pair.consent = Some(Self::new_consent(now));
            self.first_valid.get_or_insert(now);
            self.follow_nomination(now, index);
            return;
        }
        if role == Role::Controlling && self.selected.is_some_and(|selected| selected != self.pairs[index].id) {
            self.doubt_selected(now);
        }
        let pair = &mut self.pairs[index];
        let limit = self.config.consent_timeout / 3;
        let since = |at: Instant| now.saturating_duration_since(at);
        let stale = pair
            .consent
            .as_ref()
            .is_none_or(|consent| since(consent.last_response) > limit);
        if pair.is_valid() && !(said.use_candidate && stale && self.selected != Some(pair.id)) {
            self.follow_nomination(now, index);
            return;
        }
        // A pair that long ago was valid has to prove itself before it carries data.
        if pair.state != PairState::InProgress {
            pair.state = PairState::Waiting;
            pair.checking_since = None;
        }
        let id = pair.id;
        self.trigger_first(id);
    }

    /// The controlled peer checks another pair than the one in use: perhaps it cannot reach us there any more, and cannot nominate
    /// what it has instead. Asks at once.
    fn doubt_selected(&mut self, now: Instant) {
        let selected = self.selected;
        let Some(pair) = self.pairs.iter_mut().find(|pair| Some(pair.id) == selected) else {
            return;
        };
        if let Some(consent) = &mut pair.consent
            && consent.unanswered_since.is_none()
        {
            consent.doubted = true;
            consent.next = consent.next.min(now.max(consent.last_response + RECENT));
        }
    }

    /// A check from an address that nobody told us (RFC 8445 §7.3.1.3).
    fn peer_reflexive_pair(&mut self, path: Path, priority: Option<u32>) -> Option<usize> {
        // A connection belongs to a candidate of its own name.
        let end = self.tcp.end_of(path.local);
        // In one-port mode several host candidates share a socket; loopback is no end for what came from elsewhere.
        let fits = |l: &LocalCandidate| l.local == end && l.pairs && l.addr.is_ipv4() == path.remote.is_ipv4();
        let same_reach = |l: &LocalCandidate| l.source().is_loopback() == path.remote.ip().is_loopback();
        let best = self.locals.iter().position(|l| fits(l) && same_reach(l));
        let local = best.or_else(|| self.locals.iter().position(fits))?;
        // RFC 6544 §7.3: of the type that goes with ours.
        let tcp_type = self.locals[local].candidate.tcp_type.map(|own| match own {
            TcpType::Active => TcpType::Passive,
            TcpType::Passive => TcpType::Active,
            TcpType::SimultaneousOpen => TcpType::SimultaneousOpen,
        });
        let protocol = if tcp_type.is_some() {
            Protocol::Tcp
        } else {
            Protocol::Udp
        };
        let candidate = Candidate {
            foundation: format!("prflx{}", self.remotes.len()),
            component: 1,
            protocol,
            priority: priority.unwrap_or_else(|| Candidate::compute_priority(CandidateKind::PeerReflexive, 0)),
            address: path.remote.ip().into(),
            port: path.remote.port(),
            kind: CandidateKind::PeerReflexive,
            related: None,
            tcp_type,
            ufrag: None,
            extensions: Vec::new(),
        };
        let remote = match self
            .remotes
            .iter()
            .position(|remote| remote.is_at(protocol, path.remote))
        {
            Some(known) => known,
            None => self.insert_remote(candidate, path.remote)?,
        };
        // Not `form_pair`: that a check came through proves that the addresses go together.
        self.insert_pair(local, remote, path)
    }

    /// RFC 8445 §7.2.5. Only an answer to a check of ours, from where it was sent to, with a valid MESSAGE-INTEGRITY counts.
    fn handle_response(&mut self, now: Instant, path: Path, message: &Message<'_>) {
        if message.method() != Method::BINDING {
            self.counters.unexpected_response += 1;
            return;
        }
        if self.handle_probe_response(now, path, message) {
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
        // An answer alone tells that somebody is there: the source of a request can be forged, by whoever knows our password.
        if pair.responses_received == 0
            && let Some(contacts) = &self.config.contacts
        {
            contacts.answered(now, pair.path.remote.ip());
        }
        pair.answered(now, check, next);
        pair.state = PairState::Succeeded;
        if !pair.nominating {
            pair.checking_since = None;
        }
        let (id, local, remote) = (pair.id, pair.local, pair.remote);
        self.first_valid.get_or_insert(now);
        if let Some(mapped) = message.xor_mapped_address() {
            self.discover_reflexive(now, index, mapped);
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
                // An answer on the pair that we have left says nothing new.
                let chosen = std::mem::take(&mut self.pairs[index].nominating);
                if chosen || self.selected.is_none_or(|selected| selected == id) {
                    self.pairs[index].checking_since = None;
                    self.select_again(now, index);
                }
            }
            Role::Controlling => self.consider_moving(now, index),
            Role::Controlled => self.follow_nomination(now, index),
        }
    }

    /// The peer saw us under an address that we did not know (RFC 8445 §7.2.5.3.1).
    fn discover_reflexive(&mut self, now: Instant, index: usize, mapped: std::net::SocketAddr) {
        let pair = &self.pairs[index];
        let own = &self.locals[pair.local];
        // The port of an active candidate is that of each connection (RFC 6544 §4.5).
        let active = own.candidate.tcp_type == Some(TcpType::Active);
        let same = own.addr == mapped || own.base == mapped || (active && own.base.ip() == mapped.ip());
        if same || mapped.is_ipv4() != own.addr.is_ipv4() {
            return;
        }
        let (local, tcp_type) = (own.local, own.candidate.tcp_type);
        let known = self
            .locals
            .iter()
            .position(|l| l.local == local && l.addr == mapped && l.candidate.tcp_type == tcp_type);
        let new = NewLocal {
            kind: CandidateKind::PeerReflexive,
            addr: mapped,
            ..NewLocal::host(local, own.interface, own.base, own.local_preference, tcp_type)
        };
        let found = known.or_else(|| self.insert_local(now, new).then(|| self.locals.len() - 1));
        // The valid pair is made of the address that the peer saw (§7.2.5.3.2); its path and its place stay the same.
        if let Some(found) = found {
            self.pairs[index].local = found;
        }
    }
}

impl Pair {
    /// A valid answer came: that is consent, too (RFC 7675 §5.1).
    fn answered(&mut self, now: Instant, check: &Check, next: Instant) {
        self.authenticated = true;
        self.responses_received += 1;
        let sample = now.saturating_duration_since(check.sent);
        self.total_rtt += sample;
        self.last_rtt = Some(sample);
        self.rtt = Some(self.rtt.map_or(sample, |rtt| (rtt * 7 + sample) / 8));
        // While a nomination is on its way, only an answer to it ends its repetition.
        if check.use_candidate || !self.nominating {
            self.recheck_at = None;
        }
        let consent = self.consent.get_or_insert_with(|| Agent::new_consent(now));
        consent.last_response = now;
        consent.unanswered_since = None;
        consent.doubted = false;
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
