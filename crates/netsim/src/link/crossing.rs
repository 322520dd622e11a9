//! What became of each packet at a link, for tests that measure one.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use antiphon_sansio::Ecn;

/// What became of one packet at a link that is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Crossing {
    /// When its last bit left the queue, or when it was dropped.
    pub at: Instant,
    /// How long it waited before its first bit left.
    pub waited: Duration,
    /// Its size in bytes, IP headers included.
    pub bytes: usize,
    /// Where it says it comes from: whose it is.
    pub source: SocketAddr,
    /// Its mark behind the queue.
    pub ecn: Ecn,
    /// What happened to it.
    pub fate: Fate,
}

/// What a link does with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It goes on to the other end.
    Carried,
    /// It left the queue, but the dice lost it.
    Lost,
    /// The queue had no room, or dropped it to keep short.
    Dropped,
}
