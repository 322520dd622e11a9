//! The agent: its state and what its owner calls.

use std::collections::VecDeque;
use std::time::Instant;

use antiphon_sansio::{BytesMut, Datagram, Local, Path, Rng};
use antiphon_stun::{Key, Message, is_stun};

use crate::candidate::{Candidate, CandidateKind};
use crate::checks::Said;
use crate::config::{Config, Credentials, Role};
use crate::event::{ConnectionState, Event};
use crate::gather::Gatherer;
use crate::io::{IoEvent, IoRequest};
use crate::local::LocalCandidate;
use crate::mdns::Mdns;
use crate::outgoing::Outgoing;
use crate::pair::{Consent, Pacer, Pair, pair_priority};
use crate::relay::Relays;
use crate::remote::RemoteCandidate;
use crate::stats::Counters;
use crate::tcp::Tcp;

/// The most remote candidates of one generation, signalled and peer-reflexive together.
pub const MAX_REMOTE_CANDIDATES: usize = 100;

/// The most local candidates of one generation.
pub const MAX_LOCAL_CANDIDATES: usize = 64;

/// The most checks remembered that came before the remote description.
pub const MAX_EARLY_CHECKS: usize = 32;

/// The most `.local` names of one generation that are looked up.
pub const MAX_MDNS_QUERIES: usize = 16;

/// The most events kept for an owner who does not ask; the oldest are dropped.
pub const MAX_EVENTS: usize = 512;

/// The most requests to the driver kept; later ones are dropped, and with them what they were for.
pub const MAX_IO_REQUESTS: usize = 256;

/// Credentials with the key that they make.
#[derive(Debug)]
pub(crate) struct Keyed {
    pub(crate) credentials: Credentials,
    pub(crate) key: Key,
}

impl Keyed {
    fn new(credentials: Credentials) -> Self {
        let key = Key::short_term(&credentials.password);
        Self { credentials, key }
    }

    fn random(rng: &mut Rng) -> Self {
        // RFC 8445 §5.3 asks for 24 and 128 bits; V27 for more of the former, for one-port mode finds agents by it.
        Self::new(Credentials {
            ufrag: rng.ice_chars(8),
            password: rng.ice_chars(24),
        })
    }
}

/// Both ends' credentials of one generation.
#[derive(Debug)]
pub(crate) struct Session {
    pub(crate) generation: u32,
    pub(crate) local: Keyed,
    pub(crate) remote: Option<Keyed>,
}

/// The pair in use before a restart (RFC 8445 §9): it carries data until the new generation has nominated one.
#[derive(Debug)]
pub(crate) struct Previous {
    pub(crate) session: Session,
    pub(crate) pair: Pair,
}

/// A valid check that came before we knew the peer's credentials.
#[derive(Debug)]
pub(crate) struct EarlyCheck {
    pub(crate) path: Path,
    pub(crate) ufrag: String,
    pub(crate) said: Said,
}

