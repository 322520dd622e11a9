#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod error;
mod header;
mod profile;
mod receiver;
mod replay;
mod sender;
mod streams;
#[cfg(test)]
mod tests;
mod transform;

pub use error::Error;
pub use profile::Profile;
pub use receiver::{Receiver, Stats};
pub use replay::{DEFAULT_REPLAY_WINDOW, MAX_REPLAY_WINDOW, MIN_REPLAY_WINDOW};
pub use sender::{MAX_REPEAT_AGE, Sender};
pub use streams::MAX_SSRCS;
