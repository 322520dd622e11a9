//! The formats of repair packets by name.

use antiphon_sansio::{Full, Writer};

use super::repair::Repair;
use super::{flexfec, flexfec03, ulpfec};
use crate::ParseError;

/// A format of repair packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Format {
    /// RFC 5109, `ulpfec`: in RED blocks of the protected stream.
    Ulpfec,
    /// draft-ietf-payload-flexible-fec-scheme-03, `flexfec-03`: a stream of its own.
    FlexFec03,
    /// RFC 8627, `flexfec`: a stream of its own, which names the protected one in its CSRC list.
    FlexFec,
}

impl Format {
    /// The format of an encoding name in `a=rtpmap`, compared without case.
    pub fn new(name: &str) -> Option<Self> {
        let all = [Self::Ulpfec, Self::FlexFec03, Self::FlexFec];
        all.into_iter().find(|format| format.name().eq_ignore_ascii_case(name))
    }

    /// The encoding name in `a=rtpmap`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Ulpfec => "ulpfec",
            Self::FlexFec03 => "flexfec-03",
            Self::FlexFec => "flexfec",
        }
    }

    /// How far the packets may lie apart that one repair packet protects: the span of its mask.
    pub fn max_span(self) -> u16 {
        match self {
            Self::Ulpfec => 48,
            Self::FlexFec03 => 109,
            Self::FlexFec => 110,
        }
    }

    /// Bytes of the largest header before the parity.
    pub fn max_header(self) -> usize {
        match self {
            Self::Ulpfec => ulpfec::MAX_HEADER,
            Self::FlexFec03 => flexfec03::MAX_HEADER,
            Self::FlexFec => flexfec::MAX_HEADER,
        }
    }

    /// Reads a repair packet from its payload.
    ///
    /// # Errors
    /// If the payload is none, or one that is not supported; see the format's own `parse`.
    pub fn parse(self, payload: &[u8]) -> Result<Repair<'_>, ParseError> {
        match self {
            Self::Ulpfec => ulpfec::parse(payload),
            Self::FlexFec03 => flexfec03::parse(payload),
            Self::FlexFec => flexfec::parse(payload),
        }
    }

    /// Writes the payload of a repair packet.
    ///
    /// # Errors
    /// If there is no room, or the format cannot name these packets.
    pub fn write(self, repair: &Repair<'_>, out: &mut Writer<'_>) -> Result<(), Full> {
        match self {
            Self::Ulpfec => ulpfec::write(repair, out),
            Self::FlexFec03 => flexfec03::write(repair, out),
            Self::FlexFec => flexfec::write(repair, out),
        }
    }
}