/// An ICE agent (RFC 8445) for one data stream with one component, as BUNDLE and RTP/RTCP multiplexing leave it.
///
/// It opens no socket: [`poll_io`](Self::poll_io) says what it needs. It reads no clock. What it sends is written by
/// [`poll_transmit`](Self::poll_transmit); what it reports comes from [`poll_event`](Self::poll_event).
#[derive(Debug)]
pub struct Agent {
    pub(crate) config: Config,
    pub(crate) rng: Rng,
    pub(crate) role: Role,
    pub(crate) tie_breaker: u64,
    pub(crate) remote_lite: bool,
    pub(crate) session: Session,
    pub(crate) previous: Option<Previous>,
    pub(crate) locals: Vec<LocalCandidate>,
    pub(crate) remotes: Vec<RemoteCandidate>,
    pub(crate) pairs: Vec<Pair>,
    /// Ids of pairs whose check was triggered (RFC 8445 §6.1.4.1); no id is in it twice.
    pub(crate) triggered: VecDeque<u64>,
    pub(crate) early: Vec<EarlyCheck>,
    /// Candidates that came before the credentials.
    pub(crate) waiting_candidates: Vec<Candidate>,
    pub(crate) mdns: Mdns,
    pub(crate) tcp: Tcp,
    pub(crate) remote_renomination: bool,
    /// How often we have nominated.
    pub(crate) nominations: u32,
    /// The pair in use has not answered for long enough to look for another, and not for long enough to say so.
    pub(crate) weak: bool,
    /// Since when there is no path, although there was one.
    pub(crate) lost_since: Option<Instant>,
    /// When a better pair than the one in use is tried again.
    pub(crate) improve_at: Option<Instant>,
    /// Where the last datagrams went out and came in: saves looking the pair up.
    pub(crate) last_pairs: [usize; 2],
    pub(crate) end_of_remote: bool,
    /// The nominated pair's id.
    pub(crate) selected: Option<u64>,
    pub(crate) first_valid: Option<Instant>,
    pub(crate) checking_since: Option<Instant>,
    /// RFC 8863 §4: the time in which nothing counts as failed is over.
    pub(crate) patience_over: bool,
    pub(crate) consent_expired: bool,
    /// When the layers above last took something that the peer had authenticated.
    pub(crate) heard_at: Option<Instant>,
    pub(crate) gatherer: Gatherer,
    pub(crate) relays: Relays,
    pub(crate) pacer: Pacer,
    pub(crate) outgoing: VecDeque<Outgoing>,
    pub(crate) io: VecDeque<IoRequest>,
    pub(crate) events: VecDeque<Event>,
    pub(crate) state: ConnectionState,
    pub(crate) counters: Counters,
    next_id: u64,
    next_request: u32,
}

impl Agent {
    /// A new agent with fresh credentials. Nothing happens before [`gather`](Self::gather).
    pub fn new(config: Config, _now: Instant, rng: Rng) -> Self {
        let mut rng = rng;
        let pacer = Pacer::new(config.pacing, config.burst);
        Self {
            role: config.role,
            tie_breaker: rng.u64(),
            remote_lite: false,
            session: Session {
                generation: 0,
                local: Keyed::random(&mut rng),
                remote: None,
            },
            previous: None,
            locals: Vec::new(),
            remotes: Vec::new(),
            pairs: Vec::new(),
            triggered: VecDeque::new(),
            early: Vec::new(),
            waiting_candidates: Vec::new(),
            mdns: Mdns::default(),
            tcp: Tcp::default(),
            remote_renomination: false,
            nominations: 0,
            weak: false,
            lost_since: None,
            improve_at: None,
            last_pairs: [0; 2],
            end_of_remote: false,
            selected: None,
            first_valid: None,
            checking_since: None,
            patience_over: false,
            consent_expired: false,
            heard_at: None,
            gatherer: Gatherer::default(),
            relays: Relays::default(),
            pacer,
            outgoing: VecDeque::new(),
            io: VecDeque::new(),
            events: VecDeque::new(),
            state: ConnectionState::New,
            counters: Counters::default(),
            next_id: 0,
            next_request: 0,
            config,
            rng,
        }
    }

    /// The credentials to signal.
    pub fn local_credentials(&self) -> &Credentials {
        &self.session.local.credentials
    }

    /// The peer's credentials, if known.
    pub fn remote_credentials(&self) -> Option<&Credentials> {
        self.session.remote.as_ref().map(|keyed| &keyed.credentials)
    }

    /// The peer's credentials came by signalling. Checks begin; those that came too early are replayed.
    ///
    /// The same credentials again change nothing. Others without a [`restart`](Self::restart) of ours replace the old
    /// ones and forget the candidates of the old generation: the caller should have restarted.
    pub fn set_remote_credentials(&mut self, now: Instant, credentials: Credentials) {
        if self.is_closed() {
            return;
        }
        if let Some(remote) = &self.session.remote {
            if remote.credentials == credentials {
                return;
            }
            self.forget_remote_generation();
        }
        let ufrag = credentials.ufrag.clone();
        self.session.remote = Some(Keyed::new(credentials));
        self.checking_since = Some(now);
        self.patience_over = false;
        for candidate in std::mem::take(&mut self.waiting_candidates) {
            self.accept_remote_candidate(now, candidate);
        }
        for check in std::mem::take(&mut self.early) {
            if check.ufrag == ufrag {
                self.apply_check(now, check.path, check.said);
            }
        }
        self.advance(now);
    }

