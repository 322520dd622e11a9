//! Reading a whole description, line by line (RFC 8866 §9).

use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use nom::Parser;
use nom::character::complete::{char, digit1, space1};
use nom::combinator::{opt, rest};
use nom::sequence::{preceded, terminated};

use crate::description::{MAX_LENGTH, MediaDescription, MediaLine, SessionDescription};
use crate::error::{ErrorKind, ParseError};
use crate::grammar::word;
use crate::section::{Ending, Line, Section};
use crate::text::Text;

impl SessionDescription {
    /// Reads a description in time linear in its length.
    ///
    /// # Errors
    /// [`ParseError`] when the text is not SDP at all. Attributes are judged when they are asked for, not here.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        description(text)
    }

    /// Like [`Self::parse`], from bytes that should be UTF-8.
    ///
    /// # Errors
    /// As [`Self::parse`], and [`ErrorKind::NotText`].
    pub fn parse_bytes(bytes: &[u8]) -> Result<Self, ParseError> {
        let text = std::str::from_utf8(bytes).map_err(|_| ParseError {
            line: 0,
            kind: ErrorKind::NotText,
        })?;
        Self::parse(text)
    }
}

impl FromStr for SessionDescription {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text)
    }
}

fn media_line(whole: &Arc<str>, text: &str, ending: Ending) -> Option<MediaLine> {
    let span = |part: &str| -> Range<u32> {
        // `part` is a slice of `text`; its place is the difference of the two addresses.
        let start = part.as_ptr() as usize - text.as_ptr() as usize;
        start as u32..(start + part.len()) as u32
    };
    let port_and_count = terminated(
        digit1::<&str, nom::error::Error<&str>>,
        opt(preceded(char('/'), digit1)),
    );
    let (media, _, port_text, _, protocol, formats) =
        (word, space1, port_and_count, space1, word, rest).parse(text).ok()?.1;
    let port = port_text.parse().ok()?;
    let formats = formats.trim_start_matches([' ', '\t']);
    formats.split_ascii_whitespace().next()?;
    Some(MediaLine {
        media: span(media),
        port,
        port_text: span(port_text),
        protocol: span(protocol),
        formats: span(formats),
        text: Text::part(whole, text),
        ending,
    })
}

/// One line's parts: type letter, value, ending.
fn split_line(input: &str) -> (&str, Ending, &str) {
    match input.split_once('\n') {
        Some((line, next)) => match line.strip_suffix('\r') {
            Some(line) => (line, Ending::CrLf, next),
            None => (line, Ending::Lf, next),
        },
        None => (input, Ending::None, ""),
    }
}

fn description(text: &str) -> Result<SessionDescription, ParseError> {
    if text.len() > MAX_LENGTH {
        return Err(ParseError {
            line: 0,
            kind: ErrorKind::TooLong,
        });
    }
    let has_nul = text.as_bytes().contains(&0);
    let mut session = Section {
        lines: Vec::with_capacity(12),
    };
    let mut media: Vec<MediaDescription> = Vec::new();
    let whole: Arc<str> = text.into();
    let mut input = &*whole;
    let mut number = 0;
    while !input.is_empty() {
        number += 1;
        let fail = |kind| ParseError { line: number, kind };
        let (line, ending, next) = split_line(input);
        let current = media.last_mut().map_or(&mut session, |media| &mut media.section);
        if line.is_empty() {
            // Blank lines after the description are a habit of text boxes and shells; between lines they are an error.
            if number < 4 || !next.trim_matches(['\r', '\n']).is_empty() {
                return Err(fail(ErrorKind::Line));
            }
            current.lines.push(Line {
                letter: 0,
                ending,
                value: Text::part(&whole, line),
            });
            input = next;
            continue;
        }
        let (letter, value) = match line.as_bytes() {
            [letter, b'=', ..] if letter.is_ascii_alphabetic() => (*letter, &line[2..]),
            _ => return Err(fail(ErrorKind::Line)),
        };
        if value.as_bytes().contains(&b'\r') || (has_nul && value.as_bytes().contains(&0)) {
            return Err(fail(ErrorKind::Line));
        }
        match number {
            1 if (letter, value.trim_end()) != (b'v', "0") => return Err(fail(ErrorKind::Version)),
            // What stands in these two is of use to nobody here: an odd value refuses nothing. RFC 8866 §5.3 forbids an empty
            // name, and browsers read it.
            2 if letter != b'o' => return Err(fail(ErrorKind::Origin)),
            3 if letter != b's' => return Err(fail(ErrorKind::SessionName)),
            _ => {}
        }
        if letter == b'm' && number > 3 {
            media.push(MediaDescription {
                line: media_line(&whole, value, ending).ok_or_else(|| fail(ErrorKind::Media))?,
                section: Section {
                    lines: Vec::with_capacity(32),
                },
            });
        } else {
            current.lines.push(Line {
                letter,
                ending,
                value: Text::part(&whole, value),
            });
        }
        input = next;
    }
    let missing = match number {
        0 => Some(ErrorKind::Version),
        1 => Some(ErrorKind::Origin),
        2 => Some(ErrorKind::SessionName),
        _ => None,
    };
    match missing {
        Some(kind) => Err(ParseError { line: number + 1, kind }),
        None => Ok(SessionDescription { session, media }),
    }
}
