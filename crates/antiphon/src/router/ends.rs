//! The two ends of a router: producers and consumers.

use std::time::Instant;

use antiphon_sfu::allotment::Claim;
use antiphon_sfu::router::{ConsumerId, ConsumerStats, Error as RouterError, ProducerId, ProducerStats};

use super::link::Link;
use crate::error::Error;

/// A handle of a producer: a track that comes in. Cheap to clone; the producer does not end with it.
#[derive(Clone, Debug)]
pub struct Producer {
    link: Link,
    id: ProducerId,
}

impl From<&Producer> for ProducerId {
    fn from(producer: &Producer) -> Self {
        producer.id
    }
}

impl Producer {
    pub(super) fn new(link: Link, id: ProducerId) -> Self {
        Self { link, id }
    }

    /// Its name in events and in [`Router::dump`](super::Router::dump).
    pub fn id(&self) -> ProducerId {
        self.id
    }

    async fn call(
        &self,
        call: impl FnOnce(&mut antiphon_sfu::Router, Instant, ProducerId) -> Result<(), RouterError> + Send + 'static,
    ) -> Result<(), Error> {
        let id = self.id;
        self.link.call(move |at, now| Ok(call(at.router(), now, id)?)).await
    }

    /// Nothing of it goes on until it is resumed.
    ///
    /// # Errors
    /// [`Error::Router`] once it is closed; [`Error::Closed`] once the driver is gone.
    pub async fn pause(&self) -> Result<(), Error> {
        self.call(|router, now, id| router.pause_producer(now, id)).await
    }

    /// It goes on, to each consumer of pictures with the next key frame, which is asked for.
    ///
    /// # Errors
    /// [`Error::Router`] once it is closed; [`Error::Closed`] once the driver is gone.
    pub async fn resume(&self) -> Result<(), Error> {
        self.call(|router, now, id| router.resume_producer(now, id)).await
    }

    /// Whether the application of its peer gets its packets too, as events: for who records or looks at them. It is off until it
    /// is asked for.
    ///
    /// # Errors
    /// [`Error::Router`] once it is closed; [`Error::Closed`] once the driver is gone.
    pub async fn set_copied(&self, is_copied: bool) -> Result<(), Error> {
        self.call(move |router, _, id| router.set_copied(id, is_copied)).await
    }

    /// Closes it, and its consumers. The transceiver goes on to receive, for nobody.
    ///
    /// # Errors
    /// [`Error::Router`] if it is closed already; [`Error::Closed`] once the driver is gone.
    pub async fn close(&self) -> Result<(), Error> {
        self.call(|router, _, id| router.close_producer(id)).await
    }

    /// What has come of it, and its layers.
    ///
    /// # Errors
    /// [`Error::Router`] once it is closed; [`Error::Closed`] once the driver is gone.
    pub async fn stats(&self) -> Result<ProducerStats, Error> {
        let id = self.id;
        self.link.call(move |at, _| Ok(at.router().producer(id)?)).await
    }
}

/// A handle of a consumer: what one peer gets of a producer. Cheap to clone; the consumer does not end with it.
#[derive(Clone, Debug)]
pub struct Consumer {
    link: Link,
    id: ConsumerId,
    producer: ProducerId,
}

impl Consumer {
    pub(super) fn new(link: Link, id: ConsumerId, producer: ProducerId) -> Self {
        Self { link, id, producer }
    }

    /// Its name in events and in [`Router::dump`](super::Router::dump).
    pub fn id(&self) -> ConsumerId {
        self.id
    }

    /// The producer that it gets.
    pub fn producer_id(&self) -> ProducerId {
        self.producer
    }

    async fn call(
        &self,
        call: impl FnOnce(&mut antiphon_sfu::Router, Instant, ConsumerId) -> Result<(), RouterError> + Send + 'static,
    ) -> Result<(), Error> {
        let id = self.id;
        self.link.call(move |at, now| Ok(call(at.router(), now, id)?)).await
    }

    /// Nothing goes on to it until it is resumed. There is no exchange of descriptions.
    ///
    /// # Errors
    /// [`Error::Router`] once it is closed; [`Error::Closed`] once the driver is gone.
    pub async fn pause(&self) -> Result<(), Error> {
        self.call(|router, now, id| router.pause_consumer(now, id)).await
    }

    /// It goes on, one of pictures with the next key frame, which is asked for.
    ///
    /// # Errors
    /// [`Error::Router`] once it is closed; [`Error::Closed`] once the driver is gone.
    pub async fn resume(&self) -> Result<(), Error> {
        self.call(|router, now, id| router.resume_consumer(now, id)).await
    }

    /// The layers that it is to get at most: the highest level, from 0 for the smallest picture, and the highest temporal layer.
    /// `u8::MAX` is all.
    ///
    /// # Errors
    /// [`Error::Router`] once it is closed; [`Error::Closed`] once the driver is gone.
    pub async fn set_preferred_layers(&self, level: u8, temporal: u8) -> Result<(), Error> {
        self.claim(move |claim| Claim {
            level,
            temporal,
            ..claim
        })
        .await
    }

    /// How important it is beside what else its peer gets: who has more comes first where the connection does not carry all.
    /// 1 at the beginning.
    ///
    /// # Errors
    /// [`Error::Router`] once it is closed; [`Error::Closed`] once the driver is gone.
    pub async fn set_priority(&self, priority: u8) -> Result<(), Error> {
        self.claim(move |claim| Claim { priority, ..claim }).await
    }

    /// Puts it on stage: it gets this level before anything else gets more than its lowest. `None`: not any more.
    ///
    /// # Errors
    /// [`Error::Router`] once it is closed; [`Error::Closed`] once the driver is gone.
    pub async fn set_floor(&self, floor: Option<u8>) -> Result<(), Error> {
        self.claim(move |claim| Claim { floor, ..claim }).await
    }

    async fn claim(&self, change: impl FnOnce(Claim) -> Claim + Send + 'static) -> Result<(), Error> {
        self.call(move |router, now, id| {
            let claim = change(router.claim(id)?);
            router.set_claim(now, id, claim)
        })
        .await
    }

    /// Asks for a key frame of what it gets.
    ///
    /// # Errors
    /// [`Error::Router`] once it is closed; [`Error::Closed`] once the driver is gone.
    pub async fn request_key_frame(&self) -> Result<(), Error> {
        self.call(|router, now, id| router.request_key_frame(now, id)).await
    }

    /// Closes it. Its encoding sends nothing more.
    ///
    /// # Errors
    /// [`Error::Router`] if it is closed already; [`Error::Closed`] once the driver is gone.
    pub async fn close(&self) -> Result<(), Error> {
        self.call(|router, _, id| router.close_consumer(id)).await
    }

    /// What goes on to it, and what of it its connection took.
    ///
    /// # Errors
    /// [`Error::Router`] once it is closed; [`Error::Closed`] once the driver is gone.
    pub async fn stats(&self) -> Result<ConsumerStats, Error> {
        let id = self.id;
        self.link.call(move |at, _| Ok(at.router().consumer(id)?)).await
    }
}
