//! Whether there is a path, whether it answers, and the state that follows from that.

use std::time::Instant;

use super::consent::Consent;
use super::list::CheckList;
use super::pair::Pair;
use crate::config::Config;
use crate::context::Context;
use crate::event::{ConnectionState, Event};

/// What liveness is told of the rest of the agent.
#[derive(Clone, Copy, Debug)]
pub(super) struct Situation {
    /// Until when a peer that does not answer counts as there, for what it has sent.
    pub(super) heard_until: Option<Instant>,
    /// Neither end has more candidates.
    pub(super) all_known: bool,
    /// Names of the peer's candidates are being looked up.
    pub(super) is_resolving: bool,
    /// The pair of before a restart is in use.
    pub(super) has_previous: bool,
    /// ICE was restarted.
    pub(super) is_restarted: bool,
}

impl Situation {
    fn is_heard(&self, now: Instant) -> bool {
        self.heard_until.is_some_and(|until| now < until)
    }
}

#[derive(Debug)]
pub(super) struct Liveness {
    state: ConnectionState,
    /// The pair in use has not answered for long enough to look for another, and not for long enough to say so.
    weak: bool,
    /// Since when there is no path, although there was one.
    lost_since: Option<Instant>,
    consent_expired: bool,
    /// When the peer's credentials came.
    checking_since: Option<Instant>,
    /// RFC 8863 §4: the time in which nothing counts as failed is over.
    patience_over: bool,
}

impl Liveness {
    pub(super) fn new() -> Self {
        Self {
            state: ConnectionState::New,
            weak: false,
            lost_since: None,
            consent_expired: false,
            checking_since: None,
            patience_over: false,
        }
    }

    pub(super) fn state(&self) -> ConnectionState {
        self.state
    }

    pub(super) fn set_state(&mut self, cx: &mut Context, state: ConnectionState) {
        if self.state != state {
            self.state = state;
            cx.push_event(Event::State(state));
        }
    }

    /// The pair in use does not answer.
    pub(super) fn is_silent(&self) -> bool {
        self.state == ConnectionState::Disconnected || self.weak
    }

    pub(super) fn is_lost(&self) -> bool {
        self.lost_since.is_some()
    }

    pub(super) fn consent_expired(&self) -> bool {
        self.consent_expired
    }

    /// Consent has expired and the peer still sends: what comes is taken, and nothing goes out.
    pub(super) fn only_receives(&self) -> bool {
        self.consent_expired && self.state == ConnectionState::Disconnected
    }

    /// The peer's credentials came.
    pub(super) fn begin_checking(&mut self, now: Instant) {
        self.checking_since = Some(now);
        self.patience_over = false;
    }

    /// ICE restarts, which alone brings consent back.
    pub(super) fn restart(&mut self) {
        *self = Self {
            state: self.state,
            ..Self::new()
        };
    }

    /// The peer has a new generation of candidates.
    pub(super) fn forget_generation(&mut self) {
        self.weak = false;
    }

    /// A pair was selected.
    pub(super) fn found_path(&mut self) {
        self.lost_since = None;
        self.weak = false;
    }

    /// The pair in use is gone.
    pub(super) fn lost_path(&mut self, now: Instant) {
        self.lost_since.get_or_insert(now);
    }

    pub(super) fn close(&mut self, cx: &mut Context) {
        self.lost_since = None;
        self.set_state(cx, ConnectionState::Closed);
    }

    /// RFC 7675 §5.1: nothing more is sent, and only a restart brings consent back.
    pub(super) fn give_up(&mut self, cx: &mut Context, list: &mut CheckList, now: Instant, situation: &Situation) {
        self.consent_expired = true;
        cx.push_event(Event::ConsentExpired {
            still_heard: situation.is_heard(now),
        });
        self.lost_since = None;
        list.deselect();
        list.forget_triggered();
        for pair in list.pairs_mut() {
            pair.fail();
        }
    }

