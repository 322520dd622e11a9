//! Layers: how they are named, which there are now and what each costs, and what a consumer wishes.

use antiphon_media::{Resolution, Rid};

/// Encodings of one track (simulcast) that are told apart; packets of more are dropped and counted. Browsers send
/// three.
pub const MAX_ENCODINGS: usize = 4;
/// Spatial layers of one encoding that are known; those above go on to nobody. Browsers have three.
pub const MAX_SPATIAL: usize = 4;
/// Temporal layers that are told apart; what a stream has above counts as the highest of these.
pub const MAX_TEMPORAL: usize = 4;
/// Levels of one track.
pub(crate) const MAX_LEVELS: usize = MAX_ENCODINGS * MAX_SPATIAL;

/// One layer of a track.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Layer {
    /// The encoding: its place among those of the track, in the order in which they were declared or came. 0 without
    /// simulcast.
    pub encoding: u8,
    /// The spatial layer within the encoding, from 0.
    pub spatial: u8,
    /// The temporal layer, from 0. A layer stands for itself and all temporal layers below it.
    pub temporal: u8,
}

/// What a consumer wishes to get of a track, at most. The default is all of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Wish {
    /// The highest level: its place among [`Layers::levels`], from 0 for the smallest picture. It is left for a level
    /// below, and where there is none for one above, when it stops.
    pub level: u8,
    /// The highest temporal layer, from 0.
    pub temporal: u8,
    /// Bits a second, payload and RTP headers, that may be spent; `None`: it is not known, or does not matter. If even
    /// the cheapest layer needs more, that one is sent all the same: who is sent nothing learns nothing of the path.
    pub bitrate: Option<u64>,
}

impl Default for Wish {
    fn default() -> Self {
        Self {
            level: u8::MAX,
            temporal: u8::MAX,
            bitrate: None,
        }
    }
}

/// A size of the picture: an encoding of simulcast, or a spatial layer of one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Level {
    /// The encoding that it is part of.
    pub encoding: u8,
    /// The RID of that encoding, if it has one.
    pub rid: Option<Rid>,
    /// The spatial layer within it.
    pub spatial: u8,
    /// Whether packets of it come now.
    pub flows: bool,
    /// How many temporal layers have come, 1 to [`MAX_TEMPORAL`].
    pub temporal: u8,
    /// How large its pictures are, where the stream has said so.
    pub resolution: Option<Resolution>,
    /// Bits a second that it needs with each number of temporal layers.
    rates: [u32; MAX_TEMPORAL],
    /// Packets of each temporal layer that have come.
    packets: [u64; MAX_TEMPORAL],
}

impl Level {
    pub(crate) fn new(encoding: u8, rid: Option<Rid>, spatial: u8) -> Self {
        Self {
            encoding,
            rid,
            spatial,
            ..Self::default()
        }
    }

    pub(crate) fn set_counts(&mut self, rates: [u32; MAX_TEMPORAL], packets: [u64; MAX_TEMPORAL]) {
        (self.rates, self.packets) = (rates, packets);
    }

    /// How many packets of each temporal layer have come, of this level alone; the last counts those of higher layers
    /// too.
    pub fn packets(&self) -> &[u64] {
        let count = usize::from(self.temporal).min(MAX_TEMPORAL);
        self.packets.get(..count).unwrap_or_default()
    }

    /// The bits a second, payload and RTP headers, of this level up to a temporal layer, with everything below that it
    /// needs: as measured over the last two seconds. 0 before a quarter of a second.
    pub fn bitrate(&self, temporal: u8) -> u64 {
        let last = usize::from(self.temporal.max(1)) - 1;
        let rate = self.rates.get(usize::from(temporal).min(last));
        rate.copied().unwrap_or(0).into()
    }
}

/// Which levels a track has, from the smallest picture to the largest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Layers {
    pub(crate) version: u64,
    levels: [Level; MAX_LEVELS],
    count: u8,
}

impl Layers {
    /// A number that grows with each change of the list, a few times a second.
    pub fn version(&self) -> u64 {
        self.version
    }

    /// The levels that were seen, those that stopped among them.
    pub fn levels(&self) -> &[Level] {
        self.levels.get(..usize::from(self.count)).unwrap_or_default()
    }

    /// The place of a level among [`Self::levels`].
    pub fn place(&self, encoding: u8, spatial: u8) -> Option<usize> {
        let mut levels = self.levels().iter();
        levels.position(|level| (level.encoding, level.spatial) == (encoding, spatial))
    }

    pub(crate) fn push(&mut self, level: Level) {
        if let Some(place) = self.levels.get_mut(usize::from(self.count)) {
            *place = level;
            self.count += 1;
        }
    }
}
