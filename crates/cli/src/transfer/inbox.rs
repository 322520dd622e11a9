//! The receiver's side.

use std::collections::HashMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use sha2::{Digest, Sha256};
use tokio::time::timeout;

use super::meet::Link;
use super::outbox::{HashWriter, printable};
use super::paths::{SafePath, unused};
use super::protocol::{Entry, Heard, Line, MAX_FILES, PAGE, Part, hex, say};
use super::{TransferError, progress};

/// What is not whole yet has this at the end of its name.
const PART: &str = ".antiphon-part";
/// Bytes that are written at once.
const WRITE: usize = 1 << 20;
/// How long a sender may take to hear our last word.
const GOODBYE: Duration = Duration::from_secs(10);
/// Names that the question shows.
const SHOWN: usize = 20;

/// One file that arrived whole.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReceivedFile {
    /// Where it is, relative to the folder: another name than the sender's where that was taken.
    pub path: String,
    /// In hexadecimal, as both ends computed it.
    pub sha256: String,
}

/// What became of the files.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Received {
    /// Those that arrived.
    pub files: Vec<ReceivedFile>,
    /// How many did not.
    pub failed: usize,
}

/// Receives into one folder.
#[derive(Debug)]
pub struct Inbox {
    root: PathBuf,
    overwrite: bool,
    /// The user has agreed, or is not asked.
    agreed: bool,
    list: Vec<Entry>,
    paths: Vec<SafePath>,
    /// Whole files by id: where they are.
    whole: HashMap<usize, PathBuf>,
}

/// What is there of a file, and where.
struct Piece {
    hash: Sha256,
    offset: u64,
    /// A whole file under its final name.
    whole: Option<PathBuf>,
}

/// The file that is being received.
struct Current {
    id: usize,
    /// `None` if it is there already.
    file: Option<BufWriter<File>>,
    part: PathBuf,
    hash: Sha256,
    at: u64,
    whole: Option<PathBuf>,
}

