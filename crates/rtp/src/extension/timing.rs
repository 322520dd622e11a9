//! Extensions that speak of time: capture, the way through the sender, the wished delay, the wall clock.

use antiphon_sansio::{Full, Reader, Writer};

use super::{Extension, Kind};

/// A request in [`Kind::TransportCc2`]: feedback on this packet and `count - 1` before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FeedbackRequest {
    /// Whether the feedback shall carry arrival times.
    pub timestamps: bool,
    /// How many packets, 15 bits.
    pub count: u16,
}

impl FeedbackRequest {
    /// `None` if it asks for nothing.
    #[inline]
    pub(super) fn from_bits(bits: u16) -> Option<Self> {
        (bits & 0x7fff != 0).then_some(Self {
            timestamps: bits & 0x8000 != 0,
            count: bits & 0x7fff,
        })
    }

    #[inline]
    pub(super) fn bits(self) -> u16 {
        u16::from(self.timestamps) << 15 | self.count & 0x7fff
    }
}

/// Wished bounds of the playout delay, in units of 10 ms, 12 bits each ("playout-delay" of libwebrtc's experiments).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PlayoutDelay {
    /// The least delay, in units of 10 ms, 0 to 4095.
    pub min: u16,
    /// The greatest delay, in units of 10 ms, 0 to 4095.
    pub max: u16,
}

impl PlayoutDelay {
    #[inline]
    pub(super) fn from_bits(bits: u32) -> Self {
        Self {
            min: (bits >> 12 & 0xfff) as u16,
            max: (bits & 0xfff) as u16,
        }
    }

    #[inline]
    pub(super) fn bits(self) -> u32 {
        u32::from(self.min & 0xfff) << 12 | u32::from(self.max & 0xfff)
    }
}

/// When the frame was captured ("abs-capture-time" of libwebrtc's experiments): 8 bytes, or 16 with the offset.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AbsCaptureTime {
    /// NTP time by the capturer's clock, 32.32 seconds.
    pub capture: u64,
    /// The sender's estimate of its clock's offset to the capturer's, 32.32 seconds, signed.
    pub clock_offset: Option<i64>,
}

impl AbsCaptureTime {
    #[inline]
    pub(super) fn from_bytes(data: &[u8]) -> Option<Self> {
        let (capture, rest) = data.split_first_chunk::<8>()?;
        matches!(rest.len(), 0 | 8).then(|| Self {
            capture: u64::from_be_bytes(*capture),
            clock_offset: rest.first_chunk::<8>().map(|offset| i64::from_be_bytes(*offset)),
        })
    }
}

/// What the frame went through in the sender ("video-timing" of libwebrtc's experiments), in the last packet of some frames.
/// All times are milliseconds since its capture; 0 stands for "not said".
///
/// ```text
/// |     flags     |      encode start (ms)        |      encode finish (ms)       |
/// |  packetization complete (ms)  |  last packet left the pacer   |   network 1   |
/// |               |           network 2           |
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct VideoTiming {
    /// Why it is there: 1 for its time has come, 2 for the frame is larger than usual. `None` in the old form of 12 bytes.
    pub flags: Option<u8>,
    /// When the encoder got the frame.
    pub encode_start: u16,
    /// When the encoder was done.
    pub encode_finish: u16,
    /// When it had become packets.
    pub packetization_complete: u16,
    /// When the last of them left the pacer.
    pub pacer_exit: u16,
    /// What a box in the network wrote.
    pub network1: u16,
    /// What another box in the network wrote.
    pub network2: u16,
}

impl Extension for VideoTiming {
    const KINDS: &'static [Kind] = &[Kind::VideoTiming];

    fn kind(&self) -> Kind {
        Kind::VideoTiming
    }

    fn parse(_: Kind, data: &[u8]) -> Option<Self> {
        let mut reader = Reader::new(data);
        let flags = match data.len() {
            12 => None,
            13 => Some(reader.u8().ok()?),
            _ => return None,
        };
        Some(Self {
            flags,
            encode_start: reader.u16().ok()?,
            encode_finish: reader.u16().ok()?,
            packetization_complete: reader.u16().ok()?,
            pacer_exit: reader.u16().ok()?,
            network1: reader.u16().ok()?,
            network2: reader.u16().ok()?,
        })
    }

    fn written_len(&self) -> usize {
        12 + usize::from(self.flags.is_some())
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        if let Some(flags) = self.flags {
            out.put_u8(flags)?;
        }
        out.put_u16(self.encode_start)?;
        out.put_u16(self.encode_finish)?;
        out.put_u16(self.packetization_complete)?;
        out.put_u16(self.pacer_exit)?;
        out.put_u16(self.network1)?;
        out.put_u16(self.network2)
    }
}

/// The wall clock at the packet's RTP timestamp, for who cannot wait for a sender report (RFC 6051 §3.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NtpTimestamp {
    /// NTP time, 32.32 seconds.
    Ntp64(u64),
    /// Its low 56 bits, 24.32 seconds.
    Ntp56(u64),
}

impl Extension for NtpTimestamp {
    const KINDS: &'static [Kind] = &[Kind::Ntp64, Kind::Ntp56];

    fn kind(&self) -> Kind {
        match self {
            Self::Ntp64(_) => Kind::Ntp64,
            Self::Ntp56(_) => Kind::Ntp56,
        }
    }

    fn parse(kind: Kind, data: &[u8]) -> Option<Self> {
        match kind {
            Kind::Ntp64 => Some(Self::Ntp64(u64::from_be_bytes(data.try_into().ok()?))),
            _ => {
                let &[a, b, c, d, e, f, g] = data else { return None };
                Some(Self::Ntp56(u64::from_be_bytes([0, a, b, c, d, e, f, g])))
            }
        }
    }

    fn written_len(&self) -> usize {
        match self {
            Self::Ntp64(_) => 8,
            Self::Ntp56(_) => 7,
        }
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        match *self {
            Self::Ntp64(time) => out.put_u64(time),
            Self::Ntp56(time) => out.put_slice(&time.to_be_bytes()[1..]),
        }
    }
}
