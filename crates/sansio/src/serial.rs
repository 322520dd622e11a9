//! Serial numbers (RFC 1982): comparison and extension of numbers that wrap.

use std::fmt;

macro_rules! serial {
    ($(#[$doc:meta])* $name:ident, $uint:ty, $int:ty, $unwrapper:ident) => {
        $(#[$doc])*
        ///
        /// There is no `Ord`: on a circle "less" is not transitive. Ask [`Self::is_newer_than`], or take the signed
        /// [`Self::distance_from`].
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub struct $name($uint);

        impl $name {
            /// The number with this value on the wire.
            #[inline]
            pub const fn new(value: $uint) -> Self {
                Self(value)
            }

            /// The value on the wire.
            #[inline]
            pub const fn get(self) -> $uint {
                self.0
            }

            /// The number after this one.
            #[inline]
            pub const fn next(self) -> Self {
                Self(self.0.wrapping_add(1))
            }

            /// The number `n` steps after this one.
            #[inline]
            pub const fn plus(self, n: $uint) -> Self {
                Self(self.0.wrapping_add(n))
            }

            /// The number `n` steps before this one.
            #[inline]
            pub const fn minus(self, n: $uint) -> Self {
                Self(self.0.wrapping_sub(n))
            }

            /// How far this number lies after `other`; negative if before. Exactly half the circle counts as before.
            #[inline]
            pub const fn distance_from(self, other: Self) -> $int {
                self.0.wrapping_sub(other.0) as $int
            }

            /// Whether this number comes after `other` (RFC 1982 §3.2).
            #[inline]
            pub const fn is_newer_than(self, other: Self) -> bool {
                self.distance_from(other) > 0
            }

            /// Whether this number is `other` or comes after it.
            #[inline]
            pub const fn is_at_or_after(self, other: Self) -> bool {
                self.distance_from(other) >= 0
            }
        }

        impl From<$uint> for $name {
            fn from(value: $uint) -> Self {
                Self(value)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        #[doc = concat!("Extends a sequence of [`", stringify!($name), "`] to 64 bits, following it across wraps.")]
        ///
        /// The first number keeps its value. Numbers that come before it unwrap below it by wrapping addition.
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $unwrapper {
            newest: Option<u64>,
        }

        impl $unwrapper {
            /// The extended number for `serial`; remembers it if it is the newest so far.
            pub fn unwrap(&mut self, serial: $name) -> u64 {
                let extended = self.peek(serial);
                match self.newest {
                    Some(newest) if (extended.wrapping_sub(newest) as i64) <= 0 => {}
                    _ => self.newest = Some(extended),
                }
                extended
            }

            /// The extended number for `serial`, without remembering it.
            pub fn peek(&self, serial: $name) -> u64 {
                match self.newest {
                    None => u64::from(serial.get()),
                    Some(newest) => {
                        let distance = serial.distance_from($name::new(newest as $uint));
                        newest.wrapping_add_signed(i64::from(distance))
                    }
                }
            }
        }
    };
}

serial! {
    /// A 16-bit serial number (RFC 1982): RTP sequence numbers, transport-wide sequence numbers, SCTP stream sequence numbers.
    Serial16, u16, i16, Unwrapper16
}

serial! {
    /// A 32-bit serial number (RFC 1982): SCTP TSNs, message ids, RTP timestamps.
    Serial32, u32, i32, Unwrapper32
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn wrap() {
        let last = Serial16::new(u16::MAX);
        assert!(last.next().is_newer_than(last));
        assert_eq!(last.next().distance_from(last), 1);
        let mut unwrapper = Unwrapper16::default();
        assert_eq!(unwrapper.unwrap(last), 65_535);
        assert_eq!(unwrapper.unwrap(Serial16::new(1)), 65_537);
        assert_eq!(unwrapper.unwrap(Serial16::new(65_534)), 65_534);
        assert_eq!(unwrapper.unwrap(Serial16::new(2)), 65_538);
    }

    proptest! {
        #[test]
        fn newer_is_antisymmetric(a: u32, b: u32) {
            let (a, b) = (Serial32::new(a), Serial32::new(b));
            prop_assert!(!(a.is_newer_than(b) && b.is_newer_than(a)));
        }

        #[test]
        fn steps_within_half_a_circle_are_followed(start: u16, steps in prop::collection::vec(1u16..0x7fff, 1..200)) {
            let mut unwrapper = Unwrapper16::default();
            let mut serial = Serial16::new(start);
            let mut expected = unwrapper.unwrap(serial);
            for step in steps {
                serial = serial.plus(step);
                expected += u64::from(step);
                prop_assert_eq!(unwrapper.unwrap(serial), expected);
            }
        }
    }
}
