//! What all sessions share: the network, the studio, the chat, the publishers, and the limits.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon::{Api, RtcConfiguration};
use tokio::sync::{broadcast, watch};

use super::complaint::Complaint;
use super::door::Door;
use super::file_space::FileSpace;
use super::guesses::Guesses;
use super::meetings::Meetings;
use super::patience::Patience;
use super::places::{Full, Place, Places};
use super::resource::Resource;
use super::streams::Streams;
use crate::link::LinkSpec;
use crate::sources::{Studio, VideoCodec};

/// Lines that a slow session may lag in the chat.
const CHAT_QUEUE: usize = 64;

/// A line of the chat.
#[derive(Clone, Debug)]
pub(super) struct ChatLine {
    pub(super) session: u64,
    pub(super) text: String,
}

/// What all sessions share.
#[derive(Debug)]
pub(super) struct Room {
    pub(super) api: Api,
    /// What every peer connection starts from: servers and policy.
    pub(super) configuration: RtcConfiguration,
    pub(super) studio: Studio,
    /// The codec of the pattern, for who takes it.
    pub(super) video: VideoCodec,
    /// What is put between each session and its peer at first.
    pub(super) link: Option<LinkSpec>,
    pub(super) meetings: Meetings,
    pub(super) guesses: Guesses,
    pub(super) chat: broadcast::Sender<ChatLine>,
    pub(super) files: FileSpace,
    pub(super) streams: Streams,
    /// Who may come in.
    pub(super) door: Arc<Door>,
    pub(super) patience: Patience,
    /// WebSockets, whether a session comes of them or not.
    pub(super) sockets: Places,
    /// Turns true when the server stops.
    pub(super) stopped: watch::Receiver<bool>,
    sessions: Places,
    full: Complaint,
    next: AtomicU64,
    resources: Mutex<BTreeMap<String, Resource>>,
}

impl Room {
    pub(super) fn new(
        api: Api,
        configuration: RtcConfiguration,
        video: VideoCodec,
        door: Arc<Door>,
        sessions: Places,
        sockets: Places,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        Self {
            api,
            configuration,
            studio: Studio::new(),
            video,
            link: None,
            meetings: Meetings::default(),
            guesses: Guesses::default(),
            chat: broadcast::Sender::new(CHAT_QUEUE),
            files: FileSpace::default(),
            streams: Streams::default(),
            door,
            patience: Patience::default(),
            sockets,
            stopped,
            sessions,
            full: Complaint::default(),
            next: AtomicU64::new(1),
            resources: Mutex::default(),
        }
    }

    /// The number of one more session.
    pub(super) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A place for one more session of somebody at this address.
    pub(super) fn enter(&self, from: IpAddr) -> Result<Place, Full> {
        self.sessions.enter(from).inspect_err(|full| {
            if let Some(times) = self.full.say() {
                tracing::warn!(%from, times, "a session was refused: {full}");
            }
        })
    }

    /// How many are here.
    pub(super) fn occupied(&self) -> usize {
        self.sessions.taken()
    }

    /// Waits until every session and every WebSocket has ended.
    pub(super) async fn emptied(&self) {
        self.sockets.emptied().await;
        self.sessions.emptied().await;
    }

    /// Waits until the server is told to stop.
    pub(super) async fn stopping(&self) {
        // An error means that the server is gone, which is the same.
        _ = self.stopped.clone().wait_for(|stopped| *stopped).await;
    }

    pub(super) fn resources(&self) -> MutexGuard<'_, BTreeMap<String, Resource>> {
        lock(&self.resources)
    }
}

/// Nothing is left half done under these locks, so a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
