//! One consumer of one track.

use std::time::{Duration, Instant};

use antiphon_media::Packet;

use crate::choice::Choice;
use crate::draft::Draft;
use crate::facts::{Body, Facts};
use crate::layer::{Layer, Layers, MAX_ENCODINGS, Wish};
use crate::mapping::{Mapping, Newest};
use crate::renumbering::Place;
use crate::timeline::Timeline;

/// While a consumer waits for a key frame it says so again after this.
const ASK_AGAIN: Duration = Duration::from_millis(500);
/// A lower layer of a stream can often be had without a key frame; after this long it cannot.
const KEY_FRAME_AFTER: Duration = Duration::from_millis(150);
/// Of formats whose key frames a source may spread over many frames (H.264 and its successors) a consumer begins
/// anywhere after this.
const BEGIN_ANYWHERE: Duration = Duration::from_secs(2);
/// A source whose numbers jump further than this has begun anew.
const MAX_GAP: u64 = 1000;

/// How a consumer gets its packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// Whether dependency descriptors go on to it, rewritten.
    pub descriptors: Descriptors,
}

/// Whether dependency descriptors go on. Chromium freezes for long where it has them and a packet of a hundred is lost,
/// and does not without; but of AV1 with several spatial layers it shows nothing without.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Descriptors {
    /// They are taken out of every packet. Of a stream as of [`Self::Needed`] the lowest spatial layer goes on alone, which can be
    /// shown without.
    #[default]
    Never,
    /// They stay where the stream has several spatial layers and its payloads do not say which: of AV1.
    Needed,
    /// They stay wherever they are.
    Always,
}

impl Descriptors {
    fn go_on(self, facts: &Facts) -> bool {
        match self {
            Self::Never => false,
            Self::Needed => facts.has_spatial_layers_by_descriptor_alone(),
            Self::Always => true,
        }
    }
}

/// What became of a consumer's packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Packets that went on.
    pub forwarded: u64,
    /// Packets of layers that it does not have, padding among them.
    pub left_out: u64,
    /// Packets that came after they could be placed.
    pub late: u64,
    /// Packets that were missed and not wanted when they came: an empty one took the place.
    pub filled: u64,
    /// How often another layer began: a switch of encoding, of spatial or of temporal layers.
    pub switches: u64,
    /// Key frames that it wanted, counted each time it said so.
    pub key_frames_wanted: u64,
}

/// One consumer of one track: which of its packets go on to it, and how they are written.
///
/// What it is given is one stream: sequence numbers without holes for what was left out and with holes for what was
/// lost before us, timestamps that go on where the layer before ended, picture ids and frame numbers likewise. All
/// packets that go on have the SSRC 0 and no RID.
#[derive(Clone, Debug, Default)]
pub struct Consumer {
    config: ConsumerConfig,
    wish: Wish,
    choice: Choice,
    /// The layer to have, and the list that it was chosen from.
    aim: Option<Layer>,
    chosen: Option<(Wish, u64)>,
    /// The source that goes on, and the one before it, of which packets may be late.
    current: Option<Mapping>,
    previous: Option<Box<Mapping>>,
    newest: Newest,
    /// The newest packet that went on did not end its picture.
    within: bool,
    timeline: Timeline,
    /// The newest number of each encoding: what comes late is not where another one begins.
    seen: [Option<(u32, u64)>; MAX_ENCODINGS],
    /// Since when there is nothing that goes on, or another spatial layer is wanted.
    waits: Option<Instant>,
    /// Asked for: it cannot go on without a key frame.
    needs_key_frame: bool,
    asked: Option<(u8, Instant)>,
    counts: Counts,
}

impl Consumer {
    /// A consumer that wishes everything.
    pub fn new(config: ConsumerConfig) -> Self {
        Self {
            config,
            ..Self::default()
        }
    }

    /// What it wishes from now on.
    pub fn set_wish(&mut self, wish: Wish) {
        self.wish = wish;
    }

    /// How it gets its packets from now on.
    pub fn set_config(&mut self, config: ConsumerConfig) {
        self.config = config;
    }

    /// What it wishes.
    pub fn wish(&self) -> Wish {
        self.wish
    }

    /// The layer that goes on to it now; `None` before the first key frame.
    pub fn layer(&self) -> Option<Layer> {
        self.current.as_ref().map(|current| Layer {
            encoding: current.encoding,
            spatial: current.spatial,
            temporal: current.temporal,
        })
    }

    /// The layer that it is to have, which begins when it can.
    pub fn aim(&self) -> Option<Layer> {
        self.aim
    }

