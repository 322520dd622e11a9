//! The names of what stands on a network.

use antiphon_sansio::Local;

/// A machine on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct HostId(pub(crate) u32);

/// A [`Node`](crate::Node) on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(crate) u32);

/// A link that the packets of several pairs of hosts share.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BottleneckId(pub(crate) u32);

/// A UDP socket. Numbers are unique in the network, so they serve as [`Local::Socket`] too.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SocketId(pub u32);

impl SocketId {
    /// The same as machines know it.
    pub fn local(self) -> Local {
        Local::Socket(self.0)
    }
}
