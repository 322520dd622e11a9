//! What a pipe's description says of tracks.

use serde::{Deserialize, Serialize};

use crate::peer::TrackId;

/// Tracks that one pipe carries, both ways together; who watches more gets the first of them.
pub const MAX_SECTIONS: usize = 256;

/// A section of a pipe's description, and the track that it carries. The node of the track is the end that sends.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// The section's `a=mid`, at most 255 bytes.
    pub mid: String,
    /// The track that the section carries.
    pub track: TrackId,
}
