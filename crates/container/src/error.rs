//! What is wrong with a file that is read, and with what shall be written.

use std::io;

/// Why a file cannot be read, and where in it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ReadError {
    /// The file itself could not be read.
    #[error("byte {offset}: {source}")]
    Io {
        /// Where it was to be read, in bytes from the file's beginning.
        offset: u64,
        /// What the system says.
        source: io::Error,
    },
    /// Its first bytes are those of no format that is known here.
    #[error("the file begins like none of the formats that are known here")]
    UnknownFormat,
    /// It ends where more was announced: its writer died, or it was cut. What came before is good.
    #[error("byte {offset}: the file ends within {what}")]
    Truncated {
        /// Where the part begins that is not whole.
        offset: u64,
        /// The part of the file that it is.
        what: &'static str,
    },
    /// Its bytes contradict the format.
    #[error("byte {offset}: {what}")]
    Malformed {
        /// Where, in bytes from the file's beginning.
        offset: u64,
        /// The contradiction, in words for people.
        what: &'static str,
    },
    /// It asks for more than is allowed here.
    #[error("byte {offset}: {what}: more than {limit}")]
    TooLarge {
        /// Where, in bytes from the file's beginning.
        offset: u64,
        /// What is too large, or too many.
        what: &'static str,
        /// The most that is allowed.
        limit: u64,
    },
    /// It uses a part of its format that is not read here.
    #[error("byte {offset}: {what} cannot be read here")]
    Unsupported {
        /// Where, in bytes from the file's beginning.
        offset: u64,
        /// The part of the file that it is.
        what: &'static str,
    },
    /// It has neither video nor sound.
    #[error("the file has no track of video or sound")]
    NoTracks,
}

impl ReadError {
    /// Where in the file it went wrong, in bytes from its beginning; `None` if it is about the file as a whole.
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::Io { offset, .. }
            | Self::Truncated { offset, .. }
            | Self::Malformed { offset, .. }
            | Self::TooLarge { offset, .. }
            | Self::Unsupported { offset, .. } => Some(*offset),
            Self::UnknownFormat | Self::NoTracks => None,
        }
    }
}

/// Why something cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// The file itself could not be written.
    #[error("cannot write: {0}")]
    Io(#[from] io::Error),
    /// The format has no name for this codec.
    #[error("{format} holds no {codec}")]
    Codec {
        /// The format, as [`Format`](crate::Format) displays it.
        format: &'static str,
        /// The codec's name.
        codec: String,
    },
    /// The format takes fewer tracks, or none were given.
    #[error("{format} holds from 1 to {most} tracks")]
    TrackCount {
        /// The format, as [`Format`](crate::Format) displays it.
        format: &'static str,
        /// The most that it takes.
        most: usize,
    },
    /// The format needs the codec's configuration, and the track has none: see [`Track::of_key_frame`](crate::Track::of_key_frame).
    #[error("a track of {codec} needs its configuration")]
    NoConfiguration {
        /// The codec's name.
        codec: String,
    },
    /// The sample names a track that the file has not.
    #[error("there is no track {track}")]
    NoTrack {
        /// The number that was given.
        track: usize,
    },
    /// A sample, or a picture's size, is larger than can be written.
    #[error("{what}: more than {limit}")]
    TooLarge {
        /// What is too large.
        what: &'static str,
        /// The most that is allowed.
        limit: u64,
    },
    /// The sample is none of its track's codec.
    #[error("a sample of {codec} cannot be read as one")]
    Sample {
        /// The codec's name.
        codec: String,
    },
}
