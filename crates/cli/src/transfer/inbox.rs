//! The receiver's side.
//!
//! What lies in the folder already is nobody's business: nothing that the sender is told depends on its names, sizes or contents.
//! Only what this transfer brought is looked into while the two are connected.

use std::collections::HashMap;
use std::fs;
use std::io::{self, Read};
use std::path::Path;
use std::time::Duration;

use antiphon::DataChannelSender;
use cap_std::fs::Dir;
use indicatif::ProgressBar;
use sha2::{Digest, Sha256};
use tokio::sync::watch;
use tokio::time::timeout;

use super::error::TransferError;
use super::folder::{self, Folders, are_equal, is_full, open_ambient, open_plain};
use super::meet::Link;
use super::names::{PathError, Place, Plan};
use super::outbox::HashWriter;
use super::protocol::{Entry, Heard, Line, PAGE, Part, hex, say};
use super::rules::{MAX_FILES, MAX_LIST, PART};
use super::{progress, question};
use crate::text::plain;

/// How long a sender may take to hear our last word.
const GOODBYE: Duration = Duration::from_secs(10);
/// Bytes of a file's name in the name of its part.
const PART_NAME: usize = 160;

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
    root: Dir,
    overwrite: bool,
    /// The user has agreed, or is not asked.
    agreed: bool,
    /// The sender's number for this transfer; empty before there is one.
    transfer: String,
    list: Vec<Entry>,
    places: Vec<Place>,
    folders: Folders,
    /// Whole files by id.
    whole: HashMap<usize, Whole>,
    /// Files whose name was taken by another.
    numbered: Vec<Numbered>,
    /// Bytes that are left to take, if that is bounded.
    room: Option<u64>,
    /// Bytes that were taken.
    taken: watch::Sender<u64>,
}

/// A file that arrived, now or before the connection broke.
#[derive(Clone, Debug)]
struct Whole {
    size: u64,
    sha256: String,
    /// Relative to the folder that everything goes into.
    path: String,
}

/// A file that got another name than it should have.
#[derive(Debug)]
struct Numbered {
    id: usize,
    folder: usize,
    name: String,
}

/// What is there of a file.
struct Piece {
    hash: Sha256,
    offset: u64,
}

/// The file that is being received.
struct Current {
    id: usize,
    /// `None` if it is there already.
    part: Option<folder::Part>,
    hash: Sha256,
    at: u64,
}

/// Why a file does not arrive.
enum Trouble {
    /// It cannot be read or written here.
    Disk(io::Error),
    /// Its hash is not the sender's.
    Hash,
    /// The sender's file is another one since the connection broke.
    Changed,
}

impl From<io::Error> for Trouble {
    fn from(error: io::Error) -> Self {
        Self::Disk(error)
    }
}

impl Inbox {
    /// Into `root`, which is made if it is not there. Without `overwrite` a name that is taken gets a number. With `yes` nobody is
    /// asked.
    ///
    /// # Errors
    /// What the system says of the folder.
    pub fn new(root: &Path, overwrite: bool, yes: bool) -> io::Result<Self> {
        fs::create_dir_all(root)?;
        let root = open_ambient(root)?;
        Ok(Self {
            folders: Folders::new(root.try_clone()?, Vec::new()),
            root,
            overwrite,
            agreed: yes,
            transfer: String::new(),
            list: Vec::new(),
            places: Vec::new(),
            whole: HashMap::new(),
            numbered: Vec::new(),
            room: None,
            taken: watch::Sender::new(0),
        })
    }

    /// How many bytes have been taken since this inbox was made, as they come.
    pub fn taken(&self) -> watch::Receiver<u64> {
        self.taken.subscribe()
    }

    /// As if the disk had room for so many bytes and no more. For tests.
    pub fn with_room(mut self, bytes: u64) -> Self {
        self.room = Some(bytes);
        self
    }

