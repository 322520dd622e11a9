//! A consumer of a router: an encoding of a peer that a producer goes on to.

use std::sync::Arc;
use std::time::Instant;

use antiphon_media::extension::Kind;
use antiphon_media::{Packet, Rid};
use antiphon_peer_connection::{Codec, EncodingId, MediaKind, Transceiver, TransceiverId};

use super::delivery::Delivery;
use super::lanes::Pipe;
use super::mailbox::Mailbox;
use super::names::{PeerKey, ProducerId};
use super::numbers::Numbers;
use super::patience::Patience;
use super::producing::{Format, Producing};
use super::switches::Followed;
use crate::allotment::Claim;
use crate::consumer::{Consumer, Counts, Descriptors};
use crate::draft::Draft;
use crate::facts::Facts;
use crate::layer::{Layer, Wish};
use crate::payload_types::PayloadTypes;
use crate::producer::Producer;

/// What a consumer is made of.
#[derive(Clone, Debug)]
pub struct ConsumerConfig {
    /// The peer whose connection sends to the receiver.
    pub peer: PeerKey,
    /// The encoding that sends.
    pub encoding: EncodingId,
    /// Whether it sends sound or pictures.
    pub kind: MediaKind,
    /// What the receiver takes, with the payload types that it takes it with; empty before it is negotiated.
    pub codecs: Vec<Codec>,
    /// Whether dependency descriptors go on, where they were negotiated with the receiver.
    pub descriptors: Descriptors,
    /// Whether they were negotiated.
    pub takes_descriptors: bool,
    /// Whether it begins paused.
    pub paused: bool,
    /// What it is to have at most of what its peer's connection carries, and how important it is beside others.
    pub claim: Claim,
}

impl ConsumerConfig {
    /// As it was negotiated for a transceiver, if it was: everything that the receiver can take.
    pub fn of(peer: PeerKey, encoding: impl Into<EncodingId>, transceiver: &Transceiver) -> Self {
        let send = transceiver.send();
        let mut extensions = send.iter().flat_map(|send| &send.extensions);
        Self {
            peer,
            encoding: encoding.into(),
            kind: transceiver.kind(),
            codecs: send.map(|send| send.codecs.clone()).unwrap_or_default(),
            descriptors: Descriptors::Needed,
            takes_descriptors: extensions
                .any(|extension| Kind::from_uri(&extension.uri) == Some(Kind::DependencyDescriptor)),
            paused: false,
            claim: Claim::default(),
        }
    }
}

/// How packets become those of the receiver.
#[derive(Clone, Debug)]
enum Flow {
    Pictures(Box<Consumer>),
    Sound(Box<Numbers>),
    /// All of either, for another router.
    Pipe(Box<Pipe>),
}

/// A consumer, and where it sends.
#[derive(Clone, Debug)]
pub(super) struct Consuming {
    /// Whether anything goes on to it now: it is claimed for and not starved.
    pub(super) on: bool,
    /// Whether it has a share of its peer's estimate: neither it nor its producer is paused, and its peer is connected and
    /// has agreed on codecs.
    pub(super) is_claimed: bool,
    /// Whether that share is nothing.
    pub(super) is_starved: bool,
    /// It is in the router's list of those whose layer has changed.
    pub(super) is_changed: bool,
    /// The codec that comes and is not taken.
    pub(super) foreign: Option<u8>,
    /// The peer whose connection sends, and the encoding; `None`: its packets are fetched.
    pub(super) to: Option<(PeerKey, EncodingId)>,
    flow: Flow,
    types: PayloadTypes,
    /// Packets that its connection took, and those that it did not take.
    pub(super) sent: u64,
    pub(super) refused: u64,
    /// Bytes of payload that its connection took.
    pub(super) bytes: u64,
    /// How well its packets arrive at the receiver.
    pub(super) delivery: Delivery,
    /// Why its layer changes.
    pub(super) followed: Followed,
    /// Key frames that its receiver asked for in vain.
    pub(super) unheard: u64,
    patience: Patience,
    pub(super) producer: ProducerId,
    pub(super) paused: bool,
    pub(super) claim: Claim,
    pub(super) kind: MediaKind,
    codecs: Arc<[Codec]>,
    descriptors: Descriptors,
}

