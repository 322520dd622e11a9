//! A router: producers and consumers over many connections, none of which it holds.
//!
//! Its host owns the connections. It names them by numbers ([`PeerKey`]), hands the router what they say
//! ([`Router::handle_packets`], [`Router::handle_event`]), sends what comes of a packet at once (the `outlet`), and does
//! what [`Router::poll_request`] asks. The reasons stand in `docs/decisions/0049-a-router-inside-the-driver.md` and
//! `0050-what-a-router-knows.md` of the repository.

mod arrivals;
mod consuming;
mod delivery;
mod direct;
mod dump;
mod error;
mod event;
mod forwarding;
mod going;
mod hearing;
mod lanes;
mod loudness;
mod mailbox;
mod names;
mod numbers;
mod patience;
mod piping;
mod producing;
mod scoring;
mod sharing;
mod switches;
mod totals;

use std::collections::HashMap;
use std::time::Instant;

use antiphon_peer_connection::{EncodingId, MediaKind, Transceiver, TransceiverId};
use antiphon_sansio::Queue;
use foldhash::fast::FixedState;

pub use self::arrivals::Scores;
pub use self::consuming::ConsumerConfig;
pub use self::dump::{ConsumerStats, Dump, ProducerStats};
pub use self::error::Error;
pub use self::event::{Closed, Event, Loudness, MAX_EVENTS, Request};
pub use self::mailbox::{Direct, MAX_DIRECT};
pub use self::names::{ConsumerId, PeerKey, ProducerId};
pub use self::piping::PipeConfig;
pub use self::producing::{Format, ProducerConfig};
pub use self::sharing::FIRST_ESTIMATE;
pub use self::switches::Switches;
pub use self::totals::{Shares, Totals};

use self::consuming::Consuming;
use self::delivery::Scoring;
use self::event::Events;
use self::going::Going;
use self::names::{Name, Table};
use self::producing::Producing;
use crate::allotment::{Allotment, Claim};
use crate::payload_types::PayloadTypes;
use crate::speakers::{MAX_SPEAKERS, Speakers};

/// How large a router may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// Most peers, 1 or more.
    pub max_peers: usize,
    /// Most producers of all peers together, up to [`MAX_SPEAKERS`].
    pub max_producers: usize,
    /// Most consumers of all peers together. One takes about 1.5 KiB, where it is of pictures.
    pub max_consumers: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            max_peers: 4096,
            max_producers: 8192,
            max_consumers: 65_536,
        }
    }
}

/// The host chooses these names itself, so nobody can choose them to collide.
type Map<K, V> = HashMap<K, V, FixedState>;

/// Producers and consumers of many peers, and the way of each packet from one to the others.
///
/// It draws nothing random, and is told the time as every machine here.
#[derive(Debug)]
pub struct Router {
    config: Config,
    producers: Table<ProducerId, Producing>,
    consumers: Table<ConsumerId, Consuming>,
    /// Which producer takes the packets of a transceiver.
    receiving: Map<(PeerKey, TransceiverId), ProducerId>,
    /// Which consumer sends on an encoding.
    sending: Map<(PeerKey, EncodingId), ConsumerId>,
    peers: Map<PeerKey, Peer>,
    /// Producers that are asked for a key frame, or will be.
    asking: Vec<ProducerId>,
    /// Consumers without a peer that have something to be fetched.
    fetching: Vec<ConsumerId>,
    /// Consumers whose layer has changed since it was told.
    changed: Queue<ConsumerId>,
    /// Peers whose connections are to be told what they could send.
    desiring: Vec<PeerKey>,
    /// Peers whose shares are to be made anew, and when.
    stale: Vec<PeerKey>,
    beat: Option<Instant>,
    /// When somebody that had to be content with less may get more again, or earlier.
    waits: Option<Instant>,
    scoring: Scoring,
    speakers: Speakers,
    /// Of how many the sound goes on, beside who leads the talk; `None`: of all.
    loudest: Option<usize>,
    events: Events,
    /// What was done for producers and consumers that are closed.
    gone: Totals,
    /// What is on its way to the consumers of one producer. It is empty between calls.
    run: Vec<Going>,
}

