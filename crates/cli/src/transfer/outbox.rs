//! The sender's side.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};

use antiphon::{DataChannelSender, Message};
use bytes::BytesMut;
use cap_fs_ext::DirExt;
use cap_std::fs::{Dir, File};
use ring::rand::{SecureRandom, SystemRandom};
use sha2::{Digest, Sha256};

use super::error::TransferError;
use super::folder::{open_ambient, open_plain};
use super::meet::Link;
use super::names::{self, numbered};
use super::progress;
use super::protocol::{CHUNK, Entry, Heard, Line, Part, hex, pages, say};
use super::rules::{MAX_DEPTH, MAX_FILES};
use crate::text::plain;

/// What the receiver said of a file: nothing yet, that it has it, that it has not.
const PENDING: u8 = 0;
const RECEIVED: u8 = 1;
const FAILED: u8 = 2;

/// One file that arrived whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentFile {
    /// As the receiver was told.
    pub path: String,
    /// In hexadecimal, as both ends computed it.
    pub sha256: String,
}

/// What became of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Sent {
    /// Those that arrived.
    pub files: Vec<SentFile>,
    /// How many did not.
    pub failed: usize,
}

/// Files to be sent, with the names that the receiver sees.
#[derive(Debug)]
pub struct Outbox {
    /// Names this transfer to the receiver, and to nobody else.
    transfer: String,
    entries: Vec<Entry>,
    /// By the same numbers: below which of `roots`.
    sources: Vec<usize>,
    roots: Vec<Root>,
    names: HashSet<String>,
    skipped: Vec<String>,
}

/// Something that the user named.
#[derive(Debug)]
struct Root {
    /// The folder, or that which the file is in.
    folder: Dir,
    /// The file in it; of a folder, none.
    file: Option<String>,
    /// What the receiver is told that it is called.
    name: String,
}

impl Outbox {
    /// Takes files, and folders with all that is in them. A link that is named is followed; links below a folder are left out, as are
    /// pipes, devices, names that are no UTF-8 and folders that cannot be read.
    ///
    /// # Errors
    /// [`TransferError::File`] for a path that is not there, [`TransferError::Nothing`], [`TransferError::TooMuch`].
    pub fn gather(paths: &[PathBuf]) -> Result<Self, TransferError> {
        let mut random = [0; 16];
        let drawn = SystemRandom::new().fill(&mut random);
        drawn.map_err(|_| TransferError::Protocol("no randomness"))?;
        let mut outbox = Self {
            transfer: hex(&random),
            entries: Vec::new(),
            sources: Vec::new(),
            roots: Vec::new(),
            names: HashSet::new(),
            skipped: Vec::new(),
        };
        for path in paths {
            outbox.root(path)?;
        }
        let whole = outbox
            .entries
            .iter()
            .try_fold(0u64, |sum, entry| sum.checked_add(entry.size));
        whole.ok_or(TransferError::TooMuch)?;
        if outbox.entries.is_empty() {
            return Err(TransferError::Nothing);
        }
        Ok(outbox)
    }

    fn root(&mut self, path: &Path) -> Result<(), TransferError> {
        let shown = path.display();
        let meta = fs::metadata(path).map_err(TransferError::file(shown.to_string()))?;
        // `.` and `..` have no name of their own.
        let whole = fs::canonicalize(path).map_err(TransferError::file(shown.to_string()))?;
        let Some(Some(real)) = whole.file_name().map(|name| name.to_str()) else {
            self.skipped.push(format!("{shown} (no name to send)"));
            return Ok(());
        };
        // Two of one name are two files to the receiver.
        let mut name = real.to_owned();
        let mut number = 0;
        while !self.names.insert(name.clone()) {
            number += 1;
            name = numbered(real, number);
        }
        let number = self.roots.len();
        let folder = match (meta.is_dir(), whole.parent()) {
            (true, _) => &whole,
            (false, Some(parent)) => parent,
            (false, None) => return Ok(()),
        };
        let folder = open_ambient(folder).map_err(TransferError::file(shown.to_string()))?;
        let root = Root {
            folder,
            file: (!meta.is_dir()).then(|| real.to_owned()),
            name: name.clone(),
        };
        if meta.is_dir() {
            let folder = root
                .folder
                .try_clone()
                .map_err(TransferError::file(shown.to_string()))?;
            self.roots.push(root);
            self.folder(number, &folder, &name, 1)
        } else if meta.is_file() {
            self.roots.push(root);
            self.add(number, name, meta.len())
        } else {
            self.skipped.push(format!("{shown} (neither file nor folder)"));
            Ok(())
        }
    }

