//! Tokens as text: JSON Web Signatures in the compact form (RFC 7515 §7.1), with HMAC-SHA-256 (`HS256`, RFC 7518 §3.2) and nothing else.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use serde::Deserialize;
use serde_json::Value;

use super::grant::Grant;
use super::secret::Secret;

/// The longest token that is looked at, in bytes.
pub const MAX_TOKEN: usize = 4096;
/// By how much the clock of who made a token may differ from ours (RFC 7519 §4.1.4 allows for it).
pub const LEEWAY: Duration = Duration::from_secs(30);
/// What our tokens begin with.
const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
/// The only algorithm. RFC 8725 §3.1: who checks a token decides which, and not the token.
const ALGORITHM: &str = "HS256";

/// Why a token is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TokenError {
    /// There is none, and one is needed.
    #[error("a token is needed to come in here")]
    Missing,
    /// It has more than [`MAX_TOKEN`] bytes.
    #[error("the token has more than {MAX_TOKEN} bytes")]
    TooLong,
    /// It does not consist of three parts of base64url, or these hold no header, or no claims of ours.
    #[error("this is no token for a room")]
    Malformed,
    /// It names another algorithm, or none.
    #[error("the token is not signed with {ALGORITHM}")]
    Algorithm,
    /// Somebody else has signed it, or it was changed.
    #[error("the token was not made with the secret of this server")]
    Forged,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Its time has not begun.
    #[error("the token is not valid yet")]
    NotYet,
    /// It is for another room.
    #[error("the token is for another room")]
    OtherRoom,
    /// It is for another service.
    #[error("the token is for another service")]
    OtherAudience,
}

impl TokenError {
    /// The word for figures.
    pub(crate) fn cause(self) -> &'static str {
        match self {
            Self::Missing => "token_missing",
            Self::TooLong => "token_size",
            Self::Malformed => "token_malformed",
            Self::Algorithm => "token_algorithm",
            Self::Forged => "token_forged",
            Self::Expired => "token_expired",
            Self::NotYet => "token_early",
            Self::OtherRoom => "token_room",
            Self::OtherAudience => "token_audience",
        }
    }
}

/// RFC 7515 §4.1: what has to be understood of a header.
#[derive(Deserialize)]
struct Header {
    alg: String,
    /// Extensions that must be understood. There are none that we do.
    crit: Option<Value>,
}

