//! What an allocation needs to know.

use std::fmt;
use std::time::Duration;

use antiphon_crypto::hmac_sha1;
use antiphon_stun::{AddressFamily, Retransmission};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use zeroize::Zeroizing;

/// What an allocation needs to know.
#[derive(Clone)]
pub struct ClientConfig {
    /// The user's name.
    pub username: String,
    /// The user's password.
    pub password: Zeroizing<String>,
    /// The family of the relayed address; IPv4 if `None` (RFC 8656 §7.1).
    pub family: Option<AddressFamily>,
    /// Whether an IPv6 address is wanted besides, with `family: None`. Servers without one give what they have.
    pub additional_ipv6: bool,
    /// Whether the server is reached over TCP or TLS: nothing is sent twice, and ChannelData is padded.
    pub over_stream: bool,
    /// Retransmission of requests over UDP.
    pub retransmission: Retransmission,
}

impl ClientConfig {
    /// With the user's credentials, and the rest by default.
    pub fn new(username: impl Into<String>, password: impl Into<String>) -> Self {
        Self {
            username: username.into(),
            password: Zeroizing::new(password.into()),
            family: None,
            additional_ipv6: false,
            over_stream: false,
            retransmission: Retransmission {
                max_requests: 5,
                last_wait: 4,
                ..Retransmission::default()
            },
        }
    }
}

impl ClientConfig {
    /// With credentials that end at a point in Unix time, for a server that shares `secret` with us ("TURN REST API",
    /// draft-uberti-behave-turn-rest): whoever hands out `username` and `password` need not know the user's own password.
    pub fn time_limited(secret: &str, name: &str, expires: Duration) -> Self {
        let username = format!("{}:{name}", expires.as_secs());
        let code = hmac_sha1(secret.as_bytes(), &[username.as_bytes()]);
        Self::new(username, STANDARD.encode(code.as_bytes()))
    }

    /// The same over TCP or TLS, where one request is waited for as long as over UDP all its repetitions (RFC 8489 §6.2.2).
    pub fn over_stream(self) -> Self {
        let total = self.retransmission.total();
        let rto = self.retransmission.rto.max(Duration::from_millis(1));
        let waits = total.as_millis().div_ceil(rto.as_millis());
        Self {
            over_stream: true,
            retransmission: Retransmission {
                max_requests: 1,
                last_wait: u32::try_from(waits).unwrap_or(u32::MAX).max(1),
                ..self.retransmission
            },
            ..self
        }
    }
}

impl fmt::Debug for ClientConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientConfig")
            .field("family", &self.family)
            .finish_non_exhaustive()
    }
}
