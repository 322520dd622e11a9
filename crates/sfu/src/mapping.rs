//! One source as one consumer gets it: what of it goes on, and under which numbers.

use antiphon_media::Packet;
use antiphon_media::extension::Kind;
use antiphon_media::extension::dependency::{Indication, Rewriter, Structure};
use antiphon_sansio::Writer;

use crate::draft::Draft;
use crate::facts::{Body, Dependency, Facts, Vp9};
use crate::frames::{Frames, Verdict};
use crate::layer::Layer;
use crate::renumbering::{Place, Renumbering};
use crate::rewriting::Shifts;

/// Picture ids that jump further than this have begun anew.
const MAX_PICTURE_GAP: u64 = 100;
/// Most bytes of a dependency descriptor that are written: an element of a header has no more.
const MAX_DESCRIPTOR: usize = 255;

/// The newest numbers that a consumer was given, for the next source to go on from.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Newest {
    pub(crate) sequence: Option<u64>,
    picture: Option<u64>,
    base_picture: Option<u8>,
    key_picture: Option<u8>,
    /// The frame of the dependency descriptor.
    frame: Option<u16>,
}

/// One source as one consumer gets it.
#[derive(Clone, Debug)]
pub(crate) struct Mapping {
    pub(crate) encoding: u8,
    pub(crate) ssrc: u32,
    pub(crate) sequence: Renumbering,
    /// What is added to timestamps.
    timestamp: u32,
    /// Picture ids, of a format that has them.
    pictures: Option<Renumbering>,
    shifts: Shifts,
    /// The highest spatial and temporal layer that go on.
    pub(crate) spatial: u8,
    pub(crate) temporal: u8,
    /// The decode target that goes on, if there are descriptors, and the targets that the sender had when it was
    /// chosen.
    target: Option<usize>,
    active: u32,
    rewriter: Rewriter,
    /// The spatial layers of which the consumer has all since the last key frame, one bit each; and those of this
    /// picture.
    intact: u8,
    present: u8,
    frames: Frames,
}

fn bit(spatial: u8) -> u8 {
    1 << spatial.min(7)
}

impl Mapping {
    /// A source that begins with this packet, at these layers.
    pub(crate) fn new(packet: &Packet, facts: &Facts, at: Layer, timestamp: u32, newest: &Newest) -> Self {
        let next = |newest: u8, first: u8| newest.wrapping_add(1).wrapping_sub(first);
        let shifts = Shifts {
            base_picture: newest
                .base_picture
                .zip(facts.body.base_picture())
                .map_or(0, |(newest, first)| next(newest, first)),
            key_picture: newest
                .key_picture
                .zip(facts.body.key_picture())
                .map_or(0, |(newest, first)| next(newest, first)),
        };
        let pictures = facts.body.picture_id().map(|(id, _)| {
            let ours = newest.picture.map_or(u64::from(id), |newest| newest.wrapping_add(1));
            Renumbering::new(id.into(), ours)
        });
        let mut rewriter = Rewriter::default();
        if let (Some(newest), Some(dependency)) = (newest.frame, &facts.dependency) {
            rewriter.shift(newest.wrapping_add(1).wrapping_sub(dependency.frame.number));
        }
        Self {
            encoding: facts.encoding,
            ssrc: packet.ssrc,
            sequence: Renumbering::new(
                packet.sequence,
                newest.sequence.map_or(packet.sequence, |newest| newest.wrapping_add(1)),
            ),
            timestamp,
            pictures,
            shifts,
            spatial: at.spatial,
            temporal: at.temporal,
            target: None,
            active: 0,
            rewriter,
            intact: 0,
            present: 0,
            frames: Frames::default(),
        }
    }

