//! Every chunk of the protocol: borrowed parsers and writers (RFC 9260 §3.3, RFC 3758, RFC 6525, RFC 8260).
//!
//! ```text
//! |   type (8)   |   flags (8)   |   length (16), header included   |
//! |   value ...                        | padding to 4, not counted  |
//! ```

pub mod cause;
mod ecn;
mod forward_tsn;
mod i_forward_tsn;
mod init;
pub mod kind;
mod parameter;
mod re_config;
mod sack;
#[cfg(test)]
mod tests;

use antiphon_sansio::{Reader, Serial16, Serial32};
use bytes::Bytes;

pub(crate) use ecn::{put_cwr, put_ecne};
pub use forward_tsn::{ForwardTsn, SkippedStream, write_forward_tsn};
pub use i_forward_tsn::{InterleavedForwardTsn, SkippedMessage, write_i_forward_tsn};
pub use init::{Capabilities, Init};
pub use parameter::{Parameter, Parameters, kind as parameter_kind, put_parameter};
pub use re_config::{ReConfig, Reset, ResetResult, StreamIds};
pub(crate) use re_config::{put_add_streams, put_outgoing_reset, put_response};
pub use sack::{GapBlock, Sack, write_sack};

use crate::error::ParseError;
use crate::packet::{Packet, put_chunk, put_padding};
pub use crate::packet::{Put, padded};
use crate::tsn::Tsn;

/// Payloads below this are copied out, so that they do not pin the packet (or the whole batch) that they came in.
const COPY_BELOW: usize = 256;

