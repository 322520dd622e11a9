//! Paths that a stranger sends, made safe.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// The longest path, in bytes.
const MAX_PATH: usize = 1024;
/// The longest name of one file or folder, in bytes; what common file systems allow, less the room for our suffixes.
const MAX_NAME: usize = 240;
/// Folders within folders.
const MAX_DEPTH: usize = 32;

/// Why a path was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// Nothing, or an empty part (an absolute path begins with one).
    #[error("a path with an empty part")]
    Empty,
    /// `.` or `..`.
    #[error("a path that points elsewhere")]
    Dots,
    /// A character that some system gives a meaning.
    #[error("a path with a forbidden character")]
    Character,
    /// Too long or too deep.
    #[error("a path that is too long")]
    Long,
    /// A name that some system keeps for devices.
    #[error("a name that is not for files")]
    Reserved,
}

/// A relative path that stays below the folder it is joined to, on every system.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SafePath(String);

impl SafePath {
    /// Checks a path with `/` between its parts.
    ///
    /// # Errors
    /// Any [`PathError`].
    pub fn parse(path: &str) -> Result<Self, PathError> {
        if path.len() > MAX_PATH || path.split('/').count() > MAX_DEPTH {
            return Err(PathError::Long);
        }
        for name in path.split('/') {
            check(name)?;
        }
        Ok(Self(path.to_owned()))
    }

    /// As it was sent.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Below `root`, with the folders made. A link on the way is refused: it may lead anywhere.
    ///
    /// # Errors
    /// What the system says; `InvalidInput` for a link.
    pub fn place(&self, root: &Path) -> io::Result<PathBuf> {
        let mut at = root.to_owned();
        let mut names = self.0.split('/').peekable();
        while let Some(name) = names.next() {
            at.push(name);
            if names.peek().is_none() {
                break;
            }
            match fs::symlink_metadata(&at) {
                Ok(found) if found.is_dir() => {}
                Ok(_) => {
                    return Err(io::Error::new(
                        io::ErrorKind::InvalidInput,
                        "a folder of this name is no folder here",
                    ));
                }
                Err(error) if error.kind() == io::ErrorKind::NotFound => fs::create_dir(&at)?,
                Err(error) => return Err(error),
            }
        }
        Ok(at)
    }
}

impl std::fmt::Display for SafePath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

fn check(name: &str) -> Result<(), PathError> {
    if name.is_empty() {
        return Err(PathError::Empty);
    }
    if name == "." || name == ".." {
        return Err(PathError::Dots);
    }
    if name.len() > MAX_NAME {
        return Err(PathError::Long);
    }
    // Windows also drops dots and spaces at the end, which would make two names one. Control characters would also let a name
    // repaint the terminal that lists it.
    let forbidden =
        |c: char| c.is_control() || matches!(c, '\\' | ':' | '*' | '?' | '"' | '<' | '>' | '|') || is_invisible(c);
    if name.chars().any(forbidden) || name.ends_with(['.', ' ']) {
        return Err(PathError::Character);
    }
    let stem = name.split('.').next().unwrap_or(name).trim_end().to_ascii_uppercase();
    let numbered = |prefix: &str| {
        stem.strip_prefix(prefix)
            .is_some_and(|n| n.len() == 1 && n.as_bytes()[0].is_ascii_digit())
    };
    if ["CON", "PRN", "AUX", "NUL"].contains(&stem.as_str()) || numbered("COM") || numbered("LPT") {
        return Err(PathError::Reserved);
    }
    Ok(())
}

/// Characters that change the direction of what follows, so that a name looks like another one.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{feff}')
}

/// `a (1).txt` after `a.txt`: the first name of that kind that is free.
pub(super) fn unused(path: &Path) -> PathBuf {
    let stem = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
    let end = path
        .extension()
        .map(|e| format!(".{}", e.to_string_lossy()))
        .unwrap_or_default();
    (1..)
        .map(|n: u64| path.with_file_name(format!("{stem} ({n}){end}")))
        .find(|path| fs::symlink_metadata(path).is_err())
        .unwrap_or_else(|| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leads_out_or_has_another_meaning_is_refused() {
        for (path, error) in [
            ("", PathError::Empty),
            ("/etc/passwd", PathError::Empty),
            ("a//b", PathError::Empty),
            ("a/", PathError::Empty),
            ("..", PathError::Dots),
            ("a/../../b", PathError::Dots),
            ("./a", PathError::Dots),
            ("a\\..\\b", PathError::Character),
            ("C:/x", PathError::Character),
            ("a\0b", PathError::Character),
            ("a\x1b[2Jb", PathError::Character),
            ("gpj.\u{202e}exe", PathError::Character),
            ("a./b", PathError::Character),
            ("a /b", PathError::Character),
            ("nul", PathError::Reserved),
            ("x/Com1.txt", PathError::Reserved),
        ] {
            assert_eq!(SafePath::parse(path), Err(error), "{path:?}");
        }
        assert_eq!(SafePath::parse(&"a/".repeat(600)), Err(PathError::Long));
        assert_eq!(SafePath::parse(&"a".repeat(241)), Err(PathError::Long));
        for path in ["a", "a/b.txt", "ü/日本 語.tar.gz", ".hidden", "console", "com10"] {
            assert_eq!(SafePath::parse(path).unwrap().as_str(), path);
        }
    }

    #[test]
    fn a_link_on_the_way_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let elsewhere = tempfile::tempdir().unwrap();
        let path = SafePath::parse("a/b/c.txt").unwrap();
        assert_eq!(path.place(folder.path()).unwrap(), folder.path().join("a/b/c.txt"));
        assert!(folder.path().join("a/b").is_dir());
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(elsewhere.path(), folder.path().join("out")).unwrap();
            let path = SafePath::parse("out/c.txt").unwrap();
            assert_eq!(
                path.place(folder.path()).unwrap_err().kind(),
                io::ErrorKind::InvalidInput
            );
        }
    }

    #[test]
    fn names_that_are_free() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tar.gz");
        fs::write(&path, "x").unwrap();
        fs::write(folder.path().join("a.tar (1).gz"), "x").unwrap();
        assert_eq!(unused(&path), folder.path().join("a.tar (2).gz"));
    }
}
