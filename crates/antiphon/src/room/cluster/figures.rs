//! A node in figures.

use antiphon_cluster::Counts;

/// This server as a node of its cluster, in figures.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ClusterFigures {
    /// The name of this node.
    pub node: String,
    /// Whether the bus works: what is said is heard, and peers may join.
    pub bus_works: bool,
    /// Whether another node with this name was started, so that this one has left the cluster.
    pub displaced: bool,
    /// The other nodes, by name.
    pub nodes: Vec<String>,
    /// What came from the bus since the node began, by what became of it.
    pub counts: Counts,
}
