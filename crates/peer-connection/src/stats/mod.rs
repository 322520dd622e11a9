//! `getStats` and the dictionaries of webrtc-stats.

mod collect;
mod dictionaries;

pub use dictionaries::*;
