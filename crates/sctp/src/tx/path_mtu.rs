//! The search for the largest packet that the path carries (RFC 8899).

/// Tries per size (RFC 8899 §5.1.2, MAX_PROBES).
const MAX_PROBES: u32 = 3;
/// Tries before a size that was once confirmed is given up: data goes in small packets meanwhile, and a path that
/// merely loses a lot shall not be called a black hole.
const MAX_DOUBTS: u32 = 6;
/// The search ends when less than this can be gained, in bytes.
const GRANULARITY: usize = 16;
/// Chunks lost in packets above the base, one after another with none arriving between them, that make a black hole
/// likely (RFC 8899 §4.3).
const SUSPICIOUS_LOSSES: u32 = 16;

/// Where the search stands (RFC 8899 §5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Nothing is searched: there is no room above the base, or nothing to gain yet.
    Disabled,
    /// The base is being confirmed.
    Base,
    Searching,
    Complete,
    /// What was confirmed is in doubt: packets are of the base size until a probe of that size arrives.
    Doubted,
    /// Not even the base passes.
    Error,
}

/// Finds the largest packet that the path carries (RFC 8899): with probes that carry no data, so that losing one costs
/// nothing. Knows neither clock nor wire.
#[derive(Debug)]
pub(crate) struct PathMtu {
    state: State,
    /// Used without being confirmed (BASE_PLPMTU).
    base: usize,
    /// Nothing above is tried (MAX_PLPMTU).
    limit: usize,
    /// What is left when the base does not pass (MIN_PLPMTU).
    least: usize,
    /// The largest size that is confirmed (PLPMTU).
    confirmed: usize,
    /// The smallest size that did not pass.
    refused: usize,
    /// What is being tried, how often it was sent, and whether it is to be sent now.
    probe: Option<usize>,
    tries: u32,
    due: bool,
    black_holes: u64,
}

/// What the timer is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing waits, or a probe is due.
    Nothing,
    /// The search is over for now: PMTU_RAISE_TIMER begins.
    Raise,
}

impl PathMtu {
    pub(crate) fn new(base: usize, limit: usize, least: usize) -> Self {
        Self {
            state: State::Disabled,
            base,
            limit,
            least,
            confirmed: base,
            refused: usize::MAX,
            probe: None,
            tries: 0,
            due: false,
            black_holes: 0,
        }
    }

    /// The largest packet to send now.
    #[inline]
    pub(crate) fn packet(&self) -> usize {
        match self.state {
            State::Disabled | State::Base | State::Doubted => self.base,
            State::Searching | State::Complete => self.confirmed,
            State::Error => self.least,
        }
    }

    /// The largest packet that is sent without being confirmed.
    #[inline]
    pub(crate) fn base(&self) -> usize {
        self.base
    }

    pub(crate) fn black_holes(&self) -> u64 {
        self.black_holes
    }

    /// Whether [`Self::start`] would begin a search.
    #[inline]
    pub(crate) fn is_idle(&self) -> bool {
        self.state == State::Disabled && self.limit >= self.base + GRANULARITY
    }

    /// Other bounds, or another path: everything known is forgotten, and the search waits for [`Self::start`].
    pub(crate) fn restart(&mut self, base: usize, limit: usize) {
        *self = Self {
            black_holes: self.black_holes,
            ..Self::new(base, limit, self.least)
        };
    }

    /// Whether these are its bounds.
    pub(crate) fn has_bounds(&self, base: usize, limit: usize) -> bool {
        (self.base, self.limit) == (base, limit)
    }

    /// Begins with the base.
    pub(crate) fn start(&mut self) {
        if self.is_idle() {
            self.state = State::Base;
            self.try_size(self.base);
        }
    }

    fn try_size(&mut self, size: usize) {
        self.probe = Some(size);
        self.tries = 0;
        self.due = true;
    }

    /// The size of the probe to send now.
    #[inline]
    pub(crate) fn due(&self) -> Option<usize> {
        self.probe.filter(|_| self.due)
    }

    /// The probe that is due was sent.
    pub(crate) fn sent(&mut self) {
        self.due = false;
        self.tries += 1;
    }

    /// The layers below do not take the probe: nothing above `bytes` is tried any more.
    pub(crate) fn too_large_for_us(&mut self, bytes: usize) -> Next {
        self.limit = bytes & !3;
        if self.limit < self.base + GRANULARITY {
            let (base, limit) = (self.base, self.limit);
            self.restart(base, limit);
            return Next::Nothing;
        }
        self.confirmed = self.confirmed.min(self.limit);
        self.search()
    }

    /// The next size, or the end of the search. The limit itself comes first, since most paths carry it; then halves.
    fn search(&mut self) -> Next {
        self.state = State::Searching;
        let highest = self.limit.min(self.refused.saturating_sub(4));
        if highest < self.confirmed + GRANULARITY {
            self.state = State::Complete;
            self.probe = None;
            self.due = false;
            return Next::Raise;
        }
        let size = if self.refused > self.limit {
            highest
        } else {
            self.confirmed + ((highest - self.confirmed) / 2).next_multiple_of(4)
        };
        self.try_size(size);
        Next::Nothing
    }

    /// The probe has arrived.
    pub(crate) fn arrived(&mut self) -> Next {
        let Some(size) = self.probe.take() else {
            return Next::Nothing;
        };
        self.confirmed = size;
        self.search()
    }

