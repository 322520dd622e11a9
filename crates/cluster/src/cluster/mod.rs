//! A node of a cluster: what its application asks for, and the times of everything.

mod input;
mod output;
mod pipes;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Instant;

use crate::bus::Bus;
use crate::config::Config;
use crate::error::Error;
use crate::event::{Counts, Event, PipeId};
use crate::names::{NodeName, RoomName};
use crate::nodes::Nodes;
use crate::peer::{MAX_PEERS, MAX_SAID, MAX_TRACKS, Peer, PeerId, Track, TrackId};
use crate::pipe::{Overdue, Pipe, Step};
use crate::room::{Local, MAX_ROOMS, MAX_WORDS, Remote, Room};
use crate::subject::Subject;

/// Events that may wait for the application while messages are taken. What is missed then is asked for again later. Times and
/// calls may add what ends, which is at most what had begun.
const MAX_EVENTS: usize = 4096;
/// Summaries of a room that a node may miss until it counts as gone from there.
const MISSED_DIGESTS: u32 = 5;

/// A node of a cluster. It is told the time, what comes from the bus and what happens in its own rooms, and says what to
/// publish, who is where, and which connections to open to which nodes.
#[derive(Debug)]
pub struct Cluster {
    config: Config,
    bus: Bus,
    nodes: Nodes,
    rooms: BTreeMap<RoomName, Room>,
    /// Rooms that have something to say.
    due: BTreeSet<RoomName>,
    /// Rooms that nobody of us is in any more, of which the others are to hear it.
    left: BTreeSet<RoomName>,
    /// When pipes are to be looked after.
    timers: BTreeSet<(Instant, RoomName, NodeName)>,
    /// When all rooms are summed up, while the bus works.
    digest: Option<Instant>,
    /// Numbers everything that is told, so that later is higher.
    revision: u64,
    events: VecDeque<Event>,
    counts: Counts,
    /// Whether the others are to hear that we leave.
    bye: bool,
    closed: bool,
}

impl Cluster {
    /// A node. Nothing is published before [`handle_connected`](Self::handle_connected).
    pub fn new(config: Config) -> Self {
        let own = Subject::Node(config.node.clone());
        Self {
            bus: Bus::new(config.beat),
            config,
            nodes: Nodes::default(),
            rooms: BTreeMap::new(),
            due: BTreeSet::new(),
            left: BTreeSet::new(),
            timers: BTreeSet::new(),
            digest: None,
            revision: 0,
            events: [Event::Listen(Subject::Nodes), Event::Listen(own)].into(),
            counts: Counts::default(),
            bye: false,
            closed: false,
        }
    }

    /// The client of the bus is connected, for the first time or again.
    pub fn handle_connected(&mut self, now: Instant) {
        if !self.closed {
            self.bus.connect(now);
        }
    }

    /// The client of the bus has lost its connection.
    pub fn handle_disconnected(&mut self) {
        if self.bus.disconnect() {
            self.lose_bus();
        }
    }

    /// It is this late.
    pub fn handle_timeout(&mut self, now: Instant) {
        if self.bus.handle_timeout(now) {
            self.lose_bus();
        }
        if self.digest.is_some_and(|at| at <= now) {
            self.digest = Some(now + self.config.digest);
            self.sum_up(now);
        }
        while let Some((at, room, node)) = self.timers.pop_first() {
            if at > now {
                self.timers.insert((at, room, node));
                break;
            }
            self.handle_pipe_timeout(now, &room, &node);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let pipes = self.timers.first().map(|(at, ..)| *at);
        self.bus
            .poll_timeout()
            .into_iter()
            .chain(self.digest)
            .chain(pipes)
            .min()
    }

    /// What has happened, and what is to be done.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop_front()
    }

    /// Leaves the cluster. What is left to be polled says so to the others and ends everything here.
    pub fn close(&mut self) {
        if !self.closed {
            self.bye = self.bus.is_connected();
            self.end();
        }
    }

    /// Whether what is said is heard, and peers may join.
    pub fn bus_works(&self) -> bool {
        self.bus.works()
    }

    /// The other nodes, by name.
    pub fn nodes(&self) -> impl Iterator<Item = &NodeName> {
        self.nodes.names()
    }

    /// What came and was dropped until now.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The peers of other nodes in a room.
    pub fn peers(&self, room: &RoomName) -> impl Iterator<Item = (PeerId, &Peer)> {
        let remotes = self.rooms.get(room).into_iter().flat_map(|room| &room.remotes);
        remotes.flat_map(|(node, remote)| {
            remote.peers.iter().map(|(&peer, (_, known))| {
                let node = node.clone();
                (PeerId { node, peer }, known)
            })
        })
    }

