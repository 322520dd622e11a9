//! Congestion control feedback of RFC 8888: arrival times and ECN marks, stream by stream.

use antiphon_sansio::{Ecn, Full, Reader, Writer};

use super::raw::{RTPFB, Raw, write_packet};
use crate::ParseError;

pub(super) const FMT_CCFB: u8 = 11;

/// RFC 8888 §3.1: no report block covers more packets.
const MAX_REPORTS: usize = 16_384;
const UNAVAILABLE: u16 = 0x1fff;
const OVER_RANGE: u16 = 0x1ffe;

/// A parsed congestion control feedback packet (RFC 8888 §3.1).
///
/// ```text
/// |                     SSRC of RTCP packet sender                |
/// |                   SSRC of nth RTP Stream                      |
/// |          begin_seq            |          num_reports          |
/// |R|ECN|  Arrival time offset    | ...                           .
/// |                 Report Timestamp (32 bits)                    |
/// ```
#[derive(Clone, Debug)]
pub struct Ccfb<'a> {
    /// The SSRC of the receiver that reports.
    pub sender: u32,
    /// When the report was made: middle 32 bits of NTP time.
    pub timestamp: u32,
    streams: &'a [u8],
}

/// The report on one stream.
#[derive(Clone, Debug)]
pub struct CcfbStream<'a> {
    /// The SSRC of the stream.
    pub ssrc: u32,
    /// The first sequence number reported on.
    pub begin_sequence: u16,
    metrics: &'a [u8],
}

/// What is said about one packet; not received if absent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketMetric {
    /// Its ECN mark on arrival.
    pub ecn: Ecn,
    /// How long before the report's time it came, in 1/1024 s; `None` if unknown. 0x1ffe and more are one value: "long ago".
    pub arrival_offset: Option<u16>,
}

fn stream<'a>(reader: &mut Reader<'a>) -> Result<CcfbStream<'a>, ParseError> {
    let ssrc = reader.u32()?;
    let begin_sequence = reader.u16()?;
    let count = usize::from(reader.u16()?);
    if count > MAX_REPORTS {
        return Err(ParseError::Value);
    }
    let metrics = reader.take(count * 2)?;
    if count % 2 != 0 {
        reader.take(2)?;
    }
    Ok(CcfbStream {
        ssrc,
        begin_sequence,
        metrics,
    })
}

impl<'a> Ccfb<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        let sender = reader.u32()?;
        let streams = reader.take(reader.remaining().checked_sub(4).ok_or(ParseError::Short)?)?;
        let timestamp = reader.u32()?;
        let mut walk = Reader::new(streams);
        while !walk.is_empty() {
            stream(&mut walk)?;
        }
        Ok(Self {
            sender,
            timestamp,
            streams,
        })
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        write_packet(FMT_CCFB, RTPFB, out, |out| {
            out.put_u32(self.sender)?;
            for stream in self.streams() {
                put_stream(stream.ssrc, stream.begin_sequence, stream.metrics(), out)?;
            }
            out.put_u32(self.timestamp)
        })
    }

    /// The reports, one per stream.
    pub fn streams(&self) -> impl Iterator<Item = CcfbStream<'a>> + use<'a> {
        let mut reader = Reader::new(self.streams);
        std::iter::from_fn(move || stream(&mut reader).ok())
    }
}

impl<'a> CcfbStream<'a> {
    /// What is said about each packet from `begin_sequence` on.
    pub fn metrics(&self) -> impl ExactSizeIterator<Item = Option<PacketMetric>> + use<'a> {
        self.metrics.chunks_exact(2).map(|bytes| {
            let bits = u16::from_be_bytes([bytes[0], bytes[1]]);
            (bits & 0x8000 != 0).then(|| PacketMetric {
                ecn: Ecn::from_bits((bits >> 13) as u8),
                arrival_offset: match bits & 0x1fff {
                    UNAVAILABLE => None,
                    offset => Some(offset),
                },
            })
        })
    }
}

/// Writes a congestion control feedback packet: for each stream its SSRC, first sequence number and metrics.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_ccfb(
    sender: u32,
    streams: &[(u32, u16, &[Option<PacketMetric>])],
    timestamp: u32,
    out: &mut Writer<'_>,
) -> Result<(), Full> {
    write_packet(FMT_CCFB, RTPFB, out, |out| {
        out.put_u32(sender)?;
        for (ssrc, begin_sequence, metrics) in streams {
            let metrics = metrics.iter().copied().take(MAX_REPORTS);
            put_stream(*ssrc, *begin_sequence, metrics, out)?;
        }
        out.put_u32(timestamp)
    })
}

fn put_stream(
    ssrc: u32,
    begin_sequence: u16,
    metrics: impl ExactSizeIterator<Item = Option<PacketMetric>>,
    out: &mut Writer<'_>,
) -> Result<(), Full> {
    let len = metrics.len();
    out.put_u32(ssrc)?;
    out.put_u16(begin_sequence)?;
    out.put_u16(len as u16)?;
    for metric in metrics {
        out.put_u16(metric.map_or(0, |metric| {
            let offset = metric
                .arrival_offset
                .map_or(UNAVAILABLE, |offset| offset.min(OVER_RANGE));
            0x8000 | u16::from(metric.ecn.bits()) << 13 | offset
        }))?;
    }
    if !len.is_multiple_of(2) {
        out.put_u16(0)?;
    }
    Ok(())
}
