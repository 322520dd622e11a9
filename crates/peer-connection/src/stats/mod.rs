//! `getStats` and the dictionaries of webrtc-stats.

#[macro_use]
mod member;
mod collect;
mod dictionaries;

pub use dictionaries::*;
pub use member::StatValue;
