#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

pub mod allotment;
mod choice;
mod consumer;
mod draft;
mod facts;
mod frames;
mod layer;
mod mapping;
mod meter;
mod payload_types;
mod producer;
mod renumbering;
mod rewriting;
pub mod router;
pub mod score;
pub mod speakers;
mod timeline;

pub use consumer::{Consumer, ConsumerConfig, Counts, Descriptors};
pub use facts::Facts;
pub use layer::{Layer, Layers, Level, MAX_ENCODINGS, MAX_SPATIAL, MAX_TEMPORAL, Wish};
pub use payload_types::{PayloadTypes, is_beside};
pub use producer::{Dropped, Producer};
pub use router::Router;
