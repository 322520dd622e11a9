//! Cryptex (RFC 9335): header extensions and CSRCs are encrypted with the payload.

use crate::context::{EXTENSION_HEADER_LEN, RTP_FIXED_LEN, csrcs_end, has_extension};
use crate::error::Error;

/// What a [`Receiver`](crate::Receiver) does about header extensions and CSRCs.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Cryptex {
    /// Knows nothing of RFC 9335: its two tags are extensions of an unknown kind.
    #[default]
    Off,
    /// Takes packets either way.
    Accept,
    /// Takes no packet with an extension or CSRCs in the clear (RFC 9335 §5.2).
    Require,
}

/// RFC 8285 §4.2 and §4.3: one-byte and two-byte elements. Other values of the lowest four bits are taken for another kind:
/// the extension id that they belong to has no place beside Cryptex (RFC 9335 §5.1).
const PLAIN: [u16; 2] = [0xbede, 0x1000];
/// RFC 9335 §5: the same, encrypted.
const ENCRYPTED: [u16; 2] = [0xc0de, 0xc2de];

/// Changes the tag of the extension at `at` from the first kind to the second; `false` if it is not of the first kind.
fn retag(packet: &mut [u8], at: usize, from: [u16; 2], to: [u16; 2]) -> bool {
    let Some(tag) = packet.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<2>) else {
        return false;
    };
    let Some(which) = from.iter().position(|from| from.to_be_bytes() == *tag) else {
        return false;
    };
    *tag = to[which].to_be_bytes();
    true
}

/// Whether sending needs an empty extension: only its tag can say that the CSRCs are encrypted (RFC 9335 §5.1).
pub(crate) fn needs_extension(packet: &[u8]) -> bool {
    packet
        .first()
        .is_some_and(|first| first & 0x10 == 0 && first & 0x0f != 0)
        && packet.len() >= csrcs_end(packet)
}

/// Makes the last four bytes of `packet`, which hold nothing, an empty extension behind the CSRCs.
pub(crate) fn insert_extension(packet: &mut [u8]) {
    let at = csrcs_end(packet);
    let end = packet.len() - EXTENSION_HEADER_LEN;
    packet.copy_within(at..end, at + EXTENSION_HEADER_LEN);
    packet[at..at + EXTENSION_HEADER_LEN].copy_from_slice(&[0xbe, 0xde, 0, 0]);
    packet[0] |= 0x10;
}

/// Length of the CSRCs of a packet that is about to be encrypted, its tag changed; `None` if it goes as RFC 3711 has it: it has
/// neither extension nor CSRCs, or an extension that is not RFC 8285's.
pub(crate) fn before_sealing(packet: &mut [u8]) -> Result<Option<usize>, Error> {
    if !has_extension(packet) {
        return Ok(None);
    }
    let at = csrcs_end(packet);
    if retag(packet, at, ENCRYPTED, ENCRYPTED) {
        // It would be taken for what it is not.
        return Err(Error::Malformed);
    }
    Ok(retag(packet, at, PLAIN, ENCRYPTED).then_some(at - RTP_FIXED_LEN))
}

/// Length of the CSRCs of a received packet, if it is encrypted so.
pub(crate) fn before_opening(packet: &mut [u8], policy: Cryptex) -> Result<Option<usize>, Error> {
    let at = csrcs_end(packet);
    if has_extension(packet) && retag(packet, at, ENCRYPTED, ENCRYPTED) {
        return Ok(Some(at - RTP_FIXED_LEN));
    }
    if policy == Cryptex::Require && (has_extension(packet) || at > RTP_FIXED_LEN) {
        return Err(Error::HeaderInClear);
    }
    Ok(None)
}

/// Gives an opened packet the tag that everybody knows.
pub(crate) fn after_opening(packet: &mut [u8]) {
    let at = csrcs_end(packet);
    retag(packet, at, ENCRYPTED, PLAIN);
}
