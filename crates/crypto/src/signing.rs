//! Private keys that sign, and the check of signatures.

use std::fmt;
use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::{
    self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, RsaEncoding, RsaKeyPair, UnparsedPublicKey, VerificationAlgorithm,
};

use crate::algorithm::SignatureScheme;
use crate::error::{AuthError, CryptoError};
#[cfg(feature = "rust")]
use crate::rust_signing::RustKey;

/// A private key that signs. Cheap to clone: clones share the key.
#[derive(Clone)]
pub struct SigningKey(Arc<Kind>);

enum Kind {
    Ecdsa(EcdsaKeyPair, SignatureScheme),
    Ed25519(Ed25519KeyPair),
    Rsa(RsaKeyPair),
    #[cfg(feature = "rust")]
    Rust(RustKey),
    #[cfg(feature = "null")]
    Null,
}

/// What an RSA key signs with, PSS first: TLS 1.3 takes nothing else for its own messages (RFC 8446 §4.2.3).
const RSA_SCHEMES: [SignatureScheme; 6] = [
    SignatureScheme::RsaPssRsaeSha256,
    SignatureScheme::RsaPssRsaeSha384,
    SignatureScheme::RsaPssRsaeSha512,
    SignatureScheme::RsaPkcs1Sha256,
    SignatureScheme::RsaPkcs1Sha384,
    SignatureScheme::RsaPkcs1Sha512,
];

fn rsa_padding(scheme: SignatureScheme) -> Option<&'static dyn RsaEncoding> {
    Some(match scheme {
        SignatureScheme::RsaPssRsaeSha256 => &signature::RSA_PSS_SHA256,
        SignatureScheme::RsaPssRsaeSha384 => &signature::RSA_PSS_SHA384,
        SignatureScheme::RsaPssRsaeSha512 => &signature::RSA_PSS_SHA512,
        SignatureScheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_SHA256,
        SignatureScheme::RsaPkcs1Sha384 => &signature::RSA_PKCS1_SHA384,
        SignatureScheme::RsaPkcs1Sha512 => &signature::RSA_PKCS1_SHA512,
        SignatureScheme::EcdsaSecp256r1Sha256 | SignatureScheme::EcdsaSecp384r1Sha384 | SignatureScheme::Ed25519 => {
            return None;
        }
    })
}

impl SigningKey {
    /// Reads PKCS #8 DER, as `rcgen` and OpenSSL write it: ECDSA on P-256 or P-384, Ed25519, or RSA of 2048 to 4096 bits.
    ///
    /// # Errors
    /// [`CryptoError::PrivateKey`] for anything else.
    pub fn from_pkcs8_der(pkcs8: &[u8]) -> Result<Self, CryptoError> {
        let rng = system_random();
        let curves = [
            (
                &signature::ECDSA_P256_SHA256_ASN1_SIGNING,
                SignatureScheme::EcdsaSecp256r1Sha256,
            ),
            (
                &signature::ECDSA_P384_SHA384_ASN1_SIGNING,
                SignatureScheme::EcdsaSecp384r1Sha384,
            ),
        ];
        for (algorithm, scheme) in curves {
            if let Ok(pair) = EcdsaKeyPair::from_pkcs8(algorithm, pkcs8, &rng) {
                return Ok(Self(Arc::new(Kind::Ecdsa(pair, scheme))));
            }
        }
        if let Ok(pair) = RsaKeyPair::from_pkcs8(pkcs8) {
            return Ok(Self(Arc::new(Kind::Rsa(pair))));
        }
        // Without the public key inside (PKCS #8 version 1), as OpenSSL writes Ed25519 keys.
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
            .map(|pair| Self(Arc::new(Kind::Ed25519(pair))))
            .map_err(|_| CryptoError::PrivateKey)
    }

    /// ECDSA and Ed25519 in pure Rust; RSA stays ring's.
    #[cfg(feature = "rust")]
    pub(crate) fn rust_from_pkcs8_der(pkcs8: &[u8]) -> Result<Self, CryptoError> {
        match RustKey::from_pkcs8_der(pkcs8) {
            Ok(key) => Ok(Self(Arc::new(Kind::Rust(key)))),
            Err(_) => Self::from_pkcs8_der(pkcs8),
        }
    }

    #[cfg(feature = "null")]
    pub(crate) fn null() -> Self {
        Self(Arc::new(Kind::Null))
    }

    /// What [`Self::sign`] makes.
    pub fn scheme(&self) -> SignatureScheme {
        match &*self.0 {
            Kind::Ecdsa(_, scheme) => *scheme,
            Kind::Ed25519(_) => SignatureScheme::Ed25519,
            Kind::Rsa(_) => RSA_SCHEMES[0],
            #[cfg(feature = "rust")]
            Kind::Rust(key) => key.scheme(),
            #[cfg(feature = "null")]
            Kind::Null => SignatureScheme::EcdsaSecp256r1Sha256,
        }
    }

