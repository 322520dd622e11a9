//! What comes of one track: its encodings, read once for all who get it.

use std::ops::AddAssign;
use std::sync::Arc;
use std::time::{Duration, Instant};

use antiphon_media::extension::dependency::{DependencyDescriptor, Stream};
use antiphon_media::{Packet, Resolution, Rid};
use antiphon_rtp::bitstream;
use antiphon_rtp::payload::{Depacketizer, vp9};

use crate::facts::{Body, Facts, descriptor_of};
use crate::layer::{Layers, Level, MAX_ENCODINGS, MAX_SPATIAL, MAX_TEMPORAL};
use crate::meter::{Meter, WINDOW};

/// An encoding has stopped that has been silent for so long while others of the track were not.
const ENCODING_STOPS: Duration = Duration::from_secs(2);
/// A spatial layer has stopped that has been silent for so long while others of its encoding were not: they come
/// together.
const SPATIAL_STOPS: Duration = Duration::from_millis(500);
/// A source without RID that has been silent for so long makes room for another one.
const SOURCE_SILENCE: Duration = Duration::from_secs(1);
/// An encoding that was asked for a key frame is not asked again sooner, whoever wants it. LiveKit asks small encodings
/// as often.
const KEY_FRAME_PATIENCE: Duration = Duration::from_millis(500);
/// What a packet has beside its payload, about: RTP header and extensions.
const HEADER: usize = 20;
/// Payload types of a track.
const MAX_FORMATS: usize = 128;

/// Packets that no consumer is shown, by reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// Of encodings beyond [`MAX_ENCODINGS`].
    pub encodings: u64,
    /// Of a second source without RID, while the first is alive.
    pub sources: u64,
    /// With a payload that is none of its format.
    pub malformed: u64,
    /// With a dependency descriptor that cannot be read: its structure was lost, or has changed since.
    pub descriptors: u64,
}

impl AddAssign for Dropped {
    fn add_assign(&mut self, other: Self) {
        self.encodings += other.encodings;
        self.sources += other.sources;
        self.malformed += other.malformed;
        self.descriptors += other.descriptors;
    }
}

/// One track as it comes in: its encodings, what flows of them, and who is to be asked for key frames.
///
/// Each packet is [taken](Self::take) once; the packet and its [`Facts`] then go to every
/// [`Consumer`](crate::Consumer).
#[derive(Clone, Debug, Default)]
pub struct Producer {
    formats: Vec<(u8, Depacketizer)>,
    encodings: Vec<Encoding>,
    layers: Layers,
    dropped: Dropped,
}

/// One encoding.
#[derive(Clone, Debug)]
struct Encoding {
    rid: Option<Rid>,
    /// It was named by its source, for it has no RID.
    is_placed: bool,
    ssrc: Option<u32>,
    /// When its last packet came.
    last: Option<Instant>,
    meter: Meter,
    spatial: [Spatial; MAX_SPATIAL],
    stream: Arc<Stream>,
    /// For each spatial layer the decode targets of higher ones.
    above: [u32; MAX_SPATIAL],
    /// A key frame is wanted, and when one was asked for last.
    wanted: bool,
    asked: Option<Instant>,
}

/// What is known of a spatial layer.
#[derive(Clone, Copy, Debug, Default)]
struct Spatial {
    last: Option<Instant>,
    /// How many temporal layers have come, and the packets of each.
    temporal: u8,
    packets: [u64; MAX_TEMPORAL],
    resolution: Option<Resolution>,
}

impl Encoding {
    fn new(rid: Option<Rid>) -> Self {
        Self {
            rid,
            is_placed: false,
            ssrc: None,
            last: None,
            meter: Meter::default(),
            spatial: Default::default(),
            stream: Arc::default(),
            above: [0; MAX_SPATIAL],
            wanted: false,
            asked: None,
        }
    }

    /// Another source takes the place of the one before: nothing of that is known of it.
    fn begin(&mut self, ssrc: u32) {
        *self = Self {
            ssrc: Some(ssrc),
            is_placed: self.is_placed,
            wanted: self.wanted,
            asked: self.asked,
            ..Self::new(self.rid)
        };
    }

    fn pixels(&self) -> u64 {
        let sizes = self.spatial.iter().filter_map(|spatial| spatial.resolution);
        let pixels = sizes.map(|size| u64::from(size.width) * u64::from(size.height));
        pixels.max().unwrap_or(0)
    }

    /// What it costs whole.
    fn bitrate(&self) -> u32 {
        let rates = self.meter.rates(MAX_SPATIAL - 1);
        rates.last().copied().unwrap_or(0)
    }

