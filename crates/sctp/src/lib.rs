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
mod tsn;
mod tx;

pub use association::Association;
pub use config::{Config, INITIAL_WINDOW, MIN_PACKET};
pub use error::{Error, SendError};
pub use event::{Ending, Event, Message, Outgoing, SendOptions, State, Stats};
pub use tx::congestion::{Ack, Bbr, Congestion, CongestionControl, Cubic, Loss, NewReno, RateSample};
pub use tx::schedule::Scheduler;
