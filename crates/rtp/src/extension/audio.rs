//! Extensions that speak of sound: its loudness (RFC 6464, RFC 6465), and whether it is comfort noise.

use antiphon_sansio::{Full, Writer};

use super::{Extension, Kind};

/// Loudness of one source (RFC 6464 §3).
///
/// ```text
/// |V| level       |
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AudioLevel {
    /// Decibels below overload, 0 (loudest) to 127 (silence).
    pub below_overload: u8,
    /// Whether the sender believes that it is speech.
    pub voice: bool,
}

impl AudioLevel {
    #[inline]
    pub(super) fn from_bits(bits: u8) -> Self {
        Self {
            below_overload: bits & 0x7f,
            voice: bits & 0x80 != 0,
        }
    }

    #[inline]
    pub(super) fn bits(self) -> u8 {
        u8::from(self.voice) << 7 | self.below_overload & 0x7f
    }
}

/// The packet is comfort noise that the codec itself makes ("inband-cn" of libwebrtc's experiments).
///
/// ```text
/// |N| level       |
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InbandComfortNoise {
    /// The bit N. Where it is set, libwebrtc takes the level for absent.
    pub without_level: bool,
    /// How loud the noise is, in decibels below overload, 0 to 127.
    pub level: u8,
}

impl Extension for InbandComfortNoise {
    const KINDS: &'static [Kind] = &[Kind::InbandComfortNoise];

    fn kind(&self) -> Kind {
        Kind::InbandComfortNoise
    }

    fn parse(_: Kind, data: &[u8]) -> Option<Self> {
        let &[bits] = data else { return None };
        Some(Self {
            without_level: bits & 0x80 != 0,
            level: bits & 0x7f,
        })
    }

    fn written_len(&self) -> usize {
        1
    }

    fn write(&self, out: &mut Writer<'_>) -> Result<(), Full> {
        out.put_u8(u8::from(self.without_level) << 7 | self.level & 0x7f)
    }
}
