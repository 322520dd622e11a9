use crate::error::Error;

/// The smallest replay window, in packets (RFC 3711 §3.3.2).
pub const MIN_REPLAY_WINDOW: u64 = 64;
/// The largest replay window, in packets.
pub const MAX_REPLAY_WINDOW: u64 = 1024;
/// The replay window if nothing else is asked for, in packets: what browsers use, wide enough for their late probes.
pub const DEFAULT_REPLAY_WINDOW: u64 = 1024;

/// Index of an RTP packet: 32 bits of rollover counter and 16 bits of sequence number (RFC 3711 §3.3.1).
pub(crate) const MAX_RTP_INDEX: u64 = (1 << 48) - 1;

/// Which of the last `64 * WORDS` indices were seen. `check` changes nothing: only what is authenticated is `mark`ed.
#[derive(Clone, Debug)]
pub(crate) struct ReplayWindow<const WORDS: usize> {
    highest: Option<u64>,
    /// A circle: index `i` has bit `i % (64 * WORDS)`.
    bits: [u64; WORDS],
}

impl<const WORDS: usize> Default for ReplayWindow<WORDS> {
    fn default() -> Self {
        Self {
            highest: None,
            bits: [0; WORDS],
        }
    }
}

impl<const WORDS: usize> ReplayWindow<WORDS> {
    const SPAN: u64 = 64 * WORDS as u64;

    #[inline]
    pub(crate) fn highest(&self) -> Option<u64> {
        self.highest
    }

    #[inline]
    fn place(index: u64) -> (usize, u64) {
        let bit = index % Self::SPAN;
        ((bit / 64) as usize, 1 << (bit % 64))
    }

    /// Refuses what was seen, and what is `size` or more behind the highest.
    #[inline]
    pub(crate) fn check(&self, index: u64, size: u64) -> Result<(), Error> {
        let Some(highest) = self.highest else { return Ok(()) };
        if index > highest {
            return Ok(());
        }
        let (word, bit) = Self::place(index);
        if highest - index >= size.min(Self::SPAN) || self.bits[word] & bit != 0 {
            return Err(Error::Replayed);
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn mark(&mut self, index: u64) {
        match self.highest {
            Some(highest) if index <= highest => {
                if highest - index >= Self::SPAN {
                    return; // Its bit belongs to a newer index by now.
                }
            }
            Some(highest) if index - highest >= Self::SPAN => {
                self.bits = [0; WORDS];
                self.highest = Some(index);
            }
            Some(highest) => {
                for skipped in highest + 1..index {
                    let (word, bit) = Self::place(skipped);
                    self.bits[word] &= !bit;
                }
                self.highest = Some(index);
            }
            None => self.highest = Some(index),
        }
        let (word, bit) = Self::place(index);
        self.bits[word] |= bit;
    }
}

/// The index of a packet with this `sequence` number, when `highest` is the largest index known.
///
/// `None` if it would lie before the first index or after the last.
///
/// RFC 3711 §3.3.1: of the three candidates with rollover counters ROC-1, ROC and ROC+1, the one nearest to the highest.
#[inline]
pub(crate) fn guess_index(highest: Option<u64>, sequence: u16) -> Option<u64> {
    let Some(highest) = highest else {
        // A fresh context starts with rollover counter 0.
        return Some(u64::from(sequence));
    };
    let (roc, last) = ((highest >> 16) as i64, (highest & 0xffff) as i32);
    let sequence = i32::from(sequence);
    let guessed = if last < 32_768 {
        if sequence - last > 32_768 { roc - 1 } else { roc }
    } else if last - 32_768 > sequence {
        roc + 1
    } else {
        roc
    };
    let guessed = u64::try_from(guessed).ok()?;
    let index = (guessed << 16) | sequence as u64;
    (index <= MAX_RTP_INDEX).then_some(index)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn guesses_around_the_wrap() {
        assert_eq!(guess_index(None, 65_535), Some(65_535));
        assert_eq!(guess_index(Some(65_535), 0), Some(65_536));
        assert_eq!(guess_index(Some(65_536), 65_535), Some(65_535));
        assert_eq!(guess_index(Some(3), 65_535), None, "before the first");
        assert_eq!(guess_index(Some(MAX_RTP_INDEX), 0), None, "after the last");
        assert_eq!(guess_index(Some(5 << 16 | 40_000), 7_000), Some(6 << 16 | 7_000));
        assert_eq!(guess_index(Some(5 << 16 | 40_000), 7_232), Some(5 << 16 | 7_232));
        assert_eq!(guess_index(Some(5 << 16 | 7_000), 40_000), Some(4 << 16 | 40_000));
        assert_eq!(guess_index(Some(5 << 16 | 7_000), 39_768), Some(5 << 16 | 39_768));
    }

    proptest! {
        /// Against a set that remembers everything.
        #[test]
        fn window_agrees_with_a_model(start in 0u64..5_000, size in 64u64..=128, steps in prop::collection::vec(-200i64..300, 1..400)) {
            let mut window = ReplayWindow::<2>::default();
            let mut seen = BTreeSet::new();
            let mut at = start as i64;
            for step in steps {
                at = (at + step).max(0);
                let index = at as u64;
                let highest = seen.last().copied();
                let expected = !seen.contains(&index) && highest.is_none_or(|highest: u64| highest < index + size);
                prop_assert_eq!(window.check(index, size).is_ok(), expected);
                if expected {
                    window.mark(index);
                    seen.insert(index);
                }
                prop_assert_eq!(window.highest(), seen.last().copied());
            }
        }
    }
}