/// What a peer takes part in.
#[derive(Clone, Debug, Default)]
struct Peer {
    is_connected: bool,
    /// What its connection can carry of media, in bits a second, and how what it gets shares that.
    estimate: Option<u64>,
    allotment: Allotment,
    /// It is in the router's list of those whose shares are to be made anew.
    is_stale: bool,
    /// What its connection was told that it could send, in bits a second.
    desired: u64,
    producers: Vec<ProducerId>,
    consumers: Vec<ConsumerId>,
}

impl Router {
    /// A router without peers.
    pub fn new(config: Config, now: Instant) -> Self {
        Self {
            config: Config {
                max_producers: config.max_producers.min(MAX_SPEAKERS as usize),
                ..config
            },
            producers: Table::default(),
            consumers: Table::default(),
            receiving: Map::default(),
            sending: Map::default(),
            peers: Map::default(),
            asking: Vec::new(),
            fetching: Vec::new(),
            changed: Queue::default(),
            desiring: Vec::new(),
            stale: Vec::new(),
            beat: None,
            waits: None,
            scoring: Scoring::default(),
            speakers: Speakers::new(now),
            loudest: None,
            events: Events::default(),
            gone: Totals::default(),
            run: Vec::new(),
        }
    }

    /// A peer may take part from now on. Of one that is known it is told anew whether it is connected.
    ///
    /// # Errors
    /// [`Error::Full`].
    pub fn add_peer(&mut self, now: Instant, peer: PeerKey, is_connected: bool) -> Result<(), Error> {
        if !self.peers.contains_key(&peer) && self.peers.len() >= self.config.max_peers {
            return Err(Error::Full);
        }
        self.peers.entry(peer).or_default();
        self.set_connected(now, peer, is_connected);
        Ok(())
    }

    /// A peer is gone, and with it all that it produced and consumed.
    pub fn remove_peer(&mut self, peer: PeerKey) {
        let Some(gone) = self.peers.remove(&peer) else { return };
        self.stale.retain(|own| *own != peer);
        self.desiring.retain(|own| *own != peer);
        for producer in gone.producers {
            self.remove_producer(producer, Closed::Peer);
        }
        for consumer in gone.consumers {
            self.remove_consumer(consumer, Closed::Peer);
        }
    }

