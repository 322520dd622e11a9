//! Codecs of the handshake messages, and of the header that lets them be cut into fragments.

pub(crate) mod extensions;
pub(crate) mod flight;
pub(crate) mod hello;
pub(crate) mod messages;
pub(crate) mod messages13;
mod ranges;
pub(crate) mod reassembly;
pub(crate) mod transcript;

use antiphon_sansio::{Reader, Short};

/// Length of the header of a handshake message or fragment.
pub(crate) const HEADER_LEN: usize = 12;

/// The message cannot be decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DecodeError;

impl From<Short> for DecodeError {
    fn from(_: Short) -> Self {
        Self
    }
}

pub(crate) type Decoded<T> = Result<T, DecodeError>;

/// Fails unless everything was read.
pub(crate) fn end(reader: &Reader<'_>) -> Decoded<()> {
    if reader.is_empty() { Ok(()) } else { Err(DecodeError) }
}

/// Kind of a handshake message (RFC 8446 §4, RFC 6347 §4.3.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MessageType(pub(crate) u8);

impl MessageType {
    pub(crate) const HELLO_REQUEST: Self = Self(0);
    pub(crate) const CLIENT_HELLO: Self = Self(1);
    pub(crate) const SERVER_HELLO: Self = Self(2);
    pub(crate) const HELLO_VERIFY_REQUEST: Self = Self(3);
    pub(crate) const NEW_SESSION_TICKET: Self = Self(4);
    pub(crate) const ENCRYPTED_EXTENSIONS: Self = Self(8);
    pub(crate) const CERTIFICATE: Self = Self(11);
    pub(crate) const SERVER_KEY_EXCHANGE: Self = Self(12);
    pub(crate) const CERTIFICATE_REQUEST: Self = Self(13);
    pub(crate) const SERVER_HELLO_DONE: Self = Self(14);
    pub(crate) const CERTIFICATE_VERIFY: Self = Self(15);
    pub(crate) const CLIENT_KEY_EXCHANGE: Self = Self(16);
    pub(crate) const FINISHED: Self = Self(20);
    pub(crate) const KEY_UPDATE: Self = Self(24);
    /// Never sent: what stands in the transcript for a ClientHello that was answered by HelloRetryRequest.
    pub(crate) const MESSAGE_HASH: Self = Self(254);
}

/// The header of one fragment of a handshake message (RFC 6347 §4.2.2).
///
/// ```text
///  0          1          4             6                   9                   12
/// +----------+----------+-------------+-------------------+-------------------+------
/// | msg_type | length   | message_seq | fragment_offset   | fragment_length   | body
/// +----------+----------+-------------+-------------------+-------------------+------
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FragmentHeader {
    pub(crate) msg_type: MessageType,
    /// Length of the whole message.
    pub(crate) length: u32,
    pub(crate) message_seq: u16,
    pub(crate) offset: u32,
    pub(crate) fragment_length: u32,
}

impl FragmentHeader {
    /// The header of a message in one piece.
    pub(crate) fn whole(msg_type: MessageType, message_seq: u16, length: usize) -> Self {
        let length = length as u32;
        Self {
            msg_type,
            length,
            message_seq,
            offset: 0,
            fragment_length: length,
        }
    }

    /// Reads one fragment. Fails if it reaches past the end of its message.
    pub(crate) fn parse<'a>(reader: &mut Reader<'a>) -> Decoded<(Self, &'a [u8])> {
        let header = Self {
            msg_type: MessageType(reader.u8()?),
            length: reader.u24()?,
            message_seq: reader.u16()?,
            offset: reader.u24()?,
            fragment_length: reader.u24()?,
        };
        if header.offset + header.fragment_length > header.length {
            return Err(DecodeError);
        }
        Ok((header, reader.take(header.fragment_length as usize)?))
    }

    pub(crate) fn bytes(&self) -> [u8; HEADER_LEN] {
        let mut out = [0; HEADER_LEN];
        out[0] = self.msg_type.0;
        out[1..4].copy_from_slice(&self.length.to_be_bytes()[1..]);
        out[4..6].copy_from_slice(&self.message_seq.to_be_bytes());
        out[6..9].copy_from_slice(&self.offset.to_be_bytes()[1..]);
        out[9..12].copy_from_slice(&self.fragment_length.to_be_bytes()[1..]);
        out
    }
}

/// A whole handshake message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Message {
    pub(crate) msg_type: MessageType,
    pub(crate) message_seq: u16,
    /// The epoch in which every fragment of it arrived.
    pub(crate) epoch: u16,
    pub(crate) body: Vec<u8>,
}

pub(crate) fn put_u16(out: &mut Vec<u8>, value: u16) {
    out.extend_from_slice(&value.to_be_bytes());
}

/// Writes what `body` writes, preceded by its length in `N` bytes.
pub(crate) fn put_vec<const N: usize>(out: &mut Vec<u8>, body: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.resize(start + N, 0);
    body(out);
    let length = (out.len() - start - N) as u64;
    debug_assert!(length < 1 << (8 * N), "a vector outgrew its length field");
    out[start..start + N].copy_from_slice(&length.to_be_bytes()[8 - N..]);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn fragment_headers_round_trip(kind: u8, seq: u16, before in 0u32..1000, body: Vec<u8>, after in 0u32..1000) {
            let header = FragmentHeader {
                msg_type: MessageType(kind),
                length: before + body.len() as u32 + after,
                message_seq: seq,
                offset: before,
                fragment_length: body.len() as u32,
            };
            let mut bytes = header.bytes().to_vec();
            bytes.extend_from_slice(&body);
            let mut reader = Reader::new(&bytes);
            prop_assert_eq!(FragmentHeader::parse(&mut reader), Ok((header, &body[..])));
            prop_assert!(reader.is_empty());
        }

        #[test]
        fn any_bytes_are_survived(bytes: Vec<u8>) {
            let _ = FragmentHeader::parse(&mut Reader::new(&bytes));
        }
    }

    #[test]
    fn a_fragment_past_the_end_is_refused() {
        let header = FragmentHeader {
            msg_type: MessageType::FINISHED,
            length: 10,
            message_seq: 0,
            offset: 8,
            fragment_length: 3,
        };
        let mut bytes = header.bytes().to_vec();
        bytes.extend_from_slice(&[0; 3]);
        assert_eq!(FragmentHeader::parse(&mut Reader::new(&bytes)), Err(DecodeError));
    }
}