    /// Our role, as offer and answer decide it; a conflict may change it later.
    pub fn set_role(&mut self, role: Role) {
        if self.role != role {
            self.role = role;
            self.recompute_priorities();
        }
    }

    /// Our role now.
    pub fn role(&self) -> Role {
        self.role
    }

    /// Whether we are a lite agent.
    pub fn is_lite(&self) -> bool {
        self.config.lite
    }

    /// Whether the peer said `a=ice-lite`. We control a lite peer, unless we are lite ourselves (RFC 8445 §6.1.1).
    pub fn set_remote_lite(&mut self, lite: bool) {
        self.remote_lite = lite;
        if lite && !self.config.lite {
            self.set_role(Role::Controlling);
        }
    }

    /// Whether the peer said `a=ice-options:renomination`: the controlling end may nominate again.
    pub fn set_remote_renomination(&mut self, renomination: bool) {
        self.remote_renomination = renomination;
    }

    /// Begins a new generation (RFC 8445 §9): new credentials, no remote candidates. Sockets stay, and the pair in use
    /// carries data until the new generation has nominated one. Signal the new credentials and call
    /// [`gather`](Self::gather) again.
    pub fn restart(&mut self, now: Instant) {
        let credentials = Keyed::random(&mut self.rng).credentials;
        self.restart_with(now, credentials);
    }

    /// Like [`restart`](Self::restart), with credentials that a description was made with before it was set.
    pub fn restart_with(&mut self, now: Instant, credentials: Credentials) {
        if self.is_closed() {
            return;
        }
        let local = Keyed::new(credentials);
        let ufrag = local.credentials.ufrag.clone();
        let session = std::mem::replace(
            &mut self.session,
            Session {
                generation: 0,
                local,
                remote: None,
            },
        );
        self.session.generation = session.generation + 1;
        let in_use = self.active().filter(|_| !self.consent_expired);
        if let Some(index) = in_use {
            let mut pair = self.pairs.swap_remove(index);
            pair.outstanding.clear();
            self.previous = Some(Previous { session, pair });
        }
        self.forget_remote_generation();
        self.consent_expired = false;
        self.heard_at = None;
        self.checking_since = None;
        self.patience_over = false;
        self.lost_since = None;
        // What a NAT that we know maps lasts as long as its base; what servers and peers said has to be asked again.
        self.locals.retain(|l| {
            matches!(l.candidate.kind, CandidateKind::Host | CandidateKind::Relayed)
                || (l.candidate.kind == CandidateKind::ServerReflexive && l.url.is_none())
        });
        for local in &mut self.locals {
            local.candidate.ufrag = Some(ufrag.clone());
        }
        self.gatherer.restart();
        self.advance(now);
    }

    fn forget_remote_generation(&mut self) {
        self.session.remote = None;
        self.remotes.clear();
        self.pairs.clear();
        self.triggered.clear();
        self.waiting_candidates.clear();
        self.mdns.forget_queries();
        self.end_of_remote = false;
        self.selected = None;
        self.first_valid = None;
        self.weak = false;
        self.improve_at = None;
    }

    /// Ends everything: allocations are given back by the transmits that follow, sockets by the requests that follow.
    /// Drain [`poll_transmit`](Self::poll_transmit) before [`poll_io`](Self::poll_io).
    pub fn close(&mut self, now: Instant) {
        if self.is_closed() {
            return;
        }
        self.relays.close(now);
        self.outgoing.clear();
        self.triggered.clear();
        self.mdns.forget_queries();
        self.withdraw_names(|_| true);
        self.pairs.clear();
        self.previous = None;
        self.selected = None;
        self.lost_since = None;
        self.close_tcp();
        for local in self.gatherer.sockets() {
            self.push_io(IoRequest::Close(local));
        }
        self.gatherer.close();
        self.set_state(ConnectionState::Closed);
    }

    pub(crate) fn is_closed(&self) -> bool {
        self.state == ConnectionState::Closed
    }

