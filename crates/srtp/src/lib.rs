#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod cryptex;
mod elements;
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

pub use cryptex::Cryptex;
pub use elements::ExtensionKey;
pub use error::Error;
pub use profile::Profile;
pub use receiver::{Receiver, Stats};
pub use replay::{DEFAULT_REPLAY_WINDOW, DEFAULT_RTCP_REPLAY_WINDOW, MAX_REPLAY_WINDOW, MIN_REPLAY_WINDOW};
pub use sender::{MAX_REPEAT_AGE, MAX_RTCP_PACKETS, MAX_RTP_PACKETS, Sender};
pub use streams::MAX_SSRCS;
