//! What nodes tell each other of a peer and its tracks.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::Error;
use crate::names::NodeName;

/// Peers of one node in one room.
pub const MAX_PEERS: usize = 1024;
/// Tracks of one peer.
pub const MAX_TRACKS: usize = 16;
/// Encodings of one track.
pub const MAX_ENCODINGS: usize = 8;
/// Bytes of the name of a peer or of a track.
pub const MAX_NAME: usize = 255;
/// Bytes of the name of an encoding.
pub const MAX_RID: usize = 255;
/// Bytes of what a peer says at once.
pub const MAX_SAID: usize = 8192;
/// Bytes of what an application says of a peer.
pub const MAX_DETAILS: usize = 1024;

/// A peer of a room, wherever it is.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct PeerId {
    /// The node that the peer is connected to.
    pub node: NodeName,
    /// Its number there, which that node gives no second peer of the room.
    pub peer: u64,
}

/// A track of a room, wherever it is sent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TrackId {
    /// The node that the sender is connected to.
    pub node: NodeName,
    /// The sender's number there.
    pub peer: u64,
    /// The track's number, which that peer gives no second track.
    pub track: u64,
}

impl TrackId {
    /// The peer that sends it.
    pub fn sender(&self) -> PeerId {
        PeerId {
            node: self.node.clone(),
            peer: self.peer,
        }
    }
}

/// Whether a track is sound or pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// The track carries sound.
    Audio,
    /// The track carries pictures.
    Video,
}

/// What is known of a track.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Track {
    /// Whether it is sound or pictures.
    pub kind: Kind,
    /// What its sender calls it, at most 255 bytes.
    pub name: String,
    /// The names (RIDs) of its encodings, the smallest picture first, at most 8; empty if it has one without a name.
    pub encodings: Vec<String>,
}

impl Track {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.name.len() > MAX_NAME {
            return Err(Error::TooLong("name of the track"));
        }
        if self.encodings.len() > MAX_ENCODINGS {
            return Err(Error::TooMany("encodings"));
        }
        match self.encodings.iter().all(|rid| rid.len() <= MAX_RID) {
            true => Ok(()),
            false => Err(Error::TooLong("name of an encoding")),
        }
    }
}

/// What is known of a peer.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Peer {
    /// Its name, which nobody else in the room has; at most 255 bytes.
    pub name: String,
    /// What the application says of it to the other nodes, in its own words; at most 1024 bytes.
    pub details: String,
    /// Its tracks by their numbers, at most 16.
    pub tracks: BTreeMap<u64, Track>,
}

impl Peer {
    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.name.len() > MAX_NAME {
            return Err(Error::TooLong("name of the peer"));
        }
        if self.details.len() > MAX_DETAILS {
            return Err(Error::TooLong("text about the peer"));
        }
        if self.tracks.len() > MAX_TRACKS {
            return Err(Error::TooMany("tracks of the peer"));
        }
        self.tracks.values().try_for_each(Track::check)
    }
}
