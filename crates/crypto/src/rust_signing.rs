//! Signatures in pure Rust (feature `rust`), made without randomness.

use ed25519_dalek::Verifier as _;
use ed25519_dalek::pkcs8::DecodePrivateKey as _;
use p256::ecdsa::signature::hazmat::{PrehashSigner, PrehashVerifier};
use p256::elliptic_curve::sec1::ToSec1Point;

use crate::algorithm::{HashAlgorithm, SignatureScheme};
use crate::digest::digest;
use crate::error::{AuthError, CryptoError};

/// A private key that signs without randomness (RFC 6979, RFC 8032).
pub(crate) enum RustKey {
    P256(p256::ecdsa::SigningKey, Vec<u8>),
    P384(p384::ecdsa::SigningKey, Vec<u8>),
    Ed25519(ed25519_dalek::SigningKey, [u8; 32]),
}

impl RustKey {
    pub(crate) fn from_pkcs8_der(pkcs8: &[u8]) -> Result<Self, CryptoError> {
        if let Ok(key) = p256::SecretKey::from_pkcs8_der(pkcs8) {
            let public = key.public_key().to_sec1_point(false).as_bytes().to_vec();
            return Ok(Self::P256(key.into(), public));
        }
        if let Ok(key) = p384::SecretKey::from_pkcs8_der(pkcs8) {
            let public = key.public_key().to_sec1_point(false).as_bytes().to_vec();
            return Ok(Self::P384(key.into(), public));
        }
        let key = ed25519_dalek::SigningKey::from_pkcs8_der(pkcs8).map_err(|_| CryptoError::PrivateKey)?;
        let public = key.verifying_key().to_bytes();
        Ok(Self::Ed25519(key, public))
    }

    pub(crate) fn scheme(&self) -> SignatureScheme {
        match self {
            Self::P256(..) => SignatureScheme::EcdsaSecp256r1Sha256,
            Self::P384(..) => SignatureScheme::EcdsaSecp384r1Sha384,
            Self::Ed25519(..) => SignatureScheme::Ed25519,
        }
    }

    pub(crate) fn public_key(&self) -> &[u8] {
        match self {
            Self::P256(_, public) | Self::P384(_, public) => public,
            Self::Ed25519(_, public) => public,
        }
    }

    pub(crate) fn sign(&self, message: &[u8]) -> Result<Vec<u8>, CryptoError> {
        use ed25519_dalek::Signer as _;
        match self {
            Self::P256(key, _) => {
                let signature: p256::ecdsa::Signature = key
                    .sign_prehash(digest(HashAlgorithm::Sha256, &[message]).as_bytes())
                    .map_err(|_| CryptoError::PrivateKey)?;
                Ok(signature.to_der().as_bytes().to_vec())
            }
            Self::P384(key, _) => {
                let signature: p384::ecdsa::Signature = key
                    .sign_prehash(digest(HashAlgorithm::Sha384, &[message]).as_bytes())
                    .map_err(|_| CryptoError::PrivateKey)?;
                Ok(signature.to_der().as_bytes().to_vec())
            }
            Self::Ed25519(key, _) => Ok(key.sign(message).to_bytes().to_vec()),
        }
    }
}

/// Checks ECDSA and Ed25519; `None` for the schemes that are not here (RSA: its only kept crate has an open advisory,
/// RUSTSEC-2023-0071).
pub(crate) fn verify(
    scheme: SignatureScheme,
    public_key: &[u8],
    message: &[u8],
    signature: &[u8],
) -> Option<Result<(), AuthError>> {
    let hash = match scheme {
        SignatureScheme::EcdsaSecp256r1Sha256 => HashAlgorithm::Sha256,
        SignatureScheme::EcdsaSecp384r1Sha384 => HashAlgorithm::Sha384,
        SignatureScheme::Ed25519 => return Some(verify_ed25519(public_key, message, signature)),
        _ => return None,
    };
    let hashed = digest(hash, &[message]);
    // RFC 8422 §5.4.1: uncompressed points and no others.
    Some(match (public_key.len(), public_key.first()) {
        (65, Some(4)) => p256::ecdsa::VerifyingKey::from_sec1_bytes(public_key)
            .and_then(|key| key.verify_prehash(hashed.as_bytes(), &p256::ecdsa::Signature::from_der(signature)?))
            .map_err(|_| AuthError),
        (97, Some(4)) => p384::ecdsa::VerifyingKey::from_sec1_bytes(public_key)
            .and_then(|key| key.verify_prehash(hashed.as_bytes(), &p384::ecdsa::Signature::from_der(signature)?))
            .map_err(|_| AuthError),
        _ => Err(AuthError),
    })
}

fn verify_ed25519(public_key: &[u8], message: &[u8], signature: &[u8]) -> Result<(), AuthError> {
    let key = public_key.try_into().map_err(|_| AuthError)?;
    let signature = signature.try_into().map_err(|_| AuthError)?;
    ed25519_dalek::VerifyingKey::from_bytes(&key)
        .and_then(|key| key.verify(message, &ed25519_dalek::Signature::from_bytes(&signature)))
        .map_err(|_| AuthError)
}
