//! Names and passwords that people type, in the one form that both ends hash.

use std::borrow::Cow;

use precis_profiles::OpaqueString;
use precis_profiles::precis_core::profile::PrecisFastInvocation as _;

use crate::error::OpaqueStringError;

/// How often the rules are applied to their own output, until it stays as it is.
const MAX_REPEATS: usize = 3;

/// The OpaqueString profile (RFC 8265 §4.2), which RFC 8489 §9.2.2 wants for usernames and passwords: every space becomes
/// U+0020, accents are composed (NFC), capitals stay, and what cannot be seen is refused. Nothing else: a full-width letter
/// stays one. Visible ASCII comes back as it is, without a copy.
///
/// ```
/// // How one keyboard says it, and how another does.
/// assert_eq!(antiphon_stun::opaque_string("caf\u{e9}").unwrap(), antiphon_stun::opaque_string("cafe\u{301}").unwrap());
/// assert!(antiphon_stun::opaque_string("tab\t").is_err());
/// ```
///
/// # Errors
/// [`OpaqueStringError`] for an empty text, and for one that names and passwords must not have.
pub fn opaque_string(text: &str) -> Result<Cow<'_, str>, OpaqueStringError> {
    if text.is_empty() {
        return Err(OpaqueStringError::Empty);
    }
    if text.bytes().all(|byte| (0x20..=0x7e).contains(&byte)) {
        return Ok(Cow::Borrowed(text));
    }
    let mut form = enforce(text)?;
    // RFC 8264 §7: the rules are applied until nothing changes any more. Composing may make what is not allowed where it
    // stands: the Greek raised dot becomes the middle dot of Catalan.
    for _ in 0..MAX_REPEATS {
        let again = enforce(&form)?.into_owned();
        if again == form {
            return Ok(form);
        }
        form = Cow::Owned(again);
    }
    Err(OpaqueStringError::Disallowed)
}

fn enforce(text: &str) -> Result<Cow<'_, str>, OpaqueStringError> {
    OpaqueString::enforce(text).map_err(|_| OpaqueStringError::Disallowed)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_examples_of_the_rfc() {
        // RFC 8265 §4.3, table 3 and table 4.
        for (typed, form) in [
            ("correct horse battery staple", "correct horse battery staple"),
            ("Correct Horse Battery Staple", "Correct Horse Battery Staple"),
            ("\u{3c0}\u{df}\u{e5}", "\u{3c0}\u{df}\u{e5}"),
            ("Jack of \u{2666}s", "Jack of \u{2666}s"),
            ("foo\u{1680}bar", "foo bar"),
        ] {
            assert_eq!(opaque_string(typed).as_deref(), Ok(form));
        }
        assert_eq!(opaque_string(""), Err(OpaqueStringError::Empty));
        assert_eq!(opaque_string("my cat is a \u{9}by"), Err(OpaqueStringError::Disallowed));
    }

    #[test]
    fn composed_and_nothing_else() {
        assert_eq!(opaque_string("e\u{301}").as_deref(), Ok("\u{e9}"));
        // The user of RFC 8489 §B.1. Its password before preparation, with a soft hyphen, is what SASLprep (RFC 4013) took out.
        let name = "\u{30de}\u{30c8}\u{30ea}\u{30c3}\u{30af}\u{30b9}";
        assert_eq!(opaque_string(name).as_deref(), Ok(name));
        assert_eq!(
            opaque_string("The\u{ad}M\u{aa}tr\u{2168}"),
            Err(OpaqueStringError::Disallowed)
        );
        assert_eq!(opaque_string("M\u{aa}tr\u{2168}").as_deref(), Ok("M\u{aa}tr\u{2168}"));
        for unseen in ["\u{0}", "\u{7f}", "\u{200b}", "\u{feff}", "\u{fffe}", "\u{1100}"] {
            assert_eq!(opaque_string(unseen), Err(OpaqueStringError::Disallowed), "{unseen:?}");
        }
    }

    #[test]
    fn what_becomes_disallowed_is_refused() {
        assert_eq!(opaque_string("\u{387}"), Err(OpaqueStringError::Disallowed));
        assert_eq!(opaque_string("l\u{387}l").as_deref(), Ok("l\u{b7}l"));
    }

    proptest! {
        #[test]
        fn the_form_of_a_form_is_itself(text in "\\PC{0,20}") {
            if let Ok(once) = opaque_string(&text) {
                prop_assert_eq!(opaque_string(&once), Ok(once.clone()));
            }
        }

        #[test]
        fn no_text_panics(text: String) {
            let _ = opaque_string(&text);
        }
    }
}
