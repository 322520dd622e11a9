//! A request: who sent it, what its answer repeats, and why it is refused.

use antiphon_stun::{AttributeType, Key, Message, Method, TransactionId};

/// PASSWORD-ALGORITHMS as we send it: SHA-256, then MD5 (RFC 8489 §18.5.1).
pub(super) const OFFERED: [u8; 8] = [0, 2, 0, 0, 0, 1, 0, 0];

/// What of a request its answer repeats.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked {
    pub(super) id: TransactionId,
    pub(super) method: Method,
    pub(super) fingerprint: bool,
}

impl Asked {
    pub(super) fn in_request(message: &Message<'_>) -> Self {
        Self {
            id: message.transaction_id(),
            method: message.method(),
            fingerprint: message.has_fingerprint(),
        }
    }
}

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
    /// The request names a password algorithm, so its answer carries MESSAGE-INTEGRITY-SHA256 (RFC 8489 §9.2.4).
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

/// With which attributes an error response asks for credentials.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Challenge {
    /// None.
    No,
    /// REALM and NONCE, and PASSWORD-ALGORITHMS where there is room for them (RFC 8489 §9.2.4: the server can list them).
    First,
    /// REALM, NONCE and PASSWORD-ALGORITHMS: who gave credentials must hear of all three.
    Again,
}

/// An error response.
#[derive(Clone, Copy, Debug)]
pub(super) struct Refusal {
    pub(super) code: u16,
    pub(super) reason: &'static str,
    pub(super) challenge: Challenge,
    /// An attribute that we know and do not serve here, for UNKNOWN-ATTRIBUTES.
    pub(super) unserved: Option<AttributeType>,
}

impl Refusal {
    pub(super) const fn new(code: u16, reason: &'static str) -> Self {
        Self {
            code,
            reason,
            challenge: Challenge::No,
            unserved: None,
        }
    }

    pub(super) const fn challenge(code: u16, reason: &'static str, challenge: Challenge) -> Self {
        Self {
            code,
            reason,
            challenge,
            unserved: None,
        }
    }

    pub(super) const fn unserved(kind: AttributeType) -> Self {
        Self {
            code: 420,
            reason: "Unknown Attribute",
            challenge: Challenge::No,
            unserved: Some(kind),
        }
    }
}

pub(super) const BAD_REQUEST: Refusal = Refusal::new(400, "Bad Request");
