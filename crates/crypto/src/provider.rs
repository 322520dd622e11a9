//! What the protocols need of a provider, as traits: no implementation is named here.

use std::fmt;

use antiphon_sansio::Rng;

use crate::algorithm::{AeadAlgorithm, HashAlgorithm, NamedGroup, SignatureScheme, TAG_LEN};
use crate::error::{AuthError, CryptoError};
use crate::secret::Secret;
use crate::signing::SigningKey;
use crate::tag::{Digest, Tag};

/// A provider is chosen once per peer and lives as long as the program.
pub type Provider = &'static dyn CryptoProvider;

/// Where the primitives come from. Making a key may allocate and expands its schedule; using it does neither.
pub trait CryptoProvider: Send + Sync + fmt::Debug {
    /// A short name for statistics and logs.
    fn name(&self) -> &'static str;

    /// An AEAD key of [`AeadAlgorithm::key_len`] bytes.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] for a key of another length.
    fn aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn AeadKey>, CryptoError>;

    /// An AES key of 16 or 32 bytes for counter mode.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] for a key of another length.
    fn aes_ctr(&self, key: &[u8]) -> Result<Box<dyn AesCtr>, CryptoError>;

    /// An AES key of 16 or 32 bytes for single blocks.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] for a key of another length.
    fn block_cipher(&self, key: &[u8]) -> Result<Box<dyn BlockCipher>, CryptoError>;

    /// AES in counter mode, with a key of 16 or 32 bytes, and HMAC-SHA1, with a key of any length, in one pass.
    ///
    /// # Errors
    /// [`CryptoError::KeyLength`] for an encryption key of another length.
    fn ctr_hmac_sha1(&self, encryption: &[u8], authentication: &[u8]) -> Result<Box<dyn CtrHmac>, CryptoError>;

    /// An HMAC key of any length (RFC 2104 §2).
    fn mac(&self, hash: HashAlgorithm, key: &[u8]) -> Box<dyn Mac>;

    /// A running hash.
    fn hash(&self, algorithm: HashAlgorithm) -> Box<dyn Hash>;

    /// An ephemeral key pair. A provider that draws its own randomness leaves `rng` untouched.
    ///
    /// # Errors
    /// [`CryptoError::Randomness`] if none can be had.
    fn start_exchange(&self, group: NamedGroup, rng: &mut Rng) -> Result<Box<dyn KeyExchange>, CryptoError>;

    /// Answers the other end's public value in one step: our own public value and the shared secret. For a Diffie-Hellman
    /// group the same as an exchange started and completed; a key encapsulation can only be answered.
    ///
    /// # Errors
    /// [`CryptoError::PeerKey`] for a value that is not of the group; else as [`Self::start_exchange`].
    fn respond(&self, group: NamedGroup, peer: &[u8], rng: &mut Rng) -> Result<(Vec<u8>, Secret), CryptoError>;

    /// A private key from PKCS #8 DER: ECDSA on P-256 or P-384, Ed25519, or RSA.
    ///
    /// # Errors
    /// [`CryptoError::PrivateKey`] for anything else.
    fn signing_key(&self, pkcs8: &[u8]) -> Result<SigningKey, CryptoError>;

    /// Checks a signature; see [`crate::verify_signature`] for the form of `public_key`.
    ///
    /// # Errors
    /// [`AuthError`] if it is not the key's signature of the message.
    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        public_key: &[u8],
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), AuthError>;
}

