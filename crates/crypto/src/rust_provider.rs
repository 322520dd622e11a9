//! The provider of RustCrypto.

use aes_gcm::aead::consts::{U12, U16};
use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes128Gcm, Aes256Gcm};
use antiphon_sansio::Rng;
use chacha20poly1305::ChaCha20Poly1305;
use sha2::Digest as _;

use crate::aes_ctr::{aes_ctr, block_cipher};
use crate::algorithm::{AeadAlgorithm, HashAlgorithm, NamedGroup, SignatureScheme, TAG_LEN};
use crate::ctr_hmac::ctr_hmac_sha1;
use crate::error::{AuthError, CryptoError};
use crate::hybrid;
use crate::mac::hmac_key;
use crate::ml_kem::Portable;
use crate::provider::{AeadKey, AesCtr, BlockCipher, CryptoProvider, CtrHmac, Hash, KeyExchange, Mac, Provider};
use crate::secret::Secret;
use crate::signing::{self, SigningKey};
use crate::tag::Digest;

/// RustCrypto for all symmetric work.
///
/// With the feature `rust` for key exchanges, ECDSA and Ed25519 too, all drawn from the seed that it is given: same seed, same
/// bytes. Without that feature they are ring's, which draws from the operating system. RSA is ring's in any case: the only kept
/// crate for it has an open advisory (RUSTSEC-2023-0071).
pub fn rust_provider() -> Provider {
    &RustProvider
}

#[derive(Debug)]
struct RustProvider;

impl CryptoProvider for RustProvider {
    fn name(&self) -> &'static str {
        "rust"
    }

    fn aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn AeadKey>, CryptoError> {
        match algorithm {
            AeadAlgorithm::Aes128Gcm => aead::<Aes128Gcm>(key),
            AeadAlgorithm::Aes256Gcm => aead::<Aes256Gcm>(key),
            AeadAlgorithm::ChaCha20Poly1305 => aead::<ChaCha20Poly1305>(key),
        }
    }

    fn aes_ctr(&self, key: &[u8]) -> Result<Box<dyn AesCtr>, CryptoError> {
        aes_ctr(key)
    }

    fn block_cipher(&self, key: &[u8]) -> Result<Box<dyn BlockCipher>, CryptoError> {
        block_cipher(key)
    }

    fn ctr_hmac_sha1(&self, encryption: &[u8], authentication: &[u8]) -> Result<Box<dyn CtrHmac>, CryptoError> {
        ctr_hmac_sha1(encryption, authentication)
    }

    fn mac(&self, hash: HashAlgorithm, key: &[u8]) -> Box<dyn Mac> {
        hmac_key(hash, key)
    }

    fn hash(&self, algorithm: HashAlgorithm) -> Box<dyn Hash> {
        match algorithm {
            HashAlgorithm::Sha1 => Box::new(RustHash(sha1::Sha1::new())),
            HashAlgorithm::Sha256 => Box::new(RustHash(sha2::Sha256::new())),
            HashAlgorithm::Sha384 => Box::new(RustHash(sha2::Sha384::new())),
            HashAlgorithm::Sha512 => Box::new(RustHash(sha2::Sha512::new())),
        }
    }

    fn start_exchange(&self, group: NamedGroup, rng: &mut Rng) -> Result<Box<dyn KeyExchange>, CryptoError> {
        if group == NamedGroup::X25519MlKem768 {
            return hybrid::start(self, &Portable, rng);
        }
        #[cfg(feature = "rust")]
        return crate::rust_exchange::start(group, rng);
        #[cfg(not(feature = "rust"))]
        crate::ring_provider::start_exchange(group)
    }

    fn respond(&self, group: NamedGroup, peer: &[u8], rng: &mut Rng) -> Result<(Vec<u8>, Secret), CryptoError> {
        hybrid::respond(self, &Portable, group, peer, rng)
    }

    fn signing_key(&self, pkcs8: &[u8]) -> Result<SigningKey, CryptoError> {
        #[cfg(feature = "rust")]
        return SigningKey::rust_from_pkcs8_der(pkcs8);
        #[cfg(not(feature = "rust"))]
        SigningKey::from_pkcs8_der(pkcs8)
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), AuthError> {
        #[cfg(feature = "rust")]
        if let Some(verdict) = crate::rust_signing::verify(scheme, public_key, message, signature) {
            return verdict;
        }
        signing::verify_signature(scheme, public_key, message, signature)
    }
}

fn aead<A>(key: &[u8]) -> Result<Box<dyn AeadKey>, CryptoError>
where
    A: AeadInOut<NonceSize = U12, TagSize = U16> + KeyInit + Send + Sync + 'static,
{
    A::new_from_slice(key)
        .map(|key| Box::new(RustAead(key)) as Box<dyn AeadKey>)
        .map_err(|_| CryptoError::KeyLength)
}

struct RustAead<A>(A);

impl<A> AeadKey for RustAead<A>
where
    A: AeadInOut<NonceSize = U12, TagSize = U16> + Send + Sync,
{
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        self.0
            .encrypt_inout_detached(nonce.into(), aad, data.into())
            .expect("a datagram is far below the 64 GiB that a nonce may cover")
            .into()
    }

    fn open_detached(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AuthError> {
        self.0
            .decrypt_inout_detached(nonce.into(), aad, data.into(), tag.into())
            .map_err(|_| AuthError)
    }
}

#[derive(Clone)]
struct RustHash<D>(D);

impl<D: sha2::Digest + Clone + Send + 'static> Hash for RustHash<D> {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finish(self: Box<Self>) -> Digest {
        Digest::new(&self.0.finalize())
    }

    fn fork(&self) -> Box<dyn Hash> {
        Box::new(self.clone())
    }
}
