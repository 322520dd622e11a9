//! The TSNs that have arrived, and the window.

use std::collections::BTreeSet;

use super::*;
use proptest::prelude::*;

#[test]
fn gaps_close_in_any_order() {
    let mut tracker = DataTracker::new(Serial32::new(u32::MAX - 1));
    let base = tracker.cumulative();
    for offset in [3, 5, 4, 8, 2] {
        assert_eq!(tracker.classify(base.plus(offset)), Arrival::AboveHole);
        tracker.record(base.plus(offset));
    }
    let blocks: Vec<_> = tracker.gap_blocks(9).collect();
    assert_eq!(blocks, [GapBlock { start: 2, end: 5 }, GapBlock { start: 8, end: 8 }]);
    assert_eq!(tracker.classify(base.plus(4)), Arrival::Duplicate);
    tracker.record(base.plus(1));
    assert_eq!(tracker.cumulative(), base.plus(5));
    assert_eq!(tracker.cumulative_tsn(), Serial32::new(2), "the TSN has wrapped");
    tracker.forward(base.plus(7));
    assert_eq!(tracker.cumulative(), base.plus(8));
    assert!(tracker.ranges.is_empty());
}

#[test]
fn far_tsns_and_endless_holes_are_refused() {
    let mut tracker = DataTracker::new(Serial32::new(0));
    let base = tracker.cumulative();
    assert_eq!(tracker.classify(base.plus(65_536)), Arrival::OutOfWindow);
    let mut refused = 0;
    for offset in (2..60_000).step_by(2) {
        match tracker.classify(base.plus(offset)) {
            Arrival::OutOfWindow => refused += 1,
            _ => tracker.record(base.plus(offset)),
        }
    }
    assert_eq!(tracker.ranges.len(), MAX_RANGES);
    assert!(refused > 0);
    assert_eq!(
        tracker.classify(base.plus(1)),
        Arrival::InOrder,
        "the way out stays open"
    );
}

proptest! {
    #[test]
    fn agrees_with_a_set(initial: u32, offsets in prop::collection::vec(1u64..60, 0..80)) {
        let mut tracker = DataTracker::new(Serial32::new(initial));
        let base = tracker.cumulative();
        let mut model = BTreeSet::new();
        for offset in offsets {
            let seen = !model.insert(offset);
            let arrival = tracker.classify(base.plus(offset));
            prop_assert_eq!(arrival == Arrival::Duplicate, seen);
            if !seen {
                tracker.record(base.plus(offset));
            }
            let cumulative = (1..).find(|n| !model.contains(n)).unwrap() - 1;
            prop_assert_eq!(tracker.cumulative(), base.plus(cumulative));
            let reported: BTreeSet<u64> = tracker
                .gap_blocks(100)
                .flat_map(|b| u64::from(b.start)..=u64::from(b.end))
                .map(|n| n + cumulative)
                .collect();
            let above: BTreeSet<u64> = model.iter().copied().filter(|n| *n > cumulative).collect();
            prop_assert_eq!(reported, above);
        }
    }
}

#[test]
#[allow(clippy::disallowed_methods)]
fn a_fast_reader_widens_it_and_a_slow_one_does_not() {
    let now = Instant::now();
    let rtt = Duration::from_millis(10);
    let mut window = ReceiveWindow::new(now, 10 * INITIAL_WINDOW);
    assert!(!window.consumed(now, INITIAL_WINDOW / 4 - 1, rtt));
    assert!(!window.consumed(now + rtt * 2, INITIAL_WINDOW / 4 - 1, rtt), "too slow");
    assert!(window.consumed(now + rtt * 2, 1, rtt));
    assert_eq!(window.size(), 2 * INITIAL_WINDOW);
    for _ in 0..10 {
        window.consumed(now, 4 * INITIAL_WINDOW, rtt);
    }
    assert_eq!(window.size(), 10 * INITIAL_WINDOW, "never above the cap");
}
