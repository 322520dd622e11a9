//! Formats whose frame is one payload, byte for byte: Opus (RFC 7587), PCMU and PCMA (RFC 3551 §4.5.14).

use super::layout::{Layout, Piece};

/// The layout of a frame in one packet; `None` if it is larger than `max` bytes.
#[inline]
pub(super) fn packetize(frame: &[u8], max: usize) -> Option<Layout> {
    (frame.len() <= max).then(|| Layout::slice(0..frame.len()))
}

/// Sound can always be decoded from here on.
#[inline]
pub(super) fn depacketize(payload: &[u8]) -> Piece {
    Piece::whole(payload, true)
}
