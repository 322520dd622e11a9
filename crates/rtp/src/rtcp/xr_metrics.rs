//! The blocks of extended reports that say how a stream arrived (RFC 3611 §4.1 to §4.3, §4.6, §4.7).

use antiphon_sansio::{Full, Reader, Writer};

use super::entries::{Entries, Entry};

/// Which packets a block speaks of (RFC 3611 §4.1).
///
/// ```text
/// | rsvd. |   T   |  in the block's header
/// |                        SSRC of source                         |
/// |          begin_seq            |             end_seq           |
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PacketRange {
    /// T: only sequence numbers are reported that are multiples of 2^T, 0 to 15.
    pub thinning: u8,
    /// The SSRC of the stream.
    pub ssrc: u32,
    /// The first sequence number.
    pub begin: u16,
    /// The sequence number behind the last.
    pub end: u16,
}

impl PacketRange {
    fn read(specific: u8, reader: &mut Reader<'_>) -> Option<Self> {
        Some(Self {
            thinning: specific & 0xf,
            ssrc: reader.u32().ok()?,
            begin: reader.u16().ok()?,
            end: reader.u16().ok()?,
        })
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        out.put_u32(self.ssrc)?;
        out.put_u16(self.begin)?;
        out.put_u16(self.end)
    }
}

/// A chunk of run lengths (RFC 3611 §4.1.1 to §4.1.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RunChunk {
    /// So many packets alike, 1 to 16383 of them: all came, or none did.
    Run {
        /// Whether they came (or came but once, in a block of duplicates).
        received: bool,
        /// How many packets, 14 bits.
        len: u16,
    },
    /// Fifteen packets, the first in the highest of 15 bits; a bit is set if the packet came.
    Vector(u16),
    /// Nothing: it fills the last word.
    End,
}

impl Entry for RunChunk {
    const LEN: usize = 2;

    fn read(bytes: &[u8]) -> Option<Self> {
        let bits = u16::from_be_bytes(*bytes.first_chunk()?);
        Some(match bits {
            0 => Self::End,
            0x8000.. => Self::Vector(bits & 0x7fff),
            _ => Self::Run {
                received: bits & 0x4000 != 0,
                len: bits & 0x3fff,
            },
        })
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        out.put_u16(match *self {
            Self::End => 0,
            Self::Vector(bits) => 0x8000 | bits & 0x7fff,
            Self::Run { received, len } => u16::from(received) << 14 | len & 0x3fff,
        })
    }
}

/// A loss or duplicate RLE block.
#[derive(Clone, Debug, PartialEq)]
pub struct RunLengths<'a> {
    /// Which packets it speaks of.
    pub range: PacketRange,
    /// What it says of them. Written, an odd number of chunks is followed by one that says nothing.
    pub chunks: Entries<'a, RunChunk>,
}

impl<'a> RunLengths<'a> {
    pub(super) fn parse(specific: u8, data: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(data);
        Some(Self {
            range: PacketRange::read(specific, &mut reader)?,
            chunks: Entries::wire(reader.rest()),
        })
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        self.range.write(out)?;
        self.chunks.write(out)
    }
}

/// A packet receipt times block (RFC 3611 §4.3).
#[derive(Clone, Debug, PartialEq)]
pub struct ReceiptTimes<'a> {
    /// Which packets it speaks of.
    pub range: PacketRange,
    /// When each of them came, in units of the stream's RTP timestamps.
    pub times: Entries<'a, u32>,
}

impl<'a> ReceiptTimes<'a> {
    pub(super) fn parse(specific: u8, data: &'a [u8]) -> Option<Self> {
        let mut reader = Reader::new(data);
        Some(Self {
            range: PacketRange::read(specific, &mut reader)?,
            times: Entries::wire(reader.rest()),
        })
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        self.range.write(out)?;
        self.times.write(out)
    }
}

/// Least, greatest, mean and standard deviation.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spread<T> {
    /// The least of all.
    pub min: T,
    /// The greatest of all.
    pub max: T,
    /// The mean of all.
    pub mean: T,
    /// The standard deviation of all.
    pub deviation: T,
}

/// What the time to live was called in the packets (RFC 3611 §4.6).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hops {
    /// Nothing is said of it.
    #[default]
    Unknown,
    /// IPv4's time to live.
    TimeToLive(Spread<u8>),
    /// IPv6's hop limit.
    HopLimit(Spread<u8>),
}

/// A statistics summary block (RFC 3611 §4.6).
///
/// ```text
/// |L|D|J|ToH|rsvd.|  in the block's header
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct StatisticsSummary {
    /// Which packets it speaks of; without thinning.
    pub range: PacketRange,
    /// How many packets were lost.
    pub lost: Option<u32>,
    /// Packets that came more than once.
    pub duplicates: Option<u32>,
    /// Jitter, in units of the stream's RTP timestamps.
    pub jitter: Option<Spread<u32>>,
    /// How far the packets had come.
    pub hops: Hops,
}

impl StatisticsSummary {
    pub(super) fn parse(flags: u8, data: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(data);
        let range = PacketRange::read(0, &mut reader)?;
        let (lost, duplicates) = (reader.u32().ok()?, reader.u32().ok()?);
        let jitter = Spread {
            min: reader.u32().ok()?,
            max: reader.u32().ok()?,
            mean: reader.u32().ok()?,
            deviation: reader.u32().ok()?,
        };
        let [min, max, mean, deviation] = reader.array().ok()?;
        let hops = Spread {
            min,
            max,
            mean,
            deviation,
        };
        reader.is_empty().then_some(Self {
            range,
            lost: (flags & 0x80 != 0).then_some(lost),
            duplicates: (flags & 0x40 != 0).then_some(duplicates),
            jitter: (flags & 0x20 != 0).then_some(jitter),
            hops: match flags >> 3 & 3 {
                1 => Hops::TimeToLive(hops),
                2 => Hops::HopLimit(hops),
                _ => Hops::Unknown,
            },
        })
    }

