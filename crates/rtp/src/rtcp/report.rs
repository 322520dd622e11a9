//! Sender and receiver reports (RFC 3550 §6.4).

use antiphon_sansio::{Full, Reader, Writer};

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

const BLOCK_LEN: usize = 24;

impl ReportBlock {
    fn read(reader: &mut Reader<'_>) -> Result<Self, ParseError> {
        let ssrc = reader.u32()?;
        let lost = reader.u32()?;
        Ok(Self {
            ssrc,
            fraction_lost: (lost >> 24) as u8,
            cumulative_lost: ((lost << 8) as i32) >> 8,
            highest_sequence: reader.u32()?,
            jitter: reader.u32()?,
            last_sr: reader.u32()?,
            delay_since_last_sr: reader.u32()?,
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

/// Walks the blocks of a report.
#[derive(Clone, Debug)]
pub struct ReportBlocks<'a> {
    reader: Reader<'a>,
}

impl Iterator for ReportBlocks<'_> {
    type Item = ReportBlock;

    fn next(&mut self) -> Option<ReportBlock> {
        ReportBlock::read(&mut self.reader).ok()
    }
}

/// A parsed sender report.
#[derive(Clone, Debug)]
pub struct SenderReport<'a> {
    /// The SSRC that the report is about.
    pub ssrc: u32,
    /// About its own sending.
    pub info: SenderInfo,
    blocks: &'a [u8],
}

impl<'a> SenderReport<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        Ok(Self {
            ssrc: reader.u32()?,
            info: SenderInfo {
                ntp: reader.u64()?,
                rtp_timestamp: reader.u32()?,
                packet_count: reader.u32()?,
                octet_count: reader.u32()?,
            },
            blocks: reader.take(usize::from(raw.count) * BLOCK_LEN)?,
        })
    }

    /// About what it receives.
    pub fn blocks(&self) -> ReportBlocks<'a> {
        ReportBlocks {
            reader: Reader::new(self.blocks),
        }
    }
}

/// A parsed receiver report.
#[derive(Clone, Debug)]
pub struct ReceiverReport<'a> {
    /// The SSRC of who reports.
    pub ssrc: u32,
    blocks: &'a [u8],
}

impl<'a> ReceiverReport<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        Ok(Self {
            ssrc: reader.u32()?,
            blocks: reader.take(usize::from(raw.count) * BLOCK_LEN)?,
        })
    }

    /// About what it receives.
    pub fn blocks(&self) -> ReportBlocks<'a> {
        ReportBlocks {
            reader: Reader::new(self.blocks),
        }
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
    let blocks = &blocks[..blocks.len().min(MAX_BLOCKS)];
    write_packet(blocks.len() as u8, SR, out, |out| {
        out.put_u32(ssrc)?;
        out.put_u64(info.ntp)?;
        out.put_u32(info.rtp_timestamp)?;
        out.put_u32(info.packet_count)?;
        out.put_u32(info.octet_count)?;
        blocks.iter().try_for_each(|block| block.write(out))
    })
}

/// Writes a receiver report with the first 31 of `blocks`.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_receiver_report(ssrc: u32, blocks: &[ReportBlock], out: &mut Writer<'_>) -> Result<(), Full> {
    let blocks = &blocks[..blocks.len().min(MAX_BLOCKS)];
    write_packet(blocks.len() as u8, RR, out, |out| {
        out.put_u32(ssrc)?;
        blocks.iter().try_for_each(|block| block.write(out))
    })
}
