//! Nonces that the server need not remember (RFC 8489 §9.2.4, V18): a time and a code over it and the client's address.

use std::fmt::Write as _;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antiphon_crypto::hmac_sha256;
use antiphon_sansio::Rng;
use zeroize::Zeroizing;

use crate::login::{NONCE_COOKIE, PASSWORD_ALGORITHMS, USERNAME_ANONYMITY};

/// The cookie and four characters of Base64: the security features (RFC 8489 §9.2).
#[cfg(test)]
const PREFIX_LEN: usize = NONCE_COOKIE.len() + 4;

/// How many bytes of the code are kept.
const CODE_LEN: usize = 12;

pub(crate) struct NonceSource {
    secret: Zeroizing<[u8; 32]>,
    start: Instant,
    lifetime: Duration,
    /// How every nonce begins.
    prefix: String,
}

impl NonceSource {
    /// `anonymity`: USERHASH is understood. PASSWORD-ALGORITHMS always are.
    pub(crate) fn new(start: Instant, lifetime: Duration, anonymity: bool, rng: &mut Rng) -> Self {
        let features = PASSWORD_ALGORITHMS | if anonymity { USERNAME_ANONYMITY } else { 0 };
        let mut prefix = String::from_utf8_lossy(NONCE_COOKIE).into_owned();
        // Only the two highest bits are in use: one character tells both, the others are zero.
        prefix.push(if features >> 18 == 0x30 { 'w' } else { 'g' });
        prefix.push_str("AAA");
        Self {
            prefix,
            secret: Zeroizing::new(rng.array()),
            start,
            lifetime,
        }
    }

    fn code(&self, seconds: u32, client: SocketAddr) -> antiphon_crypto::Tag {
        let address = client.to_string();
        hmac_sha256(&*self.secret, &[&seconds.to_be_bytes(), address.as_bytes()])
    }

    /// A nonce for this client.
    pub(crate) fn issue(&self, now: Instant, client: SocketAddr) -> String {
        let seconds = now.saturating_duration_since(self.start).as_secs() as u32;
        let mut nonce = format!("{}{seconds:08x}", self.prefix);
        for byte in &self.code(seconds, client).as_bytes()[..CODE_LEN] {
            let _ = write!(nonce, "{byte:02x}");
        }
        nonce
    }

    /// Whether we issued it to this client, and not too long ago.
    pub(crate) fn is_fresh(&self, now: Instant, client: SocketAddr, nonce: &[u8]) -> bool {
        // Changed features are a forgery: they bid the client down.
        let Some(digits) = std::str::from_utf8(nonce)
            .ok()
            .and_then(|text| text.strip_prefix(self.prefix.as_str()))
            .filter(|text| text.len() == 8 + 2 * CODE_LEN)
        else {
            return false;
        };
        if !digits.bytes().all(|b| b.is_ascii_hexdigit()) {
            return false;
        }
        let Ok(seconds) = u32::from_str_radix(&digits[..8], 16) else {
            return false;
        };
        let mut code = [0; CODE_LEN];
        for (n, byte) in code.iter_mut().enumerate() {
            *byte = u8::from_str_radix(&digits[8 + 2 * n..10 + 2 * n], 16).unwrap_or(0);
        }
        let age = now
            .saturating_duration_since(self.start)
            .as_secs()
            .saturating_sub(u64::from(seconds));
        age <= self.lifetime.as_secs() && self.code(seconds, client).verify(&code)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[allow(clippy::disallowed_methods)]
    fn only_our_fresh_ones_to_that_client_are_taken() {
        let start = Instant::now();
        let source = NonceSource::new(start, Duration::from_secs(60), false, &mut Rng::from_u64(1));
        let (a, b): (SocketAddr, SocketAddr) = ("10.0.0.1:1".parse().unwrap(), "10.0.0.1:2".parse().unwrap());
        let at = start + Duration::from_secs(30);
        let nonce = source.issue(at, a);
        assert!(source.is_fresh(at, a, nonce.as_bytes()));
        assert!(source.is_fresh(at + Duration::from_secs(60), a, nonce.as_bytes()));
        assert!(!source.is_fresh(at + Duration::from_secs(62), a, nonce.as_bytes()));
        assert!(!source.is_fresh(at, b, nonce.as_bytes()));
        let mut forged = nonce.clone().into_bytes();
        forged[PREFIX_LEN + 7] ^= 1;
        assert!(!source.is_fresh(at, a, &forged));
        let anonymous = NonceSource::new(start, Duration::from_secs(60), true, &mut Rng::from_u64(1));
        assert!(nonce.starts_with("obMatJos2gAAA") && anonymous.issue(at, a).starts_with("obMatJos2wAAA"));
        let bid_down = format!("obMatJos2AAAA{}", &nonce[PREFIX_LEN..]);
        assert!(!source.is_fresh(at, a, bid_down.as_bytes()));
        for junk in [&b""[..], b"zz", &[0xff; 32], "é".repeat(16).as_bytes()] {
            assert!(!source.is_fresh(at, a, junk));
        }
    }
}
