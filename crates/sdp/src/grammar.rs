//! The words and numbers of the grammar of RFC 8866 §9, with the leniency that a peer's text needs.

use std::str::FromStr;

use nom::bytes::complete::{take_till1, take_while1};
use nom::character::complete::digit1;
use nom::combinator::{all_consuming, map_res};
use nom::{IResult, Parser};

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
