//! VP8: the frame header (RFC 6386 §9.1).

use super::inspected::Inspected;

pub(crate) fn is_key_frame(frame: &[u8]) -> bool {
    frame.first().is_some_and(|byte| byte & 1 == 0)
}

/// Width and height, if this is a key frame. VP8 needs no configuration.
pub(crate) fn inspect(frame: &[u8]) -> Option<Inspected> {
    if !is_key_frame(frame) || frame.get(3..6)? != [0x9d, 0x01, 0x2a] {
        return None;
    }
    // RFC 6386 §9.1: 14 bits of size, two of scaling.
    let size = |at: usize| {
        Some(u32::from(
            u16::from_le_bytes([*frame.get(at)?, *frame.get(at + 1)?]) & 0x3fff,
        ))
    };
    Some(Inspected {
        width: size(6)?,
        height: size(8)?,
        configuration: Vec::new(),
    })
}