    fn folder(&mut self, root: usize, folder: &Dir, name: &str, depth: usize) -> Result<(), TransferError> {
        let listed = folder.entries().and_then(Iterator::collect::<Result<Vec<_>, _>>);
        let mut found = match listed {
            Ok(found) if depth < MAX_DEPTH => found,
            Ok(_) => {
                self.skipped.push(format!("{name} (a folder too deep)"));
                return Ok(());
            }
            Err(error) => {
                self.skipped.push(format!("{name} ({error})"));
                return Ok(());
            }
        };
        found.sort_by_key(cap_std::fs::DirEntry::file_name);
        for entry in found {
            let file = entry.file_name();
            let path = format!("{name}/{}", file.to_string_lossy());
            let kind = entry.file_type();
            match (file.to_str(), kind) {
                (Some(file), Ok(kind)) if kind.is_dir() => match folder.open_dir_nofollow(file) {
                    Ok(folder) => self.folder(root, &folder, &path, depth + 1)?,
                    Err(error) => self.skipped.push(format!("{path} ({error})")),
                },
                (Some(_), Ok(kind)) if kind.is_file() => match entry.metadata() {
                    Ok(meta) => self.add(root, path, meta.len())?,
                    Err(error) => self.skipped.push(format!("{path} ({error})")),
                },
                (Some(_), Ok(_)) => self.skipped.push(format!("{path} (neither file nor folder)")),
                (None, _) => self.skipped.push(format!("{path} (a name that is no UTF-8)")),
                (_, Err(error)) => self.skipped.push(format!("{path} ({error})")),
            }
        }
        Ok(())
    }

    fn add(&mut self, root: usize, path: String, size: u64) -> Result<(), TransferError> {
        if let Err(error) = names::check(&path) {
            self.skipped.push(format!("{path} ({error})"));
            return Ok(());
        }
        if self.entries.len() == MAX_FILES {
            return Err(TransferError::TooMuch);
        }
        self.entries.push(Entry { path, size });
        self.sources.push(root);
        Ok(())
    }

    /// How many files.
    pub fn files(&self) -> usize {
        self.entries.len()
    }

