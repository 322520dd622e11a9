//! Transport-wide feedback: arrival times by a number that all packets of a transport share.

use antiphon_sansio::{Full, Reader, Writer};

use super::raw::{RTPFB, Raw, write_packet};
use crate::ParseError;

pub(super) const FMT_TRANSPORT: u8 = 15;

/// A parsed transport-wide feedback packet (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
///
/// ```text
/// |      base sequence number     |      packet status count      |
/// |                 reference time                | fb pkt. count |
/// |          packet chunk         |         packet chunk          |
/// |                   recv deltas, 1 or 2 bytes each              |
/// ```
///
/// The status chunks were checked to cover the count, and the deltas to be there, so iteration cannot fail. One word of
/// input may stand for thousands of packets that were not received: bound what you do per status.
#[derive(Clone, Debug)]
pub struct TransportFeedback<'a> {
    /// The SSRC of the receiver that reports.
    pub sender: u32,
    /// Any SSRC of the transport.
    pub media: u32,
    /// The first transport-wide sequence number reported on.
    pub base_sequence: u16,
    /// How many sequence numbers are reported on.
    pub status_count: u16,
    /// What the first delta counts from, in 64 ms, 24 bits signed.
    pub reference_time: i32,
    /// Counts the feedback packets of this receiver.
    pub feedback_count: u8,
    chunks: &'a [u8],
    deltas: &'a [u8],
}

/// What is said about one packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketStatus {
    /// Its transport-wide sequence number.
    pub sequence: u16,
    /// If it came: time since the packet before it that came (the first: since the reference time), in 250 us.
    pub delta: Option<i16>,
}

/// The symbols of one chunk, two bits each once expanded: 0 not received, 1 small delta, 2 large delta, 3 reserved.
#[derive(Clone, Copy, Debug)]
enum Chunk {
    Run { symbol: u8, len: u16 },
    OneBit(u16),
    TwoBit(u16),
}

impl Chunk {
    fn from_bits(bits: u16) -> Self {
        match bits >> 14 {
            0 | 1 => Self::Run {
                symbol: (bits >> 13 & 3) as u8,
                len: bits & 0x1fff,
            },
            2 => Self::OneBit(bits & 0x3fff),
            _ => Self::TwoBit(bits & 0x3fff),
        }
    }

    fn len(self) -> u16 {
        match self {
            Self::Run { len, .. } => len,
            Self::OneBit(_) => 14,
            Self::TwoBit(_) => 7,
        }
    }

    fn symbol(self, index: u16) -> u8 {
        match self {
            Self::Run { symbol, .. } => symbol,
            Self::OneBit(bits) => (bits >> (13 - index) & 1) as u8,
            Self::TwoBit(bits) => (bits >> (12 - 2 * index) & 3) as u8,
        }
    }

    /// Bytes of deltas that its first `count` symbols need.
    fn delta_bytes(self, count: u16) -> usize {
        let bytes = |symbol: u8| match symbol {
            1 => 1,
            2 => 2,
            _ => 0,
        };
        match self {
            Self::Run { symbol, .. } => bytes(symbol) * usize::from(count),
            _ => (0..count).map(|index| bytes(self.symbol(index))).sum(),
        }
    }
}

impl<'a> TransportFeedback<'a> {
    pub(super) fn parse(raw: Raw<'a>) -> Result<Self, ParseError> {
        let mut reader = Reader::new(raw.body);
        let sender = reader.u32()?;
        let media = reader.u32()?;
        let base_sequence = reader.u16()?;
        let status_count = reader.u16()?;
        let reference_time = ((reader.u24()? << 8) as i32) >> 8;
        let feedback_count = reader.u8()?;
        let body = reader.rest();
        let (mut left, mut delta_bytes, mut chunk_bytes) = (status_count, 0usize, 0usize);
        while left > 0 {
            let chunk = Chunk::from_bits(reader.u16()?);
            chunk_bytes += 2;
            let count = chunk.len().min(left);
            delta_bytes += chunk.delta_bytes(count);
            left -= count;
            if count == 0 {
                // A run of length zero says nothing and could fill a packet: not a form that a receiver produces.
                return Err(ParseError::Value);
            }
        }
        let deltas = reader.take(delta_bytes)?;
        Ok(Self {
            sender,
            media,
            base_sequence,
            status_count,
            reference_time,
            feedback_count,
            chunks: &body[..chunk_bytes],
            deltas,
        })
    }

