//! What the bytes of a codec say of themselves: key frames, sizes, configurations, and the forms that containers keep them in.

pub(crate) mod av1;
pub(crate) mod h264;
pub(crate) mod h265;
mod inspected;
pub(crate) mod nal;
pub(crate) mod opus;
pub(crate) mod vp9;

use antiphon_rtp::bitstream;
use bytes::Bytes;

use crate::track::{Codec, Track};
use inspected::Inspected;

/// Size and configuration, if this is a key frame that has them.
pub(crate) fn inspect(codec: &Codec, frame: &[u8]) -> Option<Inspected> {
    match codec {
        // VP8 needs no configuration.
        Codec::Vp8 => bitstream::vp8::resolution(frame).map(|size| Inspected {
            size,
            configuration: Vec::new(),
        }),
        Codec::Vp9 => vp9::inspect(frame),
        Codec::Av1 => av1::inspect(frame),
        Codec::H264 => h264::inspect(frame),
        Codec::H265 => h265::inspect(frame),
        _ => None,
    }
}

/// Whether a sample can be decoded alone, by its own bits. What is not known here can.
pub(crate) fn is_key_frame(codec: &Codec, frame: &[u8]) -> bool {
    match codec {
        Codec::Vp8 => frame.first().is_some_and(|byte| bitstream::vp8::is_key_frame(*byte)),
        Codec::Vp9 => bitstream::vp9::is_key_frame(frame),
        Codec::Av1 => bitstream::av1::is_key_frame(frame),
        Codec::H264 => nal::units(frame).any(h264::is_idr),
        Codec::H265 => nal::units(frame).any(h265::is_irap),
        _ => true,
    }
}

impl Track {
    /// The track that a key frame of `codec` begins: its size and configuration are in the frame. `None` if it is no key frame, or
    /// lacks them (H.264 and H.265 need their parameter sets in it).
    pub fn of_key_frame(codec: Codec, frame: &[u8]) -> Option<Self> {
        let found = inspect(&codec, frame)?;
        let mut track = Self::video(codec, found.size.width, found.size.height);
        track.configuration = Bytes::from(found.configuration);
        Some(track)
    }
}
