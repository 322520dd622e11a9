//! What a repair packet says, whatever its format.

use antiphon_sansio::Reader;

use crate::ParseError;

/// Most packets that a bit mask names: RFC 8627 has room for 110.
pub const MAX_MASK: u32 = 110;

/// Which packets of a stream a repair packet protects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protected {
    /// Those whose bit is set: bit `i`, of weight 2^i, stands for the number `base + i`.
    Mask {
        /// The number of the first packet that the mask can name.
        base: u16,
        /// The packets, of which the last is `base + 109` at most.
        mask: u128,
    },
    /// `count` packets, each `step` after the one before it: a row of a grid (step 1), or a column.
    Every {
        /// The number of the first packet.
        base: u16,
        /// From one packet to the next: 1 to 255.
        step: u8,
        /// How many packets: 1 to 255.
        count: u8,
    },
}

impl Protected {
    /// The number where it begins. Of a mask it need not be protected itself.
    pub fn base(&self) -> u16 {
        match *self {
            Self::Mask { base, .. } | Self::Every { base, .. } => base,
        }
    }

    /// How many packets are protected.
    pub fn len(&self) -> u32 {
        match *self {
            Self::Mask { mask, .. } => mask.count_ones(),
            Self::Every { count, .. } => u32::from(count),
        }
    }

    /// Whether it protects nothing.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The distance from [`Self::base`] to the last protected packet.
    pub fn span(&self) -> u16 {
        match *self {
            Self::Mask { mask, .. } => mask.checked_ilog2().unwrap_or(0) as u16,
            Self::Every { step, count, .. } => u16::from(step) * u16::from(count.saturating_sub(1)),
        }
    }

    /// The distances of the protected packets from [`Self::base`], in order.
    pub fn offsets(&self) -> impl Iterator<Item = u16> + use<> {
        let (mut mask, step, count) = match *self {
            Self::Mask { mask, .. } => (mask, 0, 0),
            Self::Every { step, count, .. } => (0, u16::from(step), u16::from(count)),
        };
        let bits = std::iter::from_fn(move || {
            let offset = mask.trailing_zeros() as u16;
            mask &= mask.checked_sub(1)?;
            Some(offset)
        });
        bits.chain((0..count).map(move |index| index * step))
    }

    /// The protected sequence numbers, in order.
    pub fn sequences(&self) -> impl Iterator<Item = u16> + use<> {
        let base = self.base();
        self.offsets().map(move |offset| base.wrapping_add(offset))
    }

    /// Whether the packet this far from [`Self::base`] is protected.
    pub(crate) fn covers(&self, offset: u64) -> bool {
        match *self {
            Self::Mask { mask, .. } => offset < u64::from(MAX_MASK) && mask >> offset & 1 != 0,
            Self::Every { step, count, .. } => {
                let step = u64::from(step.max(1));
                offset.is_multiple_of(step) && offset / step < u64::from(count)
            }
        }
    }
}

/// The sums of what stands in the fixed headers of the protected packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Sums {
    /// Of the first two bytes: padding and extension bits and CSRC count (the version bits are 0), marker and payload type.
    pub header: [u8; 2],
    /// Of the lengths after the fixed header, in bytes.
    pub length: u16,
    /// Of the timestamps.
    pub timestamp: u32,
}

/// One repair packet, borrowed from its payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Repair<'a> {
    /// Whose packets are protected, where the payload says so.
    pub ssrc: Option<u32>,
    /// Which packets are protected; at least one.
    pub protected: Protected,
    /// The sums of their headers.
    pub sums: Sums,
    /// The sum of what comes after their fixed headers. A longer packet than this cannot be recovered.
    pub body: &'a [u8],
}

/// The `len` low bits of `bits`, of which the highest comes first on the wire, with the first as bit 0.
pub(crate) fn first_low(bits: u64, len: u32) -> u128 {
    u128::from(bits.reverse_bits() >> (64 - len))
}

/// The bits `from..from + len` of a mask as they come on the wire: the first as the highest of `len` bits.
pub(crate) fn first_high(mask: u128, from: u32, len: u32) -> u64 {
    ((mask >> from) as u64).reverse_bits() >> (64 - len)
}

/// The flags, and the sums of the header, where both forms of FlexFEC have them.
pub(crate) fn read_sums(reader: &mut Reader<'_>) -> Result<(u8, Sums), ParseError> {
    let (flags, second) = (reader.u8()?, reader.u8()?);
    let sums = Sums {
        header: [flags & 0x3f, second],
        length: reader.u16()?,
        timestamp: reader.u32()?,
    };
    Ok((flags >> 6, sums))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mask_a_row_and_a_column_name_their_packets() {
        let mask = Protected::Mask {
            base: 65_534,
            mask: 1 | 1 << 2 | 1 << 109,
        };
        assert_eq!(mask.sequences().collect::<Vec<_>>(), [65_534, 0, 107]);
        assert_eq!((mask.len(), mask.span()), (3, 109));
        let column = Protected::Every {
            base: 10,
            step: 5,
            count: 3,
        };
        assert_eq!(column.sequences().collect::<Vec<_>>(), [10, 15, 20]);
        assert_eq!((column.len(), column.span()), (3, 10));
        for protected in [mask, column] {
            let covered = (0..300u64).filter(|offset| protected.covers(*offset));
            let offsets: Vec<_> = protected.offsets().map(u64::from).collect();
            assert_eq!(covered.collect::<Vec<_>>(), offsets);
        }
    }
}
