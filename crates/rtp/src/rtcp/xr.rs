//! Extended reports (RFC 3611): reference times and the answers to them.

use antiphon_sansio::{Full, Reader, Writer};

use super::raw::{Raw, XR, write_packet};
use crate::ParseError;

const RRTR: u8 = 4;
const DLRR: u8 = 5;

/// A parsed extended report (RFC 3611 §2).
#[derive(Clone, Debug)]
pub struct ExtendedReport<'a> {
    /// The SSRC of who reports.
    pub ssrc: u32,
    blocks: &'a [u8],
}

/// One block of an extended report.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum XrBlock<'a> {
    /// Receiver reference time (RFC 3611 §4.4): the reporter's NTP clock.
    ReceiverReferenceTime {
        /// The NTP time, 32.32 seconds.
        ntp: u64,
    },
    /// Delay since the last receiver reference time (RFC 3611 §4.5).
    DelaySinceLast(Vec<Dlrr>),
    /// Any other block.
    Unknown {
        /// The type of the block.
        block_type: u8,
        /// Bits whose meaning depends on the type.
        specific: u8,
        /// The rest of it.
        data: &'a [u8],
    },
}

/// One sub-block of a DLRR block.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dlrr {
    /// Whose reference time is answered.
    pub ssrc: u32,
    /// Middle 32 bits of that reference time.
    pub last_rr: u32,
    /// Time since it came, in 1/65536 s.
    pub delay: u32,
}

impl<'a> ExtendedReport<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        let ssrc = reader.u32()?;
        let blocks = reader.rest();
        while !reader.is_empty() {
            reader.u16()?;
            let words = usize::from(reader.u16()?);
            reader.take(words * 4)?;
        }
        Ok(Self { ssrc, blocks })
    }

    /// Its blocks. A known block of a wrong length counts as unknown.
    pub fn blocks(&self) -> impl Iterator<Item = XrBlock<'a>> + use<'a> {
        let mut reader = Reader::new(self.blocks);
        std::iter::from_fn(move || {
            let block_type = reader.u8().ok()?;
            let specific = reader.u8().ok()?;
            let words = usize::from(reader.u16().ok()?);
            let data = reader.take(words * 4).ok()?;
            let mut body = Reader::new(data);
            Some(match (block_type, words) {
                (RRTR, 2) => XrBlock::ReceiverReferenceTime { ntp: body.u64().ok()? },
                (DLRR, words) if words % 3 == 0 => XrBlock::DelaySinceLast(
                    std::iter::from_fn(|| {
                        Some(Dlrr {
                            ssrc: body.u32().ok()?,
                            last_rr: body.u32().ok()?,
                            delay: body.u32().ok()?,
                        })
                    })
                    .collect(),
                ),
                _ => XrBlock::Unknown {
                    block_type,
                    specific,
                    data,
                },
            })
        })
    }
}

/// Writes an extended report with one receiver reference time block.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_rrtr(ssrc: u32, ntp: u64, out: &mut Writer<'_>) -> Result<(), Full> {
    write_packet(0, XR, out, |out| {
        out.put_u32(ssrc)?;
        out.put_slice(&[RRTR, 0, 0, 2])?;
        out.put_u64(ntp)
    })
}

/// Writes an extended report with one DLRR block.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_dlrr(ssrc: u32, entries: &[Dlrr], out: &mut Writer<'_>) -> Result<(), Full> {
    let words = u16::try_from(entries.len() * 3).map_err(|_| Full)?;
    write_packet(0, XR, out, |out| {
        out.put_u32(ssrc)?;
        out.put_slice(&[DLRR, 0])?;
        out.put_u16(words)?;
        entries.iter().try_for_each(|entry| {
            out.put_u32(entry.ssrc)?;
            out.put_u32(entry.last_rr)?;
            out.put_u32(entry.delay)
        })
    })
}
