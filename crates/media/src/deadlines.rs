//! The deadlines of many things, the earliest always at hand: a binary heap in which a deadline can be moved.

use std::time::Instant;

/// Deadlines by small keys: at most one for each key.
#[derive(Debug, Default)]
pub(crate) struct Deadlines {
    heap: Vec<(Instant, usize)>,
    /// Where the key's deadline is in the heap.
    places: Vec<Option<usize>>,
}

impl Deadlines {
    /// Sets, moves or (`None`) takes away the deadline of `key`.
    pub(crate) fn set(&mut self, key: usize, at: Option<Instant>) {
        let place = self.places.get(key).copied().flatten();
        match (place, at) {
            (None, None) => {}
            (None, Some(at)) => {
                if key >= self.places.len() {
                    self.places.resize(key + 1, None);
                }
                self.heap.push((at, key));
                self.up(self.heap.len() - 1);
            }
            (Some(place), Some(at)) => {
                self.heap[place].0 = at;
                let place = self.up(place);
                self.down(place);
            }
            (Some(place), None) => {
                self.places[key] = None;
                self.heap.swap_remove(place);
                if place < self.heap.len() {
                    let place = self.up(place);
                    self.down(place);
                }
            }
        }
    }

    /// The earliest deadline.
    pub(crate) fn next(&self) -> Option<Instant> {
        self.heap.first().map(|(at, _)| *at)
    }

    /// Appends the keys whose deadline has come to `keys`, in ascending order.
    pub(crate) fn due(&self, now: Instant, keys: &mut Vec<usize>) {
        if self.next().is_some_and(|at| at <= now) {
            keys.extend(self.heap.iter().filter(|(at, _)| *at <= now).map(|(_, key)| *key));
            keys.sort_unstable();
        }
    }

    fn up(&mut self, mut place: usize) -> usize {
        while place > 0 && self.heap[place] < self.heap[(place - 1) / 2] {
            self.heap.swap(place, (place - 1) / 2);
            self.places[self.heap[place].1] = Some(place);
            place = (place - 1) / 2;
        }
        self.places[self.heap[place].1] = Some(place);
        place
    }

    fn down(&mut self, mut place: usize) {
        loop {
            let mut least = place;
            for child in [2 * place + 1, 2 * place + 2] {
                if child < self.heap.len() && self.heap[child] < self.heap[least] {
                    least = child;
                }
            }
            if least == place {
                break;
            }
            self.heap.swap(place, least);
            self.places[self.heap[place].1] = Some(place);
            place = least;
        }
        if let Some((_, key)) = self.heap.get(place) {
            self.places[*key] = Some(place);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn is_a_map_with_the_earliest_at_hand(steps in prop::collection::vec((0usize..20, prop::option::of(0u64..50)), 0..300)) {
            let start = antiphon_netsim::start();
            let mut deadlines = Deadlines::default();
            let mut model = BTreeMap::new();
            for (key, at) in steps {
                let at = at.map(|millis| start + Duration::from_millis(millis));
                deadlines.set(key, at);
                match at {
                    Some(at) => { model.insert(key, at); }
                    None => { model.remove(&key); }
                }
                prop_assert_eq!(deadlines.next(), model.values().min().copied());
                let now = start + Duration::from_millis(25);
                let mut due = Vec::new();
                deadlines.due(now, &mut due);
                let expected: Vec<usize> = model.iter().filter(|(_, at)| **at <= now).map(|(key, _)| *key).collect();
                prop_assert_eq!(due, expected);
            }
        }
    }
}
