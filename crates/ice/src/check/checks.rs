//! The check list with everything that decides about its pairs: whose credentials count, when checks are sent, which
//! pair is used, and whether it still works.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use antiphon_sansio::{Local, Path};

use super::connections::Connections;
use super::ids::PairId;
use super::list::CheckList;
use super::liveness::{Liveness, Situation};
use super::local::LocalCandidate;
use super::nomination::Nomination;
use super::pair::{Asker, Pair};
use super::previous::Previous;
use super::remote::MAX_REMOTE_CANDIDATES;
use crate::candidate::{Candidate, CandidateAddress, Protocol};
use crate::config::{Config, Credentials, Role};
use crate::context::Context;
use crate::event::{ConnectionState, Event};
use crate::notice::{NewLocal, Notice};
use crate::placeholder::is_placeholder;
use crate::session::{Keyed, Session};
use crate::stats::{Stats, Traffic};

/// The most checks remembered that came before the remote description.
pub const MAX_EARLY_CHECKS: usize = 32;

/// What a valid check of the peer says.
#[derive(Clone, Copy, Debug)]
pub(super) struct PeerCheck {
    pub(super) priority: Option<u32>,
    pub(super) use_candidate: bool,
    /// NOMINATION, of a peer that renominates.
    pub(super) nomination: Option<u32>,
}

/// A valid check that came before we knew the peer's credentials.
#[derive(Debug)]
struct EarlyCheck {
    path: Path,
    ufrag: String,
    check: PeerCheck,
}

/// What the checks are told of the rest of the agent.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Outside {
    /// Until when a peer that does not answer counts as there, for what it has sent.
    pub(crate) heard_until: Option<Instant>,
    /// We have no more candidates.
    pub(crate) has_gathered: bool,
    /// Names of the peer's candidates are being looked up.
    pub(crate) is_resolving: bool,
}

#[derive(Debug)]
pub(crate) struct Checks {
    pub(super) session: Session,
    /// The pair of before a restart, while it is in use. Boxed: mostly there is none.
    pub(super) previous: Option<Box<Previous>>,
    pub(super) tie_breaker: u64,
    remote_lite: bool,
    /// The peer has no more candidates in this generation.
    end_of_remote: bool,
    early: Vec<EarlyCheck>,
    /// Candidates that came before the credentials.
    waiting: Vec<Candidate>,
    pub(super) list: CheckList,
    pub(super) connections: Connections,
    pub(super) nomination: Nomination,
    pub(super) liveness: Liveness,
}

impl Checks {
    pub(crate) fn new(cx: &mut Context) -> Self {
        Self {
            tie_breaker: cx.rng.u64(),
            session: Session::new(0, Keyed::random(&mut cx.rng)),
            previous: None,
            remote_lite: false,
            end_of_remote: false,
            early: Vec::new(),
            waiting: Vec::new(),
            list: CheckList::new(cx.config.role),
            connections: Connections::default(),
            nomination: Nomination::default(),
            liveness: Liveness::new(),
        }
    }

    pub(crate) fn session(&self) -> &Session {
        &self.session
    }

    /// The credentials of this generation, or of the one before as long as that is in use.
    pub(crate) fn session_of(&self, generation: u32) -> Option<&Session> {
        let mut sessions = self.sessions();
        sessions.find(|session| session.generation() == generation)
    }

    fn sessions(&self) -> impl Iterator<Item = &Session> {
        std::iter::once(&self.session).chain(self.previous.as_deref().map(Previous::session))
    }

    /// Whether this user fragment is ours.
    pub(crate) fn is_ours(&self, ufrag: &str) -> bool {
        self.sessions().any(|session| session.local().ufrag() == ufrag)
    }

    pub(crate) fn role(&self) -> Role {
        self.list.role()
    }

    pub(crate) fn set_role(&mut self, role: Role) {
        self.list.set_role(role);
    }

    pub(crate) fn set_remote_lite(&mut self, lite: bool) {
        self.remote_lite = lite;
    }

    pub(super) fn is_remote_lite(&self) -> bool {
        self.remote_lite
    }

    pub(crate) fn set_remote_renomination(&mut self, renomination: bool) {
        self.list.set_remote_renomination(renomination);
    }

    pub(crate) fn state(&self) -> ConnectionState {
        self.liveness.state()
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state() == ConnectionState::Closed
    }

