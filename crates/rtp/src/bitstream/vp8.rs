//! The header of a VP8 frame (RFC 6386 §9.1).

use super::resolution::Resolution;

/// Whether a frame whose first byte this is can be decoded alone: the inverse key frame flag.
#[inline]
pub fn is_key_frame(first_byte: u8) -> bool {
    first_byte & 1 == 0
}

/// The size of a key frame, scaling bits left out; `None` if it is none.
pub fn resolution(frame: &[u8]) -> Option<Resolution> {
    match frame {
        &[tag, _, _, 0x9d, 0x01, 0x2a, w0, w1, h0, h1, ..] if is_key_frame(tag) => Some(Resolution {
            width: u32::from(u16::from_le_bytes([w0, w1]) & 0x3fff),
            height: u32::from(u16::from_le_bytes([h0, h1]) & 0x3fff),
        }),
        _ => None,
    }
}