    /// Writes it as it came, chunk by chunk: there are many ways to say the same.
    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        write_packet(FMT_TRANSPORT, RTPFB, out, |out| {
            out.put_u32(self.sender)?;
            out.put_u32(self.media)?;
            out.put_u16(self.base_sequence)?;
            out.put_u16(self.status_count)?;
            out.put_u24(self.reference_time as u32 & 0xff_ffff)?;
            out.put_u8(self.feedback_count)?;
            out.put_slice(self.chunks)?;
            out.put_slice(self.deltas)
        })
    }

    /// What is said about each packet, in order of sequence number.
    pub fn statuses(&self) -> Statuses<'a> {
        Statuses {
            chunks: Reader::new(self.chunks),
            deltas: Reader::new(self.deltas),
            chunk: Chunk::Run { symbol: 0, len: 0 },
            index: 0,
            sequence: self.base_sequence,
            left: self.status_count,
        }
    }
}

/// Walks the statuses of a feedback packet.
#[derive(Clone, Debug)]
pub struct Statuses<'a> {
    chunks: Reader<'a>,
    deltas: Reader<'a>,
    chunk: Chunk,
    index: u16,
    sequence: u16,
    left: u16,
}

impl Iterator for Statuses<'_> {
    type Item = PacketStatus;

    fn next(&mut self) -> Option<PacketStatus> {
        self.left = self.left.checked_sub(1)?;
        if self.index == self.chunk.len() {
            self.chunk = Chunk::from_bits(self.chunks.u16().ok()?);
            self.index = 0;
        }
        let delta = match self.chunk.symbol(self.index) {
            1 => Some(i16::from(self.deltas.u8().ok()?)),
            2 => Some(self.deltas.u16().ok()? as i16),
            _ => None,
        };
        let sequence = self.sequence;
        self.index += 1;
        self.sequence = sequence.wrapping_add(1);
        Some(PacketStatus { sequence, delta })
    }
}

/// Symbol of a delta: 0 none, 1 fits a byte, 2 needs two.
fn symbol(delta: Option<i16>) -> u8 {
    match delta {
        None => 0,
        Some(0..=255) => 1,
        Some(_) => 2,
    }
}

/// Writes a feedback packet: `deltas[i]` speaks about sequence number `base_sequence + i`, as [`PacketStatus::delta`].
///
/// At most 65535 entries. `reference_time` keeps its low 24 bits.
///
/// # Errors
/// If there is no room for it in `out`, which is then unchanged.
pub fn write_transport_feedback(
    sender: u32,
    media: u32,
    base_sequence: u16,
    reference_time: i32,
    feedback_count: u8,
    deltas: &[Option<i16>],
    out: &mut Writer<'_>,
) -> Result<(), Full> {
    let status_count = u16::try_from(deltas.len()).map_err(|_| Full)?;
    write_packet(FMT_TRANSPORT, RTPFB, out, |out| {
        out.put_u32(sender)?;
        out.put_u32(media)?;
        out.put_u16(base_sequence)?;
        out.put_u16(status_count)?;
        out.put_u24(reference_time as u32 & 0xff_ffff)?;
        out.put_u8(feedback_count)?;
        let mut rest = deltas;
        while let Some(&first) = rest.first() {
            let first = symbol(first);
            let run = rest.iter().take(0x1fff).take_while(|d| symbol(**d) == first).count();
            // A run pays where it covers more than the vector chunk that would stand in its place.
            let one_bit = rest.iter().take(14).all(|d| symbol(*d) < 2);
            let vector = if one_bit { 14 } else { 7 };
            if run >= vector || run == rest.len() {
                out.put_u16(u16::from(first) << 13 | run as u16)?;
                rest = &rest[run..];
                continue;
            }
            let count = vector.min(rest.len());
            let mut bits = if one_bit { 0x8000 } else { 0xc000 };
            for (index, delta) in rest[..count].iter().enumerate() {
                let symbol = u16::from(symbol(*delta));
                bits |= if one_bit {
                    symbol << (13 - index)
                } else {
                    symbol << (12 - 2 * index)
                };
            }
            out.put_u16(bits)?;
            rest = &rest[count..];
        }
        for delta in deltas.iter().flatten() {
            match u8::try_from(*delta) {
                Ok(small) => out.put_u8(small)?,
                Err(_) => out.put_u16(*delta as u16)?,
            }
        }
        Ok(())
    })
}
