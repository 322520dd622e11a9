//! Bits in the order of the wire, high ones first (AV1 RTP specification §A.8.2).

use antiphon_sansio::{Full, Writer};

/// Reads bits; what lies past the end is an error.
#[derive(Clone, Debug)]
pub(super) struct BitReader<'a> {
    data: &'a [u8],
    at: usize,
}

impl<'a> BitReader<'a> {
    pub(super) fn new(data: &'a [u8]) -> Self {
        Self { data, at: 0 }
    }

    /// `f(n)`, of at most 16 bits.
    pub(super) fn bits(&mut self, count: u32) -> Option<u16> {
        let mut value = 0u32;
        // Two more bytes than those in which the first bit lies are enough for sixteen.
        let first = self.at / 8;
        for offset in 0..3 {
            value = value << 8 | u32::from(self.data.get(first + offset).copied().unwrap_or(0));
        }
        let end = self.at + count as usize;
        if end > self.data.len() * 8 {
            return None;
        }
        let shift = 24 - (self.at % 8) as u32 - count;
        self.at = end;
        Some((value >> shift & ((1 << count) - 1)) as u16)
    }

    pub(super) fn flag(&mut self) -> Option<bool> {
        self.bits(1).map(|bit| bit != 0)
    }

    /// Up to 32 bits.
    pub(super) fn long(&mut self, count: u32) -> Option<u32> {
        let high = u32::from(self.bits(count.saturating_sub(16))?);
        Some(high << 16 | u32::from(self.bits(count.min(16))?))
    }

    /// `ns(n)`: a number below `n`, which is 1 to 33.
    pub(super) fn below(&mut self, n: u16) -> Option<u16> {
        let width = u16::BITS - n.leading_zeros();
        let short = (1 << width) - n;
        let value = self.bits(width - 1)?;
        if value < short {
            return Some(value);
        }
        Some((value << 1) - short + self.bits(1)?)
    }
}

/// Writes bits, or counts them.
#[derive(Debug)]
pub(super) struct BitWriter<'a, 'b> {
    out: Option<&'a mut Writer<'b>>,
    /// Bits that are no whole byte yet, the oldest on the left of the low `count`.
    pending: u32,
    count: u32,
    bytes: usize,
}

impl<'a, 'b> BitWriter<'a, 'b> {
    pub(super) fn new(out: &'a mut Writer<'b>) -> Self {
        Self {
            out: Some(out),
            pending: 0,
            count: 0,
            bytes: 0,
        }
    }

    /// One that only counts.
    pub(super) fn counter() -> Self {
        Self {
            out: None,
            pending: 0,
            count: 0,
            bytes: 0,
        }
    }

    /// The low `count` bits of `value`, at most 16.
    pub(super) fn bits(&mut self, value: u16, count: u32) -> Result<(), Full> {
        self.pending = self.pending << count | u32::from(value) & ((1 << count) - 1);
        self.count += count;
        while self.count >= 8 {
            self.count -= 8;
            self.byte((self.pending >> self.count) as u8)?;
        }
        Ok(())
    }

    pub(super) fn flag(&mut self, flag: bool) -> Result<(), Full> {
        self.bits(u16::from(flag), 1)
    }

    pub(super) fn long(&mut self, value: u32, count: u32) -> Result<(), Full> {
        self.bits((value >> 16) as u16, count.saturating_sub(16))?;
        self.bits(value as u16, count.min(16))
    }

    pub(super) fn below(&mut self, n: u16, value: u16) -> Result<(), Full> {
        let width = u16::BITS - n.leading_zeros();
        let short = (1 << width) - n;
        if value < short {
            self.bits(value, width - 1)
        } else {
            self.bits(value + short, width)
        }
    }

    /// Zeros up to a byte. Gives the bytes of all.
    pub(super) fn finish(mut self) -> Result<usize, Full> {
        if self.count > 0 {
            let last = self.pending << (8 - self.count);
            self.byte(last as u8)?;
        }
        Ok(self.bytes)
    }

    fn byte(&mut self, byte: u8) -> Result<(), Full> {
        self.bytes += 1;
        self.out.as_mut().map_or(Ok(()), |out| out.put_u8(byte))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_example_of_the_specification() {
        // §A.8.2: five values take 00, 01, 10, 110 and 111.
        let mut buffer = [0; 2];
        let mut out = Writer::new(&mut buffer);
        let mut bits = BitWriter::new(&mut out);
        (0..5).for_each(|value| bits.below(5, value).unwrap());
        assert_eq!(bits.finish(), Ok(2));
        assert_eq!(buffer, [0b0001_1011, 0b0111_0000]);
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(fields in proptest::collection::vec((any::<u32>(), 0u32..=32, 1u16..=33), 0..20)) {
            let mut buffer = [0; 256];
            let mut out = Writer::new(&mut buffer);
            let mut bits = BitWriter::new(&mut out);
            let mut counter = BitWriter::counter();
            for (value, count, n) in &fields {
                for bits in [&mut bits, &mut counter] {
                    bits.long(*value, *count).unwrap();
                    bits.below(*n, (*value % u32::from(*n)) as u16).unwrap();
                }
            }
            let len = bits.finish().unwrap();
            prop_assert_eq!(counter.finish(), Ok(len));
            let mut reader = BitReader::new(&buffer[..len]);
            for (value, count, n) in &fields {
                let kept = u64::from(*value) & ((1u64 << count) - 1);
                prop_assert_eq!(reader.long(*count).map(u64::from), Some(kept));
                prop_assert_eq!(reader.below(*n), Some((*value % u32::from(*n)) as u16));
            }
            prop_assert!(reader.bits(8).is_none());
        }
    }
}
