//! The default provider: ring, with RustCrypto and graviola where ring has nothing or is slower.

use antiphon_sansio::Rng;
use ring::aead::{self, Aad, LessSafeKey, Nonce, UnboundKey};
use ring::agreement::{self, EphemeralPrivateKey, UnparsedPublicKey};
use ring::digest;

use crate::aes_ctr::{aes_ctr, block_cipher};
use crate::algorithm::{AeadAlgorithm, HashAlgorithm, NamedGroup, SignatureScheme, TAG_LEN};
use crate::ctr_hmac::ctr_hmac_sha1;
use crate::error::{AuthError, CryptoError};
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
use crate::graviola_exchange;
use crate::hybrid;
use crate::mac::hmac_key;
use crate::ml_kem::{MlKem, Portable};
use crate::provider::{AeadKey, AesCtr, BlockCipher, CryptoProvider, CtrHmac, Hash, KeyExchange, Mac, Provider};
use crate::secret::Secret;
use crate::signing::{self, SigningKey};
use crate::tag::Digest;

/// The default: ring, and RustCrypto for AES-CTR and AES blocks, which ring lacks, and HMAC, where ring is slower. X25519 is
/// graviola's where the processor has the instructions that it needs, and so is ML-KEM; elsewhere ring's and RustCrypto's.
///
/// Both libraries draw the randomness of key exchanges and ECDSA from the operating system, and does not wipe its AEAD keys.
pub fn ring_provider() -> Provider {
    &RingProvider
}

#[derive(Debug)]
struct RingProvider;

impl CryptoProvider for RingProvider {
    fn name(&self) -> &'static str {
        "ring"
    }

    fn aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn AeadKey>, CryptoError> {
        let algorithm = match algorithm {
            AeadAlgorithm::Aes128Gcm => &aead::AES_128_GCM,
            AeadAlgorithm::Aes256Gcm => &aead::AES_256_GCM,
            AeadAlgorithm::ChaCha20Poly1305 => &aead::CHACHA20_POLY1305,
        };
        let key = UnboundKey::new(algorithm, key).map_err(|_| CryptoError::KeyLength)?;
        Ok(Box::new(RingAead(LessSafeKey::new(key))))
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
        Box::new(RingHash(digest::Context::new(match algorithm {
            HashAlgorithm::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            HashAlgorithm::Sha256 => &digest::SHA256,
            HashAlgorithm::Sha384 => &digest::SHA384,
            HashAlgorithm::Sha512 => &digest::SHA512,
        })))
    }

    fn start_exchange(&self, group: NamedGroup, rng: &mut Rng) -> Result<Box<dyn KeyExchange>, CryptoError> {
        if group == NamedGroup::X25519MlKem768 {
            return hybrid::start(self, ml_kem(), rng);
        }
        #[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
        if group == NamedGroup::X25519 && graviola_exchange::is_supported() {
            return graviola_exchange::start_x25519();
        }
        start_exchange(group)
    }

    fn respond(&self, group: NamedGroup, peer: &[u8], rng: &mut Rng) -> Result<(Vec<u8>, Secret), CryptoError> {
        hybrid::respond(self, ml_kem(), group, peer, rng)
    }

    fn signing_key(&self, pkcs8: &[u8]) -> Result<SigningKey, CryptoError> {
        SigningKey::from_pkcs8_der(pkcs8)
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), AuthError> {
        signing::verify_signature(scheme, public_key, message, signature)
    }
}

/// The fastest that runs here.
fn ml_kem() -> &'static dyn MlKem {
    #[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
    if graviola_exchange::is_supported() {
        return &graviola_exchange::Graviola;
    }
    &Portable
}

struct RingAead(LessSafeKey);

impl AeadKey for RingAead {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN] {
        let tag = self
            .0
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(*nonce), Aad::from(aad), data)
            .expect("a datagram is far below the 64 GiB that a nonce may cover");
        let mut bytes = [0; TAG_LEN];
        bytes.copy_from_slice(tag.as_ref());
        bytes
    }

    fn open_detached(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AuthError> {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        self.0
            .open_in_place_separate_tag(nonce, Aad::from(aad), aead::Tag::from(*tag), data, 0..)
            .map(|_| ())
            .map_err(|_| AuthError)
    }
}

#[derive(Clone)]
struct RingHash(digest::Context);

impl Hash for RingHash {
    fn update(&mut self, data: &[u8]) {
        self.0.update(data);
    }

    fn finish(self: Box<Self>) -> Digest {
        Digest::new(self.0.finish().as_ref())
    }

    fn fork(&self) -> Box<dyn Hash> {
        Box::new(self.clone())
    }
}

pub(crate) fn start_exchange(group: NamedGroup) -> Result<Box<dyn KeyExchange>, CryptoError> {
    let private = EphemeralPrivateKey::generate(agreement_algorithm(group)?, &signing::system_random())
        .map_err(|_| CryptoError::Randomness)?;
    let public = private.compute_public_key().map_err(|_| CryptoError::Randomness)?;
    Ok(Box::new(RingExchange { group, private, public }))
}

fn agreement_algorithm(group: NamedGroup) -> Result<&'static agreement::Algorithm, CryptoError> {
    Ok(match group {
        NamedGroup::X25519 => &agreement::X25519,
        NamedGroup::Secp256r1 => &agreement::ECDH_P256,
        NamedGroup::Secp384r1 => &agreement::ECDH_P384,
        NamedGroup::X25519MlKem768 => return Err(CryptoError::Unsupported),
    })
}

struct RingExchange {
    group: NamedGroup,
    private: EphemeralPrivateKey,
    public: agreement::PublicKey,
}

impl KeyExchange for RingExchange {
    fn group(&self) -> NamedGroup {
        self.group
    }

    fn public_key(&self) -> &[u8] {
        self.public.as_ref()
    }

    fn complete(self: Box<Self>, peer: &[u8]) -> Result<Secret, CryptoError> {
        let peer = UnparsedPublicKey::new(agreement_algorithm(self.group)?, peer);
        agreement::agree_ephemeral(self.private, &peer, Secret::new).map_err(|_| CryptoError::PeerKey)
    }
}