    /// Receives what the sender offers. After [`TransferError::Broken`] it may be called again with a new link; what has arrived stays.
    /// Call [`tidy`](Self::tidy) once the link is closed.
    ///
    /// # Errors
    /// [`TransferError::Broken`], [`TransferError::Protocol`], [`TransferError::Declined`], [`TransferError::File`] for a full disk.
    pub async fn run(&mut self, link: &mut Link) -> Result<Received, TransferError> {
        let sender = link.sender();
        self.agree(&sender, link).await?;
        let pieces = self.pieces();
        for line in self.have(&pieces) {
            say(&sender, &line).await?;
        }
        let mut receiving = Receiving::new(self, pieces);
        loop {
            let step = match link.hear().await? {
                Heard::Bytes(bytes) => receiving.bytes(&bytes)?,
                Heard::Line(Line::Begin { id, offset }) => receiving.begin(id, offset)?,
                Heard::Line(Line::End { id, sha256 }) => receiving.end(id, &sha256)?,
                Heard::Line(Line::Skip { id, message }) => receiving.skip(id, &message)?,
                Heard::Line(Line::Done) => {
                    receiving.bar.finish_and_clear();
                    say(&sender, &Line::Bye).await?;
                    // The sender closes when it has heard that; until then the channel carries it.
                    _ = timeout(GOODBYE, link.hear()).await;
                    return Ok(receiving.received);
                }
                Heard::Line(_) => return Err(TransferError::Protocol("a line out of turn")),
            };
            match step {
                Step::GoOn => {}
                Step::Arrived(id) => say(&sender, &Line::Received { id }).await?,
                Step::Failed(id, Trouble::Disk(error)) if is_full(&error) => {
                    receiving.give_up(id);
                    receiving.bar.finish_and_clear();
                    let path = receiving.inbox.path(id);
                    decline(&sender, link, "the receiver's disk is full").await?;
                    return Err(TransferError::file(plain(&path))(error));
                }
                Step::Failed(id, trouble) => {
                    let message = receiving.failed(id, trouble).to_owned();
                    say(&sender, &Line::Failed { id, message }).await?;
                }
            }
        }
    }

    /// Hears what is offered. What was not agreed to before must be agreed to now.
    async fn agree(&mut self, sender: &DataChannelSender, link: &mut Link) -> Result<(), TransferError> {
        let (transfer, list) = read_list(link).await?;
        if transfer == self.transfer && list == self.list {
            return Ok(());
        }
        let plan = match Plan::new(&list) {
            Ok(plan) => plan,
            Err(error) => {
                decline(sender, link, &error.to_string()).await?;
                return Err(TransferError::Protocol(match error {
                    PathError::Twice => "the same path twice",
                    _ => "a path that leads elsewhere",
                }));
            }
        };
        let folders = Folders::new(self.root.try_clone().map_err(disk("."))?, plan.folders.clone());
        if self.agreed && self.list.is_empty() {
            eprint!("{}", question::renamed(&list, &plan, 0));
        } else {
            self.agreed = question::ask(&list, &plan, &folders, self.overwrite).await;
        }
        if !self.agreed {
            decline(sender, link, "the receiver does not want these files").await?;
            return Err(TransferError::Declined("not wanted".into()));
        }
        (self.transfer, self.list, self.places, self.folders) = (transfer, list, plan.places, folders);
        self.whole.clear();
        self.numbered.clear();
        Ok(())
    }

    /// What is here already, in lines of a bounded size.
    fn have(&self, pieces: &HashMap<usize, Piece>) -> Vec<Line> {
        let whole = self.whole.iter().map(|(&id, whole)| Part {
            id,
            offset: whole.size,
            sha256: whole.sha256.clone(),
        });
        let begun = pieces.iter().map(|(&id, piece)| Part {
            id,
            offset: piece.offset,
            sha256: hex(&piece.hash.clone().finalize()),
        });
        let mut parts: Vec<Part> = whole.chain(begun).collect();
        parts.sort_by_key(|part| part.id);
        let pages = parts.chunks(PAGE).len().max(1);
        let line = |at: usize| Line::Have {
            parts: parts.iter().skip(at * PAGE).take(PAGE).cloned().collect(),
            more: at + 1 < pages,
        };
        (0..pages).map(line).collect()
    }

