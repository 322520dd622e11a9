use crate::error::Error;

/// The fixed part of an RTP header, in bytes (RFC 3550 §5.1).
pub(crate) const RTP_FIXED_LEN: usize = 12;
/// What SRTCP leaves in the clear: the first header word and the sender's SSRC (RFC 3711 §3.4).
pub(crate) const RTCP_CLEAR_LEN: usize = 8;

/// What SRTP needs of an RTP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct RtpHeader {
    /// Fixed part, CSRC list and header extension together: all that stays in the clear.
    pub(crate) len: usize,
    pub(crate) sequence: u16,
    pub(crate) ssrc: u32,
}

impl RtpHeader {
    ///```text
    ///  0                   1                   2                   3
    ///  0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1 2 3 4 5 6 7 8 9 0 1
    /// |V=2|P|X|  CC   |M|     PT      |       sequence number         |
    /// |                           timestamp                           |
    /// |                             SSRC                              |
    /// |                     CSRC, CC times                            |
    /// |  defined by profile           |  extension length, in words   | if X
    ///```
    #[inline]
    pub(crate) fn parse(packet: &[u8]) -> Result<Self, Error> {
        let fixed: &[u8; RTP_FIXED_LEN] = packet.first_chunk().ok_or(Error::Malformed)?;
        if fixed[0] >> 6 != 2 {
            return Err(Error::Malformed);
        }
        let mut len = RTP_FIXED_LEN + 4 * usize::from(fixed[0] & 0x0f);
        if fixed[0] & 0x10 != 0 {
            let words: &[u8; 2] = packet
                .get(len + 2..)
                .and_then(<[u8]>::first_chunk)
                .ok_or(Error::Malformed)?;
            len += 4 + 4 * usize::from(u16::from_be_bytes(*words));
        }
        if packet.len() < len {
            return Err(Error::Malformed);
        }
        Ok(Self {
            len,
            sequence: u16::from_be_bytes([fixed[2], fixed[3]]),
            ssrc: u32::from_be_bytes([fixed[8], fixed[9], fixed[10], fixed[11]]),
        })
    }
}

/// Whether a packet that has been parsed has a header extension.
#[inline]
pub(crate) fn has_extension(packet: &[u8]) -> bool {
    packet[0] & 0x10 != 0
}

/// Where its CSRCs end.
#[inline]
pub(crate) fn csrcs_end(packet: &[u8]) -> usize {
    RTP_FIXED_LEN + 4 * usize::from(packet[0] & 0x0f)
}

/// The sender's SSRC of a compound RTCP packet.
#[inline]
pub(crate) fn rtcp_ssrc(packet: &[u8]) -> Result<u32, Error> {
    let clear: &[u8; RTCP_CLEAR_LEN] = packet.first_chunk().ok_or(Error::Malformed)?;
    if clear[0] >> 6 != 2 {
        return Err(Error::Malformed);
    }
    Ok(u32::from_be_bytes([clear[4], clear[5], clear[6], clear[7]]))
}