    pub(super) fn flags(&self) -> u8 {
        let hops = match self.hops {
            Hops::Unknown => 0,
            Hops::TimeToLive(_) => 1,
            Hops::HopLimit(_) => 2,
        };
        let bit = |there: bool, bit: u8| u8::from(there) << bit;
        bit(self.lost.is_some(), 7) | bit(self.duplicates.is_some(), 6) | bit(self.jitter.is_some(), 5) | hops << 3
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        self.range.write(out)?;
        out.put_u32(self.lost.unwrap_or(0))?;
        out.put_u32(self.duplicates.unwrap_or(0))?;
        let jitter = self.jitter.unwrap_or_default();
        for value in [jitter.min, jitter.max, jitter.mean, jitter.deviation] {
            out.put_u32(value)?;
        }
        let hops = match self.hops {
            Hops::Unknown => Spread::default(),
            Hops::TimeToLive(hops) | Hops::HopLimit(hops) => hops,
        };
        out.put_slice(&[hops.min, hops.max, hops.mean, hops.deviation])
    }
}

/// A VoIP metrics block (RFC 3611 §4.7): how a call sounds. 127 in a rating or a level, and 255 in a loss, is "not known".
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VoipMetrics {
    /// The SSRC of the stream.
    pub ssrc: u32,
    /// Lost since the beginning, in 1/256.
    pub loss_rate: u8,
    /// Came too late or too early to be played, in 1/256.
    pub discard_rate: u8,
    /// Lost or discarded within bursts, in 1/256.
    pub burst_density: u8,
    /// Lost or discarded between bursts, in 1/256.
    pub gap_density: u8,
    /// How long bursts are on average, in milliseconds.
    pub burst_duration: u16,
    /// How long the gaps between them are on average, in milliseconds.
    pub gap_duration: u16,
    /// The last round trip, in milliseconds.
    pub round_trip_delay: u16,
    /// What this end adds to it, in milliseconds.
    pub end_system_delay: u16,
    /// How loud speech is, in dBm0.
    pub signal_level: i8,
    /// How loud silence is, in dBm0.
    pub noise_level: i8,
    /// Residual echo return loss, in decibels.
    pub echo_return_loss: u8,
    /// The fewest packets between two bursts.
    pub gap_threshold: u8,
    /// The rating of the call over this network, 0 to 100.
    pub r_factor: u8,
    /// The rating over another network that the call passes, 0 to 100.
    pub external_r_factor: u8,
    /// Listening quality as people would rate it, in tenths, 10 to 50.
    pub mos_listening: u8,
    /// Conversational quality as people would rate it, in tenths, 10 to 50.
    pub mos_conversational: u8,
    /// How the receiver hides loss and adapts its buffer: two bits, two bits, four bits of speed.
    pub receiver_configuration: u8,
    /// The delay of its buffer now, in milliseconds.
    pub buffer_nominal: u16,
    /// The delay of its buffer that would take every packet of the late past, in milliseconds.
    pub buffer_maximum: u16,
    /// The delay that its buffer can have at most, in milliseconds.
    pub buffer_absolute_maximum: u16,
}

impl VoipMetrics {
    pub(super) fn parse(data: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(data);
        let mut metrics = Self {
            ssrc: reader.u32().ok()?,
            ..Self::default()
        };
        [
            metrics.loss_rate,
            metrics.discard_rate,
            metrics.burst_density,
            metrics.gap_density,
        ] = reader.array().ok()?;
        metrics.burst_duration = reader.u16().ok()?;
        metrics.gap_duration = reader.u16().ok()?;
        metrics.round_trip_delay = reader.u16().ok()?;
        metrics.end_system_delay = reader.u16().ok()?;
        metrics.signal_level = reader.u8().ok()? as i8;
        metrics.noise_level = reader.u8().ok()? as i8;
        [metrics.echo_return_loss, metrics.gap_threshold] = reader.array().ok()?;
        [
            metrics.r_factor,
            metrics.external_r_factor,
            metrics.mos_listening,
            metrics.mos_conversational,
        ] = reader.array().ok()?;
        [metrics.receiver_configuration, _] = reader.array().ok()?;
        metrics.buffer_nominal = reader.u16().ok()?;
        metrics.buffer_maximum = reader.u16().ok()?;
        metrics.buffer_absolute_maximum = reader.u16().ok()?;
        reader.is_empty().then_some(metrics)
    }

    pub(super) fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        out.put_u32(self.ssrc)?;
        out.put_slice(&[self.loss_rate, self.discard_rate, self.burst_density, self.gap_density])?;
        out.put_u16(self.burst_duration)?;
        out.put_u16(self.gap_duration)?;
        out.put_u16(self.round_trip_delay)?;
        out.put_u16(self.end_system_delay)?;
        out.put_slice(&[self.signal_level as u8, self.noise_level as u8])?;
        out.put_slice(&[self.echo_return_loss, self.gap_threshold])?;
        out.put_slice(&[
            self.r_factor,
            self.external_r_factor,
            self.mos_listening,
            self.mos_conversational,
        ])?;
        out.put_slice(&[self.receiver_configuration, 0])?;
        out.put_u16(self.buffer_nominal)?;
        out.put_u16(self.buffer_maximum)?;
        out.put_u16(self.buffer_absolute_maximum)
    }
}
