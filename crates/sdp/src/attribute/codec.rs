//! Attributes that describe formats: rtpmap, fmtp, rtcp-fb, extmap.

use std::fmt;

use nom::bytes::complete::take_till1;
use nom::character::complete::{char, space0, space1};
use nom::combinator::{opt, rest};
use nom::sequence::preceded;

use super::Direction;
use crate::grammar::{decimal, payload_type, token, whole, word};

/// `a=rtpmap:<pt> <encoding>/<clock>[/<parameters>]` (RFC 8866 §6.6).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtpMap<'a> {
    /// 0 to 127.
    pub payload_type: u8,
    /// The encoding's name; compare without regard to case (RFC 4855 §3).
    pub encoding: &'a str,
    /// Ticks per second.
    pub clock_rate: u32,
    /// For audio: the number of channels; absent means 1.
    pub channels: Option<u8>,
}

impl<'a> RtpMap<'a> {
    /// Reads the value.
    pub fn parse(text: &'a str) -> Option<Self> {
        let encoding = take_till1(|c: char| c == '/' || c == ' ');
        let (pt, _, encoding, _, clock_rate, channels) = whole(
            (
                word,
                space1,
                encoding,
                char('/'),
                decimal,
                opt(preceded(char('/'), decimal)),
            ),
            text.trim_end(),
        )?;
        Some(Self {
            payload_type: payload_type(pt)?,
            encoding,
            clock_rate,
            channels,
        })
    }
}

impl fmt::Display for RtpMap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}/{}", self.payload_type, self.encoding, self.clock_rate)?;
        self.channels.map_or(Ok(()), |channels| write!(f, "/{channels}"))
    }
}

/// `a=fmtp:<pt> <parameters>` (RFC 8866 §6.15).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fmtp<'a> {
    /// 0 to 127.
    pub payload_type: u8,
    /// The parameters as they stand.
    pub parameters: &'a str,
}

impl<'a> Fmtp<'a> {
    /// Reads the value.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (pt, _, parameters) = whole((word, space0, rest), text)?;
        Some(Self {
            payload_type: payload_type(pt)?,
            parameters,
        })
    }

    /// `name=value` pairs, in order; a parameter without `=` comes with an empty value.
    pub fn pairs(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        self.parameters.split(';').filter_map(|pair| {
            let pair = pair.trim();
            let (name, value) = pair.split_once('=').unwrap_or((pair, ""));
            (!name.is_empty()).then(|| (name.trim_end(), value.trim_start()))
        })
    }

    /// The value of a parameter; names do not regard case (RFC 4855 §3).
    pub fn get(&self, name: &str) -> Option<&'a str> {
        self.pairs()
            .find(|(key, _)| key.eq_ignore_ascii_case(name))
            .map(|(_, value)| value)
    }
}

impl fmt::Display for Fmtp<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.payload_type, self.parameters)
    }
}

/// `a=rtcp-fb:<pt or *> <value>` (RFC 4585 §4.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RtcpFeedback<'a> {
    /// The payload type, or `None` for `*`: every payload type of the section.
    pub payload_type: Option<u8>,
    /// `nack`, `nack pli`, `ccm fir`, `transport-cc`, ...
    pub value: &'a str,
}

impl<'a> RtcpFeedback<'a> {
    /// Reads the value.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (pt, _, value) = whole((word, space1, rest), text.trim_end())?;
        Some(Self {
            payload_type: match pt {
                "*" => None,
                pt => Some(payload_type(pt)?),
            },
            value,
        })
    }

    /// Whether it speaks of this payload type.
    pub fn applies_to(&self, payload_type: u8) -> bool {
        self.payload_type.is_none_or(|own| own == payload_type)
    }
}

impl fmt::Display for RtcpFeedback<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.payload_type {
            Some(pt) => write!(f, "{pt} {}", self.value),
            None => write!(f, "* {}", self.value),
        }
    }
}

/// `a=extmap:<id>[/<direction>] <uri> [<attributes>]` (RFC 8285 §8).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExtMap<'a> {
    /// The id on the wire: 1 to 14, or to 255 with two-byte headers. Ids from 4096 are only provisional (RFC 8285 §6).
    pub id: u16,
    /// The direction, if the use is restricted.
    pub direction: Option<Direction>,
    /// The name of the extension. With header extension encryption it is `urn:ietf:params:rtp-hdrext:encrypt`, and the
    /// inner name stands in `attributes` (RFC 6904 §4).
    pub uri: &'a str,
    /// What follows the name.
    pub attributes: Option<&'a str>,
}

impl<'a> ExtMap<'a> {
    /// Reads the value.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (id, direction, _, uri, attributes) = whole(
            (
                decimal,
                opt(preceded(char('/'), token)),
                space1,
                word,
                opt(preceded(space1, rest)),
            ),
            text.trim_end(),
        )?;
        let direction = match direction {
            Some(text) => Some(Direction::parse(text)?),
            None => None,
        };
        Some(Self {
            id,
            direction,
            uri,
            attributes,
        })
    }
}

impl fmt::Display for ExtMap<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.id)?;
        if let Some(direction) = self.direction {
            write!(f, "/{direction}")?;
        }
        write!(f, " {}", self.uri)?;
        self.attributes.map_or(Ok(()), |text| write!(f, " {text}"))
    }
}
