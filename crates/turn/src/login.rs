//! The client's long-term credentials (RFC 8489 §9.2): what the server challenged us with, and how requests are signed.

use std::borrow::Cow;

use antiphon_stun::{AttributeType, Check, Key, Message, MessageBuilder, opaque_string};
use zeroize::Zeroizing;

use crate::error::AllocationError;

/// How a nonce begins that carries security features (RFC 8489 §9.2); four characters of Base64 follow.
pub(crate) const NONCE_COOKIE: &[u8] = b"obMatJos2";

/// The longest PASSWORD-ALGORITHMS that is kept and sent back.
const MAX_ALGORITHMS: usize = 64;

/// RFC 8489 §18.5.1.
const MD5: u16 = 0x0001;
const SHA_256: u16 = 0x0002;

/// RFC 8489 §18.1: the features, from the most significant of 24 bits.
pub(crate) const PASSWORD_ALGORITHMS: u32 = 1 << 23;
pub(crate) const USERNAME_ANONYMITY: u32 = 1 << 22;

/// Which user, with which password, at the server's realm.
pub(crate) struct Login {
    username: String,
    password: Zeroizing<String>,
    realm: String,
    nonce: Vec<u8>,
    /// PASSWORD-ALGORITHMS as the server sent it; empty if it did not.
    offered: Vec<u8>,
    /// The chosen algorithm, if the server offered any.
    algorithm: Option<u16>,
    userhash: Option<[u8; 32]>,
    key: Option<Key>,
}

impl Login {
    pub(crate) fn new(username: &str, password: &str) -> Self {
        Self {
            username: prepared(username),
            password: Zeroizing::new(prepared(password)),
            realm: String::new(),
            nonce: Vec::new(),
            offered: Vec::new(),
            algorithm: None,
            userhash: None,
            key: None,
        }
    }

    pub(crate) fn realm(&self) -> &str {
        &self.realm
    }

    /// Whether requests are signed.
    pub(crate) fn is_challenged(&self) -> bool {
        self.key.is_some()
    }

    /// Takes what a 401 or 438 asks for (RFC 8489 §9.2.5). Returns whether there is enough to try again.
    pub(crate) fn accept(&mut self, message: &Message<'_>) -> Result<bool, AllocationError> {
        let Some(nonce) = message.nonce() else {
            return Ok(false);
        };
        let realm = match message.realm() {
            Some(realm) => realm,
            None if self.is_challenged() => &self.realm,
            None => return Ok(false),
        };
        let features = security_features(nonce);
        let offered = message.get(AttributeType::PASSWORD_ALGORITHMS).unwrap_or(&[]);
        // RFC 8489 §9.2.5: the feature is announced and the list is gone: somebody wants us to use the weaker one.
        if features & PASSWORD_ALGORITHMS != 0 && offered.is_empty() {
            return Err(AllocationError::BidDown);
        }
        let algorithm = match choose(offered) {
            _ if offered.is_empty() => None,
            Some(algorithm) if offered.len() <= MAX_ALGORITHMS => Some(algorithm),
            _ => return Err(AllocationError::Malformed),
        };
        let userhash = (features & USERNAME_ANONYMITY != 0)
            .then(|| antiphon_crypto::sha256(&[self.username.as_bytes(), b":", realm.as_bytes()]));
        if self.key.is_none() || self.realm != realm || self.algorithm != algorithm {
            self.key = Some(match algorithm {
                Some(SHA_256) => Key::long_term_sha256(&self.username, realm, &self.password),
                _ => Key::long_term(&self.username, realm, &self.password),
            });
        }
        self.realm = realm.to_owned();
        self.nonce = nonce.to_vec();
        self.offered = offered.to_vec();
        self.algorithm = algorithm;
        self.userhash = userhash;
        Ok(true)
    }

