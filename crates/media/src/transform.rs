//! The hook of encoded transforms (W3C webrtc-encoded-transform): an application sees each whole frame, and may change its bytes,
//! between encoder and packetizer, and between depacketizer and whoever decodes.

use std::fmt;
use std::time::Instant;

use antiphon_rtp::bitstream::Resolution;
use antiphon_rtp::extension::Kind as Extension;
use antiphon_rtp::extension::dependency;
use bytes::Bytes;

use crate::config::{Codec, Kind};
use crate::event::{Contributors, Frame};
use crate::frame_count::linear;

/// Most streams of one receiver whose descriptors are read.
const MAX_STREAMS: usize = 16;
/// Most frames that one depends on: what a descriptor has room for in practice, and more than any known encoder uses.
const MAX_DEPENDENCIES: usize = 16;

/// What is known of a frame besides the frame itself: `RTCEncodedVideoFrameMetadata` and `RTCEncodedAudioFrameMetadata`.
#[derive(Clone, Copy, Debug, PartialEq)]
#[non_exhaustive]
pub struct FrameMetadata<'a> {
    /// Whether it is sound or a picture.
    pub kind: Kind,
    /// `synchronizationSource`: the SSRC of its stream.
    pub synchronization_source: u32,
    /// `contributingSources`: who was mixed into it.
    pub contributing_sources: &'a [u32],
    /// `payloadType`: what stands for its codec on the wire.
    pub payload_type: u8,
    /// The name of that codec, as `VP8`; [`Self::mime_type`] has it with its kind.
    pub codec: &'a str,
    /// `rtpTimestamp`: its timestamp as it is on the wire.
    pub rtp_timestamp: u32,
    /// `receiveTime`: when the last of its packets came; `None` where it is sent.
    pub receive_time: Option<Instant>,
    /// `captureTime`: when it was captured, on the clock of `now`: what the application said, or the peer's reports tell; `None` if nobody
    /// has. The peer's own clock is in `extensions.capture_time` of the frame, where it is told.
    pub capture_time: Option<Instant>,
    /// `audioLevel`: how loud it is, 0 to 1, where its packets tell it.
    pub audio_level: Option<f64>,
    /// `width` and `height`: of the picture, or of the newest key frame that told them; of the largest layer.
    pub resolution: Option<Resolution>,
    /// `spatialIndex`: the highest spatial layer in the picture; `None` of sound.
    pub spatial_index: Option<u8>,
    /// `temporalIndex`: the temporal layer; `None` of sound.
    pub temporal_index: Option<u8>,
    /// `frameId`: its number in the order of decoding, whose lower 16 bits are those of its dependency descriptor; `None` where none came.
    /// Of a picture of several spatial layers, that of the lowest.
    pub frame_id: Option<u64>,
    /// The numbers of what it depends on, as its descriptor says.
    numbers: Numbers,
}

impl FrameMetadata<'_> {
    /// `mimeType`: kind and name of the codec, as `video/VP8`.
    pub fn mime_type(&self) -> String {
        let kind = match self.kind {
            Kind::Audio => "audio",
            Kind::Video => "video",
        };
        format!("{kind}/{}", self.codec)
    }

    /// `dependencies`: the ids of the frames that it needs, as far as its descriptor says; none where none came.
    pub fn dependencies(&self) -> &[u64] {
        &self.numbers.depends_on[..self.numbers.count]
    }
}

/// What a frame depends on.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Numbers {
    depends_on: [u64; MAX_DEPENDENCIES],
    count: usize,
}

/// What a stream knows of a frame of its own.
pub(crate) struct Known<'a> {
    pub(crate) kind: Kind,
    pub(crate) ssrc: u32,
    pub(crate) codec: Option<&'a Codec>,
    /// What is added to a timestamp to make that of the wire.
    pub(crate) timestamp_offset: u32,
    pub(crate) received: Option<Instant>,
    /// Of the newest key frame that told it.
    pub(crate) resolution: Option<Resolution>,
}

/// The dependency descriptors of one stream.
#[derive(Debug)]
struct Descriptors {
    ssrc: u32,
    stream: dependency::Stream,
    newest: Option<u64>,
}

impl Descriptors {
    /// The id of the frame that the descriptor belongs to, and what it depends on.
    fn read(&mut self, data: &[u8]) -> Option<(u64, Numbers)> {
        let descriptor = self.stream.read(data).ok()?;
        let frame = self.stream.resolve(&descriptor)?;
        let id = match self.newest {
            // One cycle up, so that what is before the first has an id.
            None => 0x1_0000 + u64::from(frame.number),
            Some(newest) => newest.saturating_add_signed(i64::from(frame.number.wrapping_sub(newest as u16) as i16)),
        };
        self.newest = Some(self.newest.map_or(id, |newest| newest.max(id)));
        let mut numbers = Numbers::default();
        for (place, number) in numbers.depends_on.iter_mut().zip(frame.depends_on()) {
            *place = id.saturating_sub(u64::from((id as u16).wrapping_sub(number)));
            numbers.count += 1;
        }
        Some((id, numbers))
    }
}