    /// Another source takes over: its numbers begin behind those that are kept here for packets that were missed. If this ends `within`
    /// a picture, one number more is left free: without that hole a receiver could take what it has of the picture for all of it.
    pub(crate) fn end(&self, newest: &mut Newest, within: bool) {
        let later = |known: Option<u64>, kept: u64| match known {
            Some(known) if (kept.wrapping_sub(known) as i64) <= 0 => Some(known),
            _ => Some(kept),
        };
        newest.sequence = later(newest.sequence, self.sequence.newest_ours().wrapping_add(within.into()));
        if let Some(pictures) = &self.pictures {
            newest.picture = later(newest.picture, pictures.newest_ours());
        }
    }

    /// Whether a packet goes on. One that is new may be where the consumer changes to the layers `aim`.
    pub(crate) fn decide(&mut self, packet: &Packet, facts: &Facts, aim: Layer, is_new: bool) -> bool {
        match (&facts.dependency, facts.body) {
            (Some(dependency), _) => self.by_descriptor(facts, dependency, aim, is_new),
            (None, Body::Vp9(vp9)) => self.by_picture(packet, facts, vp9, aim, is_new),
            (None, Body::Vp8(descriptor, _)) => {
                let depends_on_base = descriptor.temporal_layer.is_some_and(|(_, sync)| sync);
                self.by_temporal_layer(packet, facts, depends_on_base, aim, is_new)
            }
            (None, Body::Plain | Body::Padding) => true,
        }
    }

    /// AV1 RTP specification, Appendix A: a frame goes on that is part of the decode target, and another target begins
    /// at a frame that says so, if the consumer has what that frame needs.
    fn by_descriptor(&mut self, facts: &Facts, dependency: &Dependency, aim: Layer, is_new: bool) -> bool {
        let frame = &dependency.frame;
        let key = u32::from(frame.number);
        if let Some(verdict) = self.frames.find_for(key, is_new && facts.start) {
            return verdict.goes_on;
        }
        let Some(structure) = dependency.stream.structure() else {
            return false;
        };
        if is_new && facts.start {
            let begins = dependency.descriptor.structure.is_some();
            let active = dependency.stream.active_targets();
            let differs = (aim.spatial, aim.temporal) != (self.spatial, self.temporal);
            if begins {
                self.frames.clear();
            }
            if begins || differs || active != self.active || self.target.is_none() {
                let target = target_of(structure, active, aim);
                let has = |number: u16| self.frames.went_on(u32::from(number));
                let chain = structure.protected_by(target).map_or(0, usize::from);
                // §A.8.3: with a switch indication all that follows can be decoded if this frame can.
                let switches = frame.indications.get(target) == Indication::Switch
                    && frame.depends_on().all(has)
                    && frame.chain_before(chain).is_none_or(has);
                if begins || switches || self.target == Some(target) {
                    (self.spatial, self.temporal, self.active) = (aim.spatial, aim.temporal, active);
                    self.target = Some(target);
                    let (spatial, temporal) = structure.layers(target);
                    self.rewriter.select(structure.targets_within(spatial, temporal));
                }
            }
        }
        let goes_on = self
            .target
            .is_some_and(|target| frame.indications.get(target) != Indication::NotPresent);
        let spatial = self.target.map_or(0, |target| structure.layers(target).0);
        self.frames.push(Verdict { key, goes_on, spatial });
        goes_on
    }

    /// RFC 9628: by the layer of each frame, and by what the layers of a picture need of each other.
    fn by_picture(&mut self, packet: &Packet, facts: &Facts, vp9: Vp9, aim: Layer, is_new: bool) -> bool {
        let key = packet.timestamp;
        let known = self.frames.find_for(key, is_new && facts.start);
        let verdict = known.unwrap_or_else(|| {
            if is_new {
                self.begin_picture(facts, vp9.switching_point, aim);
                self.present = 0;
            }
            let verdict = Verdict {
                key,
                goes_on: facts.temporal <= self.temporal,
                spatial: self.spatial,
            };
            self.frames.push(verdict);
            verdict
        });
        let is_needed = facts.spatial == verdict.spatial || facts.spatial < verdict.spatial && !vp9.not_referred;
        let goes_on = verdict.goes_on && is_needed;
        if is_new && facts.start && facts.temporal <= self.temporal {
            let own = bit(facts.spatial);
            let can_decode = (!vp9.predicted || self.intact & own != 0)
                && (!vp9.depends || facts.spatial == 0 || self.present & own >> 1 != 0);
            if goes_on && can_decode {
                self.intact |= own;
                self.present |= own;
            } else {
                self.intact &= !own;
            }
        }
        goes_on
    }