    /// The pipes that there are, with what each carries by its last exchange; nothing at the end that answers.
    pub fn pipes(&self) -> impl Iterator<Item = (PipeId, &[TrackId])> {
        let remotes = self.rooms.iter().flat_map(|(name, room)| {
            let remotes = room.remotes.iter();
            remotes.map(move |(node, remote)| (name, node, remote))
        });
        remotes.filter_map(|(room, node, remote)| {
            let pipe = remote.pipe.as_ref()?;
            let carried = match pipe {
                Pipe::Offering(offering) => offering.carried.as_slice(),
                Pipe::Answering(_) => &[],
            };
            Some((pipe_id(room, node, pipe.number()), carried))
        })
    }

    /// Somebody comes into a room here. `id` is a number that no other peer of the room has or had on this node.
    ///
    /// Two who come with the same name at the same moment on two nodes are both let in.
    ///
    /// # Errors
    /// [`Error::BusAway`] while nobody could hear of it; [`Error::NameTaken`], [`Error::PeerThere`], [`Error::TooMany`],
    /// [`Error::TooLong`] and [`Error::Closed`]. Nothing has changed then.
    pub fn join(&mut self, room: &RoomName, id: u64, peer: Peer) -> Result<(), Error> {
        if self.closed {
            return Err(Error::Closed);
        }
        if !self.bus.works() {
            return Err(Error::BusAway);
        }
        peer.check()?;
        match self.rooms.get(room) {
            Some(here) if here.locals.contains_key(&id) => return Err(Error::PeerThere),
            Some(here) if here.locals.len() >= MAX_PEERS => return Err(Error::TooMany("peers in the room")),
            Some(here) if here.has_name(&peer.name) => return Err(Error::NameTaken),
            None if self.rooms.len() >= MAX_ROOMS => return Err(Error::TooMany("rooms")),
            Some(_) | None => {}
        }
        let revision = self.next_revision();
        let here = self.rooms.entry(room.clone()).or_insert_with(|| {
            self.left.remove(room);
            self.events.push_back(Event::Listen(Subject::Room(room.clone())));
            Room {
                ask: true,
                ..Room::default()
            }
        });
        here.digest = true;
        let due = true;
        here.locals.insert(id, Local { peer, revision, due });
        self.due.insert(room.clone());
        Ok(())
    }

    /// What the application says of a peer of this node is another text now.
    ///
    /// # Errors
    /// [`Error::NoPeer`]; [`Error::TooLong`].
    pub fn set_details(&mut self, room: &RoomName, id: u64, details: String) -> Result<(), Error> {
        self.change(room, id, |peer| {
            peer.details = details;
            Ok(())
        })
    }

    /// A peer of this node says something to the room, which other nodes hear once, or not at all if the bus loses it.
    ///
    /// # Errors
    /// [`Error::BusAway`] while nobody could hear it; [`Error::NoPeer`]; [`Error::TooLong`]; [`Error::TooMany`] if 64 texts wait.
    pub fn say(&mut self, room: &RoomName, id: u64, text: String) -> Result<(), Error> {
        if !self.bus.works() {
            return Err(Error::BusAway);
        }
        if text.len() > MAX_SAID {
            return Err(Error::TooLong("text"));
        }
        let here = self.rooms.get_mut(room).ok_or(Error::NoPeer)?;
        if !here.locals.contains_key(&id) {
            return Err(Error::NoPeer);
        }
        if here.words.len() >= MAX_WORDS {
            return Err(Error::TooMany("texts that wait"));
        }
        here.words.push_back((id, text));
        self.due.insert(room.clone());
        Ok(())
    }

    /// A peer of this node sends a track. `track` is a number that no other track of the peer has or had.
    ///
    /// # Errors
    /// [`Error::NoPeer`]; [`Error::TooMany`] and [`Error::TooLong`].
    pub fn publish(&mut self, room: &RoomName, id: u64, track: u64, known: Track) -> Result<(), Error> {
        self.change(room, id, |peer| {
            if peer.tracks.len() >= MAX_TRACKS && !peer.tracks.contains_key(&track) {
                return Err(Error::TooMany("tracks of the peer"));
            }
            peer.tracks.insert(track, known);
            Ok(())
        })
    }

    /// A peer of this node does not send a track any more.
    ///
    /// # Errors
    /// [`Error::NoPeer`]; [`Error::NoTrack`].
    pub fn unpublish(&mut self, now: Instant, room: &RoomName, id: u64, track: u64) -> Result<(), Error> {
        self.change(room, id, |peer| {
            peer.tracks.remove(&track).map(|_| ()).ok_or(Error::NoTrack)
        })?;
        self.settle_room(now, room);
        Ok(())
    }

