//! Every chunk of the protocol: borrowed parsers and writers (RFC 9260 §3.3, RFC 3758, RFC 6525, RFC 8260).
//!
//! ```text
//! |   type (8)   |   flags (8)   |   length (16), header included   |
//! |   value ...                        | padding to 4, not counted  |
//! ```

mod data;
mod ecn;
mod forward_tsn;
mod i_data;
mod i_forward_tsn;
mod init;
mod parameter;
mod re_config;
mod sack;
#[cfg(test)]
mod tests;

use antiphon_sansio::{Reader, Serial32, TransmitBuf};

pub use data::Data;
pub(crate) use ecn::{put_cwr, put_ecne};
pub use forward_tsn::{ForwardTsn, SkippedStream, write_forward_tsn};
pub use i_data::InterleavedData;
pub use i_forward_tsn::{InterleavedForwardTsn, SkippedMessage, write_i_forward_tsn};
pub use init::{Capabilities, Init};
pub use parameter::{Parameter, Parameters, kind as parameter_kind, put_parameter};
pub use re_config::{ReConfig, Reset, ResetResult, StreamIds};
pub(crate) use re_config::{put_add_streams, put_outgoing_reset, put_response};
pub use sack::{GapBlock, Sack, write_sack};

use crate::packet::ParseError;

/// Chunk types.
pub mod kind {
    #![allow(missing_docs)]
    pub const DATA: u8 = 0;
    pub const INIT: u8 = 1;
    pub const INIT_ACK: u8 = 2;
    pub const SACK: u8 = 3;
    pub const HEARTBEAT: u8 = 4;
    pub const HEARTBEAT_ACK: u8 = 5;
    pub const ABORT: u8 = 6;
    pub const SHUTDOWN: u8 = 7;
    pub const SHUTDOWN_ACK: u8 = 8;
    pub const ERROR: u8 = 9;
    pub const COOKIE_ECHO: u8 = 10;
    pub const COOKIE_ACK: u8 = 11;
    pub const ECNE: u8 = 12;
    pub const CWR: u8 = 13;
    pub const SHUTDOWN_COMPLETE: u8 = 14;
    pub const I_DATA: u8 = 64;
    pub const RE_CONFIG: u8 = 130;
    pub const PAD: u8 = 132;
    pub const FORWARD_TSN: u8 = 192;
    pub const I_FORWARD_TSN: u8 = 194;
}

/// Error cause codes (RFC 9260 §3.3.10).
pub mod cause {
    #![allow(missing_docs)]
    pub const INVALID_STREAM: u16 = 1;
    pub const STALE_COOKIE: u16 = 3;
    pub const UNRECOGNIZED_CHUNK: u16 = 6;
    pub const NO_USER_DATA: u16 = 9;
    pub const USER_INITIATED_ABORT: u16 = 12;
    pub const PROTOCOL_VIOLATION: u16 = 13;
}

/// Somewhere to append bytes.
pub trait Put {
    /// Appends `bytes`.
    fn put(&mut self, bytes: &[u8]);
}