    /// Whether nobody takes part, and there is no producer without a peer.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty() && self.producers.len() == 0
    }

    /// What a transceiver receives is to go on to consumers.
    ///
    /// # Errors
    /// [`Error::NoPeer`], [`Error::ProducerExists`], [`Error::Full`].
    pub fn produce(&mut self, config: ProducerConfig) -> Result<ProducerId, Error> {
        let place = (config.peer, config.transceiver);
        if !self.peers.contains_key(&config.peer) {
            return Err(Error::NoPeer);
        }
        if self.receiving.contains_key(&place) {
            return Err(Error::ProducerExists);
        }
        if self.producers.len() >= self.config.max_producers {
            return Err(Error::Full);
        }
        let speaks = config.kind == MediaKind::Audio && !config.paused;
        let id = self.producers.insert(Producing::new(config));
        self.receiving.insert(place, id);
        if speaks {
            // There are fewer producers than places for speakers.
            let _ = self.speakers.add(id.place());
        }
        if let Some(peer) = self.peers.get_mut(&place.0) {
            peer.producers.push(id);
        }
        Ok(id)
    }

    /// An encoding is to send what a producer produces. It begins when its peer is connected, pictures with a key frame,
    /// which is asked for.
    ///
    /// # Errors
    /// [`Error::NoPeer`], [`Error::NoProducer`], [`Error::ConsumerExists`], [`Error::Kind`], [`Error::Full`]; [`Error::NoCodec`] if
    /// both sides are negotiated and have none in common.
    pub fn consume(&mut self, now: Instant, producer: ProducerId, config: ConsumerConfig) -> Result<ConsumerId, Error> {
        self.add_consumer(now, producer, config, |producing, config| {
            Consuming::new(producer, producing, config)
        })
    }

    fn add_consumer(
        &mut self,
        now: Instant,
        producer: ProducerId,
        config: ConsumerConfig,
        make: impl FnOnce(&mut Producing, ConsumerConfig) -> Consuming,
    ) -> Result<ConsumerId, Error> {
        let place = (config.peer, config.encoding);
        if !self.peers.contains_key(&config.peer) {
            return Err(Error::NoPeer);
        }
        let producing = self.producers.get_mut(producer).ok_or(Error::NoProducer)?;
        if producing.kind != config.kind {
            return Err(Error::Kind);
        }
        if self.sending.contains_key(&place) {
            return Err(Error::ConsumerExists);
        }
        if self.consumers.len() >= self.config.max_consumers {
            return Err(Error::Full);
        }
        let are_negotiated = !producing.codecs.is_empty() && !config.codecs.is_empty();
        if are_negotiated && PayloadTypes::between(&producing.codecs, &config.codecs).is_empty() {
            return Err(Error::NoCodec);
        }
        let consuming = make(producing, config);
        producing.pipes += usize::from(consuming.is_pipe());
        let id = self.consumers.insert(consuming);
        producing.consumers.push(id);
        self.sending.insert(place, id);
        if let Some(peer) = self.peers.get_mut(&place.0) {
            peer.consumers.push(id);
        }
        self.turn(now, &[id]);
        Ok(id)
    }

    /// A transceiver of a peer was negotiated again: other codecs may come, or be taken.
    pub fn renegotiated(&mut self, now: Instant, peer: PeerKey, transceiver: &Transceiver) {
        if let Some(id) = self.receiving.get(&(peer, transceiver.id())).copied() {
            self.reformat(now, id, ProducerConfig::of(peer, transceiver).into());
        }
        let Some(own) = self.peers.get(&peer) else { return };
        let is_of = |id: &ConsumerId| {
            let consuming = self.consumers.get(*id);
            consuming.is_some_and(|own| own.is_on(transceiver.id()))
        };
        let ids: Vec<ConsumerId> = own.consumers.iter().copied().filter(is_of).collect();
        for id in ids {
            if let Some(consuming) = self.consumers.get_mut(id)
                && let Some(producing) = self.producers.get_mut(consuming.producer)
                && let Some((_, encoding)) = consuming.to
            {
                if let Some(pipe) = consuming.pipe_mut() {
                    pipe.renegotiate(transceiver);
                }
                let config = ConsumerConfig::of(peer, encoding, transceiver);
                consuming.renegotiate(producing, config);
                self.turn(now, &[id]);
                self.ask(now, id);
            }
        }
    }
}

/// What the owner wishes of a producer or a consumer.
impl Router {
    /// Nothing of a producer goes on until it is resumed.
    ///
    /// # Errors
    /// [`Error::NoProducer`].
    pub fn pause_producer(&mut self, now: Instant, id: ProducerId) -> Result<(), Error> {
        self.set_producer_paused(now, id, true)
    }

    /// A producer that was paused goes on: to each consumer of pictures with the next key frame, which is asked for.
    ///
    /// # Errors
    /// [`Error::NoProducer`].
    pub fn resume_producer(&mut self, now: Instant, id: ProducerId) -> Result<(), Error> {
        self.set_producer_paused(now, id, false)
    }

    fn set_producer_paused(&mut self, now: Instant, id: ProducerId, paused: bool) -> Result<(), Error> {
        let producing = self.producers.get_mut(id).ok_or(Error::NoProducer)?;
        if std::mem::replace(&mut producing.paused, paused) == paused {
            return Ok(());
        }
        producing.sound.interrupt();
        producing.arrivals.interrupt();
        match (producing.kind, paused) {
            (MediaKind::Audio, true) => self.speakers.remove(id.place()),
            (MediaKind::Audio, false) => _ = self.speakers.add(id.place()),
            (MediaKind::Video, _) => {}
        }
        let count = producing.consumers.len();
        for place in 0..count {
            let consumers = self.producers.get(id).map(|own| &own.consumers);
            if let Some(consumer) = consumers.and_then(|own| own.get(place)) {
                self.turn(now, &[*consumer]);
            }
        }
        self.events.push(match paused {
            true => Event::ProducerPaused(id),
            false => Event::ProducerResumed(id),
        });
        Ok(())
    }

