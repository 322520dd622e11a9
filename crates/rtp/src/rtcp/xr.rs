//! Extended reports (RFC 3611): reference times and the answers to them, and what an observer wants to know of a stream.

use antiphon_sansio::{Full, Reader, Writer};

use super::entries::{Entries, Entry};
use super::raw::{Raw, XR, write_packet};
use super::xr_metrics::{ReceiptTimes, RunLengths, StatisticsSummary, VoipMetrics};
use crate::ParseError;

const LOSS_RLE: u8 = 1;
const DUPLICATE_RLE: u8 = 2;
const RECEIPT_TIMES: u8 = 3;
const RRTR: u8 = 4;
const DLRR: u8 = 5;
const STATISTICS: u8 = 6;
const VOIP: u8 = 7;

/// A parsed extended report (RFC 3611 §2).
#[derive(Clone, Debug)]
pub struct ExtendedReport<'a> {
    /// The SSRC of who reports.
    pub ssrc: u32,
    blocks: &'a [u8],
}

/// One block of an extended report.
///
/// ```text
/// |      BT       | type-specific |         block length          |
/// ```
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum XrBlock<'a> {
    /// Which packets came and which did not (RFC 3611 §4.1).
    LossRle(RunLengths<'a>),
    /// Which packets came more than once (RFC 3611 §4.2).
    DuplicateRle(RunLengths<'a>),
    /// When packets came (RFC 3611 §4.3).
    ReceiptTimes(ReceiptTimes<'a>),
    /// Receiver reference time (RFC 3611 §4.4): the reporter's NTP clock.
    ReceiverReferenceTime {
        /// The NTP time, 32.32 seconds.
        ntp: u64,
    },
    /// Delay since the last receiver reference time (RFC 3611 §4.5).
    DelaySinceLast(Entries<'a, Dlrr>),
    /// Loss, jitter and hops of a stretch of packets (RFC 3611 §4.6).
    StatisticsSummary(StatisticsSummary),
    /// How a call sounds (RFC 3611 §4.7).
    VoipMetrics(VoipMetrics),
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

impl Entry for Dlrr {
    const LEN: usize = 12;

    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        Some(Self {
            ssrc: reader.u32().ok()?,
            last_rr: reader.u32().ok()?,
            delay: reader.u32().ok()?,
        })
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        out.put_u32(self.ssrc)?;
        out.put_u32(self.last_rr)?;
        out.put_u32(self.delay)
    }
}

impl<'a> XrBlock<'a> {
    /// `None` if a block of a known type is not as it should be.
    fn known(block_type: u8, specific: u8, data: &'a [u8]) -> Option<Self> {
        Some(match block_type {
            LOSS_RLE => Self::LossRle(RunLengths::parse(specific, data)?),
            DUPLICATE_RLE => Self::DuplicateRle(RunLengths::parse(specific, data)?),
            RECEIPT_TIMES => Self::ReceiptTimes(ReceiptTimes::parse(specific, data)?),
            RRTR => Self::ReceiverReferenceTime {
                ntp: u64::from_be_bytes(data.try_into().ok()?),
            },
            DLRR if data.len().is_multiple_of(Dlrr::LEN) => Self::DelaySinceLast(Entries::wire(data)),
            STATISTICS => Self::StatisticsSummary(StatisticsSummary::parse(specific, data)?),
            VOIP => Self::VoipMetrics(VoipMetrics::parse(data)?),
            _ => return None,
        })
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        let (block_type, specific) = match self {
            Self::LossRle(runs) => (LOSS_RLE, runs.range.thinning & 0xf),
            Self::DuplicateRle(runs) => (DUPLICATE_RLE, runs.range.thinning & 0xf),
            Self::ReceiptTimes(times) => (RECEIPT_TIMES, times.range.thinning & 0xf),
            Self::ReceiverReferenceTime { .. } => (RRTR, 0),
            Self::DelaySinceLast(_) => (DLRR, 0),
            Self::StatisticsSummary(summary) => (STATISTICS, summary.flags()),
            Self::VoipMetrics(_) => (VOIP, 0),
            Self::Unknown {
                block_type, specific, ..
            } => (*block_type, *specific),
        };
        out.put_slice(&[block_type, specific, 0, 0])?;
        let start = out.len();
        match self {
            Self::LossRle(runs) | Self::DuplicateRle(runs) => runs.write(out)?,
            Self::ReceiptTimes(times) => times.write(out)?,
            Self::ReceiverReferenceTime { ntp } => out.put_u64(*ntp)?,
            Self::DelaySinceLast(entries) => entries.write(out)?,
            Self::StatisticsSummary(summary) => summary.write(out)?,
            Self::VoipMetrics(metrics) => metrics.write(out)?,
            Self::Unknown { data, .. } => out.put_slice(data)?,
        }
        while (out.len() - start) % 4 != 0 {
            out.put_u8(0)?;
        }
        let words = u16::try_from((out.len() - start) / 4).map_err(|_| Full)?;
        if let Some(place) = out.written_mut().get_mut(start - 2..start) {
            place.copy_from_slice(&words.to_be_bytes());
        }
        Ok(())
    }
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
            let known = XrBlock::known(block_type, specific, data);
            Some(known.unwrap_or(XrBlock::Unknown {
                block_type,
                specific,
                data,
            }))
        })
    }
}

/// Writes an extended report of these blocks.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_extended_report<'a>(
    ssrc: u32,
    blocks: impl IntoIterator<Item = XrBlock<'a>>,
    out: &mut Writer<'_>,
) -> Result<(), Full> {
    write_packet(0, XR, out, |out| {
        out.put_u32(ssrc)?;
        blocks.into_iter().try_for_each(|block| block.write(out))
    })
}

/// Writes an extended report with one receiver reference time block.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_rrtr(ssrc: u32, ntp: u64, out: &mut Writer<'_>) -> Result<(), Full> {
    write_extended_report(ssrc, [XrBlock::ReceiverReferenceTime { ntp }], out)
}

/// Writes an extended report with one DLRR block.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_dlrr(ssrc: u32, entries: &[Dlrr], out: &mut Writer<'_>) -> Result<(), Full> {
    write_extended_report(ssrc, [XrBlock::DelaySinceLast(Entries::of(entries))], out)
}
