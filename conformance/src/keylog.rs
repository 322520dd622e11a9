//! The `SSLKEYLOGFILE` format, as NSS writes it: label, random of the ClientHello, secret.

use std::collections::BTreeMap;
use std::path::Path;

use antiphon_crypto::Secret;

/// Why a key log was not read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KeyLogError {
    /// The file cannot be read.
    #[error("cannot read the key log: {0}")]
    Read(#[from] std::io::Error),
    /// A line that is neither a comment nor three words in the right form.
    #[error("line {0} of the key log is malformed")]
    Line(usize),
}

/// Secrets by label and client random.
#[derive(Clone, Debug, Default)]
pub struct KeyLog {
    secrets: BTreeMap<(String, [u8; 32]), Secret>,
}

impl KeyLog {
    /// Adds the lines of `text`.
    ///
    /// # Errors
    /// If a line is not a label and two hexadecimal numbers of the right lengths; the lines before it have been added.
    pub fn add(&mut self, text: &str) -> Result<(), KeyLogError> {
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let (key, secret) = entry(line).ok_or(KeyLogError::Line(index + 1))?;
            self.secrets.insert(key, secret);
        }
        Ok(())
    }

    /// Adds the lines of a file.
    ///
    /// # Errors
    /// If the file cannot be read, or as [`Self::add`].
    pub fn add_file(&mut self, file: &Path) -> Result<(), KeyLogError> {
        self.add(&std::fs::read_to_string(file)?)
    }

    /// The secret of a connection.
    pub fn secret(&self, label: &str, client_random: &[u8; 32]) -> Option<Secret> {
        self.secrets.get(&(label.to_owned(), *client_random)).cloned()
    }

    /// How many secrets there are.
    pub fn len(&self) -> usize {
        self.secrets.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.secrets.is_empty()
    }
}

fn entry(line: &str) -> Option<((String, [u8; 32]), Secret)> {
    let mut words = line.split_ascii_whitespace();
    let (label, random, secret) = (words.next()?, words.next()?, words.next()?);
    if words.next().is_some() {
        return None;
    }
    let random = hex(random)?.try_into().ok()?;
    Some(((label.to_owned(), random), Secret::new(&hex(secret)?)))
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let (pairs, []) = text.as_bytes().as_chunks::<2>() else {
        return None;
    };
    let digit = |byte: u8| char::from(byte).to_digit(16).map(|digit| digit as u8);
    pairs
        .iter()
        .map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_read_and_others_refused() {
        let random = "ab".repeat(32);
        let mut log = KeyLog::default();
        log.add(&format!("# comment\n\nCLIENT_RANDOM {random} 0102FF\n"))
            .unwrap();
        assert_eq!(log.len(), 1);
        assert_eq!(
            log.secret("CLIENT_RANDOM", &[0xab; 32]).unwrap().as_bytes(),
            [1, 2, 255]
        );
        assert!(log.secret("EXPORTER_SECRET", &[0xab; 32]).is_none());
        for bad in [
            "X",
            "X ab 01",
            &format!("X {random} 0"),
            &format!("X {random} zz"),
            &format!("X {random} 01 02"),
        ] {
            assert!(matches!(KeyLog::default().add(bad), Err(KeyLogError::Line(1))), "{bad}");
        }
    }
}