    /// Nothing goes on to a consumer until it is resumed.
    ///
    /// # Errors
    /// [`Error::NoConsumer`].
    pub fn pause_consumer(&mut self, now: Instant, id: ConsumerId) -> Result<(), Error> {
        self.set_consumer_paused(now, id, true)
    }

    /// A consumer that was paused goes on, one of pictures with the next key frame, which is asked for.
    ///
    /// # Errors
    /// [`Error::NoConsumer`].
    pub fn resume_consumer(&mut self, now: Instant, id: ConsumerId) -> Result<(), Error> {
        self.set_consumer_paused(now, id, false)
    }

    fn set_consumer_paused(&mut self, now: Instant, id: ConsumerId, paused: bool) -> Result<(), Error> {
        let consuming = self.consumers.get_mut(id).ok_or(Error::NoConsumer)?;
        if std::mem::replace(&mut consuming.paused, paused) == paused {
            return Ok(());
        }
        self.turn(now, &[id]);
        self.events.push(match paused {
            true => Event::ConsumerPaused(id),
            false => Event::ConsumerResumed(id),
        });
        Ok(())
    }

    /// What a consumer is to have at most, and how important it is beside others of its peer.
    ///
    /// # Errors
    /// [`Error::NoConsumer`]; [`Error::Pipe`], which gets all.
    pub fn set_claim(&mut self, now: Instant, id: ConsumerId, claim: Claim) -> Result<(), Error> {
        let consuming = self.consumers.get_mut(id).ok_or(Error::NoConsumer)?;
        if consuming.is_pipe() {
            return Err(Error::Pipe);
        }
        consuming.claim = claim;
        if consuming.is_claimed && consuming.kind == MediaKind::Video {
            if let Some((key, _)) = consuming.to {
                if let Some(peer) = self.peers.get_mut(&key) {
                    let _ = peer.allotment.set_claim(id.place(), claim);
                }
                self.allot(now, key);
            }
            if let Some(consuming) = self.consumers.get_mut(id) {
                consuming.claimed();
            }
        }
        Ok(())
    }

    /// What a consumer claims now.
    ///
    /// # Errors
    /// [`Error::NoConsumer`].
    pub fn claim(&self, id: ConsumerId) -> Result<Claim, Error> {
        Ok(self.consumers.get(id).ok_or(Error::NoConsumer)?.claim)
    }

    /// A consumer needs a key frame, by its owner's word.
    ///
    /// # Errors
    /// [`Error::NoConsumer`].
    pub fn request_key_frame(&mut self, now: Instant, id: ConsumerId) -> Result<(), Error> {
        let consuming = self.consumers.get_mut(id).ok_or(Error::NoConsumer)?;
        consuming.need_key_frame();
        self.ask(now, id);
        Ok(())
    }

    /// Whether packets of a producer are also for the application of its peer: [`Self::handle_packet`] says so then.
    ///
    /// # Errors
    /// [`Error::NoProducer`].
    pub fn set_copied(&mut self, id: ProducerId, is_copied: bool) -> Result<(), Error> {
        self.producers.get_mut(id).ok_or(Error::NoProducer)?.is_copied = is_copied;
        Ok(())
    }

    /// Closes a producer, and its consumers.
    ///
    /// # Errors
    /// [`Error::NoProducer`].
    pub fn close_producer(&mut self, id: ProducerId) -> Result<(), Error> {
        self.producers.get(id).ok_or(Error::NoProducer)?;
        self.remove_producer(id, Closed::Asked);
        Ok(())
    }

    /// Closes a consumer.
    ///
    /// # Errors
    /// [`Error::NoConsumer`].
    pub fn close_consumer(&mut self, id: ConsumerId) -> Result<(), Error> {
        self.consumers.get(id).ok_or(Error::NoConsumer)?;
        self.remove_consumer(id, Closed::Asked);
        Ok(())
    }

