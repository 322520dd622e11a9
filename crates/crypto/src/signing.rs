use std::fmt;
use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::{self, EcdsaKeyPair, Ed25519KeyPair, KeyPair, UnparsedPublicKey, VerificationAlgorithm};

use crate::algorithm::SignatureScheme;
use crate::error::{AuthError, CryptoError};

/// A private key that signs. Cheap to clone: clones share the key.
#[derive(Clone)]
pub struct SigningKey(Arc<Kind>);

enum Kind {
    Ecdsa(EcdsaKeyPair, SignatureScheme),
    Ed25519(Ed25519KeyPair),
    #[cfg(feature = "null")]
    Null,
}

impl SigningKey {
    /// Reads PKCS #8 DER, as `rcgen` and OpenSSL write it: ECDSA on P-256 or P-384, or Ed25519.
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
        // Without the public key inside (PKCS #8 version 1), as OpenSSL writes Ed25519 keys.
        Ed25519KeyPair::from_pkcs8_maybe_unchecked(pkcs8)
            .map(|pair| Self(Arc::new(Kind::Ed25519(pair))))
            .map_err(|_| CryptoError::PrivateKey)
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
            #[cfg(feature = "null")]
            Kind::Null => SignatureScheme::EcdsaSecp256r1Sha256,
        }
    }

    /// The public half in the form that [`verify_signature`] takes.
    pub fn public_key(&self) -> &[u8] {
        match &*self.0 {
            Kind::Ecdsa(pair, _) => pair.public_key().as_ref(),
            Kind::Ed25519(pair) => pair.public_key().as_ref(),
            #[cfg(feature = "null")]
            Kind::Null => &[],
        }
    }

    /// Signs `message`: DER `ECDSA-Sig-Value` for ECDSA, 64 bytes for Ed25519.
    ///
    /// ECDSA takes its nonce from ring's own randomness, so two calls differ. Fails only if the system has none to give.
    pub fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        match &*self.0 {
            Kind::Ecdsa(pair, _) => pair
                .sign(&system_random(), message)
                .map(|signature| signature.as_ref().to_vec())
                .map_err(|_| CryptoError::Randomness),
            Kind::Ed25519(pair) => Ok(pair.sign(message).as_ref().to_vec()),
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