    /// The timer has run out. `silent`: nothing else comes back from the path either.
    pub(crate) fn timed_out(&mut self, silent: bool) -> Next {
        let Some(size) = self.probe else {
            // PMTU_RAISE_TIMER (RFC 8899 §5.1.1): the path may carry more by now.
            self.refused = usize::MAX;
            return if self.state == State::Complete {
                self.search()
            } else {
                Next::Nothing
            };
        };
        let most = if self.state == State::Doubted {
            MAX_DOUBTS
        } else {
            MAX_PROBES
        };
        if self.tries < most {
            self.due = true;
            return Next::Nothing;
        }
        match self.state {
            State::Searching => {
                self.refused = size;
                self.search()
            }
            // RFC 8899 §4.3: a black hole.
            State::Doubted => {
                self.black_holes += 1;
                self.refused = size;
                self.confirmed = self.base;
                self.state = State::Base;
                self.try_size(self.base);
                Next::Nothing
            }
            // A peer that does not answer probes, although data of this size arrives, is not worth more of them.
            State::Base if !silent => {
                self.state = State::Complete;
                self.probe = None;
                self.confirmed = self.base;
                Next::Raise
            }
            _ => {
                self.state = State::Error;
                self.try_size(self.base);
                Next::Nothing
            }
        }
    }

    /// So many chunks were lost in packets above the base since the last that arrived; `silent`: until the
    /// retransmission timer ran out. Says whether that raises a doubt, and a probe is to be sent.
    pub(crate) fn lost_above_base(&mut self, chunks: u32, silent: bool) -> bool {
        let suspicious = chunks >= SUSPICIOUS_LOSSES || (silent && chunks > 0);
        let above = matches!(self.state, State::Searching | State::Complete) && self.confirmed > self.base;
        if suspicious && above {
            self.state = State::Doubted;
            self.try_size(self.confirmed);
        }
        suspicious && above
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Searches on a path that carries `carries`; says the result, and how many probes were sent.
    fn settle(mtu: &mut PathMtu, carries: usize) -> (usize, u32) {
        let mut sent = 0;
        loop {
            let next = match mtu.due() {
                Some(size) => {
                    assert!(sent < 100, "the search ends: {mtu:?}");
                    mtu.sent();
                    sent += 1;
                    if size <= carries {
                        mtu.arrived()
                    } else {
                        mtu.timed_out(false)
                    }
                }
                None => return (mtu.packet(), sent),
            };
            if next == Next::Raise {
                assert_eq!(mtu.due(), None);
            }
        }
    }

    fn started() -> PathMtu {
        let mut mtu = PathMtu::new(1176, 1444, 512);
        mtu.start();
        mtu
    }

    #[test]
    fn the_limit_is_found_at_once_and_everything_else_by_halves() {
        assert_eq!(settle(&mut started(), 9000), (1444, 2));
        for carries in (1176..1444).step_by(4) {
            let (found, probes) = settle(&mut started(), carries);
            assert!(
                found <= carries && found + GRANULARITY + 4 > carries,
                "{carries}: {found}"
            );
            assert!(found.is_multiple_of(4));
            assert!(probes <= 20, "{probes}");
        }
    }

    #[test]
    fn nothing_to_gain_nothing_to_do() {
        let mut mtu = PathMtu::new(1176, 1180, 512);
        mtu.start();
        assert_eq!((mtu.packet(), mtu.due()), (1176, None));
        assert_eq!(mtu.timed_out(true), Next::Nothing);
    }

    #[test]
    fn a_path_that_grows_is_found_after_the_raise_timer() {
        let mut mtu = started();
        assert!(settle(&mut mtu, 1300).0 <= 1300);
        assert_eq!(mtu.timed_out(false), Next::Nothing);
        assert_eq!(settle(&mut mtu, 1444).0, 1444);
    }

    #[test]
    fn a_black_hole_is_left_at_once_and_believed_after_six_probes() {
        let mut mtu = started();
        settle(&mut mtu, 1444);
        assert!(!mtu.lost_above_base(SUSPICIOUS_LOSSES - 1, false));
        assert!(!mtu.lost_above_base(0, true));
        assert!(mtu.lost_above_base(1, true));
        assert_eq!(mtu.packet(), 1176, "data goes in small packets at once");
        assert!(!mtu.lost_above_base(100, true), "one doubt at a time");
        let (found, probes) = settle(&mut mtu, 1300);
        assert!((1280..=1300).contains(&found), "{found}");
        assert!(probes > MAX_DOUBTS);
        assert_eq!(mtu.black_holes(), 1);
        // A doubt without a cause.
        assert!(mtu.lost_above_base(SUSPICIOUS_LOSSES, false));
        assert_eq!(settle(&mut mtu, 1300), (found, 1));
        assert_eq!(mtu.black_holes(), 1);
    }

    #[test]
    fn a_path_below_the_base() {
        let mut mtu = started();
        for _ in 0..MAX_PROBES {
            mtu.sent();
            mtu.timed_out(true);
        }
        assert_eq!(mtu.packet(), 512);
        assert_eq!(mtu.due(), Some(1176), "it goes on asking for the base");
        assert_eq!(settle(&mut mtu, 1444).0, 1444);
    }

    #[test]
    fn a_peer_that_answers_no_probes_keeps_the_base() {
        let mut mtu = started();
        assert_eq!(settle(&mut mtu, 100), (1176, MAX_PROBES));
    }

    #[test]
    fn other_layers_have_the_last_word() {
        let mut mtu = started();
        mtu.sent();
        mtu.arrived();
        assert_eq!(mtu.due(), Some(1444));
        mtu.too_large_for_us(1403);
        assert_eq!(settle(&mut mtu, 9000).0, 1400);
        mtu.restart(1176, 1180);
        assert!(!mtu.is_idle());
    }
}
