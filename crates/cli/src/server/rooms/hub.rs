//! One room: who is in it, what they hear of each other, and the forwarding behind it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use antiphon::room::{Error, Events, Peer, PeerEvent, Room, RoomEvent, RoomOptions, RtpReceiver, Server};
use tokio::sync::{OnceCell, broadcast};

use super::about::About;
use super::bounds::{MAX_LINE, MAX_PARTICIPANTS};
use super::message::{News, Person};
use super::refusal::Refusal;

/// News that a slow participant may lag; one that lags more is sent away.
const QUEUE: usize = 256;
/// How often it is tried to take the name of a room that has just ended from it ...
const MAX_TRIES: u32 = 100;
/// ... and how long is waited between.
const BETWEEN_TRIES: Duration = Duration::from_millis(20);

/// A room of the page.
#[derive(Debug)]
pub(super) struct Hub {
    pub(super) name: String,
    /// The node of the cluster that this server is, if it is one.
    node: Option<String>,
    /// Made for the first who comes.
    room: OnceCell<Room>,
    members: Mutex<BTreeMap<u64, Member>>,
    /// Who is in the room on other nodes, by id.
    elsewhere: Mutex<BTreeMap<String, Elsewhere>>,
    news: broadcast::Sender<News>,
}

/// Somebody in a room.
#[derive(Debug)]
struct Member {
    name: String,
    audio_muted: bool,
    video_muted: bool,
    recording: bool,
    /// Receivers that carry its screen, and their tracks as it calls them.
    screens: BTreeMap<u64, Option<String>>,
}

/// Somebody in the room on another node.
#[derive(Debug)]
struct Elsewhere {
    node: String,
    about: About,
}

impl Elsewhere {
    fn person(&self, id: &str) -> Person {
        self.about.person(id.to_owned(), Some(self.node.clone()))
    }
}

impl Member {
    /// What other nodes hear of it.
    fn about(&self) -> About {
        About {
            name: self.name.clone(),
            audio_muted: self.audio_muted,
            video_muted: self.video_muted,
            recording: self.recording,
            screens: self.screens.values().flatten().cloned().collect(),
        }
    }

    fn person(&self, id: String) -> Person {
        self.about().person(id, None)
    }
}

impl Hub {
    pub(super) fn new(name: &str, node: Option<String>) -> Self {
        Self {
            name: name.to_owned(),
            node,
            room: OnceCell::new(),
            members: Mutex::default(),
            elsewhere: Mutex::default(),
            news: broadcast::Sender::new(QUEUE),
        }
    }

    /// Nothing is left half done under this lock, so a panic elsewhere does not spoil it.
    fn members(&self) -> MutexGuard<'_, BTreeMap<u64, Member>> {
        self.members.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Taken after the lock of the members, where both are.
    fn elsewhere(&self) -> MutexGuard<'_, BTreeMap<String, Elsewhere>> {
        self.elsewhere.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The id of who has a seat here, which nobody has on another node either.
    pub(super) fn id_of(&self, seat: u64) -> String {
        match &self.node {
            Some(node) => format!("{node}.{seat}"),
            None => seat.to_string(),
        }
    }

    /// The seat of an id of this node.
    fn seat_of(&self, id: &str) -> Option<u64> {
        let seat = match &self.node {
            Some(node) => id.strip_prefix(node.as_str())?.strip_prefix('.')?,
            None => id,
        };
        seat.parse().ok()
    }

    /// Lets somebody in, and tells the others. What is told from now on is heard by the receiver. `recording`: whether it comes to
    /// record.
    pub(super) fn enter(&self, id: u64, name: &str, recording: bool) -> Result<broadcast::Receiver<News>, Refusal> {
        let mut members = self.members();
        let elsewhere = self.elsewhere();
        if members.len() + elsewhere.len() >= MAX_PARTICIPANTS {
            return Err(Refusal::RoomFull);
        }
        let lower = name.to_lowercase();
        let mut names = members.values().map(|member| &member.name);
        let mut others = elsewhere.values().map(|other| &other.about.name);
        if names.any(|name| name.to_lowercase() == lower) || others.any(|name| name.to_lowercase() == lower) {
            return Err(Refusal::NameTaken);
        }
        let member = Member {
            name: name.to_owned(),
            audio_muted: false,
            video_muted: false,
            recording,
            screens: BTreeMap::new(),
        };
        self.tell(News::Entered {
            participant: member.person(self.id_of(id)),
        });
        members.insert(id, member);
        // Under the lock, so that nobody is missed and nobody heard of twice.
        Ok(self.news.subscribe())
    }

