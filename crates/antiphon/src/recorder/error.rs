//! Why there is no recording.

use antiphon_container::WriteError;

/// Why there is no file, or none that is whole.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RecorderError {
    /// The file could not be created.
    #[error("cannot create the file: {0}")]
    Io(#[from] std::io::Error),
    /// The file could not be written. What was written before is good.
    #[error(transparent)]
    Write(#[from] WriteError),
    /// The file's name tells no format that is known here.
    #[error("the file's name has none of the extensions webm, mkv, mp4, ogg, opus, ivf, h264, h265, obu")]
    UnknownFormat,
    /// Nothing came that could be written: there is no file, or an empty one.
    #[error("nothing was recorded")]
    Nothing,
}
