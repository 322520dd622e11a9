//! What a key frame tells of its stream.

/// What a key frame says.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Inspected {
    /// In pixels.
    pub(crate) width: u32,
    /// In pixels.
    pub(crate) height: u32,
    /// As in [`Track::configuration`](crate::Track::configuration).
    pub(crate) configuration: Vec<u8>,
}
