//! The code that two ends meet with at a server.

use ring::rand::{SecureRandom, SystemRandom};
use serde::Serialize;

/// Letters of a code: none that look like another one; 50 bits in ten of them.
const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// What a code must be at least. The page is told it.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Rule {
    /// The most characters, dashes included.
    most: usize,
    /// The fewest letters and digits.
    least: usize,
    /// The fewest digits of a code without letters.
    least_digits: usize,
    /// The fewest different ones among them, and the fewest steps from one to the next that are no counting on.
    least_different: usize,
}

/// The rule that [`CODE_RULE`] puts into words.
pub(crate) const RULE: Rule = Rule {
    most: 64,
    least: 10,
    least_digits: 14,
    least_different: 6,
};

/// What a code must be, for whoever chose one that is not.
pub const CODE_RULE: &str = "a code has 10 to 64 letters, digits and dashes, or 14 digits, and is no pattern: \
    without --code `antiphon send` makes one up that nobody guesses";

/// A code for `--code`: ten random letters.
pub fn new_code() -> String {
    loop {
        let mut bytes = [0; 10];
        if SystemRandom::new().fill(&mut bytes).is_err() {
            // Without randomness no peer connection is made either; this is never used for one.
            return "no-randomness".into();
        }
        let letters: String = bytes.iter().map(|b| char::from(LETTERS[usize::from(b & 31)])).collect();
        let code = format!("{}-{}", &letters[..5], &letters[5..]);
        // One in some thousands looks like a pattern.
        if is_code(&code) {
            return code;
        }
    }
}

/// Whether it can be a code: whoever guesses it is the other end, so it must not be short or a pattern.
pub(crate) fn is_code(code: &str) -> bool {
    if code.len() > RULE.most || !code.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-') {
        return false;
    }
    let letters: Vec<u8> = code
        .bytes()
        .filter(|b| *b != b'-')
        .map(|b| b.to_ascii_lowercase())
        .collect();
    let mut different = letters.clone();
    different.sort_unstable();
    different.dedup();
    let least = match letters.iter().all(u8::is_ascii_digit) {
        true => RULE.least_digits,
        false => RULE.least,
    };
    // 1234, abcd and aaaa count on.
    let steps = letters.windows(2).filter(|pair| pair[0].abs_diff(pair[1]) > 1).count();
    letters.len() >= least && different.len() >= RULE.least_different && steps >= RULE.least_different
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mend18_short_codes_and_patterns_are_none() {
        for code in [
            "",
            "abcd",
            "1234",
            "secret",
            "holiday",
            "aaaaaaaaaaaa",
            "abcdefghijkl",
            "ab-ab-ab-ab-ab",
            "1234567890123456",
            "31-12-2026",
            "2026-11-29-18",
            "a-b-c-d-e-f-g-h",
            "a/b/c/d/e/f/g/h/i/j",
            "../../../../etc/passwd",
            "with space and more",
            "k7m2q-xd4h",
            &"k7m2qxd4ha".repeat(7),
        ] {
            assert!(!is_code(code), "{code:?}");
        }
        for code in [
            "k7m2q-xd4ha",
            "over-a-bad-link",
            "page-chromium-1",
            "85210-37946-1058",
            "K7M2QXD4HA",
        ] {
            assert!(is_code(code), "{code:?}");
        }
    }

    #[test]
    fn codes_that_are_made_up_are_good_and_differ() {
        let codes: std::collections::HashSet<String> = (0..1000).map(|_| new_code()).collect();
        assert_eq!(codes.len(), 1000);
        assert!(codes.iter().all(|code| is_code(code) && code.len() == 11));
    }
}
