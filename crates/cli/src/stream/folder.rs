//! A folder of recordings: a file for each participant and one for each screen, and an index that says whose they are and when they began.

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use antiphon::container::Format;
use antiphon::{Event, Feed, PeerHandle, Recorder, RecorderError, TransceiverId};
use serde::Serialize;

use super::StreamError;

/// The file that says what the others are.
const INDEX: &str = "index.json";
/// Files of one recording: somebody who changes its tracks all the time must not fill the disk's table.
const MAX_FILES: usize = 10_000;
/// Characters of a name that stand in the name of a file.
const MAX_SLUG: usize = 40;

/// What a file shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Part {
    /// Somebody's camera and microphone.
    Camera,
    /// Somebody's screen.
    Screen,
}

/// The tracks of one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Group {
    /// The name of the participant.
    pub(super) name: String,
    pub(super) tracks: Vec<TransceiverId>,
}

/// Groups by the id of their participant, and what they show.
pub(super) type Groups = BTreeMap<(String, Part), Group>;

/// A line of the index.
#[derive(Clone, Debug, Serialize)]
struct Entry {
    /// The file, within the folder.
    file: String,
    /// The participant's number in the room.
    participant: String,
    name: String,
    shows: Part,
    /// When its first frame came, in seconds of Unix time.
    from: f64,
    /// When it ended; `None` while it goes on.
    to: Option<f64>,
    /// Frames and packets of sound that are in it, once it has ended.
    written: u64,
}

/// A file that is being written.
struct Tape {
    entry: usize,
    recorder: Recorder,
    feed: Feed,
}

/// The folder.
pub(super) struct Folder {
    path: PathBuf,
    room: String,
    format: Format,
    extension: String,
    entries: Vec<Entry>,
    groups: Groups,
    tapes: BTreeMap<(String, Part), Tape>,
    /// What went wrong first.
    trouble: Option<StreamError>,
}

impl Folder {
    /// A folder for files of this kind. It is not made yet; one that holds a recording is refused.
    pub(super) fn new(path: PathBuf, room: &str, extension: &str) -> Result<Self, StreamError> {
        let file = path.display().to_string();
        let format = Format::of_extension(extension).filter(|format| format.max_tracks() > 1);
        let format = format.ok_or_else(|| StreamError::Record {
            file: file.clone(),
            source: RecorderError::UnknownFormat,
        })?;
        if path.join(INDEX).exists() {
            let why = "there is a recording in this folder already: take another one".to_owned();
            return Err(StreamError::File { file, why });
        }
        Ok(Self {
            path,
            room: room.to_owned(),
            format,
            extension: extension.to_owned(),
            entries: Vec::new(),
            groups: Groups::new(),
            tapes: BTreeMap::new(),
            trouble: None,
        })
    }

    /// Makes the folder, if it is not there, and its index.
    pub(super) fn make(&mut self) -> Result<(), StreamError> {
        fs::create_dir_all(&self.path)?;
        self.write_index();
        self.trouble.take().map_or(Ok(()), Err)
    }

    /// What files are made of.
    pub(super) fn format(&self) -> Format {
        self.format
    }

    /// How many files there are, and the frames and packets in those that are whole.
    pub(super) fn count(&self) -> (usize, u64) {
        let written = self.entries.iter().map(|entry| entry.written).sum();
        (self.entries.len(), written)
    }

    /// The room has other tracks: files whose tracks are others now end, and others begin with their first frame.
    pub(super) async fn follow(&mut self, groups: Groups) {
        let is_over = |key: &(String, Part)| groups.get(key).map(|group| &group.tracks) != self.tracks_of(key);
        let over: Vec<_> = self.tapes.keys().filter(|key| is_over(key)).cloned().collect();
        for key in over {
            self.end(&key).await;
        }
        self.groups = groups;
    }

    fn tracks_of(&self, key: &(String, Part)) -> Option<&Vec<TransceiverId>> {
        self.groups.get(key).map(|group| &group.tracks)
    }

    /// Somebody has left.
    pub(super) async fn leave(&mut self, participant: &str) {
        for part in [Part::Camera, Part::Screen] {
            let key = (participant.to_owned(), part);
            self.end(&key).await;
            self.groups.remove(&key);
        }
    }

    /// Records an event of the connection, if it is a frame of somebody.
    pub(super) fn take(&mut self, peer: &PeerHandle, event: &Event) {
        let Event::Frame { transceiver, .. } = event else {
            return;
        };
        let found = self.groups.iter().find(|(_, group)| group.tracks.contains(transceiver));
        let Some((key, group)) = found.map(|(key, group)| (key.clone(), group.clone())) else {
            return;
        };
        if !self.tapes.contains_key(&key) {
            match self.begin(peer, &key, &group) {
                Ok(tape) => _ = self.tapes.insert(key.clone(), tape),
                Err(error) => {
                    _ = self.trouble.get_or_insert(error);
                    // It is not tried again with each frame.
                    _ = self.groups.remove(&key);
                    return;
                }
            }
            self.write_index();
        }
        if let Some(tape) = self.tapes.get(&key) {
            tape.feed.handle_event(event);
        }
    }