/// A chunk, borrowed from the packet.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Chunk<'a> {
    /// DATA: a message of the application, or a fragment of one.
    Data(Data<'a>),
    /// I-DATA: the same, and fragments of different messages may alternate (RFC 8260 §2.1).
    InterleavedData(InterleavedData<'a>),
    /// INIT, which begins an association.
    Init(Init<'a>),
    /// INIT ACK, which answers INIT and brings the state cookie.
    InitAck(Init<'a>),
    /// SACK: which TSNs have arrived, and how many bytes more may come.
    Sack(Sack<'a>),
    /// Asks whether the peer is there. Holds the whole parameter area.
    Heartbeat(&'a [u8]),
    /// Answers HEARTBEAT with the same bytes.
    HeartbeatAck(&'a [u8]),
    /// Ends the association at once.
    Abort {
        /// The T bit: the packet carries the receiver's own view of the sender's tag.
        reflected_tag: bool,
        /// Why: error causes, mostly one.
        causes: Parameters<'a>,
    },
    /// Begins an orderly end; acknowledges as well.
    Shutdown(Serial32),
    /// SHUTDOWN ACK: the receiver of SHUTDOWN has nothing more to send either.
    ShutdownAck,
    /// Reports an error that does not end the association.
    Error(Parameters<'a>),
    /// COOKIE ECHO, which returns the state cookie.
    CookieEcho(&'a [u8]),
    /// COOKIE ACK: the association is up.
    CookieAck,
    /// The path has marked what was sent up to this TSN (RFC 9260 Appendix B).
    Ecne(Serial32),
    /// The sender has slowed down because of the mark of this TSN.
    Cwr(Serial32),
    /// Answers SHUTDOWN ACK.
    ShutdownComplete {
        /// The T bit, as with ABORT.
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
        /// The chunk type, none of those in [`kind`].
        kind: u8,
        /// The flag bits, whose meaning nobody here knows.
        flags: u8,
        /// What stands behind the chunk header, without padding.
        value: &'a [u8],
    },
}

impl<'a> Chunk<'a> {
    /// Reads the chunk at the front of `input`; also says how many bytes it takes, padding included. The padding of a
    /// packet's last chunk may be missing.
    ///
    /// # Errors
    /// [`ParseError::Short`] if the chunk or one of its fixed fields is cut short, [`ParseError::Length`] of a length
    /// that cannot be.
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

impl<'a> Packet<'a> {
    /// The chunks in order; ends after the first error.
    pub fn chunks(&self) -> Chunks<'a> {
        Chunks { rest: self.body() }
    }
}

/// An iterator over the chunks of a packet.
#[derive(Clone, Debug)]
pub struct Chunks<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for Chunks<'a> {
    type Item = Result<Chunk<'a>, ParseError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        match Chunk::parse(self.rest) {
            Ok((chunk, used)) => {
                self.rest = self.rest.get(used..).unwrap_or_default();
                Some(Ok(chunk))
            }
            Err(error) => {
                self.rest = &[];
                Some(Err(error))
            }
        }
    }
}

/// DATA (RFC 9260 §3.3.1).
///
/// ```text
/// |  0  | res |I|U|B|E|          length           |
/// |                     TSN                       |
/// |      stream id      |    stream sequence no   |
/// |         payload protocol identifier           |
/// |                user data ...                  |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Data<'a> {
    /// The flag bits: [`Self::BEGIN`], [`Self::END`], [`Self::UNORDERED`], [`Self::IMMEDIATE`].
    pub flags: u8,
    /// Transmission sequence number: counts the chunks of the sender.
    pub tsn: Serial32,
    /// The stream that carries the message.
    pub stream: u16,
    /// Stream sequence number: counts the ordered messages of the stream. Without meaning if unordered.
    pub ssn: Serial16,
    /// Payload protocol identifier: what the message is to the application (RFC 8831 §8).
    pub ppid: u32,
    /// The user data of this chunk, never empty in a valid one.
    pub payload: &'a [u8],
}

impl<'a> Data<'a> {
    /// E: the last fragment.
    pub const END: u8 = 1;
    /// B: the first fragment.
    pub const BEGIN: u8 = 2;
    /// U: unordered.
    pub const UNORDERED: u8 = 4;
    /// I: acknowledge at once (RFC 7053).
    pub const IMMEDIATE: u8 = 8;
    /// Bytes before the user data.
    pub const HEADER_LEN: usize = 16;

    #[inline]
    fn parse(flags: u8, value: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(value);
        Ok(Self {
            flags,
            tsn: Serial32::new(reader.u32()?),
            stream: reader.u16()?,
            ssn: Serial16::new(reader.u16()?),
            ppid: reader.u32()?,
            payload: reader.rest(),
        })
    }

    /// Appends the chunk.
    #[inline]
    pub fn write(&self, out: &mut impl Put) {
        let len = Self::HEADER_LEN + self.payload.len();
        let mut header = [0; Self::HEADER_LEN];
        header[0] = kind::DATA;
        header[1] = self.flags;
        header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        header[4..8].copy_from_slice(&self.tsn.get().to_be_bytes());
        header[8..10].copy_from_slice(&self.stream.to_be_bytes());
        header[10..12].copy_from_slice(&self.ssn.get().to_be_bytes());
        header[12..].copy_from_slice(&self.ppid.to_be_bytes());
        out.put(&header);
        out.put(self.payload);
        put_padding(out, len);
    }
}

/// I-DATA (RFC 8260 §2.1). Messages on different streams may alternate chunk by chunk.
///
/// ```text
/// |  64 | res |I|U|B|E|          length           |
/// |                     TSN                       |
/// |      stream id      |        reserved         |
/// |                  message id                   |
/// |   PPID if B is set, else fragment seq. no     |
/// |                user data ...                  |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InterleavedData<'a> {
    /// The flag bits, those of [`Data`].
    pub flags: u8,
    /// Transmission sequence number: counts the chunks of the sender.
    pub tsn: Serial32,
    /// The stream that carries the message.
    pub stream: u16,
    /// Reserved bits: zero from us, kept as they came.
    pub reserved: u16,
    /// Message identifier: counts the messages of the stream, ordered and unordered ones apart.
    pub message_id: Serial32,
    /// The PPID in a first fragment, else the fragment sequence number.
    pub ppid_or_fsn: u32,
    /// The user data of this chunk, never empty in a valid one.
    pub payload: &'a [u8],
}

impl<'a> InterleavedData<'a> {
    /// Bytes before the user data.
    pub const HEADER_LEN: usize = 20;

    #[inline]
    fn parse(flags: u8, value: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(value);
        Ok(Self {
            flags,
            tsn: Serial32::new(reader.u32()?),
            stream: reader.u16()?,
            reserved: reader.u16()?,
            message_id: Serial32::new(reader.u32()?),
            ppid_or_fsn: reader.u32()?,
            payload: reader.rest(),
        })
    }

    /// Appends the chunk.
    #[inline]
    pub fn write(&self, out: &mut impl Put) {
        let len = Self::HEADER_LEN + self.payload.len();
        let mut header = [0; Self::HEADER_LEN];
        header[0] = kind::I_DATA;
        header[1] = self.flags;
        header[2..4].copy_from_slice(&(len as u16).to_be_bytes());
        header[4..8].copy_from_slice(&self.tsn.get().to_be_bytes());
        header[8..10].copy_from_slice(&self.stream.to_be_bytes());
        header[10..12].copy_from_slice(&self.reserved.to_be_bytes());
        header[12..16].copy_from_slice(&self.message_id.get().to_be_bytes());
        header[16..].copy_from_slice(&self.ppid_or_fsn.to_be_bytes());
        out.put(&header);
        out.put(self.payload);
        put_padding(out, len);
    }
}

/// A DATA or I-DATA chunk on its way in, and the packet that the payload is cut from.
pub(crate) struct Fragment<'a> {
    pub(crate) wire_tsn: Serial32,
    /// Extended; filled in by the tracker's owner.
    pub(crate) tsn: Tsn,
    pub(crate) flags: u8,
    pub(crate) stream: u16,
    pub(crate) number: Number,
    /// Of I-DATA known with the first fragment only.
    pub(crate) ppid: u32,
    /// Of I-DATA: the fragment's place in its message.
    pub(crate) fsn: u32,
    pub(crate) payload: &'a [u8],
    packet: &'a Bytes,
}

/// A message's place in its stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    /// DATA's stream sequence number.
    Ssn(Serial16),
    /// I-DATA's message identifier.
    Mid(Serial32),
}

impl Number {
    /// How far it is ahead of the extended number `next`.
    #[inline]
    pub(crate) fn distance_from(self, next: u64) -> i64 {
        match self {
            Self::Ssn(ssn) => i64::from(ssn.distance_from(Serial16::new(next as u16))),
            Self::Mid(mid) => i64::from(mid.distance_from(Serial32::new(next as u32))),
        }
    }
}

impl<'a> Fragment<'a> {
    #[inline]
    pub(crate) fn of_data(data: &Data<'a>, packet: &'a Bytes) -> Self {
        Self {
            wire_tsn: data.tsn,
            tsn: Tsn::default(),
            flags: data.flags,
            stream: data.stream,
            number: Number::Ssn(data.ssn),
            ppid: data.ppid,
            fsn: 0,
            payload: data.payload,
            packet,
        }
    }

    #[inline]
    pub(crate) fn of_interleaved(data: &InterleavedData<'a>, packet: &'a Bytes) -> Self {
        // The first fragment carries the PPID where the others carry their number, which for it is 0.
        let first = data.flags & Data::BEGIN != 0;
        Self {
            wire_tsn: data.tsn,
            tsn: Tsn::default(),
            flags: data.flags,
            stream: data.stream,
            number: Number::Mid(data.message_id),
            ppid: if first { data.ppid_or_fsn } else { 0 },
            fsn: if first { 0 } else { data.ppid_or_fsn },
            payload: data.payload,
            packet,
        }
    }

    #[inline]
    pub(crate) fn bytes(&self) -> Bytes {
        if self.payload.len() < COPY_BELOW {
            Bytes::copy_from_slice(self.payload)
        } else {
            self.packet.slice_ref(self.payload)
        }
    }

    #[inline]
    pub(crate) fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }
}