    fn remove_producer(&mut self, id: ProducerId, cause: Closed) {
        let Some(gone) = self.producers.remove(id) else { return };
        self.gone += Totals::of_producer(&gone);
        if let Some(place) = gone.from {
            self.receiving.remove(&place);
        }
        self.speakers.remove(id.place());
        self.tell_speakers();
        if let Some((key, _)) = gone.from
            && let Some(peer) = self.peers.get_mut(&key)
        {
            peer.producers.retain(|own| *own != id);
        }
        self.asking.retain(|own| *own != id);
        self.events.push(Event::ProducerClosed { producer: id, cause });
        for consumer in gone.consumers {
            self.remove_consumer(consumer, Closed::Producer);
        }
    }

    fn remove_consumer(&mut self, id: ConsumerId, cause: Closed) {
        let Some(gone) = self.consumers.remove(id) else { return };
        self.gone += Totals::of_consumer(&gone);
        self.fetching.retain(|own| *own != id);
        if let Some(place) = gone.to {
            self.sending.remove(&place);
        }
        if let Some((key, _)) = gone.to
            && let Some(peer) = self.peers.get_mut(&key)
        {
            peer.consumers.retain(|own| *own != id);
            peer.allotment.remove(id.place());
            // What it had is for the others, with the next beat.
            if !std::mem::replace(&mut peer.is_stale, true) {
                self.stale.push(key);
            }
        }
        if let Some(producing) = self.producers.get_mut(gone.producer) {
            producing.consumers.retain(|own| *own != id);
            producing.pipes -= usize::from(gone.is_pipe());
        }
        self.events.push(Event::ConsumerClosed { consumer: id, cause });
    }

    /// What happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.pop() {
            return Some(event);
        }
        while let Some(consumer) = self.changed.pop_front() {
            if let Some(consuming) = self.consumers.get_mut(consumer) {
                consuming.is_changed = false;
                let layer = consuming.layer();
                return Some(Event::LayerChanged { consumer, layer });
            }
        }
        self.poll_score()
    }

    /// Events that were dropped because [`MAX_EVENTS`] waited.
    pub fn events_dropped(&self) -> u64 {
        self.events.dropped
    }
}

/// What a router knows, for people and statistics.
impl Router {
    /// A producer as it is now.
    ///
    /// # Errors
    /// [`Error::NoProducer`].
    pub fn producer(&self, id: ProducerId) -> Result<ProducerStats, Error> {
        let own = self.producers.get(id).ok_or(Error::NoProducer)?;
        Ok(ProducerStats::of(id, own))
    }

    /// A consumer as it is now.
    ///
    /// # Errors
    /// [`Error::NoConsumer`].
    pub fn consumer(&self, id: ConsumerId) -> Result<ConsumerStats, Error> {
        let own = self.consumers.get(id).ok_or(Error::NoConsumer)?;
        Ok(ConsumerStats::of(id, own, self.estimate_of(own)))
    }

    fn estimate_of(&self, consuming: &Consuming) -> Option<u64> {
        self.peers.get(&consuming.to?.0)?.estimate
    }

    /// Everything, producers and consumers each in the order of their places.
    pub fn dump(&self) -> Dump {
        let producers = self.producers.iter().map(|(id, own)| ProducerStats::of(id, own));
        let consumers = self
            .consumers
            .iter()
            .map(|(id, own)| ConsumerStats::of(id, own, self.estimate_of(own)));
        Dump {
            peers: self.peers.len(),
            producers: producers.collect(),
            consumers: consumers.collect(),
        }
    }

    /// What was done since the router began. It is summed up when it is asked for.
    pub fn totals(&self) -> Totals {
        let mut totals = self.gone;
        for (_, own) in self.producers.iter() {
            totals += Totals::of_producer(own);
        }
        for (_, own) in self.consumers.iter() {
            totals += Totals::of_consumer(own);
        }
        totals
    }

    /// What the connections of the peers carry, and what of it they are given.
    pub fn shares(&self) -> Shares {
        let mut shares = Shares::default();
        for peer in self.peers.values() {
            let Some(estimate) = peer.estimate else { continue };
            let sums = peer.allotment.sums();
            shares.peers += 1;
            shares.estimate += estimate;
            shares.given += sums.given;
            shares.desired += sums.desired;
        }
        shares
    }
}
