//! The layers that a session watches or publishes, as HTTP asks for them (docs/signalling.md, "Layers").

use std::collections::BTreeMap;
use std::sync::Arc;

use antiphon::router::{ConsumeOptions, Consumer, Layer, Layers};
use antiphon::{Error, MediaKind, PeerHandle, TransceiverId};
use serde::{Deserialize, Serialize};

use super::forward::{Publisher, Track};

/// What a watcher chooses: at most these layers; what is left out is all.
#[derive(Clone, Copy, Debug, Default, Deserialize, PartialEq, Eq)]
pub(in crate::server) struct LayerChoice {
    /// A size of the picture, from 0 for the smallest.
    pub(in crate::server) layer: Option<u8>,
    /// A temporal layer, from 0 for the fewest frames.
    pub(in crate::server) temporal: Option<u8>,
}

/// What a watcher wishes and has of each track.
#[derive(Debug, Default)]
pub(in crate::server) struct Watching {
    choice: LayerChoice,
    tracks: BTreeMap<TransceiverId, (Arc<Track>, Consumer)>,
}

impl Watching {
    /// What a watcher that begins wishes.
    pub(in crate::server) fn new(choice: LayerChoice) -> Self {
        Self {
            choice,
            tracks: BTreeMap::new(),
        }
    }

    /// Whether a track goes to this transceiver.
    pub(in crate::server) fn has(&self, transceiver: TransceiverId) -> bool {
        self.tracks.contains_key(&transceiver)
    }

    /// A track of the publisher goes to a transceiver of the watcher from now on.
    pub(in crate::server) async fn sit(
        &mut self,
        publisher: &Publisher,
        track: Arc<Track>,
        (watcher, transceiver): (&PeerHandle, TransceiverId),
    ) -> Result<(), Error> {
        let (level, temporal) = self.choice.most();
        let options = ConsumeOptions {
            level,
            temporal,
            // Who is sent nothing learns nothing of the path, and a watcher has nothing else to look at.
            overshoot: u64::MAX,
            ..ConsumeOptions::default()
        };
        let consumer = publisher.send_to(&track, watcher, transceiver, options).await?;
        self.tracks.insert(transceiver, (track, consumer));
        Ok(())
    }

    pub(in crate::server) async fn choose(&mut self, choice: LayerChoice) {
        self.choice = choice;
        let (level, temporal) = choice.most();
        for (_, consumer) in self.tracks.values() {
            // Of a publisher that has gone there is nothing to choose.
            _ = consumer.set_preferred_layers(level, temporal).await;
        }
    }

    /// What there is of each track of pictures, and what of that goes on. Of a publisher that has gone there is nothing.
    pub(in crate::server) async fn layers(&self) -> Vec<TrackLayers> {
        let mut all = Vec::new();
        for (track, consumer) in self.tracks.values() {
            let (Ok(source), Ok(own)) = (track.stats().await, consumer.stats().await) else {
                continue;
            };
            let Some(mut layers) = TrackLayers::of(track, &source.layers) else {
                continue;
            };
            let place = |layer: Option<Layer>| layer.and_then(|layer| Chosen::of(layer, &source.layers));
            layers.watched = Some(WatchedLayers {
                budget_bps: own.estimate,
                has: place(own.layer),
                aim: place(own.aim),
                forwarded: own.counts.forwarded,
                switches: own.counts.switches,
                key_frames_wanted: own.counts.key_frames_wanted,
            });
            all.push(layers);
        }
        all
    }
}

impl LayerChoice {
    /// The highest level and the highest temporal layer.
    fn most(self) -> (u8, u8) {
        (self.layer.unwrap_or(u8::MAX), self.temporal.unwrap_or(u8::MAX))
    }
}

/// The layers of one track of pictures.
#[derive(Clone, Debug, Serialize)]
pub(in crate::server) struct TrackLayers {
    /// The publisher's section.
    mid: String,
    /// From the smallest picture to the largest.
    layers: Vec<LevelFigures>,
    /// What this watcher has of them.
    #[serde(flatten)]
    watched: Option<WatchedLayers>,
}

/// One size of the picture.
#[derive(Clone, Debug, Serialize)]
struct LevelFigures {
    rid: Option<String>,
    spatial: u8,
    flows: bool,
    width: Option<u32>,
    height: Option<u32>,
    /// Of each temporal layer with those below it, and with what it needs of smaller pictures.
    bps: Vec<u64>,
    /// Packets of each temporal layer, of this size alone.
    packets: Vec<u64>,
}

/// What a watcher has.
#[derive(Clone, Debug, Serialize)]
struct WatchedLayers {
    budget_bps: Option<u64>,
    has: Option<Chosen>,
    aim: Option<Chosen>,
    forwarded: u64,
    switches: u64,
    key_frames_wanted: u64,
}

/// A layer by its places.
#[derive(Clone, Copy, Debug, Serialize)]
struct Chosen {
    layer: usize,
    temporal: u8,
}

impl Chosen {
    fn of(layer: Layer, layers: &Layers) -> Option<Self> {
        let place = layers.place(layer.encoding, layer.spatial)?;
        let count = layers.levels().get(place)?.temporal;
        Some(Self {
            layer: place,
            temporal: layer.temporal.min(count.saturating_sub(1)),
        })
    }
}

impl TrackLayers {
    /// The layers of a track; `None` of sound.
    fn of(track: &Track, layers: &Layers) -> Option<Self> {
        let levels = layers.levels().iter().map(|level| LevelFigures {
            rid: level.rid.map(|rid| rid.to_string()),
            spatial: level.spatial,
            flows: level.flows,
            width: level.resolution.map(|size| size.width),
            height: level.resolution.map(|size| size.height),
            bps: (0..level.temporal).map(|temporal| level.bitrate(temporal)).collect(),
            packets: level.packets().to_vec(),
        });
        (track.kind() == MediaKind::Video).then(|| Self {
            mid: track.mid().to_owned(),
            layers: levels.collect(),
            watched: None,
        })
    }

    /// The layers of all that a publisher publishes.
    pub(in crate::server) async fn of_publisher(publisher: &Publisher) -> Vec<Self> {
        let mut all = Vec::new();
        for track in publisher.tracks() {
            if let Ok(source) = track.stats().await {
                all.extend(Self::of(track, &source.layers));
            }
        }
        all
    }
}
