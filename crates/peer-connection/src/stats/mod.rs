//! `getStats` and the dictionaries of webrtc-stats.
#![doc = include_str!("members.md")]

#[macro_use]
mod member;
mod collect;
mod dictionaries;
pub(crate) mod playout;
mod report;
mod reports;
mod rtp;
mod streams;

pub use dictionaries::*;
pub use member::StatValue;
pub use playout::AudioPlayoutFigures;
pub use report::*;
pub use rtp::*;
