//! What is between two generations of ICE: whose credentials a description gets, and what of the peer's new generation
//! waits for ours. The old path carries everything until both ends have begun the new one.

use antiphon_ice::{Candidate, Credentials, MAX_REMOTE_CANDIDATES};
use antiphon_jsep::{IceParameters, RemoteTransport, TransportPlan};
use antiphon_sansio::Rng;

/// Where a restart stands.
#[derive(Debug, Default)]
pub(crate) struct IceRestart {
    /// Credentials that a description was made with, but which are not set yet.
    next: Option<Credentials>,
    /// Our user name fragment when the last exchange ended.
    stable: Option<String>,
    /// The peer's new generation, which waits for ours: its offer restarts ICE, our answer is not set.
    waiting: Option<Waiting>,
}

/// A generation of the peer's that waits for ours.
#[derive(Debug)]
struct Waiting {
    remote: RemoteTransport,
    candidates: Vec<Candidate>,
    end_of_candidates: bool,
}

/// What the agent has to do about the peer's end, as it was described.
#[derive(Debug, PartialEq)]
pub(crate) enum RemoteIce {
    /// It has these credentials already.
    Known,
    /// It stays with those that it has: the new ones wait for our answer, or are not the last word.
    Later,
    /// It takes them now, with what has waited for that.
    Now {
        candidates: Vec<Candidate>,
        end_of_candidates: bool,
    },
}

impl IceRestart {
    /// The credentials that an offer gets, if not those in force: `asked` says that it shall restart ICE, `described`
    /// that a description of ours is set, without which there is nothing to restart.
    pub(crate) fn offer(&mut self, asked: bool, described: bool, ours: &str, rng: &mut Rng) -> Option<&Credentials> {
        (asked && described && !self.restarted(ours)).then(|| self.draw(rng))
    }

    /// The credentials that an answer gets, if not those in force: `needed` says that the peer's offer restarts ICE
    /// (RFC 9429 §5.3.1).
    pub(crate) fn answer(&mut self, needed: bool, ours: &str, rng: &mut Rng) -> Option<&Credentials> {
        (needed && !self.restarted(ours)).then(|| self.draw(rng))
    }

    /// The same for every description of one exchange. As the agent draws its first: enough for one-port mode to tell
    /// connections apart by the fragment.
    fn draw(&mut self, rng: &mut Rng) -> &Credentials {
        self.next.get_or_insert_with(|| Credentials {
            ufrag: rng.ice_chars(8),
            password: rng.ice_chars(24),
        })
    }

    /// A local description with these credentials is set, where `ours` is the user name fragment in force: the
    /// credentials with which the agent has to restart, if it has to.
    pub(crate) fn local(&mut self, set: &IceParameters, ours: &str) -> Option<Credentials> {
        if set.ufrag == ours {
            return None;
        }
        self.next = None;
        Some(credentials(set))
    }

    /// A remote description is set, or a rollback has brought an older one back; `known` are the peer's credentials
    /// that the agent has, `ours` the user name fragment that it has.
    pub(crate) fn remote(
        &mut self,
        plan: &TransportPlan,
        remote: &RemoteTransport,
        known: Option<&Credentials>,
        ours: &str,
    ) -> RemoteIce {
        let restarted = self.restarted(ours);
        if known.is_some_and(|known| *known == credentials(&remote.ice)) {
            self.waiting = None;
            return RemoteIce::Known;
        }
        if plan.remote_ice_restart && !restarted {
            self.waiting = Some(Waiting {
                remote: remote.clone(),
                candidates: Vec::new(),
                end_of_candidates: false,
            });
            return RemoteIce::Later;
        }
        if self
            .waiting
            .as_ref()
            .is_some_and(|waiting| waiting.remote.ice == remote.ice)
        {
            let gone = self.waiting.take_if(|_| restarted);
            return gone.map_or(RemoteIce::Later, |waiting| RemoteIce::Now {
                candidates: waiting.candidates,
                end_of_candidates: waiting.end_of_candidates,
            });
        }
        if plan.remote_changed || !restarted {
            // Without a restart of ours the peer's credentials are in force: for the first time, or again because a
            // rollback has taken our restart back.
            self.waiting = None;
            return RemoteIce::Now {
                candidates: Vec::new(),
                end_of_candidates: false,
            };
        }
        RemoteIce::Later
    }