/// What a consumer makes of a packet.
pub(super) enum Taken {
    /// It goes on as the draft has it.
    On,
    /// It goes on as the draft has it, on this encoding of the transceiver.
    Across(Option<Rid>),
    /// It does not go on.
    Not,
    /// The receiver does not take its codec, which came first with this packet.
    Foreign,
}

impl Consuming {
    /// A consumer that is off.
    pub(super) fn new(producer: ProducerId, producing: &mut Producing, config: ConsumerConfig) -> Self {
        let flow = match config.kind {
            MediaKind::Video => Flow::Pictures(Box::default()),
            MediaKind::Audio => Flow::Sound(Box::default()),
        };
        Self::with(producer, producing, config, flow)
    }

    /// A pipe that is off.
    pub(super) fn piped(producer: ProducerId, producing: &mut Producing, config: ConsumerConfig, pipe: Pipe) -> Self {
        Self::with(producer, producing, config, Flow::Pipe(Box::new(pipe)))
    }

    /// A consumer of all of a producer, without a peer.
    pub(super) fn direct(producer: ProducerId, format: Format) -> Self {
        let kind = format.kind;
        let flow = Flow::Pipe(Box::new(Pipe::of_all(format)));
        Self {
            types: PayloadTypes::same(),
            ..Self::made(producer, kind, flow)
        }
    }

    fn with(producer: ProducerId, producing: &mut Producing, config: ConsumerConfig, flow: Flow) -> Self {
        let mut own = Self {
            to: Some((config.peer, config.encoding)),
            types: PayloadTypes::between(&producing.codecs, &config.codecs),
            paused: config.paused,
            claim: config.claim,
            codecs: producing.share_codecs(config.codecs),
            descriptors: config.descriptors,
            ..Self::made(producer, config.kind, flow)
        };
        own.set_descriptors(config.takes_descriptors);
        own
    }

    fn made(producer: ProducerId, kind: MediaKind, flow: Flow) -> Self {
        Self {
            on: false,
            is_claimed: false,
            is_starved: false,
            is_changed: false,
            foreign: None,
            to: None,
            flow,
            types: PayloadTypes::between(&[], &[]),
            sent: 0,
            refused: 0,
            bytes: 0,
            delivery: Delivery::default(),
            followed: Followed::default(),
            unheard: 0,
            patience: Patience::default(),
            producer,
            paused: false,
            claim: Claim::default(),
            kind,
            codecs: Arc::default(),
            descriptors: Descriptors::default(),
        }
    }

    fn set_descriptors(&mut self, are_taken: bool) {
        if let Flow::Pictures(consumer) = &mut self.flow {
            let descriptors = if are_taken {
                self.descriptors
            } else {
                Descriptors::Never
            };
            consumer.set_config(crate::consumer::ConsumerConfig { descriptors });
        }
    }

    pub(super) fn pictures(&self) -> Option<&Consumer> {
        match &self.flow {
            Flow::Pictures(consumer) => Some(consumer),
            Flow::Sound(_) | Flow::Pipe(_) => None,
        }
    }

    pub(super) fn pictures_mut(&mut self) -> Option<&mut Consumer> {
        match &mut self.flow {
            Flow::Pictures(consumer) => Some(consumer),
            Flow::Sound(_) | Flow::Pipe(_) => None,
        }
    }

    /// What crosses, if it is a pipe.
    pub(super) fn pipe_mut(&mut self) -> Option<&mut Pipe> {
        match &mut self.flow {
            Flow::Pipe(pipe) => Some(pipe),
            Flow::Pictures(_) | Flow::Sound(_) => None,
        }
    }

    /// What waits to be fetched, if no peer gets it.
    pub(super) fn mailbox_mut(&mut self) -> Option<&mut Mailbox> {
        self.pipe_mut()?.mailbox.as_mut()
    }

