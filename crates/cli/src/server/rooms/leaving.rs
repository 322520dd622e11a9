//! The peer of a seat in the forwarding of its room, which goes with who has the seat.

use antiphon::room::Peer;

use super::directory::{Rooms, Seat};
use super::refusal::Refusal;

/// A peer that is closed when this is dropped, unless it stays.
#[derive(Debug)]
pub(super) struct Leaving {
    peer: Peer,
    stays: bool,
}

impl Leaving {
    /// Makes the peer of a seat, and what forwards the room's media if nobody needed it before.
    pub(super) async fn sit(rooms: &Rooms, seat: &Seat) -> Result<Self, Refusal> {
        let server = rooms.server().await.map_err(Refusal::Broken)?;
        let room = seat.hub.room(server).await.map_err(Refusal::Broken)?;
        let peer = room.peer(seat.id.to_string()).await.map_err(Refusal::Broken)?;
        Ok(Self { peer, stays: false })
    }

    /// Closes a peer.
    pub(super) fn of(peer: Peer) {
        drop(Self { peer, stays: false });
    }

    pub(super) fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Somebody else closes it.
    pub(super) fn stay(&mut self) {
        self.stays = true;
    }
}

impl Drop for Leaving {
    fn drop(&mut self) {
        if !self.stays {
            let peer = self.peer.clone();
            tokio::spawn(async move { peer.close().await });
        }
    }
}
