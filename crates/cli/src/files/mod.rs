//! Containers for what was received: IVF for VP8, Ogg for Opus.

mod ivf;
mod ogg_opus;

pub use ivf::IvfWriter;
pub use ogg_opus::OggOpusWriter;