    /// Whether a transceiver sends it, for whomever.
    pub(super) fn is_on(&self, transceiver: TransceiverId) -> bool {
        self.to.is_some_and(|(_, own)| own.transceiver == transceiver)
    }

    /// Lets a packet wait to be fetched, under the name of its encoding. Whether nothing waited.
    pub(super) fn post(&mut self, packet: &Packet, rid: Option<Rid>) -> bool {
        let Some(mailbox) = self.mailbox_mut() else {
            return false;
        };
        let mut packet = packet.clone();
        packet.rid = rid;
        mailbox.push(packet);
        !std::mem::replace(&mut mailbox.is_listed, true)
    }

    /// Packets that waited to be fetched for too long.
    pub(super) fn unfetched(&self) -> u64 {
        match &self.flow {
            Flow::Pipe(pipe) => pipe.mailbox.as_ref().map_or(0, |mailbox| mailbox.dropped),
            Flow::Pictures(_) | Flow::Sound(_) => 0,
        }
    }

    /// Whether it is a pipe: it gets all, and has no share.
    pub(super) fn is_pipe(&self) -> bool {
        matches!(self.flow, Flow::Pipe(_))
    }

    /// Whether it has a share of its peer's estimate while it is claimed for.
    pub(super) fn shares(&self) -> bool {
        matches!(self.flow, Flow::Pictures(_))
    }

    /// What became of its packets.
    pub(super) fn counts(&self) -> Counts {
        match &self.flow {
            Flow::Pictures(consumer) => consumer.counts(),
            Flow::Pipe(pipe) => pipe.counts,
            Flow::Sound(_) => Counts::default(),
        }
    }

    /// The layer that goes on to it.
    pub(super) fn layer(&self) -> Option<Layer> {
        self.pictures().and_then(Consumer::layer)
    }

    /// What it is to have from now on.
    pub(super) fn set_wish(&mut self, wish: Wish) {
        if let Some(consumer) = self.pictures_mut() {
            consumer.set_wish(wish);
        }
    }

    /// Another layer goes on than before.
    #[cold]
    pub(super) fn switched(&mut self, before: Option<Layer>) {
        let wish = self.pictures().map(Consumer::wish).unwrap_or_default();
        self.followed.switched(before, wish);
    }

    /// Its owner has claimed something else for it.
    pub(super) fn claimed(&mut self) {
        let wish = self.pictures().map(Consumer::wish).unwrap_or_default();
        self.followed.claimed(wish);
    }

    /// Whether it is known what the receiver takes.
    pub(super) fn is_negotiated(&self) -> bool {
        self.to.is_none() || !self.codecs.is_empty()
    }

    /// Whether the receiver has agreed to tell what arrives, in one of the ways that an estimate is made of.
    pub(super) fn is_spoken_of(&self) -> bool {
        const WAYS: [&str; 3] = ["transport-cc", "ack ccfb", "goog-remb"];
        let mut codecs = self.codecs.iter();
        codecs.any(|codec| WAYS.iter().any(|way| codec.has_feedback(way)))
    }

    /// Other codecs were negotiated with the receiver.
    pub(super) fn renegotiate(&mut self, producing: &mut Producing, config: ConsumerConfig) {
        self.codecs = producing.share_codecs(config.codecs);
        self.set_descriptors(config.takes_descriptors);
        self.types = PayloadTypes::between(&producing.codecs, &self.codecs);
    }

    /// The producer may send other codecs.
    pub(super) fn producer_renegotiated(&mut self, theirs: &Format) {
        if self.to.is_some() {
            self.types = PayloadTypes::between(&theirs.codecs, &self.codecs);
        }
        if let Flow::Pipe(pipe) = &mut self.flow {
            // Its encodings may have other places now.
            pipe.interrupt();
            if let Some(mailbox) = &mut pipe.mailbox {
                mailbox.set_format(theirs.clone());
            }
        }
    }

    /// Nothing goes on to it for a while.
    pub(super) fn interrupt(&mut self) {
        match &mut self.flow {
            Flow::Pictures(consumer) => consumer.interrupt(),
            Flow::Sound(sound) => sound.interrupt(),
            Flow::Pipe(pipe) => pipe.interrupt(),
        }
    }

