//! The tree that a description is read into: session level, media descriptions, `m=` and `o=` lines.

use std::fmt::{self, Write as _};
use std::ops::Range;
use std::sync::Arc;

use nom::character::complete::{digit1, space1};

use crate::attribute::{Direction, Fmtp, RtpMap};
use crate::grammar::{self, whole, word};
use crate::section::{Ending, Line, Section};
use crate::text::Text;

/// The longest text that is read, in bytes. A description of ten thousand m-sections fits.
pub const MAX_LENGTH: usize = 16 << 20;

/// A whole description (RFC 8866 §5): the session level, then the media descriptions.
///
/// `parse` then `to_string` gives the same bytes back, whatever stood in them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SessionDescription {
    /// The lines before the first `m=`.
    pub session: Section,
    /// The media descriptions, in order: an m-line index is an index into this.
    pub media: Vec<MediaDescription>,
}

impl SessionDescription {
    /// A description with `v=0`, the given `o=`, `s=-` and `t=0 0` (RFC 9429 §5.2.1), and no media.
    pub fn new(origin: &Origin<'_>) -> Self {
        let mut session = Section::new();
        session.push(Line::new('v', "0"));
        session.push(Line::new('o', origin.to_string()));
        session.push(Line::new('s', "-"));
        session.push(Line::new('t', "0 0"));
        Self {
            session,
            media: Vec::new(),
        }
    }

    /// The `o=` line; `None` if it does not follow its grammar.
    pub fn origin(&self) -> Option<Origin<'_>> {
        let line = self.session.lines().iter().find(|line| line.letter == b'o')?;
        Origin::parse(&line.value)
    }

    /// Replaces the `o=` line.
    pub fn set_origin(&mut self, origin: &Origin<'_>) {
        let value = Text::from(origin.to_string());
        if let Some(line) = self.session.lines.iter_mut().find(|line| line.letter == b'o') {
            line.value = value;
        }
    }

    /// The media description whose `a=mid` is `mid`, with its index.
    pub fn media_by_mid(&self, mid: &str) -> Option<(usize, &MediaDescription)> {
        self.media
            .iter()
            .enumerate()
            .find(|(_, media)| media.section.mid() == Some(mid))
    }

    /// The direction of a media description: its own, else the session's, else `sendrecv` (RFC 8866 §6.7).
    pub fn direction_of(&self, media: &MediaDescription) -> Direction {
        media
            .section
            .direction()
            .or_else(|| self.session.direction())
            .unwrap_or(Direction::SendRecv)
    }

    /// Puts the texts of all lines into one, and gives back the memory that making the description took: for one that is
    /// kept long. Nothing else of it changes.
    pub fn compact(&mut self) {
        let mut whole = String::with_capacity(self.text_len());
        for text in self.texts_mut() {
            whole.push_str(text);
        }
        let whole: Arc<str> = whole.into();
        let mut rest = &*whole;
        for text in self.texts_mut() {
            let part;
            (part, rest) = rest.split_at(text.len());
            *text = Text::part(&whole, part);
        }
        let sections = self.media.iter_mut().map(|media| &mut media.section);
        for section in sections.chain([&mut self.session]) {
            section.lines.shrink_to_fit();
        }
        self.media.shrink_to_fit();
    }

    fn texts_mut(&mut self) -> impl Iterator<Item = &mut Text> {
        let lines = self.session.lines.iter_mut();
        let media = self.media.iter_mut().flat_map(|media| {
            let lines = media.section.lines.iter_mut();
            std::iter::once(&mut media.line.text).chain(lines.map(|line| &mut line.value))
        });
        lines.map(|line| &mut line.value).chain(media)
    }

    /// The length of the text in bytes.
    pub fn text_len(&self) -> usize {
        let lines = |section: &Section| -> usize {
            section
                .lines
                .iter()
                .map(|line| line.ending.as_str().len() + if line.letter == 0 { 0 } else { 2 + line.value.len() })
                .sum()
        };
        lines(&self.session)
            + self
                .media
                .iter()
                .map(|media| 2 + media.line.text.len() + media.line.ending.as_str().len() + lines(&media.section))
                .sum::<usize>()
    }

    /// The text, in one allocation.
    pub fn to_text(&self) -> String {
        let mut out = String::with_capacity(self.text_len());
        // Writing to a String cannot fail.
        let _ = self.write(&mut out);
        out
    }

    fn write(&self, out: &mut impl fmt::Write) -> fmt::Result {
        for line in &self.session.lines {
            line.write(out)?;
        }
        for media in &self.media {
            out.write_str("m=")?;
            out.write_str(&media.line.text)?;
            out.write_str(media.line.ending.as_str())?;
            for line in &media.section.lines {
                line.write(out)?;
            }
        }
        Ok(())
    }
}

impl fmt::Display for SessionDescription {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f)
    }
}

/// The `o=` line (RFC 8866 §5.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Origin<'a> {
    /// The user name, or `-`.
    pub username: &'a str,
    /// The session id: decimal digits, as many as it pleases who made it (RFC 8866 §9); the same for the life of a session.
    pub session_id: &'a str,
    /// The session version: decimal digits; one more for each changed description (RFC 3264 §8).
    pub session_version: &'a str,
    /// The network: `IN` for the Internet.
    pub network_type: &'a str,
    /// `IP4` or `IP6`.
    pub address_type: &'a str,
    /// An address; WebRTC says nothing true here.
    pub address: &'a str,
}