    fn begin(&mut self, peer: &PeerHandle, key: &(String, Part), group: &Group) -> Result<Tape, StreamError> {
        if self.entries.len() >= MAX_FILES {
            return Err(StreamError::File {
                file: self.path.display().to_string(),
                why: format!("a recording has at most {MAX_FILES} files"),
            });
        }
        let (participant, shows) = key;
        let screen = if *shows == Part::Screen { "-screen" } else { "" };
        let number = self.entries.len() + 1;
        let file = format!("{number:02}-{}{screen}.{}", slug(&group.name), self.extension);
        let path = self.path.join(&file);
        let made = OpenOptions::new().write(true).create_new(true).open(&path);
        let made = made.map_err(|error| StreamError::File {
            file: path.display().to_string(),
            why: error.to_string(),
        })?;
        let mut recorder = Recorder::new(BufWriter::new(made), self.format);
        let feed = recorder.feed_of(peer.clone(), group.tracks.iter().copied());
        self.entries.push(Entry {
            file,
            participant: participant.clone(),
            name: group.name.clone(),
            shows: *shows,
            from: now(),
            to: None,
            written: 0,
        });
        Ok(Tape {
            entry: number - 1,
            recorder,
            feed,
        })
    }

    /// Ends a file. One in which there is nothing that can be played is removed.
    async fn end(&mut self, key: &(String, Part)) {
        let Some(Tape { entry, recorder, feed }) = self.tapes.remove(key) else {
            return;
        };
        drop(feed);
        let result = recorder.finish().await;
        let own = &mut self.entries[entry];
        own.to = Some(now());
        match result {
            Ok(stats) => own.written = stats.written,
            Err(RecorderError::Nothing) => {
                // It stays as an empty file if it cannot be removed.
                _ = fs::remove_file(self.path.join(&own.file));
            }
            Err(source) => {
                let file = own.file.clone();
                self.trouble.get_or_insert(StreamError::Record { file, source });
            }
        }
        self.write_index();
    }

    /// Ends all files.
    pub(super) async fn finish(&mut self) -> Result<(), StreamError> {
        while let Some(key) = self.tapes.keys().next().cloned() {
            self.end(&key).await;
        }
        self.trouble.take().map_or(Ok(()), Err)
    }

    /// Writes the index anew. Whoever reads it meanwhile reads the one before.
    fn write_index(&mut self) {
        #[derive(Serialize)]
        struct Index<'a> {
            room: &'a str,
            recordings: Vec<&'a Entry>,
        }
        let index = Index {
            room: &self.room,
            // Files in which nothing was are gone.
            recordings: self
                .entries
                .iter()
                .filter(|entry| entry.to.is_none() || entry.written > 0)
                .collect(),
        };
        let write = || -> io::Result<()> {
            let part = self.path.join(format!("{INDEX}.part"));
            fs::write(&part, serde_json::to_vec_pretty(&index)?)?;
            fs::rename(part, self.path.join(INDEX))
        };
        if let Err(error) = write() {
            self.trouble.get_or_insert(error.into());
        }
    }
}

/// What of a name can stand in the name of a file anywhere.
fn slug(name: &str) -> String {
    let plain = |c: char| {
        if c.is_ascii_alphanumeric() {
            c.to_ascii_lowercase()
        } else {
            '-'
        }
    };
    let slug: String = name.chars().map(plain).take(MAX_SLUG).collect();
    let slug: Vec<&str> = slug.split('-').filter(|word| !word.is_empty()).collect();
    if slug.is_empty() {
        "participant".to_owned()
    } else {
        slug.join("-")
    }
}

fn now() -> f64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_files_are_plain() {
        for (name, file) in [
            ("Ada Lovelace", "ada-lovelace"),
            ("../../etc/passwd", "etc-passwd"),
            ("  ", "participant"),
            ("雪", "participant"),
            ("con", "con"),
            ("a\u{202e}b", "a-b"),
        ] {
            assert_eq!(slug(name), file, "{name}");
        }
        assert_eq!(slug(&"x".repeat(100)).len(), MAX_SLUG);
    }

    #[test]
    fn a_folder_holds_one_recording_and_files_of_two_tracks() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("new");
        let mut first = Folder::new(path.clone(), "stage", "webm").unwrap();
        assert!(!path.exists(), "who is not let in leaves nothing behind");
        first.make().unwrap();
        let index = fs::read_to_string(path.join(INDEX)).unwrap();
        assert!(index.contains("\"room\": \"stage\""), "{index}");
        let again = Folder::new(path.clone(), "stage", "webm").err().unwrap();
        assert!(again.to_string().contains("a recording in this folder"), "{again}");
        for wrong in ["ivf", "ogg", "txt", ""] {
            assert!(Folder::new(path.join(wrong), "stage", wrong).is_err(), "{wrong}");
        }
    }
}
