//! The layers that a session watches or publishes, as HTTP asks for them (docs/signalling.md, "Layers").

use std::collections::BTreeMap;
use std::sync::Arc;

use antiphon::{MediaKind, TransceiverId};
use antiphon_sfu::{Layer, Layers, Wish};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use super::forward::{Has, Seat, Steering, Track};

/// Until the path has said what it carries.
const FIRST_BITRATE: u64 = 2_000_000;

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
    tracks: BTreeMap<TransceiverId, Watched>,
}

/// The session's ends of one track.
#[derive(Debug)]
struct Watched {
    track: Arc<Track>,
    steering: watch::Sender<Steering>,
    has: watch::Receiver<Has>,
}

impl Watching {
    /// A track goes to this transceiver from now on; `descriptors`: whether it takes dependency descriptors.
    pub(in crate::server) fn sit(&mut self, transceiver: TransceiverId, track: Arc<Track>, descriptors: bool) -> Seat {
        let wish = self.choice.within(Some(FIRST_BITRATE));
        let (steering, steers) = watch::channel(Steering { wish, key_frames: 0 });
        let (tells, has) = watch::channel(Has::default());
        self.tracks.insert(transceiver, Watched { track, steering, has });
        Seat {
            steering: steers,
            has: tells,
            descriptors,
        }
    }

    /// It cannot go on without a key frame.
    pub(in crate::server) fn need_key_frame(&self, transceiver: TransceiverId) {
        if let Some(watched) = self.tracks.get(&transceiver) {
            watched.steering.send_modify(|steering| steering.key_frames += 1);
        }
    }

    /// What its path carries.
    pub(in crate::server) fn set_bitrate(&self, transceiver: TransceiverId, bps: u64) {
        if let Some(watched) = self.tracks.get(&transceiver) {
            watched
                .steering
                .send_modify(|steering| steering.wish.bitrate = Some(bps));
        }
    }

    pub(in crate::server) fn choose(&mut self, choice: LayerChoice) {
        self.choice = choice;
        for watched in self.tracks.values() {
            watched
                .steering
                .send_modify(|steering| steering.wish = choice.within(steering.wish.bitrate));
        }
    }

    pub(in crate::server) fn layers(&self) -> Vec<TrackLayers> {
        let watched = self.tracks.values().filter_map(|watched| {
            let steering = *watched.steering.borrow();
            let has = *watched.has.borrow();
            let mut layers = TrackLayers::of(&watched.track)?;
            let place = |layer: Option<Layer>| layer.and_then(|layer| Chosen::of(layer, &watched.track.layers()));
            layers.watched = Some(WatchedLayers {
                budget_bps: steering.wish.bitrate,
                has: place(has.layer),
                aim: place(has.aim),
                forwarded: has.counts.forwarded,
                switches: has.counts.switches,
                key_frames_wanted: has.counts.key_frames_wanted,
            });
            Some(layers)
        });
        watched.collect()
    }
}

impl LayerChoice {
    fn within(self, bitrate: Option<u64>) -> Wish {
        Wish {
            level: self.layer.unwrap_or(u8::MAX),
            temporal: self.temporal.unwrap_or(u8::MAX),
            bitrate,
        }
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
    pub(in crate::server) fn of(track: &Track) -> Option<Self> {
        let levels = *track.layers();
        let levels = levels.levels().iter().map(|level| LevelFigures {
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
}