    /// When something here needs attention.
    pub(super) fn poll_timeout(&self, config: &Config, list: &CheckList, situation: &Situation) -> Option<Instant> {
        let active = list.active();
        let consent = active.and_then(|pair| pair.consent.as_ref());
        let silence = consent
            .filter(|_| self.state != ConnectionState::Disconnected)
            .and_then(|consent| consent.silence_deadline(config));
        let weakness = active.filter(|_| !self.weak).and_then(Pair::weakness_deadline);
        let lost = self
            .lost_since
            .filter(|_| consent.is_none())
            .map(|since| match self.state {
                ConnectionState::Disconnected => since + config.timing.consent_timeout,
                _ => since + config.timing.disconnected_timeout,
            });
        let unheard = situation.heard_until.filter(|_| self.only_receives());
        let patience = match (self.checking_since, self.state) {
            (Some(since), ConnectionState::New | ConnectionState::Checking) => {
                Some(since + config.timing.patience).filter(|_| !self.patience_over)
            }
            _ => None,
        };
        [
            consent.map(|consent| consent.poll_timeout(config)),
            silence,
            weakness,
            lost,
            patience,
            unheard,
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// What follows from everything that happened. Returns whether other pairs were triggered.
    pub(super) fn update(
        &mut self,
        cx: &mut Context,
        list: &mut CheckList,
        now: Instant,
        situation: &Situation,
    ) -> bool {
        let long_lost = |since: Instant| since + cx.config.timing.consent_timeout <= now;
        if self.lost_since.is_some_and(long_lost) && list.active().is_none() {
            self.give_up(cx, list, now, situation);
        }
        let became_weak = self.update_weakness(list, now);
        let patient = |since: Instant| since + cx.config.timing.patience > now;
        if self.checking_since.is_some_and(|since| !patient(since)) {
            self.patience_over = true;
        }
        let state = self.compute_state(&cx.config, list, now, situation);
        let lost = state == ConnectionState::Disconnected && self.state != state && !self.consent_expired;
        self.set_state(cx, state);
        if lost || became_weak {
            list.look_for_another(list.active().map(|pair| pair.id));
        }
        lost || became_weak
    }

    /// Returns whether the pair in use has just become weak.
    fn update_weakness(&mut self, list: &mut CheckList, now: Instant) -> bool {
        let deadline = list.active().and_then(Pair::weakness_deadline);
        let weak = deadline.is_some_and(|deadline| deadline <= now);
        let begins = weak && !self.weak;
        self.weak = weak;
        if begins && let Some(consent) = list.active_mut().and_then(|pair| pair.consent.as_mut()) {
            consent.forget_doubt();
        }
        begins
    }

    fn compute_state(&self, config: &Config, list: &CheckList, now: Instant, situation: &Situation) -> ConnectionState {
        if self.consent_expired {
            // Once it was said that all is over, a late datagram does not take it back.
            return match self.state {
                ConnectionState::Failed => ConnectionState::Failed,
                _ if situation.is_heard(now) => ConnectionState::Disconnected,
                _ => ConnectionState::Failed,
            };
        }
        if let Some(pair) = list.active() {
            let silence = |consent: &Consent| consent.silence_deadline(config);
            let deadline = pair.consent.as_ref().and_then(silence);
            let silent = deadline.is_some_and(|deadline| deadline <= now);
            // An interface that came later does not take back what was said.
            let all_known = situation.all_known || self.state == ConnectionState::Completed;
            return match (silent, list.selected()) {
                (true, _) => ConnectionState::Disconnected,
                (false, Some(_)) if all_known => ConnectionState::Completed,
                (false, _) => ConnectionState::Connected,
            };
        }
        if situation.has_previous {
            return ConnectionState::Connected;
        }
        if let Some(since) = self.lost_since {
            // The application hears of it only if no other path is found soon.
            let silent = since + config.timing.disconnected_timeout <= now;
            return match self.state {
                state if state.is_connected() && !silent => state,
                _ => ConnectionState::Disconnected,
            };
        }
        if list.pairs().any(Pair::is_pending) || situation.is_resolving {
            return ConnectionState::Checking;
        }
        match self.checking_since {
            // RFC 8863 §4: an empty or failed check list is no failure before the time is over.
            Some(_) if self.patience_over => ConnectionState::Failed,
            Some(_) if list.remotes().len() > 0 => ConnectionState::Checking,
            _ if situation.is_restarted => ConnectionState::Checking,
            _ => ConnectionState::New,
        }
    }
}
