//! Consent freshness (RFC 7675), and the state that follows from it.

use std::time::{Duration, Instant};

use antiphon_stun::TransactionId;

use crate::agent::Agent;
use crate::candidate::{Candidate, CandidateKind};
use crate::config::Role;
use crate::event::{ConnectionState, Event, GatheringState};
use crate::outgoing::Outgoing;
use crate::pair::{Check, Consent};
use crate::stats::PairState;

/// How soon an unanswered consent check is followed by the next, while the pair counts as connected.
const RETRY: Duration = Duration::from_millis(500);

/// And after that.
const RETRY_DISCONNECTED: Duration = Duration::from_secs(1);

/// How soon while the peer checks another pair; after three of them others are tried.
const RETRY_DOUBTED: Duration = Duration::from_millis(150);

/// How long the pair in use may leave checks unanswered, besides two round trips, before others are tried.
const WEAK_AFTER: Duration = Duration::from_millis(1200);

impl Agent {
    /// What follows from everything that happened: called at the end of every input.
    pub(crate) fn advance(&mut self, now: Instant) {
        if self.is_closed() {
            return;
        }
        self.expire_checks(now);
        self.run_consent(now);
        self.nominate(now);
        self.improve(now);
        self.run_checks(now);
        self.sweep_connections(now);
        self.sweep_stun_connections();
        self.finish_gathering();
        self.update_state(now);
    }

    /// 0.8 to 1.2 of the interval (RFC 7675 §5.1), so that agents do not fall into step.
    pub(crate) fn draw_consent_interval(&mut self) -> Duration {
        self.config.consent_interval.mul_f64(0.8 + 0.4 * self.rng.unit())
    }

    /// Asks for consent on the pair in use and on the one of before a restart. The timer is their own: neither media nor
    /// other checks put it off.
    fn run_consent(&mut self, now: Instant) {
        let timeout = self.config.consent_timeout;
        // When one pair loses consent the next best takes its place, and may have lost its own.
        while let Some(index) = self.active() {
            let Some(consent) = &self.pairs[index].consent else {
                break;
            };
            if consent.last_response + timeout <= now {
                self.lose_consent(now, index);
                continue;
            }
            if consent.next <= now && !self.config.lite {
                self.pairs[index].asked_for_consent(now, self.state);
                self.send_request(now, index);
            }
            break;
        }
        self.run_previous_consent(now);
    }

    fn run_previous_consent(&mut self, now: Instant) {
        let lite = self.config.lite;
        let Some(previous) = &mut self.previous else { return };
        let Some(consent) = &previous.pair.consent else { return };
        if consent.last_response + self.config.consent_timeout <= now {
            self.previous = None;
            return;
        }
        if consent.next > now || lite {
            return;
        }
        previous.pair.asked_for_consent(now, self.state);
        let id = TransactionId::random(&mut self.rng);
        let role = self.role;
        let use_candidate = role == Role::Controlling && previous.pair.nominated;
        previous.pair.outstanding.push(Check {
            id,
            sent: now,
            use_candidate,
            role,
        });
        let check = Outgoing::Check {
            path: previous.pair.path,
            id,
            generation: previous.session.generation,
            priority: Candidate::compute_priority(CandidateKind::PeerReflexive, u16::MAX),
            role,
            use_candidate,
            nomination: None,
        };
        self.push_outgoing(check);
    }

    fn lose_consent(&mut self, now: Instant, index: usize) {
        if self.selected != Some(self.pairs[index].id) {
            self.pairs[index].fail();
            return;
        }
        self.give_up(now);
    }

    /// The layers above have authenticated what came on a path of ours, by SRTP or DTLS: the peer is there and goes on sending.
    ///
    /// A peer may do so without ever answering a check. Nothing may be sent to it once consent has expired, but consent is about
    /// sending (RFC 7675 §5.1: who sends nothing does not need it), so what it sends can still be taken: the state is then
    /// `Disconnected`, and `Failed` only when nothing was heard for half of `consent_timeout` either.
    pub fn heard(&mut self, now: Instant) {
        self.heard_at = Some(now);
    }

