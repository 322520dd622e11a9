//! The grammar of RFC 8866 §9, with the leniency that a peer's text needs.

use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use nom::bytes::complete::{take_till1, take_while1};
use nom::character::complete::{char, digit1, space1};
use nom::combinator::{all_consuming, map_res, opt, rest};
use nom::sequence::{preceded, separated_pair, terminated};
use nom::{IResult, Parser};

use crate::description::{MAX_LENGTH, MediaDescription, MediaLine, Origin, SessionDescription};
use crate::error::{ErrorKind, ParseError};
use crate::section::{Bandwidth, Connection, Ending, Line, Section};
use crate::text::Text;

/// A run without spaces.
pub(crate) fn word(input: &str) -> IResult<&str, &str> {
    take_till1(|c: char| c == ' ' || c == '\t').parse(input)
}

/// A decimal number that fits `T`. Neither sign nor blank is allowed, unlike `T::from_str`.
pub(crate) fn decimal<T: FromStr>(input: &str) -> IResult<&str, T> {
    map_res(digit1, str::parse).parse(input)
}

/// The whole of `text`, or nothing.
pub(crate) fn whole<'a, T>(
    parser: impl Parser<&'a str, Output = T, Error = nom::error::Error<&'a str>>,
    text: &'a str,
) -> Option<T> {
    all_consuming(parser).parse(text).ok().map(|(_, value)| value)
}

/// A whole text that is a decimal number; blanks around it are forgiven.
pub(crate) fn number<T: FromStr>(text: &str) -> Option<T> {
    whole(decimal, text.trim_matches(BLANKS))
}

/// An RTP payload type: seven bits on the wire (RFC 3550 §5.1).
pub(crate) fn payload_type(text: &str) -> Option<u8> {
    number::<u8>(text).filter(|&value| value < 128)
}

/// The characters of a token (RFC 8866 §9).
pub(crate) fn is_token_char(c: char) -> bool {
    matches!(c, '!' | '#'..='\'' | '*' | '+' | '-' | '.' | '0'..='9' | 'A'..='Z' | '^'..='~')
}

/// A token (RFC 8866 §9).
pub(crate) fn token(input: &str) -> IResult<&str, &str> {
    take_while1(is_token_char).parse(input)
}

/// The blanks of the grammar, which are forgiven at the ends of lines and of values: many a device writes them.
pub(crate) const BLANKS: [char; 2] = [' ', '\t'];

/// `name` or `name:value`, without blanks at the end.
pub(crate) fn split_attribute(text: &str) -> (&str, Option<&str>) {
    match text.trim_end_matches(BLANKS).split_once(':') {
        Some((name, value)) => (name, Some(value)),
        None => (text.trim_end_matches(BLANKS), None),
    }
}

pub(crate) fn origin(text: &str) -> Option<Origin<'_>> {
    let (username, _, session_id, _, session_version, _, network_type, _, address_type, _, address) = whole(
        (
            word, space1, digit1, space1, digit1, space1, word, space1, word, space1, word,
        ),
        text.trim_end(),
    )?;
    Some(Origin {
        username,
        session_id,
        session_version,
        network_type,
        address_type,
        address,
    })
}

pub(crate) fn connection(text: &str) -> Option<Connection<'_>> {
    let (network_type, _, address_type, _, address) = whole((word, space1, word, space1, word), text.trim_end())?;
    Some(Connection {
        network_type,
        address_type,
        address,
    })
}

pub(crate) fn bandwidth(text: &str) -> Option<Bandwidth<'_>> {
    let (kind, value) = whole(separated_pair(token, char(':'), decimal), text.trim_end())?;
    Some(Bandwidth { kind, value })
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

pub(crate) fn description(text: &str) -> Result<SessionDescription, ParseError> {
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