    /// Takes away what arrived twice: a file that got a number because one with the same content has its name already. Not while
    /// the sender is there, which could tell by the time that it takes what lies here. Then waits for the disk.
    pub fn tidy(&mut self, received: &mut Received) {
        for Numbered { id, folder, name } in std::mem::take(&mut self.numbered) {
            let wanted = &self.places[id].name;
            let Ok(dir) = self.folders.find(folder) else { continue };
            if !are_equal(&dir, wanted, &name).unwrap_or(false) || dir.remove_file(&name).is_err() {
                continue;
            }
            let there = format!("{}{wanted}", self.folders.path(folder));
            if let Some(whole) = self.whole.get_mut(&id) {
                let was = std::mem::replace(&mut whole.path, there.clone());
                if let Some(file) = received.files.iter_mut().find(|file| file.path == was) {
                    file.path = there;
                }
            }
        }
        #[cfg(target_os = "linux")]
        if let Err(error) = rustix::fs::syncfs(&self.root) {
            tracing::debug!(%error, "the disk was not waited for");
        }
    }

    /// The path of a file as it is here, or will be.
    fn path(&self, id: usize) -> String {
        let place = &self.places[id];
        format!("{}{}", self.folders.path(place.folder), place.name)
    }

    /// What a file is called here until it is whole. Only who knows the transfer's number can mean it, and no name of another transfer
    /// or another program is like it.
    fn part_name(&self, id: usize) -> String {
        let name = &self.places[id].name;
        let mut cut = name.len().min(PART_NAME);
        while !name.is_char_boundary(cut) {
            cut -= 1;
        }
        let transfer = hex(&Sha256::digest(&self.transfer)[..8]);
        format!("{}.{transfer}-{id}{PART}", &name[..cut])
    }

    /// What this transfer has left here, hashed.
    fn pieces(&self) -> HashMap<usize, Piece> {
        let mut pieces = HashMap::new();
        for folder in 0..self.folders.count() {
            let Ok(dir) = self.folders.find(folder) else { continue };
            let Ok(entries) = dir.entries() else { continue };
            for name in entries.flatten().map(|entry| entry.file_name()) {
                let number = name.to_str().and_then(|name| name.strip_suffix(PART)?.rsplit_once('-'));
                let Some(id) = number.and_then(|(_, id)| id.parse::<usize>().ok()) else {
                    continue;
                };
                let ours = self.places.get(id).is_some_and(|place| place.folder == folder);
                if !ours || self.whole.contains_key(&id) || *name != *self.part_name(id) {
                    continue;
                }
                let Ok((file, len)) = open_plain(&dir, &self.part_name(id)) else {
                    continue;
                };
                let mut hash = Sha256::new();
                let read = io::copy(&mut file.take(len), &mut HashWriter(&mut hash));
                match read {
                    Ok(offset @ 1..) if offset == len && len <= self.list[id].size => {
                        pieces.insert(id, Piece { hash, offset });
                    }
                    _ => {}
                }
            }
        }
        pieces
    }

    fn begin(&mut self, id: usize, offset: u64, piece: Option<Piece>) -> Result<Current, Trouble> {
        if let Some(whole) = self.whole.get(&id) {
            return match whole.size == offset {
                true => Ok(Current {
                    id,
                    part: None,
                    hash: Sha256::new(),
                    at: offset,
                }),
                false => Err(Trouble::Changed),
            };
        }
        let folder = self.folders.enter(self.places[id].folder)?;
        let part = folder::Part::open(folder, self.part_name(id), piece.is_some())?;
        let (hash, at) = piece.map_or_else(|| (Sha256::new(), 0), |piece| (piece.hash, piece.offset));
        Ok(Current {
            id,
            part: Some(part),
            hash,
            at,
        })
    }

