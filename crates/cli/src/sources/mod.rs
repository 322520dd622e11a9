//! What the server plays: a moving picture and music, drawn, composed and encoded while somebody watches.
//!
//! A [`Studio`] encodes once for all who watch. Video comes in a few sizes ("rungs"), of which each watcher takes the one that its
//! path carries ([`rung_for`]); audio comes as Opus and as PCMU. Nobody watching, nothing encoded.

mod font;
pub mod music;
pub mod pattern;
pub mod pcmu;
mod studio;
pub mod vp8;

pub use studio::{AudioCodec, RUNGS, Rung, Studio, rung_for};

use bytes::Bytes;

/// One encoded frame of video or packet of audio.
#[derive(Clone, Debug)]
pub struct Sample {
    /// Media clock: 90 kHz for video, 48 kHz for Opus, 8 kHz for PCMU. All clocks of a studio start together.
    pub timestamp: u32,
    /// The payload, not yet packetised.
    pub data: Bytes,
}
