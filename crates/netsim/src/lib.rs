#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod link;
mod machine;
mod nat;
mod network;
mod node;
mod simulation;
mod tcp;
#[cfg(test)]
mod tests;

pub use link::LinkConfig;
pub use machine::{Checked, MAX_OUTPUTS_PER_STEP, Machine};
pub use nat::{Dependence, Firewall, FirewallConfig, Nat, Nat64, NatConfig, nat64};
pub use network::{Delivery, HostId, Network, NodeId, SocketId, Stats};
pub use node::{Node, Packet, Transport};
pub use simulation::{MAX_STEPS_PER_INSTANT, PeerId, Simulation};
pub use tcp::{Segment, SegmentKind, TcpEvent};