    pub(crate) fn only_receives(&self) -> bool {
        self.liveness.only_receives()
    }

    pub(crate) fn has_selected(&self) -> bool {
        self.list.selected().is_some()
    }
}

/// Credentials and candidates of both ends.
impl Checks {
    /// The peer's credentials came by signalling. Checks begin; those that came too early are replayed.
    pub(crate) fn set_remote_credentials(&mut self, cx: &mut Context, now: Instant, credentials: Credentials) {
        if let Some(remote) = self.session.remote() {
            if *remote.credentials() == credentials {
                return;
            }
            self.forget_remote_generation(cx);
        }
        let ufrag = credentials.ufrag.clone();
        self.session.set_remote(Some(Keyed::new(credentials)));
        self.liveness.begin_checking(now);
        for candidate in std::mem::take(&mut self.waiting) {
            self.accept_remote(cx, candidate);
        }
        for early in std::mem::take(&mut self.early) {
            if early.ufrag == ufrag {
                self.apply_check(cx, now, early.path, early.check);
            }
        }
    }

    /// Begins a new generation (RFC 8445 §9). The pair in use carries data until the new generation has nominated one.
    pub(crate) fn restart(&mut self, cx: &mut Context, credentials: Credentials) {
        let local = Keyed::new(credentials);
        let next = Session::new(self.session.generation() + 1, local);
        let session = std::mem::replace(&mut self.session, next);
        let in_use = self.list.active().filter(|_| !self.liveness.consent_expired());
        if let Some(id) = in_use.map(|pair| pair.id)
            && let Some(pair) = self.list.take(id)
        {
            self.previous = Some(Box::new(Previous::new(session, pair)));
        }
        self.forget_remote_generation(cx);
        self.liveness.restart();
        self.list.locals_mut().restart(self.session.local().ufrag());
    }

    fn forget_remote_generation(&mut self, cx: &mut Context) {
        self.session.set_remote(None);
        self.list.forget_remotes();
        self.waiting.clear();
        self.end_of_remote = false;
        self.nomination.forget_generation();
        self.liveness.forget_generation();
        cx.notify(Notice::ForgetLookUps);
    }

    pub(crate) fn close(&mut self, cx: &mut Context) {
        self.previous = None;
        self.list.forget_pairs();
        self.connections.close(cx);
        self.liveness.close(cx);
    }

    /// A candidate of the peer came by signalling.
    pub(crate) fn add_remote(&mut self, cx: &mut Context, candidate: Candidate) {
        if self.session.remote().is_some() {
            self.accept_remote(cx, candidate);
        } else if self.waiting.len() < MAX_REMOTE_CANDIDATES {
            self.waiting.push(candidate);
        } else {
            cx.counters.over_limit += 1;
        }
    }

    /// The peer has no more candidates in this generation.
    pub(crate) fn end_of_remotes(&mut self) {
        self.end_of_remote = true;
    }

    fn accept_remote(&mut self, cx: &mut Context, candidate: Candidate) {
        // RFC 8838 §11: a candidate of another generation is not paired with this one's.
        let wrong_generation = match (&candidate.ufrag, self.session.remote()) {
            (Some(ufrag), Some(remote)) => ufrag != remote.ufrag(),
            _ => false,
        };
        // RFC 6544 §4.5: a TCP candidate says who connects.
        let complete = (candidate.protocol == Protocol::Tcp) == candidate.tcp_type.is_some();
        if wrong_generation || candidate.component != 1 || !complete {
            cx.counters.ignored_candidates += 1;
            return;
        }
        match &candidate.address {
            CandidateAddress::Ip(ip) => {
                let addr = SocketAddr::new(*ip, candidate.port);
                self.list.insert_remote(cx, candidate, addr);
            }
            CandidateAddress::Name(name) => {
                let name = name.clone();
                cx.notify(Notice::LookUp { name, candidate });
            }
        }
    }

    /// The name of a candidate of the peer's has this address.
    pub(crate) fn insert_resolved(&mut self, cx: &mut Context, candidate: Candidate, addr: SocketAddr) {
        self.list.insert_remote(cx, candidate, addr);
    }

    /// A candidate of ours was found.
    pub(crate) fn insert_local(&mut self, cx: &mut Context, new: NewLocal) {
        self.list.insert_local(cx, new, self.session.local().ufrag());
    }

