//! What a key frame tells of its stream.

use antiphon_rtp::bitstream::Resolution;

/// What a key frame says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inspected {
    /// The size of the picture.
    pub(crate) size: Resolution,
    /// As in [`Track::configuration`](crate::Track::configuration).
    pub(crate) configuration: Vec<u8>,
}
