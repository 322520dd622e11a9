//! Header extensions: which identifier means what ([`Map`]), and their values.
//!
//! What is read or written with most packets has a field of [`Values`]. All others that are known stand in
//! [`Values::others`] as they came, at no cost to a packet that has none; each has a type here that reads and writes it
//! ([`Extension`]).

mod audio;
mod carried;
mod color_space;
mod corruption;
mod elements;
mod frame_descriptor;
mod frame_marking;
mod kind;
mod layers;
mod map;
mod others;
mod timing;
mod typed;
mod values;
mod video;

pub mod dependency;

pub use audio::{AudioLevel, InbandComfortNoise};
pub use carried::Carried;
pub use color_space::{Chromaticity, ColorSpace, HdrMetadata};
pub use corruption::CorruptionDetection;
pub use elements::Elements;
pub use frame_descriptor::{FrameDescription, GenericFrameDescriptor, SubframeFlags};
pub use frame_marking::{FrameLayer, FrameMarking};
pub use kind::Kind;
pub use layers::{Layer, Resolution, VideoLayersAllocation};
pub use map::Map;
pub use others::{Others, OwnedOthers, is_well_formed};
pub use timing::{AbsCaptureTime, FeedbackRequest, NtpTimestamp, PlayoutDelay, VideoTiming};
pub use typed::Extension;
pub use values::Values;
pub use video::{FrameTrackingId, VideoContentType, VideoOrientation};
