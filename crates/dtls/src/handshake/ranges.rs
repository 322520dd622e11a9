//! Sets of byte ranges: which parts of a message have come, or have been acknowledged.

/// Which bytes of a message have arrived, or were acknowledged: ranges in order that neither overlap nor touch.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ranges(Vec<(usize, usize)>);

impl Ranges {
    /// Adds `start..end`. Refuses when that would make more than `max` ranges.
    pub(crate) fn add(&mut self, start: usize, end: usize, max: usize) -> bool {
        if start >= end {
            return true;
        }
        let first = self.0.partition_point(|range| range.1 < start);
        let last = self.0.partition_point(|range| range.0 <= end);
        let merged = match self.0.get(first..last) {
            Some([]) | None if self.0.len() >= max => return false,
            Some([]) | None => (start, end),
            Some(touched) => (touched[0].0.min(start), touched[touched.len() - 1].1.max(end)),
        };
        self.0.splice(first..last, [merged]);
        true
    }

    /// Whether all of `0..len` is in.
    pub(crate) fn cover(&self, len: usize) -> bool {
        len == 0 || self.0 == [(0, len)]
    }

    /// The first part of `from..len` that is not in.
    pub(crate) fn gap(&self, from: usize, len: usize) -> Option<(usize, usize)> {
        let mut start = from;
        for &(begin, end) in &self.0 {
            if begin > start {
                return (start < len).then_some((start, begin.min(len)));
            }
            start = start.max(end);
        }
        (start < len).then_some((start, len))
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.0.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn agrees_with_a_bitmap(adds in prop::collection::vec((0usize..100, 0usize..30), 0..30), from in 0usize..110) {
            let mut ranges = Ranges::default();
            let mut map = [false; 140];
            for (start, len) in adds {
                prop_assert!(ranges.add(start, start + len, 100));
                map[start..start + len].fill(true);
            }
            prop_assert_eq!(ranges.cover(100), map[..100].iter().all(|b| *b) && !map[100..].contains(&true));
            let start = (from..110).find(|at| !map[*at]);
            let gap = start.map(|start| (start, (start..110).find(|at| map[*at]).unwrap_or(110)));
            prop_assert_eq!(ranges.gap(from, 110), gap);
        }
    }
}
