//! What became of the packets, in numbers.

/// What became of the packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Handed to the network.
    pub sent: u64,
    /// Handed to a host; duplicates count again.
    pub delivered: u64,
    /// Lost by a link's dice.
    pub lost: u64,
    /// Refused by a full queue.
    pub queue_dropped: u64,
    /// Larger than the MTU.
    pub too_big: u64,
    /// Arrived twice.
    pub duplicated: u64,
    /// Held back while others passed.
    pub reordered: u64,
    /// Arrived with flipped bits.
    pub corrupted: u64,
    /// For an address that nobody has, or dropped by a node.
    pub unroutable: u64,
}