/// What an application does with whole frames on their way: it encrypts them end to end, for instance. It is called where the frame
/// is taken in, within the call that brings it, so it should be quick.
///
/// What it does to the bytes is its own matter. Payload type, timestamp, key frame and all else that is known of the frame stay those
/// of before, so VP8, VP9 and sound may become bytes that nobody can read on the way, though a receiver tells a key frame of VP8 by its first byte, and
/// nothing more can be told of what is hidden. H.264, H.265 and AV1 are cut at their units, which therefore must stay units: only
/// what is in them may be changed, and no start code may come of it.
pub trait FrameTransform: Send {
    /// Looks at a frame, of which that is known, and says what is to become of it.
    fn transform(&mut self, frame: &Frame, metadata: &FrameMetadata<'_>) -> Transformed;

    /// Asked after each frame: whether nothing but a key frame helps, because a key was changed or could not be used. A sender's
    /// asks its own encoder (`generateKeyFrame`, told by [`Event::KeyFrameRequested`](crate::Event::KeyFrameRequested)), a
    /// receiver's the peer (`sendKeyFrameRequest`). Repeated requests are merged.
    fn wants_key_frame(&mut self) -> bool {
        false
    }
}

/// What becomes of a frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Transformed {
    /// It goes on as it is.
    Unchanged,
    /// It goes on with these bytes.
    Changed(Bytes),
    /// It does not go on. A sender counts it as refused.
    Dropped,
}

/// The transforms of senders or of receivers. Most have none, and pay nothing.
pub(crate) struct Transforms<Id>(Vec<Entry<Id>>);

struct Entry<Id> {
    id: Id,
    transform: Box<dyn FrameTransform>,
    descriptors: Vec<Descriptors>,
}

impl<Id> Entry<Id> {
    /// What the dependency descriptor of a frame says, if it has one.
    fn numbers(&mut self, ssrc: u32, frame: &Frame) -> Option<(u64, Numbers)> {
        let others = frame.extensions.others.borrow();
        let data = others.get(Extension::DependencyDescriptor)?;
        let at = match self.descriptors.iter().position(|own| own.ssrc == ssrc) {
            Some(at) => at,
            None => {
                if self.descriptors.len() >= MAX_STREAMS {
                    self.descriptors.remove(0);
                }
                self.descriptors.push(Descriptors {
                    ssrc,
                    stream: dependency::Stream::default(),
                    newest: None,
                });
                self.descriptors.len() - 1
            }
        };
        self.descriptors.get_mut(at)?.read(data)
    }
}

impl<Id> Default for Transforms<Id> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<Id: fmt::Debug> fmt::Debug for Transforms<Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|entry| &entry.id)).finish()
    }
}

impl<Id: Copy + PartialEq> Transforms<Id> {
    /// Sets, changes or takes away the one of `id`.
    pub(crate) fn set(&mut self, id: Id, transform: Option<Box<dyn FrameTransform>>) {
        self.0.retain(|entry| entry.id != id);
        self.0.extend(transform.map(|transform| Entry {
            id,
            transform,
            descriptors: Vec::new(),
        }));
    }

    /// Whether `id` has one.
    #[inline]
    pub(crate) fn has(&self, id: Id) -> bool {
        self.0.iter().any(|entry| entry.id == id)
    }

    /// Lets the one of `id` do its work: whether the frame goes on, and whether a key frame is wanted.
    pub(crate) fn apply(&mut self, id: Id, frame: &mut Frame, known: &Known<'_>) -> (bool, bool) {
        let Some(entry) = self.0.iter_mut().find(|entry| entry.id == id) else {
            return (true, false);
        };
        let numbers = entry.numbers(known.ssrc, frame);
        let layer = |layer: u8| (known.kind == Kind::Video).then_some(layer);
        let metadata = FrameMetadata {
            kind: known.kind,
            synchronization_source: known.ssrc,
            contributing_sources: frame.contributors.as_deref().map_or(&[], Contributors::csrcs),
            payload_type: frame.payload_type,
            codec: known.codec.map_or("", |codec| &codec.name),
            rtp_timestamp: frame.timestamp.wrapping_add(known.timestamp_offset),
            receive_time: known.received,
            capture_time: frame.captured,
            audio_level: frame.extensions.audio_level.map(linear),
            resolution: frame.facts.resolution.or(known.resolution),
            spatial_index: layer(frame.facts.spatial),
            temporal_index: layer(frame.facts.temporal),
            frame_id: numbers.map(|(id, _)| id),
            numbers: numbers.map(|(_, numbers)| numbers).unwrap_or_default(),
        };
        let transformed = entry.transform.transform(frame, &metadata);
        let goes_on = match transformed {
            Transformed::Unchanged => true,
            Transformed::Changed(data) => {
                frame.data = data;
                true
            }
            Transformed::Dropped => false,
        };
        (goes_on, entry.transform.wants_key_frame())
    }
}