    /// Whether its picture is smaller than that of another encoding: by size, or else by what it costs.
    fn is_below(&self, other: &Self) -> bool {
        let (own, theirs) = (self.pixels(), other.pixels());
        if own > 0 && theirs > 0 && own != theirs {
            return own < theirs;
        }
        let (own, theirs) = (u64::from(self.bitrate()), u64::from(other.bitrate()));
        // What differs by less may differ the other way the next second.
        own > 0 && own * 5 < theirs * 4
    }

    /// Reads the dependency descriptor, and keeps its structure.
    fn read_descriptor(&mut self, data: &[u8], facts: &mut Facts) -> Option<()> {
        let descriptor = DependencyDescriptor::parse(data, self.stream.structure()).ok()?;
        let told = descriptor.active_targets;
        if descriptor.structure.is_some() || told.is_some_and(|active| active != self.stream.active_targets()) {
            Arc::make_mut(&mut self.stream).read(data).ok()?;
        }
        if descriptor.structure.is_some() {
            let structure = self.stream.structure()?;
            let targets = |spatial| {
                let all = 0..usize::from(structure.target_count());
                let above = all.filter(|target| structure.layers(*target).0 > spatial);
                above.fold(0, |mask, target| mask | 1 << target)
            };
            for (spatial, place) in (0..).zip(&mut self.above) {
                *place = targets(spatial);
            }
        }
        facts.set_dependency(descriptor, &self.stream)
    }

    fn note(&mut self, now: Instant, packet: &Packet, facts: &Facts) {
        self.last = Some(now);
        if matches!(facts.body, Body::Padding) {
            return;
        }
        let spatial = usize::from(facts.spatial);
        if let (Some(place), Some(above)) = (self.spatial.get_mut(spatial), self.above.get(spatial)) {
            place.last = Some(now);
            place.temporal = place.temporal.max(facts.temporal.saturating_add(1));
            if let Some(packets) = place.packets.get_mut(usize::from(facts.temporal).min(MAX_TEMPORAL - 1)) {
                *packets += 1;
            }
            let bytes = packet.payload.len() + HEADER;
            self.meter
                .count(facts.spatial, facts.temporal, facts.is_shared(*above), bytes);
        }
        if facts.key_frame {
            self.wanted = false;
            self.note_structure(now, packet, facts);
        }
    }

    /// A key frame says that there are so many spatial layers: they come with it.
    fn note_layers(&mut self, now: Instant, count: u8) {
        for place in self.spatial.iter_mut().take(count.into()) {
            place.last = Some(now);
            place.temporal = place.temporal.max(1);
        }
    }

    /// Which spatial layers there are and how large their pictures, as a key frame or its descriptor says.
    fn note_structure(&mut self, now: Instant, packet: &Packet, facts: &Facts) {
        if let Some(structure) = facts.dependency.as_ref().and_then(|own| own.stream.structure()) {
            let highest = structure.templates().last().map_or(0, |template| template.spatial);
            self.note_layers(now, highest + 1);
            for (place, size) in self.spatial.iter_mut().zip(structure.resolutions()) {
                place.resolution = Some(Resolution {
                    width: size.width,
                    height: size.height,
                });
            }
            if !structure.resolutions().is_empty() {
                return;
            }
        }
        match facts.body {
            Body::Vp8(_, len) => {
                let frame = packet.payload.get(usize::from(len)..);
                if let ([first, ..], Some(size)) = (&mut self.spatial, frame.and_then(bitstream::vp8::resolution)) {
                    first.resolution = Some(size);
                }
            }
            Body::Vp9(_) => {
                let Ok((descriptor, len)) = vp9::Descriptor::parse(&packet.payload) else {
                    return;
                };
                let structure = descriptor.structure.and_then(|bytes| vp9::Structure::parse(bytes).ok());
                self.note_layers(now, structure.map_or(1, |(structure, _)| structure.layers));
                for (index, place) in self.spatial.iter_mut().enumerate() {
                    place.resolution = structure.and_then(|(structure, _)| structure.size(index));
                }
                if let [first, ..] = &mut self.spatial
                    && first.resolution.is_none()
                {
                    first.resolution = packet.payload.get(len..).and_then(bitstream::vp9::resolution);
                }
            }
            Body::Plain | Body::Padding => {}
        }
    }
}

