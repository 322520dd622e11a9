//! HMAC with keys that are used once.

use crate::mac::hmac_once;
use crate::tag::Tag;

/// HMAC-SHA1 over the concatenation of `parts` (STUN's MESSAGE-INTEGRITY). Allocates nothing.
pub fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> Tag {
    hmac_once::<sha1::Sha1>(key, parts)
}

/// HMAC-SHA256 over the concatenation of `parts`. Allocates nothing.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Tag {
    hmac_once::<sha2::Sha256>(key, parts)
}
