//! Numbers of a source become numbers of a consumer, without holes for what is left out, and with holes for what was
//! lost before us.

/// Words of the record of what was left out.
const WORDS: usize = 32;
/// How far back a number is still found: more than a second of any video.
pub(crate) const WINDOW: u64 = WORDS as u64 * 64;

/// Where a number stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// Behind all that came.
    New,
    /// Before the newest: it was late, or comes again.
    Late,
    /// It was left out, or is from before the window.
    Gone,
}

/// Extended numbers of one source, and those that they become.
///
/// It keeps one bit for each number of the window: whether it was left out. A late number is found by counting those
/// behind it. Whose numbers all go on has no bits: most consumers get everything, and there are many of them.
#[derive(Clone, Debug)]
pub(crate) struct Renumbering {
    /// The newest number of the source.
    newest: u64,
    /// The first that belongs here: what is before it belongs to another source.
    first: u64,
    /// What is taken off a number that is newer than the newest.
    offset: i64,
    left_out: Option<Box<[u64; WORDS]>>,
}

impl Renumbering {
    /// The number `first` becomes `ours`.
    pub(crate) fn new(first: u64, ours: u64) -> Self {
        Self {
            newest: first.wrapping_sub(1),
            first,
            offset: first.wrapping_sub(ours) as i64,
            left_out: None,
        }
    }

    pub(crate) fn newest(&self) -> u64 {
        self.newest
    }

    /// What the newest number became, or would have.
    pub(crate) fn newest_ours(&self) -> u64 {
        self.newest.wrapping_sub(self.offset as u64)
    }

    fn bit(number: u64) -> (usize, u64) {
        ((number / 64) as usize % WORDS, 1 << (number % 64))
    }

    /// The bits of the numbers that are at the place of this one, if any number was left out.
    fn word(&self, number: u64) -> u64 {
        let (word, _) = Self::bit(number);
        let left_out = self.left_out.as_deref();
        left_out.and_then(|words| words.get(word)).copied().unwrap_or(0)
    }

    fn is_left_out(&self, number: u64) -> bool {
        self.word(number) & Self::bit(number).1 != 0
    }

    /// How far behind the newest a number is; negative: before it.
    fn ahead(&self, number: u64) -> i64 {
        number.wrapping_sub(self.newest) as i64
    }

    pub(crate) fn place(&self, number: u64) -> Place {
        match self.ahead(number) {
            1.. => Place::New,
            ahead if ahead <= -(WINDOW as i64) || (number.wrapping_sub(self.first) as i64) < 0 => Place::Gone,
            _ if self.is_left_out(number) => Place::Gone,
            _ => Place::Late,
        }
    }

    /// Moves the window so that `number` is the newest.
    fn advance(&mut self, number: u64) {
        let steps = number.wrapping_sub(self.newest);
        if steps >= WINDOW {
            self.left_out = None;
        } else if let Some(words) = &mut self.left_out {
            for step in 1..=steps {
                let (word, bit) = Self::bit(self.newest.wrapping_add(step));
                if let Some(word) = words.get_mut(word) {
                    *word &= !bit;
                }
            }
        }
        self.newest = number;
    }

    /// A number that goes on: what it becomes. `None` if it is gone.
    pub(crate) fn pass(&mut self, number: u64) -> Option<u64> {
        match self.place(number) {
            Place::New => {
                self.advance(number);
                Some(number.wrapping_sub(self.offset as u64))
            }
            Place::Late => Some(self.late(number)),
            Place::Gone => None,
        }
    }

    /// A number that does not go on, if it is new: those behind it close up. Of a late one the place is empty already.
    pub(crate) fn leave_out(&mut self, number: u64) {
        if self.place(number) == Place::New {
            self.advance(number);
            let (word, bit) = Self::bit(number);
            let words = self.left_out.get_or_insert_with(|| Box::new([0; WORDS]));
            if let Some(word) = words.get_mut(word) {
                *word |= bit;
            }
            self.offset = self.offset.wrapping_add(1);
        }
    }

    /// The source jumped to `number`: it goes on behind the newest of ours.
    pub(crate) fn jump(&mut self, number: u64) {
        let ours = self.newest_ours().wrapping_add(1);
        *self = Self::new(number, ours);
    }

    fn late(&self, number: u64) -> u64 {
        let mut behind = 0i64;
        let mut at = number.wrapping_add(1);
        while self.ahead(at) <= 0 {
            let left = (self.newest.wrapping_sub(at) + 1).min(64 - at % 64);
            let mask = (u64::MAX >> (64 - left)) << (at % 64);
            behind += i64::from((self.word(at) & mask).count_ones());
            at = at.wrapping_add(left);
        }
        number.wrapping_sub(self.offset.wrapping_sub(behind) as u64)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_left_out_closes_up_and_what_is_lost_leaves_a_hole() {
        let mut numbers = Renumbering::new(100, 7);
        assert_eq!(numbers.pass(100), Some(7));
        numbers.leave_out(101);
        assert_eq!(numbers.pass(102), Some(8));
        // 103 is lost before us.
        assert_eq!(numbers.pass(104), Some(10));
        numbers.leave_out(105);
        numbers.leave_out(106);
        assert_eq!(numbers.pass(107), Some(11));
        // It comes late, and a repetition of another too.
        assert_eq!(
            (numbers.pass(103), numbers.pass(102), numbers.pass(100)),
            (Some(9), Some(8), Some(7))
        );
        assert_eq!((numbers.pass(105), numbers.pass(99)), (None, None));
        numbers.jump(5_000_000);
        assert_eq!((numbers.pass(5_000_000), numbers.pass(107)), (Some(12), None));
    }

    proptest! {
        #[test]
        fn a_number_is_the_same_whenever_it_comes(
            start: u64, ours in 0u64..1 << 40, kinds in proptest::collection::vec(0u8..3, 1..600),
        ) {
            let mut numbers = Renumbering::new(start, ours);
            let mut expected = Vec::new();
            let mut next = ours;
            for (number, kind) in (0..).map(|step| start.wrapping_add(step)).zip(&kinds) {
                match kind {
                    0 => numbers.leave_out(number),
                    // Lost: nothing says so, and its place stays free.
                    1 => { expected.push((number, next)); next += 1; }
                    _ => {
                        prop_assert_eq!(numbers.pass(number), Some(next));
                        expected.push((number, next));
                        next += 1;
                    }
                }
            }
            for (number, ours) in expected {
                if numbers.place(number) != Place::New {
                    prop_assert_eq!(numbers.pass(number), Some(ours));
                }
            }
        }
    }
}