    /// The receiver asks for a key frame of an encoding of its transceiver. Whether it is heard.
    pub(super) fn key_frame_requested(&mut self, now: Instant, track: &Producer, encoding: Option<Rid>) -> bool {
        let is_heard = match &mut self.flow {
            Flow::Pipe(pipe) => pipe.key_frame_requested(now, track, encoding),
            Flow::Pictures(consumer) => {
                let is_heard = self.patience.hear(now);
                if is_heard {
                    consumer.need_key_frame();
                }
                is_heard
            }
            Flow::Sound(_) => false,
        };
        self.unheard += u64::from(!is_heard);
        is_heard
    }

    /// Who fetches asks for a key frame of an encoding of the producer.
    pub(super) fn key_frame_requested_of(&mut self, now: Instant, place: u8) {
        let is_heard = self
            .pipe_mut()
            .is_some_and(|pipe| pipe.key_frame_requested_of(now, place));
        self.unheard += u64::from(!is_heard);
    }

    /// Its connection had stopped sending an encoding, and goes on.
    pub(super) fn restarted(&mut self, track: &Producer, encoding: Option<Rid>) {
        match &mut self.flow {
            Flow::Pipe(pipe) => pipe.restarted(track, encoding),
            // What was to be sent meanwhile was refused.
            _ => self.need_key_frame(),
        }
    }

    /// It cannot go on without a key frame.
    pub(super) fn need_key_frame(&mut self) {
        match &mut self.flow {
            Flow::Pictures(consumer) => consumer.need_key_frame(),
            Flow::Pipe(pipe) => pipe.need_key_frame(),
            Flow::Sound(_) => {}
        }
    }

    /// The encoding that a key frame is wanted of.
    pub(super) fn wanted_key_frame(&mut self, now: Instant) -> Option<u8> {
        match &mut self.flow {
            Flow::Pictures(consumer) => consumer.poll_key_frame(now),
            Flow::Pipe(pipe) => pipe.poll_key_frame(),
            Flow::Sound(_) => None,
        }
    }

    /// The same, also where no packet has been shown since something changed.
    pub(super) fn poll_key_frame(&mut self, now: Instant, track: &Producer) -> Option<u8> {
        if !self.on {
            return None;
        }
        if let Flow::Pictures(consumer) = &mut self.flow {
            consumer.look(now, track.layers());
        }
        self.wanted_key_frame(now)
    }

    /// Shows it a packet of its producer, and has it written into the draft. `sequence` is the number of it if it is sound.
    #[inline]
    pub(super) fn take(
        &mut self,
        now: Instant,
        (packet, sequence): (&Packet, u64),
        facts: &Facts,
        track: &Producer,
        draft: &mut Draft,
    ) -> Taken {
        let Some(payload_type) = self.types.of(packet.payload_type) else {
            return self.leave_out(packet.payload_type);
        };
        let written = match &mut self.flow {
            Flow::Pictures(consumer) => {
                if self.foreign.take().is_some() {
                    consumer.need_key_frame();
                }
                consumer.draw(now, packet, facts, track.layers(), draft)
            }
            Flow::Sound(sound) => {
                let sequence = sound.take(packet.ssrc, sequence);
                sequence.map(|sequence| draft.whole(packet, false).sequence = sequence)
            }
            Flow::Pipe(pipe) => {
                if self.foreign.take().is_some() {
                    pipe.interrupt();
                }
                let Some(encoding) = pipe.draw(now, packet, facts, track, draft) else {
                    return Taken::Not;
                };
                draft.set_payload_type(payload_type);
                return Taken::Across(encoding);
            }
        };
        if written.is_none() {
            return Taken::Not;
        }
        draft.set_payload_type(payload_type);
        Taken::On
    }

    #[cold]
    fn leave_out(&mut self, payload_type: u8) -> Taken {
        if self.types.is_beside(payload_type) || self.foreign == Some(payload_type) {
            return Taken::Not;
        }
        self.foreign = Some(payload_type);
        Taken::Foreign
    }
}