impl Origin<'_> {
    /// The session version as a number, if it fits one.
    pub fn version(&self) -> Option<u64> {
        self.session_version.parse().ok()
    }
}

impl<'a> Origin<'a> {
    pub(crate) fn parse(text: &'a str) -> Option<Self> {
        let (username, _, session_id, _, session_version, _, network_type, _, address_type, _, address) = whole(
            (
                word, space1, digit1, space1, digit1, space1, word, space1, word, space1, word,
            ),
            text.trim_end(),
        )?;
        Some(Self {
            username,
            session_id,
            session_version,
            network_type,
            address_type,
            address,
        })
    }
}

impl fmt::Display for Origin<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{} {} {} {} {} {}",
            self.username, self.session_id, self.session_version, self.network_type, self.address_type, self.address
        )
    }
}

/// The `m=` line (RFC 8866 §5.14).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaLine {
    pub(crate) text: Text,
    pub(crate) ending: Ending,
    pub(crate) media: Range<u32>,
    pub(crate) port: u16,
    pub(crate) port_text: Range<u32>,
    pub(crate) protocol: Range<u32>,
    pub(crate) formats: Range<u32>,
}

impl MediaLine {
    /// A line to be written. A media or protocol that is empty, or has spaces, makes a line that cannot be read back.
    pub fn new<'a>(media: &str, port: u16, protocol: &str, formats: impl IntoIterator<Item = &'a str>) -> Self {
        let mut text = format!("{media} {port} {protocol}");
        let protocol_end = text.len() as u32;
        let protocol_start = protocol_end - protocol.len() as u32;
        for format in formats {
            text.push(' ');
            text.push_str(format);
        }
        let formats = (protocol_end + 1).min(text.len() as u32)..text.len() as u32;
        let media_end = media.len() as u32;
        Self {
            ending: Ending::CrLf,
            media: 0..media_end,
            port,
            port_text: media_end + 1..protocol_start - 1,
            protocol: protocol_start..protocol_end,
            formats,
            text: text.into(),
        }
    }

    fn slice(&self, range: &Range<u32>) -> &str {
        self.text
            .get(range.start as usize..range.end as usize)
            .unwrap_or_default()
    }

    /// Everything after `m=`.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// `audio`, `video`, `application`, ...
    pub fn media(&self) -> &str {
        self.slice(&self.media)
    }

    /// The port; 0 means rejected, or bundle-only (RFC 3264 §6, RFC 9143 §6).
    pub fn port(&self) -> u16 {
        self.port
    }

    /// `UDP/TLS/RTP/SAVPF`, `UDP/DTLS/SCTP`, ...
    pub fn protocol(&self) -> &str {
        self.slice(&self.protocol)
    }

    /// The formats as they stand: payload types for RTP, `webrtc-datachannel` for data.
    pub fn formats(&self) -> impl Iterator<Item = &str> {
        self.slice(&self.formats).split_ascii_whitespace()
    }

    /// The formats that are RTP payload types (0 to 127); others are passed over.
    pub fn payload_types(&self) -> impl Iterator<Item = u8> {
        self.formats().filter_map(grammar::payload_type)
    }

    /// Writes another port.
    pub fn set_port(&mut self, port: u16) {
        let (start, end) = (self.port_text.start as usize, self.port_text.end as usize);
        let mut text = String::with_capacity(self.text.len() + 5);
        text.push_str(&self.text[..start]);
        let _ = write!(text, "{port}");
        let new_end = text.len();
        text.push_str(&self.text[end..]);
        let shift = |at: u32| at - end as u32 + new_end as u32;
        self.port = port;
        self.port_text.end = new_end as u32;
        self.protocol = shift(self.protocol.start)..shift(self.protocol.end);
        self.formats = shift(self.formats.start)..shift(self.formats.end);
        self.text = text.into();
    }
}

/// One media description: the `m=` line and the lines below it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaDescription {
    /// The `m=` line.
    pub line: MediaLine,
    /// The lines below it.
    pub section: Section,
}

impl MediaDescription {
    /// A media description with no lines below the `m=` line yet.
    pub fn new(line: MediaLine) -> Self {
        Self {
            line,
            section: Section::new(),
        }
    }

    /// Whether the section is refused: port 0 without `a=bundle-only` (RFC 3264 §6, RFC 9143 §6).
    pub fn is_rejected(&self) -> bool {
        self.line.port() == 0 && !self.section.bundle_only()
    }

    /// The `a=rtpmap` of a payload type.
    pub fn rtpmap(&self, payload_type: u8) -> Option<RtpMap<'_>> {
        self.section.rtpmaps().find(|map| map.payload_type == payload_type)
    }

    /// The first `a=fmtp` of a payload type.
    pub fn fmtp(&self, payload_type: u8) -> Option<Fmtp<'_>> {
        self.section.fmtps().find(|fmtp| fmtp.payload_type == payload_type)
    }
}
