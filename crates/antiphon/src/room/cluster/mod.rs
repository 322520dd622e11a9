//! Rooms over several servers: the bus by which they find each other, and the task that keeps this server's part of it. Who is where is
//! decided in [`antiphon_cluster`]; the connections between servers are the rooms' own.

mod figures;
mod line;
mod local_bus;
#[cfg(feature = "nats")]
mod nats;
mod node;
mod options;

pub use antiphon_cluster::Counts as ClusterCounts;
pub use figures::ClusterFigures;
pub use local_bus::LocalBus;
#[cfg(feature = "nats")]
pub use nats::NatsOptions;
pub(super) use node::Node;
pub use options::{ClusterBus, ClusterOptions};
