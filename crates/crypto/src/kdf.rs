//! Key derivation: HKDF (RFC 5869) and the PRF of TLS 1.2 (RFC 5246 §5).

use crate::algorithm::HashAlgorithm;
use crate::error::CryptoError;
use crate::provider::{Mac, Provider};
use crate::secret::Secret;
use crate::tag::Tag;

/// HKDF-Extract (RFC 5869 §2.2). An empty `salt` stands for a string of zeros.
pub fn hkdf_extract(provider: Provider, hash: HashAlgorithm, salt: &[u8], input_key: &[u8]) -> Secret {
    // An HMAC key is padded with zeros to a block, so the empty key and a string of zeros are the same key.
    let mut tag = provider.mac(hash, salt).sign(&[input_key]);
    let secret = Secret::new(tag.as_bytes());
    tag.wipe();
    secret
}

/// HKDF-Expand (RFC 5869 §2.3). `info` is the concatenation of its parts.
///
/// Fills `out`, of at most 255 digests.
///
/// # Errors
/// [`CryptoError::OutputLength`] if more is asked for than that.
pub fn hkdf_expand(
    provider: Provider,
    hash: HashAlgorithm,
    pseudo_random_key: &[u8],
    info: &[&[u8]],
    out: &mut [u8],
) -> Result<(), CryptoError> {
    hkdf_expand_with(&*provider.mac(hash, pseudo_random_key), hash, info, out)
}

/// [`hkdf_expand`] with a key that is made once and used for several outputs: `mac` is HMAC by `hash` with the pseudo-random
/// key.
///
/// # Errors
/// [`CryptoError::OutputLength`] if more is asked for than 255 digests.
pub fn hkdf_expand_with(mac: &dyn Mac, hash: HashAlgorithm, info: &[&[u8]], out: &mut [u8]) -> Result<(), CryptoError> {
    if out.len() > 255 * hash.output_len() {
        return Err(CryptoError::OutputLength);
    }
    let mut previous: Option<Tag> = None;
    for (n, chunk) in out.chunks_mut(hash.output_len()).enumerate() {
        let counter = [n as u8 + 1];
        let mut parts = Vec::with_capacity(info.len() + 2);
        parts.extend(previous.as_ref().map(Tag::as_bytes));
        parts.extend_from_slice(info);
        parts.push(&counter);
        let tag = mac.sign(&parts);
        chunk.copy_from_slice(&tag.as_bytes()[..chunk.len()]);
        if let Some(mut old) = previous.replace(tag) {
            old.wipe();
        }
    }
    if let Some(mut last) = previous {
        last.wipe();
    }
    Ok(())
}

/// The TLS 1.2 pseudo-random function (RFC 5246 §5): `P_hash(secret, label + seed)`, as many bytes as `out` holds.
///
/// `seed` is the concatenation of its parts. TLS 1.2 names the hash by the cipher suite: SHA-256 or SHA-384.
pub fn tls12_prf(provider: Provider, hash: HashAlgorithm, secret: &[u8], label: &[u8], seed: &[&[u8]], out: &mut [u8]) {
    tls12_prf_with(&*provider.mac(hash, secret), hash, label, seed, out);
}

/// [`tls12_prf`] with a secret that is used for several outputs: `mac` is HMAC by `hash` with it as the key.
pub fn tls12_prf_with(mac: &dyn Mac, hash: HashAlgorithm, label: &[u8], seed: &[&[u8]], out: &mut [u8]) {
    let mut labelled = Vec::with_capacity(label.len() + seed.iter().map(|part| part.len()).sum::<usize>());
    labelled.extend_from_slice(label);
    seed.iter().for_each(|part| labelled.extend_from_slice(part));
    // A(1) = HMAC(secret, label + seed), A(i) = HMAC(secret, A(i-1)).
    let mut a: Option<Tag> = None;
    for chunk in out.chunks_mut(hash.output_len()) {
        let next = mac.sign(&[a.as_ref().map_or(&labelled[..], Tag::as_bytes)]);
        let mut block = mac.sign(&[next.as_bytes(), &labelled]);
        chunk.copy_from_slice(&block.as_bytes()[..chunk.len()]);
        block.wipe();
        if let Some(mut old) = a.replace(next) {
            old.wipe();
        }
    }
    if let Some(mut last) = a {
        last.wipe();
    }
}