    /// Takes somebody away, and tells the others. Whether nobody is left.
    pub(super) fn leave(&self, id: u64) -> bool {
        let mut members = self.members();
        if members.remove(&id).is_some() {
            self.tell(News::Left { id: self.id_of(id) });
        }
        members.is_empty()
    }

    /// Somebody by name, whatever its case, or by id.
    pub(super) fn find(&self, participant: &str) -> Option<String> {
        let lower = participant.to_lowercase();
        let people = self.people();
        let named = people.iter().find(|person| person.name.to_lowercase() == lower);
        let found = named.or_else(|| people.iter().find(|person| person.id == participant));
        found.map(|person| person.id.clone())
    }

    /// Whether the participant of this id is in the room, here or on another node.
    pub(super) fn is_here(&self, id: &str) -> bool {
        let seat = self.seat_of(id);
        seat.is_some_and(|seat| self.members().contains_key(&seat)) || self.elsewhere().contains_key(id)
    }

    /// Everybody who is in the room, here first.
    pub(super) fn people(&self) -> Vec<Person> {
        let members = self.members();
        let here = members.iter().map(|(&id, member)| member.person(self.id_of(id)));
        let elsewhere = self.elsewhere();
        let there = elsewhere.iter().map(|(id, other)| other.person(id));
        here.chain(there).collect()
    }

    /// What other nodes are to hear of who has a seat.
    pub(super) fn about(&self, id: u64) -> String {
        self.members()
            .get(&id)
            .map_or_else(String::new, |member| member.about().write())
    }

    /// Somebody is there on another node, or something is new of it.
    pub(super) fn met(&self, peer: &Peer) {
        let id = peer.name().to_owned();
        let other = Elsewhere {
            node: peer.node().unwrap_or_default().to_owned(),
            about: About::read(&peer.details(), peer.name()),
        };
        let participant = other.person(&id);
        // Under both locks, so that who comes in now hears of it once.
        let _members = self.members();
        let is_new = self.elsewhere().insert(id, other).is_none();
        self.tell(match is_new {
            true => News::Entered { participant },
            false => News::Muted { participant },
        });
    }

    /// Somebody on another node says something.
    fn said(&self, peer: &Peer, text: &str) {
        let elsewhere = self.elsewhere();
        // Its node has looked at the length, if it is one of ours.
        if let Some(other) = elsewhere.get(peer.name())
            && text.chars().count() <= MAX_LINE
        {
            self.tell(News::Said {
                id: peer.name().to_owned(),
                name: other.about.name.clone(),
                text: text.to_owned(),
            });
        }
    }

    /// Somebody is not there any more on another node.
    pub(super) fn parted(&self, peer: &Peer) {
        let _members = self.members();
        if self.elsewhere().remove(peer.name()).is_some() {
            let id = peer.name().to_owned();
            self.tell(News::Left { id });
        }
    }

    /// Whether somebody on another node is known of.
    pub(super) fn has_met(&self, peer: &Peer) -> bool {
        self.elsewhere().contains_key(peer.name())
    }

    pub(super) fn mute(&self, id: u64, audio: bool, video: bool) {
        let mut members = self.members();
        let Some(member) = members.get_mut(&id) else { return };
        (member.audio_muted, member.video_muted) = (audio, video);
        self.tell(News::Muted {
            participant: member.person(self.id_of(id)),
        });
    }

    pub(super) fn say(&self, id: u64, text: String) {
        if let Some(member) = self.members().get(&id) {
            self.tell(News::Said {
                id: self.id_of(id),
                name: member.name.clone(),
                text,
            });
        }
    }

    /// Which of its receivers carry somebody's screen, with their tracks as it calls them. Whether that is something new.
    pub(super) fn set_screens(&self, id: u64, screens: BTreeMap<u64, Option<String>>) -> bool {
        let mut members = self.members();
        let Some(member) = members.get_mut(&id) else {
            return false;
        };
        let is_new = member.screens != screens;
        member.screens = screens;
        is_new
    }