    /// Signals the candidates of before a restart again, of those that hide behind a name the published ones.
    pub(crate) fn announce_again(&self, cx: &mut Context, is_published: impl Fn(IpAddr) -> bool) {
        self.list.locals().announce_again(cx, is_published);
    }

    /// Signals what waited for the publication of its name.
    pub(crate) fn announce_name(&self, cx: &mut Context, name: &str) {
        self.list.locals().announce_name(cx, name);
    }

    /// The check was answered, but who sent it is known only when its description comes (RFC 8445 §7.3, trickle ICE).
    pub(super) fn remember_early(&mut self, cx: &mut Context, path: Path, ufrag: &str, check: PeerCheck) {
        let mut early = self.early.iter_mut();
        if let Some(known) = early.find(|known| known.path == path && known.ufrag == ufrag) {
            known.check.use_candidate |= check.use_candidate;
            known.check.nomination = known.check.nomination.max(check.nomination);
        } else if self.early.len() < MAX_EARLY_CHECKS {
            self.early.push(EarlyCheck {
                path,
                ufrag: ufrag.to_owned(),
                check,
            });
        } else {
            cx.counters.over_limit += 1;
        }
    }
}

/// Ends that go, and connections.
impl Checks {
    /// These ends are gone, or everything on this interface. If the selected pair was there, every other path is tried
    /// at once.
    pub(crate) fn forget_ends(&mut self, cx: &mut Context, now: Instant, ends: &[Local], interface: Option<IpAddr>) {
        let connections = interface.map(|ip| self.connections.forget_interface(cx, ip));
        let gone = |local: Local| ends.contains(&local) || connections.iter().flatten().any(|gone| *gone == local);
        if self
            .previous
            .as_ref()
            .is_some_and(|previous| gone(previous.path().local))
        {
            self.previous = None;
        }
        let lost = self.list.forget_locals(cx, |candidate| {
            interface == Some(candidate.interface) || gone(candidate.local)
        });
        if lost {
            self.path_lost(now);
        }
    }

    /// The path in use is gone with its interface, its connection or its allocation. Everything else is tried at once.
    fn path_lost(&mut self, now: Instant) {
        if self.liveness.consent_expired() || self.previous.is_some() {
            return;
        }
        self.liveness.lost_path(now);
        self.nomination.forget_improvement();
        let kept = self.list.selected().map(|pair| pair.id);
        self.list.look_for_another(kept);
    }

    /// A connection stands that serves no server.
    pub(crate) fn connected(&mut self, cx: &mut Context, request: u32, local: Local) {
        self.connections.connected(cx, &mut self.list, request, local);
    }

    /// Somebody connected to a listener, of which the placeholder and the interface are given.
    pub(crate) fn accepted(
        &mut self,
        cx: &mut Context,
        now: Instant,
        listener: Option<(Local, IpAddr)>,
        local: Local,
        remote: SocketAddr,
    ) {
        self.connections
            .accepted(cx, &mut self.list, now, listener, local, remote);
    }

    /// Takes the refusal of a connection, if it was for a pair.
    pub(crate) fn connection_failed(&mut self, request: u32) -> bool {
        self.connections.failed(&mut self.list, request)
    }

    /// Takes the end of a connection, if it was for pairs.
    pub(crate) fn connection_closed(&mut self, now: Instant, local: Local) -> bool {
        let in_use = self.list.active().is_some_and(|pair| pair.path.local == local);
        if !self.connections.closed(&mut self.list, local) {
            return false;
        }
        self.previous.take_if(|previous| previous.path().local == local);
        if in_use {
            self.path_lost(now);
        }
        true
    }
}

/// Checks and time.
impl Checks {
    fn all_known(&self, outside: &Outside) -> bool {
        self.end_of_remote && outside.has_gathered
    }

    fn situation(&self, outside: &Outside) -> Situation {
        Situation {
            heard_until: outside.heard_until,
            all_known: self.all_known(outside),
            is_resolving: outside.is_resolving,
            has_previous: self.previous.is_some(),
            is_restarted: self.session.generation() > 0,
        }
    }