    /// What became of its packets.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// Shows it a packet of the track, with what the producer read of it. Gives the packet as it goes on to the
    /// consumer, or `None`.
    pub fn take(&mut self, now: Instant, packet: &Packet, facts: &Facts, layers: &Layers) -> Option<Packet> {
        let mut draft = Draft::new(packet);
        self.draw(now, packet, facts, layers, &mut draft)?;
        Some(draft.into_packet())
    }

    /// The same, written where it was written for other consumers. `None`: it does not go on.
    pub(crate) fn draw(
        &mut self,
        now: Instant,
        packet: &Packet,
        facts: &Facts,
        layers: &Layers,
        draft: &mut Draft,
    ) -> Option<()> {
        self.choose(now, layers);
        if self.config.descriptors == Descriptors::Never
            && facts.has_spatial_layers_by_descriptor_alone()
            && let Some(aim) = &mut self.aim
            && aim.encoding == facts.encoding
        {
            aim.spatial = 0;
        }
        let is_latest = self.see(packet, facts);
        let is_of = |mapping: Option<&Mapping>| mapping.is_some_and(|own| own.ssrc == packet.ssrc);
        if is_of(self.current.as_ref()) {
            return self.follow(now, packet, facts, draft);
        }
        if is_latest && self.may_begin(now, packet, facts, layers) {
            self.begin(packet, facts);
            return self.follow(now, packet, facts, draft);
        }
        if is_of(self.previous.as_deref()) {
            return self.finish(packet, facts, draft);
        }
        // Another source has the place of the one that went on, and its key frame was missed.
        let is_current = |current: &Mapping| current.encoding == facts.encoding;
        self.needs_key_frame |= self.current.as_ref().is_some_and(is_current);
        self.counts.left_out += 1;
        None
    }

    fn choose(&mut self, now: Instant, layers: &Layers) {
        if self.chosen == Some((self.wish, layers.version)) {
            return;
        }
        self.chosen = Some((self.wish, layers.version));
        self.aim = self.choice.choose(now, self.wish, layers, self.aim);
    }

    /// Notes the number of a packet. Whether none of its encoding behind it has come.
    fn see(&mut self, packet: &Packet, facts: &Facts) -> bool {
        let Some(seen) = self.seen.get_mut(usize::from(facts.encoding)) else {
            return false;
        };
        let is_latest = seen.is_none_or(|(ssrc, newest)| ssrc != packet.ssrc || packet.sequence > newest);
        if is_latest {
            *seen = Some((packet.ssrc, packet.sequence));
        }
        is_latest
    }

    /// Whether another source may take over with this packet: of the encoding that is wanted, at a key frame. Who has
    /// nothing yet begins with a smaller one too.
    fn may_begin(&mut self, now: Instant, packet: &Packet, facts: &Facts, layers: &Layers) -> bool {
        let Some(aim) = self.aim else { return false };
        let is_aim = facts.encoding == aim.encoding;
        if packet.payload.is_empty() {
            return false;
        }
        if self.current.is_none() {
            let waits = *self.waits.get_or_insert(now);
            let place = |encoding: u8| {
                let mut levels = layers.levels().iter();
                levels.position(|level| level.encoding == encoding)
            };
            let is_smaller = place(facts.encoding) < place(aim.encoding);
            let anywhere = is_aim && facts.is_plain() && facts.start;
            return facts.key_frame && (is_aim || is_smaller)
                || anywhere && now.saturating_duration_since(waits) >= BEGIN_ANYWHERE;
        }
        is_aim && facts.key_frame
    }

    /// The source of this packet takes over.
    fn begin(&mut self, packet: &Packet, facts: &Facts) {
        let Some(aim) = self.aim else { return };
        let timestamp = self.timeline.begin(packet);
        if let Some(current) = &self.current {
            current.end(&mut self.newest, self.within);
        }
        let mapping = Mapping::new(packet, facts, aim, timestamp, &self.newest);
        self.previous = self.current.replace(mapping).map(Box::new);
        self.counts.switches += u64::from(self.previous.is_some());
        self.waits = None;
        self.needs_key_frame = false;
    }

