//! What all RTCP packets have in common: the header in front, the types, and the writing of one (RFC 3550 §6.4.1).

use antiphon_sansio::{Full, Writer};

/// Sender report (RFC 3550 §6.4.1).
pub const SR: u8 = 200;
/// Receiver report (RFC 3550 §6.4.2).
pub const RR: u8 = 201;
/// Source description (RFC 3550 §6.5).
pub const SDES: u8 = 202;
/// Goodbye (RFC 3550 §6.6).
pub const BYE: u8 = 203;
/// Application-defined (RFC 3550 §6.7).
pub const APP: u8 = 204;
/// Transport-layer feedback (RFC 4585 §6.2).
pub const RTPFB: u8 = 205;
/// Payload-specific feedback (RFC 4585 §6.3).
pub const PSFB: u8 = 206;
/// Extended report (RFC 3611 §2).
pub const XR: u8 = 207;

/// A packet before its body is looked at.
///
/// ```text
/// |V=2|P| count   |  packet type  |    length in words, minus 1   |
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Raw<'a> {
    /// The five bits "count", "subtype" or "FMT".
    pub count: u8,
    /// The packet type.
    pub packet_type: u8,
    /// What follows the four header bytes, without padding.
    pub body: &'a [u8],
}

/// Pads the packet that was written last, from `start` on, as one that came with so many bytes of padding (RFC 3550
/// §6.4.1): they fill its last word and go on for whole ones.
///
/// # Errors
/// If there is no room for it in `out`.
pub(super) fn pad(start: usize, padding: u8, out: &mut Writer<'_>) -> Result<(), Full> {
    if padding == 0 {
        return Ok(());
    }
    for _ in 0..padding / 4 {
        out.put_u32(0)?;
    }
    let packet = out.written_mut().get_mut(start..).ok_or(Full)?;
    let words = u16::try_from((packet.len() / 4).saturating_sub(1)).map_err(|_| Full)?;
    if let [flags, _, high, low, .., last] = packet {
        *flags |= 0x20;
        [*high, *low] = words.to_be_bytes();
        *last = padding;
    }
    Ok(())
}

/// Writes one packet: the header, `body`, zeros up to a word. The length is patched in after the body has run.
pub(super) fn write_packet(
    count: u8,
    packet_type: u8,
    out: &mut Writer<'_>,
    body: impl FnOnce(&mut Writer<'_>) -> Result<(), Full>,
) -> Result<(), Full> {
    // Bodies are written to a scratch writer over the free room, so that a failure leaves nothing behind.
    let start = out.len();
    let free = out.free();
    let room = out.reserve(free)?;
    let mut packet = Writer::new(room);
    let result = (|| {
        packet.put_u8(0x80 | count & 0x1f)?;
        packet.put_u8(packet_type)?;
        packet.put_u16(0)?;
        body(&mut packet)?;
        while packet.len() % 4 != 0 {
            packet.put_u8(0)?;
        }
        let words = u16::try_from(packet.len() / 4 - 1).map_err(|_| Full)?;
        packet.written_mut()[2..4].copy_from_slice(&words.to_be_bytes());
        Ok(packet.len())
    })();
    match result {
        Ok(len) => {
            out.truncate(start + len);
            Ok(())
        }
        Err(full) => {
            out.truncate(start);
            Err(full)
        }
    }
}
