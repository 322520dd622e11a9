//! Where the data channels of all sessions meet.

use tokio::sync::broadcast;

use super::file_space::FileSpace;
use crate::server::quota::Places;

/// Lines that a slow session may lag in the chat.
const QUEUE: usize = 64;

/// A line of the chat.
#[derive(Clone, Debug)]
pub(in crate::server) struct Line {
    pub(in crate::server) session: u64,
    pub(in crate::server) text: String,
}

/// What the data channels of all sessions share.
#[derive(Debug)]
pub(in crate::server) struct Hall {
    pub(in crate::server) lines: broadcast::Sender<Line>,
    pub(in crate::server) files: FileSpace,
    /// The places of the sessions: so many are here.
    pub(in crate::server) guests: Places,
}

impl Hall {
    /// `guests`: the places of the sessions.
    pub(in crate::server) fn new(guests: Places) -> Self {
        Self {
            lines: broadcast::Sender::new(QUEUE),
            files: FileSpace::default(),
            guests,
        }
    }
}
