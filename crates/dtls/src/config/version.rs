//! The versions of the protocol.

use std::fmt;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum ProtocolVersion {
    /// DTLS 1.2 (RFC 6347).
    Dtls12,
    /// DTLS 1.3 (RFC 9147).
    Dtls13,
}

impl ProtocolVersion {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        match self {
            Self::Dtls12 => 0xfefd,
            Self::Dtls13 => 0xfefc,
        }
    }
}

impl fmt::Display for ProtocolVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dtls12 => "DTLS 1.2",
            Self::Dtls13 => "DTLS 1.3",
        })
    }
}

/// Which versions may be negotiated.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Versions {
    /// DTLS 1.2 alone. A peer that offers 1.3 beside it gets 1.2.
    #[default]
    Dtls12,
    /// DTLS 1.3 with a peer that has it, else 1.2.
    Dtls12And13,
    /// DTLS 1.3 alone.
    Dtls13,
}

impl Versions {
    /// Whether a version may be negotiated.
    pub fn allow(self, version: ProtocolVersion) -> bool {
        match version {
            ProtocolVersion::Dtls12 => self != Self::Dtls13,
            ProtocolVersion::Dtls13 => self != Self::Dtls12,
        }
    }
}
