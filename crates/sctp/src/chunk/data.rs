use antiphon_sansio::{Reader, Serial16, Serial32};

use super::{Put, kind, padded, put_padding};
use crate::packet::ParseError;

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
    /// The flag bits, see the constants.
    pub flags: u8,
    /// Transmission sequence number.
    pub tsn: Serial32,
    /// Stream.
    pub stream: u16,
    /// Stream sequence number; no meaning if unordered.
    pub ssn: Serial16,
    /// Payload protocol identifier.
    pub ppid: u32,
    /// The bytes.
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
    pub(super) fn parse(flags: u8, value: &'a [u8]) -> Result<Self, ParseError> {
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

    /// Bytes of the chunk with `payload` bytes of user data, padding included.
    #[inline]
    pub const fn wire_len(payload: usize) -> usize {
        padded(Self::HEADER_LEN + payload)
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
