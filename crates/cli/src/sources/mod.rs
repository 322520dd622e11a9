//! What the server plays: a moving picture and music, drawn, composed and encoded while somebody watches.
//!
//! A [`Studio`] encodes once for all who watch. Video comes in a few sizes ("rungs"), of which each watcher takes the one that its
//! path carries ([`VideoCodec::rung_for`]); audio comes as Opus and as PCMU. Nobody watching, nothing encoded.

mod font;
#[cfg(feature = "h264")]
pub mod h264;
pub mod music;
pub mod pattern;
pub mod pcmu;
mod rungs;
pub mod sizes;
mod studio;
pub mod vp8;

pub use rungs::{Rung, VideoCodec};
pub use studio::{AudioCodec, Studio};

use bytes::Bytes;

/// One encoded frame of video or packet of audio.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Media clock: 90 kHz for video, 48 kHz for Opus, 8 kHz for PCMU. All clocks of a studio start together.
    pub timestamp: u32,
    /// The payload, not yet packetised.
    pub data: Bytes,
    /// Whether it can be decoded without the frames before: every frame of VP8 and packet of audio can.
    pub key_frame: bool,
}

/// An encoder refused a frame, or its output was not understood.
#[derive(Debug, thiserror::Error)]
#[error("cannot encode a frame: {0}")]
pub struct EncodeError(String);
