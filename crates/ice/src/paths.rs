//! The table of paths: what the agent has to know to send and take the application's datagrams, and nothing else. It is
//! brought up to date after each input, so that a datagram itself asks neither gathering nor the check list.

use std::time::Duration;

use antiphon_sansio::Path;

use crate::check::{Checks, PairId};
use crate::stats::Traffic;

/// What an owner who has a datagram in hand wants to know of a path.
#[derive(Debug)]
pub(crate) struct KnownPath {
    pub(crate) path: Path,
    /// The pair that has it; none if it is known by an early check alone, or by a pair of before a restart.
    pub(crate) pair: Option<PairId>,
    /// A Binding message with a valid MESSAGE-INTEGRITY came from there.
    pub(crate) is_authenticated: bool,
    pub(crate) traffic: Traffic,
}

/// The table of paths. It is brought up to date after each input.
#[derive(Debug, Default)]
pub(crate) struct Paths {
    pub(crate) known: Vec<KnownPath>,
    /// Where to send now.
    pub(crate) send: Option<Path>,
    /// The round trip of the pair in use, smoothed.
    pub(crate) rtt: Option<Duration>,
    /// Where in `known` the last datagram went out.
    pub(crate) last_out: usize,
    /// And where one came in last.
    pub(crate) last_in: usize,
}

impl Paths {
    pub(crate) fn traffic_of(&self, pair: PairId) -> Traffic {
        let mut known = self.known.iter();
        known
            .find(|known| known.pair == Some(pair))
            .map_or_else(Traffic::default, |known| known.traffic)
    }

    pub(crate) fn update(&mut self, checks: &Checks) {
        self.send = checks.send_path();
        self.rtt = checks.rtt();
        // Pairs keep their order, so what is known of each stands where it is looked for, or behind it.
        self.known.retain(|known| known.pair.is_some());
        let mut place = 0;
        for (pair, path, is_authenticated) in checks.pair_paths() {
            while self.known.get(place).is_some_and(|known| known.pair < Some(pair)) {
                self.known.remove(place);
            }
            match self.known.get_mut(place).filter(|known| known.pair == Some(pair)) {
                Some(known) => (known.path, known.is_authenticated) = (path, is_authenticated),
                None => {
                    // Mostly there are one or two, and four would be asked for.
                    self.known.reserve_exact(1);
                    self.known.insert(
                        place,
                        KnownPath {
                            path,
                            pair: Some(pair),
                            is_authenticated,
                            traffic: Traffic::default(),
                        },
                    );
                }
            }
            place += 1;
        }
        self.known.truncate(place);
        self.known.extend(checks.other_paths().map(|path| KnownPath {
            path,
            pair: None,
            is_authenticated: true,
            traffic: Traffic::default(),
        }));
    }
}