    /// Everything that [`Self::sign_with`] can make, best first: one scheme for an elliptic curve, several for RSA.
    pub fn schemes(&self) -> &[SignatureScheme] {
        match &*self.0 {
            Kind::Ecdsa(_, scheme) => std::slice::from_ref(scheme),
            Kind::Ed25519(_) => &[SignatureScheme::Ed25519],
            Kind::Rsa(_) => &RSA_SCHEMES,
            #[cfg(feature = "rust")]
            Kind::Rust(key) => match key {
                RustKey::P256(..) => &[SignatureScheme::EcdsaSecp256r1Sha256],
                RustKey::P384(..) => &[SignatureScheme::EcdsaSecp384r1Sha384],
                RustKey::Ed25519(..) => &[SignatureScheme::Ed25519],
            },
            #[cfg(feature = "null")]
            Kind::Null => &[SignatureScheme::EcdsaSecp256r1Sha256],
        }
    }

    /// The public half in the form that [`verify_signature`] takes.
    pub fn public_key(&self) -> &[u8] {
        match &*self.0 {
            Kind::Ecdsa(pair, _) => pair.public_key().as_ref(),
            Kind::Ed25519(pair) => pair.public_key().as_ref(),
            Kind::Rsa(pair) => pair.public().as_ref(),
            #[cfg(feature = "rust")]
            Kind::Rust(key) => key.public_key(),
            #[cfg(feature = "null")]
            Kind::Null => &[],
        }
    }

    /// Signs `message` by [`Self::scheme`]: DER `ECDSA-Sig-Value` for ECDSA, 64 bytes for Ed25519, as many as the modulus has
    /// for RSA.
    ///
    /// ECDSA and RSA-PSS take randomness from ring's own generator, so two calls differ.
    ///
    /// # Errors
    /// [`CryptoError::Randomness`] if the system has none to give.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.sign_with(self.scheme(), message)
    }

    /// Signs by one of [`Self::schemes`].
    ///
    /// # Errors
    /// [`CryptoError::Unsupported`] if the scheme is not one of them; otherwise as [`Self::sign`].
    pub fn sign_with(&self, scheme: SignatureScheme, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        if !self.schemes().contains(&scheme) {
            return Err(CryptoError::Unsupported);
        }
        match &*self.0 {
            Kind::Ecdsa(pair, _) => pair
                .sign(&system_random(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| CryptoError::Randomness),
            Kind::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
            #[cfg(feature = "rust")]
            Kind::Rust(key) => key.sign(message),
            Kind::Rsa(pair) => {
                let padding = rsa_padding(scheme).ok_or(CryptoError::Unsupported)?;
                let mut signature = vec![0; pair.public().modulus_len()];
                pair.sign(padding, &system_random(), message, &mut signature)
                    .map_err(|_| CryptoError::Randomness)?;
                Ok(signature)
            }
            #[cfg(feature = "null")]
            Kind::Null => Ok(vec![0; 64]),
        }
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SigningKey({:?}, redacted)", self.scheme())
    }
}

/// ring takes no other generator for key pairs and ECDSA nonces (its `SecureRandom` is sealed).
#[allow(clippy::disallowed_methods)]
pub(crate) fn system_random() -> SystemRandom {
    SystemRandom::new()
}

/// Checks `signature` over `message`.
///
/// `public_key` is the content of the certificate's `subjectPublicKey` bit string: an uncompressed point for ECDSA,
/// 32 bytes for Ed25519, a DER `RSAPublicKey` (2048 to 8192 bits) for RSA. For the two ECDSA schemes the curve is the key's
/// own, as TLS 1.2 has it; TLS 1.3 code checks besides that it is the scheme's.
///
/// # Errors
/// [`AuthError`] if it is not the key's signature, or the key is not one of the scheme.
pub fn verify_signature(
    scheme: SignatureScheme,
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Result<(), AuthError> {
    let p384 = public_key.len() == 97;
    let algorithm: &'static dyn VerificationAlgorithm = match scheme {
        SignatureScheme::EcdsaSecp256r1Sha256 if p384 => &signature::ECDSA_P384_SHA256_ASN1,
        SignatureScheme::EcdsaSecp256r1Sha256 => &signature::ECDSA_P256_SHA256_ASN1,
        SignatureScheme::EcdsaSecp384r1Sha384 if p384 => &signature::ECDSA_P384_SHA384_ASN1,
        SignatureScheme::EcdsaSecp384r1Sha384 => &signature::ECDSA_P256_SHA384_ASN1,
        SignatureScheme::Ed25519 => &signature::ED25519,
        SignatureScheme::RsaPkcs1Sha256 => &signature::RSA_PKCS1_2048_8192_SHA256,
        SignatureScheme::RsaPkcs1Sha384 => &signature::RSA_PKCS1_2048_8192_SHA384,
        SignatureScheme::RsaPkcs1Sha512 => &signature::RSA_PKCS1_2048_8192_SHA512,
        SignatureScheme::RsaPssRsaeSha256 => &signature::RSA_PSS_2048_8192_SHA256,
        SignatureScheme::RsaPssRsaeSha384 => &signature::RSA_PSS_2048_8192_SHA384,
        SignatureScheme::RsaPssRsaeSha512 => &signature::RSA_PSS_2048_8192_SHA512,
    };
    UnparsedPublicKey::new(algorithm, public_key)
        .verify(message, signature)
        .map_err(|_| AuthError)
}
