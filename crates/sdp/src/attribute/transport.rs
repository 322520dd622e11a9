//! Attributes of the transport: direction, fingerprint, setup, rtcp.

use std::fmt;

use nom::character::complete::space1;
use nom::combinator::{opt, rest};
use nom::sequence::preceded;

use crate::grammar::{BLANKS, decimal, token, whole, word};

/// The way media flows, seen from the describing side (RFC 8866 §6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names are the attributes")]
pub enum Direction {
    SendRecv,
    SendOnly,
    RecvOnly,
    Inactive,
}

impl Direction {
    /// Reads the attribute's whole text.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.trim_end_matches(BLANKS) {
            "sendrecv" => Self::SendRecv,
            "sendonly" => Self::SendOnly,
            "recvonly" => Self::RecvOnly,
            "inactive" => Self::Inactive,
            _ => return None,
        })
    }

    /// The attribute's text.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::SendRecv => "sendrecv",
            Self::SendOnly => "sendonly",
            Self::RecvOnly => "recvonly",
            Self::Inactive => "inactive",
        }
    }

    /// From the two flags.
    pub const fn from_flags(send: bool, receive: bool) -> Self {
        match (send, receive) {
            (true, true) => Self::SendRecv,
            (true, false) => Self::SendOnly,
            (false, true) => Self::RecvOnly,
            (false, false) => Self::Inactive,
        }
    }

    /// Whether the describing side sends.
    pub const fn sends(self) -> bool {
        matches!(self, Self::SendRecv | Self::SendOnly)
    }

    /// Whether the describing side receives.
    pub const fn receives(self) -> bool {
        matches!(self, Self::SendRecv | Self::RecvOnly)
    }

    /// The same flow seen from the other side.
    #[must_use]
    pub const fn reversed(self) -> Self {
        Self::from_flags(self.receives(), self.sends())
    }

    /// What both allow.
    #[must_use]
    pub const fn intersect(self, other: Self) -> Self {
        Self::from_flags(self.sends() && other.sends(), self.receives() && other.receives())
    }
}

impl fmt::Display for Direction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who opens the DTLS association (RFC 4145 §4, RFC 8842 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Setup {
    /// The describing side will send the ClientHello.
    Active,
    /// The describing side waits for it.
    Passive,
    /// The answerer may choose.
    ActPass,
    /// No association for now. WebRTC does not use it (RFC 8842 §5).
    HoldConn,
}

impl Setup {
    /// Reads the value.
    pub fn parse(text: &str) -> Option<Self> {
        Some(match text.trim_end() {
            "active" => Self::Active,
            "passive" => Self::Passive,
            "actpass" => Self::ActPass,
            "holdconn" => Self::HoldConn,
            _ => return None,
        })
    }
}

impl fmt::Display for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Active => "active",
            Self::Passive => "passive",
            Self::ActPass => "actpass",
            Self::HoldConn => "holdconn",
        })
    }
}

/// `a=fingerprint:<hash> <hex>` (RFC 8122 §5).
///
/// This is text to be compared with text (has the description changed?). Whether a certificate matches is for `dtls` to
/// say, in constant time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint<'a> {
    /// `sha-256`, ... in the peer's spelling.
    pub algorithm: &'a str,
    /// Pairs of hexadecimal digits with colons between them, in the peer's spelling.
    pub digest: &'a str,
}

impl<'a> Fingerprint<'a> {
    /// Reads the value. The digest must be whole pairs of hexadecimal digits.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (algorithm, _, digest) = whole((token, space1, word), text.trim_end())?;
        let hex = digest
            .split(':')
            .all(|pair| pair.len() == 2 && pair.bytes().all(|byte| byte.is_ascii_hexdigit()));
        hex.then_some(Self { algorithm, digest })
    }

    /// The digest's bytes.
    pub fn bytes(&self) -> impl Iterator<Item = u8> {
        self.digest
            .split(':')
            .filter_map(|pair| u8::from_str_radix(pair, 16).ok())
    }
}

impl fmt::Display for Fingerprint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.algorithm, self.digest)
    }
}

/// `a=rtcp:<port> [<nettype> <addrtype> <address>]` (RFC 3605 §2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rtcp<'a> {
    /// The port for RTCP.
    pub port: u16,
    /// Network type, address type and address, undivided, if they are given.
    pub address: Option<&'a str>,
}

impl<'a> Rtcp<'a> {
    /// Reads the value.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (port, address) = whole((decimal, opt(preceded(space1, rest))), text)?;
        Some(Self { port, address })
    }
}

impl fmt::Display for Rtcp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.port)?;
        self.address.map_or(Ok(()), |address| write!(f, " {address}"))
    }
}
