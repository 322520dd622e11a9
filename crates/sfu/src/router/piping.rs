//! A pipe: a consumer that gets all of a producer, every encoding on one of its own, for another router at the far end.

use std::time::Instant;

use antiphon_media::Rid;
use antiphon_peer_connection::{Codec, MediaKind, Transceiver, TransceiverId};

use super::Router;
use super::consuming::{ConsumerConfig, Consuming};
use super::error::Error;
use super::lanes::{Pipe, rids_of};
use super::names::{ConsumerId, PeerKey, ProducerId};
use crate::allotment::Claim;
use crate::consumer::Descriptors;

/// What a pipe is made of.
#[derive(Clone, Debug)]
pub struct PipeConfig {
    /// The peer whose connection leads to the other router.
    pub peer: PeerKey,
    /// The transceiver that sends there.
    pub transceiver: TransceiverId,
    /// Whether it sends sound or pictures.
    pub kind: MediaKind,
    /// What the far end takes, with the payload types that it takes it with; empty before it is negotiated.
    pub codecs: Vec<Codec>,
    /// The encodings that the far end takes. An encoding of the producer goes on that of the same name, one without a name on that of
    /// its place. Empty: the far end takes one stream, which is the producer's first encoding.
    pub rids: Vec<Rid>,
    /// Whether it begins paused.
    pub paused: bool,
}

impl PipeConfig {
    /// As it was negotiated for a transceiver, if it was: everything that the far end takes. It does not begin paused.
    pub fn of(peer: PeerKey, transceiver: &Transceiver) -> Self {
        let send = transceiver.send();
        Self {
            peer,
            transceiver: transceiver.id(),
            kind: transceiver.kind(),
            codecs: send.map(|send| send.codecs.clone()).unwrap_or_default(),
            rids: rids_of(transceiver),
            paused: false,
        }
    }
}

impl Router {
    /// Everything that a producer produces goes to another router, by a transceiver of a peer that sends there: a consumer of another
    /// sort. Every encoding goes that the far end has taken, each on that of the same name, with all of its layers, under numbers and
    /// times as they came. Sound goes whether it is among the loudest or not. Nothing is chosen by what the connection carries, and
    /// there is nothing to claim ([`Error::Pipe`]).
    ///
    /// It goes on at once; what comes after an interruption begins with a key frame. Key frames are asked for when the
    /// far end asks, encoding by encoding. It is paused, resumed and closed as any consumer.
    ///
    /// # Errors
    /// As [`Self::consume`].
    pub fn pipe(&mut self, now: Instant, producer: ProducerId, config: PipeConfig) -> Result<ConsumerId, Error> {
        let pipe = Pipe::new(config.kind, config.rids);
        let config = ConsumerConfig {
            peer: config.peer,
            encoding: config.transceiver.into(),
            kind: config.kind,
            codecs: config.codecs,
            descriptors: Descriptors::Always,
            takes_descriptors: true,
            paused: config.paused,
            claim: Claim::default(),
        };
        self.add_consumer(now, producer, config, |producing, config| {
            Consuming::piped(producer, producing, config, pipe)
        })
    }
}
