//! What the recorder's task is told.

use std::sync::Arc;
use std::time::Instant;

use antiphon_peer_connection::{Frame, TransceiverId};
use tokio::sync::oneshot;

use super::error::RecorderError;
use crate::handle::PeerHandle;

/// What the task is told.
pub(super) enum Input {
    Frame(Box<Heard>),
    Finish(oneshot::Sender<Result<(), RecorderError>>),
}

/// A frame, whose it is, and when it came.
pub(super) struct Heard {
    pub(super) peer: usize,
    pub(super) handle: PeerHandle,
    /// The tracks of the peer that are for this file, if not all.
    pub(super) only: Option<Arc<[TransceiverId]>>,
    pub(super) transceiver: TransceiverId,
    pub(super) ssrc: u32,
    pub(super) discontinuity: bool,
    pub(super) frame: Frame,
    pub(super) at: Instant,
}
