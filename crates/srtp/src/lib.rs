#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod context;
mod cryptex;
mod elements;
mod error;
mod profile;
mod receiver;
mod sender;
#[cfg(test)]
mod tests;

pub use context::{DEFAULT_REPLAY_WINDOW, DEFAULT_RTCP_REPLAY_WINDOW, MAX_REPLAY_WINDOW, MAX_SSRCS, MIN_REPLAY_WINDOW};
pub use cryptex::Cryptex;
pub use elements::ExtensionKey;
pub use error::Error;
pub use profile::Profile;
pub use receiver::{Receiver, Stats};
pub use sender::{MAX_REPEAT_AGE, MAX_RTCP_PACKETS, MAX_RTP_PACKETS, Sender};
