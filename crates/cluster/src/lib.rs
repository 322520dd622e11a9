#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod bus;
mod cluster;
mod config;
mod error;
mod event;
mod message;
mod names;
mod nodes;
mod peer;
mod pipe;
mod room;
mod section;
mod subject;

pub use cluster::Cluster;
pub use config::Config;
pub use error::Error;
pub use event::{Counts, Event, PipeId};
pub use message::{MAX_MESSAGE, Publish};
pub use names::{MAX_NODE_NAME, MAX_ROOM_NAME, NodeName, RoomName};
pub use nodes::MAX_NODES;
pub use peer::{
    Kind, MAX_DETAILS, MAX_ENCODINGS, MAX_NAME, MAX_PEERS, MAX_RID, MAX_SAID, MAX_TRACKS, Peer, PeerId, Track, TrackId,
};
pub use room::{MAX_ROOMS, MAX_WORDS};
pub use section::{MAX_SECTIONS, Section};
pub use subject::Subject;