    /// Checks a file and gives it its name.
    fn end(&mut self, current: Current, sha256: &str) -> Result<ReceivedFile, Trouble> {
        let Current { id, part, hash, at } = current;
        let Some(part) = part else {
            let whole = self
                .whole
                .get(&id)
                .filter(|whole| whole.sha256.eq_ignore_ascii_case(sha256));
            let Whole { sha256, path, .. } = whole.ok_or(Trouble::Changed)?.clone();
            return Ok(ReceivedFile { path, sha256 });
        };
        let ours = hex(&hash.finalize());
        if at != self.list[id].size || !ours.eq_ignore_ascii_case(sha256) {
            part.remove()?;
            return Err(Trouble::Hash);
        }
        let Place { folder, name, .. } = &self.places[id];
        let (folder, got) = (*folder, part.finish(name, self.overwrite)?);
        let path = format!("{}{got}", self.folders.path(folder));
        if got != *name {
            let name = got;
            self.numbered.push(Numbered { id, folder, name });
        }
        let whole = Whole {
            size: at,
            sha256: ours.clone(),
            path: path.clone(),
        };
        self.whole.insert(id, whole);
        Ok(ReceivedFile { path, sha256: ours })
    }
}

/// What follows from something that the sender said.
enum Step {
    /// There is nothing to say yet.
    GoOn,
    /// A file is whole.
    Arrived(usize),
    /// A file does not arrive.
    Failed(usize, Trouble),
}

/// The files of one link, from the first to the last.
struct Receiving<'a> {
    inbox: &'a mut Inbox,
    pieces: HashMap<usize, Piece>,
    bar: ProgressBar,
    received: Received,
    /// Files that have begun, or were left out.
    done: Vec<bool>,
    current: Option<Current>,
    /// The file whose bytes are of no use any more.
    given_up: Option<usize>,
}

impl<'a> Receiving<'a> {
    fn new(inbox: &'a mut Inbox, pieces: HashMap<usize, Piece>) -> Self {
        let total = inbox
            .list
            .iter()
            .fold(0u64, |sum, entry| sum.saturating_add(entry.size));
        Self {
            pieces,
            bar: progress::bar(total),
            received: Received::default(),
            done: vec![false; inbox.list.len()],
            current: None,
            given_up: None,
            inbox,
        }
    }

    fn begin(&mut self, id: usize, offset: u64) -> Result<Step, TransferError> {
        // Once each: a sender that begins again and again would fill the disk with what nobody agreed to.
        let begun = self
            .done
            .get_mut(id)
            .ok_or(TransferError::Protocol("an unknown file"))?;
        if std::mem::replace(begun, true) {
            return Err(TransferError::Protocol("a file that begins twice"));
        }
        (self.current, self.given_up) = (None, None);
        self.bar.set_message(plain(&self.inbox.path(id)).to_string());
        self.bar.inc(offset);
        let has = self.inbox.whole.get(&id).map(|whole| whole.size);
        let piece = self
            .pieces
            .remove(&id)
            .filter(|piece| offset > 0 && piece.offset == offset);
        if offset > 0 && piece.is_none() && has != Some(offset) {
            return Err(TransferError::Protocol("a file that begins in the middle"));
        }
        match self.inbox.begin(id, offset, piece) {
            Ok(begun) => {
                self.current = Some(begun);
                Ok(Step::GoOn)
            }
            Err(trouble) => Ok(Step::Failed(id, trouble)),
        }
    }

    fn bytes(&mut self, bytes: &[u8]) -> Result<Step, TransferError> {
        let Some(writing) = &mut self.current else {
            if self.given_up.is_some() {
                return Ok(Step::GoOn);
            }
            return Err(TransferError::Protocol("bytes of no file"));
        };
        writing.at = writing.at.saturating_add(bytes.len() as u64);
        if writing.at > self.inbox.list[writing.id].size {
            return Err(TransferError::Protocol("more bytes than the file has"));
        }
        let Some(part) = &mut writing.part else {
            return Err(TransferError::Protocol("bytes of a file that is whole"));
        };
        writing.hash.update(bytes);
        self.bar.inc(bytes.len() as u64);
        match room(&mut self.inbox.room, bytes.len()).and_then(|()| part.write(bytes)) {
            Ok(()) => {
                self.inbox.taken.send_modify(|taken| *taken += bytes.len() as u64);
                Ok(Step::GoOn)
            }
            Err(error) => Ok(Step::Failed(writing.id, error.into())),
        }
    }

