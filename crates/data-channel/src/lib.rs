#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod channel;
mod channels;
mod config;
pub mod dcep;
mod error;
mod event;
mod ids;
mod message;

pub use antiphon_sctp as sctp;
pub use antiphon_sctp::{Ending, Outgoing};
pub use channel::{ChannelId, ChannelInfo, ChannelInit, ChannelState, Priority};
pub use channels::DataChannels;
pub use config::{Config, Start};
pub use error::{OpenError, SendError};
pub use event::{Event, Stats};
pub use message::{Message, MessageKind, Piece};
