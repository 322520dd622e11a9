//! The pair in use before a restart (RFC 8445 §9): it carries data until the new generation has nominated one.

use std::time::{Duration, Instant};

use antiphon_sansio::{Local, Path};
use antiphon_stun::{Check as Verdict, Class, Message};

use super::consent::Consent;
use super::pair::{Asker, Pair};
use crate::candidate::{Candidate, CandidateKind};
use crate::config::{Config, Role};
use crate::context::Context;
use crate::session::Session;
use crate::stats::PairState;

#[derive(Debug)]
pub(super) struct Previous {
    session: Session,
    /// Its candidates may be gone by now.
    pair: Pair,
}

impl Previous {
    pub(super) fn new(session: Session, pair: Pair) -> Self {
        let mut pair = pair;
        pair.unanswered.clear();
        Self { session, pair }
    }

    pub(super) fn session(&self) -> &Session {
        &self.session
    }

    pub(super) fn path(&self) -> Path {
        self.pair.path
    }

    pub(super) fn is_nominated(&self) -> bool {
        self.pair.nominated
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.pair.authenticated
    }

    pub(super) fn rtt(&self) -> Option<Duration> {
        self.pair.rtt.smoothed
    }

    /// Whether it keeps this end open.
    pub(super) fn uses(&self, local: Local) -> bool {
        self.pair.path.local == local && self.pair.state != PairState::Failed
    }

    /// A check of the peer's old generation came, and was answered.
    pub(super) fn note_check(&mut self, path: Path) {
        if self.pair.path == path {
            self.pair.authenticated = true;
            self.pair.counts.requests_received += 1;
            self.pair.counts.responses_sent += 1;
        }
    }

    /// Takes the answer to a check of it, if it is one.
    pub(super) fn handle_response(
        &mut self,
        cx: &mut Context,
        now: Instant,
        path: Path,
        message: &Message<'_>,
    ) -> bool {
        let Some(remote) = self.session.remote().filter(|_| self.pair.path == path) else {
            return false;
        };
        if message.check_integrity(remote.key()) != Verdict::Valid {
            return false;
        }
        let Some(check) = self.pair.unanswered.take(message.transaction_id()) else {
            return false;
        };
        if message.class() == Class::Success {
            let next = Consent::draw_next(&cx.config, &mut cx.rng, now);
            self.pair.answered(now, &check, next);
        }
        true
    }

    /// Asks for consent when it is time. Returns whether there is still consent.
    pub(super) fn run_consent(
        &mut self,
        cx: &mut Context,
        now: Instant,
        role: Role,
        tie_breaker: u64,
        disconnected: bool,
    ) -> bool {
        let Some(consent) = &self.pair.consent else { return true };
        if consent.is_expired(&cx.config, now) {
            return false;
        }
        if !consent.is_due(now) || cx.config.lite {
            return true;
        }
        self.pair.asked_for_consent(now, disconnected);
        let use_candidate = role == Role::Controlling && self.pair.nominated;
        let asker = Asker {
            generation: self.session.generation(),
            role,
            tie_breaker,
        };
        let priority = Candidate::compute_priority(CandidateKind::PeerReflexive, u16::MAX);
        let check = self
            .pair
            .new_check(&mut cx.rng, now, asker, priority, use_candidate, None);
        cx.push_outgoing(check);
        true
    }

    pub(super) fn poll_timeout(&self, config: &Config) -> Option<Instant> {
        Some(self.pair.consent.as_ref()?.poll_timeout(config))
    }
}