    /// A peer of this node leaves. With the last one the room is forgotten here, and all of it ends.
    ///
    /// # Errors
    /// [`Error::NoPeer`].
    pub fn leave(&mut self, now: Instant, room: &RoomName, id: u64) -> Result<(), Error> {
        let here = self.rooms.get_mut(room).ok_or(Error::NoPeer)?;
        here.locals.remove(&id).ok_or(Error::NoPeer)?;
        here.digest = true;
        if here.locals.is_empty() {
            self.forget_room(room);
            self.left.insert(room.clone());
        } else {
            self.due.insert(room.clone());
            self.settle_room(now, room);
        }
        Ok(())
    }

    /// Somebody here watches a track of another node. The first has it sent to this node, once; call
    /// [`unwatch`](Self::unwatch) as often.
    ///
    /// # Errors
    /// [`Error::NoTrack`] if it is not known of.
    pub fn watch(&mut self, now: Instant, room: &RoomName, id: &TrackId) -> Result<(), Error> {
        let revision = self.next_revision();
        let remote = self.remote_mut(room, &id.node).ok_or(Error::NoTrack)?;
        if !remote.has(id.peer, id.track) {
            return Err(Error::NoTrack);
        }
        let watchers = remote.watching.entry((id.peer, id.track)).or_insert(0);
        *watchers = watchers.saturating_add(1);
        if *watchers == 1 {
            remote.watching_revision = revision;
            remote.watching_due = true;
            self.due.insert(room.clone());
            self.settle(now, room, &id.node);
        }
        Ok(())
    }

    /// Somebody here does not watch a track of another node any more. With the last it is not sent to this node any more.
    ///
    /// # Errors
    /// [`Error::NoTrack`] if nobody watches it, or it is gone.
    pub fn unwatch(&mut self, now: Instant, room: &RoomName, id: &TrackId) -> Result<(), Error> {
        let revision = self.next_revision();
        let remote = self.remote_mut(room, &id.node).ok_or(Error::NoTrack)?;
        let watchers = remote.watching.get_mut(&(id.peer, id.track)).ok_or(Error::NoTrack)?;
        *watchers -= 1;
        if *watchers == 0 {
            remote.watching.remove(&(id.peer, id.track));
            remote.watching_revision = revision;
            remote.watching_due = true;
            self.due.insert(room.clone());
            self.settle(now, room, &id.node);
        }
        Ok(())
    }

    fn change(
        &mut self,
        room: &RoomName,
        id: u64,
        change: impl FnOnce(&mut Peer) -> Result<(), Error>,
    ) -> Result<(), Error> {
        let revision = self.next_revision();
        let here = self.rooms.get_mut(room).ok_or(Error::NoPeer)?;
        let local = here.locals.get_mut(&id).ok_or(Error::NoPeer)?;
        let mut peer = local.peer.clone();
        change(&mut peer)?;
        peer.check()?;
        *local = Local {
            peer,
            revision,
            due: true,
        };
        here.digest = true;
        self.due.insert(room.clone());
        Ok(())
    }

