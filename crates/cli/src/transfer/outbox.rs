//! The sender's side.

use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use antiphon::{DataChannelSender, Message};
use bytes::BytesMut;
use sha2::{Digest, Sha256};

use super::meet::Link;
use super::paths::SafePath;
use super::protocol::{CHUNK, Entry, Heard, Line, MAX_FILES, PAGE, Part, hex, say};
use super::{TransferError, progress};

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
    entries: Vec<Entry>,
    sources: Vec<PathBuf>,
    skipped: Vec<String>,
}

impl Outbox {
    /// Takes files, and folders with all that is in them. Links below a folder are left out, as are names that no receiver would take.
    ///
    /// # Errors
    /// [`TransferError::File`] for a path that is not there, [`TransferError::Nothing`].
    pub fn gather(paths: &[PathBuf]) -> Result<Self, TransferError> {
        let mut outbox = Self {
            entries: Vec::new(),
            sources: Vec::new(),
            skipped: Vec::new(),
        };
        for path in paths {
            let meta = fs::metadata(path).map_err(TransferError::file(path.display()))?;
            // `.` and `..` have no name of their own.
            let whole = fs::canonicalize(path).map_err(TransferError::file(path.display()))?;
            let Some(name) = whole.file_name().map(|name| name.to_owned()) else {
                outbox.skipped.push(path.display().to_string());
                continue;
            };
            match name.to_str() {
                Some(name) if meta.is_dir() => outbox.folder(&whole, name)?,
                Some(name) if meta.is_file() => outbox.add(&whole, name.to_owned(), meta.len()),
                _ => outbox.skipped.push(path.display().to_string()),
            }
        }
        if outbox.entries.is_empty() {
            return Err(TransferError::Nothing);
        }
        Ok(outbox)
    }

    fn folder(&mut self, folder: &Path, name: &str) -> Result<(), TransferError> {
        let mut found = Vec::new();
        for entry in fs::read_dir(folder).map_err(TransferError::file(folder.display()))? {
            found.push(entry.map_err(TransferError::file(folder.display()))?);
        }
        found.sort_by_key(fs::DirEntry::file_name);
        for entry in found {
            let path = entry.path();
            let kind = entry.file_type().map_err(TransferError::file(path.display()))?;
            match entry.file_name().to_str() {
                Some(file) if kind.is_dir() => self.folder(&path, &format!("{name}/{file}"))?,
                Some(file) if kind.is_file() => {
                    let meta = entry.metadata().map_err(TransferError::file(path.display()))?;
                    self.add(&path, format!("{name}/{file}"), meta.len());
                }
                _ => self.skipped.push(path.display().to_string()),
            }
        }
        Ok(())
    }

    fn add(&mut self, source: &Path, path: String, size: u64) {
        if SafePath::parse(&path).is_err() || self.entries.len() == MAX_FILES {
            self.skipped.push(source.display().to_string());
            return;
        }
        self.entries.push(Entry { path, size });
        self.sources.push(source.to_owned());
    }

    /// How many files.
    pub fn files(&self) -> usize {
        self.entries.len()
    }

    /// All their bytes.
    pub fn bytes(&self) -> u64 {
        self.entries.iter().map(|entry| entry.size).sum()
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
        for (at, page) in self.entries.chunks(PAGE).enumerate() {
            let more = (at + 1) * PAGE < self.entries.len();
            say(
                &sender,
                &Line::List {
                    files: page.to_vec(),
                    more,
                },
            )
            .await?;
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
                Heard::Line(Line::Decline { message }) => return Err(TransferError::Declined(printable(&message))),
                _ => return Err(TransferError::Protocol("something else than what is there already")),
            }
        }
        let bar = progress::bar(self.bytes());
        let stream = async {
            let mut hashes = Vec::with_capacity(self.entries.len());
            for (id, part) in offsets.iter().enumerate() {
                hashes.push(self.file(&sender, id, part.as_ref(), &bar).await?);
            }
            say(&sender, &Line::Done).await?;
            Ok::<_, TransferError>(hashes)
        };
        let listen = async {
            let mut arrived = vec![false; self.entries.len()];
            loop {
                match link.hear().await? {
                    Heard::Line(Line::Received { id }) => {
                        *arrived
                            .get_mut(id)
                            .ok_or(TransferError::Protocol("an unknown file was received"))? = true;
                    }
                    Heard::Line(Line::Failed { id, message }) => {
                        let entry = self
                            .entries
                            .get(id)
                            .ok_or(TransferError::Protocol("an unknown file failed"))?;
                        bar.suspend(|| eprintln!("{}: {}", entry.path, printable(&message)));
                    }
                    Heard::Line(Line::Bye) => return Ok(arrived),
                    _ => return Err(TransferError::Protocol("something else than receipts")),
                }
            }
        };
        let (hashes, arrived) = tokio::try_join!(stream, listen)?;
        bar.finish_and_clear();
        let mut sent = Sent::default();
        for ((entry, sha256), arrived) in self.entries.iter().zip(hashes).zip(arrived) {
            match sha256 {
                Some(sha256) if arrived => sent.files.push(SentFile {
                    path: entry.path.clone(),
                    sha256,
                }),
                _ => sent.failed += 1,
            }
        }
        Ok(sent)
    }

    /// Sends one file; its hash, or `None` if it could not be read to its end.
    async fn file(
        &self,
        sender: &DataChannelSender,
        id: usize,
        part: Option<&Part>,
        bar: &indicatif::ProgressBar,
    ) -> Result<Option<String>, TransferError> {
        let entry = &self.entries[id];
        bar.set_message(entry.path.clone());
        let (mut file, mut hash, offset) = match self.open(id, part) {
            Ok(opened) => opened,
            Err(error) => {
                say(
                    sender,
                    &Line::Skip {
                        id,
                        message: error.to_string(),
                    },
                )
                .await?;
                return Ok(None);
            }
        };
        say(sender, &Line::Begin { id, offset }).await?;
        bar.inc(offset);
        let mut left = entry.size - offset;
        let mut buffer = BytesMut::new();
        while left > 0 {
            let want = left.min(CHUNK as u64) as usize;
            buffer.resize(want, 0);
            match file.read(&mut buffer) {
                Ok(0) => {
                    say(
                        sender,
                        &Line::Skip {
                            id,
                            message: "it became shorter while it was sent".into(),
                        },
                    )
                    .await?;
                    return Ok(None);
                }
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
                Err(error) => {
                    say(
                        sender,
                        &Line::Skip {
                            id,
                            message: error.to_string(),
                        },
                    )
                    .await?;
                    return Ok(None);
                }
            }
        }
        let sha256 = hex(&hash.finalize());
        say(
            sender,
            &Line::End {
                id,
                sha256: sha256.clone(),
            },
        )
        .await?;
        Ok(Some(sha256))
    }

    /// Opens a file behind what the receiver has of it, if that is the same as ours.
    fn open(&self, id: usize, part: Option<&Part>) -> io::Result<(File, Sha256, u64)> {
        let mut file = File::open(&self.sources[id])?;
        if let Some(part) = part.filter(|part| part.offset > 0) {
            let mut hash = Sha256::new();
            let read = io::copy(&mut (&mut file).take(part.offset), &mut HashWriter(&mut hash))?;
            if read == part.offset && hex(&hash.clone().finalize()).eq_ignore_ascii_case(&part.sha256) {
                return Ok((file, hash, part.offset));
            }
            file = File::open(&self.sources[id])?;
        }
        Ok((file, Sha256::new(), 0))
    }
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

/// What a stranger wrote, for the terminal: no control characters, and not a page of it.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(200).collect()
}
