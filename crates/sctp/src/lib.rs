#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod association;
mod config;
mod error;
mod event;

pub use association::Association;
pub use config::{Config, MIN_PACKET};
pub use error::{Error, SendError};
pub use event::{Event, Message, SendOptions, State, Stats};
