//! The secret that tokens are signed with, and how secrets come from files.

use std::fmt;

use ring::hmac;

/// The least bytes of a secret (RFC 7518 §3.2: a key for HS256 is no shorter than the hash).
pub const MIN_SECRET: usize = 32;
/// The longest file that a secret is read from, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// The secret of a server's tokens. Whoever knows it makes tokens.
#[derive(Clone)]
pub struct Secret(hmac::Key);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret")
    }
}

impl Secret {
    /// A secret of these bytes.
    ///
    /// # Errors
    /// It has fewer than [`MIN_SECRET`] bytes.
    pub fn new(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() < MIN_SECRET {
            return Err(format!(
                "a secret has at least {MIN_SECRET} bytes; this makes one: openssl rand -hex 32"
            ));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    pub(super) fn sign(&self, text: &[u8]) -> hmac::Tag {
        hmac::sign(&self.0, text)
    }

    /// Whether a signature of a text is ours; the time that it takes tells nothing of it.
    pub(super) fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        hmac::verify(&self.0, text, signature).is_ok()
    }
}

/// A secret as a flag or a variable gives it: the text itself, or `@` and the name of a file. It is read by [`Self::read`] and not by
/// the command line, whose complaints would show it.
#[derive(Clone)]
pub struct SecretText(String);

impl From<String> for SecretText {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for SecretText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretText")
    }
}

impl SecretText {
    /// The secret.
    ///
    /// # Errors
    /// What is wrong, for the person who wrote it. The text itself is not told.
    pub fn read(&self) -> Result<Secret, String> {
        Secret::new(text_or_file(&self.0)?.as_bytes())
    }
}

/// The text; or, if it begins with `@`, what the file of that name holds, without the white space at its end.
///
/// # Errors
/// The file cannot be read.
pub fn text_or_file(text: &str) -> Result<String, String> {
    use std::io::Read;

    let Some(name) = text.strip_prefix('@') else {
        return Ok(text.to_owned());
    };
    let mut held = String::new();
    let read = std::fs::File::open(name).and_then(|file| file.take(MAX_FILE).read_to_string(&mut held));
    read.map_err(|error| format!("{name}: {error}"))?;
    Ok(held.trim_end().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_long_and_shows_itself_to_nobody() {
        let text = "0123456789abcdef0123456789abcdef";
        let read = |text: &str| SecretText::from(text.to_owned()).read();
        assert_eq!(format!("{:?}", read(text).unwrap()), "Secret");
        let short = read(&text[1..]).unwrap_err();
        assert!(
            short.contains("at least 32 bytes") && !short.contains("0123"),
            "{short}"
        );
    }

    #[test]
    fn a_secret_may_stand_in_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret");
        std::fs::write(&file, "0123456789abcdef0123456789abcdef\n").unwrap();
        let name = format!("@{}", file.display());
        assert_eq!(text_or_file(&name).unwrap(), "0123456789abcdef0123456789abcdef");
        assert!(SecretText::from(name).read().is_ok());
        assert!(
            text_or_file("@/nowhere/at/all")
                .unwrap_err()
                .contains("/nowhere/at/all")
        );
        assert_eq!(text_or_file("a@b").unwrap(), "a@b");
    }
}
