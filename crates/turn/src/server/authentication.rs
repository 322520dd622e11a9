//! Who sent a request (RFC 8489 §9.2.4), and how often a stranger is answered.

use std::time::{Duration, Instant};

use antiphon_crypto::hmac_sha1;
use antiphon_sansio::Path;
use antiphon_stun::{AttributeType, Check, Key, Message};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::rate::source_key;
use super::request::{Algorithm, BAD_REQUEST, Caller, Challenge, Denial, OFFERED, Refusal};
use super::state::Server;
use crate::login::{PASSWORD_ALGORITHMS, prepared, security_features};

/// How long a user who logged in from an address counts as one who lives there.
const RESIDENCE: Duration = Duration::from_secs(24 * 3600);

const NO_CREDENTIALS: Refusal = Refusal::challenge(401, "Unauthenticated", Challenge::First);
const WRONG_CREDENTIALS: Refusal = Refusal::challenge(401, "Unauthenticated", Challenge::Again);
const STALE_NONCE: Refusal = Refusal::challenge(438, "Stale Nonce", Challenge::Again);

impl Server {
    /// A refusal for a stranger, as often as strangers from there are answered (V16).
    fn deny_stranger(&mut self, now: Instant, client: Path, refusal: Refusal) -> Denial {
        if self.limits.strangers.take(now, source_key(client.remote.ip())) {
            Denial::Refusal(refusal)
        } else {
            self.counters.throttled += 1;
            Denial::Silence
        }
    }

    /// RFC 8489 §9.2.4: these checks, in this order, before anything else of the request counts (RFC 8656 §5).
    ///
    /// A nonce that is stale or not ours comes last, as there. But whoever could try any number of passwords with forged nonces,
    /// or use up the failures of somebody else's address with them, would escape the limit on failures or turn it against others
    /// (V18). So such requests have a limit of their own, and beyond it they all hear that the nonce is stale: for the right
    /// password that is the answer anyway.
    ///
    /// Many share an address, and a guesser among them must not keep the others out. See [`may_guess`](Self::may_guess) for whose
    /// passwords are looked at when too many were wrong; a wrong one is not answered then, whoever it is for, so that silence tells
    /// nothing of who uses the server from there.
    pub(super) fn authenticate(&mut self, now: Instant, client: Path, message: &Message<'_>) -> Result<Caller, Denial> {
        if !message.has_integrity() {
            self.counters.unauthorized += 1;
            return Err(self.deny_stranger(now, client, NO_CREDENTIALS));
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
        let Some((algorithm, sha256)) = algorithm_of(message, nonce) else {
            return Err(self.deny_stranger(now, client, BAD_REQUEST));
        };
        let fresh = self.nonces.is_fresh(now, client.remote, nonce);
        let known = self.allocations.get(&client);
        let known = known.filter(|a| a.caller.username == username && a.caller.algorithm == algorithm);
        // Its credentials were good when it was made.
        let known = known.map(|allocation| allocation.caller.key.clone());
        let answered = self.has_failures_left(now, client, fresh);
        let key = match known {
            Some(key) => Some(key),
            None if !answered && !self.may_guess(now, client, &username, fresh) => {
                if fresh {
                    self.counters.throttled += 1;
                    return Err(Denial::Silence);
                }
                self.counters.stale_nonces += 1;
                return Err(self.deny_stranger(now, client, STALE_NONCE));
            }
            None if realm != self.config.realm => None,
            None => self.key_of(now, &username, algorithm),
        };
        let valid = key
            .as_ref()
            .is_some_and(|key| match message.check_integrity_sha256(key) {
                Check::Absent => message.check_integrity(key).is_valid(),
                check => check.is_valid(),
            });
        match key {
            Some(_) if valid && !fresh => {
                self.counters.stale_nonces += 1;
                Err(self.deny_stranger(now, client, STALE_NONCE))
            }
            Some(key) if valid => {
                let residence = residence(client, &username);
                self.limits.residents.note(now, residence);
                Ok(Caller {
                    username,
                    algorithm,
                    key,
                    sha256,
                })
            }
            _ => Err(self.deny_guess(now, client, &username, fresh, answered)),
        }
    }

    /// A wrong password. Only here can a guess be told from the truth. A fresh nonce proves that the source is no forgery.
    fn deny_guess(&mut self, now: Instant, client: Path, username: &str, fresh: bool, answered: bool) -> Denial {
        self.counters.unauthorized += 1;
        if fresh {
            self.limits.failures.take(now, source_key(client.remote.ip()));
            self.limits.client_failures.take(now, client.remote);
            self.limits.resident_failures.take(now, residence(client, username));
        } else {
            self.limits.unproven.take(now, source_key(client.remote.ip()));
        }
        if !answered {
            self.counters.throttled += 1;
            return Denial::Silence;
        }
        self.deny_stranger(now, client, WRONG_CREDENTIALS)
    }

    /// Whether one more failure from there is answered as one.
    fn has_failures_left(&mut self, now: Instant, client: Path, fresh: bool) -> bool {
        let source = source_key(client.remote.ip());
        match fresh {
            true => {
                self.limits.failures.has_room(now, source) && self.limits.client_failures.has_room(now, client.remote)
            }
            false => self.limits.unproven.has_room(now, source),
        }
    }

    /// Whose passwords are looked at although too many from there were wrong (V18). Nobody guesses the 160 bits of a password that
    /// was made for a name that expires. A user who has logged in from this address lives behind it: the guesses for that name have
    /// a limit of their own, so that those for other names keep nobody out.
    fn may_guess(&mut self, now: Instant, client: Path, username: &str, fresh: bool) -> bool {
        // A client that guesses is one that guesses, for whichever user: the others have clients of their own.
        if !fresh || !self.limits.client_failures.has_room(now, client.remote) {
            return false;
        }
        let residence = residence(client, username);
        let expires = !self.users.contains_key(username) && self.config.time_limited.is_some();
        expires
            || self.limits.residents.within(now, RESIDENCE, residence)
                && self.limits.resident_failures.has_room(now, residence)
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

/// How the password becomes a key, and whether the answer carries MESSAGE-INTEGRITY-SHA256; `None` if what the request says of
/// it is not what we offered.
fn algorithm_of(message: &Message<'_>, nonce: &[u8]) -> Option<(Algorithm, bool)> {
    let announced = security_features(nonce) & PASSWORD_ALGORITHMS != 0;
    let named = (
        message.get(AttributeType::PASSWORD_ALGORITHM),
        message.get(AttributeType::PASSWORD_ALGORITHMS),
    );
    match named {
        // Clients of RFC 5389, browsers among them, and those that were offered nothing else.
        (None, None) => Some((Algorithm::Md5, false)),
        _ if !announced => Some((Algorithm::Md5, false)),
        // The list must come back as we sent it: nobody on the way took the stronger one out.
        (Some([0, 1, 0, 0]), Some(list)) if list == OFFERED => Some((Algorithm::Md5, true)),
        (Some([0, 2, 0, 0]), Some(list)) if list == OFFERED => Some((Algorithm::Sha256, true)),
        _ => None,
    }
}

/// A user and an address.
fn residence(client: Path, username: &str) -> (u128, &str) {
    (source_key(client.remote.ip()), username)
}
