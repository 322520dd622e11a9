//! One room: who of it is here, who is on each other node, and what either watches of the other.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use crate::message::Digest;
use crate::names::{NodeName, RoomName};
use crate::peer::{Peer, TrackId};
use crate::pipe::Pipe;
use crate::section::MAX_SECTIONS;

/// Rooms in which somebody of this node is.
pub const MAX_ROOMS: usize = 16_384;

/// Texts of the peers of a room that may wait for the bus.
pub const MAX_WORDS: usize = 64;

/// A room in which somebody of this node is.
#[derive(Debug, Default)]
pub(crate) struct Room {
    pub(crate) locals: BTreeMap<u64, Local>,
    pub(crate) remotes: BTreeMap<NodeName, Remote>,
    /// What peers of ours have said and nobody has heard yet.
    pub(crate) words: VecDeque<(u64, String)>,
    /// Whether the others are to hear a summary.
    pub(crate) digest: bool,
    /// Whether the next summary asks the others for theirs.
    pub(crate) ask: bool,
}

/// Somebody of this node.
#[derive(Debug)]
pub(crate) struct Local {
    pub(crate) peer: Peer,
    pub(crate) revision: u64,
    /// Whether the others are to hear of it.
    pub(crate) due: bool,
}

/// What another node has to do with the room.
#[derive(Debug)]
pub(crate) struct Remote {
    /// When it last said something about the room.
    pub(crate) heard: Instant,
    /// Its peers, and how new what is known of each is.
    pub(crate) peers: BTreeMap<u64, (u64, Peer)>,
    /// Of whom it is to tell more.
    pub(crate) missing: BTreeSet<u64>,
    /// What is watched here of its tracks, and by how many.
    pub(crate) watching: BTreeMap<(u64, u64), u32>,
    pub(crate) watching_revision: u64,
    /// Whether it is to hear what is watched.
    pub(crate) watching_due: bool,
    /// What it watches of our tracks.
    pub(crate) wanted: BTreeSet<(u64, u64)>,
    pub(crate) wanted_revision: u64,
    /// Whether it is to tell that again.
    pub(crate) wanted_missing: bool,
    pub(crate) pipe: Option<Pipe>,
    /// A pipe whose end it is to hear of.
    pub(crate) closing: Option<u64>,
    /// No new pipe is opened before.
    pub(crate) hold: Option<Instant>,
}

impl Remote {
    pub(crate) fn new(now: Instant, revision: u64) -> Self {
        Self {
            heard: now,
            peers: BTreeMap::new(),
            missing: BTreeSet::new(),
            watching: BTreeMap::new(),
            watching_revision: revision,
            // An earlier run of ours, or of our acquaintance with it, may have left other wishes there.
            watching_due: true,
            wanted: BTreeSet::new(),
            wanted_revision: 0,
            wanted_missing: false,
            pipe: None,
            closing: None,
            hold: None,
        }
    }

    pub(crate) fn has(&self, peer: u64, track: u64) -> bool {
        self.peers
            .get(&peer)
            .is_some_and(|(_, known)| known.tracks.contains_key(&track))
    }

    /// Whether a pipe of this number is there.
    pub(crate) fn has_pipe(&self, number: u64) -> bool {
        self.pipe.as_ref().is_some_and(|pipe| pipe.number() == number)
    }

    /// The pipe that it is to know of: we say that we have one only where we answer.
    pub(crate) fn answering(&self) -> Option<u64> {
        match &self.pipe {
            Some(Pipe::Answering(answering)) => Some(answering.number),
            Some(Pipe::Offering(_)) | None => None,
        }
    }
}

impl Room {
    pub(crate) fn has_name(&self, name: &str) -> bool {
        let remotes = self.remotes.values().flat_map(|remote| remote.peers.values());
        let here = self.locals.values().any(|local| local.peer.name == name);
        here || remotes.into_iter().any(|(_, peer)| peer.name == name)
    }

    pub(crate) fn digest(&self, name: &RoomName) -> Digest {
        Digest {
            room: name.clone(),
            ask: self.ask,
            peers: self.locals.iter().map(|(&id, local)| (id, local.revision)).collect(),
            watches: self
                .remotes
                .iter()
                .map(|(node, remote)| (node.clone(), remote.watching_revision))
                .collect(),
        }
    }

    /// Everything is to be told anew, and asked for.
    pub(crate) fn tell_all(&mut self) {
        self.digest = true;
        self.ask = true;
        for local in self.locals.values_mut() {
            local.due = true;
        }
        for remote in self.remotes.values_mut() {
            remote.watching_due = true;
        }
    }

    /// What a pipe to a node is to carry, both ways.
    pub(crate) fn carried(&self, own: &NodeName, node: &NodeName) -> Vec<TrackId> {
        let Some(remote) = self.remotes.get(node) else {
            return Vec::new();
        };
        let id = |node: &NodeName, &(peer, track): &(u64, u64)| TrackId {
            node: node.clone(),
            peer,
            track,
        };
        let sends = |(peer, track): &&(u64, u64)| {
            let local = self.locals.get(peer);
            local.is_some_and(|local| local.peer.tracks.contains_key(track))
        };
        let ours = remote.wanted.iter().filter(sends).map(|track| id(own, track));
        let theirs = remote.watching.keys().map(|track| id(node, track));
        ours.chain(theirs).take(MAX_SECTIONS).collect()
    }
}
