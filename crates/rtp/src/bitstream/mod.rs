//! What the bytes of a codec say of themselves, whatever carries them: parameter sets, headers of pictures and sequences, sizes. Payload
//! formats ask here, and so do readers and writers of files.

mod bits;
mod resolution;

pub mod av1;
pub mod h264;
pub mod h265;
pub mod vp8;
pub mod vp9;

pub(crate) use bits::Bits;
pub use resolution::Resolution;
pub(crate) use resolution::cropped;
