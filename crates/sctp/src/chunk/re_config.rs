//! RE-CONFIG: resets of streams, and more streams (RFC 6525 §3.1).

use antiphon_sansio::{Reader, Serial32};

use super::parameter::{Parameters, kind, put_parameter};
use crate::error::ParseError;
use crate::packet::{Put, put_chunk};

/// RE-CONFIG: one or two requests or responses (RFC 6525 §3.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReConfig<'a> {
    parameters: Parameters<'a>,
}

/// A list of stream ids; an empty one means all streams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StreamIds<'a>(&'a [u8]);

impl<'a> StreamIds<'a> {
    /// The ids.
    pub fn iter(&self) -> impl Iterator<Item = u16> + 'a {
        self.0.as_chunks::<2>().0.iter().map(|id| u16::from_be_bytes(*id))
    }

    /// Whether no id is listed.
    pub fn is_empty(&self) -> bool {
        self.0.len() < 2
    }
}

/// The outcome of a request (RFC 6525 §4.4).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(missing_docs)]
pub enum ResetResult {
    NothingToDo,
    Performed,
    Denied,
    WrongSsn,
    AlreadyInProgress,
    BadSequenceNumber,
    InProgress,
    Other(u32),
}

impl ResetResult {
    /// The value on the wire.
    pub fn code(self) -> u32 {
        match self {
            Self::NothingToDo => 0,
            Self::Performed => 1,
            Self::Denied => 2,
            Self::WrongSsn => 3,
            Self::AlreadyInProgress => 4,
            Self::BadSequenceNumber => 5,
            Self::InProgress => 6,
            Self::Other(code) => code,
        }
    }
}

impl From<u32> for ResetResult {
    fn from(code: u32) -> Self {
        match code {
            0 => Self::NothingToDo,
            1 => Self::Performed,
            2 => Self::Denied,
            3 => Self::WrongSsn,
            4 => Self::AlreadyInProgress,
            5 => Self::BadSequenceNumber,
            6 => Self::InProgress,
            code => Self::Other(code),
        }
    }
}

/// A request or response in a RE-CONFIG chunk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reset<'a> {
    /// The sender resets its outgoing streams (RFC 6525 §4.1).
    Outgoing {
        /// The request sequence number, which counts the requests of the sender.
        request: Serial32,
        /// The newest request of the other end.
        response: Serial32,
        /// The last TSN that the streams used.
        last_tsn: Serial32,
        /// The streams that are meant; an empty list means all.
        streams: StreamIds<'a>,
    },
    /// The sender asks the receiver to reset its outgoing streams (RFC 6525 §4.2).
    Incoming {
        /// The request sequence number, which counts the requests of the sender.
        request: Serial32,
        /// The streams that are meant; an empty list means all.
        streams: StreamIds<'a>,
    },
    /// Answers a request (RFC 6525 §4.4).
    Response {
        /// The request that is answered.
        response: Serial32,
        /// How the request ended.
        result: ResetResult,
    },
    /// The sender wants to send on more streams (RFC 6525 §4.5), or asks the receiver to do so (RFC 6525 §4.6).
    AddStreams {
        /// The request sequence number, which counts the requests of the sender.
        request: Serial32,
        /// How many more.
        count: u16,
        /// Those of the sender.
        outgoing: bool,
    },
    /// Another request (SSN/TSN reset) that is answered by a denial.
    Unsupported {
        /// The parameter's type.
        kind: u16,
        /// The request sequence number, which counts the requests of the sender.
        request: Serial32,
    },
}

impl<'a> ReConfig<'a> {
    pub(super) fn new(value: &'a [u8]) -> Self {
        Self {
            parameters: Parameters::new(value),
        }
    }

    /// The parameters' bytes.
    pub fn as_bytes(&self) -> &'a [u8] {
        self.parameters.as_bytes()
    }

    /// What the chunk holds; unknown parameters are left out.
    pub fn resets(&self) -> impl Iterator<Item = Result<Reset<'a>, ParseError>> + 'a {
        self.parameters.clone().filter_map(|parameter| match parameter {
            Ok(parameter) => Reset::parse(parameter.kind, parameter.value).transpose(),
            Err(error) => Some(Err(error)),
        })
    }
}

impl<'a> Reset<'a> {
    fn parse(parameter: u16, value: &'a [u8]) -> Result<Option<Self>, ParseError> {
        let mut reader = Reader::new(value);
        Ok(Some(match parameter {
            kind::OUTGOING_RESET => Self::Outgoing {
                request: Serial32::new(reader.u32()?),
                response: Serial32::new(reader.u32()?),
                last_tsn: Serial32::new(reader.u32()?),
                streams: StreamIds(reader.rest()),
            },
            kind::INCOMING_RESET => Self::Incoming {
                request: Serial32::new(reader.u32()?),
                streams: StreamIds(reader.rest()),
            },
            kind::RE_CONFIG_RESPONSE => Self::Response {
                response: Serial32::new(reader.u32()?),
                result: reader.u32()?.into(),
            },
            kind::ADD_OUTGOING_STREAMS | kind::ADD_INCOMING_STREAMS => Self::AddStreams {
                request: Serial32::new(reader.u32()?),
                count: reader.u16()?,
                outgoing: parameter == kind::ADD_OUTGOING_STREAMS,
            },
            kind::SSN_TSN_RESET => Self::Unsupported {
                kind: parameter,
                request: Serial32::new(reader.u32()?),
            },
            _ => return Ok(None),
        }))
    }
}

/// Appends a RE-CONFIG chunk with an outgoing reset request.
pub(crate) fn put_outgoing_reset(
    out: &mut impl Put,
    request: Serial32,
    response: Serial32,
    last_tsn: Serial32,
    streams: impl Iterator<Item = u16>,
) {
    let ids: Vec<u8> = streams.flat_map(u16::to_be_bytes).collect();
    let mut value = Vec::with_capacity(20 + ids.len());
    let fixed = [request, response, last_tsn].map(|number| number.get().to_be_bytes());
    put_parameter(&mut value, kind::OUTGOING_RESET, &[fixed.as_flattened(), &ids]);
    // The chunk's length does not count the last parameter's padding (RFC 9260 §3.2).
    value.truncate(16 + ids.len());
    put_chunk(out, super::kind::RE_CONFIG, 0, &[&value]);
}

/// Appends a RE-CONFIG chunk that asks for more streams.
pub(crate) fn put_add_streams(out: &mut impl Put, request: Serial32, count: u16, outgoing: bool) {
    let parameter = if outgoing {
        kind::ADD_OUTGOING_STREAMS
    } else {
        kind::ADD_INCOMING_STREAMS
    };
    let mut value = Vec::with_capacity(12);
    let pieces: [&[u8]; 3] = [&request.get().to_be_bytes(), &count.to_be_bytes(), &[0; 2]];
    put_parameter(&mut value, parameter, &pieces);
    put_chunk(out, super::kind::RE_CONFIG, 0, &[&value]);
}

/// Appends a RE-CONFIG chunk with a response.
pub(crate) fn put_response(out: &mut impl Put, response: Serial32, result: ResetResult) {
    let mut value = Vec::with_capacity(12);
    put_parameter(
        &mut value,
        kind::RE_CONFIG_RESPONSE,
        &[&response.get().to_be_bytes(), &result.code().to_be_bytes()],
    );
    put_chunk(out, super::kind::RE_CONFIG, 0, &[&value]);
}