    /// A datagram came. STUN and TURN are taken; what belongs to the layers above comes back, out of its TURN framing if it
    /// was relayed (then its `path.local` is a `Local::Relay`).
    pub fn handle_datagram(&mut self, now: Instant, datagram: Datagram) -> Option<Datagram> {
        let mut datagram = datagram;
        if let Some(relay) = self.relays.find(datagram.path, &datagram.data) {
            let (peer, data) = self.handle_relay_packet(now, relay, datagram.data)?;
            datagram = Datagram {
                path: Path {
                    local: Local::Relay(relay),
                    remote: peer,
                },
                ecn: datagram.ecn,
                data,
            };
        }
        if matches!(datagram.path.local, Local::Tcp(_))
            && self.handle_tls_stun_message(now, datagram.path, &datagram.data)
        {
            self.advance(now);
            return None;
        }
        if !is_stun(&datagram.data) {
            self.count_received(now, datagram.path, datagram.data.len());
            return Some(datagram);
        }
        self.handle_stun(now, datagram.path, &datagram.data);
        self.advance(now);
        None
    }

    fn handle_stun(&mut self, now: Instant, path: Path, data: &BytesMut) {
        if self.is_closed() {
            return;
        }
        match Message::parse(data) {
            Ok(message) => self.handle_message(now, path, &message),
            Err(_) => self.counters.malformed += 1,
        }
    }

    /// An answer of the driver.
    pub fn handle_io(&mut self, now: Instant, event: IoEvent) {
        if self.is_closed() {
            // What was asked for before the end came after it.
            match event {
                IoEvent::UdpBound { local, .. }
                | IoEvent::TcpConnected { local, .. }
                | IoEvent::TcpAccepted { local, .. } => self.push_io(IoRequest::Close(local)),
                IoEvent::TcpListening { request, .. } => self.push_io(IoRequest::CloseListener { request }),
                _ => {}
            }
            return;
        }
        self.handle_driver(now, event);
        self.advance(now);
    }

    /// Time went on.
    pub fn handle_timeout(&mut self, now: Instant) {
        if !self.is_closed() {
            self.mdns.handle_timeout(now);
            self.handle_probe_timeout(now);
            self.handle_tls_stun_timeout(now);
            self.ask_full_servers(now);
        }
        self.relays.handle_timeout(now);
        self.collect_relay_events(now);
        self.advance(now);
    }

    /// When to call [`handle_timeout`](Self::handle_timeout). Pure.
    pub fn poll_timeout(&self) -> Option<Instant> {
        if self.is_closed() {
            // The sockets go as soon as the goodbyes are written: one that is lost cannot be sent again, and its
            // allocation ends by itself.
            return None;
        }
        let relay = self.relays.poll_timeout();
        [
            relay,
            self.mdns.poll_timeout(),
            self.tcp_timeout(),
            self.probe_timeout(),
            self.tls_stun_timeout(),
            self.check_timeout(),
            self.consent_timeout(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What happened.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// What the agent needs of the driver.
    pub fn poll_io(&mut self) -> Option<IoRequest> {
        self.io.pop_front()
    }

    pub(crate) fn push_event(&mut self, event: Event) {
        if self.events.len() >= MAX_EVENTS {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }

    pub(crate) fn push_io(&mut self, request: IoRequest) {
        if self.io.len() < MAX_IO_REQUESTS {
            self.io.push_back(request);
        } else {
            self.counters.over_limit += 1;
        }
    }

    pub(crate) fn next_request(&mut self) -> u32 {
        self.next_request += 1;
        self.next_request
    }

    pub(crate) fn next_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    pub(crate) fn recompute_priorities(&mut self) {
        for pair in &mut self.pairs {
            let local = self.locals[pair.local].candidate.priority;
            let remote = self.remotes[pair.remote].candidate.priority;
            pair.priority = pair_priority(self.role, local, remote);
        }
    }

    /// Whether `.local` names are being looked up.
    pub(crate) fn is_resolving(&self) -> bool {
        self.mdns.is_resolving()
    }

    pub(crate) fn pair_on(&self, path: Path) -> Option<usize> {
        self.pairs.iter().position(|pair| pair.path == path)
    }

    pub(crate) fn new_consent(now: Instant) -> Consent {
        Consent {
            last_response: now,
            unanswered_since: None,
            next: now,
            doubted: false,
        }
    }
}