    fn next_revision(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    fn remote_mut(&mut self, room: &RoomName, node: &NodeName) -> Option<&mut Remote> {
        self.rooms.get_mut(room)?.remotes.get_mut(node)
    }

    fn lose_bus(&mut self) {
        self.digest = None;
        self.events.push_back(Event::BusAway);
    }

    /// Tells all rooms how things stand, and finds nodes that left a room without a word that was heard.
    fn sum_up(&mut self, now: Instant) {
        let mut gone = Vec::new();
        for (name, room) in &mut self.rooms {
            room.digest = true;
            self.due.insert(name.clone());
            for (node, remote) in &room.remotes {
                if remote.heard + MISSED_DIGESTS * self.config.digest <= now {
                    gone.push((name.clone(), node.clone()));
                }
            }
        }
        for (room, node) in gone {
            self.forget_remote(&room, &node);
        }
    }

    fn handle_pipe_timeout(&mut self, now: Instant, room: &RoomName, node: &NodeName) {
        // All is looked at again when the bus is back.
        if !self.bus.works() {
            return;
        }
        let Some(remote) = self.remote_mut(room, node) else {
            return;
        };
        let overdue = match &mut remote.pipe {
            Some(Pipe::Offering(offering)) => offering.handle_timeout(now),
            Some(Pipe::Answering(_)) | None => Overdue::No,
        };
        match overdue {
            Overdue::No => {}
            Overdue::Again => {
                self.counts.resent += 1;
                self.due.insert(room.clone());
            }
            Overdue::GivenUp => {
                self.counts.renewed += 1;
                self.drop_pipe(room, node);
            }
        }
        self.settle(now, room, node);
    }

    /// A node is not there any more, and nothing of it.
    fn forget_node(&mut self, node: &NodeName) {
        let all = self.rooms.iter();
        let rooms: Vec<RoomName> = all
            .filter(|(_, room)| room.remotes.contains_key(node))
            .map(|(name, _)| name.clone())
            .collect();
        for room in rooms {
            self.forget_remote(&room, node);
        }
        if self.nodes.remove(node) {
            self.events.push_back(Event::NodeGone(node.clone()));
        }
    }

    /// A node has nobody in a room any more.
    fn forget_remote(&mut self, room: &RoomName, node: &NodeName) {
        self.drop_pipe(room, node);
        let Some(here) = self.rooms.get_mut(room) else { return };
        let Some(remote) = here.remotes.remove(node) else {
            return;
        };
        for (peer, (_, known)) in remote.peers {
            let node = node.clone();
            tell_left(&mut self.events, room, PeerId { node, peer }, &known);
        }
    }

    /// Nobody of us is in a room any more.
    fn forget_room(&mut self, room: &RoomName) {
        let Some(here) = self.rooms.get(room) else { return };
        let nodes: Vec<NodeName> = here.remotes.keys().cloned().collect();
        for node in nodes {
            self.forget_remote(room, &node);
        }
        self.rooms.remove(room);
        self.due.remove(room);
        self.events.push_back(Event::Ignore(Subject::Room(room.clone())));
    }

    fn end(&mut self) {
        self.closed = true;
        while let Some(room) = self.rooms.keys().next().cloned() {
            self.forget_room(&room);
        }
        self.left.clear();
        self.timers.clear();
        self.digest = None;
        let nodes: Vec<NodeName> = self.nodes.names().cloned().collect();
        for node in nodes {
            self.forget_node(&node);
        }
        self.bus.disconnect();
    }

    /// Closes a pipe here. The other node is not told.
    fn drop_pipe(&mut self, room: &RoomName, node: &NodeName) {
        if let Some(pipe) = self.remote_mut(room, node).and_then(|remote| remote.pipe.take()) {
            let pipe = pipe_id(room, node, pipe.number());
            self.events.push_back(Event::PipeClosed { pipe });
        }
    }

    /// Asks for an offer, where what a pipe carries is not what it is to carry, and opens and closes it as needed.
    fn settle(&mut self, now: Instant, room: &RoomName, node: &NodeName) {
        if !self.bus.works() || *node <= self.config.node {
            return;
        }
        let Some(here) = self.rooms.get_mut(room) else { return };
        let tracks = here.carried(&self.config.node, node);
        let Some(remote) = here.remotes.get_mut(node) else {
            return;
        };
        let (number, exchange) = match &mut remote.pipe {
            None if tracks.is_empty() || remote.hold.is_some_and(|hold| hold > now) => return,
            None => {
                self.revision += 1;
                let number = self.revision;
                let pipe = pipe_id(room, node, number);
                self.events.push_back(Event::PipeOpened { pipe });
                remote.pipe = Some(Pipe::offering(number, tracks.clone()));
                (number, 1)
            }
            Some(Pipe::Offering(offering)) => match offering.step {
                Step::Settled if offering.carried == tracks => return,
                Step::Settled if tracks.is_empty() => {
                    remote.closing = Some(offering.number);
                    self.due.insert(room.clone());
                    self.drop_pipe(room, node);
                    return;
                }
                Step::Settled => {
                    offering.exchange += 1;
                    offering.step = Step::Wanted(tracks.clone());
                    (offering.number, offering.exchange)
                }
                // It is looked at again when the exchange is over.
                Step::Wanted(_) | Step::Offered(_) => return,
            },
            // Who offers is a matter of names, so it is never this.
            Some(Pipe::Answering(_)) => return,
        };
        let pipe = pipe_id(room, node, number);
        let wanted = Event::OfferWanted { pipe, exchange, tracks };
        self.events.push_back(wanted);
    }

    fn settle_room(&mut self, now: Instant, room: &RoomName) {
        let Some(here) = self.rooms.get(room) else { return };
        let nodes: Vec<NodeName> = here.remotes.keys().cloned().collect();
        for node in nodes {
            self.settle(now, room, &node);
        }
    }
}

fn pipe_id(room: &RoomName, node: &NodeName, number: u64) -> PipeId {
    PipeId {
        room: room.clone(),
        node: node.clone(),
        number,
    }
}

/// Tells that a peer is gone, its tracks first.
fn tell_left(events: &mut VecDeque<Event>, room: &RoomName, peer: PeerId, known: &Peer) {
    for &track in known.tracks.keys() {
        let id = TrackId {
            node: peer.node.clone(),
            peer: peer.peer,
            track,
        };
        events.push_back(Event::TrackRemoved { room: room.clone(), id });
    }
    events.push_back(Event::PeerLeft {
        room: room.clone(),
        peer,
    });
}