/// An AEAD key with its schedule expanded.
pub trait AeadKey: Send + Sync {
    /// Encrypts `data` in place and gives the detached tag. A nonce must never be used twice with one key.
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], data: &mut [u8]) -> [u8; TAG_LEN];

    /// Checks and decrypts `data_and_tag` in place; the plaintext is its first bytes, as many as returned.
    ///
    /// # Errors
    /// [`AuthError`] if the tag is wrong. The contents of `data_and_tag` are unspecified then: drop the packet.
    fn open(&self, nonce: &[u8; 12], aad: &[u8], data_and_tag: &mut [u8]) -> Result<usize, AuthError> {
        let (data, tag) = data_and_tag.split_last_chunk_mut::<TAG_LEN>().ok_or(AuthError)?;
        self.open_detached(nonce, aad, data, tag)?;
        Ok(data.len())
    }

    /// [`Self::open`] with the tag apart: checks `tag` and decrypts `data` in place.
    ///
    /// # Errors
    /// As [`Self::open`].
    fn open_detached(
        &self,
        nonce: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
        tag: &[u8; TAG_LEN],
    ) -> Result<(), AuthError>;
}

/// AES in counter mode with the key schedule kept.
pub trait AesCtr: Send + Sync {
    /// XORs the keystream that starts at counter block `iv` into `data`. The whole block counts, big-endian.
    fn apply(&self, iv: &[u8; 16], data: &mut [u8]);
}

/// AES in counter mode and HMAC-SHA1 over the same packet (RFC 3711 §4), faster together than one after the other.
pub trait CtrHmac: Send + Sync {
    /// Encrypts `packet` from `clear` on, in place, and gives the code over all of `packet` and `suffix`.
    ///
    /// # Panics
    /// If `clear` is beyond the packet's end.
    fn seal(&self, iv: &[u8; 16], packet: &mut [u8], clear: usize, suffix: &[u8]) -> [u8; 20];

    /// Whether `tag` is the code over `packet` and `suffix`, or its first 4 bytes or more; decrypts `packet` from `clear` on,
    /// in place.
    ///
    /// # Errors
    /// [`AuthError`] if the code is wrong. The contents of `packet` are unspecified then: drop it.
    ///
    /// # Panics
    /// If `clear` is beyond the packet's end.
    fn open(&self, iv: &[u8; 16], packet: &mut [u8], clear: usize, suffix: &[u8], tag: &[u8]) -> Result<(), AuthError>;

    /// Counter mode alone; see [`AesCtr::apply`].
    fn apply(&self, iv: &[u8; 16], data: &mut [u8]);

    /// HMAC alone, over the concatenation of `parts`.
    fn sign(&self, parts: &[&[u8]]) -> [u8; 20];
}

/// AES on single blocks with the key schedule kept (header protection, RFC 9147 §4.2.3).
pub trait BlockCipher: Send + Sync {
    /// Encrypts one block in place.
    fn encrypt_block(&self, block: &mut [u8; 16]);
}

/// HMAC with the key block hashed once.
pub trait Mac: Send + Sync {
    /// The code over the concatenation of `parts`.
    fn sign(&self, parts: &[&[u8]]) -> Tag;

    /// Whether `received` is the code over `parts`, or its first bytes; see [`Tag::verify`].
    fn verify(&self, parts: &[&[u8]], received: &[u8]) -> bool {
        self.sign(parts).verify(received)
    }
}

/// A running hash that can be forked, as handshake transcripts need.
pub trait Hash: Send {
    /// Adds bytes.
    fn update(&mut self, data: &[u8]);

    /// The hash of everything added.
    fn finish(self: Box<Self>) -> Digest;

    /// A copy that goes its own way from here.
    fn fork(&self) -> Box<dyn Hash>;
}

/// One half of an ephemeral key exchange: the half that begins, if the group is a key encapsulation.
pub trait KeyExchange: Send {
    /// The group of the exchange.
    fn group(&self) -> NamedGroup;

    /// Our public value as it goes on the wire.
    fn public_key(&self) -> &[u8];

    /// The shared secret (the x coordinate for NIST curves). Refuses points off the curve and all-zero secrets
    /// (RFC 8422 §5.10, RFC 7748 §6.1).
    ///
    /// # Errors
    /// [`CryptoError::PeerKey`] for a public value that is refused.
    fn complete(self: Box<Self>, peer: &[u8]) -> Result<Secret, CryptoError>;
}
