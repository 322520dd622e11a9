#![doc = include_str!("../README.md")]
#![deny(unsafe_code)]

mod bulk;
mod counting;
mod ids;
mod inner;
mod link;
mod machine;
mod nat;
mod network;
mod node;
mod packet;
mod pipe;
mod simulation;
mod start;
mod stats;
mod tcp;
#[cfg(test)]
mod tests;

#[doc(hidden)]
pub use antiphon_sansio as sansio;

pub use bulk::{Bulk, TcpControl, Transfer};
pub use counting::{Count, Counting};
pub use ids::{BottleneckId, HostId, NodeId, SocketId};
pub use inner::to_the_other_end;
pub use link::{Aqm, Capacity, Crossing, Fate, Limit, LinkConfig};
pub use machine::{Checked, MAX_OUTPUTS_PER_STEP, Machine};
pub use nat::{Dependence, Firewall, FirewallConfig, Nat, Nat64, NatConfig, nat64};
pub use network::{Delivery, Network};
pub use node::Node;
pub use packet::{Packet, Segment, SegmentKind, Transport};
pub use pipe::{Filter, Pipe};
pub use simulation::{MAX_STEPS_PER_INSTANT, PeerId, Simulation};
pub use start::start;
pub use stats::Stats;
pub use tcp::TcpEvent;
