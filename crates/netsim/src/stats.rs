//! What became of the packets, in numbers.

/// What became of the packets.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Packets that were handed to the network or link.
    pub sent: u64,
    /// Packets that were handed to a host or an end; duplicates count again.
    pub delivered: u64,
    /// Lost by a link's dice.
    pub lost: u64,
    /// Refused by a full queue.
    pub queue_dropped: u64,
    /// Larger than the MTU.
    pub too_big: u64,
    /// Extra copies that a link made.
    pub duplicated: u64,
    /// Held back while others passed.
    pub reordered: u64,
    /// Arrived with flipped bits.
    pub corrupted: u64,
    /// For an address that nobody has, or dropped by a node.
    pub unroutable: u64,
}