impl Put for Vec<u8> {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

impl Put for TransmitBuf {
    #[inline]
    fn put(&mut self, bytes: &[u8]) {
        self.put_slice(bytes);
    }
}

/// `len` rounded up to a multiple of four.
#[inline]
pub const fn padded(len: usize) -> usize {
    len.next_multiple_of(4)
}

#[inline]
fn put_padding(out: &mut impl Put, len: usize) {
    out.put(&[0; 3][..padded(len) - len]);
}

/// Appends a chunk whose value lies in pieces. The length field wraps if the chunk exceeds 65535 bytes: callers bound it.
#[inline]
pub(crate) fn put_chunk(out: &mut impl Put, kind: u8, flags: u8, pieces: &[&[u8]]) {
    let len = 4 + pieces.iter().map(|piece| piece.len()).sum::<usize>();
    let [high, low] = (len as u16).to_be_bytes();
    out.put(&[kind, flags, high, low]);
    pieces.iter().for_each(|piece| out.put(piece));
    put_padding(out, len);
}

/// A chunk, borrowed from the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chunk<'a> {
    /// User data.
    Data(Data<'a>),
    /// User data that may be interleaved (RFC 8260 §2.1).
    InterleavedData(InterleavedData<'a>),
    /// Begins an association.
    Init(Init<'a>),
    /// Answers INIT.
    InitAck(Init<'a>),
    /// Selective acknowledgement.
    Sack(Sack<'a>),
    /// Asks whether the peer is there. Holds the whole parameter area.
    Heartbeat(&'a [u8]),
    /// Answers HEARTBEAT with the same bytes.
    HeartbeatAck(&'a [u8]),
    /// Ends the association at once.
    Abort {
        /// The T bit: the packet carries the receiver's own view of the sender's tag.
        reflected_tag: bool,
        /// Error causes.
        causes: Parameters<'a>,
    },
    /// Begins an orderly end; acknowledges as well.
    Shutdown(Serial32),
    /// Answers SHUTDOWN.
    ShutdownAck,
    /// Reports an error that does not end the association.
    Error(Parameters<'a>),
    /// Returns the state cookie.
    CookieEcho(&'a [u8]),
    /// The association is up.
    CookieAck,
    /// The path has marked what was sent up to this TSN (RFC 9260 Appendix B).
    Ecne(Serial32),
    /// The sender has slowed down because of the mark of this TSN.
    Cwr(Serial32),
    /// Answers SHUTDOWN ACK.
    ShutdownComplete {
        /// The T bit.
        reflected_tag: bool,
    },
    /// Changes streams (RFC 6525 §3.1).
    ReConfig(ReConfig<'a>),
    /// Skips given-up messages (RFC 3758 §3.2).
    ForwardTsn(ForwardTsn<'a>),
    /// Skips given-up messages that may be interleaved (RFC 8260 §2.3.1).
    InterleavedForwardTsn(InterleavedForwardTsn<'a>),
    /// Filler (RFC 4820).
    Pad(&'a [u8]),
    /// Any other chunk. What to do with it is in the two high bits of the type (RFC 9260 §3.2).
    Unknown {
        /// Type.
        kind: u8,
        /// Flags.
        flags: u8,
        /// Value.
        value: &'a [u8],
    },
}

impl<'a> Chunk<'a> {
    /// Reads the chunk at the front of `input`; also says how many bytes it takes, padding included. The padding of a packet's
    /// last chunk may be missing.
    #[inline]
    pub fn parse(input: &'a [u8]) -> Result<(Self, usize), ParseError> {
        let mut reader = Reader::new(input);
        let (kind, flags, len) = (reader.u8()?, reader.u8()?, usize::from(reader.u16()?));
        let value = input.get(4..len).ok_or(ParseError::Length)?;
        Ok((Self::from_parts(kind, flags, value)?, padded(len)))
    }

    #[inline]
    fn from_parts(kind: u8, flags: u8, value: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(value);
        Ok(match kind {
            kind::DATA => Self::Data(Data::parse(flags, value)?),
            kind::SACK => Self::Sack(Sack::parse(value)?),
            kind::I_DATA => Self::InterleavedData(InterleavedData::parse(flags, value)?),
            kind::INIT => Self::Init(Init::parse(value)?),
            kind::INIT_ACK => Self::InitAck(Init::parse(value)?),
            kind::HEARTBEAT => Self::Heartbeat(value),
            kind::HEARTBEAT_ACK => Self::HeartbeatAck(value),
            kind::ABORT => Self::Abort {
                reflected_tag: flags & 1 != 0,
                causes: Parameters::new(value),
            },
            kind::SHUTDOWN => Self::Shutdown(Serial32::new(reader.u32()?)),
            kind::SHUTDOWN_ACK => Self::ShutdownAck,
            kind::ERROR => Self::Error(Parameters::new(value)),
            kind::COOKIE_ECHO => Self::CookieEcho(value),
            kind::COOKIE_ACK => Self::CookieAck,
            kind::ECNE => Self::Ecne(Serial32::new(reader.u32()?)),
            kind::CWR => Self::Cwr(Serial32::new(reader.u32()?)),
            kind::SHUTDOWN_COMPLETE => Self::ShutdownComplete {
                reflected_tag: flags & 1 != 0,
            },
            kind::RE_CONFIG => Self::ReConfig(ReConfig::new(value)),
            kind::FORWARD_TSN => Self::ForwardTsn(ForwardTsn::parse(value)?),
            kind::I_FORWARD_TSN => Self::InterleavedForwardTsn(InterleavedForwardTsn::parse(value)?),
            kind::PAD => Self::Pad(value),
            _ => Self::Unknown { kind, flags, value },
        })
    }

    /// Appends the chunk, padding included.
    pub fn write(&self, out: &mut impl Put) {
        match self {
            Self::Data(data) => data.write(out),
            Self::InterleavedData(data) => data.write(out),
            Self::Init(init) => init.write(out, kind::INIT),
            Self::InitAck(init) => init.write(out, kind::INIT_ACK),
            Self::Sack(sack) => sack.write(out),
            Self::Heartbeat(info) => put_chunk(out, kind::HEARTBEAT, 0, &[info]),
            Self::HeartbeatAck(info) => put_chunk(out, kind::HEARTBEAT_ACK, 0, &[info]),
            Self::Abort { reflected_tag, causes } => {
                put_chunk(out, kind::ABORT, u8::from(*reflected_tag), &[causes.as_bytes()]);
            }
            Self::Shutdown(tsn) => put_chunk(out, kind::SHUTDOWN, 0, &[&tsn.get().to_be_bytes()]),
            Self::ShutdownAck => put_chunk(out, kind::SHUTDOWN_ACK, 0, &[]),
            Self::Error(causes) => put_chunk(out, kind::ERROR, 0, &[causes.as_bytes()]),
            Self::CookieEcho(cookie) => put_chunk(out, kind::COOKIE_ECHO, 0, &[cookie]),
            Self::CookieAck => put_chunk(out, kind::COOKIE_ACK, 0, &[]),
            Self::Ecne(tsn) => put_ecne(out, *tsn),
            Self::Cwr(tsn) => put_cwr(out, *tsn),
            Self::ShutdownComplete { reflected_tag } => {
                put_chunk(out, kind::SHUTDOWN_COMPLETE, u8::from(*reflected_tag), &[]);
            }
            Self::ReConfig(re_config) => put_chunk(out, kind::RE_CONFIG, 0, &[re_config.as_bytes()]),
            Self::ForwardTsn(forward) => forward.write(out),
            Self::InterleavedForwardTsn(forward) => forward.write(out),
            Self::Pad(value) => put_chunk(out, kind::PAD, 0, &[value]),
            Self::Unknown { kind, flags, value } => put_chunk(out, *kind, *flags, &[value]),
        }
    }
}
