//! Routers: what peers of one [`Api`](crate::Api) send goes to others of it, within the driver and without a channel
//! between.
//!
//! A [`Router`] has producers (a transceiver of a peer that receives) and consumers (an encoding of another peer that
//! sends). Of simulcast and of streams with layers each consumer gets the layer that its own connection carries; key
//! frames are asked for as they are needed, once for all who want one; and what is paused is not sent. Which peers
//! there are, and what is negotiated with them, is the application's business: a consumer needs a transceiver of its peer that
//! sends, and one may be made before that is negotiated. When it is negotiated again, the router knows.
//!
//! ```no_run
//! use antiphon::router::{ConsumeOptions, ProduceOptions, RouterOptions};
//! use antiphon::{Api, PeerHandle, TransceiverId};
//!
//! /// Two peers of `api`: one that sends a picture, which comes on `from`, and one that is to get it on `to`.
//! async fn forward(
//!     api: &Api,
//!     (sender, from): (&PeerHandle, TransceiverId),
//!     (receiver, to): (&PeerHandle, TransceiverId),
//! ) -> Result<(), antiphon::Error> {
//!     let router = api.router(RouterOptions::default())?;
//!     let mut events = router.events();
//!     let producer = router.produce(sender, from, ProduceOptions::default()).await?;
//!     let consumer = router.consume(&producer, receiver, to, ConsumeOptions::default()).await?;
//!     consumer.set_preferred_layers(1, u8::MAX).await?; // not more than the second level
//!     while let Some(event) = events.next().await {
//!         println!("{event:?}"); // another layer goes on, somebody is gone ...
//!     }
//!     Ok(())
//! }
//! ```
//!
//! Nothing ends with a handle of a producer or a consumer: both live until they are closed, or their peer or transceiver is
//! gone. The router itself ends with the last handle that has to do with it.

mod direct;
mod ends;
mod events;
mod link;

use std::time::Instant;

use antiphon_peer_connection as core;
use antiphon_sfu::allotment::Claim;
use antiphon_sfu::router::{ConsumerConfig, PipeConfig, ProducerConfig};
use core::{EncodingId, Output, TransceiverId};

pub use antiphon_sfu::router::{
    Closed, Config as RouterLimits, ConsumerId, ConsumerStats, Dump, Error as RouterError, Event as RouterEvent,
    Format, Loudness, ProducerId, ProducerStats, Scores, Shares, Switches, Totals,
};
pub use antiphon_sfu::speakers::{LoudestOptions, VolumeOptions};
pub use antiphon_sfu::{Counts, Descriptors, Layer, Layers, Level, Wish};

pub use crate::driver::latency::{LATENCY_BOUNDS, Latency};

pub use self::direct::{DirectConsumer, DirectProducer};
pub use self::ends::{Consumer, Producer};
pub use self::events::RouterEvents;

use self::link::Link;
use crate::driver::inbox::Sender;
use crate::driver::message::{Hosting, RouterId};
use crate::error::Error;
use crate::handle::PeerHandle;

/// How a router begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct RouterOptions {
    /// How many peers, producers and consumers it may have.
    pub limits: RouterLimits,
}

/// How a producer begins.
#[derive(Clone, Copy, Debug, Default)]
pub struct ProduceOptions {
    /// Whether it begins paused.
    pub paused: bool,
}

/// How a consumer begins.
#[derive(Clone, Copy, Debug)]
pub struct ConsumeOptions {
    /// Whether it begins paused.
    pub paused: bool,
    /// The highest level that it is to get, from 0 for the smallest picture.
    pub level: u8,
    /// The highest temporal layer that it is to get, from 0.
    pub temporal: u8,
    /// Who has more comes first, where the connection does not carry all that its peer is to get. 1 by default.
    pub priority: u8,
    /// It is on stage: it gets this level before anything else gets more than its lowest.
    pub floor: Option<u8>,
    /// By how much its lowest layer may take more than the connection carries before nothing of it goes on, in bits a second.
    /// [`u64::MAX`]: it never comes to that.
    pub overshoot: u64,
    /// Whether dependency descriptors go on to it, where they were negotiated.
    pub descriptors: Descriptors,
}

impl Default for ConsumeOptions {
    /// Everything, with dependency descriptors where the receiver could not do without.
    fn default() -> Self {
        Self {
            paused: false,
            level: u8::MAX,
            temporal: u8::MAX,
            priority: 1,
            floor: None,
            overshoot: 0,
            descriptors: Descriptors::Needed,
        }
    }
}

