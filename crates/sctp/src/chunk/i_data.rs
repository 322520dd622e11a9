use antiphon_sansio::{Reader, Serial32};

use super::{Put, kind, put_padding};
use crate::packet::ParseError;

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
    /// The flag bits, those of [`Data`](super::Data).
    pub flags: u8,
    /// Transmission sequence number.
    pub tsn: Serial32,
    /// Stream.
    pub stream: u16,
    /// Reserved bits, zero.
    pub reserved: u16,
    /// Message identifier.
    pub message_id: Serial32,
    /// The PPID in a first fragment, else the fragment sequence number.
    pub ppid_or_fsn: u32,
    /// The bytes.
    pub payload: &'a [u8],
}

impl<'a> InterleavedData<'a> {
    /// Bytes before the user data.
    pub const HEADER_LEN: usize = 20;

    #[inline]
    pub(super) fn parse(flags: u8, value: &'a [u8]) -> Result<Self, ParseError> {
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
