//! Hashes of what is there as a whole.

use md5::Digest as _;

use crate::algorithm::HashAlgorithm;
use crate::tag::Digest;

fn hash<D: sha2::Digest>(parts: &[&[u8]]) -> sha2::digest::Output<D> {
    let mut hash = D::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize()
}

/// SHA-1 of the concatenation of `parts`, for old certificate fingerprints only.
pub fn sha1(parts: &[&[u8]]) -> [u8; 20] {
    hash::<sha1::Sha1>(parts).into()
}

/// SHA-256 of the concatenation of `parts`.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    hash::<sha2::Sha256>(parts).into()
}

/// The hash of the concatenation of `parts`.
pub fn digest(algorithm: HashAlgorithm, parts: &[&[u8]]) -> Digest {
    match algorithm {
        HashAlgorithm::Sha1 => Digest::new(&hash::<sha1::Sha1>(parts)),
        HashAlgorithm::Sha256 => Digest::new(&hash::<sha2::Sha256>(parts)),
        HashAlgorithm::Sha384 => Digest::new(&hash::<sha2::Sha384>(parts)),
        HashAlgorithm::Sha512 => Digest::new(&hash::<sha2::Sha512>(parts)),
    }
}

/// MD5 of the concatenation of `parts`. STUN's long-term key is made of it (RFC 8489 §9.2.2); it is good for nothing else.
pub fn md5(parts: &[&[u8]]) -> [u8; 16] {
    let mut hash = md5::Md5::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}
