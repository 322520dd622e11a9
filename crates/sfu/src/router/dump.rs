//! What a router knows, for people and statistics.

use antiphon_peer_connection::{EncodingId, MediaKind, TransceiverId};

use super::arrivals::Scores;
use super::consuming::Consuming;
use super::names::{ConsumerId, PeerKey, ProducerId};
use super::producing::Producing;
use crate::allotment::Claim;
use crate::consumer::{Consumer, Counts};
use crate::layer::{Layer, Layers, Wish};
use crate::producer::Dropped;

/// A producer as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ProducerStats {
    /// The producer itself.
    pub id: ProducerId,
    /// The peer whose connection receives the track; `None`: its packets are handed in.
    pub peer: Option<PeerKey>,
    /// The transceiver that receives it, if a peer does.
    pub transceiver: Option<TransceiverId>,
    /// Whether it is sound or pictures.
    pub kind: MediaKind,
    /// Whether it was paused.
    pub paused: bool,
    /// The payload type of what comes now, as its codecs number it; `None` before anything has come. Of what goes
    /// [beside](crate::is_beside) the sound nothing is said.
    pub payload_type: Option<u8>,
    /// How many consumers it has, those that are paused among them.
    pub consumers: usize,
    /// Packets that came.
    pub packets: u64,
    /// Bytes of payload that came.
    pub bytes: u64,
    /// Packets that nobody was shown, by reason.
    pub dropped: Dropped,
    /// Packets of sound that did not go on because others are louder.
    pub quieter: u64,
    /// Key frames that its sources were asked for.
    pub key_frames_asked: u64,
    /// Its levels, from the smallest picture to the largest, and what each costs.
    pub layers: Layers,
    /// How well each encoding arrives: 0, it has stopped, to 10; `None` before it is known.
    pub scores: Scores,
}

/// A consumer as it is now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConsumerStats {
    /// The consumer itself.
    pub id: ConsumerId,
    /// Whose packets it gets.
    pub producer: ProducerId,
    /// The peer whose connection sends to the receiver; `None`: its packets are fetched.
    pub peer: Option<PeerKey>,
    /// The encoding that sends, if a peer does. Of a pipe it stands for all of its transceiver.
    pub encoding: Option<EncodingId>,
    /// Whether it is a [pipe](super::Router::pipe): it gets all of its producer, and `claim`, `wish`, `layer`, `aim` and `score` say nothing.
    pub is_pipe: bool,
    /// Whether it is sound or pictures.
    pub kind: MediaKind,
    /// Whether it was paused by its own call.
    pub paused: bool,
    /// Whether anything can go on to it now: neither it nor its producer is paused, its peer is connected, and it is not starved.
    pub is_on: bool,
    /// Whether there is too little for it beside what is more important.
    pub is_starved: bool,
    /// What its peer's connection carries of media, for all that the peer gets, in bits a second; `None`: it is not known.
    pub estimate: Option<u64>,
    /// What it is to have at most, and how important it is.
    pub claim: Claim,
    /// What it gets of that now.
    pub wish: Wish,
    /// The layer that goes on to it; `None` of sound.
    pub layer: Option<Layer>,
    /// The layer that it is to have, which begins when it can.
    pub aim: Option<Layer>,
    /// What became of its packets of pictures, and of all that is for a pipe.
    pub counts: Counts,
    /// Packets that its connection took.
    pub sent: u64,
    /// Packets that its connection did not take, or that nobody fetched in time.
    pub refused: u64,
    /// Key frames that its receiver asked for more often than it is heard.
    pub key_frames_unheard: u64,
    /// How well its packets arrive at the receiver, 0 to 10; `None` before that has reported twice.
    pub score: Option<u8>,
}

/// Everything that a router knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// How many peers take part.
    pub peers: usize,
    /// All producers that exist now.
    pub producers: Vec<ProducerStats>,
    /// All consumers that exist now.
    pub consumers: Vec<ConsumerStats>,
}

impl ProducerStats {
    pub(super) fn of(id: ProducerId, own: &Producing) -> Self {
        Self {
            id,
            peer: own.from.map(|(peer, _)| peer),
            transceiver: own.from.map(|(_, transceiver)| transceiver),
            kind: own.kind,
            paused: own.paused,
            payload_type: own.payload_type,
            consumers: own.consumers.len(),
            packets: own.packets,
            bytes: own.bytes,
            quieter: own.quieter,
            dropped: own.dropped(),
            key_frames_asked: own.key_frames_asked,
            layers: *own.track.layers(),
            scores: own.arrivals.scores(),
        }
    }
}

impl ConsumerStats {
    pub(super) fn of(id: ConsumerId, own: &Consuming, estimate: Option<u64>) -> Self {
        let pictures = own.pictures();
        Self {
            id,
            producer: own.producer,
            peer: own.to.map(|(peer, _)| peer),
            encoding: own.to.map(|(_, encoding)| encoding),
            kind: own.kind,
            paused: own.paused,
            is_on: own.on,
            is_starved: own.is_starved,
            estimate,
            claim: own.claim,
            wish: pictures.map(Consumer::wish).unwrap_or_default(),
            layer: own.layer(),
            aim: pictures.and_then(Consumer::aim),
            counts: own.counts(),
            is_pipe: own.is_pipe(),
            sent: own.sent,
            refused: own.refused + own.unfetched(),
            key_frames_unheard: own.unheard,
            score: own.delivery.score(),
        }
    }
}