    /// Adds what proves who we are; nothing before the first challenge.
    pub(crate) fn sign(&self, builder: &mut MessageBuilder<'_>) {
        let Some(key) = &self.key else { return };
        match &self.userhash {
            Some(hash) => builder.put(AttributeType::USERHASH, hash),
            None => builder.username(&self.username),
        };
        builder.realm(&self.realm).nonce(&self.nonce);
        match self.algorithm {
            // RFC 8489 §9.2.4: the list goes back, so that the server sees whether it was changed on the way.
            Some(algorithm) => {
                let [high, low] = algorithm.to_be_bytes();
                builder
                    .put(AttributeType::PASSWORD_ALGORITHM, &[high, low, 0, 0])
                    .put(AttributeType::PASSWORD_ALGORITHMS, &self.offered)
                    .integrity_sha256(key);
            }
            None => {
                builder.integrity(key);
            }
        }
    }

    /// Whether the server proves that it knows the password; `None` while there is nothing to prove it with.
    pub(crate) fn check(&self, message: &Message<'_>) -> Option<Check> {
        let key = self.key.as_ref()?;
        Some(match self.algorithm {
            Some(_) => message.check_integrity_sha256(key),
            None => message.check_integrity(key),
        })
    }
}

/// A name or password as both ends hash it (RFC 8489 §9.2.2). What the profile refuses goes as it is: a server that took it when
/// it was chosen would otherwise be out of reach.
pub(crate) fn prepared(text: &str) -> String {
    opaque_string(text).map_or_else(|_| text.to_owned(), Cow::into_owned)
}

/// The best algorithm of a list that we know (RFC 8489 §14.11: number, length of parameters, parameters, padding).
fn choose(offered: &[u8]) -> Option<u16> {
    let (mut rest, mut best) = (offered, None);
    while let Some((head, tail)) = rest.split_first_chunk::<4>() {
        let algorithm = u16::from_be_bytes([head[0], head[1]]);
        let parameters = usize::from(u16::from_be_bytes([head[2], head[3]])).next_multiple_of(4);
        // Neither of the two has parameters (RFC 8489 §18.5.1).
        if parameters == 0 && matches!(algorithm, MD5 | SHA_256) {
            best = best.max(Some(algorithm));
        }
        rest = tail.get(parameters..)?;
    }
    best
}

/// The 24 bits of Base64 after the cookie; none without a cookie (RFC 8489 §9.2).
pub(crate) fn security_features(nonce: &[u8]) -> u32 {
    let Some(encoded) = nonce
        .strip_prefix(NONCE_COOKIE)
        .and_then(|rest| rest.first_chunk::<4>())
    else {
        return 0;
    };
    encoded
        .iter()
        .try_fold(0u32, |bits, byte| {
            let six = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' => 62,
                b'/' => 63,
                _ => return None,
            };
            Some(bits << 6 | u32::from(six))
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn features_of_a_nonce() {
        assert_eq!(security_features(b"obMatJos2gAAAxyz"), PASSWORD_ALGORITHMS);
        assert_eq!(security_features(b"obMatJos2QAAA"), USERNAME_ANONYMITY);
        assert_eq!(
            security_features(b"obMatJos2wAAA"),
            PASSWORD_ALGORITHMS | USERNAME_ANONYMITY
        );
        assert_eq!(security_features(b"obMatJos2wA"), 0);
        assert_eq!(security_features(b"f//499k954d6OL34oL9FSTvy64sA"), 0);
    }

    #[test]
    fn the_stronger_algorithm_is_chosen() {
        assert_eq!(choose(&[0, 1, 0, 0, 0, 2, 0, 0]), Some(SHA_256));
        assert_eq!(choose(&[0, 2, 0, 0, 0, 1, 0, 0]), Some(SHA_256));
        assert_eq!(choose(&[0, 1, 0, 0]), Some(MD5));
        assert_eq!(choose(&[0, 9, 0, 3, 7, 7, 7, 0, 0, 1, 0, 0]), Some(MD5));
        assert_eq!(choose(&[0, 9, 0, 0]), None);
        assert_eq!(choose(&[0, 9, 0, 3, 7]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(nonce: Vec<u8>, offered: Vec<u8>) {
            let _ = (security_features(&nonce), choose(&offered));
        }
    }
}
