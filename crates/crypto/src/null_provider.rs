//! The provider that protects nothing, for fuzzing.

use antiphon_sansio::Rng;

use crate::algorithm::{AeadAlgorithm, HashAlgorithm, NamedGroup, SignatureScheme, TAG_LEN};
use crate::error::{AuthError, CryptoError};
use crate::hybrid;
use crate::ml_kem::Portable;
use crate::provider::{AeadKey, AesCtr, BlockCipher, CryptoProvider, CtrHmac, Hash, KeyExchange, Mac, Provider};
use crate::rust_provider::rust_provider;
use crate::secret::Secret;
use crate::signing::SigningKey;
use crate::tag::Tag;

/// Neither encrypts nor authenticates: every tag and signature of the right length is good. For fuzzing only.
///
/// Same seed, same bytes: key exchanges draw from the given [`Rng`], and the "shared secret" follows from the two public
/// values, which anybody can see. Hashes are real. Tags that it makes are zeros.
pub fn null_provider() -> Provider {
    &NullProvider
}

#[derive(Debug)]
struct NullProvider;

impl CryptoProvider for NullProvider {
    fn name(&self) -> &'static str {
        "null"
    }

    fn aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn AeadKey>, CryptoError> {
        if key.len() != algorithm.key_len() {
            return Err(CryptoError::KeyLength);
        }
        Ok(Box::new(NullAead))
    }

    fn aes_ctr(&self, key: &[u8]) -> Result<Box<dyn AesCtr>, CryptoError> {
        aes_key(key).map(|()| Box::new(NullAes) as Box<dyn AesCtr>)
    }

    fn block_cipher(&self, key: &[u8]) -> Result<Box<dyn BlockCipher>, CryptoError> {
        aes_key(key).map(|()| Box::new(NullAes) as Box<dyn BlockCipher>)
    }

    fn ctr_hmac_sha1(&self, encryption: &[u8], _authentication: &[u8]) -> Result<Box<dyn CtrHmac>, CryptoError> {
        aes_key(encryption).map(|()| Box::new(NullAes) as Box<dyn CtrHmac>)
    }

    fn mac(&self, hash: HashAlgorithm, _key: &[u8]) -> Box<dyn Mac> {
        Box::new(NullMac(hash.output_len()))
    }

    fn hash(&self, algorithm: HashAlgorithm) -> Box<dyn Hash> {
        rust_provider().hash(algorithm)
    }

    fn start_exchange(&self, group: NamedGroup, rng: &mut Rng) -> Result<Box<dyn KeyExchange>, CryptoError> {
        if group == NamedGroup::X25519MlKem768 {
            return hybrid::start(self, &Portable, rng);
        }
        let mut public = vec![0; group.public_len()];
        rng.fill(&mut public);
        if group != NamedGroup::X25519 {
            public[0] = 4; // An uncompressed point says so in its first byte.
        }
        Ok(Box::new(NullExchange { group, public }))
    }

    fn respond(&self, group: NamedGroup, peer: &[u8], rng: &mut Rng) -> Result<(Vec<u8>, Secret), CryptoError> {
        hybrid::respond(self, &Portable, group, peer, rng)
    }

    fn signing_key(&self, _pkcs8: &[u8]) -> Result<SigningKey, CryptoError> {
        Ok(SigningKey::null())
    }

    fn verify_signature(&self, _: SignatureScheme, _: &[u8], _: &[u8], _: &[u8]) -> Result<(), AuthError> {
        Ok(())
    }
}

fn aes_key(key: &[u8]) -> Result<(), CryptoError> {
    matches!(key.len(), 16 | 32).then_some(()).ok_or(CryptoError::KeyLength)
}

struct NullAead;

impl AeadKey for NullAead {
    fn seal(&self, _nonce: &[u8; 12], _aad: &[u8], _data: &mut [u8]) -> [u8; TAG_LEN] {
        [0; TAG_LEN]
    }

    fn open_detached(
        &self,
        _nonce: &[u8; 12],
        _aad: &[u8],
        _data: &mut [u8],
        _tag: &[u8; TAG_LEN],
    ) -> Result<(), AuthError> {
        Ok(())
    }
}

struct NullAes;

impl AesCtr for NullAes {
    fn apply(&self, _iv: &[u8; 16], _data: &mut [u8]) {}
}

impl CtrHmac for NullAes {
    fn seal(&self, _iv: &[u8; 16], _packet: &mut [u8], _clear: usize, _suffix: &[u8]) -> [u8; 20] {
        [0; 20]
    }

    fn open(
        &self,
        _iv: &[u8; 16],
        _packet: &mut [u8],
        _clear: usize,
        _suffix: &[u8],
        tag: &[u8],
    ) -> Result<(), AuthError> {
        (4..=20).contains(&tag.len()).then_some(()).ok_or(AuthError)
    }

    fn apply(&self, _iv: &[u8; 16], _data: &mut [u8]) {}

    fn sign(&self, _parts: &[&[u8]]) -> [u8; 20] {
        [0; 20]
    }
}

impl BlockCipher for NullAes {
    fn encrypt_block(&self, _block: &mut [u8; 16]) {}
}

struct NullMac(usize);

impl Mac for NullMac {
    fn sign(&self, _parts: &[&[u8]]) -> Tag {
        Tag::new(&[0; 64][..self.0])
    }

    fn verify(&self, _parts: &[&[u8]], received: &[u8]) -> bool {
        (4..=self.0).contains(&received.len())
    }
}

struct NullExchange {
    group: NamedGroup,
    public: Vec<u8>,
}

impl KeyExchange for NullExchange {
    fn group(&self) -> NamedGroup {
        self.group
    }

    fn public_key(&self) -> &[u8] {
        &self.public
    }

    fn complete(self: Box<Self>, peer: &[u8]) -> Result<Secret, CryptoError> {
        if peer.len() != self.public.len() {
            return Err(CryptoError::PeerKey);
        }
        // The same for both ends, whichever is ours.
        Ok(Secret::new(
            &self.public.iter().zip(peer).map(|(a, b)| a ^ b).collect::<Vec<_>>()[..32],
        ))
    }
}
