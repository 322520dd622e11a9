#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod aes_ctr;
mod algorithm;
mod ctr_hmac;
mod digest;
mod error;
#[cfg(any(target_arch = "aarch64", target_arch = "x86_64"))]
mod graviola_exchange;
mod hmac_sha1;
mod hybrid;
mod kdf;
mod mac;
mod ml_kem;
#[cfg(feature = "null")]
mod null_provider;
mod number_mask;
mod provider;
mod ring_provider;
#[cfg(feature = "rust")]
mod rust_exchange;
mod rust_provider;
#[cfg(feature = "rust")]
mod rust_signing;
mod secret;
mod signing;
mod tag;

pub use algorithm::{AeadAlgorithm, HashAlgorithm, NamedGroup, SignatureScheme, TAG_LEN};
pub use digest::{digest, md5, sha1, sha256};
pub use error::{AuthError, CryptoError};
pub use kdf::{hkdf_expand, hkdf_expand_with, hkdf_extract, tls12_prf, tls12_prf_with};
pub use mac::{hmac_sha1, hmac_sha256};
#[cfg(feature = "null")]
pub use null_provider::null_provider;
pub use number_mask::NumberMask;
pub use provider::{AeadKey, AesCtr, BlockCipher, CryptoProvider, CtrHmac, Hash, KeyExchange, Mac, Provider};
pub use ring_provider::ring_provider;
pub use rust_provider::rust_provider;
pub use secret::Secret;
pub use signing::{SigningKey, verify_signature};
pub use tag::{Digest, Tag, constant_time_eq};
