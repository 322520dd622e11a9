//! TSNs, extended to 64 bits: they never wrap, and their order is that of numbers.

use antiphon_sansio::Serial32;

/// A TSN, extended. Those of a sender begin above 2^32, so that what lies before the first one is a TSN as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Tsn(u64);

impl Tsn {
    /// The first TSN that a sender uses.
    pub(crate) fn initial(tsn: Serial32) -> Self {
        Self((1 << 32) + u64::from(tsn.get()))
    }

    /// As it stands in a packet.
    #[inline]
    pub(crate) fn wire(self) -> Serial32 {
        Serial32::new(self.0 as u32)
    }

    /// Of all TSNs that stand in a packet like this the one next to `self`.
    #[inline]
    pub(crate) fn nearest(self, wire: Serial32) -> Self {
        let distance = wire.distance_from(self.wire());
        Self(self.0.wrapping_add_signed(i64::from(distance)))
    }

    #[inline]
    pub(crate) fn next(self) -> Self {
        self.plus(1)
    }

    #[inline]
    pub(crate) fn previous(self) -> Self {
        Self(self.0.wrapping_sub(1))
    }

    #[inline]
    pub(crate) fn plus(self, count: u64) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// How many TSNs it lies above `other`; none if it does not.
    #[inline]
    pub(crate) fn above(self, other: Self) -> u64 {
        self.0.saturating_sub(other.0)
    }

    /// Its place in a list of consecutive TSNs that begins with `first`. One below that has a place beyond every list's
    /// end.
    #[inline]
    pub(crate) fn index(self, first: Self) -> usize {
        usize::try_from(self.0.wrapping_sub(first.0)).unwrap_or(usize::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_order_goes_on_where_the_wire_begins_anew() {
        let first = Tsn::initial(Serial32::new(u32::MAX));
        let third = first.plus(2);
        assert!(first.previous() < first && first < third);
        assert_eq!(third.wire(), Serial32::new(1));
        assert_eq!(first.nearest(third.wire()), third);
        assert_eq!(third.nearest(first.wire()), first);
        assert_eq!((third.above(first), first.above(third)), (2, 0));
        assert_eq!(third.index(first), 2);
        assert!([0; 9].get(first.index(third)).is_none());
    }
}
