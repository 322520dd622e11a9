//! Bits of a bitstream, most significant first, as the headers of pictures are written: fixed fields and Exp-Golomb codes
//! (ITU-T H.264 §9.1).

/// Reads bits. Past the end everything is `None`.
#[derive(Clone, Debug)]
pub(crate) struct Bits<'a> {
    rest: &'a [u8],
    /// The byte that is being read, and how many of its bits are left.
    byte: u8,
    left: u8,
    /// Zero bytes in a row before the next one; only counted where emulation prevention is undone.
    zeros: u8,
    escaped: bool,
}

impl<'a> Bits<'a> {
    /// All bits of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Self {
            rest: bytes,
            byte: 0,
            left: 0,
            zeros: 0,
            escaped: false,
        }
    }

    /// The bits of the payload of a unit: the third byte of 00 00 03 is left out (ITU-T H.264 §7.4.1).
    pub(crate) fn escaped(bytes: &'a [u8]) -> Self {
        Self {
            escaped: true,
            ..Self::new(bytes)
        }
    }

    fn next_byte(&mut self) -> Option<u8> {
        let (&byte, rest) = self.rest.split_first()?;
        self.rest = rest;
        if !self.escaped {
            return Some(byte);
        }
        if self.zeros >= 2 && byte == 3 {
            self.zeros = 0;
            return self.next_byte();
        }
        self.zeros = if byte == 0 { self.zeros.saturating_add(1) } else { 0 };
        Some(byte)
    }

    /// One bit.
    pub(crate) fn flag(&mut self) -> Option<bool> {
        if self.left == 0 {
            self.byte = self.next_byte()?;
            self.left = 8;
        }
        self.left -= 1;
        Some(self.byte >> self.left & 1 != 0)
    }

    /// An unsigned number of `count` bits, at most 32.
    pub(crate) fn bits(&mut self, count: u32) -> Option<u32> {
        debug_assert!(count <= 32);
        (0..count).try_fold(0, |value, _| Some(value << 1 | u32::from(self.flag()?)))
    }

    /// Leaves `count` bits out.
    pub(crate) fn skip(&mut self, count: u32) -> Option<()> {
        (0..count).try_for_each(|_| self.flag().map(drop))
    }

    /// Leaves out what is left of the byte that was begun.
    pub(crate) fn align(&mut self) {
        self.left = 0;
    }

    /// ue(v): an unsigned Exp-Golomb code of at most 32 bits' worth.
    pub(crate) fn ue(&mut self) -> Option<u32> {
        let mut zeros = 0;
        while !self.flag()? {
            zeros += 1;
            if zeros > 31 {
                return None;
            }
        }
        Some((1 << zeros) - 1 + self.bits(zeros)?)
    }

    /// se(v): a signed Exp-Golomb code.
    pub(crate) fn se(&mut self) -> Option<i32> {
        let code = self.ue()?;
        let half = code.div_ceil(2) as i32;
        Some(if code & 1 == 1 { half } else { -half })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_read() {
        // 1 010 011 00100 00101, then the end.
        let bytes = [0b1010_0110, 0b0100_0010, 0b1000_0000];
        let mut bits = Bits::new(&bytes);
        assert_eq!([0; 5].map(|_| bits.ue()), [Some(0), Some(1), Some(2), Some(3), Some(4)]);
        let mut bits = Bits::new(&bytes);
        assert_eq!(
            [0; 5].map(|_| bits.se()),
            [Some(0), Some(1), Some(-1), Some(2), Some(-2)]
        );
        assert_eq!(Bits::new(&[0; 9]).ue(), None);
        assert_eq!(Bits::new(&[0xff]).bits(9), None);
        assert_eq!(Bits::new(&[0xab, 0xcd]).bits(12), Some(0xabc));
        // The largest: 31 zeros.
        assert_eq!(
            Bits::new(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xfe]).ue(),
            Some(u32::MAX - 1)
        );
    }

    #[test]
    fn emulation_prevention_is_undone() {
        let bytes = [0, 0, 3, 1, 0, 0, 3, 0, 0, 3, 3];
        let mut bits = Bits::escaped(&bytes);
        let read: Vec<_> = std::iter::from_fn(|| bits.bits(8)).collect();
        assert_eq!(read, [0, 0, 1, 0, 0, 0, 0, 3]);
        assert_eq!(Bits::new(&bytes).bits(24), Some(3));
    }
}