    /// RFC 7741: temporal layers alone.
    fn by_temporal_layer(&mut self, packet: &Packet, facts: &Facts, sync: bool, aim: Layer, is_new: bool) -> bool {
        let key = packet.timestamp;
        if let Some(verdict) = self.frames.find_for(key, is_new && facts.start) {
            return verdict.goes_on;
        }
        if is_new {
            self.begin_picture(facts, sync, aim);
        }
        let goes_on = facts.temporal <= self.temporal;
        self.frames.push(Verdict {
            key,
            goes_on,
            spatial: self.spatial,
        });
        goes_on
    }

    /// A picture is where layers change: all of them at a key frame, to fewer temporal layers at any, to more where the
    /// picture says so, and to a lower spatial layer where the consumer has all of that.
    fn begin_picture(&mut self, facts: &Facts, switching_point: bool, aim: Layer) {
        if facts.key_frame {
            (self.spatial, self.temporal, self.intact) = (aim.spatial, aim.temporal, 0);
            return;
        }
        if aim.spatial < self.spatial && self.intact & bit(aim.spatial) != 0 {
            self.spatial = aim.spatial;
        }
        let goes_up = switching_point && facts.temporal > self.temporal && facts.temporal <= aim.temporal;
        if aim.temporal < self.temporal {
            self.temporal = aim.temporal;
        } else if goes_up {
            self.temporal = facts.temporal;
        }
    }

    /// A new packet does not go on.
    pub(crate) fn leave_out(&mut self, packet: &Packet, facts: &Facts) {
        self.sequence.leave_out(packet.sequence);
        // Receivers of VP8 wait for a picture whose number is missing; those of VP9 know the layers.
        if let (Body::Vp8(..), Some(number)) = (facts.body, self.picture(facts, true))
            && let Some(pictures) = &mut self.pictures
        {
            pictures.leave_out(number);
        }
    }

    /// The picture id of a packet, extended.
    fn picture(&mut self, facts: &Facts, is_new: bool) -> Option<u64> {
        let (id, bits) = facts.body.picture_id()?;
        let pictures = self
            .pictures
            .get_or_insert_with(|| Renumbering::new(id.into(), id.into()));
        let range = 1u64 << bits;
        let ahead = u64::from(id).wrapping_sub(pictures.newest()) & (range - 1);
        let ahead = if ahead > range / 2 {
            ahead.wrapping_sub(range)
        } else {
            ahead
        };
        let number = pictures.newest().wrapping_add(ahead);
        // The source counts anew: a new picture is not before the newest.
        let is_behind = (ahead as i64) < 0 && facts.start;
        if is_new && (is_behind || (ahead as i64) > MAX_PICTURE_GAP as i64) {
            pictures.jump(number);
        }
        Some(number)
    }

    /// An empty packet in the place of one that was missed and is not wanted: the consumer shall not ask for it.
    pub(crate) fn fill(&mut self, packet: &Packet, draft: &mut Draft) -> Option<()> {
        let sequence = self.sequence.pass(packet.sequence)?;
        let written = draft.empty();
        written.ssrc = 0;
        written.rid = None;
        written.sequence = sequence;
        written.timestamp = packet.timestamp.wrapping_add(self.timestamp);
        written.marker = false;
        written.front = None;
        written.key_frame = false;
        Some(())
    }