impl Inbox {
    /// Into `root`, which is made if it is not there. Without `overwrite` a name that is taken gets a number. With `yes` nobody is
    /// asked.
    ///
    /// # Errors
    /// What the system says of the folder.
    pub fn new(root: &Path, overwrite: bool, yes: bool) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        Ok(Self {
            root: fs::canonicalize(root)?,
            overwrite,
            agreed: yes,
            list: Vec::new(),
            paths: Vec::new(),
            whole: HashMap::new(),
        })
    }

    /// Receives what the sender offers. After [`TransferError::Broken`] it may be called again with a new link; what has arrived stays.
    ///
    /// # Errors
    /// [`TransferError::Broken`], [`TransferError::Protocol`], [`TransferError::Declined`], [`TransferError::File`] for a full disk.
    pub async fn run(&mut self, link: &mut Link) -> Result<Received, TransferError> {
        let sender = link.sender();
        let list = read_list(link).await?;
        if list != self.list {
            let paths: Result<Vec<_>, _> = list.iter().map(|entry| SafePath::parse(&entry.path)).collect();
            let paths = match paths {
                Ok(paths) => paths,
                Err(error) => {
                    say(
                        &sender,
                        &Line::Decline {
                            message: error.to_string(),
                        },
                    )
                    .await?;
                    return Err(TransferError::Protocol("a path that leads elsewhere"));
                }
            };
            self.agreed = self.agreed && self.list.is_empty() || ask(&list).await;
            if !self.agreed {
                say(
                    &sender,
                    &Line::Decline {
                        message: "the receiver does not want these files".into(),
                    },
                )
                .await?;
                // The word goes out before the connection does.
                _ = timeout(GOODBYE, link.hear()).await;
                return Err(TransferError::Declined("not wanted".into()));
            }
            (self.list, self.paths) = (list, paths);
            self.whole.clear();
        }
        let mut pieces = self.pieces()?;
        let mut parts: Vec<Part> = pieces
            .iter()
            .map(|(&id, piece)| Part {
                id,
                offset: piece.offset,
                sha256: hex(&piece.hash.clone().finalize()),
            })
            .collect();
        parts.sort_by_key(|part| part.id);
        let pages = parts.chunks(PAGE).len().max(1);
        for at in 0..pages {
            let page = parts.iter().skip(at * PAGE).take(PAGE).cloned().collect();
            say(
                &sender,
                &Line::Have {
                    parts: page,
                    more: at + 1 < pages,
                },
            )
            .await?;
        }

        let bar = progress::bar(self.list.iter().map(|entry| entry.size).sum());
        let mut received = Received::default();
        let mut current: Option<Current> = None;
        loop {
            match link.hear().await? {
                Heard::Line(Line::Begin { id, offset }) => {
                    let path = self.paths.get(id).ok_or(TransferError::Protocol("an unknown file"))?;
                    bar.set_message(path.to_string());
                    bar.inc(offset);
                    let piece = pieces.remove(&id).filter(|piece| offset > 0 && piece.offset == offset);
                    if offset > 0 && piece.is_none() {
                        return Err(TransferError::Protocol("a file that begins in the middle"));
                    }
                    current = Some(self.begin(id, piece)?);
                }
                Heard::Bytes(bytes) => {
                    let Some(current) = &mut current else {
                        return Err(TransferError::Protocol("bytes of no file"));
                    };
                    current.at += bytes.len() as u64;
                    let entry = &self.list[current.id];
                    if current.at > entry.size {
                        return Err(TransferError::Protocol("more bytes than the file has"));
                    }
                    let Some(file) = &mut current.file else {
                        return Err(TransferError::Protocol("bytes of a file that is whole"));
                    };
                    current.hash.update(&bytes);
                    file.write_all(&bytes).map_err(TransferError::file(&entry.path))?;
                    bar.inc(bytes.len() as u64);
                }
                Heard::Line(Line::End { id, sha256 }) => {
                    let ours = current.take().filter(|current| current.id == id);
                    let ours = ours.ok_or(TransferError::Protocol("the end of another file"))?;
                    match self.end(ours, &sha256)? {
                        Some(file) => {
                            received.files.push(file);
                            say(&sender, &Line::Received { id }).await?;
                        }
                        None => {
                            received.failed += 1;
                            say(
                                &sender,
                                &Line::Failed {
                                    id,
                                    message: "it arrived with another hash".into(),
                                },
                            )
                            .await?;
                        }
                    }
                }
                Heard::Line(Line::Skip { id, message }) => {
                    let entry = self.list.get(id).ok_or(TransferError::Protocol("an unknown file"))?;
                    current = None;
                    received.failed += 1;
                    bar.suspend(|| eprintln!("{}: the sender: {}", entry.path, printable(&message)));
                }
                Heard::Line(Line::Done) => {
                    bar.finish_and_clear();
                    say(&sender, &Line::Bye).await?;
                    // The sender closes when it has heard that; until then the channel carries it.
                    _ = timeout(GOODBYE, link.hear()).await;
                    return Ok(received);
                }
                Heard::Line(_) => return Err(TransferError::Protocol("a line out of turn")),
            }
        }
    }

    /// What is there already, hashed.
    fn pieces(&self) -> Result<HashMap<usize, Piece>, TransferError> {
        let mut pieces = HashMap::new();
        for (id, (entry, path)) in self.list.iter().zip(&self.paths).enumerate() {
            // Folders are made when a file begins, not for a question.
            let target = self.root.join(path.as_str());
            let found = match self.whole.get(&id) {
                Some(at) => Some((at.clone(), true)),
                None => {
                    let is_file = |path: &Path| {
                        fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file() && meta.len() <= entry.size)
                    };
                    let same_size = |path: &Path| fs::symlink_metadata(path).is_ok_and(|meta| meta.len() == entry.size);
                    let part = part_of(&target);
                    if is_file(&target) && same_size(&target) {
                        Some((target, true))
                    } else {
                        is_file(&part).then_some((part, false))
                    }
                }
            };
            let Some((at, is_whole)) = found else { continue };
            let mut hash = Sha256::new();
            let offset = File::open(&at)
                .and_then(|mut file| io::copy(&mut file, &mut HashWriter(&mut hash)))
                .map_err(TransferError::file(path))?;
            if offset > 0 || is_whole {
                pieces.insert(
                    id,
                    Piece {
                        hash,
                        offset,
                        whole: is_whole.then_some(at),
                    },
                );
            }
        }
        Ok(pieces)
    }

    fn begin(&self, id: usize, piece: Option<Piece>) -> Result<Current, TransferError> {
        let path = &self.paths[id];
        let target = path.place(&self.root).map_err(TransferError::file(path))?;
        let part = part_of(&target);
        if let Some(Piece {
            hash,
            offset,
            whole: Some(whole),
        }) = piece
        {
            return Ok(Current {
                id,
                file: None,
                part,
                hash,
                at: offset,
                whole: Some(whole),
            });
        }
        let (hash, at) = piece.map_or_else(|| (Sha256::new(), 0), |piece| (piece.hash, piece.offset));
        let mut options = OpenOptions::new();
        if at > 0 {
            options.append(true);
        } else {
            // A link under this name would lead elsewhere: never write through what is there, make it new.
            match fs::remove_file(&part) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(TransferError::file(path)(error)),
                _ => {}
            }
            options.write(true).create_new(true);
        }
        let file = options.open(&part).map_err(TransferError::file(path))?;
        Ok(Current {
            id,
            file: Some(BufWriter::with_capacity(WRITE, file)),
            part,
            hash,
            at,
            whole: None,
        })
    }

    /// Checks a file and gives it its name; `None` if it is not what was sent.
    fn end(&mut self, current: Current, sha256: &str) -> Result<Option<ReceivedFile>, TransferError> {
        let Current {
            id,
            file,
            part,
            hash,
            at,
            whole,
        } = current;
        let (entry, path) = (&self.list[id], &self.paths[id]);
        let ours = hex(&hash.finalize());
        let right = at == entry.size && ours.eq_ignore_ascii_case(sha256);
        let place = match (file, whole) {
            (None, Some(place)) => {
                if !right {
                    return Ok(None);
                }
                place
            }
            (Some(file), _) => {
                let file = file
                    .into_inner()
                    .map_err(|error| TransferError::file(path)(error.into_error()))?;
                file.sync_data().map_err(TransferError::file(path))?;
                drop(file);
                if !right {
                    fs::remove_file(&part).map_err(TransferError::file(path))?;
                    return Ok(None);
                }
                let target = self.root.join(path.as_str());
                let taken = fs::symlink_metadata(&target).is_ok();
                let place = if taken && !self.overwrite {
                    unused(&target)
                } else {
                    target
                };
                fs::rename(&part, &place).map_err(TransferError::file(path))?;
                place
            }
            (None, None) => return Ok(None),
        };
        let shown = place.strip_prefix(&self.root).unwrap_or(&place).display().to_string();
        self.whole.insert(id, place);
        Ok(Some(ReceivedFile {
            path: shown,
            sha256: ours,
        }))
    }
}