    /// What follows from everything that happened, before checks are sent.
    pub(crate) fn advance(&mut self, cx: &mut Context, now: Instant, outside: &Outside) {
        self.list.expire_checks(&cx.config, now);
        self.run_consent(cx, now, outside);
        let (all_known, lost) = (self.all_known(outside), self.liveness.is_lost());
        self.nomination
            .nominate(&mut self.list, &cx.config, now, all_known, lost);
        self.nomination.improve(&mut self.list, &cx.config, now);
    }

    /// And after they were sent. Returns whether there are more to send.
    pub(crate) fn update_state(&mut self, cx: &mut Context, now: Instant, outside: &Outside) -> bool {
        self.connections.sweep(cx, &self.list, self.previous.as_deref(), now);
        let situation = self.situation(outside);
        self.liveness.update(cx, &mut self.list, now, &situation)
    }

    /// Asks for consent on the pair in use and on the one of before a restart. The timer is their own: neither media
    /// nor other checks put it off.
    fn run_consent(&mut self, cx: &mut Context, now: Instant, outside: &Outside) {
        // When one pair loses consent the next best takes its place, and may have lost its own.
        while let Some(pair) = self.list.active_mut() {
            let Some(consent) = &pair.consent else { break };
            let (id, is_due) = (pair.id, consent.is_due(now) && !cx.config.lite);
            if !consent.is_expired(&cx.config, now) {
                if is_due {
                    pair.asked_for_consent(now, self.liveness.state() == ConnectionState::Disconnected);
                    self.send_request(cx, now, id);
                }
                break;
            }
            if self.list.is_selected(id) {
                let situation = self.situation(outside);
                self.liveness.give_up(cx, &mut self.list, now, &situation);
                self.nomination.forget_improvement();
            } else if let Some(pair) = self.list.pair_mut(id) {
                pair.fail();
            }
        }
        let disconnected = self.liveness.state() == ConnectionState::Disconnected;
        let (role, tie_breaker) = (self.list.role(), self.tie_breaker);
        self.previous
            .take_if(|previous| !previous.run_consent(cx, now, role, tie_breaker, disconnected));
    }

    /// Sends a check that was triggered, if there is one (RFC 8445 §6.1.4.2).
    pub(crate) fn send_triggered(&mut self, cx: &mut Context, now: Instant) -> bool {
        let next = self.list.next_triggered();
        next.inspect(|id| self.send_check(cx, now, *id)).is_some()
    }

    fn next_ordinary(&self, config: &Config) -> Option<PairId> {
        if self.liveness.consent_expired() || self.session.remote().is_none() || config.lite {
            return None;
        }
        self.list.next_ordinary()
    }

    /// Sends the next ordinary check, or a fresh one where an earlier was not answered.
    pub(crate) fn send_ordinary(&mut self, cx: &mut Context, now: Instant) -> bool {
        let next = self.next_ordinary(&cx.config).or_else(|| self.list.next_recheck(now));
        next.inspect(|id| self.send_check(cx, now, *id)).is_some()
    }

    fn send_check(&mut self, cx: &mut Context, now: Instant, id: PairId) {
        let Some(pair) = self.list.pair_mut(id) else { return };
        let again = must_wait(cx, now, pair);
        pair.parked = false;
        if let Some(again) = again {
            pair.postpone(now, again);
        } else if is_placeholder(pair.path.local) {
            self.connections.connect(cx, &mut self.list, now, id);
        } else {
            // RFC 6544 §7.1: TCP itself repeats what is lost.
            let repeats = !matches!(pair.path.local, Local::Tcp(_));
            pair.check_sent(&cx.config, now, repeats);
            self.send_request(cx, now, id);
        }
    }

    /// Sends a check or a consent check on a pair of this generation.
    fn send_request(&mut self, cx: &mut Context, now: Instant, id: PairId) {
        let asker = Asker {
            generation: self.session.generation(),
            role: self.list.role(),
            tie_breaker: self.tie_breaker,
        };
        let renominates = self.list.may_renominate(&cx.config);
        let is_selected = self.list.is_selected(id);
        let local = self.list.pair(id).and_then(|pair| self.list.locals().get(pair.local));
        let Some(priority) = local.map(LocalCandidate::reflexive_priority) else {
            return;
        };
        let Some(pair) = self.list.pair_mut(id) else { return };
        let use_candidate = asker.role == Role::Controlling && (pair.nominating || is_selected);
        let nomination = (use_candidate && renominates).then_some(pair.nomination);
        let check = pair.new_check(&mut cx.rng, now, asker, priority, use_candidate, nomination);
        cx.push_outgoing(check);
    }