    /// All their bytes.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().fold(0, |sum, entry| sum.saturating_add(entry.size))
    }

    /// What was left out.
    pub fn skipped(&self) -> &[String] {
        &self.skipped
    }

    /// Sends what the receiver lacks. After [`TransferError::Broken`] it may be called again with a new link.
    ///
    /// # Errors
    /// [`TransferError::Broken`], [`TransferError::Declined`], [`TransferError::Protocol`].
    pub async fn run(&mut self, link: &mut Link) -> Result<Sent, TransferError> {
        let sender = link.sender();
        let pages = pages(&self.entries);
        for (at, page) in pages.iter().enumerate() {
            let list = Line::List {
                transfer: self.transfer.clone(),
                files: page.to_vec(),
                more: at + 1 < pages.len(),
            };
            say(&sender, &list).await?;
        }
        let mut offsets = vec![None; self.entries.len()];
        loop {
            match link.hear().await? {
                Heard::Line(Line::Have { parts, more }) => {
                    for part in parts {
                        let entry = self.entries.get(part.id).filter(|entry| part.offset <= entry.size);
                        entry.ok_or(TransferError::Protocol("a part of no file"))?;
                        let id = part.id;
                        offsets[id] = Some(part);
                    }
                    if !more {
                        break;
                    }
                }
                Heard::Line(Line::Decline { message }) => return Err(declined(&message)),
                _ => return Err(TransferError::Protocol("something else than what is there already")),
            }
        }
        let bar = progress::bar(self.bytes());
        let outcomes: Vec<AtomicU8> = self.entries.iter().map(|_| AtomicU8::new(PENDING)).collect();
        let stream = async {
            let mut hashes = Vec::with_capacity(self.entries.len());
            for (id, part) in offsets.iter().enumerate() {
                hashes.push(self.file(&sender, id, part.as_ref(), &bar, &outcomes[id]).await?);
            }
            say(&sender, &Line::Done).await?;
            Ok::<_, TransferError>(hashes)
        };
        let listen = async {
            loop {
                let (id, outcome, message) = match link.hear().await? {
                    Heard::Line(Line::Received { id }) => (id, RECEIVED, None),
                    Heard::Line(Line::Failed { id, message }) => (id, FAILED, Some(message)),
                    Heard::Line(Line::Decline { message }) => return Err(declined(&message)),
                    Heard::Line(Line::Bye) => return Ok(()),
                    _ => return Err(TransferError::Protocol("something else than receipts")),
                };
                let entry = self.entries.get(id).zip(outcomes.get(id));
                let (entry, known) = entry.ok_or(TransferError::Protocol("a receipt for no file"))?;
                // Once for each file: nobody fills our terminal.
                if known.swap(outcome, Ordering::Relaxed) != PENDING {
                    return Err(TransferError::Protocol("two receipts for one file"));
                }
                if let Some(message) = message {
                    bar.suspend(|| eprintln!("{}: {}", plain(&entry.path), plain(&message)));
                }
            }
        };
        let (hashes, ()) = tokio::try_join!(stream, listen)?;
        bar.finish_and_clear();
        let mut sent = Sent::default();
        for ((entry, sha256), outcome) in self.entries.iter().zip(hashes).zip(outcomes) {
            match sha256 {
                Some(sha256) if outcome.into_inner() == RECEIVED => sent.files.push(SentFile {
                    path: entry.path.clone(),
                    sha256,
                }),
                _ => sent.failed += 1,
            }
        }
        Ok(sent)
    }

    /// Sends one file; its hash, or `None` if it could not be read to its end, or the receiver has failed meanwhile.
    async fn file(
        &self,
        sender: &DataChannelSender,
        id: usize,
        part: Option<&Part>,
        bar: &indicatif::ProgressBar,
        outcome: &AtomicU8,
    ) -> Result<Option<String>, TransferError> {
        let entry = &self.entries[id];
        bar.set_message(plain(&entry.path).to_string());
        let skip = async |message: String| {
            let line = Line::Skip { id, message };
            bar.suspend(|| eprintln!("{}: left out", plain(&entry.path)));
            say(sender, &line).await.map(|()| None)
        };
        let (mut file, mut hash, offset) = match self.open(id, part) {
            Ok(opened) => opened,
            Err(error) => return skip(error.to_string()).await,
        };
        say(sender, &Line::Begin { id, offset }).await?;
        bar.inc(offset);
        let mut left = entry.size - offset;
        let mut buffer = BytesMut::new();
        while left > 0 {
            if outcome.load(Ordering::Relaxed) == FAILED {
                return Ok(None);
            }
            let want = left.min(CHUNK as u64) as usize;
            buffer.resize(want, 0);
            match file.read(&mut buffer) {
                Ok(0) => return skip("it became shorter while it was sent".into()).await,
                Ok(len) => {
                    let chunk = buffer.split_to(len).freeze();
                    hash.update(&chunk);
                    sender
                        .send(Message::binary(chunk))
                        .await
                        .map_err(|_| TransferError::Broken)?;
                    left -= len as u64;
                    bar.inc(len as u64);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return skip(error.to_string()).await,
            }
        }
        if matches!(file.read(&mut [0]), Ok(1)) {
            let (path, size) = (plain(&entry.path), entry.size);
            bar.suspend(|| eprintln!("{path}: it grew while it was sent; its first {size} bytes went"));
        }
        let sha256 = hex(&hash.finalize());
        let line = Line::End {
            id,
            sha256: sha256.clone(),
        };
        say(sender, &line).await?;
        Ok(Some(sha256))
    }

    /// Opens a file behind what the receiver has of it, if that is the same as ours.
    fn open(&self, id: usize, part: Option<&Part>) -> io::Result<(File, Sha256, u64)> {
        let mut file = self.source(id)?;
        if let Some(part) = part.filter(|part| part.offset > 0) {
            let mut hash = Sha256::new();
            let read = io::copy(&mut (&mut file).take(part.offset), &mut HashWriter(&mut hash))?;
            if read == part.offset && hex(&hash.clone().finalize()).eq_ignore_ascii_case(&part.sha256) {
                return Ok((file, hash, part.offset));
            }
            file = self.source(id)?;
        }
        Ok((file, Sha256::new(), 0))
    }

    /// The file as it is now. Whatever came in its place or in that of a folder above it since the list was made, a link least of
    /// all, is not sent.
    fn source(&self, id: usize) -> io::Result<File> {
        let root = &self.roots[self.sources[id]];
        if let Some(file) = &root.file {
            return open_plain(&root.folder, file).map(|(file, _)| file);
        }
        let below = self.entries[id].path.get(root.name.len() + 1..).unwrap_or_default();
        let mut folder = None;
        let mut names = below.split('/').peekable();
        loop {
            let name = names.next().unwrap_or_default();
            let here = folder.as_ref().unwrap_or(&root.folder);
            if names.peek().is_none() {
                return open_plain(here, name).map(|(file, _)| file);
            }
            folder = Some(here.open_dir_nofollow(name)?);
        }
    }
}

