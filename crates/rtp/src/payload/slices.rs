//! Cutting into nearly equal slices: batched sending wants packets of one size.

use std::ops::Range;

/// Cuts `len` bytes into the fewest pieces of at most `max` bytes, whose sizes differ by at most one.
///
/// ```
/// let pieces: Vec<_> = antiphon_rtp::payload::slices(10, 4).collect();
/// assert_eq!(pieces, [0..4, 4..7, 7..10]);
/// ```
pub fn slices(len: usize, max: usize) -> impl ExactSizeIterator<Item = Range<usize>> {
    Slices::new(len, max)
}

/// The slices of so many bytes.
#[derive(Clone, Debug)]
pub(super) struct Slices {
    next: usize,
    count: usize,
    size: usize,
    larger: usize,
}

impl Slices {
    pub(super) fn new(len: usize, max: usize) -> Self {
        let count = len.div_ceil(max.max(1));
        Self {
            next: 0,
            count,
            size: len.checked_div(count).unwrap_or(0),
            larger: len.checked_rem(count).unwrap_or(0),
        }
    }
}

impl Iterator for Slices {
    type Item = Range<usize>;

    #[inline]
    fn next(&mut self) -> Option<Range<usize>> {
        let index = self.next;
        if index == self.count {
            return None;
        }
        self.next += 1;
        let start = index * self.size + index.min(self.larger);
        Some(start..start + self.size + usize::from(index < self.larger))
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let left = self.count - self.next;
        (left, Some(left))
    }
}

impl ExactSizeIterator for Slices {}
