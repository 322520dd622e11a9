//! Why a file is not played.

use antiphon_container::ReadError;

use crate::error::Error;

/// Why a file is not played.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum MediaFileError {
    /// It could not be opened.
    #[error("cannot open the file: {0}")]
    Io(#[from] std::io::Error),
    /// It is of no format that is known here, or its beginning is bad.
    #[error("cannot read the file: {0}")]
    Read(#[from] ReadError),
    /// The file has no such track.
    #[error("the file has no track {track}")]
    NoTrack {
        /// The place that was asked for.
        track: usize,
    },
    /// The transceiver has not agreed to send anything yet: offer and answer must be set first.
    #[error("the transceiver for track {track} has not agreed to send")]
    NotNegotiated {
        /// The track that was meant for it.
        track: usize,
    },
    /// The peer does not take the track's codec on that transceiver.
    #[error("track {track} is {codec}, and the peer takes {}", agreed.join(", "))]
    Codec {
        /// The track, by its place in the file.
        track: usize,
        /// Its codec's name.
        codec: String,
        /// The names of the codecs that were agreed upon.
        agreed: Vec<String>,
    },
    /// The peer is gone, or refused.
    #[error(transparent)]
    Peer(#[from] Error),
}
