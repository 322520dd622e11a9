//! Who sent a request (RFC 8489 §9.2.4), and how often a stranger is answered.

use std::time::Instant;

use antiphon_crypto::hmac_sha1;
use antiphon_sansio::Path;
use antiphon_stun::{AttributeType, Check, Key, Message, Method};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::Server;
use super::allocate::MISMATCH;
use crate::login::prepared;

/// PASSWORD-ALGORITHMS as we send it: SHA-256, then MD5 (RFC 8489 §18.5.1).
pub(super) const OFFERED: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];

/// How the password becomes a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Algorithm {
    Md5,
    Sha256,
}

/// Who sent a request, as its credentials prove.
#[derive(Clone, Debug)]
pub(super) struct Caller {
    pub(super) username: String,
    pub(super) algorithm: Algorithm,
    pub(super) key: Key,
    /// The request carries MESSAGE-INTEGRITY-SHA256, so its answer does.
    pub(super) sha256: bool,
}

impl Caller {
    /// Whose quota counts: of a name that expires, the name without the time.
    pub(super) fn quota_name(&self) -> &str {
        match self.username.split_once(':') {
            Some((time, name)) if time.bytes().all(|b| b.is_ascii_digit()) => name,
            _ => &self.username,
        }
    }
}

/// Why a request is not done.
#[derive(Debug)]
pub(super) enum Denial {
    /// No answer: the source had enough of them.
    Silence,
    Refusal(Refusal),
}

impl From<Refusal> for Denial {
    fn from(refusal: Refusal) -> Self {
        Self::Refusal(refusal)
    }
}

/// An error response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub(super) code: u16,
    pub(super) reason: &'static str,
    /// With REALM, NONCE and PASSWORD-ALGORITHMS.
    pub(super) challenge: bool,
    /// An attribute that we know and do not serve here, for UNKNOWN-ATTRIBUTES.
    pub(super) unserved: Option<AttributeType>,
}

impl Refusal {
    pub(super) const fn new(code: u16, reason: &'static str) -> Self {
        Self {
            code,
            reason,
            challenge: false,
            unserved: None,
        }
    }

    const fn challenge(code: u16, reason: &'static str) -> Self {
        Self {
            code,
            reason,
            challenge: true,
            unserved: None,
        }
    }

    pub(super) const fn unserved(kind: AttributeType) -> Self {
        Self {
            code: 420,
            reason: "Unknown Attribute",
            challenge: false,
            unserved: Some(kind),
        }
    }
}

const UNAUTHORIZED: Refusal = Refusal::challenge(401, "Unauthorized");

pub(super) const BAD_REQUEST: Refusal = Refusal::new(400, "Bad Request");

impl Server {
    /// A refusal for a stranger, as often as strangers from there are answered (V16).
    fn deny_stranger(&mut self, now: Instant, client: Path, refusal: Refusal) -> Denial {
        if self.strangers.take(now, client.remote.ip()) {
            Denial::Refusal(refusal)
        } else {
            self.counters.throttled += 1;
            Denial::Silence
        }
    }

    /// What a request without credentials gets. A challenge is the longest answer that a forged source can have sent to its victim:
    /// it is for who may need one (V16). The others hear what would be wrong with them next:
    /// nothing but Allocate begins anything (RFC 8656 §5), and one without a transport is none (RFC 8656 §7.2).
    fn refusal_of_stranger(&self, client: Path, message: &Message<'_>) -> Refusal {
        if self.allocations.contains_key(&client) {
            UNAUTHORIZED
        } else if message.method() != Method::ALLOCATE {
            MISMATCH
        } else if message.get(AttributeType::REQUESTED_TRANSPORT).is_none() {
            BAD_REQUEST
        } else {
            UNAUTHORIZED
        }
    }

