//! Which rooms there are and who is in them, for programs that ask.

use antiphon::MediaKind;
use serde::Serialize;

use super::directory::Rooms;
use super::hub::Hub;
use super::message::{Person, Source};
use super::refusal::Refusal;

/// Rooms that are told at once; of more it is told how many are left out.
const MAX_TOLD: usize = 64;

/// The rooms that there are.
#[derive(Clone, Debug, Serialize)]
pub(in crate::server) struct Summary {
    rooms: Vec<OneRoom>,
    /// Rooms that are not told.
    left_out: usize,
    /// The server as a node of its cluster, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    cluster: Option<OneNode>,
}

#[derive(Clone, Debug, Serialize)]
struct OneNode {
    node: String,
    /// Whether the message bus works: people can join.
    bus_works: bool,
    /// The other nodes that are there.
    nodes: Vec<String>,
}

#[derive(Clone, Debug, Serialize)]
struct OneRoom {
    room: String,
    participants: Vec<OnePerson>,
    /// The connections to other nodes.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pipes: Vec<OnePipe>,
}

#[derive(Clone, Debug, Serialize)]
struct OnePipe {
    node: String,
    connected: bool,
    /// Tracks of this node that it carries to the other.
    sends: usize,
    /// Tracks of the other node that it carries to this one.
    receives: usize,
}

#[derive(Clone, Debug, Serialize)]
struct OnePerson {
    #[serde(flatten)]
    person: Person,
    /// What it sends.
    tracks: Vec<Source>,
}

impl Rooms {
    /// Who is in which room; in `room` alone, if one is named. Each room has at most as many participants as may come in, and each of
    /// those as many tracks as it may send.
    pub(in crate::server) async fn summary(&self, room: Option<&str>, token: Option<&str>) -> Result<Summary, Refusal> {
        self.may_look(room, token)?;
        let mut hubs = match room {
            Some(room) => vec![self.hub(room).ok_or(Refusal::NobodyThere)?],
            None => self.hubs(),
        };
        let left_out = hubs.split_off(hubs.len().min(MAX_TOLD)).len();
        let mut rooms = Vec::new();
        for hub in hubs {
            rooms.push(one(&hub).await);
        }
        // Who may look at one room alone hears nothing of the machines.
        let cluster = match (room, self.started()) {
            (None, Some(server)) => server.figures().await.ok().and_then(|figures| figures.cluster),
            _ => None,
        };
        let cluster = cluster.map(|own| OneNode {
            node: own.node,
            bus_works: own.bus_works,
            nodes: own.nodes,
        });
        Ok(Summary {
            rooms,
            left_out,
            cluster,
        })
    }
}

async fn one(hub: &Hub) -> OneRoom {
    let forwarding = hub.forwarding();
    let mut participants = Vec::new();
    for person in hub.people() {
        let mut tracks = Vec::new();
        let peer = match &forwarding {
            Some(room) => room.get_peer(person.id.as_str()).await,
            None => None,
        };
        if let Some(peer) = peer {
            // Who has left meanwhile sends nothing.
            for receiver in peer.rtp_receivers().await.unwrap_or_default() {
                let is_screen = hub.is_screen(&receiver).await;
                tracks.push(match receiver.kind() {
                    MediaKind::Audio => Source::Microphone,
                    MediaKind::Video if is_screen => Source::Screen,
                    MediaKind::Video => Source::Camera,
                });
            }
        }
        participants.push(OnePerson { person, tracks });
    }
    let dump = match &forwarding {
        Some(room) => room.dump().await.unwrap_or_default(),
        None => Default::default(),
    };
    let pipe = |own: antiphon::room::PipeDump| OnePipe {
        node: own.node,
        connected: own.connected,
        sends: own.sends.len(),
        receives: own.receives.len(),
    };
    OneRoom {
        room: hub.name.clone(),
        participants,
        pipes: dump.pipes.into_iter().map(pipe).collect(),
    }
}
