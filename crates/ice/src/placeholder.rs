//! Names for ends of TCP candidates that have no connection yet.
//!
//! The path of a TCP pair begins with a connection, and before there is one with a placeholder: a `Local::Tcp` with a
//! number that no driver uses, one for each TCP candidate.

use antiphon_sansio::Local;

/// The numbers of `Local::Tcp` from here on are the agents' own: drivers name connections by smaller ones.
pub const FIRST_RESERVED_CONNECTION: u32 = 1 << 31;

/// The port that an active candidate names (RFC 6544 §4.5).
pub(crate) const DISCARD: u16 = 9;

/// The placeholder with this number.
pub(crate) fn placeholder(number: u32) -> Local {
    Local::Tcp(FIRST_RESERVED_CONNECTION + number % FIRST_RESERVED_CONNECTION)
}

/// Whether a pair on this end has to be connected before it can be checked.
pub(crate) fn is_placeholder(local: Local) -> bool {
    matches!(local, Local::Tcp(number) if number >= FIRST_RESERVED_CONNECTION)
}