    /// RFC 8489 §9.2.4. A nonce that is stale or not ours is answered before the password is looked at: whoever could
    /// guess passwords with a forged nonce, from forged addresses, would escape the limit on failures (V18).
    pub(super) fn authenticate(&mut self, now: Instant, client: Path, message: &Message<'_>) -> Result<Caller, Denial> {
        if !message.has_integrity() {
            self.counters.unauthorized += 1;
            let refusal = self.refusal_of_stranger(client, message);
            return Err(self.deny_stranger(now, client, refusal));
        }
        let username = match (message.username(), message.userhash()) {
            (Some(name), _) => Some(prepared(name)),
            // RFC 8489 §14.4. A hash of nobody is treated as a name of nobody.
            (None, Some(hash)) => Some(self.userhashes.get(&hash).cloned().unwrap_or_default()),
            (None, None) => None,
        };
        let (Some(username), Some(realm), Some(nonce)) = (username, message.realm(), message.nonce()) else {
            return Err(self.deny_stranger(now, client, BAD_REQUEST));
        };
        if !self.nonces.is_fresh(now, client.remote, nonce) {
            self.counters.stale_nonces += 1;
            return Err(self.deny_stranger(now, client, Refusal::challenge(438, "Stale Nonce")));
        }
        let algorithm = match (
            message.get(AttributeType::PASSWORD_ALGORITHM),
            message.get(AttributeType::PASSWORD_ALGORITHMS),
        ) {
            // Clients of RFC 5389, browsers among them.
            (None, None) => Algorithm::Md5,
            // The list must come back as we sent it: nobody on the way took the stronger one out.
            (Some([0, 1, 0, 0]), Some(list)) if list == OFFERED => Algorithm::Md5,
            (Some([0, 2, 0, 0]), Some(list)) if list == OFFERED => Algorithm::Sha256,
            _ => return Err(self.deny_stranger(now, client, BAD_REQUEST)),
        };
        let known = self.allocations.get(&client);
        let known = known.filter(|a| a.caller.username == username && a.caller.algorithm == algorithm);
        let key = match known {
            // Its credentials were good when it was made.
            Some(allocation) => Some(allocation.caller.key.clone()),
            None if !self.failures.has_room(now, client.remote.ip()) => {
                self.counters.throttled += 1;
                return Err(Denial::Silence);
            }
            None if realm != self.config.realm => None,
            None => self.key_of(now, &username, algorithm),
        };
        let (sha256, valid) = match &key {
            None => (false, false),
            Some(key) => match message.check_integrity_sha256(key) {
                Check::Absent => (false, message.check_integrity(key).is_valid()),
                check => (true, check.is_valid()),
            },
        };
        match key {
            Some(key) if valid => Ok(Caller {
                username,
                algorithm,
                key,
                sha256,
            }),
            _ => {
                self.counters.unauthorized += 1;
                // Only here can a guess be told from the truth; the nonce proves that the source is no forgery.
                self.failures.take(now, client.remote.ip());
                Err(self.deny_stranger(now, client, UNAUTHORIZED))
            }
        }
    }

    fn key_of(&self, now: Instant, username: &str, algorithm: Algorithm) -> Option<Key> {
        let realm = &self.config.realm;
        let key = |password: &str| match algorithm {
            Algorithm::Md5 => Key::long_term(username, realm, password),
            Algorithm::Sha256 => Key::long_term_sha256(username, realm, password),
        };
        if let Some(password) = self.users.get(username) {
            return Some(key(password));
        }
        let time_limited = self.config.time_limited.as_ref()?;
        let expiry = username.split_once(':').map_or(username, |(expiry, _)| expiry);
        let expiry: u64 = expiry.parse().ok()?;
        if expiry <= time_limited.clock.unix(now).as_secs() {
            return None;
        }
        let code = hmac_sha1(time_limited.secret.as_bytes(), &[username.as_bytes()]);
        let password = zeroize::Zeroizing::new(STANDARD.encode(code.as_bytes()));
        Some(key(&password))
    }
}