    /// Takes a candidate of the peer's, of the generation that it names: `Some` for the agent, `None` if it waits for
    /// ours.
    pub(crate) fn candidate(&mut self, candidate: Candidate, generation: Option<&str>) -> Option<Candidate> {
        let Some(waiting) = self.waiting_for(generation) else {
            return Some(candidate);
        };
        if waiting.candidates.len() < MAX_REMOTE_CANDIDATES {
            waiting.candidates.push(candidate);
        }
        None
    }

    /// The peer has no more candidates of that generation. Whether the agent is to be told now.
    pub(crate) fn end_of_candidates(&mut self, generation: Option<&str>) -> bool {
        match self.waiting_for(generation) {
            Some(waiting) => {
                waiting.end_of_candidates = true;
                false
            }
            None => true,
        }
    }

    /// The generation that waits, if it is this one, or none is named.
    fn waiting_for(&mut self, generation: Option<&str>) -> Option<&mut Waiting> {
        self.waiting
            .as_mut()
            .filter(|waiting| generation.is_none_or(|ufrag| *ufrag == waiting.remote.ice.ufrag))
    }

    /// An exchange has ended; `local` are our credentials that it has settled.
    pub(crate) fn stable(&mut self, local: Option<IceParameters>) {
        self.stable = local.map(|local| local.ufrag);
    }

    /// Whether the exchange under way has begun a new generation of ours.
    fn restarted(&self, ours: &str) -> bool {
        self.stable.as_deref().is_some_and(|stable| stable != ours)
    }
}

