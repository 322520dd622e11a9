//! Keys for MESSAGE-INTEGRITY.

use std::fmt;
use std::sync::Arc;

use antiphon_crypto::{HashAlgorithm, Mac, hmac_sha256, md5, rust_provider, sha256};
use zeroize::Zeroizing;

pub(crate) const SHA1_LEN: usize = 20;
pub(crate) const SHA256_LEN: usize = 32;

/// The key of MESSAGE-INTEGRITY. Never printed; its bytes are wiped from memory when dropped.
///
/// Making one hashes the key; checking and signing with it do not do so again. Clones share it.
///
/// Names and passwords are taken as they are: the caller applies the OpaqueString profile (`opaque_string`, with the feature
/// `opaque-string`) to what people typed; ICE passwords and TURN REST credentials are ASCII and need none.
#[derive(Clone)]
pub struct Key {
    bytes: Zeroizing<Vec<u8>>,
    sha1: Arc<dyn Mac>,
}

impl Key {
    fn new(bytes: &[u8]) -> Self {
        Self {
            bytes: Zeroizing::new(bytes.to_vec()),
            sha1: rust_provider().mac(HashAlgorithm::Sha1, bytes).into(),
        }
    }

    /// Short-term credentials: the key is the password (RFC 8489 §9.1.1). What ICE uses.
    pub fn short_term(password: &str) -> Self {
        Self::new(password.as_bytes())
    }

    /// Long-term credentials: MD5 of `username:realm:password` (RFC 8489 §9.2.2). What TURN uses.
    pub fn long_term(username: &str, realm: &str, password: &str) -> Self {
        let parts: [&[u8]; 5] = [username.as_bytes(), b":", realm.as_bytes(), b":", password.as_bytes()];
        Self::new(&md5(&parts))
    }

    /// Long-term credentials under PASSWORD-ALGORITHM SHA-256 (RFC 8489 §18.5.1.2).
    pub fn long_term_sha256(username: &str, realm: &str, password: &str) -> Self {
        let parts: [&[u8]; 5] = [username.as_bytes(), b":", realm.as_bytes(), b":", password.as_bytes()];
        Self::new(&sha256(&parts))
    }

    pub(crate) fn verify_sha1(&self, parts: &[&[u8]], expected: &[u8]) -> bool {
        self.sha1.verify(parts, expected)
    }

    pub(crate) fn verify_sha256(&self, parts: &[&[u8]], expected: &[u8]) -> bool {
        hmac_sha256(&self.bytes, parts).verify(expected)
    }

    pub(crate) fn sign_sha1(&self, message: &[u8], value: &mut [u8]) {
        value.copy_from_slice(&self.sha1.sign(&[message]).as_bytes()[..SHA1_LEN]);
    }

    pub(crate) fn sign_sha256(&self, message: &[u8], value: &mut [u8]) {
        value.copy_from_slice(&hmac_sha256(&self.bytes, &[message]).as_bytes()[..SHA256_LEN]);
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(redacted)")
    }
}
