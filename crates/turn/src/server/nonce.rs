//! Nonces that the server need not remember (RFC 8489 §9.2.4, V18): a time and a code over it and the client's address.
//!
//! ```text
//! obMatJos2 | features (4) | Base64 of: time in seconds, its low 24 bits | code (64 bits)
//!                            Base64 of: time in seconds, its low 24 bits | code (48 bits)
//! ```
//!
//! They are short because strangers get them: a forged source sends a victim more than it sends us (V16). A code is worth a limited
//! number of guesses at a password from one forged address, which one of 48 bits is enough for. The second form announces
//! nothing, and stands in challenges without PASSWORD-ALGORITHMS, for requests too short for more; neither form can be made of the
//! other.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antiphon_crypto::hmac_sha256;
use antiphon_sansio::Rng;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD_NO_PAD;
use zeroize::Zeroizing;

use crate::login::{NONCE_COOKIE, PASSWORD_ALGORITHMS, USERNAME_ANONYMITY};

/// The cookie and four characters of Base64: the security features (RFC 8489 §9.2).
#[cfg(test)]
const PREFIX_LEN: usize = NONCE_COOKIE.len() + 4;

/// How many bytes of the time are sent, and of the code.
const TIME_LEN: usize = 3;
const CODE_LEN: usize = 8;
const PLAIN_CODE_LEN: usize = 6;

/// How long a nonce is that announces features.
pub(crate) const ANNOUNCING_LEN: usize = NONCE_COOKIE.len() + 4 + 15;

/// After this many seconds, 194 days, the time that is sent begins again; the time that the code covers does not.
const WRAP: u64 = 1 << (8 * TIME_LEN);

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

    fn code(&self, seconds: u64, client: SocketAddr, announces: bool) -> antiphon_crypto::Tag {
        let address = client.to_string();
        let form = [u8::from(announces)];
        hmac_sha256(&*self.secret, &[&form, &seconds.to_be_bytes(), address.as_bytes()])
    }

    /// A nonce for this client. `announces`: with the security features.
    pub(crate) fn issue(&self, now: Instant, client: SocketAddr, announces: bool) -> String {
        let seconds = now.saturating_duration_since(self.start).as_secs();
        let mut bytes = [0; TIME_LEN + CODE_LEN];
        bytes[..TIME_LEN].copy_from_slice(&seconds.to_be_bytes()[8 - TIME_LEN..]);
        bytes[TIME_LEN..].copy_from_slice(&self.code(seconds, client, announces).as_bytes()[..CODE_LEN]);
        let (mut nonce, len) = match announces {
            true => (self.prefix.clone(), bytes.len()),
            false => (String::new(), TIME_LEN + PLAIN_CODE_LEN),
        };
        STANDARD_NO_PAD.encode_string(&bytes[..len], &mut nonce);
        nonce
    }

    /// Whether we issued it to this client, and not too long ago.
    pub(crate) fn is_fresh(&self, now: Instant, client: SocketAddr, nonce: &[u8]) -> bool {
        // Changed features are a forgery: they bid the client down.
        let (encoded, announces, len) = match nonce.strip_prefix(self.prefix.as_bytes()) {
            Some(encoded) => (encoded, true, TIME_LEN + CODE_LEN),
            None => (nonce, false, TIME_LEN + PLAIN_CODE_LEN),
        };
        let mut bytes = [0; TIME_LEN + CODE_LEN];
        let Some(bytes) = bytes.get_mut(..len) else {
            return false;
        };
        if STANDARD_NO_PAD.decode_slice(encoded, bytes) != Ok(len) {
            return false;
        }
        let (time, code) = bytes.split_at(TIME_LEN);
        let sent = time.iter().fold(0, |time, byte| time << 8 | u64::from(*byte));
        // The latest such time that is not in the future: what is older than a wrap has a code over another time.
        let seconds = now.saturating_duration_since(self.start).as_secs();
        let age = seconds.wrapping_sub(sent) % WRAP;
        age <= self.lifetime.as_secs() && age <= seconds && self.code(seconds - age, client, announces).verify(code)
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
        for announces in [true, false] {
            let nonce = source.issue(at, a, announces);
            assert!(source.is_fresh(at, a, nonce.as_bytes()));
            assert!(source.is_fresh(at + Duration::from_secs(60), a, nonce.as_bytes()));
            assert!(!source.is_fresh(at + Duration::from_secs(62), a, nonce.as_bytes()));
            assert!(!source.is_fresh(at, b, nonce.as_bytes()));
            let mut forged = nonce.clone().into_bytes();
            for n in 0..forged.len() {
                for other in [b'A', b'z', b'=', 0xff] {
                    let was = std::mem::replace(&mut forged[n], other);
                    assert_eq!(source.is_fresh(at, a, &forged), was == other, "{n}");
                    forged[n] = was;
                }
            }
            for len in 0..nonce.len() {
                assert!(!source.is_fresh(at, a, &nonce.as_bytes()[..len]));
            }
            assert!(!source.is_fresh(at, a, format!("{nonce}A").as_bytes()));
            // The time that is sent has come round, and the one that the code covers has not; before the start there was none.
            assert!(!source.is_fresh(at + Duration::from_secs(WRAP), a, nonce.as_bytes()));
            assert!(!source.is_fresh(start, a, nonce.as_bytes()));
        }
        let (nonce, plain) = (source.issue(at, a, true), source.issue(at, a, false));
        assert_eq!(
            (nonce.len(), plain.len()),
            (ANNOUNCING_LEN, 12),
            "no padding in the attribute"
        );
        // Neither without its announcement, nor with one that was put before it.
        assert!(!source.is_fresh(at, a, &nonce.as_bytes()[PREFIX_LEN..][..12]));
        assert!(!source.is_fresh(at, a, &nonce.as_bytes()[PREFIX_LEN..]));
        assert!(!source.is_fresh(at, a, format!("{}{plain}", &nonce[..PREFIX_LEN]).as_bytes()));
        let anonymous = NonceSource::new(start, Duration::from_secs(60), true, &mut Rng::from_u64(1));
        assert!(nonce.starts_with("obMatJos2gAAA") && anonymous.issue(at, a, true).starts_with("obMatJos2wAAA"));
        let bid_down = format!("obMatJos2AAAA{}", &nonce[PREFIX_LEN..]);
        assert!(!source.is_fresh(at, a, bid_down.as_bytes()));
        for junk in [&b""[..], b"zz", b"AAAAAAAAAAAA", &[0xff; 32], "é".repeat(16).as_bytes()] {
            assert!(!source.is_fresh(at, a, junk));
        }
    }
}
