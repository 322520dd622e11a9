//! A queue that gives its memory back when it runs empty.

use std::collections::VecDeque;

/// A queue that gives its memory back when it runs empty, so that a machine that is idle does not go on holding what it
/// needed once. Room for `KEEP` items stays: 0 for what happens seldom, more where items come and go with every packet
/// and must not allocate each time.
#[derive(Clone, Debug)]
pub struct Queue<T, const KEEP: usize = 0>(VecDeque<T>);

impl<T, const KEEP: usize> Default for Queue<T, KEEP> {
    fn default() -> Self {
        Self(VecDeque::new())
    }
}

impl<T, const KEEP: usize> Queue<T, KEEP> {
    /// How many items wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether nothing waits.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The item that has waited longest.
    #[inline]
    pub fn front(&self) -> Option<&T> {
        self.0.front()
    }

    /// All items, that which has waited longest first.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter()
    }

    /// Puts an item at the end.
    #[inline]
    pub fn push_back(&mut self, item: T) {
        self.0.push_back(item);
    }

    /// Takes the item that has waited longest.
    #[inline]
    pub fn pop_front(&mut self) -> Option<T> {
        let item = self.0.pop_front();
        if self.0.is_empty() && self.0.capacity() > KEEP {
            self.give_back();
        }
        item
    }

    /// Drops all items.
    pub fn clear(&mut self) {
        self.0.clear();
        self.give_back();
    }

    /// Takes all items of `other` to the end.
    pub fn append(&mut self, other: &mut Self) {
        self.0.append(&mut other.0);
        other.give_back();
    }

    #[cold]
    fn give_back(&mut self) {
        self.0.shrink_to(KEEP);
    }
}

impl<T, const KEEP: usize> IntoIterator for Queue<T, KEEP> {
    type Item = T;
    type IntoIter = std::collections::vec_deque::IntoIter<T>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_queue_holds_no_more_than_it_may_keep() {
        let mut rare: Queue<u64> = Queue::default();
        let mut usual: Queue<u64, 8> = Queue::default();
        for round in 1..5 {
            (0..100 * round).for_each(|n| rare.push_back(n));
            (0..100 * round).for_each(|n| usual.push_back(n));
            assert_eq!((rare.len(), usual.front()), (100 * round as usize, Some(&0)));
            assert!((0..100 * round).all(|n| rare.pop_front() == Some(n) && usual.pop_front() == Some(n)));
            assert_eq!((rare.pop_front(), usual.pop_front()), (None, None));
            assert_eq!(rare.0.capacity(), 0);
            assert!((1..=8).contains(&usual.0.capacity()));
        }
        let mut other = Queue::default();
        other.push_back(1);
        rare.append(&mut other);
        assert_eq!((rare.iter().count(), other.0.capacity()), (1, 0));
        rare.clear();
        assert_eq!(rare.0.capacity(), 0);
    }
}