/// The agent's word for what a description says.
pub(crate) fn credentials(described: &IceParameters) -> Credentials {
    Credentials {
        ufrag: described.ufrag.clone(),
        password: described.pwd.clone(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ice(ufrag: &str) -> IceParameters {
        IceParameters {
            ufrag: ufrag.into(),
            pwd: format!("password of {ufrag}"),
        }
    }

    fn remote(ufrag: &str) -> RemoteTransport {
        RemoteTransport {
            ice: ice(ufrag),
            lite: false,
            ice_options: Vec::new(),
            fingerprints: Vec::new(),
            tls_id: None,
            header_encryption: false,
        }
    }

    /// Of the exchange before, ours are `a`.
    fn settled() -> IceRestart {
        let mut restart = IceRestart::default();
        restart.stable(Some(ice("a")));
        restart
    }

    fn candidate() -> Candidate {
        "1 1 udp 2130706431 192.0.2.1 5000 typ host".parse().unwrap()
    }

    fn now(candidates: usize, end_of_candidates: bool) -> RemoteIce {
        RemoteIce::Now {
            candidates: vec![candidate(); candidates],
            end_of_candidates,
        }
    }

    #[test]
    fn which_descriptions_get_new_credentials() {
        let mut rng = Rng::from_u64(1);
        for (settled_before, asked, described, ours, fresh) in [
            (false, true, false, "a", false), // nothing to restart yet
            (false, true, true, "a", true),   // the first offer is out, and is made again with others
            (true, false, true, "a", false),
            (true, true, true, "a", true),
            (true, true, true, "b", false), // this exchange has restarted already
        ] {
            let mut restart = if settled_before {
                settled()
            } else {
                IceRestart::default()
            };
            let offered = restart.offer(asked, described, ours, &mut rng).cloned();
            assert_eq!(offered.is_some(), fresh, "{settled_before} {asked} {described} {ours}");
            if offered.is_some() {
                assert_eq!(
                    restart.offer(true, true, ours, &mut rng).cloned(),
                    offered,
                    "the same again"
                );
                assert_eq!(
                    restart.answer(true, ours, &mut rng).cloned(),
                    offered,
                    "and for an answer"
                );
            }
            assert_eq!(restart.answer(asked, ours, &mut rng).is_some(), asked && ours == "a");
        }
    }

    #[test]
    fn the_agent_restarts_when_other_credentials_are_set() {
        let mut restart = settled();
        let mut rng = Rng::from_u64(1);
        assert_eq!(restart.local(&ice("a"), "a"), None);
        let drawn = restart.offer(true, true, "a", &mut rng).cloned();
        assert_eq!(restart.local(&ice("b"), "a"), Some(credentials(&ice("b"))));
        assert_ne!(
            restart.offer(true, true, "a", &mut rng).cloned(),
            drawn,
            "those are used up"
        );
    }

    #[test]
    fn the_peers_end() {
        // (our fragment, what the agent knows, the plan says: restart, changed) -> what the agent does.
        for (ours, known, restarts, changed, expected) in [
            ("a", None, false, true, now(0, false)),          // the first description
            ("a", Some("p"), false, false, RemoteIce::Known), // the same again
            ("a", Some("o"), true, true, RemoteIce::Later),   // its offer restarts: our answer is not set
            ("b", Some("o"), true, true, now(0, false)),      // its answer to our restart
            ("b", Some("o"), false, false, RemoteIce::Later), // our offer restarts: its answer is not here
            ("a", Some("o"), false, false, now(0, false)),    // a rollback has taken our restart back
        ] {
            let plan = TransportPlan {
                remote_ice_restart: restarts,
                remote_changed: changed,
                ..TransportPlan::default()
            };
            let known = known.map(|ufrag| credentials(&ice(ufrag)));
            let done = settled().remote(&plan, &remote("p"), known.as_ref(), ours);
            assert_eq!(done, expected, "{ours} {known:?} {restarts} {changed}");
        }
    }

    #[test]
    fn what_comes_for_the_new_generation_waits_for_our_answer() {
        let mut restart = settled();
        let known = credentials(&ice("o"));
        let offered = TransportPlan {
            remote_ice_restart: true,
            remote_changed: true,
            ..TransportPlan::default()
        };
        assert_eq!(
            restart.remote(&offered, &remote("p"), Some(&known), "a"),
            RemoteIce::Later
        );
        for (generation, waits) in [(Some("p"), true), (None, true), (Some("o"), false)] {
            assert_eq!(
                restart.candidate(candidate(), generation).is_none(),
                waits,
                "{generation:?}"
            );
            assert_eq!(restart.end_of_candidates(generation), !waits, "{generation:?}");
        }
        // Our provisional answer without a restart changes nothing; the answer with one lets all of it go.
        let answered = TransportPlan::default();
        assert_eq!(
            restart.remote(&answered, &remote("p"), Some(&known), "a"),
            RemoteIce::Later
        );
        assert_eq!(restart.remote(&answered, &remote("p"), Some(&known), "b"), now(2, true));
        assert!(
            restart.candidate(candidate(), Some("p")).is_some(),
            "nothing waits any more"
        );
    }

    #[test]
    fn no_more_candidates_wait_than_the_agent_would_take() {
        let mut restart = settled();
        let offered = TransportPlan {
            remote_ice_restart: true,
            ..TransportPlan::default()
        };
        restart.remote(&offered, &remote("p"), None, "a");
        for _ in 0..=MAX_REMOTE_CANDIDATES {
            assert!(restart.candidate(candidate(), None).is_none());
        }
        assert_eq!(
            restart.remote(&TransportPlan::default(), &remote("p"), None, "b"),
            now(MAX_REMOTE_CANDIDATES, false)
        );
    }
}
