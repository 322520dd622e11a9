//! The packet: its common header, its checksum, and how bytes are put into it (RFC 9260 §3).

use antiphon_sansio::{Reader, TransmitBuf};

pub use crate::error::ParseError;

/// Bytes of the common header.
pub const HEADER_LEN: usize = 12;

/// A packet, borrowed.
///
/// ```text
/// |     source port (16)      |    destination port (16)   |
/// |                 verification tag (32)                  |
/// |                     checksum (32)                      |
/// |                       chunks ...                       |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet<'a> {
    /// The SCTP port that the sender has; `a=sctp-port` says it (RFC 8841 §5).
    pub source_port: u16,
    /// The SCTP port that the receiver has.
    pub destination_port: u16,
    /// The tag that the receiver chose; 0 with INIT.
    pub verification_tag: u32,
    whole: &'a [u8],
}

impl<'a> Packet<'a> {
    /// Reads the common header. Neither the checksum nor any chunk is looked at.
    ///
    /// # Errors
    /// [`ParseError::Short`] if the header is cut short.
    pub fn parse(packet: &'a [u8]) -> Result<Self, ParseError> {
        let mut reader = Reader::new(packet);
        let (source_port, destination_port) = (reader.u16()?, reader.u16()?);
        let verification_tag = reader.u32()?;
        reader.u32()?;
        Ok(Self {
            source_port,
            destination_port,
            verification_tag,
            whole: packet,
        })
    }

    /// Whether the CRC32c fits the bytes (RFC 9260 §6.8).
    pub fn checksum_is_correct(&self) -> bool {
        self.whole[8..12] == checksum(self.whole).to_le_bytes()
    }

    /// Whether there is no checksum (RFC 9653).
    #[inline]
    pub fn checksum_is_zero(&self) -> bool {
        self.whole[8..12] == [0; 4]
    }

    /// The type of the first chunk, if there is one.
    #[inline]
    pub fn first_chunk_kind(&self) -> Option<u8> {
        self.whole.get(HEADER_LEN).copied()
    }

    /// The bytes behind the common header.
    #[inline]
    pub(crate) fn body(&self) -> &'a [u8] {
        self.whole.get(HEADER_LEN..).unwrap_or_default()
    }
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
pub(crate) fn put_padding(out: &mut impl Put, len: usize) {
    out.put(&[0; 3][..padded(len) - len]);
}

/// Appends a chunk whose value lies in pieces. The length field wraps if the chunk exceeds 65535 bytes: callers bound
/// it.
#[inline]
pub(crate) fn put_chunk(out: &mut impl Put, kind: u8, flags: u8, pieces: &[&[u8]]) {
    let len = 4 + pieces.iter().map(|piece| piece.len()).sum::<usize>();
    let [high, low] = (len as u16).to_be_bytes();
    out.put(&[kind, flags, high, low]);
    pieces.iter().for_each(|piece| out.put(piece));
    put_padding(out, len);
}

/// The CRC32c of a packet, its checksum field taken as zero (RFC 9260 Appendix A). Sent least significant byte first.
///
/// # Panics
/// If `packet` is shorter than the common header.
#[inline]
pub fn checksum(packet: &[u8]) -> u32 {
    let mut header = [0; HEADER_LEN];
    header[..8].copy_from_slice(&packet[..8]);
    let mut digest = crc_fast::Digest::new(crc_fast::CrcAlgorithm::Crc32Iscsi);
    digest.update(&header);
    digest.update(&packet[HEADER_LEN..]);
    digest.finalize() as u32
}

/// The CRC32c of bytes as they are; iSCSI has it under its name (RFC 3720).
#[inline]
fn crc32c(bytes: &[u8]) -> u32 {
    crc_fast::crc32_iscsi(bytes)
}

/// Checks the checksum of a whole packet, and leaves zero in its place: one pass over the bytes, in place. A packet
/// that has none, as RFC 9653 allows, is left as it is; the caller decides.
#[inline]
pub(crate) fn take_checksum(packet: &mut [u8]) -> Checksum {
    let Some(field) = packet.get_mut(8..12) else {
        return Checksum::Wrong;
    };
    let stored = [field[0], field[1], field[2], field[3]];
    if stored == [0; 4] {
        return Checksum::Absent;
    }
    field.fill(0);
    if crc32c(packet).to_le_bytes() == stored {
        Checksum::Correct
    } else {
        Checksum::Wrong
    }
}

/// What became of a packet's checksum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Checksum {
    Correct,
    /// The field is zero.
    Absent,
    Wrong,
}

/// Appends a common header whose checksum is still zero; [`seal`] fills it in.
#[inline]
pub fn write_header(out: &mut impl Put, source_port: u16, destination_port: u16, verification_tag: u32) {
    let mut header = [0; HEADER_LEN];
    header[..2].copy_from_slice(&source_port.to_be_bytes());
    header[2..4].copy_from_slice(&destination_port.to_be_bytes());
    header[4..8].copy_from_slice(&verification_tag.to_be_bytes());
    out.put(&header);
}

/// Fills in the checksum of a whole packet.
///
/// # Panics
/// If `packet` is shorter than the common header.
#[inline]
pub fn seal(packet: &mut [u8]) {
    let crc = crc32c(packet);
    packet[8..12].copy_from_slice(&crc.to_le_bytes());
}

/// Closes the packet that is the open segment of `out`: fills in its checksum.
#[inline]
pub(crate) fn seal_open_segment(out: &mut TransmitBuf) {
    seal(out.body_mut());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crc32c_vectors() {
        // RFC 3720 B.4: 32 bytes of zeros, of ones, ascending.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(&[0xff; 32]), 0x62a8_ab43);
        let ascending: Vec<u8> = (0..32).collect();
        assert_eq!(crc32c(&ascending), 0x46dd_794e);
    }

    #[test]
    fn a_sealed_packet_checks_and_a_changed_one_does_not() {
        let mut packet = Vec::new();
        write_header(&mut packet, 5000, 5001, 7);
        packet.extend([11, 0, 0, 4]);
        seal(&mut packet);
        assert!(Packet::parse(&packet).unwrap().checksum_is_correct());
        for bit in 0..packet.len() * 8 {
            packet[bit / 8] ^= 1 << (bit % 8);
            assert!(!Packet::parse(&packet).unwrap().checksum_is_correct());
            packet[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn v09_zero_length_chunks_end_the_walk() {
        // The length field counts its own header: 0 to 3 are impossible, and must not make the walk stand still.
        for len in 0..4u8 {
            let mut packet = vec![0; 12];
            packet.extend([0x0a, 0, 0, len, 11, 0, 0, 4]);
            let chunks: Vec<_> = Packet::parse(&packet).unwrap().chunks().collect();
            assert_eq!(chunks, [Err(ParseError::Length)]);
        }
    }
}
