//! The way from all handles of a router to its driver.

use std::sync::Arc;
use std::time::Instant;

use antiphon_sfu::router::Event;
use tokio::sync::{broadcast, oneshot};

use crate::driver::crossings::Crossings;
use crate::driver::inbox::{Sender, WeakSender};
use crate::driver::latency::Latency;
use crate::driver::message::{Hosted, Hosting, PeerId, RouterId, RouterMessage};
use crate::error::Error;
use crate::handle::PeerHandle;

/// Events that may wait for each listener; who is further behind misses the oldest.
const MAX_EVENTS: usize = 256;

/// The way from all handles of a router to its driver. The router ends with the last.
#[derive(Clone)]
pub(super) struct Link(Arc<Inner>);

struct Inner {
    id: RouterId,
    inbox: Sender,
    events: broadcast::Sender<Event>,
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.inbox.tell_router(RouterMessage::Gone(self.id));
    }
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Link").field(&self.0.id.0).finish()
    }
}

impl Link {
    /// Has the driver host a router.
    pub(super) fn new(id: RouterId, inbox: Sender, router: antiphon_sfu::Router) -> Self {
        let events = broadcast::Sender::new(MAX_EVENTS);
        inbox.tell_router(RouterMessage::New(Box::new(Hosted {
            id,
            router,
            events: events.clone(),
            moved: 0,
            latency: Latency::default(),
            crossings: Crossings::default(),
        })));
        Self(Arc::new(Inner { id, inbox, events }))
    }

    /// Runs `call` on the router within the driver.
    pub(super) async fn call<T: Send + 'static>(
        &self,
        call: impl FnOnce(&mut dyn Hosting, Instant) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (answer, answered) = oneshot::channel();
        let call = Box::new(move |at: &mut dyn Hosting, now| _ = answer.send(call(at, now)));
        self.0.inbox.ask_router(self.0.id, call).await;
        answered.await.map_err(|_| Error::Closed)?
    }

    /// The number of a peer, if it is of the same driver.
    pub(super) fn check(&self, peer: &PeerHandle) -> Result<PeerId, Error> {
        let driver = peer.driver();
        match driver.inbox.is_same(&self.0.inbox) {
            true => Ok(driver.peer),
            false => Err(Error::OtherApi),
        }
    }

    /// The router's number within its driver, and the way there for who must not keep it alive.
    pub(super) fn place(&self) -> (WeakSender, RouterId) {
        (self.0.inbox.downgrade(), self.0.id)
    }

    /// What happens in the router from now on.
    pub(super) fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.events.subscribe()
    }
}
