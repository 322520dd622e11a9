//! HMAC by RustCrypto, with keys that are kept and with keys that are used once.

use hmac::digest::KeyInit;
use hmac::{Hmac, Mac as _};

use crate::algorithm::HashAlgorithm;
use crate::hmac_sha1::HmacSha1;
use crate::provider::Mac;
use crate::tag::Tag;

/// RustCrypto's HMAC with both key blocks hashed; a call clones that state instead of hashing the key again.
struct Keyed<M>(M);

impl<M: hmac::Mac + Clone + Send + Sync> Mac for Keyed<M> {
    fn sign(&self, parts: &[&[u8]]) -> Tag {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        Tag::new(&mac.finalize().into_bytes())
    }
}

/// Any key length is taken: HMAC hashes what is longer than a block (RFC 2104 §2), so `new_from_slice` cannot fail.
fn keyed<M: hmac::Mac + KeyInit + Clone + Send + Sync + 'static>(key: &[u8]) -> Box<dyn Mac> {
    Box::new(Keyed(
        <M as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length"),
    ))
}

/// HMAC by RustCrypto. It picks SHA-NI at run time; ring's HMAC-SHA1 takes three times as long per packet.
pub(crate) fn hmac_key(hash: HashAlgorithm, key: &[u8]) -> Box<dyn Mac> {
    match hash {
        HashAlgorithm::Sha1 => Box::new(HmacSha1::new(key)),
        _ => hmac_crate(hash, key),
    }
}

/// HMAC by the crate of that name.
pub(crate) fn hmac_crate(hash: HashAlgorithm, key: &[u8]) -> Box<dyn Mac> {
    match hash {
        HashAlgorithm::Sha1 => keyed::<Hmac<sha1::Sha1>>(key),
        HashAlgorithm::Sha256 => keyed::<Hmac<sha2::Sha256>>(key),
        HashAlgorithm::Sha384 => keyed::<Hmac<sha2::Sha384>>(key),
        HashAlgorithm::Sha512 => keyed::<Hmac<sha2::Sha512>>(key),
    }
}

/// HMAC over `parts` with a key used once; nothing is allocated.
fn hmac_once<D>(key: &[u8], parts: &[&[u8]]) -> Tag
where
    D: hmac::EagerHash,
    Hmac<D>: hmac::Mac + KeyInit,
{
    let mut mac = <Hmac<D> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    for part in parts {
        mac.update(part);
    }
    Tag::new(&mac.finalize().into_bytes())
}

/// HMAC-SHA1 over the concatenation of `parts` (STUN's MESSAGE-INTEGRITY). Allocates nothing.
pub fn hmac_sha1(key: &[u8], parts: &[&[u8]]) -> Tag {
    hmac_once::<sha1::Sha1>(key, parts)
}

/// HMAC-SHA256 over the concatenation of `parts`. Allocates nothing.
pub fn hmac_sha256(key: &[u8], parts: &[&[u8]]) -> Tag {
    hmac_once::<sha2::Sha256>(key, parts)
}
