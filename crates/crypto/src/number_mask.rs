//! What hides the record numbers of DTLS 1.3 (RFC 9147 §4.2.3).

use std::fmt;

use ring::aead::quic::{AES_128, AES_256, CHACHA20, HeaderProtectionKey};

use crate::algorithm::AeadAlgorithm;
use crate::error::CryptoError;

/// The key that record numbers are hidden with (RFC 9147 §4.2.3; QUIC's header protection is the same, RFC 9001 §5.4).
///
/// Every provider takes ring's: the bare ChaCha20 block that one of the suites needs is offered by it in this form only.
pub struct NumberMask(HeaderProtectionKey);

impl NumberMask {
    /// From a key of [`AeadAlgorithm::key_len`] bytes.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] for a key of another length.
    pub fn new(algorithm: AeadAlgorithm, key: &[u8]) -> Result<Self, CryptoError> {
        let algorithm = match algorithm {
            AeadAlgorithm::Aes128Gcm => &AES_128,
            AeadAlgorithm::Aes256Gcm => &AES_256,
            AeadAlgorithm::ChaCha20Poly1305 => &CHACHA20,
        };
        HeaderProtectionKey::new(algorithm, key)
            .map(Self)
            .map_err(|_| CryptoError::KeyLength)
    }

    /// The mask that the first 16 bytes of a ciphertext give.
    pub fn mask(&self, sample: &[u8; 16]) -> [u8; 5] {
        // Fails only for a sample of another length.
        self.0.new_mask(sample).unwrap_or_default()
    }
}

impl fmt::Debug for NumberMask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("NumberMask(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes<const N: usize>(hex: &str) -> [u8; N] {
        std::array::from_fn(|at| u8::from_str_radix(&hex[2 * at..2 * at + 2], 16).expect("hex"))
    }

    #[test]
    fn rfc_9001_a2_and_a5() {
        let aes = NumberMask::new(
            AeadAlgorithm::Aes128Gcm,
            &bytes::<16>("9f50449e04a0e810283a1e9933adedd2"),
        );
        let sample = bytes("d1b1c98dd7689fb8ec11d242b123dc9b");
        assert_eq!(aes.expect("16 bytes").mask(&sample), bytes("437b9aec36"));
        let key: [u8; 32] = bytes("25a282b9e82f06f21f488917a4fc8f1b73573685608597d0efcb076b0ab7a7a4");
        let chacha = NumberMask::new(AeadAlgorithm::ChaCha20Poly1305, &key);
        let sample = bytes("5e5cd55c41f69080575d7999c25a5bfb");
        assert_eq!(chacha.expect("32 bytes").mask(&sample), bytes("aefefe7d03"));
        assert!(NumberMask::new(AeadAlgorithm::Aes256Gcm, &key[..16]).is_err());
    }
}