    /// Whether a receiver of somebody carries a screen.
    pub(super) async fn is_screen(&self, receiver: &RtpReceiver) -> bool {
        let owner = receiver.peer();
        if owner.node().is_none() {
            return self.is_screen_here(owner.name(), receiver.id());
        }
        // One that has ended meanwhile carries nothing.
        let Ok(parameters) = receiver.rtp_parameters().await else {
            return false;
        };
        let elsewhere = self.elsewhere();
        let screens = elsewhere.get(owner.name()).map(|other| &other.about.screens);
        let track = parameters.track.as_ref();
        screens.is_some_and(|screens| track.is_some_and(|track| screens.contains(track)))
    }

    fn is_screen_here(&self, id: &str, receiver: u64) -> bool {
        let members = self.members();
        let member = self.seat_of(id).and_then(|seat| members.get(&seat));
        member.is_some_and(|member| member.screens.contains_key(&receiver))
    }

    fn tell(&self, news: News) {
        // Without a receiver it is for nobody.
        _ = self.news.send(news);
    }

    /// The forwarding behind the room.
    pub(super) async fn room(self: &Arc<Self>, server: &Server) -> Result<&Room, Error> {
        self.room
            .get_or_try_init(async || {
                let room = self.make(server).await?;
                let speakers = room.dominant_speaker().await?;
                if self.node.is_some() {
                    tokio::spawn(mirror(Arc::downgrade(self), room.clone(), room.events()));
                }
                // It ends with the room.
                tokio::spawn(listen(self.news.clone(), speakers));
                Ok(room)
            })
            .await
    }

    /// Makes the room. One of its name that has just ended may have the name for a moment.
    async fn make(&self, server: &Server) -> Result<Room, Error> {
        let options = RoomOptions {
            name: self.node.is_some().then(|| self.name.clone()),
            ..RoomOptions::browsers()
        };
        let mut tries = 0;
        loop {
            match server.create_room(options.clone()).await {
                Err(Error::RoomNameTaken(_)) if tries < MAX_TRIES => tries += 1,
                made => return made,
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
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

/// Tells a room of the page who is in it on other nodes, until it is closed.
async fn mirror(hub: Weak<Hub>, room: Room, mut events: Events<RoomEvent>) {
    let mut missed = 0;
    while let Some(event) = events.next().await {
        if let RoomEvent::NewPeer(peer) = event {
            accompany(&hub, peer);
        }
        if events.missed() > missed {
            missed = events.missed();
            for peer in room.peers().await {
                accompany(&hub, peer);
            }
        }
    }
}

/// Follows somebody on another node until it is gone.
fn accompany(hub: &Weak<Hub>, peer: Peer) {
    let Some(own) = hub.upgrade() else { return };
    if peer.node().is_none() || own.has_met(&peer) {
        return;
    }
    let mut events = peer.events();
    own.met(&peer);
    let hub = hub.clone();
    tokio::spawn(async move {
        while let Some(event) = events.next().await {
            let Some(hub) = hub.upgrade() else { return };
            match event {
                PeerEvent::DetailsChange(_) => hub.met(&peer),
                PeerEvent::Said(text) => hub.said(&peer, &text),
                _ => {}
            }
        }
        if let Some(hub) = hub.upgrade() {
            hub.parted(&peer);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everybody_hears_who_comes_and_goes() {
        let hub = Hub::new("r", None);
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
        let hub = Hub::new("r", None);
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
        let hub = Hub::new("r", None);
        let _heard = hub.enter(1, "Ada", false).unwrap();
        assert!(hub.set_screens(1, BTreeMap::from([(8, None)])));
        assert!(!hub.set_screens(1, BTreeMap::from([(8, None)])), "nothing new");
        assert!(hub.is_screen_here("1", 8) && !hub.is_screen_here("1", 7) && !hub.is_screen_here("2", 8));
    }
    #[test]
    fn ids_of_nodes_are_told_apart() {
        let hub = Hub::new("r", Some("east".to_owned()));
        let _heard = hub.enter(7, "Ada", false).unwrap();
        assert_eq!(hub.id_of(7), "east.7");
        assert!(hub.is_here("east.7") && !hub.is_here("7") && !hub.is_here("eastern.7") && !hub.is_here("west.7"));
        assert_eq!(hub.find("ADA").as_deref(), Some("east.7"));
        assert_eq!(hub.find("east.7").as_deref(), Some("east.7"));
        assert_eq!(About::read(&hub.about(7), "east.7").name, "Ada");
    }
}
