//! Attributes that name sources and groups: ssrc, ssrc-group, msid, group (RFC 5576, RFC 8830, RFC 5888).

use std::fmt;

use nom::bytes::complete::take_till1;
use nom::character::complete::{char, space0, space1};
use nom::combinator::{opt, rest};
use nom::sequence::preceded;

use crate::grammar::{decimal, number, whole, word};

/// `a=ssrc:<id> <attribute>[:<value>]` (RFC 5576 §4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ssrc<'a> {
    /// The synchronisation source.
    pub ssrc: u32,
    /// `cname`, `msid`, ...; empty if the line names the source alone.
    pub attribute: &'a str,
    /// The value behind the attribute's colon.
    pub value: Option<&'a str>,
}

impl<'a> Ssrc<'a> {
    /// Reads the value.
    pub fn parse(text: &'a str) -> Option<Self> {
        let pair = (take_till1(|c: char| c == ':'), opt(preceded(char(':'), rest)));
        let (ssrc, pair) = whole((decimal, opt(preceded(space1, pair))), text.trim_end())?;
        let (attribute, value) = pair.unwrap_or(("", None));
        Some(Self { ssrc, attribute, value })
    }
}

impl fmt::Display for Ssrc<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.ssrc)?;
        if !self.attribute.is_empty() {
            write!(f, " {}", self.attribute)?;
        }
        self.value.map_or(Ok(()), |value| write!(f, ":{value}"))
    }
}

/// `a=ssrc-group:<semantics> <id> ...` (RFC 5576 §4.2).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SsrcGroup<'a> {
    /// `FID` (a stream and its retransmissions), `FEC-FR`, `SIM`, ...
    pub semantics: &'a str,
    /// The sources, in order.
    pub ssrcs: Vec<u32>,
}

impl<'a> SsrcGroup<'a> {
    /// Reads the value.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (semantics, ids) = whole((word, rest), text)?;
        let ssrcs = ids.split_ascii_whitespace().map(number).collect::<Option<Vec<u32>>>()?;
        Some(Self { semantics, ssrcs })
    }
}

impl fmt::Display for SsrcGroup<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.semantics)?;
        self.ssrcs.iter().try_for_each(|ssrc| write!(f, " {ssrc}"))
    }
}

/// `a=group:<semantics> <mid> ...` (RFC 5888 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Group<'a> {
    /// What the group means: `BUNDLE`, `LS`, ...
    pub semantics: &'a str,
    mids: &'a str,
}

impl<'a> Group<'a> {
    /// `mids`: identification tags with spaces between them.
    pub fn new(semantics: &'a str, mids: &'a str) -> Self {
        Self { semantics, mids }
    }

    /// Reads the value. A group may be empty: an answer that rejects everything has one.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (semantics, _, mids) = whole((word, space0, rest), text)?;
        Some(Self { semantics, mids })
    }

    /// The identification tags, in order.
    pub fn mids(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.mids.split_ascii_whitespace()
    }
}

impl fmt::Display for Group<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.semantics)?;
        self.mids().try_for_each(|mid| write!(f, " {mid}"))
    }
}

/// `a=msid:<stream> [<track>]` (RFC 8830 §2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Msid<'a> {
    /// The stream's id; `-` means no stream.
    pub stream: &'a str,
    /// The track's id, which JSEP ignores on receipt (RFC 9429 §5.10).
    pub track: Option<&'a str>,
}

impl<'a> Msid<'a> {
    /// Reads the value.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (stream, track) = whole((word, opt(preceded(space1, word))), text.trim())?;
        Some(Self { stream, track })
    }
}

impl fmt::Display for Msid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.stream)?;
        self.track.map_or(Ok(()), |track| write!(f, " {track}"))
    }
}
