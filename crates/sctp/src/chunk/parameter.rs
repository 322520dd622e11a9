//! Parameters and error causes (RFC 9260 §3.2.1, §3.3.10).

use antiphon_sansio::Reader;

use crate::error::ParseError;
use crate::packet::{Put, padded, put_padding};

/// Parameter types.
pub mod kind {
    #![allow(missing_docs)]
    pub const HEARTBEAT_INFO: u16 = 1;
    pub const STATE_COOKIE: u16 = 7;
    pub const UNRECOGNIZED: u16 = 8;
    pub const OUTGOING_RESET: u16 = 13;
    pub const INCOMING_RESET: u16 = 14;
    pub const SSN_TSN_RESET: u16 = 15;
    pub const RE_CONFIG_RESPONSE: u16 = 16;
    pub const ADD_OUTGOING_STREAMS: u16 = 17;
    pub const ADD_INCOMING_STREAMS: u16 = 18;
    pub const ECN_CAPABLE: u16 = 0x8000;
    pub const ZERO_CHECKSUM: u16 = 0x8001;
    pub const SUPPORTED_EXTENSIONS: u16 = 0x8008;
    pub const FORWARD_TSN_SUPPORTED: u16 = 0xc000;
}

/// A parameter or an error cause: both are type, length, value (RFC 9260 §3.2.1, §3.3.10).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Parameter<'a> {
    /// Type, or cause code.
    pub kind: u16,
    /// Value, without padding.
    pub value: &'a [u8],
}

/// A run of parameters, borrowed. Iterating ends after the first malformed one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Parameters<'a> {
    rest: &'a [u8],
}

impl<'a> Parameters<'a> {
    /// Reads from these bytes.
    pub fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// The bytes not yet iterated over.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Parameters<'a> {
    type Item = Result<Parameter<'a>, ParseError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let input = std::mem::take(&mut self.rest);
        let mut reader = Reader::new(input);
        let (Ok(kind), Ok(len)) = (reader.u16(), reader.u16()) else {
            return Some(Err(ParseError::Short));
        };
        let len = usize::from(len);
        let Some(value) = input.get(4..len) else {
            return Some(Err(ParseError::Length));
        };
        self.rest = input.get(padded(len)..).unwrap_or_default();
        Some(Ok(Parameter { kind, value }))
    }
}

/// Appends a parameter, padding included.
pub fn put_parameter(out: &mut impl Put, kind: u16, pieces: &[&[u8]]) {
    let len = 4 + pieces.iter().map(|piece| piece.len()).sum::<usize>();
    out.put(&kind.to_be_bytes());
    out.put(&(len as u16).to_be_bytes());
    pieces.iter().for_each(|piece| out.put(piece));
    put_padding(out, len);
}