    /// A packet that goes on, as the consumer gets it: its timestamp there.
    pub(crate) fn write(
        &mut self,
        packet: &Packet,
        facts: &Facts,
        descriptor: bool,
        newest: &mut Newest,
        draft: &mut Draft,
    ) -> Option<u32> {
        let is_new = self.sequence.place(packet.sequence) == Place::New;
        let picture = match self.picture(facts, is_new) {
            Some(number) => Some(self.pictures.as_mut()?.pass(number)?),
            None => None,
        };
        let sequence = self.sequence.pass(packet.sequence)?;
        let written = draft.whole(packet, facts.dependency.is_some());
        // One for all sources: it is one stream now.
        written.ssrc = 0;
        written.rid = None;
        written.sequence = sequence;
        written.timestamp = packet.timestamp.wrapping_add(self.timestamp);
        written.front = facts.body.front(picture, self.shifts);
        // The picture of a consumer ends with its highest layer.
        let is_layered = facts.dependency.is_some() || matches!(facts.body, Body::Vp9(_));
        written.marker = packet.marker || is_layered && facts.end && facts.spatial == self.top(packet, facts);
        written.key_frame = packet.key_frame;
        let timestamp = written.timestamp;
        if let Some(dependency) = &facts.dependency {
            self.write_descriptor(dependency, descriptor, written, newest);
        }
        if is_new {
            newest.sequence = Some(sequence);
            newest.picture = picture.or(newest.picture);
            let base = facts.body.base_picture();
            newest.base_picture = base
                .map(|index| index.wrapping_add(self.shifts.base_picture))
                .or(newest.base_picture);
            let key = facts.body.key_picture();
            newest.key_picture = key
                .map(|index| index.wrapping_add(self.shifts.key_picture) & 0x1f)
                .or(newest.key_picture);
        }
        Some(timestamp)
    }

    /// The highest spatial layer of the packet's picture that goes on.
    fn top(&self, packet: &Packet, facts: &Facts) -> u8 {
        let key = match &facts.dependency {
            Some(dependency) => u32::from(dependency.frame.number),
            None => packet.timestamp,
        };
        self.frames.find(key).map_or(self.spatial, |verdict| verdict.spatial)
    }

    /// The descriptor under the numbers of the consumer, or none.
    fn write_descriptor(&mut self, dependency: &Dependency, wanted: bool, written: &mut Packet, newest: &mut Newest) {
        let others = &mut written.extensions.others;
        if !wanted {
            others.remove(Kind::DependencyDescriptor);
            return;
        }
        let mut bytes = [0; MAX_DESCRIPTOR];
        let mut out = Writer::new(&mut bytes);
        let rewritten = self
            .rewriter
            .rewrite(&dependency.descriptor, &dependency.stream, &mut out);
        if rewritten.is_err() {
            others.remove(Kind::DependencyDescriptor);
            return;
        }
        let bytes = out.finish();
        if let Some(&[_, high, low]) = bytes.first_chunk::<3>() {
            let number = u16::from_be_bytes([high, low]);
            if newest.frame.is_none_or(|newest| number.wrapping_sub(newest) < 0x8000) {
                newest.frame = Some(number);
            }
        }
        others.set(Kind::DependencyDescriptor, bytes);
    }
}

/// The decode target that has the most of these layers, one that the sender has now if it can be; else the lowest.
fn target_of(structure: &Structure, active: u32, aim: Layer) -> usize {
    let all = 0..usize::from(structure.target_count());
    let best = all
        .filter_map(|target| {
            let layers = structure.layers(target);
            let within = layers.0 <= aim.spatial && layers.1 <= aim.temporal;
            within.then_some((active >> target & 1, layers, target))
        })
        .max_by_key(|(is_active, layers, target)| (*is_active, *layers, std::cmp::Reverse(*target)));
    let lowest = || (0..usize::from(structure.target_count())).min_by_key(|target| structure.layers(*target));
    best.map(|(_, _, target)| target).or_else(lowest).unwrap_or(0)
}