    /// A packet of the source that goes on.
    fn follow(&mut self, now: Instant, packet: &Packet, facts: &Facts, draft: &mut Draft) -> Option<()> {
        let current = self.current.as_mut()?;
        let mut place = current.sequence.place(packet.sequence);
        let ahead = packet.sequence.wrapping_sub(current.sequence.newest());
        if place == Place::New && ahead > MAX_GAP {
            current.sequence.jump(packet.sequence);
            place = current.sequence.place(packet.sequence);
        }
        if place == Place::Gone {
            self.counts.late += 1;
            return None;
        }
        let is_new = place == Place::New;
        // Another encoding is waited for: this one stays as it is until then.
        let here = Layer {
            encoding: current.encoding,
            spatial: current.spatial,
            temporal: current.temporal,
        };
        let aim = self.aim.filter(|aim| aim.encoding == current.encoding).unwrap_or(here);
        let goes_on = !matches!(facts.body, Body::Padding) && current.decide(packet, facts, aim, is_new);
        let there = (current.spatial, current.temporal);
        self.counts.switches += u64::from((here.spatial, here.temporal) != there);
        if facts.key_frame {
            self.needs_key_frame = false;
        }
        if aim.spatial == current.spatial {
            self.waits = None;
        } else {
            self.waits.get_or_insert(now);
        }
        match (goes_on, is_new) {
            (true, _) => {
                let descriptor = self.config.descriptors.go_on(facts);
                let timestamp = current.write(packet, facts, descriptor, &mut self.newest, draft)?;
                self.timeline.passed(timestamp, packet);
                if is_new {
                    self.within = !draft.packet().marker;
                }
                self.counts.forwarded += 1;
                Some(())
            }
            (false, true) => {
                current.leave_out(packet, facts);
                self.counts.left_out += 1;
                None
            }
            (false, false) => {
                self.counts.filled += 1;
                current.fill(packet, draft)
            }
        }
    }

    /// A packet of the source before: only what was missed of it has a place.
    fn finish(&mut self, packet: &Packet, facts: &Facts, draft: &mut Draft) -> Option<()> {
        let previous = self.previous.as_mut()?;
        if previous.sequence.place(packet.sequence) != Place::Late {
            self.counts.left_out += 1;
            return None;
        }
        let here = Layer {
            encoding: previous.encoding,
            spatial: previous.spatial,
            temporal: previous.temporal,
        };
        let goes_on = !matches!(facts.body, Body::Padding) && previous.decide(packet, facts, here, false);
        if goes_on {
            let mut unchanged = self.newest;
            let descriptor = self.config.descriptors.go_on(facts);
            previous.write(packet, facts, descriptor, &mut unchanged, draft)?;
            self.counts.forwarded += 1;
            return Some(());
        }
        self.counts.filled += 1;
        previous.fill(packet, draft)
    }

    /// Nothing is shown to it for a while. What goes on to it afterwards begins with a key frame, under numbers that go on
    /// as if nothing had been missed.
    pub fn interrupt(&mut self) {
        if let Some(current) = self.current.take() {
            current.end(&mut self.newest, self.within);
        }
        // What is late of it afterwards has no place any more.
        self.previous = None;
        self.waits = None;
        self.asked = None;
        self.needs_key_frame = false;
    }

    /// Chooses among these layers without a packet, so that [`Self::poll_key_frame`] knows of another wish at once.
    pub fn look(&mut self, now: Instant, layers: &Layers) {
        self.choose(now, layers);
    }

    /// The consumer has lost what it needs (it sent PLI or FIR): only a key frame helps.
    pub fn need_key_frame(&mut self) {
        self.needs_key_frame = true;
    }

    /// The encoding that a key frame is wanted of ([`Producer::want_key_frame`](crate::Producer::want_key_frame)): to
    /// begin, to switch to, or because one is [needed](Self::need_key_frame). While none comes it is told again each
    /// half second.
    pub fn poll_key_frame(&mut self, now: Instant) -> Option<u8> {
        let encoding = self.wanted(now)?;
        if let Some((asked, at)) = self.asked
            && asked == encoding
            && now.saturating_duration_since(at) < ASK_AGAIN
        {
            return None;
        }
        self.asked = Some((encoding, now));
        self.counts.key_frames_wanted += 1;
        Some(encoding)
    }

    fn wanted(&self, now: Instant) -> Option<u8> {
        let aim = self.aim?;
        let Some(current) = &self.current else {
            return Some(aim.encoding);
        };
        if current.encoding != aim.encoding {
            return Some(aim.encoding);
        }
        let is_up = aim.spatial > current.spatial;
        let is_long = |waits: Instant| now.saturating_duration_since(waits) >= KEY_FRAME_AFTER;
        let waits = aim.spatial != current.spatial && (is_up || self.waits.is_some_and(is_long));
        (waits || self.needs_key_frame).then_some(current.encoding)
    }

    /// When [`Self::poll_key_frame`] may have something again, if nothing else happens.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let (_, asked) = self.asked?;
        let aim = self.aim?;
        let has = self.current.as_ref().is_some_and(|current| {
            current.encoding == aim.encoding && current.spatial == aim.spatial && !self.needs_key_frame
        });
        (!has).then(|| asked + ASK_AGAIN)
    }
}
