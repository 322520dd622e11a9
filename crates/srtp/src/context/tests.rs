//! Index guess and replay window.

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
