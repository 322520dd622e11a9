//! Names of nodes and rooms: short, checked wherever they come from, and cheap to clone.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Bytes that the name of a node may have.
pub const MAX_NODE_NAME: usize = 64;
/// Bytes that the name of a room may have.
pub const MAX_ROOM_NAME: usize = 255;

/// The name of a node, which no other node of the cluster has: 1 to 64 of `A-Z`, `a-z`, `0-9`, `-` and `_`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct NodeName(Arc<str>);

impl NodeName {
    /// Takes a name.
    ///
    /// # Errors
    /// [`Error::NodeName`] if it is empty, too long, or has another character.
    pub fn new(name: &str) -> Result<Self, Error> {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        match !name.is_empty() && name.len() <= MAX_NODE_NAME && name.bytes().all(fits) {
            true => Ok(Self(name.into())),
            false => Err(Error::NodeName),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for NodeName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for NodeName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        Self::new(&name)
    }
}

impl From<NodeName> for String {
    fn from(name: NodeName) -> Self {
        name.as_str().to_owned()
    }
}

/// The name of a room, the same on all nodes: any text of 1 to 255 bytes.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RoomName(Arc<str>);

impl RoomName {
    /// Takes a name.
    ///
    /// # Errors
    /// [`Error::RoomName`] if it is empty or too long.
    pub fn new(name: &str) -> Result<Self, Error> {
        match (1..=MAX_ROOM_NAME).contains(&name.len()) {
            true => Ok(Self(name.into())),
            false => Err(Error::RoomName),
        }
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RoomName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for RoomName {
    type Error = Error;

    fn try_from(name: String) -> Result<Self, Error> {
        Self::new(&name)
    }
}

impl From<RoomName> for String {
    fn from(name: RoomName) -> Self {
        name.as_str().to_owned()
    }
}
