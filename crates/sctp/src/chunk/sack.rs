//! SACK: which TSNs have arrived (RFC 9260 §3.3.4).

use antiphon_sansio::{Reader, Serial32};

use super::kind;
use crate::error::ParseError;
use crate::packet::{Put, put_chunk};

/// Received TSNs `cumulative + start ..= cumulative + end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GapBlock {
    /// Offset of the first TSN from the cumulative one, at least 2 in a valid block.
    pub start: u16,
    /// Offset of the last TSN from the cumulative one, not below `start`.
    pub end: u16,
}

/// SACK (RFC 9260 §3.3.4).
///
/// ```text
/// |            cumulative TSN ack             |
/// |   advertised receiver window credit       |
/// |  gap ack blocks (n) |  duplicates (m)     |
/// |  block start        |  block end          | x n
/// |              duplicate TSN                | x m
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sack<'a> {
    /// Everything up to here has arrived.
    pub cumulative_tsn: Serial32,
    /// The receive window in bytes.
    pub a_rwnd: u32,
    gaps: &'a [u8],
    duplicates: &'a [u8],
}

impl<'a> Sack<'a> {
    /// Bytes of a SACK without blocks and duplicates.
    pub const FIXED_LEN: usize = 16;

    #[inline]
    pub(super) fn parse(value: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(value);
        let cumulative_tsn = Serial32::new(reader.u32()?);
        let a_rwnd = reader.u32()?;
        let (gaps, duplicates) = (usize::from(reader.u16()?), usize::from(reader.u16()?));
        let sack = Self {
            cumulative_tsn,
            a_rwnd,
            gaps: reader.take(gaps * 4)?,
            duplicates: reader.take(duplicates * 4)?,
        };
        if reader.is_empty() {
            Ok(sack)
        } else {
            Err(ParseError::Length)
        }
    }

    /// A SACK without blocks.
    pub(crate) fn cumulative(cumulative_tsn: Serial32, a_rwnd: u32) -> Self {
        Self {
            cumulative_tsn,
            a_rwnd,
            gaps: &[],
            duplicates: &[],
        }
    }

    /// The gap blocks as they came: order, overlap and bounds are not checked.
    #[inline]
    pub fn gap_blocks(&self) -> impl Iterator<Item = GapBlock> + 'a {
        self.gaps.as_chunks::<4>().0.iter().map(|[a, b, c, d]| GapBlock {
            start: u16::from_be_bytes([*a, *b]),
            end: u16::from_be_bytes([*c, *d]),
        })
    }

    /// TSNs that arrived more than once.
    pub fn duplicate_tsns(&self) -> impl Iterator<Item = Serial32> + 'a {
        let (tsns, _) = self.duplicates.as_chunks::<4>();
        tsns.iter().map(|tsn| Serial32::new(u32::from_be_bytes(*tsn)))
    }

    /// Appends the chunk.
    pub fn write(&self, out: &mut impl Put) {
        let mut fixed = [0; 12];
        fixed[..4].copy_from_slice(&self.cumulative_tsn.get().to_be_bytes());
        fixed[4..8].copy_from_slice(&self.a_rwnd.to_be_bytes());
        fixed[8..10].copy_from_slice(&((self.gaps.len() / 4) as u16).to_be_bytes());
        fixed[10..].copy_from_slice(&((self.duplicates.len() / 4) as u16).to_be_bytes());
        put_chunk(out, kind::SACK, 0, &[&fixed, self.gaps, self.duplicates]);
    }
}

/// Appends a SACK of these parts. Callers bound the number of blocks and duplicates by the packet's size.
pub fn write_sack(
    out: &mut impl Put,
    cumulative_tsn: Serial32,
    a_rwnd: u32,
    gaps: impl ExactSizeIterator<Item = GapBlock>,
    duplicates: &[Serial32],
) {
    let len = Sack::FIXED_LEN + 4 * (gaps.len() + duplicates.len());
    let mut head = [0; Sack::FIXED_LEN];
    head[0] = kind::SACK;
    head[2..4].copy_from_slice(&(len as u16).to_be_bytes());
    head[4..8].copy_from_slice(&cumulative_tsn.get().to_be_bytes());
    head[8..12].copy_from_slice(&a_rwnd.to_be_bytes());
    head[12..14].copy_from_slice(&(gaps.len() as u16).to_be_bytes());
    head[14..].copy_from_slice(&(duplicates.len() as u16).to_be_bytes());
    out.put(&head);
    for GapBlock { start, end } in gaps {
        let ([a, b], [c, d]) = (start.to_be_bytes(), end.to_be_bytes());
        out.put(&[a, b, c, d]);
    }
    for tsn in duplicates {
        out.put(&tsn.get().to_be_bytes());
    }
}