impl Producer {
    /// A track whose codecs have these payload types and names in `a=rtpmap`; the first 128 of them. `rids` are the
    /// encodings that were negotiated, from the smallest picture if that is known; others are added as they come.
    pub fn new<'a>(codecs: impl IntoIterator<Item = (u8, &'a str)>, rids: &[Rid]) -> Self {
        let formats = codecs.into_iter().take(MAX_FORMATS);
        let rids = rids.iter().take(MAX_ENCODINGS);
        Self {
            formats: formats
                .map(|(number, name)| (number, Depacketizer::new(name)))
                .collect(),
            encodings: rids.map(|rid| Encoding::new(Some(*rid))).collect(),
            ..Self::default()
        }
    }

    /// A source without RID is the encoding of this place, from 0, as old browsers say (`a=ssrc-group:SIM`). To be told
    /// before its packets; it is of no account where the place has a RID, or is beyond [`MAX_ENCODINGS`].
    pub fn place_source(&mut self, ssrc: u32, place: u8) {
        let place = usize::from(place);
        if place >= MAX_ENCODINGS {
            return;
        }
        while self.encodings.len() <= place {
            self.encodings.push(Encoding::new(None));
        }
        if let Some(encoding) = self.encodings.get_mut(place)
            && encoding.rid.is_none()
        {
            encoding.is_placed = true;
            if encoding.ssrc != Some(ssrc) {
                encoding.begin(ssrc);
            }
        }
    }

    /// Takes a packet of the track. `None`: it goes on to nobody, and was counted.
    pub fn take(&mut self, now: Instant, packet: &Packet) -> Option<Facts> {
        let index = self.encoding_of(now, packet)?;
        let mut formats = self.formats.iter();
        let format = formats.find(|(number, _)| *number == packet.payload_type);
        let format = format.map_or(Depacketizer::Opaque, |(_, format)| *format);
        let Some(mut facts) = Facts::read(index as u8, format, packet) else {
            self.dropped.malformed += 1;
            return None;
        };
        let encoding = self.encodings.get_mut(index)?;
        if let Some(data) = descriptor_of(packet)
            && encoding.read_descriptor(data, &mut facts).is_none()
        {
            self.dropped.descriptors += 1;
            // Without its structure nothing can be said of the stream: only a key frame brings it.
            encoding.wanted |= encoding.stream.structure().is_none();
            return None;
        }
        encoding.note(now, packet, &facts);
        let is_new =
            usize::from(facts.spatial) < MAX_SPATIAL && self.layers.place(facts.encoding, facts.spatial).is_none();
        if self.roll(now) || is_new || facts.key_frame {
            self.update(now);
        }
        Some(facts)
    }

    /// The encoding of a packet, which is its RID; packets without are of one source at a time.
    fn encoding_of(&mut self, now: Instant, packet: &Packet) -> Option<usize> {
        let is_source = |encoding: &Encoding| {
            encoding.ssrc == Some(packet.ssrc) && (packet.rid.is_none() || encoding.rid == packet.rid)
        };
        let is_named = |encoding: &Encoding| match packet.rid {
            Some(rid) => encoding.rid == Some(rid),
            None => encoding.rid.is_none() && !encoding.is_placed,
        };
        let of = |known: &dyn Fn(&Encoding) -> bool| self.encodings.iter().position(known);
        let index = match of(&is_source).or_else(|| of(&is_named)) {
            Some(index) => index,
            None if self.encodings.len() < MAX_ENCODINGS => {
                self.encodings.push(Encoding::new(packet.rid));
                self.encodings.len() - 1
            }
            None => {
                self.dropped.encodings += 1;
                return None;
            }
        };
        let encoding = self.encodings.get_mut(index)?;
        if encoding.ssrc != Some(packet.ssrc) {
            let is_alive = encoding
                .last
                .is_some_and(|last| now.saturating_duration_since(last) < SOURCE_SILENCE);
            if packet.rid.is_none() && encoding.ssrc.is_some() && is_alive {
                self.dropped.sources += 1;
                return None;
            }
            encoding.begin(packet.ssrc);
        }
        Some(index)
    }

    /// A source has said goodbye: another one may take its place at once.
    pub fn source_ended(&mut self, ssrc: u32) {
        for encoding in &mut self.encodings {
            if encoding.ssrc == Some(ssrc) {
                encoding.ssrc = None;
                encoding.last = None;
            }
        }
    }

    fn roll(&mut self, now: Instant) -> bool {
        let mut rolled = false;
        for encoding in &mut self.encodings {
            rolled |= encoding.meter.roll(now);
        }
        rolled
    }

    /// Makes the list of levels anew.
    fn update(&mut self, now: Instant) {
        let mut layers = Layers::default();
        layers.version = self.layers.version + 1;
        let newest = self.encodings.iter().filter_map(|encoding| encoding.last).max();
        let newest = newest.unwrap_or(now);
        let flows = |last: Option<Instant>, newest: Instant, patience: Duration| {
            last.is_some_and(|last| newest.saturating_duration_since(last) <= patience)
        };
        for index in self.order() {
            let Some(encoding) = self.encodings.get(usize::from(index)) else {
                continue;
            };
            let own_newest = encoding.last.unwrap_or(now);
            for (place, spatial) in (0u8..).zip(&encoding.spatial) {
                if spatial.last.is_none() {
                    continue;
                }
                let mut level = Level::new(index, encoding.rid, place);
                level.flows =
                    flows(encoding.last, newest, ENCODING_STOPS) && flows(spatial.last, own_newest, SPATIAL_STOPS);
                level.temporal = spatial.temporal.clamp(1, MAX_TEMPORAL as u8);
                level.resolution = spatial.resolution;
                level.set_counts(encoding.meter.rates(usize::from(place)), spatial.packets);
                layers.push(level);
            }
        }
        self.layers = layers;
    }

    /// The encodings from the smallest picture to the largest. There are few.
    fn order(&self) -> impl Iterator<Item = u8> + use<> {
        let mut order = [0u8, 1, 2, 3];
        let count = self.encodings.len().min(MAX_ENCODINGS);
        for end in 1..count {
            for at in (1..=end).rev() {
                let pair = (order.get(at - 1).copied(), order.get(at).copied());
                let (Some(first), Some(second)) = pair else { break };
                let at_place = |index: u8| self.encodings.get(usize::from(index));
                match (at_place(first), at_place(second)) {
                    (Some(lower), Some(upper)) if upper.is_below(lower) => order.swap(at - 1, at),
                    _ => break,
                }
            }
        }
        order.into_iter().take(count)
    }

    /// Which levels there are, from the smallest picture to the largest, and what each needs.
    pub fn layers(&self) -> &Layers {
        &self.layers
    }

    /// The name of an encoding, by its place; `None`: it has none, or there is no such encoding.
    pub(crate) fn rid(&self, place: u8) -> Option<Rid> {
        self.encodings.get(usize::from(place))?.rid
    }

    /// The place of the encoding that a source is.
    pub(crate) fn place_of(&self, ssrc: u32) -> Option<u8> {
        let mut encodings = (0..).zip(&self.encodings);
        let (place, _) = encodings.find(|(_, encoding)| encoding.ssrc == Some(ssrc))?;
        Some(place)
    }

    /// Packets that nobody was shown.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// A consumer wants a key frame of an encoding ([`Consumer::poll_key_frame`](crate::Consumer::poll_key_frame)).
    /// What many want is asked for once.
    pub fn want_key_frame(&mut self, encoding: u8) {
        if let Some(encoding) = self.encodings.get_mut(usize::from(encoding)) {
            encoding.wanted = true;
        }
    }

    /// Whether a key frame of any encoding is wanted and has not come.
    pub fn wants_key_frame(&self) -> bool {
        self.encodings.iter().any(|encoding| encoding.wanted)
    }

    /// Nobody waits for a key frame any more.
    pub fn forget_key_frames(&mut self) {
        for encoding in &mut self.encodings {
            encoding.wanted = false;
        }
    }

    /// The source (SSRC) that is to be asked for a key frame now, if there is one. While none comes it is asked again
    /// each half second.
    pub fn poll_key_frame(&mut self, now: Instant) -> Option<u32> {
        let due = |encoding: &&mut Encoding| {
            encoding.wanted
                && encoding.ssrc.is_some()
                && encoding
                    .asked
                    .is_none_or(|asked| now.saturating_duration_since(asked) >= KEY_FRAME_PATIENCE)
        };
        let encoding = self.encodings.iter_mut().find(due)?;
        encoding.asked = Some(now);
        encoding.ssrc
    }

    /// When [`Self::poll_key_frame`] has something again.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let wanted = self
            .encodings
            .iter()
            .filter(|encoding| encoding.wanted && encoding.ssrc.is_some());
        let due = wanted.filter_map(|encoding| Some(encoding.asked? + KEY_FRAME_PATIENCE));
        due.min()
    }
}

// A rate is known after one window, and a layer must not count as stopped before.
const _: () = assert!(WINDOW.as_millis() < SPATIAL_STOPS.as_millis());
