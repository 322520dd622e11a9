//! The attribute candidate (RFC 8839 §5.1).

use std::fmt;

use nom::bytes::complete::{tag, tag_no_case};
use nom::character::complete::space1;
use nom::combinator::{opt, rest};
use nom::sequence::preceded;

use crate::grammar::{decimal, whole, word};

/// `a=candidate` (RFC 8839 §5.1). Addresses stay text: they may be names (mDNS).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Candidates with one foundation share base, type, transport and server.
    pub foundation: &'a str,
    /// 1 for RTP and for everything that is multiplexed; 2 for RTCP.
    pub component: u16,
    /// `udp` or `tcp`; compare without regard to case.
    pub transport: &'a str,
    /// The priority: larger is better (RFC 8839 §5.1).
    pub priority: u32,
    /// An IP address or a host name.
    pub address: &'a str,
    /// The port; 9 for active TCP candidates.
    pub port: u16,
    /// `host`, `srflx`, `prflx`, `relay`.
    pub kind: &'a str,
    /// The related address and port.
    pub related: Option<(&'a str, u16)>,
    /// `name value` pairs as they stand: `tcptype passive`, `generation 0`, `ufrag abcd`, ...
    pub extensions: &'a str,
}

impl<'a> Candidate<'a> {
    /// Reads the value, with or without the words `candidate:` or `a=candidate:` before it.
    pub fn parse(text: &'a str) -> Option<Self> {
        let text = text.trim();
        let text = text.strip_prefix("a=").unwrap_or(text);
        let text = text.strip_prefix("candidate:").unwrap_or(text).trim_start();
        let related = (
            preceded((space1, tag("raddr"), space1), word),
            preceded((space1, tag("rport"), space1), decimal),
        );
        let head = (word, space1, decimal, space1, word, space1, decimal);
        let tail = (space1, word, space1, decimal, space1, tag_no_case("typ"), space1, word);
        let (head, tail, related, extensions) = whole((head, tail, opt(related), rest), text)?;
        let (foundation, _, component, _, transport, _, priority) = head;
        let (_, address, _, port, _, _, _, kind) = tail;
        Some(Self {
            foundation,
            component,
            transport,
            priority,
            address,
            port,
            kind,
            related,
            extensions: extensions.trim_start(),
        })
    }

    /// The value of an extension attribute; unknown ones are there for whoever knows them (RFC 8839 §5.1).
    pub fn extension(&self, name: &str) -> Option<&'a str> {
        let mut words = self.extensions.split_ascii_whitespace();
        while let (Some(key), Some(value)) = (words.next(), words.next()) {
            if key == name {
                return Some(value);
            }
        }
        None
    }
}

impl fmt::Display for Candidate<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {} {} {} typ {}",
            self.foundation, self.component, self.transport, self.priority, self.address, self.port, self.kind
        )?;
        if let Some((address, port)) = self.related {
            write!(f, " raddr {address} rport {port}")?;
        }
        if !self.extensions.is_empty() {
            write!(f, " {}", self.extensions)?;
        }
        Ok(())
    }
}