impl ConsumeOptions {
    fn claim(&self) -> Claim {
        Claim {
            level: self.level,
            temporal: self.temporal,
            priority: self.priority,
            floor: self.floor,
            overshoot: self.overshoot,
        }
    }
}

/// A handle of a router; cheap to clone.
#[derive(Clone, Debug)]
pub struct Router {
    link: Link,
}

impl Router {
    pub(crate) fn new(id: RouterId, inbox: Sender, options: RouterOptions) -> Self {
        Self {
            link: Link::new(id, inbox, antiphon_sfu::Router::new(options.limits, Instant::now())),
        }
    }

    /// What a transceiver of `peer` receives goes to consumers from now on; its application gets no packets or frames of it any
    /// more.
    ///
    /// # Errors
    /// [`Error::OtherApi`]; [`Error::Closed`] once the peer or its driver is gone; [`Error::Peer`] without such a transceiver;
    /// [`Error::Router`] as [`antiphon_sfu::Router::produce`] says.
    pub async fn produce(
        &self,
        peer: &PeerHandle,
        transceiver: TransceiverId,
        options: ProduceOptions,
    ) -> Result<Producer, Error> {
        let peer = self.link.check(peer)?;
        let produce = move |at: &mut dyn Hosting, now| {
            let (key, pc) = at.join(now, peer)?;
            let found = pc.transceiver(transceiver).ok_or(core::Error::NoTransceiver)?;
            let config = ProducerConfig {
                paused: options.paused,
                ..ProducerConfig::of(key, found)
            };
            pc.set_receive_output(transceiver, Output::Packets)?;
            Ok(at.router().produce(config)?)
        };
        let id = self.link.call(produce).await?;
        Ok(Producer::new(self.link.clone(), id))
    }

    /// An encoding of `peer` sends what a producer produces: as soon as the peer is connected, pictures from a key frame on.
    ///
    /// # Errors
    /// [`Error::OtherApi`]; [`Error::Closed`] once the peer or its driver is gone; [`Error::Peer`] without such a transceiver;
    /// [`Error::Router`] as [`antiphon_sfu::Router::consume`] says.
    pub async fn consume(
        &self,
        producer: impl Into<ProducerId>,
        peer: &PeerHandle,
        encoding: impl Into<EncodingId>,
        options: ConsumeOptions,
    ) -> Result<Consumer, Error> {
        let (producer, encoding, peer) = (producer.into(), encoding.into(), self.link.check(peer)?);
        let consume = move |at: &mut dyn Hosting, now| {
            let (key, pc) = at.join(now, peer)?;
            let found = pc.transceiver(encoding.transceiver);
            let config = ConsumerConfig {
                paused: options.paused,
                descriptors: options.descriptors,
                claim: options.claim(),
                ..ConsumerConfig::of(key, encoding, found.ok_or(core::Error::NoTransceiver)?)
            };
            let estimate = pc.media_bitrate();
            at.router().set_estimate(now, key, estimate);
            Ok(at.router().consume(now, producer, config)?)
        };
        let id = self.link.call(consume).await?;
        Ok(Consumer::new(self.link.clone(), id, producer))
    }

    /// Everything that a producer produces goes to another router by a transceiver of `peer` that sends there: a consumer of another sort.
    /// Every encoding of a simulcast goes that the far end takes, each on the `send_encodings` of the same name, with all of its layers; sound
    /// goes whether it is among the loudest or not. Nothing is left out for want of room, and no layers can be preferred: that is done
    /// at the far end, where the transceiver's other half is a producer as any other. Key frames are asked for when the far end asks.
    ///
    /// It may be made before the transceiver is negotiated. Pause it while nobody at the far end wants it.
    ///
    /// ```no_run
    /// use antiphon::router::{Consumer, Producer, Router};
    /// use antiphon::{Direction, MediaKind, PeerHandle, RtcRtpEncodingParameters, RtcRtpTransceiverInit};
    ///
    /// /// `to` is a connection whose far end is a peer of another router. What is sent by `producer` goes there, in three encodings.
    /// async fn cross(router: &Router, producer: &Producer, to: &PeerHandle) -> Result<Consumer, antiphon::Error> {
    ///     let init = RtcRtpTransceiverInit {
    ///         send_encodings: ["q", "h", "f"].map(RtcRtpEncodingParameters::layer).into(),
    ///         ..RtcRtpTransceiverInit::new(Direction::SendOnly)
    ///     };
    ///     let transceiver = to.add_transceiver(MediaKind::Video, init).await?;
    ///     router.pipe(producer, to, transceiver).await // then exchange descriptions
    /// }
    /// ```
    ///
    /// # Errors
    /// As [`Self::consume`].
    pub async fn pipe(
        &self,
        producer: impl Into<ProducerId>,
        peer: &PeerHandle,
        transceiver: TransceiverId,
    ) -> Result<Consumer, Error> {
        let (producer, peer) = (producer.into(), self.link.check(peer)?);
        let pipe = move |at: &mut dyn Hosting, now| {
            let (key, pc) = at.join(now, peer)?;
            let found = pc.transceiver(transceiver).ok_or(core::Error::NoTransceiver)?;
            let config = PipeConfig::of(key, found);
            let estimate = pc.media_bitrate();
            at.router().set_estimate(now, key, estimate);
            Ok(at.router().pipe(now, producer, config)?)
        };
        let id = self.link.call(pipe).await?;
        Ok(Consumer::new(self.link.clone(), id, producer))
    }

