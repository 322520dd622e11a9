/// How many record numbers below the newest are remembered. SCTP over a path that reorders wants more than the 64 of
/// RFC 6347 §4.1.2.6.
pub(crate) const REPLAY_WINDOW: u64 = 1024 - 64;

const WORDS: usize = 16;

/// Which record numbers of one epoch have been seen (RFC 6347 §4.1.2.6; the ring of RFC 6479).
///
/// [`Self::check`] comes before authentication and changes nothing; [`Self::accept`] comes after.
#[derive(Clone, Debug, Default)]
pub(crate) struct ReplayWindow {
    /// One more than the newest number accepted.
    next: u64,
    bits: [u64; WORDS],
}

impl ReplayWindow {
    /// Whether a record of this number may still be new.
    #[inline]
    pub(crate) fn check(&self, sequence: u64) -> bool {
        if sequence >= self.next {
            return true;
        }
        self.next - sequence <= REPLAY_WINDOW && self.bits[word(sequence)] & bit(sequence) == 0
    }

    /// Remembers an authenticated record's number.
    #[inline(always)]
    pub(crate) fn accept(&mut self, sequence: u64) {
        if sequence >= self.next {
            let newest_block = self.next.saturating_sub(1) / 64;
            let blocks = (sequence / 64 - newest_block).min(WORDS as u64);
            if blocks > 0 {
                self.forget(newest_block + 1, blocks);
            }
            self.next = sequence + 1;
        }
        self.bits[word(sequence)] |= bit(sequence);
    }

    /// The words from `block` on are for newer numbers now.
    #[cold]
    fn forget(&mut self, block: u64, blocks: u64) {
        for step in 0..blocks {
            self.bits[((block + step) % WORDS as u64) as usize] = 0;
        }
    }

    /// One more than the newest number accepted: what a shortened number is completed around.
    #[inline]
    pub(crate) fn next(&self) -> u64 {
        self.next
    }
}

#[inline]
fn word(sequence: u64) -> usize {
    (sequence / 64) as usize % WORDS
}

#[inline]
fn bit(sequence: u64) -> u64 {
    1 << (sequence % 64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_number_once_and_nothing_old() {
        let mut window = ReplayWindow::default();
        assert!(window.check(0));
        window.accept(0);
        assert!(!window.check(0));
        window.accept(2000);
        assert!(!window.check(2000));
        assert!(window.check(1999));
        assert!(!window.check(2001 - REPLAY_WINDOW - 1));
        assert!(window.check(2001 - REPLAY_WINDOW));
        window.accept((1 << 48) - 1);
        assert!(!window.check(2000));
    }

    proptest! {
        #[test]
        fn agrees_with_a_set(steps in prop::collection::vec((0u64..3000, any::<bool>()), 1..400)) {
            let mut window = ReplayWindow::default();
            let mut seen = BTreeSet::new();
            let mut base = 0u64;
            for (step, far) in steps {
                let sequence = if far { base + step } else { (base + step % 64).saturating_sub(step) };
                let newest = seen.last().copied();
                let old = newest.is_some_and(|n| sequence <= n && n + 1 - sequence > REPLAY_WINDOW);
                prop_assert_eq!(window.check(sequence), !old && !seen.contains(&sequence));
                if window.check(sequence) {
                    window.accept(sequence);
                    seen.insert(sequence);
                    base = base.max(sequence);
                }
            }
        }
    }
}
