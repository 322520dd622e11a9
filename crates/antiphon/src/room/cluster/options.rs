//! How a server becomes a node of a cluster.

use antiphon_cluster::NodeName;

use super::line::Line;
use super::local_bus::LocalBus;
#[cfg(feature = "nats")]
use super::nats::NatsOptions;
use crate::room::error::Error;

/// How a server becomes a node of a cluster: a room that has a [name](crate::room::RoomOptions::name) is then one with the rooms of that
/// name on all other nodes.
#[derive(Clone, Debug)]
pub struct ClusterOptions {
    /// The name of this node, which no other node has: 1 to 64 letters, digits, `-` and `_`. When another node with this name is started,
    /// this one leaves the cluster.
    pub node: String,
    /// What carries the messages between the nodes.
    pub bus: ClusterBus,
}

/// What carries the messages between the nodes of a cluster.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ClusterBus {
    /// A bus within this process, for tests and for programs with several servers.
    Local(LocalBus),
    /// A server of NATS.
    #[cfg(feature = "nats")]
    Nats(NatsOptions),
}

impl ClusterOptions {
    /// Its name, if that can be one.
    pub(super) fn name(&self) -> Result<NodeName, Error> {
        NodeName::new(&self.node).map_err(|error| Error::Option {
            option: "node".to_owned(),
            reason: format!("{:?}: {error}", self.node.chars().take(64).collect::<String>()),
        })
    }

    /// Begins to connect to the bus.
    pub(super) fn open(&self) -> Result<Line, Error> {
        match &self.bus {
            ClusterBus::Local(bus) => Ok(bus.open()),
            #[cfg(feature = "nats")]
            ClusterBus::Nats(options) => options.open(&self.node),
        }
    }
}