fn declined(message: &str) -> TransferError {
    TransferError::Declined(plain(message).to_string())
}

/// Feeds a hash with whatever is copied into it.
pub(super) struct HashWriter<'a>(pub(super) &'a mut Sha256);

impl io::Write for HashWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(outbox: &Outbox, id: usize) -> io::Result<String> {
        let mut text = String::new();
        outbox.source(id)?.read_to_string(&mut text)?;
        Ok(text)
    }

    #[test]
    #[cfg(unix)]
    fn mend18_only_plain_files_below_what_was_named_are_sent() {
        use std::os::unix::fs::symlink;
        let (outer, secret) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        fs::write(secret.path().join("file"), "secret").unwrap();
        let root = outer.path().join("root");
        fs::create_dir_all(root.join("folder")).unwrap();
        fs::write(root.join("folder/file"), "mine").unwrap();
        fs::write(root.join("plain"), "mine").unwrap();
        symlink(secret.path(), root.join("link")).unwrap();
        symlink(secret.path().join("file"), root.join("link to a file")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(root.join("pipe")).status();
        assert!(made.unwrap().success());
        fs::create_dir_all(root.join(vec!["deep"; 40].join("/"))).unwrap();
        let outbox = Outbox::gather(&[root.clone(), root.join("plain"), root.join("folder/file")]).unwrap();
        let paths: Vec<&str> = outbox.entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["root/folder/file", "root/plain", "plain", "file"]);
        assert_eq!(outbox.skipped().len(), 4, "{:?}", outbox.skipped());
        for id in 0..4 {
            assert_eq!(text(&outbox, id).unwrap(), "mine");
        }
        // What comes in their place while the receiver thinks it over is not sent, and nobody waits for a pipe.
        fs::remove_dir_all(root.join("folder")).unwrap();
        symlink(secret.path(), root.join("folder")).unwrap();
        fs::remove_file(root.join("plain")).unwrap();
        let made = std::process::Command::new("mkfifo").arg(root.join("plain")).status();
        assert!(made.unwrap().success());
        for id in 0..3 {
            assert!(text(&outbox, id).is_err(), "{}", outbox.entries[id].path);
        }
        fs::remove_file(root.join("plain")).unwrap();
        symlink(secret.path().join("file"), root.join("plain")).unwrap();
        assert!(text(&outbox, 1).is_err() && text(&outbox, 2).is_err());
    }

    #[test]
    fn two_of_one_name_are_two_files_and_their_bytes_are_counted_without_overflow() {
        let outer = tempfile::tempdir().unwrap();
        for folder in ["a", "b"] {
            fs::create_dir(outer.path().join(folder)).unwrap();
            fs::write(outer.path().join(folder).join("x.txt"), folder).unwrap();
        }
        let mut outbox = Outbox::gather(&["a/x.txt", "b/x.txt", "b"].map(|path| outer.path().join(path))).unwrap();
        let paths: Vec<&str> = outbox.entries.iter().map(|entry| entry.path.as_str()).collect();
        assert_eq!(paths, ["x.txt", "x (1).txt", "b/x.txt"]);
        assert_eq!((0..3).map(|id| text(&outbox, id).unwrap()).collect::<String>(), "abb");
        outbox.entries[0].size = u64::MAX;
        assert_eq!(outbox.bytes(), u64::MAX);
    }
}
