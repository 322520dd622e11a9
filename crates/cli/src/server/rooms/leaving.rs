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
        let (id, about) = (seat.hub.id_of(seat.id), seat.hub.about(seat.id));
        let peer = room.peer_with_details(id, about).await.map_err(Refusal::of)?;
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

/// Tells other nodes what is new of who has a seat.
pub(super) async fn tell_nodes(seat: &Seat, peer: &Peer) {
    // One that is closed meanwhile is gone there too.
    if let Err(error) = peer.set_details(seat.hub.about(seat.id)).await {
        tracing::debug!(%error, "other nodes do not hear what is new of a participant");
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
