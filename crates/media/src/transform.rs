//! The hook of encoded transforms (W3C webrtc-encoded-transform): an application sees each whole frame, and may change its bytes,
//! between encoder and packetizer, and between depacketizer and whoever decodes.

use std::fmt;

use bytes::Bytes;

use crate::event::Frame;

/// What an application does with whole frames on their way: it encrypts them end to end, for instance. It is called where the frame
/// is taken in, within the call that brings it, so it should be quick.
///
/// What it does to the bytes is its own matter. Payload type, timestamp, key frame and all else that is known of the frame stay those
/// of before, so VP8, VP9 and sound may become bytes that nobody can read on the way, though a receiver tells a key frame of VP8 by its first byte, and
/// nothing more can be told of what is hidden. H.264, H.265 and AV1 are cut at their units, which therefore must stay units: only
/// what is in them may be changed, and no start code may come of it.
pub trait FrameTransform: Send {
    /// Looks at a frame, and says what is to become of it.
    fn transform(&mut self, frame: &Frame) -> Transformed;

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
pub(crate) struct Transforms<Id>(Vec<(Id, Box<dyn FrameTransform>)>);

impl<Id> Default for Transforms<Id> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<Id: fmt::Debug> fmt::Debug for Transforms<Id> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(id, _)| id)).finish()
    }
}

impl<Id: Copy + PartialEq> Transforms<Id> {
    /// Sets, changes or takes away the one of `id`.
    pub(crate) fn set(&mut self, id: Id, transform: Option<Box<dyn FrameTransform>>) {
        self.0.retain(|(other, _)| *other != id);
        self.0.extend(transform.map(|transform| (id, transform)));
    }

    /// Whether `id` has one.
    #[inline]
    pub(crate) fn has(&self, id: Id) -> bool {
        self.0.iter().any(|(other, _)| *other == id)
    }

    /// Lets the one of `id` do its work: whether the frame goes on, and whether a key frame is wanted.
    pub(crate) fn apply(&mut self, id: Id, frame: &mut Frame) -> (bool, bool) {
        let Some((_, transform)) = self.0.iter_mut().find(|(other, _)| *other == id) else {
            return (true, false);
        };
        let goes_on = match transform.transform(frame) {
            Transformed::Unchanged => true,
            Transformed::Changed(data) => {
                frame.data = data;
                true
            }
            Transformed::Dropped => false,
        };
        (goes_on, transform.wants_key_frame())
    }
}