    /// Whether consent has expired and the peer still sends: what comes is taken, and nothing goes out.
    pub fn only_receives(&self) -> bool {
        self.consent_expired && self.state == ConnectionState::Disconnected
    }

    /// Until when a peer that does not answer counts as there, for what it has sent. Shorter than consent: one that is gone
    /// altogether fails when its consent expires.
    fn heard_until(&self) -> Option<Instant> {
        self.heard_at.map(|at| at + self.config.consent_timeout / 2)
    }

    /// RFC 7675 §5.1: nothing more is sent, and only a restart brings consent back.
    fn give_up(&mut self, now: Instant) {
        self.consent_expired = true;
        let still_heard = self.heard_until().is_some_and(|until| now < until);
        self.push_event(Event::ConsentExpired { still_heard });
        self.lost_since = None;
        self.improve_at = None;
        self.selected = None;
        self.triggered.clear();
        for pair in &mut self.pairs {
            pair.fail();
        }
    }

    /// When consent needs attention.
    pub(crate) fn consent_timeout(&self) -> Option<Instant> {
        let lite = self.config.lite;
        let of = |consent: &Consent| {
            let expiry = consent.last_response + self.config.consent_timeout;
            if lite { expiry } else { expiry.min(consent.next) }
        };
        let active = self.active().and_then(|index| self.pairs[index].consent.as_ref());
        let silence = active
            .filter(|_| self.state != ConnectionState::Disconnected)
            .and_then(|consent| self.silence_deadline(consent));
        let weakness = match (self.weak, self.active()) {
            (false, Some(index)) => self.weakness_deadline(index),
            _ => None,
        };
        let lost = self.lost_since.filter(|_| active.is_none()).map(|since| {
            let silent = since + self.config.disconnected_timeout;
            match self.state {
                ConnectionState::Disconnected => since + self.config.consent_timeout,
                _ => silent,
            }
        });
        let silence_above = self.heard_until().filter(|_| self.only_receives());
        let previous = self
            .previous
            .as_ref()
            .and_then(|previous| previous.pair.consent.as_ref());
        let patience = match (self.checking_since, self.state) {
            (Some(since), ConnectionState::New | ConnectionState::Checking) => {
                Some(since + self.config.patience).filter(|_| !self.patience_over)
            }
            _ => None,
        };
        [
            active.map(of),
            previous.map(of),
            silence,
            weakness,
            lost,
            patience,
            silence_above,
            self.improve_at,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// When the pair in use counts as disconnected.
    fn silence_deadline(&self, consent: &Consent) -> Option<Instant> {
        if self.config.lite {
            return Some(consent.last_response + self.config.consent_timeout / 2);
        }
        consent
            .unanswered_since
            .map(|since| since + self.config.disconnected_timeout)
    }

    /// When the pair in use is silent for long enough to look for another one, without saying so yet: three checks that were
    /// not answered in time.
    fn weakness_deadline(&self, index: usize) -> Option<Instant> {
        let pair = &self.pairs[index];
        let consent = pair.consent.as_ref()?;
        let after = if consent.doubted { 3 * RETRY_DOUBTED } else { WEAK_AFTER };
        Some(consent.unanswered_since? + after + 2 * pair.rtt.unwrap_or_default())
    }

    /// The path in use is gone with its interface, its connection or its allocation. Everything else is tried at once.
    pub(crate) fn path_lost(&mut self, now: Instant) {
        if self.consent_expired || self.previous.is_some() {
            return;
        }
        self.lost_since.get_or_insert(now);
        self.improve_at = None;
        self.look_for_another_pair(self.selected);
    }

    fn update_weakness(&mut self, now: Instant) {
        let weak = self
            .active()
            .and_then(|index| self.weakness_deadline(index))
            .is_some_and(|deadline| deadline <= now);
        let begins = weak && !self.weak;
        self.weak = weak;
        if begins {
            if let Some(index) = self.active()
                && let Some(consent) = &mut self.pairs[index].consent
            {
                consent.doubted = false;
            }
            self.look_for_another_pair(self.in_use());
            self.run_checks(now);
        }
    }

    fn update_state(&mut self, now: Instant) {
        let long_lost = |since: Instant| since + self.config.consent_timeout <= now;
        if self.lost_since.is_some_and(long_lost) && self.active().is_none() {
            self.give_up(now);
        }
        self.update_weakness(now);
        if self
            .checking_since
            .is_some_and(|since| since + self.config.patience <= now)
        {
            self.patience_over = true;
        }
        let state = self.compute_state(now);
        let lost = state == ConnectionState::Disconnected && self.state != state;
        self.set_state(state);
        if lost && !self.consent_expired {
            self.look_for_another_pair(self.in_use());
            self.run_checks(now);
        }
    }

    fn compute_state(&self, now: Instant) -> ConnectionState {
        if self.consent_expired {
            // Once it was said that all is over, a late datagram does not take it back.
            return match self.state {
                ConnectionState::Failed => ConnectionState::Failed,
                _ if self.heard_until().is_some_and(|until| now < until) => ConnectionState::Disconnected,
                _ => ConnectionState::Failed,
            };
        }
        if let Some(index) = self.active() {
            let consent = self.pairs[index].consent.as_ref();
            let silent = consent
                .and_then(|consent| self.silence_deadline(consent))
                .is_some_and(|deadline| deadline <= now);
            let gathered = self.gathering_state() == GatheringState::Complete;
            // An interface that came later does not take back what was said.
            let all_known = (self.end_of_remote && gathered) || self.state == ConnectionState::Completed;
            return match (silent, self.selected) {
                (true, _) => ConnectionState::Disconnected,
                (false, Some(_)) if all_known => ConnectionState::Completed,
                (false, _) => ConnectionState::Connected,
            };
        }
        if self.previous.is_some() {
            return ConnectionState::Connected;
        }
        if let Some(since) = self.lost_since {
            // The application hears of it only if no other path is found soon.
            let silent = since + self.config.disconnected_timeout <= now;
            return match self.state {
                state if state.is_connected() && !silent => state,
                _ => ConnectionState::Disconnected,
            };
        }
        let pending = self.pairs.iter().any(|pair| pair.is_pending()) || self.is_resolving();
        if pending {
            return ConnectionState::Checking;
        }
        match self.checking_since {
            // RFC 8863 §4: an empty or failed check list is no failure before the time is over.
            Some(_) if self.patience_over => ConnectionState::Failed,
            Some(_) if !self.remotes.is_empty() => ConnectionState::Checking,
            _ if self.session.generation > 0 => ConnectionState::Checking,
            _ => ConnectionState::New,
        }
    }

    pub(crate) fn set_state(&mut self, state: ConnectionState) {
        if self.state != state {
            self.state = state;
            self.push_event(Event::State(state));
        }
    }

    /// The pair that is sent on, nominated or not.
    fn in_use(&self) -> Option<u64> {
        self.active().map(|index| self.pairs[index].id)
    }

    /// The pair in use is silent, or gone: every path but `kept` is tried again, so that there is somewhere to go when one answers.
    fn look_for_another_pair(&mut self, kept: Option<u64>) {
        let mut others: Vec<usize> = (0..self.pairs.len())
            .filter(|&index| Some(self.pairs[index].id) != kept)
            .collect();
        // Which answered last will most likely answer now.
        others.sort_by_key(|&index| {
            let pair = &self.pairs[index];
            let answered = pair.consent.as_ref().map(|consent| consent.last_response);
            std::cmp::Reverse((answered, pair.priority))
        });
        for index in others {
            let pair = &mut self.pairs[index];
            pair.fail();
            pair.state = PairState::Waiting;
            pair.parked = false;
            let id = pair.id;
            self.trigger(id);
        }
    }
}

impl crate::pair::Pair {
    fn asked_for_consent(&mut self, now: Instant, state: ConnectionState) {
        self.consent_requests_sent += 1;
        let rtt = self.rtt.unwrap_or_default();
        if let Some(consent) = &mut self.consent {
            consent.unanswered_since.get_or_insert(now);
            let retry = match state {
                ConnectionState::Disconnected => RETRY_DISCONNECTED,
                _ if consent.doubted => RETRY_DOUBTED + rtt,
                _ => RETRY,
            };
            consent.next = now + retry;
        }
    }
}
