//! The way of a peer's events to the application: a queue that holds nothing while nothing waits.
//!
//! It has a mutex, as a data channel's mailbox has and for the same reasons (docs/decisions/0015-mailbox-mutex.md): the oldest media
//! goes when nobody takes it, and a queue that can only be appended to cannot do that.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use antiphon_peer_connection as core;

use crate::event::Event;

/// Events other than media that may wait for the application; newer ones are dropped beyond that.
const MAX_EVENTS: usize = 1024;
/// Frames and packets that may wait for the application; the oldest are dropped beyond that.
const MAX_MEDIA_EVENTS: usize = 512;
/// An empty queue keeps room for so many, so that a frame's packets now and then cost no allocation.
const KEPT: usize = 16;

#[derive(Default)]
struct Waiting {
    events: VecDeque<Event>,
    media: VecDeque<core::Event>,
    events_dropped: u64,
    media_dropped: u64,
    reader: Option<Waker>,
    /// The peer is gone: nothing more will come.
    ended: bool,
    /// Nobody will read.
    abandoned: bool,
}

type Shared = Arc<Mutex<Waiting>>;

fn lock(shared: &Shared) -> MutexGuard<'_, Waiting> {
    // Nothing in here panics half way through a change.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A queue for a new peer.
pub(crate) fn queue() -> (EventSender, EventReceiver) {
    let shared = Shared::default();
    (EventSender(shared.clone()), EventReceiver(shared))
}

/// The peer's end. When it is dropped the reader hears of the end behind what waits.
pub(crate) struct EventSender(Shared);

impl EventSender {
    /// Tells the application. An application that left [`MAX_EVENTS`] behind loses this one.
    pub(crate) fn send(&self, event: Event) {
        let mut waiting = lock(&self.0);
        if waiting.abandoned {
            return;
        }
        if waiting.events.len() >= MAX_EVENTS {
            waiting.events_dropped += 1;
            drop(waiting);
            tracing::warn!(lost = ?event, "the application takes no events");
            return;
        }
        waiting.events.push_back(event);
        wake(waiting);
    }

    /// The same for what is worth little once a newer one has come: the oldest goes when [`MAX_MEDIA_EVENTS`] wait.
    pub(crate) fn send_media(&self, event: core::Event) {
        let mut waiting = lock(&self.0);
        if waiting.abandoned {
            return;
        }
        if waiting.media.len() >= MAX_MEDIA_EVENTS {
            waiting.media.pop_front();
            waiting.media_dropped += 1;
        }
        waiting.media.push_back(event);
        wake(waiting);
    }
}

impl Drop for EventSender {
    fn drop(&mut self) {
        let mut waiting = lock(&self.0);
        waiting.ended = true;
        wake(waiting);
    }
}

/// Wakes the reader, if it waits, after the lock was let go.
fn wake(mut waiting: MutexGuard<'_, Waiting>) {
    let reader = waiting.reader.take();
    drop(waiting);
    if let Some(reader) = reader {
        reader.wake();
    }
}

/// The application's end.
pub(crate) struct EventReceiver(Shared);

impl std::fmt::Debug for EventReceiver {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EventReceiver").finish_non_exhaustive()
    }
}

impl EventReceiver {
    /// The next event, media last; `None` when the peer is gone and everything was taken.
    pub(crate) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Event>> {
        let mut waiting = lock(&self.0);
        if let Some(event) = take(&mut waiting.events, 0) {
            return Poll::Ready(Some(event));
        }
        while let Some(media) = take(&mut waiting.media, KEPT) {
            if let Some(event) = media.map_channel(|_| None) {
                return Poll::Ready(Some(event));
            }
        }
        if waiting.ended {
            return Poll::Ready(None);
        }
        waiting.reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Events other than media that were dropped.
    pub(crate) fn events_dropped(&self) -> u64 {
        lock(&self.0).events_dropped
    }

    /// Media that was dropped.
    pub(crate) fn media_dropped(&self) -> u64 {
        lock(&self.0).media_dropped
    }
}

impl Drop for EventReceiver {
    fn drop(&mut self) {
        let mut waiting = lock(&self.0);
        waiting.abandoned = true;
        // What they hold may say something to the driver when it goes: not under the lock.
        let left = (std::mem::take(&mut waiting.events), std::mem::take(&mut waiting.media));
        drop(waiting);
        drop(left);
    }
}

/// The oldest; a queue that was long lets its memory go when it is empty, but for the room for `kept`.
fn take<T>(queue: &mut VecDeque<T>, kept: usize) -> Option<T> {
    let first = queue.pop_front()?;
    if queue.is_empty() && queue.capacity() > 2 * kept {
        queue.shrink_to(kept);
    }
    Some(first)
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use antiphon_jsep::{Config, MediaKind, Negotiator, TransceiverInit};
    use antiphon_sansio::Rng;

    use super::*;

    fn bitrate(bps: u64) -> core::Event {
        let mut negotiator = Negotiator::new(Config::default(), Rng::from_u64(1));
        let transceiver = negotiator.add_transceiver(MediaKind::Video, TransceiverInit::default());
        core::Event::TargetBitrate {
            encoding: transceiver.into(),
            bps,
        }
    }

    #[tokio::test]
    async fn old_media_goes_first_and_other_events_before_it() {
        let (sender, receiver) = queue();
        for n in 0..MAX_MEDIA_EVENTS as u64 + 3 {
            sender.send_media(bitrate(n));
        }
        sender.send(Event::NegotiationNeeded);
        assert_eq!((receiver.media_dropped(), receiver.events_dropped()), (3, 0));
        let next = async || poll_fn(|cx| receiver.poll_next(cx)).await;
        assert!(matches!(next().await, Some(Event::NegotiationNeeded)));
        assert!(matches!(next().await, Some(Event::TargetBitrate { bps: 3, .. })));
        drop(sender);
        let mut left = 0;
        while next().await.is_some() {
            left += 1;
        }
        assert_eq!(left, MAX_MEDIA_EVENTS - 1, "what waited is told before the end");
        assert!(lock(&receiver.0).media.capacity() <= 2 * KEPT, "the memory went");
    }

    #[tokio::test]
    async fn an_application_that_takes_nothing_loses_the_newest_events() {
        let (sender, receiver) = queue();
        for _ in 0..=MAX_EVENTS {
            sender.send(Event::NegotiationNeeded);
        }
        assert_eq!(receiver.events_dropped(), 1);
        let shared = receiver.0.clone();
        drop(receiver);
        sender.send(Event::NegotiationNeeded);
        sender.send_media(bitrate(1));
        assert!(
            lock(&shared).events.is_empty() && lock(&shared).media.is_empty(),
            "nobody reads"
        );
    }
}
