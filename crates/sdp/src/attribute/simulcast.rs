//! The attributes rid (RFC 8851) and simulcast (RFC 8853).

use std::fmt;

use nom::character::complete::{space0, space1};
use nom::combinator::{opt, rest};
use nom::sequence::preceded;

use crate::grammar::{payload_type, token, whole, word};

/// Which way a restricted stream flows (RFC 8851 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RidDirection {
    /// The describing side sends it.
    Send,
    /// The describing side is willing to receive it.
    Receive,
}

impl RidDirection {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "send" => Some(Self::Send),
            "recv" => Some(Self::Receive),
            _ => None,
        }
    }

    /// The same flow seen from the other side.
    #[must_use]
    pub const fn reversed(self) -> Self {
        match self {
            Self::Send => Self::Receive,
            Self::Receive => Self::Send,
        }
    }
}

impl fmt::Display for RidDirection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Send => "send",
            Self::Receive => "recv",
        })
    }
}

/// `a=rid:<id> <direction> [pt=<pt>,...][;<restriction>=<value>...]` (RFC 8851 §4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rid<'a> {
    /// The stream's name.
    pub id: &'a str,
    /// Whether its author sends or receives it.
    pub direction: RidDirection,
    /// Formats and restrictions as they stand.
    pub parameters: Option<&'a str>,
}

impl<'a> Rid<'a> {
    /// Reads the value.
    pub fn parse(text: &'a str) -> Option<Self> {
        let (id, _, direction, parameters) =
            whole((token, space1, token, opt(preceded(space1, rest))), text.trim_end())?;
        Some(Self {
            id,
            direction: RidDirection::parse(direction)?,
            parameters,
        })
    }

    /// The value of a restriction (RFC 8851 §5): `max-br`, `max-fps`, `max-width` ...
    pub fn restriction(&self, name: &str) -> Option<&'a str> {
        let mut parts = self.parameters.unwrap_or_default().split(';');
        parts.find_map(|part| part.trim().strip_prefix(name)?.strip_prefix('='))
    }

    /// The payload types that `pt=` restricts the stream to; none if there is no such restriction.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> + use<'a> {
        self.restriction("pt")
            .unwrap_or_default()
            .split(',')
            .filter_map(payload_type)
    }
}

impl fmt::Display for Rid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.id, self.direction)?;
        self.parameters.map_or(Ok(()), |text| write!(f, " {text}"))
    }
}

/// One alternative of one simulcast stream (RFC 8853 §5.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SimulcastStream<'a> {
    /// The `a=rid` that it means.
    pub rid: &'a str,
    /// Whether it starts paused (`~`).
    pub paused: bool,
}

/// `a=simulcast:<direction> <streams> [<direction> <streams>]` (RFC 8853 §5.1). A stream is a list of alternatives, of
/// which one is chosen.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Simulcast<'a> {
    /// What the describing side sends.
    pub send: Vec<Vec<SimulcastStream<'a>>>,
    /// What it is willing to receive.
    pub receive: Vec<Vec<SimulcastStream<'a>>>,
}

impl<'a> Simulcast<'a> {
    /// Reads the value.
    pub fn parse(text: &'a str) -> Option<Self> {
        let list = || (token, space1, word);
        let ((direction, _, streams), second, _) = whole((list(), opt(preceded(space1, list())), space0), text)?;
        let mut simulcast = Self::default();
        simulcast.fill(direction, streams)?;
        if let Some((other, _, streams)) = second {
            if other == direction {
                return None;
            }
            simulcast.fill(other, streams)?;
        }
        Some(simulcast)
    }

    fn fill(&mut self, direction: &str, text: &'a str) -> Option<()> {
        let alternative = |text: &'a str| {
            let rid = text.strip_prefix('~').unwrap_or(text);
            (!rid.is_empty()).then_some(SimulcastStream {
                rid,
                paused: rid.len() < text.len(),
            })
        };
        let streams = text
            .split(';')
            .map(|stream| stream.split(',').map(alternative).collect())
            .collect::<Option<Vec<Vec<_>>>>()?;
        match RidDirection::parse(direction)? {
            RidDirection::Send => self.send = streams,
            RidDirection::Receive => self.receive = streams,
        }
        Some(())
    }
}

impl fmt::Display for Simulcast<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut gap = "";
        for (name, streams) in [("send", &self.send), ("recv", &self.receive)] {
            if streams.is_empty() {
                continue;
            }
            write!(f, "{gap}{name} ")?;
            for (i, stream) in streams.iter().enumerate() {
                f.write_str(if i > 0 { ";" } else { "" })?;
                for (j, alternative) in stream.iter().enumerate() {
                    let comma = if j > 0 { "," } else { "" };
                    let tilde = if alternative.paused { "~" } else { "" };
                    write!(f, "{comma}{tilde}{}", alternative.rid)?;
                }
            }
            gap = " ";
        }
        Ok(())
    }
}
