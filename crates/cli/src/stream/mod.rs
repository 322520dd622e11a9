//! `antiphon play`, `antiphon pattern` and `antiphon record`: files and the test pattern to servers that speak WHIP (RFC 9725), and files from
//! servers that speak WHEP, or from rooms.

mod args;
mod folder;
mod pattern;
mod play;
mod record;
mod room;

pub use args::{PatternArgs, PlayArgs, RecordArgs, ServerArgs};
pub use pattern::{Painted, pattern};
pub use play::{Played, play};
pub use record::record;
pub use room::{RoomRecorded, record_room};

use std::io;
use std::time::Duration;

use antiphon::{MediaFileError, MediaKind, RecorderError, RtcIceCandidateInit, whip};
use indicatif::{ProgressBar, ProgressStyle};

/// Sound first, as browsers and OBS have it: there are servers that answer in their own order, which is this one.
const KINDS: [MediaKind; 2] = [MediaKind::Audio, MediaKind::Video];
/// How long a session may take to connect.
const CONNECT_LIMIT: Duration = Duration::from_secs(20);

/// Why nothing, or not all, was played or recorded.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StreamError {
    /// The server, or the way to it.
    #[error(transparent)]
    Server(#[from] whip::Error),
    /// The file that is played.
    #[error("{file}: {source}")]
    Play {
        /// The name of the file.
        file: String,
        /// What is wrong with it, or with its codecs here.
        source: MediaFileError,
    },
    /// The file that is written.
    #[error("{file}: {source}")]
    Record {
        /// The name of the file.
        file: String,
        /// What is wrong.
        source: RecorderError,
    },
    /// The file cannot be played or written, for a reason of ours.
    #[error("{file}: {why}")]
    File {
        /// The name of the file.
        file: String,
        /// What stands in the way.
        why: String,
    },
    /// A server lets nobody in, or not this one.
    #[error("the server refuses: {0}")]
    Refused(String),
    /// What a server says cannot be understood, or the way to it broke.
    #[error("signalling: {0}")]
    Signalling(String),
    /// There is an answer, and no connection.
    #[error("the server has answered, but no connection comes about: is UDP kept off between here and there?")]
    NoConnection,
    /// It was connected, and is no longer.
    #[error("the connection broke")]
    Broken,
    /// The encoder of the pattern.
    #[error(transparent)]
    Encode(#[from] crate::sources::EncodeError),
    /// A file or a signal of the system.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer connection.
    #[error(transparent)]
    Peer(#[from] antiphon::Error),
}

/// Says what goes on; nothing where standard error is no terminal.
fn line() -> ProgressBar {
    let bar = ProgressBar::new_spinner();
    if let Ok(style) = ProgressStyle::with_template("{spinner} {elapsed_precise}  {msg}") {
        bar.set_style(style);
    }
    bar.enable_steady_tick(Duration::from_millis(250));
    bar
}

/// Completes when so much time is over; never, without a limit.
async fn over(limit: Option<Duration>) {
    match limit {
        Some(limit) => tokio::time::sleep(limit).await,
        None => std::future::pending().await,
    }
}

/// Tells the server a candidate that has come late. One that refuses it has others of ours.
async fn tell(session: &whip::Session, candidate: Option<&RtcIceCandidateInit>) {
    if let Err(error) = session.add_candidate(candidate).await {
        tracing::warn!(%error, "the server takes no later candidate");
    }
}
