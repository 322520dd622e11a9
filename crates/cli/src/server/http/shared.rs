//! What all requests share: the parts of the house behind HTTP, who may come in, and which sessions there are.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::watch;

use super::resource::Resource;
use crate::server::chat::Meetings;
use crate::server::media::{Setup, Streams};
use crate::server::quota::{Complaint, Door, Full, Patience, Place, Places, Tries};
use crate::server::rooms::Rooms;

/// What all requests share.
#[derive(Debug)]
pub(in crate::server) struct Shared {
    /// What every peer connection is made from.
    pub(in crate::server) setup: Arc<Setup>,
    pub(in crate::server) streams: Streams,
    pub(in crate::server) rooms: Rooms,
    pub(in crate::server) meetings: Meetings,
    /// Codes that addresses have tried.
    pub(in crate::server) guesses: Tries,
    /// How often addresses have come into rooms.
    pub(in crate::server) joins: Tries,
    /// Who may come in.
    pub(in crate::server) door: Arc<Door>,
    pub(in crate::server) patience: Patience,
    /// WebSockets, whether a session comes of them or not.
    pub(in crate::server) sockets: Places,
    /// Turns true when the server stops.
    pub(in crate::server) stopped: watch::Receiver<bool>,
    /// Sessions for which there was no place.
    pub(in crate::server) sessions_refused: AtomicU64,
    sessions: Places,
    full: Complaint,
    next: AtomicU64,
    resources: Mutex<BTreeMap<String, Resource>>,
}

impl Shared {
    pub(in crate::server) fn new(
        setup: Setup,
        rooms: Rooms,
        door: Arc<Door>,
        sessions: Places,
        sockets: Places,
        stopped: watch::Receiver<bool>,
    ) -> Self {
        Self {
            setup: Arc::new(setup),
            streams: Streams::default(),
            rooms,
            meetings: Meetings::default(),
            guesses: Tries::codes(),
            joins: Tries::joins(),
            door,
            patience: Patience::default(),
            sockets,
            stopped,
            sessions_refused: AtomicU64::new(0),
            sessions,
            full: Complaint::default(),
            next: AtomicU64::new(1),
            resources: Mutex::default(),
        }
    }

    /// The number of one more session.
    pub(in crate::server) fn number(&self) -> u64 {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// A place for one more session of somebody at this address.
    pub(in crate::server) fn enter(&self, from: IpAddr) -> Result<Place, Full> {
        self.sessions.enter(from).inspect_err(|full| {
            self.sessions_refused.fetch_add(1, Ordering::Relaxed);
            if let Some(times) = self.full.say() {
                tracing::warn!(%from, times, "a session was refused: {full}");
            }
        })
    }

    /// How many are here.
    pub(in crate::server) fn occupied(&self) -> usize {
        self.sessions.taken()
    }

    /// Waits until every session and every WebSocket has ended.
    pub(in crate::server) async fn emptied(&self) {
        self.sockets.emptied().await;
        self.sessions.emptied().await;
    }

    /// Waits until the server is told to stop.
    pub(in crate::server) async fn stopping(&self) {
        // An error means that the server is gone, which is the same.
        _ = self.stopped.clone().wait_for(|stopped| *stopped).await;
    }

    pub(in crate::server) fn resources(&self) -> MutexGuard<'_, BTreeMap<String, Resource>> {
        lock(&self.resources)
    }
}

/// Nothing is left half done under these locks, so a panic elsewhere does not spoil them.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
