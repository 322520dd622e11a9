//! Figures of a running server.

use antiphon_turn::ServerCounters;

/// What a running server says about itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TurnServerStats {
    /// Allocations that exist.
    pub allocations: usize,
    /// Open TCP and TLS connections of clients.
    pub connections: usize,
    /// Connections refused because there were too many.
    pub refused_connections: u64,
    /// Datagrams and stream messages that the system or a full queue did not take.
    pub unsent: u64,
    /// What the machine did and refused.
    pub counters: ServerCounters,
}
