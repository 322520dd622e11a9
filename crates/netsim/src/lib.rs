#![doc = include_str!("../README.md")]
#![forbid(unsafe_code)]

mod link;
mod machine;
mod network;
mod node;
mod simulation;
#[cfg(test)]
mod tests;

pub use link::LinkConfig;
pub use machine::{Checked, MAX_OUTPUTS_PER_STEP, Machine};
pub use network::{Delivery, HostId, Network, NodeId, SocketId, Stats};
pub use node::{Node, Packet};
pub use simulation::{MAX_STEPS_PER_INSTANT, PeerId, Simulation};
