//! Where on the bus something is said, and who listens there.

use std::fmt;

use crate::names::{NodeName, RoomName};

/// Whom a message is for.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// All nodes.
    Nodes,
    /// One node.
    Node(NodeName),
    /// All nodes that have somebody in a room.
    Room(RoomName),
}

/// As NATS takes it: tokens between dots. The name of a room is in hexadecimal, since it may have any character.
impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nodes => f.write_str("antiphon.nodes"),
            Self::Node(node) => write!(f, "antiphon.node.{node}"),
            Self::Room(room) => {
                f.write_str("antiphon.room.")?;
                room.as_str().bytes().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }
    }
}
