//! Formats whose frame is one payload, byte for byte: Opus (RFC 7587), PCMU and PCMA (RFC 3551 §4.5.14).

use super::layout::Layout;

/// The layout of a frame in one packet; `None` if it is larger than `max` bytes.
#[inline]
pub(super) fn packetize(frame: &[u8], max: usize) -> Option<Layout> {
    (frame.len() <= max).then(|| Layout::slice(0..frame.len()))
}
