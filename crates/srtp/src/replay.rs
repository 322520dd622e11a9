use crate::error::Error;

/// The smallest replay window, in packets (RFC 3711 §3.3.2).
pub const MIN_REPLAY_WINDOW: u64 = 64;
/// The largest replay window, in packets: what is further behind than half the sequence numbers is taken for the future.
pub const MAX_REPLAY_WINDOW: u64 = 32_768;
/// The replay window for RTP if nothing else is asked for, in packets: what browsers use, wide enough for their late probes.
pub const DEFAULT_REPLAY_WINDOW: u64 = 1024;
/// The replay window for RTCP if nothing else is asked for, in packets.
pub const DEFAULT_RTCP_REPLAY_WINDOW: u64 = 128;

/// Index of an RTP packet: 32 bits of rollover counter and 16 bits of sequence number (RFC 3711 §3.3.1).
pub(crate) const MAX_RTP_INDEX: u64 = (1 << 48) - 1;

/// Which of the last indices were seen. `check` changes nothing: only what is authenticated is `mark`ed.
#[derive(Clone, Debug)]
pub(crate) struct ReplayWindow {
    /// One above the highest index seen; 0 before the first.
    next: u64,
    size: u64,
    /// A circle of a power of two words: index `i` has bit `i` modulo their number.
    bits: Box<[u64]>,
}

impl ReplayWindow {
    /// For `size` packets.
    pub(crate) fn new(size: u64) -> Self {
        let words = size.div_ceil(64).next_power_of_two();
        Self {
            next: 0,
            size,
            bits: vec![0; words as usize].into_boxed_slice(),
        }
    }

    #[inline]
    pub(crate) fn highest(&self) -> Option<u64> {
        self.next.checked_sub(1)
    }

    #[inline]
    fn span(&self) -> u64 {
        64 * self.bits.len() as u64
    }

    #[inline]
    fn word(&mut self, index: u64) -> &mut u64 {
        let words = self.bits.len();
        &mut self.bits[(index / 64) as usize & (words - 1)]
    }

    /// Refuses what was seen, and what is as far behind the highest as the window is wide, or further.
    #[inline]
    pub(crate) fn check(&self, index: u64) -> Result<(), Error> {
        if index >= self.next {
            return Ok(());
        }
        let word = self.bits[(index / 64) as usize & (self.bits.len() - 1)];
        if self.next - index > self.size || word >> (index % 64) & 1 != 0 {
            return Err(Error::Replayed);
        }
        Ok(())
    }

    #[inline]
    pub(crate) fn mark(&mut self, index: u64) {
        if index >= self.next {
            if index - self.next >= self.span() {
                self.bits.fill(0);
            } else {
                for skipped in self.next..=index {
                    *self.word(skipped) &= !(1 << (skipped % 64));
                }
            }
            self.next = index + 1;
        } else if self.next - index > self.span() {
            return; // Its bit belongs to a newer index by now.
        }
        *self.word(index) |= 1 << (index % 64);
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
        fn window_agrees_with_a_model(start in 0u64..5_000, size in 64u64..=700, steps in prop::collection::vec(-200i64..300, 1..400)) {
            let mut window = ReplayWindow::new(size);
            let mut seen = BTreeSet::new();
            let mut at = start as i64;
            for step in steps {
                at = (at + step).max(0);
                let index = at as u64;
                let highest = seen.last().copied();
                let expected = !seen.contains(&index) && highest.is_none_or(|highest: u64| highest < index + size);
                prop_assert_eq!(window.check(index).is_ok(), expected);
                if expected {
                    window.mark(index);
                    seen.insert(index);
                }
                prop_assert_eq!(window.highest(), seen.last().copied());
            }
        }
    }
}