    /// When checks and consent need attention. `slot`: when the pacer has a place; `probes`: questions wait for one,
    /// too. Right after [`advance`](Self::advance) all of it lies ahead.
    pub(crate) fn poll_timeout(
        &self,
        config: &Config,
        slot: Option<Instant>,
        probes: bool,
        outside: &Outside,
    ) -> Option<Instant> {
        let waits = self.list.has_triggered() || probes || self.next_ordinary(config).is_some();
        let previous = self.previous.as_deref();
        [
            slot.filter(|_| waits),
            self.list.poll_timeout(config, slot),
            self.nomination.deadline(&self.list, config),
            self.nomination.improve_at(),
            self.liveness.poll_timeout(config, &self.list, &self.situation(outside)),
            self.connections.poll_timeout(),
            previous.and_then(|previous| previous.poll_timeout(config)),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Uses this pair from now on, and lets the pair of before a restart go.
    pub(super) fn select(&mut self, cx: &mut Context, now: Instant, id: PairId) {
        let is_first = self.list.selected().is_none() && !self.liveness.is_lost();
        self.previous = None;
        self.liveness.found_path();
        self.nomination.select(cx, &mut self.list, now, id, is_first);
    }

    pub(super) fn switch_role(&mut self, cx: &mut Context) {
        self.list.set_role(self.list.role().opposite());
        for pair in self.list.pairs_mut() {
            pair.nominating = false;
        }
        cx.push_event(Event::RoleChanged(self.list.role()));
    }
}

/// Whether a check of this pair would be one too many for its target, and when to come back then.
fn must_wait(cx: &mut Context, now: Instant, pair: &Pair) -> Option<Instant> {
    // Who was heard there with a valid MESSAGE-INTEGRITY wants to be checked.
    if pair.authenticated {
        return None;
    }
    let again = cx.config.contacts.as_ref()?.take(now, pair.path.remote.ip()).err();
    cx.counters.postponed_checks += u64::from(again.is_some());
    again
}

/// What the owner sees.
impl Checks {
    /// The nominated pair; during a restart the old one until the new one is nominated.
    pub(crate) fn selected_path(&self) -> Option<Path> {
        let previous = self.previous.as_deref().filter(|previous| previous.is_nominated());
        let selected = self.list.selected().map(|pair| pair.path);
        selected.or_else(|| previous.map(Previous::path))
    }

    /// Where to send now.
    pub(crate) fn send_path(&self) -> Option<Path> {
        if self.liveness.consent_expired() || self.is_closed() {
            return None;
        }
        match &self.previous {
            Some(previous) if self.list.selected().is_none() => Some(previous.path()),
            _ => self.list.active().map(|pair| pair.path),
        }
    }

    /// The round trip of the pair in use, smoothed.
    pub(crate) fn rtt(&self) -> Option<Duration> {
        match self.list.active() {
            Some(pair) => pair.rtt.smoothed,
            None => self.previous.as_deref().and_then(Previous::rtt),
        }
    }

    /// The paths of pairs, in the order of their ids, and whether a Binding message with a valid MESSAGE-INTEGRITY came
    /// there.
    pub(crate) fn pair_paths(&self) -> impl Iterator<Item = (PairId, Path, bool)> {
        self.list.pairs().map(|pair| (pair.id, pair.path, pair.authenticated))
    }

    /// Other paths on which such a message came: before the peer's description, or before a restart.
    pub(crate) fn other_paths(&self) -> impl Iterator<Item = Path> {
        let previous = self.previous.as_deref().filter(|previous| previous.is_authenticated());
        let early = self.early.iter().map(|check| check.path);
        early.chain(previous.map(Previous::path))
    }

    /// Candidates and pairs, with the application's datagrams on each.
    pub(crate) fn stats(&self, cx: &Context, traffic: impl Fn(PairId) -> Traffic) -> Stats {
        let pair = |pair: &Pair| pair.stats(self.list.is_selected(pair.id), traffic(pair.id));
        Stats {
            local_candidates: self.list.locals().stats(),
            remote_candidates: self.list.remotes().stats(),
            pairs: self.list.pairs().map(pair).collect(),
            counters: cx.counters,
        }
    }
}
