//! A producer of a router: a track that comes in, and who gets it.

use std::sync::Arc;

use antiphon_media::Rid;
use antiphon_peer_connection::{Codec, MediaKind, Transceiver, TransceiverId};

use super::arrivals::Arrivals;
use super::names::{ConsumerId, PeerKey};
use super::numbers::Numbers;
use crate::layer::MAX_ENCODINGS;
use crate::payload_types::is_beside;
use crate::producer::{Dropped, Producer};

/// What a producer is made of.
#[derive(Clone, Debug)]
pub struct ProducerConfig {
    /// The peer whose connection receives the track.
    pub peer: PeerKey,
    /// The transceiver that receives it. Its output is to be packets.
    pub transceiver: TransceiverId,
    /// Whether it is sound or pictures.
    pub kind: MediaKind,
    /// What may come, with the payload types that it comes with; empty before it is negotiated.
    pub codecs: Vec<Codec>,
    /// The encodings of a simulcast that were negotiated, from the smallest picture if that is known.
    pub rids: Vec<Rid>,
    /// Whether it begins paused.
    pub paused: bool,
}

impl ProducerConfig {
    /// As it was negotiated for a transceiver, if it was. It does not begin paused.
    pub fn of(peer: PeerKey, transceiver: &Transceiver) -> Self {
        let receive = transceiver.receive();
        let layers = receive.iter().flat_map(|receive| &receive.simulcast);
        Self {
            peer,
            transceiver: transceiver.id(),
            kind: transceiver.kind(),
            codecs: receive.map(|receive| receive.codecs.clone()).unwrap_or_default(),
            rids: layers.filter_map(|layer| Rid::new(layer.rid.as_bytes())).collect(),
            paused: false,
        }
    }
}

/// What comes of a track: what its packets may be, and how they are named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Format {
    /// Whether it is sound or pictures.
    pub kind: MediaKind,
    /// What may come, with the payload types that it comes with.
    pub codecs: Vec<Codec>,
    /// The encodings of a simulcast, from the smallest picture if that is known; empty: there is one, or they are named as they come.
    pub rids: Vec<Rid>,
}

impl From<ProducerConfig> for Format {
    fn from(config: ProducerConfig) -> Self {
        Self {
            kind: config.kind,
            codecs: config.codecs,
            rids: config.rids,
        }
    }
}

/// A producer and who gets it.
#[derive(Clone, Debug)]
pub(super) struct Producing {
    /// The peer whose connection receives it, and where; `None`: its packets are handed in.
    pub(super) from: Option<(PeerKey, TransceiverId)>,
    pub(super) kind: MediaKind,
    pub(super) codecs: Vec<Codec>,
    /// What the consumer takes that was negotiated last. Those of one audience mostly take the same, and have it once.
    taken: Arc<[Codec]>,
    pub(super) rids: Vec<Rid>,
    pub(super) paused: bool,
    /// Its packets are for the application of its peer too.
    pub(super) is_copied: bool,
    /// What is known of its layers. Of sound nothing is read but where its packets come from.
    pub(super) track: Producer,
    /// What was dropped before it was negotiated anew.
    dropped: Dropped,
    /// What comes of each encoding, for its score; and whether another score is to be told.
    pub(super) arrivals: Arrivals,
    pub(super) is_scored: bool,
    /// The numbers of its sound, of which not all need go on.
    pub(super) sound: Numbers,
    pub(super) consumers: Vec<ConsumerId>,
    /// How many of them are pipes.
    pub(super) pipes: usize,
    /// The list of layers that its consumers' shares were made by.
    pub(super) shared: u64,
    /// It is in the router's list of those that want a key frame.
    pub(super) is_asking: bool,
    /// The payload type of what comes now, beside which others may come.
    pub(super) payload_type: Option<u8>,
    /// Packets that came, and their bytes of payload.
    pub(super) packets: u64,
    pub(super) bytes: u64,
    /// Packets of sound that did not go on because others are louder.
    pub(super) quieter: u64,
    /// Key frames that its sources were asked for.
    pub(super) key_frames_asked: u64,
}

impl Producing {
    pub(super) fn new(config: ProducerConfig) -> Self {
        let format = Format {
            kind: config.kind,
            codecs: config.codecs,
            rids: config.rids,
        };
        Self {
            paused: config.paused,
            ..Self::of(format, Some((config.peer, config.transceiver)))
        }
    }

    /// A producer that is not paused, of what its host hands in if it is from nobody.
    pub(super) fn of(config: Format, from: Option<(PeerKey, TransceiverId)>) -> Self {
        let mut rids = config.rids;
        rids.truncate(MAX_ENCODINGS);
        Self {
            track: track(config.kind, &config.codecs, &rids),
            from,
            kind: config.kind,
            codecs: config.codecs,
            taken: Arc::default(),
            rids,
            paused: false,
            is_copied: false,
            arrivals: Arrivals::default(),
            is_scored: false,
            sound: Numbers::default(),
            dropped: Dropped::default(),
            consumers: Vec::new(),
            pipes: 0,
            shared: 0,
            is_asking: false,
            payload_type: None,
            packets: 0,
            bytes: 0,
            quieter: 0,
            key_frames_asked: 0,
        }
    }

    /// What a consumer takes, shared with the one before it if that takes the same.
    pub(super) fn share_codecs(&mut self, codecs: Vec<Codec>) -> Arc<[Codec]> {
        if *self.taken != *codecs {
            self.taken = codecs.into();
        }
        Arc::clone(&self.taken)
    }

    /// Other codecs or encodings were negotiated. Whether anything changed.
    pub(super) fn renegotiate(&mut self, mut config: Format) -> bool {
        config.rids.truncate(MAX_ENCODINGS);
        let has_changed = self.codecs != config.codecs || self.rids != config.rids;
        if has_changed {
            self.dropped = self.dropped();
            self.arrivals = Arrivals::default();
            self.track = track(self.kind, &config.codecs, &config.rids);
            (self.codecs, self.rids) = (config.codecs, config.rids);
            self.payload_type = None;
        }
        has_changed
    }

    /// What comes of it.
    pub(super) fn format(&self) -> Format {
        Format {
            kind: self.kind,
            codecs: self.codecs.clone(),
            rids: self.rids.clone(),
        }
    }

    /// A packet has another payload type than the one before.
    #[cold]
    pub(super) fn note_payload_type(&mut self, payload_type: u8) {
        let mut codecs = self.codecs.iter();
        if codecs.any(|codec| codec.payload_type == payload_type && !is_beside(codec)) {
            self.payload_type = Some(payload_type);
        }
    }

    /// Packets that nobody was shown, by reason.
    pub(super) fn dropped(&self) -> Dropped {
        let mut dropped = self.dropped;
        dropped += self.track.dropped();
        dropped
    }
}

fn track(kind: MediaKind, codecs: &[Codec], rids: &[Rid]) -> Producer {
    let codecs = codecs.iter().filter(|_| kind == MediaKind::Video);
    Producer::new(codecs.map(|codec| (codec.payload_type, codec.name.as_str())), rids)
}
