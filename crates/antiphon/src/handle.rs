//! The async handle of a peer connection.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

use antiphon_peer_connection as core;
use tokio::sync::{broadcast, mpsc, oneshot};

use crate::Error;
use crate::driver::{Answer, Ask, Command, Word};
use crate::event::{self, Event};
use crate::hosted::Hosted;
use crate::router::PeerId;

/// What all handles of one peer share. Dropping the last one closes the peer.
pub(crate) struct Shared {
    pub(crate) id: PeerId,
    pub(crate) commands: mpsc::Sender<Command>,
    /// Unbounded, because who drops or polls cannot wait; see [`Word`] for what bounds it.
    pub(crate) words: mpsc::UnboundedSender<Word>,
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The driver may be gone already; then so is the peer.
        let _ = self.words.send(Word::Dropped(self.id));
    }
}

/// A cloneable handle of a peer connection: every method of W3C `RTCPeerConnection` but the event stream.
#[derive(Clone)]
pub struct PeerHandle {
    shared: Arc<Shared>,
}

impl std::fmt::Debug for PeerHandle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PeerHandle").field("id", &self.shared.id.0).finish()
    }
}

impl PeerHandle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Asks something of the peer; nothing happens if the peer is gone.
    pub(crate) async fn ask(&self, ask: Ask) {
        let _ = self.shared.commands.send(Command::Ask(self.shared.id, ask)).await;
    }

    /// Asks something of the peer unless too much waits already. Says whether it did.
    pub(crate) fn try_ask(&self, ask: Ask) -> bool {
        self.shared.commands.try_send(Command::Ask(self.shared.id, ask)).is_ok()
    }

    /// Says a word to the driver, who may be gone.
    pub(crate) fn say(&self, word: impl FnOnce(PeerId) -> Word) {
        let _ = self.shared.words.send(word(self.shared.id));
    }

    /// Asks something of the peer and waits for what became of it.
    pub(crate) async fn ask_for(&self, ask: impl FnOnce(Answer) -> Ask) -> Result<(), Error> {
        let (answer, answered) = oneshot::channel();
        self.ask(ask(answer)).await;
        answered.await.map_err(|_| Error::Closed)?
    }

    /// Runs `visit` on the peer within the driver's task; nothing happens if the peer is gone.
    pub(crate) async fn visit(&self, visit: impl FnOnce(&mut Hosted, Instant) + Send + 'static) {
        self.ask(Ask::Visit(Box::new(visit))).await;
    }

    /// Runs `visit` on the sans-I/O machine and returns what it returns.
    pub(crate) async fn call<T: Send + 'static>(
        &self,
        visit: impl FnOnce(&mut core::PeerConnection, Instant) -> T + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        self.visit(move |hosted, now| _ = answer.send(visit(&mut hosted.core, now)))
            .await;
        answered.await.map_err(|_| Error::Closed)
    }
}

/// A peer connection (W3C `RTCPeerConnection`): the handle and the stream of its events.
///
/// It derefs to [`PeerHandle`], which can be cloned and moved to other tasks. Dropping the last handle closes the peer.
#[derive(Debug)]
pub struct PeerConnection {
    handle: PeerHandle,
    events: mpsc::Receiver<Event>,
    events_dropped: Arc<AtomicU64>,
    media: broadcast::Receiver<core::Event>,
    media_dropped: u64,
}

impl std::ops::Deref for PeerConnection {
    type Target = PeerHandle;

    fn deref(&self) -> &PeerHandle {
        &self.handle
    }
}

impl PeerConnection {
    pub(crate) fn new(
        handle: PeerHandle,
        events: mpsc::Receiver<Event>,
        events_dropped: Arc<AtomicU64>,
        media: broadcast::Receiver<core::Event>,
    ) -> Self {
        Self {
            handle,
            events,
            events_dropped,
            media,
            media_dropped: 0,
        }
    }

    /// A handle to be moved elsewhere.
    pub fn handle(&self) -> PeerHandle {
        self.handle.clone()
    }

    /// The next event; `None` once the connection is closed and everything has been told.
    ///
    /// Media that is not taken in time is dropped, oldest first: see [`Self::media_dropped`]. Of the other events 1024 wait; only
    /// an application that leaves so many behind loses newer ones: see [`Self::events_dropped`].
    /// Cancel safe.
    pub async fn next_event(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                biased;
                event = self.events.recv() => return event,
                media = self.media.recv() => match media {
                    Ok(media) => if let Some(event) = event::from_core(media) { return Some(event) },
                    Err(broadcast::error::RecvError::Lagged(n)) => self.media_dropped += n,
                    // The peer is gone; what is left are events.
                    Err(broadcast::error::RecvError::Closed) => return self.events.recv().await,
                },
            }
        }
    }

    /// Events other than media that were dropped because 1024 waited.
    pub fn events_dropped(&self) -> u64 {
        self.events_dropped.load(Ordering::Relaxed)
    }

    /// Frames, packets and hints that were dropped because nobody took them in time.
    pub fn media_dropped(&self) -> u64 {
        self.media_dropped
    }
}