    /// Tells who is loud, at intervals, by [`RouterEvent::Volumes`]; `None`: not any more.
    ///
    /// # Errors
    /// [`Error::Closed`] once the driver is gone.
    pub async fn set_volumes(&self, options: Option<VolumeOptions>) -> Result<(), Error> {
        self.link
            .call(move |at, _| {
                at.router().set_volumes(options);
                Ok(())
            })
            .await
    }

    /// Whether it is found out who leads the talk, which [`RouterEvent::Dominant`] tells.
    ///
    /// # Errors
    /// [`Error::Closed`] once the driver is gone.
    pub async fn set_dominance(&self, wanted: bool) -> Result<(), Error> {
        self.link
            .call(move |at, _| {
                at.router().set_dominance(wanted);
                Ok(())
            })
            .await
    }

    /// Who leads the talk; `None` before anybody has, and where it is not [found out](Self::set_dominance).
    ///
    /// # Errors
    /// [`Error::Closed`] once the driver is gone.
    pub async fn dominant(&self) -> Result<Option<ProducerId>, Error> {
        self.link.call(|at, _| Ok(at.router().dominant())).await
    }

    /// Lets the sound of the loudest go on alone; `None`: that of all.
    ///
    /// # Errors
    /// [`Error::Closed`] once the driver is gone.
    pub async fn set_loudest(&self, options: Option<LoudestOptions>) -> Result<(), Error> {
        self.link
            .call(move |at, _| {
                at.router().set_loudest(options);
                Ok(())
            })
            .await
    }

    /// What happens in the router from now on, for one more listener.
    pub fn events(&self) -> RouterEvents {
        RouterEvents::new(self.link.subscribe())
    }

    /// The handle of a producer that is known by its id. It may be closed.
    pub fn producer(&self, id: ProducerId) -> Producer {
        Producer::new(self.link.clone(), id)
    }

    /// What was done since it began, what its peers share of their connections, and how long packets were on their way.
    ///
    /// # Errors
    /// [`Error::Closed`] once the driver is gone.
    pub async fn figures(&self) -> Result<(Totals, Shares, Latency), Error> {
        self.link
            .call(|at, _| {
                let latency = at.latency();
                let router = at.router();
                Ok((router.totals(), router.shares(), latency))
            })
            .await
    }

    /// How these consumers do, and how well the encodings of what each gets arrive here: of all at once, and without those that are closed.
    ///
    /// # Errors
    /// [`Error::Closed`] once the driver is gone.
    pub async fn deliveries(&self, consumers: Vec<ConsumerId>) -> Result<Vec<(ConsumerStats, Scores)>, Error> {
        let look = move |at: &mut dyn Hosting, _| {
            let router = at.router();
            let one = |id| {
                let stats = router.consumer(id).ok()?;
                let scores = router.producer(stats.producer).ok()?.scores;
                Some((stats, scores))
            };
            Ok(consumers.into_iter().filter_map(one).collect())
        };
        self.link.call(look).await
    }

    /// All producers and consumers as they are now.
    ///
    /// # Errors
    /// [`Error::Closed`] once the driver is gone.
    pub async fn dump(&self) -> Result<Dump, Error> {
        self.link.call(|at, _| Ok(at.router().dump())).await
    }
}