fn part_of(target: &Path) -> PathBuf {
    let mut name = target.file_name().unwrap_or_default().to_owned();
    name.push(PART);
    target.with_file_name(name)
}

async fn read_list(link: &mut Link) -> Result<Vec<Entry>, TransferError> {
    let mut list = Vec::new();
    loop {
        let Heard::Line(Line::List { files, more }) = link.hear().await? else {
            return Err(TransferError::Protocol("something else than a list of files"));
        };
        list.extend(files);
        if list.len() > MAX_FILES {
            return Err(TransferError::Protocol("too many files"));
        }
        if !more {
            let whole = list
                .iter()
                .try_fold(0u64, |sum, entry: &Entry| sum.checked_add(entry.size));
            whole.ok_or(TransferError::Protocol("more bytes than there are"))?;
            return Ok(list);
        }
    }
}

/// Asks at the terminal.
async fn ask(list: &[Entry]) -> bool {
    let bytes: u64 = list.iter().map(|entry| entry.size).sum();
    for entry in list.iter().take(SHOWN) {
        eprintln!(
            "  {:>12}  {}",
            indicatif::HumanBytes(entry.size).to_string(),
            printable(&entry.path)
        );
    }
    if list.len() > SHOWN {
        eprintln!("  ... and {} more", list.len() - SHOWN);
    }
    eprint!("Receive {} files, {}? [y/N] ", list.len(), indicatif::HumanBytes(bytes));
    let answer = tokio::task::spawn_blocking(|| {
        let mut line = String::new();
        io::stdin().read_line(&mut line).map(|_| line)
    });
    matches!(answer.await, Ok(Ok(line)) if matches!(line.trim().to_ascii_lowercase().as_str(), "y" | "yes"))
}
