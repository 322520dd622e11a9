#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod association;
pub mod chunk;
mod config;
mod error;
mod event;
pub mod inspect;
pub mod packet;
mod rx;
mod tx;

pub use association::Association;
pub use config::{Config, MIN_PACKET};
pub use error::{Error, SendError};
pub use event::{Event, Message, SendOptions, State, Stats};
pub use tx::congestion::{Ack, CongestionControl, NewReno};