    fn end(&mut self, id: usize, sha256: &str) -> Result<Step, TransferError> {
        if self.given_up == Some(id) {
            self.given_up = None;
            return Ok(Step::GoOn);
        }
        let ours = self.current.take().filter(|current| current.id == id);
        let ours = ours.ok_or(TransferError::Protocol("the end of another file"))?;
        match self.inbox.end(ours, sha256) {
            Ok(file) => {
                self.received.files.push(file);
                Ok(Step::Arrived(id))
            }
            Err(trouble) => Ok(Step::Failed(id, trouble)),
        }
    }

    fn skip(&mut self, id: usize, message: &str) -> Result<Step, TransferError> {
        let known = self
            .done
            .get_mut(id)
            .ok_or(TransferError::Protocol("an unknown file"))?;
        let begun = self.current.take().is_some_and(|current| current.id == id);
        if std::mem::replace(known, true) && !begun {
            // What we gave up, it gives up too.
            if self.given_up.take() != Some(id) {
                return Err(TransferError::Protocol("a file that is left out twice"));
            }
            return Ok(Step::GoOn);
        }
        self.received.failed += 1;
        let path = self.inbox.path(id);
        self.bar
            .suspend(|| eprintln!("{}: the sender: {}", plain(&path), plain(message)));
        Ok(Step::GoOn)
    }

    /// Half of a file is kept for no one: the sender does not send the other half.
    fn give_up(&mut self, id: usize) {
        if let Some(part) = self.current.take().and_then(|current| current.part) {
            _ = part.remove();
        }
        self.received.failed += 1;
        self.given_up = Some(id);
    }

    /// Gives a file up, and says why in words for the sender.
    fn failed(&mut self, id: usize, trouble: Trouble) -> &'static str {
        self.give_up(id);
        match trouble {
            Trouble::Disk(error) => {
                let path = self.inbox.path(id);
                self.bar.suspend(|| eprintln!("{}: {error}", plain(&path)));
                "the receiver cannot write it"
            }
            Trouble::Hash => "it arrived with another hash",
            Trouble::Changed => "it changed while the connection was broken",
        }
    }
}

fn disk(path: &str) -> impl FnOnce(io::Error) -> TransferError {
    TransferError::file(path.to_owned())
}

/// Takes so many bytes of what is left.
fn room(left: &mut Option<u64>, bytes: usize) -> io::Result<()> {
    if let Some(left) = left {
        *left = left.checked_sub(bytes as u64).ok_or(io::ErrorKind::StorageFull)?;
    }
    Ok(())
}

/// The last word, which goes out before the connection does: whatever the sender says meanwhile is of no interest.
async fn decline(sender: &DataChannelSender, link: &mut Link, why: &str) -> Result<(), TransferError> {
    let message = why.to_owned();
    say(sender, &Line::Decline { message }).await?;
    _ = timeout(GOODBYE, async { while link.hear().await.is_ok() {} }).await;
    Ok(())
}

async fn read_list(link: &mut Link) -> Result<(String, Vec<Entry>), TransferError> {
    let mut list = Vec::new();
    let mut number = None;
    let mut bytes = 0;
    loop {
        let Heard::Line(Line::List { transfer, files, more }) = link.hear().await? else {
            return Err(TransferError::Protocol("something else than a list of files"));
        };
        if transfer.len() != 32 || !transfer.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(TransferError::Protocol("a transfer without a number"));
        }
        if *number.get_or_insert_with(|| transfer.clone()) != transfer {
            return Err(TransferError::Protocol("two transfers in one list"));
        }
        bytes += files.iter().map(|entry| entry.path.len()).sum::<usize>();
        list.extend(files);
        if list.len() > MAX_FILES || bytes > MAX_LIST {
            return Err(TransferError::Protocol("too many files"));
        }
        if !more {
            let whole = list
                .iter()
                .try_fold(0u64, |sum, entry: &Entry| sum.checked_add(entry.size));
            whole.ok_or(TransferError::Protocol("more bytes than there are"))?;
            return Ok((transfer, list));
        }
    }
}
