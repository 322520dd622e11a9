//! Forward error correction: repair packets from which lost packets of a stream are computed.
//!
//! One room for each format ([`ulpfec`], [`flexfec03`], [`flexfec`]), which reads and writes the header before the parity;
//! what all have in common is the parity itself: the sum, modulo 2, of the packets that a repair packet protects. A
//! [`Recoverer`] holds a window of packets and repairs of one stream, an [`Encoder`] makes the repairs of one stream.
//!
//! Nothing here asks who sent a packet: only what SRTP has authenticated may come in.

mod encoder;
pub mod flexfec;
pub mod flexfec03;
mod format;
mod hop;
mod parity;
mod recoverer;
mod repair;
pub mod ulpfec;

pub use encoder::{Encoder, MAX_GROUP, Plan};
pub use format::Format;
pub use recoverer::{MAX_PACKET, MAX_REPAIRS, Recoverer, Stats, WINDOW};
pub use repair::{MAX_MASK, Protected, Repair, Sums};
