//! Codes and hashes, and their comparison in constant time.

use std::fmt;

use subtle::ConstantTimeEq;
use zeroize::Zeroize;

/// Longest digest, SHA-512's, in bytes.
pub(crate) const MAX_DIGEST_LEN: usize = 64;

/// The shortest truncated tag that [`Tag::verify`] takes: SRTP's 32 bits (RFC 3711 §5.2).
const MIN_TAG_LEN: usize = 4;

/// A message authentication code. Has no `PartialEq` on purpose: compare by [`Tag::verify`].
///
/// ```compile_fail,E0369
/// # use antiphon_crypto::Tag;
/// fn v19_is_it(one: &Tag, other: &Tag) -> bool {
///     one == other
/// }
/// ```
#[derive(Clone)]
pub struct Tag {
    bytes: [u8; MAX_DIGEST_LEN],
    len: usize,
}

impl Tag {
    /// From at most 64 bytes; what is longer is cut.
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let len = bytes.len().min(MAX_DIGEST_LEN);
        let mut tag = Self {
            bytes: [0; MAX_DIGEST_LEN],
            len,
        };
        tag.bytes[..len].copy_from_slice(&bytes[..len]);
        tag
    }

    /// The whole tag.
    #[inline]
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Whether `received` is this tag or its first bytes, in time that depends on the length alone.
    ///
    /// The caller decides by its protocol how long `received` has to be, before it calls. Fewer than 4 bytes never match.
    #[inline]
    pub fn verify(&self, received: &[u8]) -> bool {
        truncated_matches(self.as_bytes(), received)
    }

    pub(crate) fn wipe(&mut self) {
        self.bytes.zeroize();
    }
}

/// Whether `received` is `tag` or its first bytes, at least 4 of them, in time that depends on the lengths alone.
#[inline]
pub(crate) fn truncated_matches(tag: &[u8], received: &[u8]) -> bool {
    match tag.get(..received.len()) {
        Some(expected) if received.len() >= MIN_TAG_LEN => constant_time_eq(expected, received),
        _ => false,
    }
}

impl AsRef<[u8]> for Tag {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Tag {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tag({} bytes, redacted)", self.len)
    }
}

/// A hash of public data.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Digest {
    bytes: [u8; MAX_DIGEST_LEN],
    len: usize,
}

impl Digest {
    pub(crate) fn new(bytes: &[u8]) -> Self {
        let tag = Tag::new(bytes);
        Self {
            bytes: tag.bytes,
            len: tag.len,
        }
    }

    /// The bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len]
    }
}

impl AsRef<[u8]> for Digest {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Digest(")?;
        for byte in self.as_bytes() {
            write!(f, "{byte:02x}")?;
        }
        f.write_str(")")
    }
}

/// Whether `a` and `b` are equal, in time that depends on their lengths alone.
#[inline]
pub fn constant_time_eq(a: &[u8], b: &[u8]) -> bool {
    if a.len() != b.len() {
        return false;
    }
    // In words, and one comparison in the end: subtle's costs the same for eight bytes as for one.
    let ((a, rest_of_a), (b, rest_of_b)) = (a.as_chunks::<8>(), b.as_chunks::<8>());
    let mut differences = 0;
    for (a, b) in a.iter().zip(b) {
        differences |= u64::from_ne_bytes(*a) ^ u64::from_ne_bytes(*b);
    }
    for (a, b) in rest_of_a.iter().zip(rest_of_b) {
        differences |= u64::from(a ^ b);
    }
    differences.ct_eq(&0).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn truncated_tags_match_and_empty_ones_do_not() {
        let tag = Tag::new(&[7; 20]);
        assert!(tag.verify(&[7; 20]));
        assert!(tag.verify(&[7; 10]));
        assert!(tag.verify(&[7; 4]));
        assert!(!tag.verify(&[7; 3]));
        assert!(!tag.verify(&[]));
        assert!(!tag.verify(&[7; 21]));
        assert!(!tag.verify(&[7, 7, 7, 7, 8]));
    }

    #[test]
    fn different_lengths_differ() {
        assert!(constant_time_eq(b"", b""));
        assert!(!constant_time_eq(b"a", b"ab"));
        assert!(!constant_time_eq(b"a", b"b"));
    }

    #[test]
    fn every_flipped_bit_is_found() {
        for len in 0..40 {
            let ours = vec![0x5a; len];
            assert!(constant_time_eq(&ours, &ours.clone()));
            for bit in 0..8 * len {
                let mut theirs = ours.clone();
                theirs[bit / 8] ^= 1 << (bit % 8);
                assert!(!constant_time_eq(&ours, &theirs), "{len} bytes, bit {bit}");
            }
        }
    }
}
