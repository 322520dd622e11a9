//! One room: who is in it, what they hear of each other, and the forwarding behind it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use antiphon::room::{Error, Events, Room, RoomOptions, RtpReceiver, Server};
use tokio::sync::{OnceCell, broadcast};

use super::bounds::MAX_PARTICIPANTS;
use super::message::{News, Person};
use super::refusal::Refusal;

/// News that a slow participant may lag; one that lags more is sent away.
const QUEUE: usize = 256;

/// A room of the page.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) name: String,
    /// Made for the first who comes.
    room: OnceCell<Room>,
    members: Mutex<BTreeMap<u64, Member>>,
    news: broadcast::Sender<News>,
}

/// Somebody in a room.
#[derive(Debug)]
struct Member {
    name: String,
    audio_muted: bool,
    video_muted: bool,
    recording: bool,
    /// Receivers that carry its screen.
    screens: BTreeSet<u64>,
}

impl Member {
    fn person(&self, id: u64) -> Person {
        Person {
            id: id.to_string(),
            name: self.name.clone(),
            audio_muted: self.audio_muted,
            video_muted: self.video_muted,
            recording: self.recording,
        }
    }
}

impl Hub {
    pub(super) fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            room: OnceCell::new(),
            members: Mutex::default(),
            news: broadcast::Sender::new(QUEUE),
        }
    }

    /// Nothing is left half done under this lock, so a panic elsewhere does not spoil it.
    fn members(&self) -> MutexGuard<'_, BTreeMap<u64, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets somebody in, and tells the others. What is told from now on is heard by the receiver. `recording`: whether it comes to
    /// record.
    pub(super) fn enter(&self, id: u64, name: &str, recording: bool) -> Result<broadcast::Receiver<News>, Refusal> {
        let mut members = self.members();
        if members.len() >= MAX_PARTICIPANTS {
            return Err(Refusal::RoomFull);
        }
        let lower = name.to_lowercase();
        if members.values().any(|member| member.name.to_lowercase() == lower) {
            return Err(Refusal::NameTaken);
        }
        let member = Member {
            name: name.to_owned(),
            audio_muted: false,
            video_muted: false,
            recording,
            screens: BTreeSet::new(),
        };
        self.tell(News::Entered {
            participant: member.person(id),
        });
        members.insert(id, member);
        // Under the lock, so that nobody is missed and nobody heard of twice.
        Ok(self.news.subscribe())
    }

    /// Takes somebody away, and tells the others. Whether nobody is left.
    pub(super) fn leave(&self, id: u64) -> bool {
        let mut members = self.members();
        if members.remove(&id).is_some() {
            self.tell(News::Left { id: id.to_string() });
        }
        members.is_empty()
    }

    /// Somebody by name, whatever its case, or by id.
    pub(super) fn find(&self, participant: &str) -> Option<u64> {
        let lower = participant.to_lowercase();
        let members = self.members();
        let named = members.iter().find(|(_, member)| member.name.to_lowercase() == lower);
        let id = named.map(|(&id, _)| id);
        id.or_else(|| participant.parse().ok().filter(|id| members.contains_key(id)))
    }

    /// Whether the participant of this id, written as text, is here.
    pub(super) fn is_here(&self, id: &str) -> bool {
        id.parse().is_ok_and(|id| self.members().contains_key(&id))
    }

    /// Everybody who is here.
    pub(super) fn people(&self) -> Vec<Person> {
        self.members().iter().map(|(&id, member)| member.person(id)).collect()
    }

    pub(super) fn mute(&self, id: u64, audio: bool, video: bool) {
        let mut members = self.members();
        let Some(member) = members.get_mut(&id) else { return };
        (member.audio_muted, member.video_muted) = (audio, video);
        self.tell(News::Muted {
            participant: member.person(id),
        });
    }

    pub(super) fn say(&self, id: u64, text: String) {
        if let Some(member) = self.members().get(&id) {
            self.tell(News::Said {
                id: id.to_string(),
                name: member.name.clone(),
                text,
            });
        }
    }

    /// Which of its receivers carry somebody's screen.
    pub(super) fn set_screens(&self, id: u64, screens: BTreeSet<u64>) {
        if let Some(member) = self.members().get_mut(&id) {
            member.screens = screens;
        }
    }

    /// Whether a receiver of somebody carries a screen.
    pub(super) fn is_screen(&self, id: u64, receiver: u64) -> bool {
        self.members()
            .get(&id)
            .is_some_and(|member| member.screens.contains(&receiver))
    }

    fn tell(&self, news: News) {
        // Without a receiver it is for nobody.
        _ = self.news.send(news);
    }

    /// The forwarding behind the room.
    pub(super) async fn room(self: &Arc<Self>, server: &Server) -> Result<&Room, Error> {
        self.room
            .get_or_try_init(async || {
                let room = server.create_room(RoomOptions::browsers()).await?;
                let speakers = room.dominant_speaker().await?;
                // It ends with the room.
                tokio::spawn(listen(self.news.clone(), speakers));
                Ok(room)
            })
            .await
    }

    /// The forwarding, if it was ever needed.
    pub(super) fn forwarding(&self) -> Option<Room> {
        self.room.get().cloned()
    }
}

/// Tells who leads the talk, until the room is closed.
async fn listen(news: broadcast::Sender<News>, mut speakers: Events<Option<RtpReceiver>>) {
    while let Some(speaker) = speakers.next().await {
        let id = speaker.map(|receiver| receiver.peer().name().to_owned());
        // Without a receiver it is for nobody.
        _ = news.send(News::Speaker { id });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_hears_who_comes_and_goes() {
        let hub = Hub::new("r");
        let mut first = hub.enter(1, "Ada", false).unwrap();
        assert!(first.try_recv().is_err(), "not of itself");
        let mut second = hub.enter(2, "Grace", false).unwrap();
        assert!(matches!(first.try_recv(), Ok(News::Entered { participant }) if participant.name == "Grace"));
        hub.mute(2, true, false);
        hub.say(1, "hello".into());
        for heard in [&mut first, &mut second] {
            assert!(matches!(heard.try_recv(), Ok(News::Muted { participant }) if participant.audio_muted));
            assert!(matches!(heard.try_recv(), Ok(News::Said { name, .. }) if name == "Ada"));
        }
        assert!(!hub.leave(1));
        assert!(matches!(second.try_recv(), Ok(News::Left { id }) if id == "1"));
        // Who is gone says nothing.
        hub.say(1, "again".into());
        assert!(second.try_recv().is_err());
        assert!(hub.leave(2));
    }

    #[test]
    fn a_room_has_so_many_participants_and_each_name_once() {
        let hub = Hub::new("r");
        let mut kept = Vec::new();
        for id in 0..MAX_PARTICIPANTS as u64 {
            kept.push(hub.enter(id, &format!("guest {id}"), false).unwrap());
        }
        assert!(matches!(hub.enter(99, "one more", false), Err(Refusal::RoomFull)));
        hub.leave(3);
        assert!(matches!(hub.enter(99, "GUEST 7", false), Err(Refusal::NameTaken)));
        assert!(hub.enter(99, "one more", false).is_ok());
        assert_eq!(hub.people().len(), MAX_PARTICIPANTS);
    }

    #[test]
    fn a_screen_is_known_by_its_receiver() {
        let hub = Hub::new("r");
        let _heard = hub.enter(1, "Ada", false).unwrap();
        hub.set_screens(1, BTreeSet::from([8]));
        assert!(hub.is_screen(1, 8) && !hub.is_screen(1, 7) && !hub.is_screen(2, 8));
    }
}