impl Grant {
    /// The token that says this.
    pub fn sign(&self, secret: &Secret) -> String {
        // Texts, numbers and lists always serialise.
        let claims = serde_json::to_string(self).unwrap_or_default();
        let [header, claims] = [HEADER, &claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        let signed = format!("{header}.{claims}");
        let signature = BASE64_URL_SAFE_NO_PAD.encode(secret.sign(signed.as_bytes()));
        format!("{signed}.{signature}")
    }

    /// What a token for `room` says, if it is one of `secret` and its time is `now`. Nothing in it is believed, or told apart in the
    /// answer, before the signature is known to be right, but for the name of the algorithm.
    ///
    /// # Errors
    /// Why it is not taken.
    pub fn check(token: &str, secret: &Secret, room: &str, now: SystemTime) -> Result<Self, TokenError> {
        if token.len() > MAX_TOKEN {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        let decode = |part: &str| {
            let decoded = BASE64_URL_SAFE_NO_PAD.decode(part);
            decoded.map_err(|_| TokenError::Malformed)
        };
        let header: Header = serde_json::from_slice(&decode(header)?).map_err(|_| TokenError::Malformed)?;
        // RFC 7515 §4.1.11: what must be understood and is not makes the whole invalid.
        if header.alg != ALGORITHM || header.crit.is_some() {
            return Err(TokenError::Algorithm);
        }
        if !secret.verifies(signed.as_bytes(), &decode(signature)?) {
            return Err(TokenError::Forged);
        }
        let grant: Self = serde_json::from_slice(&decode(claims)?).map_err(|_| TokenError::Malformed)?;
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
        if now >= grant.exp + LEEWAY.as_secs_f64() {
            return Err(TokenError::Expired);
        }
        if grant.nbf.is_some_and(|from| now + LEEWAY.as_secs_f64() < from) {
            return Err(TokenError::NotYet);
        }
        // RFC 7519 §4.1.3: who does not find itself among them must refuse the token, and this server has no name.
        if grant.aud.is_some() {
            return Err(TokenError::OtherAudience);
        }
        if grant.room != room {
            return Err(TokenError::OtherRoom);
        }
        Ok(grant)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::grant::{Right, Rights};
    use super::*;

    fn secret() -> Secret {
        Secret::new(&[7; 32]).unwrap()
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn grant() -> Grant {
        Grant {
            room: "stage".to_owned(),
            name: Some("Ada".to_owned()),
            sub: None,
            exp: 2000.0,
            nbf: Some(1000.0),
            may: None,
            aud: None,
        }
    }

    /// A token of any header and claims, signed with our secret.
    fn signed(header: &str, claims: &str) -> String {
        let [header, claims] = [header, claims].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        let text = format!("{header}.{claims}");
        let signature = BASE64_URL_SAFE_NO_PAD.encode(secret().sign(text.as_bytes()));
        format!("{text}.{signature}")
    }

    fn check(token: &str) -> Result<Grant, TokenError> {
        Grant::check(token, &secret(), "stage", at(1500))
    }

    #[test]
    fn what_is_signed_is_read() {
        let token = grant().sign(&secret());
        assert_eq!(check(&token), Ok(grant()));
        let read = check(&token).unwrap();
        assert_eq!((read.called(), read.rights().record), (Some("Ada"), false));
        assert!(read.rights().publish && read.rights().watch);
        let all = Grant {
            may: Some(vec![Right::Publish, Right::Watch, Right::Record]),
            ..grant()
        };
        assert_eq!(check(&all.sign(&secret())).unwrap().rights(), Rights::ALL);
    }

    /// RFC 7515, Appendix A.1: the example of HMAC SHA-256, whose claims are none of ours.
    #[test]
    fn the_example_of_the_standard_has_a_right_signature() {
        let key = "AyM1SysPpbyDfgZld3umj1qzKObwVMkoqQ-EstJQLr_T-1qS0gZH75aKtMN3Yj0iPS4hcgUuTwjAzZr1Z9CAow";
        let key = Secret::new(&BASE64_URL_SAFE_NO_PAD.decode(key).unwrap()).unwrap();
        let token = "eyJ0eXAiOiJKV1QiLA0KICJhbGciOiJIUzI1NiJ9.\
            eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ.\
            dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk";
        let (signed, signature) = token.rsplit_once('.').unwrap();
        assert!(key.verifies(signed.as_bytes(), &BASE64_URL_SAFE_NO_PAD.decode(signature).unwrap()));
        let refused = Grant::check(token, &key, "stage", at(0));
        assert_eq!(refused, Err(TokenError::Malformed), "it is for no room");
    }

    #[test]
    fn other_algorithms_are_refused_before_anything_else() {
        let claims = r#"{"room":"stage","exp":2000}"#;
        assert!(check(&signed(r#"{"alg":"HS256"}"#, claims)).is_ok());
        for header in [
            r#"{"alg":"none"}"#,
            r#"{"alg":"None"}"#,
            r#"{"alg":"hs256"}"#,
            r#"{"alg":"HS512"}"#,
            r#"{"alg":"RS256"}"#,
            r#"{"alg":"HS256","crit":["b64"],"b64":false}"#,
        ] {
            assert_eq!(check(&signed(header, claims)), Err(TokenError::Algorithm), "{header}");
        }
        for header in [r#"{"typ":"JWT"}"#, "[]", "", r#"{"alg":"HS256","alg":"none"}"#] {
            assert_eq!(check(&signed(header, claims)), Err(TokenError::Malformed), "{header}");
        }
        // Without a signature, as `none` has it.
        let none = signed(r#"{"alg":"none"}"#, claims);
        let bare = &none[..=none.rfind('.').unwrap()];
        assert_eq!(check(bare), Err(TokenError::Algorithm));
    }

    #[test]
    fn what_was_changed_or_signed_by_another_is_forged() {
        let token = grant().sign(&secret());
        let other = grant().sign(&Secret::new(&[8; 32]).unwrap());
        assert_eq!(check(&other), Err(TokenError::Forged));
        let (signed, signature) = token.rsplit_once('.').unwrap();
        let (header, _) = signed.split_once('.').unwrap();
        let better = BASE64_URL_SAFE_NO_PAD.encode(r#"{"room":"stage","exp":9999999}"#);
        assert_eq!(
            check(&format!("{header}.{better}.{signature}")),
            Err(TokenError::Forged)
        );
        assert_eq!(check(&format!("{signed}.")), Err(TokenError::Forged));
        let shorter = &signature[..signature.len() - 3];
        assert_eq!(check(&format!("{signed}.{shorter}")), Err(TokenError::Forged));
    }

    #[test]
    fn a_token_has_its_time_and_its_room() {
        let token = grant().sign(&secret());
        let when = |seconds| Grant::check(&token, &secret(), "stage", at(seconds));
        let leeway = LEEWAY.as_secs();
        assert_eq!(when(1000 - leeway - 1), Err(TokenError::NotYet));
        assert!(when(1000 - leeway).is_ok());
        assert!(when(2000 + leeway - 1).is_ok());
        assert_eq!(when(2000 + leeway), Err(TokenError::Expired));
        let elsewhere = Grant::check(&token, &secret(), "backstage", at(1500));
        assert_eq!(elsewhere, Err(TokenError::OtherRoom));
        let named = signed(HEADER, r#"{"room":"stage","exp":2000,"aud":"somebody"}"#);
        assert_eq!(check(&named), Err(TokenError::OtherAudience));
    }

    #[test]
    fn claims_that_are_none_of_ours_are_refused() {
        for claims in [
            "",
            "null",
            "[]",
            r#"{"exp":2000}"#,
            r#"{"room":"stage"}"#,
            r#"{"room":7,"exp":2000}"#,
            r#"{"room":"stage","exp":"2000"}"#,
            r#"{"room":"stage","exp":2000,"may":["fly"]}"#,
            r#"{"room":"stage","room":"other","exp":2000}"#,
            r#"{"room":"stage","exp":1e999}"#,
        ] {
            assert_eq!(check(&signed(HEADER, claims)), Err(TokenError::Malformed), "{claims}");
        }
        let sub = check(&signed(
            HEADER,
            r#"{"room":"stage","sub":"7","exp":2000,"iss":"us","more":[]}"#,
        ))
        .unwrap();
        assert_eq!(sub.called(), Some("7"));
        for text in [
            "",
            ".",
            "..",
            "...",
            "a",
            "a.b",
            "a.b.c",
            "a.b.c.d",
            "\u{e4}.\u{e4}.\u{e4}",
        ] {
            assert_eq!(check(text), Err(TokenError::Malformed), "{text}");
        }
    }

    #[test]
    fn a_token_that_is_too_long_is_not_looked_at() {
        let claims = format!(r#"{{"room":"stage","exp":2000,"more":"{}"}}"#, "x".repeat(MAX_TOKEN));
        assert_eq!(check(&signed(HEADER, &claims)), Err(TokenError::TooLong));
    }

    proptest! {
        #[test]
        fn every_grant_is_read_as_it_was_signed(room in ".*", name in proptest::option::of(".*"), exp in 1501u32..) {
            let grant = Grant { room: room.clone(), name, exp: f64::from(exp), ..grant() };
            let token = grant.sign(&secret());
            prop_assume!(token.len() <= MAX_TOKEN);
            prop_assert_eq!(Grant::check(&token, &secret(), &room, at(1500)), Ok(grant));
        }

        #[test]
        fn no_text_is_a_token_by_chance(text in ".*") {
            prop_assert!(check(&text).is_err());
        }

        #[test]
        fn no_bit_of_a_token_can_be_changed(at in 0usize..400, bit in 0u8..7) {
            let token = grant().sign(&secret());
            let mut bytes = token.clone().into_bytes();
            let at = at % bytes.len();
            bytes[at] ^= 1 << bit;
            if let Ok(changed) = String::from_utf8(bytes) {
                prop_assert!(check(&changed).is_err());
            }
        }
    }
}
