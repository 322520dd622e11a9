#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod annex_b;
mod codec;
mod error;
mod format;
mod input;
mod ivf;
mod mp4;
mod obu;
mod ogg;
mod reader;
pub mod rtpdump;
mod shift;
mod track;
mod webm;
mod writer;

pub use error::{ReadError, WriteError};
pub use format::Format;
pub use reader::Reader;
pub use track::{Codec, Media, Rotation, Sample, Track};
pub use writer::Writer;

/// Most tracks of one file, those included that are of no use here.
pub const MAX_TRACKS: usize = 64;
/// Largest sample, in bytes: a picture, or a packet of sound.
pub const MAX_SAMPLE_BYTES: usize = 32 << 20;
/// Largest configuration of a codec, in bytes.
pub const MAX_CONFIGURATION_BYTES: usize = 256 << 10;
