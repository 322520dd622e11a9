//! Cookies that show that a client's address is its own (RFC 6347 §4.2.1), without keeping anything for it.

use antiphon_crypto::{Secret, hmac_sha256};
use antiphon_sansio::Rng;

use crate::handshake::hello::ClientHello;

/// Makes and checks the cookies of HelloVerifyRequest (RFC 6347 §4.2.1).
///
/// A connection belongs to one path, so the secret of the connection already ties a cookie to the client's address.
pub(crate) struct CookieSecret(Secret);

impl CookieSecret {
    pub(crate) fn new(rng: &mut Rng) -> Self {
        Self(Secret::new(&rng.array::<32>()))
    }

    /// The cookie for a ClientHello: what must stay the same in the second one goes in.
    pub(crate) fn make(&self, hello: &ClientHello) -> Vec<u8> {
        self.tag(hello).as_bytes().to_vec()
    }

    /// Whether the ClientHello brings the cookie that it was given.
    pub(crate) fn check(&self, hello: &ClientHello) -> bool {
        hello.cookie.len() == 32 && self.tag(hello).verify(&hello.cookie)
    }

    fn tag(&self, hello: &ClientHello) -> antiphon_crypto::Tag {
        let bare = ClientHello {
            cookie: Vec::new(),
            ..hello.clone()
        }
        .write();
        hmac_sha256(self.0.as_bytes(), &[&bare])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::handshake::extensions::Extensions;

    #[test]
    fn a_cookie_fits_its_hello_and_secret_alone() {
        let mut rng = Rng::from_u64(1);
        let secret = CookieSecret::new(&mut rng);
        let mut hello = ClientHello {
            version: 0xfefd,
            random: [1; 32],
            session_id: vec![],
            cookie: vec![],
            cipher_suites: vec![0xc02b],
            compression: vec![0],
            extensions: Extensions::default(),
        };
        assert!(!secret.check(&hello));
        hello.cookie = secret.make(&hello);
        assert!(secret.check(&hello));
        assert!(!CookieSecret::new(&mut rng).check(&hello));
        hello.random[0] ^= 1;
        assert!(!secret.check(&hello));
    }
}
