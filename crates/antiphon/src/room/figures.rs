//! What rooms have done and do, in figures for statistics.

use std::collections::BTreeMap;
use std::ops::AddAssign;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::cluster::ClusterFigures;
use crate::router::{Latency, Shares, Totals};

/// What was done since a room, or a server, began. None of it ever falls.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Work {
    /// What came, and what became of it.
    pub totals: Totals,
    /// How long forwarded packets were on their way through the program.
    pub latency: Latency,
}

impl AddAssign for Work {
    fn add_assign(&mut self, other: Self) {
        self.totals += other.totals;
        self.latency += other.latency;
    }
}

/// A room in figures: [`Room::figures`](super::Room::figures).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RoomFigures {
    /// The number of the room.
    pub id: u64,
    /// How many peers there are now, those of other nodes too.
    pub peers: usize,
    /// How many of them are of other nodes.
    pub remote_peers: usize,
    /// How many connections to other nodes there are now.
    pub pipes: usize,
    /// How many tracks of this node go to other nodes now, each counted once for each node that gets it.
    pub tracks_out: usize,
    /// How many tracks of other nodes come to this one now.
    pub tracks_in: usize,
    /// How many tracks they send now.
    pub receivers: usize,
    /// How many tracks they get now, each counted once for each that gets it.
    pub senders: usize,
    /// What the connections of the peers carry now, and what of it they are given.
    pub shares: Shares,
    /// What was done since the room began. What crosses from one worker to another has gone on there and come here.
    pub work: Work,
}

/// A server in figures: [`Server::figures`](super::Server::figures).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ServerFigures {
    /// The rooms that there are now.
    pub rooms: Vec<RoomFigures>,
    /// The server as a node of its cluster, if it is one.
    pub cluster: Option<ClusterFigures>,
    /// What was done since the server began, in rooms that are closed too.
    pub work: Work,
}

/// What all rooms of a server have done, so that no sum falls when a room is closed.
#[derive(Clone, Debug, Default)]
pub(super) struct Book(Arc<Mutex<Entries>>);

#[derive(Debug, Default)]
struct Entries {
    /// Rooms that are closed.
    closed: Work,
    /// Rooms that are there, as they were when they were last asked.
    open: BTreeMap<u64, Work>,
}

impl Book {
    /// Nothing is left half done under this lock, so a panic elsewhere does not spoil it.
    fn lock(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn open(&self, room: u64) {
        self.lock().open.insert(room, Work::default());
    }

    /// A room is closed, and has done so much; `None`: it cannot say any more.
    pub(super) fn close(&self, room: u64, work: Option<Work>) {
        let mut entries = self.lock();
        if let Some(last) = entries.open.remove(&room) {
            entries.closed += work.unwrap_or(last);
        }
    }

    /// What all have done, these rooms so much now.
    pub(super) fn sum(&self, rooms: &[RoomFigures]) -> Work {
        let mut entries = self.lock();
        for room in rooms {
            // One that has closed meanwhile has said more since.
            if let Some(work) = entries.open.get_mut(&room.id) {
                *work = room.work;
            }
        }
        let mut sum = entries.closed;
        for work in entries.open.values() {
            sum += *work;
        }
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn room(id: u64, packets: u64) -> RoomFigures {
        let mut figures = RoomFigures {
            id,
            ..RoomFigures::default()
        };
        figures.work.totals.packets = packets;
        figures
    }

    #[test]
    fn sums_never_fall() {
        let book = Book::default();
        book.open(1);
        book.open(2);
        let sum = |rooms: &[RoomFigures]| book.sum(rooms).totals.packets;
        assert_eq!(sum(&[room(1, 10), room(2, 5)]), 15);
        // One that does not answer counts as it was.
        assert_eq!(sum(&[room(2, 6)]), 16);
        book.close(1, Some(room(1, 12).work));
        // It had answered before it was closed.
        assert_eq!(sum(&[room(1, 11), room(2, 6)]), 18);
        book.close(2, None);
        book.close(2, Some(room(2, 99).work));
        assert_eq!(sum(&[]), 18);
    }
}
