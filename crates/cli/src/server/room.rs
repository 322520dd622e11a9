//! What all sessions share: the network, the studio, the chat, the publishers, and the limits.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon::{Api, MediaKind, Packet, RtcConfiguration};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, broadcast, mpsc, watch};

use super::meet::Meetings;
use super::wish::Resource;
use crate::sources::Studio;

/// All files that are kept for their senders, together, in KiB.
const MAX_FILES_KIB: usize = 256 * 1024;
/// Lines that a slow session may lag in the chat.
const CHAT_QUEUE: usize = 64;
/// Packets that a slow watcher of a publisher may lag: about a second of video.
const RELAY_QUEUE: usize = 512;

/// A line of the chat.
#[derive(Clone, Debug)]
pub(super) struct ChatLine {
    pub(super) session: u64,
    pub(super) text: String,
}

/// One WHIP publisher and its watchers.
#[derive(Debug)]
pub(super) struct Publisher {
    pub(super) session: u64,
    video: broadcast::Sender<Packet>,
    audio: broadcast::Sender<Packet>,
    /// A watcher needs a key frame. One waiting request serves all.
    key_frames: mpsc::Sender<()>,
}

impl Publisher {
    /// A publisher, and where the requests for key frames come out.
    pub(super) fn new(session: u64) -> (Arc<Self>, mpsc::Receiver<()>) {
        let (key_frames, requests) = mpsc::channel(1);
        let publisher = Self {
            session,
            video: broadcast::Sender::new(RELAY_QUEUE),
            audio: broadcast::Sender::new(RELAY_QUEUE),
            key_frames,
        };
        (Arc::new(publisher), requests)
    }

    /// Hands a packet to all watchers.
    pub(super) fn forward(&self, kind: MediaKind, packet: Packet) {
        // An error means that nobody watches.
        _ = self.feed(kind).send(packet);
    }

    pub(super) fn subscribe(&self, kind: MediaKind) -> broadcast::Receiver<Packet> {
        self.feed(kind).subscribe()
    }

    pub(super) fn request_key_frame(&self) {
        // Full means that one is on its way already.
        _ = self.key_frames.try_send(());
    }

    fn feed(&self, kind: MediaKind) -> &broadcast::Sender<Packet> {
        match kind {
            MediaKind::Video => &self.video,
            MediaKind::Audio => &self.audio,
        }
    }
}

/// What all sessions share.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) api: Api,
    /// What every peer connection starts from: servers and policy.
    pub(super) configuration: RtcConfiguration,
    pub(super) studio: Studio,
    pub(super) meetings: Meetings,
    pub(super) chat: broadcast::Sender<ChatLine>,
    /// In KiB.
    pub(super) file_space: Arc<Semaphore>,
    /// Turns true when the server stops.
    pub(super) stopped: watch::Receiver<bool>,
    sessions: Arc<Semaphore>,
    max_sessions: usize,
    next: AtomicU64,
    publishers: Mutex<Vec<Arc<Publisher>>>,
    resources: Mutex<BTreeMap<String, Resource>>,
}

impl Room {
    pub(super) fn new(
        api: Api,
        configuration: RtcConfiguration,
        max_sessions: usize,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        let max_sessions = max_sessions.clamp(1, Semaphore::MAX_PERMITS);
        Self {
            api,
            configuration,
            studio: Studio::new(),
            meetings: Meetings::default(),
            chat: broadcast::Sender::new(CHAT_QUEUE),
            file_space: Arc::new(Semaphore::new(MAX_FILES_KIB)),
            stopped,
            sessions: Arc::new(Semaphore::new(max_sessions)),
            max_sessions,
            next: AtomicU64::new(1),
            publishers: Mutex::default(),
            resources: Mutex::default(),
        }
    }

    /// A place for one more session and its number; `None` when the room is full.
    pub(super) fn enter(&self) -> Option<(u64, OwnedSemaphorePermit)> {
        let place = self.sessions.clone().try_acquire_owned().ok()?;
        Some((self.next.fetch_add(1, Ordering::Relaxed), place))
    }

    /// How many are here.
    pub(super) fn occupied(&self) -> usize {
        self.max_sessions - self.sessions.available_permits()
    }

    /// Waits until every session has ended.
    pub(super) async fn emptied(&self) {
        // Fails only for a closed semaphore, and nobody closes it.
        _ = self.sessions.acquire_many(self.max_sessions as u32).await;
    }

    /// Waits until the server is told to stop.
    pub(super) async fn stopping(&self) {
        // An error means that the server is gone, which is the same.
        _ = self.stopped.clone().wait_for(|stopped| *stopped).await;
    }

    pub(super) fn publish(&self, publisher: Arc<Publisher>) {
        lock(&self.publishers).push(publisher);
    }

    pub(super) fn unpublish(&self, session: u64) {
        lock(&self.publishers).retain(|publisher| publisher.session != session);
    }

    /// The publisher that came last.
    pub(super) fn newest_publisher(&self) -> Option<Arc<Publisher>> {
        lock(&self.publishers).last().cloned()
    }

    pub(super) fn resources(&self) -> MutexGuard<'_, BTreeMap<String, Resource>> {
        lock(&self.resources)
    }
}

/// Nothing is left half done under these locks, so a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
