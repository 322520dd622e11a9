//! What a router tells its owner, and what it asks of its host.

use antiphon_peer_connection::{EncodingId, TransceiverId};
use antiphon_sansio::Queue;

use super::arrivals::Scores;
use super::names::{ConsumerId, PeerKey, ProducerId};
use crate::layer::Layer;

/// Events that wait for an owner who does not ask; the oldest go first, and are counted.
pub const MAX_EVENTS: usize = 4096;

/// Events that wait.
#[derive(Clone, Debug, Default)]
pub(super) struct Events {
    waiting: Queue<Event>,
    /// How many went because too many waited.
    pub(super) dropped: u64,
}

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        if self.waiting.len() >= MAX_EVENTS {
            self.waiting.pop_front();
            self.dropped += 1;
        }
        self.waiting.push_back(event);
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.waiting.pop_front()
    }
}

/// Why a producer or a consumer is closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Closed {
    /// By a call.
    Asked,
    /// The producer of the consumer is closed.
    Producer,
    /// Its peer is gone.
    Peer,
    /// Its transceiver is stopped.
    Transceiver,
}

/// How loud a producer is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Loudness {
    /// The producer of sound.
    pub producer: ProducerId,
    /// The mean over the interval in dBov, -127 (silence) to 0 (loudest).
    pub level: i8,
}

/// What happened in a router.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// A producer is closed. Its consumers are closed too, each with an event of its own.
    ProducerClosed {
        /// The producer, whose name is not used again.
        producer: ProducerId,
        /// Why it is closed.
        cause: Closed,
    },
    /// A consumer is closed.
    ConsumerClosed {
        /// The consumer, whose name is not used again.
        consumer: ConsumerId,
        /// Why it is closed.
        cause: Closed,
    },
    /// A producer was paused: nothing of it goes on to anybody.
    ProducerPaused(ProducerId),
    /// A producer that was paused goes on.
    ProducerResumed(ProducerId),
    /// A consumer was paused by its own call.
    ConsumerPaused(ConsumerId),
    /// A consumer that was paused by its own call goes on, as soon as its producer does.
    ConsumerResumed(ConsumerId),
    /// Another layer goes on to a consumer: told once, with the newest, however often it changed since it was asked for.
    LayerChanged {
        /// The consumer of a track of pictures.
        consumer: ConsumerId,
        /// The layer that goes on to it; `None`: nothing does.
        layer: Option<Layer>,
    },
    /// What comes of a producer arrives better or worse than before: told once, with the newest, and at most once a second. That all is
    /// well at the beginning is not told.
    ProducerScore {
        /// The producer whose packets are judged.
        producer: ProducerId,
        /// The score of each of its encodings, as [`score`](crate::score) makes it: 0, it has stopped, to 10.
        scores: Scores,
    },
    /// What goes on to a consumer arrives better or worse than before, by its receiver's reports: told as that of producers.
    ConsumerScore {
        /// The consumer whose packets are judged.
        consumer: ConsumerId,
        /// The score of the way from here to the receiver: 0 to 10.
        score: u8,
    },
    /// Who of the producers of sound was louder than the threshold over the last interval, loudest first; empty: nobody is
    /// any more. Told where [volumes](super::Router::set_volumes) are asked for.
    Volumes(Vec<Loudness>),
    /// Another producer leads the talk; `None`: the one that did is gone. Told where it is
    /// [asked for](super::Router::set_dominance).
    Dominant(Option<ProducerId>),
    /// A producer has changed to a codec that a consumer does not take: it gets nothing until that changes again.
    CodecForeign {
        /// The consumer that gets nothing.
        consumer: ConsumerId,
        /// The payload type, as the producer numbers it.
        payload_type: u8,
    },
}

/// What a router asks of its host, who must know all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Ask a source for a key frame, as
    /// [`request_key_frame_of`](antiphon_peer_connection::PeerConnection::request_key_frame_of) does.
    KeyFrame {
        /// The peer that sends the source.
        peer: PeerKey,
        /// The transceiver that receives it.
        transceiver: TransceiverId,
        /// The SSRC of the source.
        ssrc: u32,
    },
    /// Have a source of a [producer without a peer](super::Router::produce_direct) asked for a key frame.
    DirectKeyFrame {
        /// The producer whose host is to ask.
        producer: ProducerId,
        /// The SSRC of the source, as its packets have it.
        ssrc: u32,
    },
    /// Tell a peer's connection what it could send, as
    /// [`set_desired_bitrate`](antiphon_peer_connection::PeerConnection::set_desired_bitrate) does.
    Desire {
        /// The peer that gets it.
        peer: PeerKey,
        /// What would be enough for all that goes on to it, in bits a second.
        bitrate: u64,
    },
    /// Tell what the receiver of a consumer has reported so far, as
    /// [`reported`](antiphon_peer_connection::PeerConnection::reported) says, by [`set_reported`](super::Router::set_reported).
    Reports {
        /// The consumer whose receiver reports.
        consumer: ConsumerId,
        /// The peer whose connection sends to the receiver.
        peer: PeerKey,
        /// The encoding that sends.
        encoding: EncodingId,
    },
}
