//! The rooms of the page in figures.

use std::collections::BTreeMap;

use antiphon::room::{ClusterFigures, RoomFigures, Work};

use super::directory::Rooms;

/// All rooms of the page.
#[derive(Debug, Default)]
pub(in crate::server) struct RoomsFigures {
    /// The rooms that there are, by name; of one whose forwarding is not there yet the figures are 0.
    pub(in crate::server) rooms: BTreeMap<String, OneRoom>,
    /// What was done in all rooms since the server began.
    pub(in crate::server) work: Work,
    /// The server as a node of its cluster, if it is one.
    pub(in crate::server) cluster: Option<ClusterFigures>,
    /// Who was not let in, by cause.
    pub(in crate::server) joins_refused: BTreeMap<&'static str, u64>,
    /// Messages of participants that were refused, by cause.
    pub(in crate::server) messages_refused: BTreeMap<&'static str, u64>,
}

/// One room of the page.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::server) struct OneRoom {
    /// Who has a seat.
    pub(in crate::server) participants: usize,
    /// What is forwarded there.
    pub(in crate::server) forwarding: RoomFigures,
}

impl Rooms {
    /// All rooms in figures, as they are now.
    pub(in crate::server) async fn figures(&self) -> RoomsFigures {
        let hubs = self.hubs();
        let server = match self.started() {
            // One that is closed has no rooms.
            Some(server) => server.figures().await.unwrap_or_default(),
            None => Default::default(),
        };
        let one = |hub: &super::hub::Hub| {
            let id = hub.forwarding().map(|room| room.id());
            let forwarding = server.rooms.iter().find(|room| Some(room.id) == id);
            OneRoom {
                participants: hub.people().len(),
                forwarding: forwarding.copied().unwrap_or_default(),
            }
        };
        RoomsFigures {
            rooms: hubs.iter().map(|hub| (hub.name.clone(), one(hub))).collect(),
            work: server.work,
            cluster: server.cluster,
            joins_refused: self.joins_refused.all(),
            messages_refused: self.messages_refused.all(),
        }
    }
}
