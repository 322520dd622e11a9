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
}

#[derive(Clone, Debug, Serialize)]
struct OneRoom {
    room: String,
    participants: Vec<OnePerson>,
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
        Ok(Summary { rooms, left_out })
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
                let is_screen = person.id.parse().is_ok_and(|id| hub.is_screen(id, receiver.id()));
                tracks.push(match receiver.kind() {
                    MediaKind::Audio => Source::Microphone,
                    MediaKind::Video if is_screen => Source::Screen,
                    MediaKind::Video => Source::Camera,
                });
            }
        }
        participants.push(OnePerson { person, tracks });
    }
    OneRoom {
        room: hub.name.clone(),
        participants,
    }
}
