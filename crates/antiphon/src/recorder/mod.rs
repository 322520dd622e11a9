//! Tracks of peers become a file.

mod error;
mod file;
mod input;
mod line;
mod stats;
mod task;
mod waiting;

pub use error::RecorderError;
pub use stats::RecordStats;

use std::fs::File;
use std::io::{BufWriter, Seek, Write};
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use antiphon_container::Format;
use antiphon_peer_connection::TransceiverId;
use tokio::sync::{mpsc, oneshot};

use crate::event::Event;
use crate::handle::PeerHandle;
use input::{Heard, Input};
use stats::Counts;
use task::Task;

/// Frames that wait for the recorder's task; beyond that the newest are dropped.
const MAX_WAITING: usize = 1024;

/// Writes what peers send to one WebM or MP4 file (or, of one track, any other format), sound and pictures in step.
///
/// Make a [`Feed`] for each peer and give it that peer's events; it takes those that it needs and never waits. The rules:
/// - The file's tracks are the incoming ones that the peers have agreed to when the first frame comes. It begins when each of them has
///   sent something that can be decoded, or after three seconds with those that have; a track that comes later is left out and counted.
/// - Pictures begin at a key frame, which is asked for at the start and after every gap.
/// - Tracks of one peer are set against each other by its sender reports (RFC 3550 §6.4.1) if they have come for all of them, and
///   corrected by each later one, so that clocks which drift apart stay together; else by the arrival of their first frames.
/// - How the first picture of a track is to be turned is told in WebM and MP4, for all of the track. If that changes later, as when
///   somebody turns a telephone, the frames are written all the same and counted ([`RecordStats::turned`]).
/// - A picture that changes its size goes on in the same track. A frame of another codec than its track's is left out and counted.
/// - Files are written on a thread of their own. If the disk is slower than the peers, frames are dropped and counted, and pictures
///   go on at the next key frame.
///
/// Dropping the recorder and its feeds ends the file as [`Self::finish`] does.
#[derive(Debug)]
pub struct Recorder {
    inputs: mpsc::Sender<Input>,
    shared: Arc<Counts>,
    peers: usize,
}

impl Recorder {
    /// Records into a new file, whose extension tells the format. One that is there is overwritten.
    ///
    /// # Errors
    /// [`RecorderError::UnknownFormat`], and [`RecorderError::Io`] if the file cannot be created.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, RecorderError> {
        let path = path.as_ref();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let format = Format::of_extension(name).ok_or(RecorderError::UnknownFormat)?;
        Ok(Self::new(BufWriter::new(File::create(path)?), format))
    }

    /// Records into anything else. It must be called within a tokio runtime.
    pub fn new(out: impl Write + Seek + Send + 'static, format: Format) -> Self {
        let (inputs, waiting) = mpsc::channel(MAX_WAITING);
        let shared = Arc::<Counts>::default();
        tokio::spawn(Task::new(Box::new(out), format, shared.clone()).run(waiting));
        Self {
            inputs,
            shared,
            peers: 0,
        }
    }

    /// The way of one peer's events into the file.
    pub fn feed(&mut self, peer: PeerHandle) -> Feed {
        self.feed_with(peer, None)
    }

    /// The same for these tracks of a peer alone: its others are for another file.
    pub fn feed_of(&mut self, peer: PeerHandle, tracks: impl IntoIterator<Item = TransceiverId>) -> Feed {
        self.feed_with(peer, Some(tracks.into_iter().collect()))
    }

    fn feed_with(&mut self, peer: PeerHandle, only: Option<Arc<[TransceiverId]>>) -> Feed {
        self.peers += 1;
        Feed {
            number: self.peers,
            peer,
            only,
            inputs: self.inputs.clone(),
            shared: self.shared.clone(),
        }
    }

    /// What was recorded so far.
    pub fn stats(&self) -> RecordStats {
        self.shared.now()
    }

    /// Ends the file: writes what waits, and what a player needs to jump about in it.
    ///
    /// # Errors
    /// [`RecorderError::Write`] if the file could not be written, now or before; [`RecorderError::Nothing`] if nothing came.
    pub async fn finish(self) -> Result<RecordStats, RecorderError> {
        let (answer, answered) = oneshot::channel();
        let _ = self.inputs.send(Input::Finish(answer)).await;
        match answered.await {
            Ok(result) => result.map(|()| self.stats()),
            Err(_) => Err(RecorderError::Nothing),
        }
    }
}

/// Takes the events of one peer.
#[derive(Clone, Debug)]
pub struct Feed {
    number: usize,
    peer: PeerHandle,
    /// The tracks that it takes, if not all.
    only: Option<Arc<[TransceiverId]>>,
    inputs: mpsc::Sender<Input>,
    shared: Arc<Counts>,
}

impl Feed {
    /// Records the event if it is a frame. It never waits, and may be called with every event there is.
    pub fn handle_event(&self, event: &Event) {
        let Event::Frame {
            transceiver,
            ssrc,
            discontinuity,
            frame,
        } = event
        else {
            return;
        };
        if self.only.as_ref().is_some_and(|only| !only.contains(transceiver)) {
            return;
        }
        let heard = Heard {
            peer: self.number,
            only: self.only.clone(),
            handle: self.peer.clone(),
            transceiver: *transceiver,
            ssrc: *ssrc,
            discontinuity: *discontinuity,
            frame: frame.clone(),
            at: Instant::now(),
        };
        if self.inputs.try_send(Input::Frame(Box::new(heard))).is_err() {
            Counts::count(&self.shared.dropped);
        }
    }
}
