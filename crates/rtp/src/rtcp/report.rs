//! Sender and receiver reports (RFC 3550 §6.4).

use antiphon_sansio::{Full, Reader, Writer};

use super::entries::{Entries, Entry};
use super::raw::{RR, Raw, SR, write_packet};
use crate::ParseError;

/// Most report blocks in one packet: the count has five bits (RFC 3550 §6.4.1).
pub(crate) const MAX_BLOCKS: usize = 31;

/// What a sender says about itself (RFC 3550 §6.4.1).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SenderInfo {
    /// Wall clock when the report was made, NTP.
    pub ntp: u64,
    /// The same moment on the media clock.
    pub rtp_timestamp: u32,
    /// Packets sent so far.
    pub packet_count: u32,
    /// Payload bytes sent so far.
    pub octet_count: u32,
}

/// What a receiver says about one source (RFC 3550 §6.4.1).
///
/// ```text
/// |                          SSRC of source                       |
/// | fraction lost |       cumulative number of packets lost       |
/// |           extended highest sequence number received           |
/// |                      interarrival jitter                      |
/// |                         last SR (LSR)                         |
/// |                   delay since last SR (DLSR)                  |
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReportBlock {
    /// The source reported on.
    pub ssrc: u32,
    /// Loss since the report before, in 1/256.
    pub fraction_lost: u8,
    /// Loss since the beginning, 24 bits signed; written clamped.
    pub cumulative_lost: i32,
    /// Cycles in the high, sequence number in the low 16 bits.
    pub highest_sequence: u32,
    /// Interarrival jitter in timestamp units.
    pub jitter: u32,
    /// Middle 32 bits of the NTP time of the source's last report; 0 if none came.
    pub last_sr: u32,
    /// Time since that report came, in 1/65536 s.
    pub delay_since_last_sr: u32,
}

impl Entry for ReportBlock {
    const LEN: usize = 24;

    #[inline]
    fn read(bytes: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(bytes);
        let ssrc = reader.u32().ok()?;
        let lost = reader.u32().ok()?;
        Some(Self {
            ssrc,
            fraction_lost: (lost >> 24) as u8,
            cumulative_lost: ((lost << 8) as i32) >> 8,
            highest_sequence: reader.u32().ok()?,
            jitter: reader.u32().ok()?,
            last_sr: reader.u32().ok()?,
            delay_since_last_sr: reader.u32().ok()?,
        })
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        let lost = self.cumulative_lost.clamp(-0x80_0000, 0x7f_ffff) as u32 & 0xff_ffff;
        out.put_u32(self.ssrc)?;
        out.put_u32(u32::from(self.fraction_lost) << 24 | lost)?;
        out.put_u32(self.highest_sequence)?;
        out.put_u32(self.jitter)?;
        out.put_u32(self.last_sr)?;
        out.put_u32(self.delay_since_last_sr)
    }
}

/// Blocks and the extension behind them (RFC 3550 §6.4.3).
fn parse_blocks<'a>(raw: Raw<'a>, reader: &mut Reader<'a>) -> Result<(Entries<'a, ReportBlock>, &'a [u8]), ParseError> {
    let blocks = reader.take(usize::from(raw.count) * ReportBlock::LEN)?;
    Ok((Entries::wire(blocks), reader.rest()))
}

fn write_blocks(blocks: &Entries<'_, ReportBlock>, extension: &[u8], out: &mut Writer<'_>) -> Result<(), Full> {
    blocks.clone().take(MAX_BLOCKS).try_for_each(|block| block.write(out))?;
    out.put_slice(extension)
}

/// A sender report.
#[derive(Clone, Debug, PartialEq)]
pub struct SenderReport<'a> {
    /// The SSRC that the report is about.
    pub ssrc: u32,
    /// About its own sending.
    pub info: SenderInfo,
    blocks: Entries<'a, ReportBlock>,
    /// What a profile has added behind the blocks, as it came.
    pub extension: &'a [u8],
}

impl<'a> SenderReport<'a> {
    /// A report of these blocks, of which the first 31 are written, and with a profile's extension behind them.
    pub fn new(ssrc: u32, info: SenderInfo, blocks: &'a [ReportBlock], extension: &'a [u8]) -> Self {
        Self {
            ssrc,
            info,
            blocks: Entries::of(blocks),
            extension,
        }
    }

    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        let ssrc = reader.u32()?;
        let info = SenderInfo {
            ntp: reader.u64()?,
            rtp_timestamp: reader.u32()?,
            packet_count: reader.u32()?,
            octet_count: reader.u32()?,
        };
        let (blocks, extension) = parse_blocks(raw, &mut reader)?;
        Ok(Self {
            ssrc,
            info,
            blocks,
            extension,
        })
    }

    /// About what it receives.
    pub fn blocks(&self) -> Entries<'a, ReportBlock> {
        self.blocks.clone()
    }

    /// Writes it.
    ///
    /// # Errors
    /// If there is no room for it in `out`, which is then unchanged.
    pub fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        write_packet(self.blocks.len().min(MAX_BLOCKS) as u8, SR, out, |out| {
            out.put_u32(self.ssrc)?;
            out.put_u64(self.info.ntp)?;
            out.put_u32(self.info.rtp_timestamp)?;
            out.put_u32(self.info.packet_count)?;
            out.put_u32(self.info.octet_count)?;
            write_blocks(&self.blocks, self.extension, out)
        })
    }
}

/// A receiver report.
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiverReport<'a> {
    /// The SSRC of who reports.
    pub ssrc: u32,
    blocks: Entries<'a, ReportBlock>,
    /// What a profile has added behind the blocks, as it came.
    pub extension: &'a [u8],
}

impl<'a> ReceiverReport<'a> {
    /// A report of these blocks, of which the first 31 are written, and with a profile's extension behind them.
    pub fn new(ssrc: u32, blocks: &'a [ReportBlock], extension: &'a [u8]) -> Self {
        Self {
            ssrc,
            blocks: Entries::of(blocks),
            extension,
        }
    }

    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        let ssrc = reader.u32()?;
        let (blocks, extension) = parse_blocks(raw, &mut reader)?;
        Ok(Self {
            ssrc,
            blocks,
            extension,
        })
    }

    /// About what it receives.
    pub fn blocks(&self) -> Entries<'a, ReportBlock> {
        self.blocks.clone()
    }

    /// Writes it.
    ///
    /// # Errors
    /// If there is no room for it in `out`, which is then unchanged.
    pub fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        write_packet(self.blocks.len().min(MAX_BLOCKS) as u8, RR, out, |out| {
            out.put_u32(self.ssrc)?;
            write_blocks(&self.blocks, self.extension, out)
        })
    }
}

/// Writes a sender report with the first 31 of `blocks`.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_sender_report(
    ssrc: u32,
    info: &SenderInfo,
    blocks: &[ReportBlock],
    out: &mut Writer<'_>,
) -> Result<(), Full> {
    SenderReport::new(ssrc, *info, blocks, &[]).write(out)
}

/// Writes a receiver report with the first 31 of `blocks`.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_receiver_report(ssrc: u32, blocks: &[ReportBlock], out: &mut Writer<'_>) -> Result<(), Full> {
    ReceiverReport::new(ssrc, blocks, &[]).write(out)
}
