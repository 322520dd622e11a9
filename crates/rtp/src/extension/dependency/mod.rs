//! The dependency descriptor of the AV1 RTP specification, Appendix A: what a frame depends on and who needs it, readable for
//! a forwarder that does not see the payload. Other codecs use it as well.
//!
//! Most packets have three bytes, which name a template of a structure that came with the last key frame. A [`Stream`] keeps
//! that structure and reads the packets of one RTP stream; a [`Rewriter`] writes them for one receiver.
//!
//! ```text
//! |S|E|template id|         frame number          |   always
//! |T|A|D|F|C|                                         structure, active targets, own dtis, fdiffs, chains follow
//! ```

mod bits;
mod descriptor;
mod rewrite;
mod structure;

pub use descriptor::{DependencyDescriptor, DescriptorError, Frame, FrameStart};
pub use rewrite::{Rewriter, Stream};
pub use structure::{Chains, Differences, Indication, Indications, Resolution, Structure, Template};
